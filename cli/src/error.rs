//! Why a command failed, as one type that carries its exit code.
//!
//! Commands return `Result<Exit, CliError>`; only [`crate::main`] reports an error and ends the process. Text for people
//! goes to stderr; with `--output json` the error is an object on stdout, so that a script reads one stream in every case.

use std::error::Error as StdError;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use quorate_client::{ConnectError, Context};
use quorate_config::{ConfigError, ConfigErrors, ReadError};
use quorate_protocol::outcome::Reason;
use quorate_protocol::{Access, Outcome};
use serde::Serialize;

use crate::diagnostics;
use crate::exit::Exit;
use crate::globals::Output;
use crate::json::{self, ReplicaFields};
use crate::output;
use crate::refusal::Refusal;
use crate::retry;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The arguments are no command. Nothing was done.
    #[error(transparent)]
    Arguments(#[from] Refusal),

    /// No node of the cluster could be reached. Nothing was sent.
    #[error("{source}{}", if *access == Access::Write { ". not applied" } else { "" })]
    Connect {
        /// Why not.
        source: ConnectError,
        /// What the command would have done.
        access: Access,
    },

    /// An operation on the cluster failed. Its own `outcome()` says whether it may have been applied.
    #[error(transparent)]
    Client(Box<quorate_client::Error>),

    /// The configuration file could not be read.
    #[error(transparent)]
    ConfigFile(#[from] ReadError),

    /// The configuration is wrong. Nothing was started.
    #[error(transparent)]
    Config(Box<ConfigErrors>),

    /// The node could not be started, or had to stop.
    #[error(transparent)]
    Server(#[from] quorate_node::ServeError),

    /// The threads that talk to the cluster could not be started. Nothing was sent.
    #[error("cannot start the threads that talk to the cluster")]
    Runtime {
        /// What the operating system said.
        source: io::Error,
    },

    /// A signal came before anything was sent.
    #[error("stopped by a signal before anything was sent")]
    Interrupted,

    /// Results could not be printed. What the command did before remains done.
    #[error("cannot write to stdout")]
    Stdout {
        /// What the operating system said.
        source: io::Error,
    },

    /// A file that the user named could not be read. Nothing was sent.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },

    /// A file that the user named cannot be written. Nothing was sent.
    #[error("cannot write {}", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },

    /// Anything else, with the exit code that it deserves.
    #[error("{source}")]
    Other {
        /// How the process ends.
        exit: Exit,
        /// The error itself.
        source: Box<dyn StdError + Send + Sync>,
    },
}

/// The object that `--output json` prints for an error.
#[derive(Serialize)]
struct ErrorFields {
    outcome: &'static str,
    exit: Exit,
    error: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    causes: Vec<String>,
    /// What the user can do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    findings: Vec<FindingFields>,
    #[serde(flatten)]
    operation: Option<OperationFields>,
}

/// One thing that is wrong with a configuration.
#[derive(Serialize)]
struct FindingFields {
    /// Where it is written: a file with line and column, a variable, an argument.
    origin: String,
    problem: String,
    help: String,
}

/// What an error of an operation knows beyond its text.
#[derive(Serialize)]
struct OperationFields {
    retryable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<&'static str>,
    /// What resolves the siblings of a key that has too many.
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<String>,
    replicas: Vec<ReplicaFields>,
}

impl OperationFields {
    fn of(error: &quorate_client::Error) -> Self {
        Self {
            retryable: error.is_retryable(),
            operation_id: error.op().map(|op| op.to_string()),
            advice: error.advice(),
            context: resolving_context(error).map(|context| context.to_string()),
            replicas: error.replicas().iter().map(ReplicaFields::from).collect(),
        }
    }
}

/// The exit code of a failed operation: first whether it may have happened, then whose fault it was.
#[must_use]
pub fn exit_of(error: &quorate_client::Error) -> Exit {
    match (error.outcome(), error.reason()) {
        (Outcome::Unknown, _) => Exit::Unknown,
        (Outcome::NotApplied, Some(Reason::TooManySiblings { .. } | Reason::Inapplicable { .. } | Reason::Fenced)) => Exit::Failure,
        (Outcome::NotApplied, Some(Reason::Superseded | Reason::OpIdTooOld | Reason::OpIdTooNew)) => Exit::Failure,
        (Outcome::NotApplied, _) if error.is_retryable() => Exit::Unavailable,
        (Outcome::NotApplied, Some(_)) => Exit::Usage,
        (Outcome::NotApplied, None) if matches!(error, quorate_client::Error::UnknownNode { .. }) => Exit::Usage,
        (Outcome::NotApplied, None) => Exit::Failure,
    }
}

impl From<&ConfigError> for FindingFields {
    fn from(error: &ConfigError) -> Self {
        Self { origin: error.origin.to_string(), problem: error.problem.to_string(), help: error.help() }
    }
}

/// What resolves the siblings of a key that has too many.
fn resolving_context(error: &quorate_client::Error) -> Option<Context> {
    match error.reason() {
        Some(Reason::TooManySiblings { context, .. }) => Some(context.clone().into()),
        _ => None,
    }
}

/// Notes what a person needs to go on after a failed operation of the command that was written so.
fn note_operation(error: &quorate_client::Error, arguments: &[OsString]) {
    if let (Outcome::Unknown, Some(op)) = (error.outcome(), error.op()) {
        output::note("  to retry this operation under its id, so that it is not done twice:");
        output::note(format_args!("  {}", retry::command(arguments, op)));
        if let Some(command) = retry::asking(arguments, error.operation(), op) {
            output::note(if retry::can_be_settled(error.operation()) {
                "  or, to know whether it was done, and make sure that it is not done from now on if it was not:"
            } else {
                "  or, to know whether it has arrived yet; below linearizable nothing can hold it back:"
            });
            output::note(format_args!("  {command}"));
        }
    } else if let Some(advice) = error.advice() {
        output::note(format_args!("  {advice}"));
    }
    if let Some(context) = resolving_context(error) {
        output::note(format_args!("  a put with --context {context} replaces all of them"));
    }
}

impl From<quorate_client::Error> for CliError {
    fn from(error: quorate_client::Error) -> Self {
        Self::Client(Box::new(error))
    }
}

impl From<ConnectError> for CliError {
    /// Of a command that would have read.
    fn from(source: ConnectError) -> Self {
        Self::Connect { source, access: Access::Read }
    }
}

/// What may be concluded from an exit code alone.
fn outcome_of(exit: Exit) -> Outcome {
    match exit {
        Exit::Usage | Exit::NotFound | Exit::CasConflict | Exit::Siblings | Exit::Unavailable => Outcome::NotApplied,
        Exit::Ok | Exit::Failure | Exit::Unknown | Exit::Undecided | Exit::CheckFailed => Outcome::Unknown,
    }
}

impl CliError {
    /// Wraps an error of a command's own.
    pub fn new(exit: Exit, error: impl StdError + Send + Sync + 'static) -> Self {
        Self::Other { exit, source: Box::new(error) }
    }

    /// Wraps an error about what the user wrote. Nothing was sent.
    pub fn usage(error: impl StdError + Send + Sync + 'static) -> Self {
        Self::new(Exit::Usage, error)
    }

    /// How the process ends.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Connect { source: ConnectError::NoSeedAnswered { .. }, .. } => Exit::Unavailable,
            Self::Arguments(_) | Self::Connect { .. } => Exit::Usage,
            Self::Client(error) => exit_of(error),
            Self::ConfigFile(_) | Self::Config(_) | Self::Unreadable { .. } | Self::Unwritable { .. } => Exit::Usage,
            Self::Server(_) | Self::Runtime { .. } | Self::Interrupted | Self::Stdout { .. } => Exit::Failure,
            Self::Other { exit, .. } => *exit,
        }
    }

    /// Whether what the command was to do may have happened.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Client(error) => error.outcome(),
            Self::Arguments(_)
            | Self::Connect { .. }
            | Self::ConfigFile(_)
            | Self::Config(_)
            | Self::Server(_)
            | Self::Runtime { .. }
            | Self::Interrupted
            | Self::Unreadable { .. }
            | Self::Unwritable { .. } => Outcome::NotApplied,
            Self::Stdout { .. } => Outcome::Unknown,
            Self::Other { exit, .. } => outcome_of(*exit),
        }
    }

    /// What the user can do about it, where that is known and the error does not say it.
    fn help(&self) -> Option<String> {
        match self {
            Self::Arguments(refusal) => refusal.help(),
            Self::Connect { source: ConnectError::NoSeedAnswered { .. }, .. } => {
                Some("is a cluster running? `quorate demo` starts one; --cluster or QUORATE_CLUSTER names another".to_owned())
            }
            Self::Connect { .. } => Some("--cluster or QUORATE_CLUSTER says where the cluster is".to_owned()),
            Self::Client(_)
            | Self::ConfigFile(_)
            | Self::Config(_)
            | Self::Server(_)
            | Self::Runtime { .. }
            | Self::Interrupted
            | Self::Stdout { .. }
            | Self::Unreadable { .. }
            | Self::Unwritable { .. }
            | Self::Other { .. } => None,
        }
    }

    /// True when whoever reads stdout has stopped reading, which is no failure of ours.
    #[must_use]
    pub fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Stdout { source } if source.kind() == io::ErrorKind::BrokenPipe)
    }

    /// Tells the user who wrote `arguments`, on the stream that `output` calls for.
    pub fn report(&self, output: Output, arguments: &[OsString]) {
        match output {
            Output::Json => {
                if output::print_json(&self.fields()).is_err() {
                    self.report_to_people(arguments);
                }
            }
            Output::Table | Output::Raw => self.report_to_people(arguments),
        }
    }

    fn report_to_people(&self, arguments: &[OsString]) {
        match self {
            Self::Config(errors) => return output::note(diagnostics::render(errors).trim_end()),
            Self::Arguments(refusal) => return refusal.print(),
            _ => {}
        }
        output::error(self);
        for cause in self.causes() {
            output::note(format_args!("  because: {cause}"));
        }
        if let Some(help) = self.help() {
            output::note(format_args!("  {help}"));
        }
        if let Self::Client(error) = self {
            note_operation(error, arguments);
        }
    }

    fn fields(&self) -> ErrorFields {
        let operation = match self {
            Self::Client(error) => Some(OperationFields::of(error)),
            _ => None,
        };
        let findings = match self {
            Self::Config(errors) => errors.errors().iter().map(FindingFields::from).collect(),
            _ => Vec::new(),
        };
        let (error, causes) = (self.to_string(), self.causes());
        let outcome = json::outcome(self.outcome());
        ErrorFields { outcome, exit: self.exit(), error, causes, help: self.help(), findings, operation }
    }

    /// The errors beneath this one whose text its own does not repeat.
    pub(crate) fn causes(&self) -> Vec<String> {
        let mut causes: Vec<String> = Vec::new();
        let mut said = self.to_string();
        let mut next = self.source();
        while let Some(cause) = next {
            let text = cause.to_string();
            if !said.contains(&text) {
                causes.push(text.clone());
            }
            said.push_str(&text);
            next = cause.source();
        }
        causes
    }
}

