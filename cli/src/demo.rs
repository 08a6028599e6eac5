//! `quorate demo`: a real cluster on this machine, to be played with.
//!
//! **Promise.** The nodes are ordinary `quorate server` processes with data of their own; whatever is done at the prompt is done to
//! them. However the demo ends (`quit`, end of input, Ctrl-C, SIGTERM), no process of its own stays, nor a temporary directory.
//!
//! - *Upon start*: one block that can be copied into another terminal as it is.
//! - *Upon a line from a person*: the answer, and how it came about. An error never ends the demo.
//! - *Upon a line from a script* (stdin is no terminal): the line is echoed with its answer. It must succeed, or fail if it begins with
//!   `!`; a key without a value is a success. A command that does not exist always counts as failed. If any line ended unexpectedly,
//!   the demo ends with 1, after the last line.
//! - *With `--hold`*: no prompt; the cluster runs until SIGTERM or Ctrl-C. A node that ends by itself is reported with the command that
//!   starts it again. A node that was started again so is not the demo's: at the end it goes on, and its data stay where they are.

mod answer;
mod command;
mod input;
mod shell;
mod view;

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use quorate_client::Client;
use quorate_lab::cluster::{Cluster, ClusterError, ClusterSpec, Dir, Node, Pair, Ports, Stranger};
use quorate_lab::stop::StopSignals;
use quorate_protocol::Defect;
use serde::Serialize;

use crate::error::CliError;
use crate::exit::Exit;
use crate::globals::{Globals, Output};
use crate::output;
use crate::planted::Planted;
use command::{Command, CommandError, pair_and_round_trip};
use input::{Input, InputError, Line, PROMPT};
use shell::{Reply, Shell};

/// The first of the ports that commands look at when they are told no cluster.
const PORT_BASE: u16 = 7400;
/// How often nodes are looked at that nobody asks anything.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Runs a real cluster on this machine, with a prompt.
///
/// When stdin is no terminal, commands are read from it, and the exit code says whether all of them went as expected.
#[derive(Clone, Debug, Args)]
pub struct Demo {
    /// How many nodes.
    #[arg(long, default_value_t = 3, value_name = "COUNT")]
    nodes: u16,

    /// Home replicas per key [default: 3, or the number of nodes if there are fewer].
    #[arg(long, value_name = "COUNT")]
    replicas: Option<u8>,

    /// Keep the data in this directory, and go on with what is there [default: a temporary directory, removed at the end].
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,

    /// A round trip between two nodes, which `heal` leaves alone; may be given several times.
    #[arg(long, value_name = "A-B=TIME", value_parser = pair_and_round_trip)]
    latency: Vec<(Pair, Duration)>,

    /// A setting for every node, as `server` takes it; may be given several times.
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,

    /// Run without a prompt until SIGTERM or Ctrl-C.
    #[arg(long)]
    hold: bool,

    #[command(flatten)]
    planted: Planted,
}

/// The demo cannot go on.
#[derive(Debug, thiserror::Error)]
enum DemoError {
    #[error("cannot find this program's own file")]
    Binary { source: io::Error },
    #[error("cannot listen for signals")]
    Signals { source: io::Error },
    #[error("the cluster could not be started")]
    Start { source: ClusterError },
    #[error("the cluster could not be stopped cleanly")]
    Stop { source: ClusterError },
    #[error(transparent)]
    Input(#[from] InputError),
    #[error("stopped by a signal before the script was over")]
    Interrupted,
    #[error("{unexpected} of {commands} commands did not end as the script expects")]
    Unexpected { unexpected: usize, commands: usize },
}

/// How a script's lines went so far; a person may err as much as they like.
#[derive(Default)]
struct Score {
    commands: usize,
    unexpected: usize,
}

/// The cluster, for `--output json`.
#[derive(Serialize)]
struct ClusterFields {
    cluster: String,
    dir: String,
    nodes: Vec<NodeFields>,
}

#[derive(Serialize)]
struct NodeFields {
    node: String,
    address: String,
    process: Option<u32>,
    config: String,
}

/// One line of a script with its answer, for `--output json`.
#[derive(Serialize)]
struct Told<'a> {
    line: &'a str,
    succeeded: bool,
    expected: bool,
    answer: String,
}

