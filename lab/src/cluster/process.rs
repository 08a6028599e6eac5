//! One node as a process of this machine.
//!
//! **Promise.** A process started here does not outlive its starter, however that one ends:
//! - dropped, also by a panic: SIGKILL, which ends stopped processes too, and the process is reaped;
//! - killed itself: the node's stdin is a pipe from its starter, and the node ends when it closes. A node that is stopped at
//!   that moment is the only member of its process group, which becomes orphaned: the kernel continues it and sends SIGHUP.
//!
//! The group of its own also keeps a Ctrl-C in the terminal from the nodes: the starter decides when they end.
//!
//! Only processes that have not been reaped are ever signalled, so that their ids cannot have passed to somebody else.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use quorate_protocol::Defect;
use quorate_rpc::admin::Faults;
use tokio::time::{Instant, sleep};

/// How often a process that was asked to stop is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How the kernel spells the state of a thread that SIGSTOP has stopped.
const STOPPED: char = 'T';

/// How a node's process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It runs.
    Running,
    /// It is stopped, as by SIGSTOP.
    Paused,
    /// There is none.
    Dead,
}

/// What to run.
#[derive(Debug)]
pub(crate) struct Launch<'a> {
    pub(crate) binary: &'a Path,
    pub(crate) config: &'a Path,
    pub(crate) log: &'a Path,
    pub(crate) settings: &'a [String],
    pub(crate) enable_faults: bool,
    /// The faults it has from its first message on; none unless faults are enabled.
    pub(crate) faults: &'a Faults,
    /// The rule that it breaks.
    pub(crate) bug: Option<Defect>,
    /// The data directory is new.
    pub(crate) init: bool,
}

/// A process that has not been reaped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    paused: bool,
}

impl Process {
    /// Starts a node. Its stderr is appended to its log.
    pub(crate) fn spawn(launch: &Launch<'_>) -> io::Result<Self> {
        let log = OpenOptions::new().create(true).append(true).open(launch.log)?;
        let mut command = Command::new(launch.binary);
        command.arg("server").arg("--config").arg(launch.config).arg("--exit-with-stdin");
        if launch.init {
            command.arg("--init");
        }
        if launch.enable_faults {
            command.arg("--enable-faults");
        }
        if *launch.faults != Faults::default() {
            command.arg("--initial-faults").arg(serde_json::to_string(launch.faults).expect("faults are plain values"));
        }
        if let Some(bug) = launch.bug {
            command.arg("--bug").arg(bug.name());
        }
        for setting in launch.settings {
            command.arg("--set").arg(setting);
        }
        // What the starter was told by QUORATE__SECTION__KEY is meant for it, not for each of its nodes.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with(quorate_config::ENVIRONMENT_PREFIX)) {
            command.env_remove(name);
        }
        let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log).process_group(0).spawn()?;
        Ok(Self { child, paused: false })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn life(&self) -> Life {
        if self.paused { Life::Paused } else { Life::Running }
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// SIGSTOP; returns when no thread runs any more, or when the process has ended. False: some thread still runs after
    /// `within`; it stops as soon as the kernel lets it.
    pub(crate) async fn pause(&mut self, within: Duration) -> io::Result<bool> {
        let until = Instant::now() + within;
        self.signal(Signal::SIGSTOP)?;
        self.paused = true;
        loop {
            if self.ended()?.is_some() || is_stopped(self.pid()) {
                return Ok(true);
            }
            if Instant::now() >= until {
                return Ok(false);
            }
            sleep(LOOK_EVERY).await;
        }
    }

    pub(crate) fn resume(&mut self) -> io::Result<()> {
        self.signal(Signal::SIGCONT)?;
        self.paused = false;
        Ok(())
    }

    /// SIGKILL; returns when it is reaped.
    pub(crate) fn kill(mut self) -> io::Result<ExitStatus> {
        self.child.kill()?;
        self.child.wait()
    }

    /// SIGTERM, also to a stopped process. `None`: it has not ended by then and runs on.
    pub(crate) async fn terminate(&mut self, within: Duration) -> io::Result<Option<ExitStatus>> {
        let until = Instant::now() + within;
        self.signal(Signal::SIGTERM)?;
        self.resume()?;
        loop {
            let ended = self.ended()?;
            if ended.is_some() || Instant::now() >= until {
                return Ok(ended);
            }
            sleep(LOOK_EVERY).await;
        }
    }

    fn signal(&mut self, signal: Signal) -> io::Result<()> {
        if self.ended()?.is_some() {
            return Ok(()); // reaped just now: its id may already be another's
        }
        let pid = i32::try_from(self.child.id()).expect("process ids are positive and below 2^31");
        Ok(kill(Pid::from_raw(pid), signal)?)
    }
}

/// Whether every thread of a process is stopped. The signal reaches them one by one, and one that waits for the disk later.
fn is_stopped(pid: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten();
    // A thread whose state cannot be read has ended just now.
    threads.filter_map(|thread| state(&thread.ok()?.path())).all(|state| state == STOPPED)
}