#[cfg(test)]
mod tests {
    use quorate_client::{Error, Operation, Subject, Verb};
    use quorate_protocol::outcome::Failure;
    use quorate_protocol::{InvalidLevel, Level, SealedContext};
    use quorate_ring::NodeId;

    use super::*;

    fn operation() -> Box<Operation> {
        let subject = Subject::Key("cart:7".into());
        Box::new(Operation { verb: Verb::Put, subject, bucket: None, level: Some(Level::Quorum), op: None })
    }

    fn failed(reason: Reason, outcome: Outcome) -> Error {
        let failure = Box::new(Failure { reason, outcome, replicas: Vec::new() });
        Error::Failed { operation: operation(), coordinator: NodeId(1), failure, outcome }
    }

    #[test]
    fn the_exit_code_of_an_operation_says_first_whether_it_may_have_happened() {
        let timed_out = || Reason::TimedOut { needed: 2, answered: 1 };
        let too_many = || Reason::TooManySiblings { siblings_max: 16, context: SealedContext::from_bytes("x".into()) };
        let impossible = Reason::InvalidLevel(InvalidLevel::WriteOnly);
        let table = [
            (failed(timed_out(), Outcome::Unknown), Exit::Unknown),
            (failed(timed_out(), Outcome::NotApplied), Exit::Unavailable),
            (failed(Reason::Unreachable { needed: 2, alive: 1 }, Outcome::NotApplied), Exit::Unavailable),
            (failed(Reason::Overloaded, Outcome::NotApplied), Exit::Unavailable),
            (failed(Reason::InvalidContext, Outcome::NotApplied), Exit::Usage),
            (failed(Reason::InvalidContext, Outcome::Unknown), Exit::Unknown),
            (failed(impossible, Outcome::NotApplied), Exit::Usage),
            (failed(too_many(), Outcome::NotApplied), Exit::Failure),
            (Error::Unreachable { operation: operation(), nodes: Vec::new() }, Exit::Unavailable),
            (Error::Lost { operation: operation(), asked: Vec::new(), outcome: Outcome::Unknown }, Exit::Unknown),
            (Error::UnknownNode { operation: operation() }, Exit::Usage),
            (Error::SessionFull { operation: operation() }, Exit::Failure),
        ];
        for (error, exit) in table {
            assert_eq!(exit_of(&error), exit, "{error}");
        }
    }