/// Runs the command.
///
/// # Errors
/// Exit 1 when the cluster does not start, or a line of a script did not go as expected.
pub async fn run(command: Demo, globals: &Globals) -> Result<Exit, CliError> {
    let mut stop = StopSignals::take().map_err(|source| failure(DemoError::Signals { source }))?;
    let binary = std::env::current_exe().map_err(|source| failure(DemoError::Binary { source }))?;
    let started = tokio::select! {
        started = Cluster::start(command.spec(&binary)) => started,
        _ = stop.next() => return Err(failure(DemoError::Interrupted)),
    };
    let mut cluster = started.map_err(not_started)?;
    match globals.output {
        Output::Json => output::print_json(&ClusterFields::of(&cluster))?,
        Output::Table | Output::Raw => output::print(block(&cluster, &binary))?,
    }
    if command.hold {
        watch(&mut cluster, &binary, &mut stop).await;
        return stopped(cluster).await.map(|()| Exit::Ok);
    }
    let client = Client::builder().seeds(&cluster.seeds());
    let client = globals.timeout.into_iter().fold(client, quorate_client::ClientBuilder::deadline).connect().await?;
    let (mut shell, mut input) = (Shell::new(cluster, client), Input::open());
    let score = tokio::select! {
        score = talk(&mut shell, &mut input, globals.output) => Some(score),
        _ = stop.next() => None,
    };
    let is_person = input.is_terminal();
    drop(input);
    stopped(shell.into_cluster()).await?;
    match score {
        None if is_person => Ok(Exit::Ok),
        None => Err(failure(DemoError::Interrupted)),
        Some(score) => match score? {
            Score { unexpected: 0, .. } => Ok(Exit::Ok),
            Score { unexpected, commands } => Err(failure(DemoError::Unexpected { unexpected, commands })),
        },
    }
}

impl Demo {
    fn spec(&self, binary: &Path) -> ClusterSpec {
        ClusterSpec {
            dir: self.dir.clone().map_or(Dir::Temporary, Dir::Kept),
            ports: Ports::PreferredBase(PORT_BASE),
            enable_faults: true,
            bug: self.planted.bug(),
            replicas: self.replicas,
            settings: self.set.clone(),
            latency: self.latency.clone(),
            ..ClusterSpec::new(binary, self.nodes)
        }
    }
}

impl ClusterFields {
    fn of(cluster: &Cluster) -> Self {
        let fields = |node: &Node| NodeFields {
            node: node.id().to_string(),
            address: node.address().to_owned(),
            process: node.pid(),
            config: node.config().display().to_string(),
        };
        Self { cluster: cluster.seeds(), dir: cluster.dir().display().to_string(), nodes: cluster.nodes().map(fields).collect() }
    }
}

/// What can be copied into another terminal as it is: comments and commands.
fn block(cluster: &Cluster, binary: &Path) -> String {
    let binary = shell_word(binary.as_os_str());
    let nodes = cluster.nodes().map(|node| format!("#   {}  {}  process {}", node.id(), node.address(), node.pid().unwrap_or_default()));
    let nodes = nodes.collect::<Vec<_>>().join("\n");
    let place = match cluster.spec().dir {
        Dir::Temporary => "removed at the end",
        Dir::Kept(_) => "kept",
    };
    let dir = cluster.dir().display();
    let bug = cluster
        .spec()
        .bug
        .map_or_else(String::new, |bug| format!("# Its nodes have the planted bug {bug}: they break their promises on purpose.\n"));
    let count = match cluster.nodes().len() {
        1 => "1 node".to_owned(),
        count => format!("{count} nodes"),
    };
    format!(
        "# A cluster of {count}; its data are in {dir}, {place}.\n\
         {nodes}\n\
         {bug}\
         # Talk to it from another terminal:\n\
         export QUORATE_CLUSTER={seeds}\n\
         {binary} put cart:7 milk --level quorum\n\
         {binary} get cart:7 --explain\n\
         {binary} status\n",
        seeds = cluster.seeds(),
    )
}

/// Runs until a signal comes, and reports nodes that end by themselves.
async fn watch(cluster: &mut Cluster, binary: &Path, stop: &mut StopSignals) {
    let mut look = tokio::time::interval(LOOK_EVERY);
    loop {
        tokio::select! {
            _ = stop.next() => return,
            _ = look.tick() => while let Err(error) = cluster.check() {
                output::note(&error);
                if let ClusterError::Exited { node, .. } = error
                    && let Ok(node) = cluster.node(node)
                {
                    output::note(format_args!("start it again:\n{}", start_again(node, binary, cluster.spec().bug)));
                }
            },
        }
    }
}

/// The command that starts a node of the cluster again, in a terminal of its own.
fn start_again(node: &Node, binary: &Path, bug: Option<Defect>) -> String {
    let bug = bug.map_or_else(String::new, |bug| format!(" --bug {bug}"));
    format!("{} server --config {} --enable-faults{bug}", shell_word(binary.as_os_str()), shell_word(node.config().as_os_str()))
}

