//! The command line as a script sees it: arguments and stdin in; exit code, stdout and stderr out.

use std::fmt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

use super::cluster::{BINARY, TestCluster};

/// How long operations of commands may take that name no other time; as long as a busy machine needs.
const TIMEOUT: &str = "20s";
/// Longest that a command may run.
const RUN_MAX: Duration = Duration::from_secs(90);

/// A command that has ended.
pub(crate) struct Ran {
    command: String,
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
}

/// The binary with these arguments, without what the environment of this process would tell it. It does not outlive the test.
pub(crate) fn quorate(arguments: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    let ours = |name: &str| name.starts_with("QUORATE") || name == "RUST_LOG";
    for (name, _) in std::env::vars_os().filter(|(name, _)| ours(&name.to_string_lossy())) {
        command.env_remove(name);
    }
    command.args(arguments).kill_on_drop(true);
    command
}

/// Runs a command without stdin.
pub(crate) async fn run(arguments: &[&str]) -> Ran {
    finish(quorate(arguments), b"").await
}

/// Runs a command to its end.
///
/// # Panics
/// If it does not end.
pub(crate) async fn finish(mut command: Command, stdin: &[u8]) -> Ran {
    let arguments: Vec<_> = command.as_std().get_args().map(|argument| argument.to_string_lossy().into_owned()).collect();
    let name = format!("quorate {}", arguments.join(" "));
    let started = Instant::now();
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().expect("the binary starts");
    let mut input = child.stdin.take().expect("stdin is piped");
    let feeding = async {
        // A command that has heard enough closes its stdin.
        let _ = input.write_all(stdin).await;
        drop(input);
    };
    let ended = timeout(RUN_MAX, async { tokio::join!(feeding, child.wait_with_output()).1 }).await;
    let output = ended.unwrap_or_else(|_| panic!("{name} did not end within {RUN_MAX:?}")).expect("its output can be read");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    Ran { command: name, code: output.status.code(), stdout: output.stdout, stderr, took: started.elapsed() }
}

impl TestCluster {
    /// Runs a command on this cluster.
    pub(crate) async fn cli(&self, arguments: &[&str]) -> Ran {
        self.cli_with(arguments, b"").await
    }

    /// Runs a command on this cluster, with something to read from stdin.
    pub(crate) async fn cli_with(&self, arguments: &[&str], stdin: &[u8]) -> Ran {
        let mut command = quorate(arguments);
        if !arguments.contains(&"--timeout") {
            command.args(["--timeout", TIMEOUT]);
        }
        command.env("QUORATE_CLUSTER", self.seeds());
        finish(command, stdin).await
    }
}

impl Ran {
    /// Passes the result on if the command ended so.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }

    /// Passes the result on if stderr says this.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        assert!(self.in_one_line().contains(text), "stderr does not say {text:?}\n{self}");
        self
    }

    /// stdout as text.
    #[track_caller]
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap_or_else(|_| panic!("stdout is no text\n{self}"))
    }

    /// stdout as one JSON object.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.stdout).unwrap_or_else(|error| panic!("stdout is no JSON: {error}\n{self}"))
    }

    /// stderr with its line breaks and indents as single blanks.
    fn in_one_line(&self) -> String {
        self.stderr.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { command, code, stdout, stderr, took } = self;
        let stdout = String::from_utf8_lossy(stdout);
        write!(f, "{command}: exit {code:?} after {took:?}\nstdout: {stdout}\nstderr: {stderr}")
    }
}