    #[test]
    fn too_many_siblings_come_with_the_context_that_resolves_them() {
        let reason = Reason::TooManySiblings { siblings_max: 16, context: SealedContext::from_bytes("x".into()) };
        let json = serde_json::to_value(CliError::from(failed(reason, Outcome::NotApplied)).fields()).expect("serialises");
        assert_eq!((&json["context"], &json["exit"], &json["outcome"]), (&"c1.eA".into(), &1.into(), &"not_applied".into()));
    }

    #[test]
    fn an_unknown_outcome_is_spelled_so_in_json() {
        let error = CliError::from(failed(Reason::TimedOut { needed: 2, answered: 1 }, Outcome::Unknown));
        let json = serde_json::to_value(error.fields()).expect("serialises");
        assert_eq!((&json["outcome"], &json["exit"], &json["retryable"]), (&"unknown".into(), &7.into(), &true.into()));
    }

    #[test]
    fn a_cluster_that_is_not_there_brings_advice_and_the_outcome_of_a_write() {
        let json = |access| {
            let error = CliError::Connect { source: ConnectError::NoSeedAnswered { seeds: Vec::new() }, access };
            serde_json::to_value(error.fields()).expect("serialises")
        };
        let (read, write) = (json(Access::Read), json(Access::Write));
        assert!(write["help"].as_str().is_some_and(|help| help.contains("quorate demo") && help.contains("QUORATE_CLUSTER")), "{write}");
        assert_eq!((&write["outcome"], &write["exit"]), (&"not_applied".into(), &6.into()));
        let says = |json: &serde_json::Value| json["error"].as_str().is_some_and(|error| error.ends_with("not applied"));
        assert!(says(&write) && !says(&read), "{write} {read}");
        assert_eq!(CliError::from(ConnectError::NoSeeds).exit(), Exit::Usage);
    }

