//! `quorate demo`: scripts of the prompt, and what is left when it ends, however it ends.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Child;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::support::cli::{Ran, finish, quorate, run};
use crate::support::server::Server;
use crate::support::wait::{PATIENCE, eventually, seen};

/// Demos are clusters that the bound on living nodes does not count, so one place at a time has some.
static ONE: Semaphore = Semaphore::const_new(1);

/// A place for temporary directories that nobody else uses, so that what is left behind can be found.
struct Place {
    directory: TempDir,
    _turn: SemaphorePermit<'static>,
}

impl Place {
    async fn new() -> Self {
        let turn = ONE.acquire().await.expect("the semaphore is never closed");
        Self { directory: tempfile::tempdir().expect("a temporary directory"), _turn: turn }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Processes that were told of a file here.
    fn processes(&self) -> Vec<String> {
        let here = self.path().to_str().expect("a path in UTF-8");
        let commands = std::fs::read_dir("/proc").expect("a proc file system").filter_map(|entry| {
            let command = std::fs::read(entry.ok()?.path().join("cmdline")).ok()?;
            Some(String::from_utf8_lossy(&command).replace('\0', " "))
        });
        commands.filter(|command| command.contains(here)).collect()
    }

    fn entries(&self) -> Vec<std::ffi::OsString> {
        std::fs::read_dir(self.path()).expect("readable").map(|entry| entry.expect("an entry").file_name()).collect()
    }

    fn assert_nothing_left(&self) {
        assert_eq!(self.processes(), Vec::<String>::new());
        assert_eq!(self.entries(), Vec::<std::ffi::OsString>::new());
    }

    /// Runs a demo that reads this script.
    async fn demo(&self, script: &str) -> Ran {
        self.demo_of(&[], script).await
    }

    /// The same, with options.
    async fn demo_of(&self, options: &[&str], script: &str) -> Ran {
        let mut command = quorate(&[&["demo", "--timeout", "20s"], options].concat());
        command.env("TMPDIR", self.path());
        finish(command, script.as_bytes()).await
    }

    /// Kills a demo and waits until its nodes have ended too.
    async fn kill(&self, demo: &mut Child) {
        demo.kill().await.expect("killed");
        eventually("the nodes have ended", async || {
            let processes = self.processes();
            seen(processes.is_empty(), processes)
        })
        .await;
    }

    /// Starts a demo that only holds a cluster, and returns it with a seed of the cluster.
    async fn hold(&self) -> (Child, String) {
        let mut command = quorate(&["demo", "--hold"]);
        command.env("TMPDIR", self.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut demo = command.spawn().expect("the binary starts");
        let mut lines = BufReader::new(demo.stdout.take().expect("stdout is piped")).lines();
        let seed = timeout(PATIENCE, async {
            while let Some(line) = lines.next_line().await.expect("readable") {
                if let Some(at) = line.find("127.0.0.1:") {
                    let rest = &line[at..];
                    return rest.split(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | ':')).next().expect("an address").to_owned();
                }
            }
            panic!("the demo printed no address");
        });
        let seed = seed.await.expect("the demo prints its addresses");
        tokio::spawn(async move { lines.into_inner().read_to_end(&mut Vec::new()).await });
        eventually("the demo's cluster answers", async || {
            let ran = run(&["put", "k", "v", "--cluster", &seed]).await;
            seen(ran.code == Some(0), ran.to_string())
        })
        .await;
        assert_eq!(self.processes().len(), 3, "three nodes were told of a file here");
        (demo, seed)
    }
}

fn signal(process: &Child, name: &str) {
    let id = process.id().expect("it has not ended").to_string();
    let sent = std::process::Command::new("kill").args([name, &id]).status().expect("kill can be run");
    assert!(sent.success());
}

/// What README.md shows is what a newcomer pastes.
#[tokio::test]
async fn the_commands_of_the_readme_go_as_it_says() {
    let readme = include_str!("../../README.md");
    let script = readme.split("```text\n").nth(1).and_then(|rest| rest.split("```").next()).expect("README.md shows commands of the demo");
    let place = Place::new().await;
    place.demo(script).await.exits(0);
    place.assert_nothing_left();
}

#[tokio::test]
async fn the_script_of_a_killed_node_succeeds_and_leaves_nothing() {
    let place = Place::new().await;
    let script = "put a 1\nget a\nkill n2\nput a 2 --level quorum\n!get a --level all\nget a --level one\nrestart n2\nget a --level all\nstatus\nquit\n";
    let ran = place.demo(script).await.exits(0);
    for line in script.lines() {
        assert!(ran.text().contains(&format!("quorate> {line}\n")), "{line:?} is echoed: {ran}");
    }
    assert!(ran.text().contains("n2 is down"), "the failure names the dead node: {ran}");
    assert!(ran.text().contains("what helps: `restart n2`, or a lower level"), "{ran}");
    place.assert_nothing_left();
}

#[tokio::test]
async fn a_script_whose_command_fails_or_must_fail_and_does_not_ends_with_a_failure() {
    let place = Place::new().await;
    for script in ["kill n2\nget a --level all\nput b 1\n", "put a 1\n!get a\n", "put a 1\nfrobnicate\n"] {
        let ran = place.demo(script).await;
        assert!(ran.code.is_some_and(|code| code != 0), "{ran}");
    }
    place.assert_nothing_left();
}

#[tokio::test]
async fn faults_of_the_prompt_take_effect() {
    let place = Place::new().await;
    let script = "\
# a key that is not there is no failure
get nothing
put a 1 --level all
level one
partition n1|n2,n3
put a 2 --level quorum
!get a --level all
heal
get a --level all
slow n3 200ms
skew n2 +3s
latency n1-n2 20ms
get a --level quorum
heal
pause n3
put a 3 --level quorum
resume n3
get a --level all
put b 1 --concurrent --level all
put b 2 --concurrent --level all
siblings b --level all
del a
ring a
help
";
    let ran = place.demo(script).await.exits(0);
    assert!(ran.text().contains("\"b\" has 2 values"), "{ran}");
    place.assert_nothing_left();
}

#[tokio::test]
async fn a_partition_is_seen_from_both_of_its_sides() {
    let place = Place::new().await;
    let script = "\
put a before --level all
partition n1|n2,n3
put a majority --level quorum --via n2
get a --level one --via n1
get a --level quorum --via n3
!get a --level quorum --via n1
put a minority --level one --via n1
get a --level one --via n1
heal
siblings a --level all
";
    let ran = place.demo(script).await.exits(0);
    let answer =
        |line: &str| ran.text().split(&format!("quorate> {line}\n")).nth(1).and_then(|rest| rest.lines().next()).map(str::to_owned);
    assert_eq!(answer("get a --level one --via n1").as_deref(), Some("before"), "{ran}");
    assert_eq!(answer("get a --level quorum --via n3").as_deref(), Some("majority"), "{ran}");
    assert_eq!(answer("siblings a --level all").as_deref(), Some("\"a\" has 2 values"), "{ran}");
    assert!(ran.text().contains("what helps: `heal`, or a lower level"), "{ran}");
    place.assert_nothing_left();
}

#[tokio::test]
async fn the_prompt_says_what_is_true() {
    let place = Place::new().await;
    let script = "\
resume n1
restart n2
kill n3
put a 1 --level quorum
restart n3
kill n3
restart n3
!slow n3 1000h
!latency n1-n2 2m
!skew n1 400days
skew n1 +1d
put b 1 --concurrent --level all --via n1
put b 2 --concurrent --level all --via n2
siblings b --level all
pause n2
pause n2
!get a --level all
";
    let ran = place.demo(script).await.exits(0);
    for said in [
        "n1 was not paused; connected with n2 and n3",
        "n2 was running and was stopped first; it is back after",
        "no hints were kept for it",
        "1000h",
        "write at most 1m",
        "a clock can be wrong by at most 365 days",
        "n2 is stopped, as it was before:",
        "what helps: `resume n2`, or a lower level",
    ] {
        assert!(ran.text().contains(said), "{said:?}: {ran}");
    }
    let delivered = ["the hint that was kept for it is delivered", "a hint for it is on its way"];
    assert!(delivered.iter().any(|said| ran.text().contains(said)), "{ran}");
    let days: BTreeSet<&str> = ran.text().split("    written ").skip(1).filter_map(|rest| rest.split('T').next()).collect();
    assert_eq!(days.len(), 2, "n1's clock is a day ahead: {ran}");
    place.assert_nothing_left();
}

#[tokio::test]
async fn a_cluster_that_cannot_be_is_a_mistake_on_the_command_line() {
    let place = Place::new().await;
    place.demo_of(&["--nodes", "0"], "").await.exits(2).says("1 to 32 nodes, not 0");
    place.demo_of(&["--nodes", "2", "--replicas", "3"], "").await.exits(2).says("1 to 2 replicas of a key, not 3");
    place.demo_of(&["--latency", "n1-n4=80ms"], "").await.exits(2).says("there is no n4");
    place.demo_of(&["--latency", "n1-n2=80h"], "").await.exits(2).says("write at most 1m");
    place.assert_nothing_left();
    let one = place.demo_of(&["--nodes", "1"], "put a 1\n").await.exits(0);
    assert!(one.text().starts_with("# A cluster of 1 node; "), "{one}");
}

/// Each prefers the ports that the others prefer, and may lose them between choosing and listening.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn demos_that_start_at_the_same_moment_all_come_up() {
    let place = Place::new().await;
    for _ in 0..3 {
        let demo = || place.demo("put a 1 --level all\nget a --level all\n");
        for ran in <[Ran; 4]>::from(tokio::join!(demo(), demo(), demo(), demo())) {
            ran.exits(0);
        }
    }
    place.assert_nothing_left();
}