/// Does line after line until the end, or until `quit`.
async fn talk(shell: &mut Shell, input: &mut Input, output: Output) -> Result<Score, CliError> {
    let mut score = Score::default();
    if input.is_terminal() {
        output::print("`help` lists the commands.")?;
    }
    loop {
        let line = match input.next().await {
            Line::Text(line) => line,
            Line::End => return Ok(score),
            Line::Broken(error) => return Err(failure(error.into())),
        };
        for error in shell.ended() {
            output::note(error);
        }
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (must_fail, text) = line.strip_prefix('!').map_or((false, line.as_str()), |rest| (true, rest.trim_start()));
        let command = text.parse::<Command>();
        if matches!(command, Ok(Command::Quit)) {
            if output != Output::Json && !input.is_terminal() {
                output::print(format_args!("{PROMPT}{line}"))?;
            }
            return Ok(score);
        }
        let (succeeded, expected, answer) = answer(shell, command, must_fail).await;
        if !input.is_terminal() {
            score.commands += 1;
            score.unexpected += usize::from(!expected);
        }
        match (output, input.is_terminal()) {
            (Output::Json, _) => output::print_json(&Told { line: &line, succeeded, expected, answer })?,
            (Output::Table | Output::Raw, true) => output::print(answer)?,
            (Output::Table | Output::Raw, false) => {
                let remark = match (expected, must_fail) {
                    (true, _) => "",
                    (false, true) => "\n  unexpected: it should have failed",
                    (false, false) => "\n  unexpected: it should have succeeded",
                };
                output::print(format_args!("{PROMPT}{line}\n{answer}{remark}\n"))?;
            }
        }
    }
}

/// Whether the command succeeded, whether that was expected, and what to say.
async fn answer(shell: &mut Shell, command: Result<Command, CommandError>, must_fail: bool) -> (bool, bool, String) {
    let command = match command {
        Ok(command) => command,
        Err(error) => return (false, must_fail && !matches!(error, CommandError::Unknown { .. }), format!("error: {error}")),
    };
    let Reply { story, result } = shell.run(command).await;
    let story = story.map(|story| format!("\n{}", story.trim_end())).unwrap_or_default();
    match result {
        Ok(text) => (true, !must_fail, text + &story),
        Err(failure) => (false, must_fail, format!("error: {failure}{story}")),
    }
}

async fn stopped(cluster: Cluster) -> Result<(), CliError> {
    let strangers = cluster.shutdown().await.map_err(|source| failure(DemoError::Stop { source }))?;
    for Stranger { node, process, data } in strangers {
        let process = process.map_or_else(|| "a process".to_owned(), |id| format!("process {id}"));
        output::note(format_args!("{node} still runs as {process}, which this demo did not start; its data stay in {}", data.display()));
    }
    Ok(())
}

/// Why there is no cluster: a mistake on the command line, or the world's fault.
fn not_started(source: ClusterError) -> CliError {
    let exit = match source {
        ClusterError::NodeCount { .. }
        | ClusterError::ReplicaCount { .. }
        | ClusterError::UnknownNode { .. }
        | ClusterError::InvalidFault(_) => Exit::Usage,
        _ => Exit::Failure,
    };
    CliError::new(exit, DemoError::Start { source })
}

/// A word as shells read it: quoted if it has anything but harmless signs.
fn shell_word(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    if word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-+:@%".contains(&byte)) {
        return word.into_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

fn failure(error: DemoError) -> CliError {
    CliError::new(Exit::Failure, error)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Words {
        #[command(flatten)]
        demo: Demo,
    }

    #[test]
    fn options_become_the_cluster() {
        let words = ["demo", "--nodes", "5", "--latency", "n1-n2=80ms", "--latency", "n1-n3=10ms", "--set", "hints.age_max=1h"];
        let spec = Words::try_parse_from(words).expect("options").demo.spec(Path::new("/bin/quorate"));
        assert_eq!((spec.nodes, spec.replicas(), spec.latency.len(), spec.settings.len()), (5, 3, 2, 1));
        assert!(spec.enable_faults && spec.dir == Dir::Temporary && spec.ports == Ports::PreferredBase(7400));
        assert!(Words::try_parse_from(["demo", "--latency", "n1-n1=80ms"]).is_err());
    }

    #[test]
    fn paths_are_quoted_when_a_shell_would_take_them_apart() {
        assert_eq!(shell_word(OsStr::new("/opt/quorate-0.1/quorate")), "/opt/quorate-0.1/quorate");
        assert_eq!(shell_word(OsStr::new("/srv/it's me/quorate")), "'/srv/it'\\''s me/quorate'");
    }
}
