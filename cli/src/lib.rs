//! The command line of Quorate, as a library: the binary only calls [`main`].
//!
//! **Promise.** A command does what its arguments say or changes nothing: whatever is wrong with a key, a level, a context
//! or a file is found before anything is sent. How it ended is told three times, alike: by the exit code ([`exit`]), by text
//! for people, and with `--output json` by one object ([`json`]).
//!
//! | idea | file |
//! |---|---|
//! | the arguments; what all commands share | `args.rs`, `globals.rs`, `level.rs` |
//! | why a command failed and how the process ends | `error.rs`, `exit.rs`, `refusal.rs`, `diagnostics.rs`, `retry.rs` |
//! | stdout and stderr; bytes as text; JSON; `--explain`; what work costs | `output.rs`, `text.rs`, `json.rs`, `explain.rs`, `processor.rs` |
//! | `get`, `put`, `del`, `siblings`, `cas`, `incr`, `outcome` | `kv/` |
//! | `load`, `dump` | `bulk/` |
//! | `server`, `config`, `status`, `ring` | a file each; `planted.rs` for nodes that break a rule on purpose |
//! | `demo`, `bench` | `demo`, `bench` |
//! | `story` | `story.rs`, `story/` |
//! | `sim`; `check` | `sim/`; `check/` |
//!
//! **Invariants**
//! - Results go to stdout, everything said about them to stderr.
//! - No command ends the process; [`main`] does, with the code that the command or its error names.
//! - A reader that closes the pipe early is no failure.

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

use clap::Parser;
use tokio::runtime::Runtime;
use tracing_subscriber::EnvFilter;

pub mod args;
pub mod bench;
pub mod bulk;
pub mod check;
pub mod compare;
pub mod completions;
pub mod config;
pub mod demo;
pub mod diagnostics;
pub mod error;
pub mod exit;
pub mod explain;
pub mod globals;
pub mod json;
pub mod kv;
pub mod level;
pub mod output;
pub mod planted;
pub mod processor;
pub mod progress;
pub mod refusal;
pub mod retry;
pub mod ring;
pub mod server;
pub mod settings;
pub mod sim;
pub mod status;
pub mod story;
pub mod text;

pub use error::CliError;
pub use exit::Exit;
pub use globals::{Globals, Output, connect};

use args::{Command, CommandLine};
use refusal::Refusal;

/// Runs the command that the process's arguments name, and says how the process shall end.
#[must_use]
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let line = match CommandLine::try_parse_from(&arguments) {
        Ok(line) => line,
        Err(refusal) => return refused(refusal, &arguments).into(),
    };
    output::choose_color(line.globals.color);
    let exit = run(line.command, &line.globals).unwrap_or_else(|error| failed(&error, line.globals.output, &arguments));
    exit.into()
}

fn run(command: Command, globals: &Globals) -> Result<Exit, CliError> {
    match command {
        Command::Server(command) => server::run(&command),
        Command::Config(command) => config::run(&command, globals),
        Command::Completions(command) => completions::completions(command),
        Command::Man(command) => completions::manual(&command),
        Command::Demo(command) => with_runtime(demo::run(command, globals)),
        Command::Get(command) => with_runtime(kv::get(&command, globals)),
        Command::Put(command) => with_runtime(kv::put(command, globals)),
        Command::Del(command) => with_runtime(kv::del(&command, globals)),
        Command::Cas(command) => with_runtime(kv::cas(command, globals)),
        Command::Incr(command) => with_runtime(kv::incr(&command, globals)),
        Command::Siblings(command) => with_runtime(kv::siblings(&command, globals)),
        Command::Outcome(command) => with_runtime(kv::outcome(&command, globals)),
        Command::Load(command) => with_runtime(bulk::load::run(command, globals)),
        Command::Dump(command) => with_runtime(bulk::dump::run(command, globals)),
        Command::Status(command) => with_runtime(status::run(&command, globals)),
        Command::Ring(command) => with_runtime(ring::run(&command, globals)),
        Command::Bench(command) => with_runtime(bench::run(command, globals)),
        Command::Story(command) => with_runtime(story::run(command, globals)),
        Command::Sim(command) => sim::run(&command, globals),
        Command::Compare(command) => with_runtime(compare::run(command, globals)),
        Command::Check(command) => check::run(&command, globals),
    }
}

/// Runs a command that talks to a cluster. Its log is silent below errors unless `RUST_LOG` asks for more.
fn with_runtime(command: impl Future<Output = Result<Exit, CliError>>) -> Result<Exit, CliError> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("error"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();
    let runtime = Runtime::new().map_err(|source| CliError::Runtime { source })?;
    let result = runtime.block_on(command);
    // A thread may still read a file or stdin for a command that was stopped: nobody waits for it.
    runtime.shutdown_background();
    result
}

fn failed(error: &CliError, output: Output, arguments: &[OsString]) -> Exit {
    if error.is_closed_pipe() {
        return Exit::Ok;
    }
    error.report(output, arguments);
    error.exit()
}

/// Arguments that could not be parsed, or asked for help or the version.
fn refused(refusal: clap::Error, arguments: &[OsString]) -> Exit {
    if !refusal.use_stderr() {
        return match refusal.print() {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Exit::Failure,
            Ok(()) | Err(_) => Exit::Ok,
        };
    }
    let output = if asks_for_json(arguments) { Output::Json } else { Output::Table };
    failed(&Refusal::new(refusal).into(), output, arguments)
}

/// Whether arguments that do not parse as a whole still say `--output json`.
fn asks_for_json(arguments: &[OsString]) -> bool {
    let pairs = arguments.windows(2).any(|pair| pair[0] == "--output" && pair[1] == "json");
    pairs || arguments.iter().any(|argument| argument == "--output=json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_recognised_in_a_line_that_does_not_parse() {
        let words = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        assert!(asks_for_json(&words("quorate get --output json")));
        assert!(asks_for_json(&words("quorate get --output=json --what")));
        assert!(!asks_for_json(&words("quorate put json --output")));
    }
}