#[tokio::test]
async fn a_node_that_was_started_again_by_hand_survives_the_demo_with_its_data() {
    let place = Place::new().await;
    let (mut demo, _) = place.hold().await;
    let directory = place.path().join(place.entries().first().expect("the cluster's directory"));
    let data = directory.join("n2/data");
    let lock = || std::fs::read_to_string(data.join("lock")).unwrap_or_default().trim().to_owned();
    let first = lock();
    let killed = std::process::Command::new("kill").args(["-KILL", &first]).status().expect("kill can be run");
    assert!(killed.success());
    let config = directory.join("n2/quorate.toml");
    let config = config.to_str().expect("a path in UTF-8");
    let log = place.path().join("by-hand.log");
    let mut by_hand = None;
    eventually("n2 runs again", async || {
        // The address may be taken for a moment longer than the process lived.
        let server = by_hand.get_or_insert_with(|| Server::spawn(&["server", "--config", config, "--enable-faults"], &log));
        if !server.runs() {
            by_hand = None;
            return Err("it has ended".to_owned());
        }
        seen(server.log().contains("node is listening"), server.log())
    })
    .await;
    let process = lock();
    assert_ne!(process, first);

    signal(&demo, "-TERM");
    let mut said = String::new();
    let stderr = demo.stderr.as_mut().expect("stderr is piped");
    timeout(PATIENCE, stderr.read_to_string(&mut said)).await.expect("it ends").expect("readable");
    let told = format!("n2 still runs as process {process}, which this demo did not start; its data stay in {}", data.display());
    assert!(said.contains(&told), "{said}");
    let mut server = by_hand.expect("it runs");
    assert!(server.runs() && data.join("db/CURRENT").exists(), "{}", server.log());
    // Nor does the next demo take it away, while it runs or later.
    place.demo("").await.exits(0);
    drop(server);
    place.demo("").await.exits(0);
    assert!(data.join("db/CURRENT").exists());
}