/// The state of a process or thread, as the kernel spells it behind the name in `stat`.
fn state(directory: &Path) -> Option<char> {
    let stat = std::fs::read_to_string(directory.join("stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

impl Drop for Process {
    fn drop(&mut self) {
        // An error means that it has ended already; there is nobody to tell in any case.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The files of one node.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    pub(crate) config: PathBuf,
    pub(crate) data: PathBuf,
    pub(crate) log: PathBuf,
}

impl Files {
    pub(crate) fn within(dir: &Path) -> Self {
        Self { config: dir.join("quorate.toml"), data: dir.join("data"), log: dir.join("log") }
    }

    /// True when the node has never stored anything.
    pub(crate) fn is_fresh(&self) -> bool {
        std::fs::read_dir(&self.data).map_or(true, |mut entries| entries.next().is_none())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    /// How long anything may take, on a busy machine.
    const PATIENCE: Duration = Duration::from_secs(30);

    /// Something that can be started like a node: `exec` keeps the process id.
    fn stand_in(dir: &Path, script: &str) -> Process {
        let binary = dir.join("quorate");
        std::fs::write(&binary, format!("#!/bin/sh\n{script}\n")).expect("written");
        std::fs::set_permissions(&binary, std::fs::Permissions::from_mode(0o755)).expect("executable");
        let (config, log) = (dir.join("config"), dir.join("log"));
        let faults = Faults { skew_ms: -7, ..Faults::default() };
        let launch = Launch {
            binary: &binary,
            config: &config,
            log: &log,
            settings: &["a.b=1".to_owned()],
            enable_faults: true,
            faults: &faults,
            bug: Some(Defect::RepairOverwrites),
            init: true,
        };
        Process::spawn(&launch).expect("starts")
    }

    fn state_of(pid: u32) -> Option<char> {
        state(Path::new(&format!("/proc/{pid}")))
    }

    async fn until(mut condition: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !condition() {
            assert!(Instant::now() < deadline, "waited for too long");
            // waits for: the condition, asked again until it holds
            sleep(LOOK_EVERY).await;
        }
    }

    #[tokio::test]
    async fn a_node_is_told_all_its_options() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut process = stand_in(dir.path(), "echo \"$@\" >&2; exit 3");
        until(|| process.ended().expect("looked at").is_some()).await;
        let log = std::fs::read_to_string(dir.path().join("log")).expect("a log");
        let config = dir.path().join("config");
        let faults = r#"--initial-faults {"links":{},"skew_ms":-7}"#;
        let expected = format!(
            "server --config {} --exit-with-stdin --init --enable-faults {faults} --bug repair-overwrites --set a.b=1\n",
            config.display()
        );
        assert_eq!(log, expected);
        assert_eq!(process.ended().expect("looked at").and_then(|status| status.code()), Some(3));
    }

    #[tokio::test]
    async fn a_paused_process_is_stopped_goes_on_and_ends_when_dropped() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut process = stand_in(dir.path(), "exec cat");
        let pid = process.pid();
        assert!(process.pause(PATIENCE).await.expect("paused"));
        assert_eq!((state_of(pid), process.life()), (Some(STOPPED), Life::Paused), "stopped when it returns");
        process.resume().expect("resumed");
        until(|| state_of(pid) != Some(STOPPED)).await;
        assert!(process.pause(PATIENCE).await.expect("paused"));
        drop(process);
        assert_eq!(state_of(pid), None, "killed and reaped although stopped");
    }

    #[tokio::test]
    async fn pausing_a_process_that_has_ended_waits_for_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut process = stand_in(dir.path(), "exit 0");
        until(|| state_of(process.pid()).is_none_or(|state| state == 'Z')).await;
        assert!(process.pause(PATIENCE).await.expect("looked at"));
    }

    #[tokio::test]
    async fn a_paused_process_can_be_terminated() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut process = stand_in(dir.path(), "exec cat");
        assert!(process.pause(PATIENCE).await.expect("paused"));
        let ended = process.terminate(PATIENCE).await.expect("signalled").expect("ends");
        assert_eq!(ended.signal(), Some(15));
    }

    #[tokio::test]
    async fn a_process_that_ignores_sigterm_is_reported_and_runs_on() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut process = stand_in(dir.path(), "trap '' TERM; echo ready >&2; while read line; do :; done");
        let log = dir.path().join("log");
        until(|| std::fs::read_to_string(&log).is_ok_and(|log| log.contains("ready"))).await;
        assert_eq!(process.terminate(Duration::from_millis(20)).await.expect("signalled"), None);
        assert_eq!(process.life(), Life::Running);
        assert_eq!(process.kill().expect("killed").signal(), Some(9));
    }

    #[tokio::test]
    async fn a_process_ends_when_its_starter_closes_the_pipe() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut process = stand_in(dir.path(), "exec cat");
        drop(process.child.stdin.take());
        until(|| process.ended().expect("looked at").is_some()).await;
    }
}