    /// What was done before the failure stays done, and an error must not deny it.
    #[test]
    fn no_error_says_not_applied_unless_it_is_known() {
        let source = || io::Error::from(io::ErrorKind::StorageFull);
        assert_eq!(CliError::Stdout { source: source() }.outcome(), Outcome::Unknown);
        assert_eq!(CliError::new(Exit::Failure, source()).outcome(), Outcome::Unknown);
        assert_eq!(CliError::usage(source()).outcome(), Outcome::NotApplied);
        let session = CliError::Unwritable { path: "session".into(), source: source() };
        assert_eq!((session.exit(), session.outcome()), (Exit::Usage, Outcome::NotApplied));
    }

    #[test]
    fn an_operation_id_in_json_can_be_given_back() {
        let op = quorate_client::OpId { client: quorate_client::ClientId(7), lane: 1, seq: 2, issued_ms: 3 };
        let operation = Box::new(Operation { op: Some(op), ..*operation() });
        let error = CliError::from(Error::Lost { operation, asked: Vec::new(), outcome: Outcome::Unknown });
        let json = serde_json::to_value(error.fields()).expect("serialises");
        let text = json["operation_id"].as_str().expect("a text");
        assert_eq!(text.parse(), Ok(op));
    }

    #[test]
    fn causes_are_told_once() {
        let source = io::Error::from(io::ErrorKind::PermissionDenied);
        let error = CliError::Unreadable { path: "records.tsv".into(), source };
        assert_eq!((error.to_string(), error.causes()), ("cannot read records.tsv".to_owned(), vec!["permission denied".to_owned()]));
        assert_eq!(error.exit(), Exit::Usage);
    }

    #[test]
    fn a_closed_pipe_is_no_failure_of_ours() {
        let closed = |kind: io::ErrorKind| CliError::Stdout { source: kind.into() }.is_closed_pipe();
        assert!(closed(io::ErrorKind::BrokenPipe) && !closed(io::ErrorKind::StorageFull));
    }
}
