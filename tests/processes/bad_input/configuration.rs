//! Configurations with mistakes: file, line, column, and what to write instead; and nothing is started.

use std::path::PathBuf;

use tempfile::TempDir;

use crate::support::cli::{Ran, run};

/// A configuration in which nothing is wrong.
const RIGHT: &str = r#"
[cluster]
id = "shop"
replicas = 1
[[cluster.node]]
id = "n1"
address = "127.0.0.1:7400"
[node]
id = "n1"
data_dir = "data"
[peer]
heartbeat_interval = "500ms"
"#;

struct File {
    directory: TempDir,
}

impl File {
    /// The right configuration with one thing replaced.
    fn with(right: &str, wrong: &str) -> Self {
        assert!(RIGHT.contains(right), "{right}");
        let directory = tempfile::tempdir().expect("a temporary directory");
        std::fs::write(directory.path().join("quorate.toml"), RIGHT.replacen(right, wrong, 1)).expect("written");
        Self { directory }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("quorate.toml")
    }

    /// What starting a server and checking the file say.
    async fn refused(&self) -> [Ran; 2] {
        let path = self.path();
        let path = path.to_str().expect("a path in UTF-8");
        let (server, check) = (["server", "--config", path], ["config", "check", "--config", path]);
        [run(&server).await.exits(2), run(&check).await.exits(2)]
    }
}

#[tokio::test]
async fn a_typo_is_shown_with_its_place_and_the_word_that_was_meant() {
    for (right, wrong, place, suggestion) in [
        ("replicas = 1", "replica = 1", ":4:1", "did you mean cluster.replicas?"),
        ("[peer]", "[peers]", ":11:", "peer"),
        ("heartbeat_interval", "heartbeat_intervall", ":12:1", "did you mean peer.heartbeat_interval?"),
        ("data_dir", "datadir", ":10:1", "did you mean node.data_dir?"),
    ] {
        let file = File::with(right, wrong);
        for ran in file.refused().await {
            ran.says(&format!("quorate.toml{place}")).says(suggestion);
        }
    }
}

#[tokio::test]
async fn a_bad_value_is_shown_with_its_place_and_what_to_write_instead() {
    for (right, wrong, place, advice) in [
        ("\"500ms\"", "\"soon\"", ":12:", "500ms"),
        ("replicas = 1", "replicas = 9", ":4:", "1 to 7"),
        ("replicas = 1", "replicas = 3", ":4:", "1"),
        ("address = \"127.0.0.1:7400\"", "address = \"127.0.0.1\"", ":7:", "port"),
        ("id = \"shop\"", "id = \"\"", ":3:", "letters"),
        ("replicas = 1", "replicas = ", ":4:", ""),
    ] {
        let file = File::with(right, wrong);
        for ran in file.refused().await {
            ran.says(&format!("quorate.toml{place}")).says(advice);
        }
    }
}

#[tokio::test]
async fn all_mistakes_are_told_at_once() {
    let file = File::with("replicas = 1", "replica = 1\npartitions = 100");
    for ran in file.refused().await {
        ran.says(":4:1").says("did you mean cluster.replicas?").says(":5:").says("power of two");
    }
}

#[tokio::test]
async fn settings_of_the_command_line_are_checked_too() {
    let file = File::with("replicas = 1", "replicas = 1");
    let path = file.path();
    let path = path.to_str().expect("a path in UTF-8");
    run(&["config", "check", "--config", path]).await.exits(0);
    let ran = run(&["config", "check", "--config", path, "--set", "peer.heartbeat_intervall=1s"]).await.exits(2);
    ran.says("--set").says("did you mean peer.heartbeat_interval?");
    run(&["config", "check", "--config", path, "--set", "nonsense"]).await.exits(2).says("--set");
    let missing = file.directory.path().join("missing.toml");
    let ran = run(&["server", "--config", missing.to_str().expect("a path in UTF-8")]).await.exits(2);
    ran.says("missing.toml");
    let shown = run(&["config", "show", "--config", path, "--set", "peer.heartbeat_interval=700ms"]).await.exits(0);
    assert!(shown.text().contains("heartbeat_interval = \"700ms\""), "{shown}");
}