#[tokio::test]
async fn what_a_killed_demo_left_behind_goes_with_the_next_one() {
    let place = Place::new().await;
    let (mut demo, _) = place.hold().await;
    place.kill(&mut demo).await;
    assert_eq!(place.entries().len(), 1);
    place.demo("").await.exits(0);
    place.assert_nothing_left();
}

#[tokio::test]
async fn signals_end_a_held_cluster_and_leave_nothing() {
    for name in ["-TERM", "-INT", "-HUP"] {
        let place = Place::new().await;
        let (mut demo, seed) = place.hold().await;
        signal(&demo, name);
        timeout(PATIENCE, demo.wait()).await.expect("it ends").expect("its status can be read");
        place.assert_nothing_left();
        run(&["get", "k", "--cluster", &seed]).await.exits(6);
    }
}

#[tokio::test]
async fn the_nodes_do_not_outlive_a_demo_that_was_killed() {
    let place = Place::new().await;
    let (mut demo, _) = place.hold().await;
    place.kill(&mut demo).await;
}

#[tokio::test]
async fn a_demo_in_a_directory_keeps_its_data() {
    let place = Place::new().await;
    let directory = place.path().join("kept");
    let directory = directory.to_str().expect("a path in UTF-8");
    let demo = async |script: &'static str| finish(quorate(&["demo", "--dir", directory]), script.as_bytes()).await;
    demo("put a kept --level all\n").await.exits(0);
    let ran = demo("get a --level all\n").await.exits(0);
    assert!(ran.text().contains("kept"), "{ran}");
    assert_eq!(place.processes(), Vec::<String>::new());
    assert!(ran.took < Duration::from_secs(60));
}
