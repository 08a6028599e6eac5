//! The reference file `docs/configuration.toml` is held against the code: it parses, it names every key, it shows the real
//! defaults, and it explains each of them.

use std::collections::BTreeSet;

use quorate_config::{Config, SourceFile, Sources};

const REFERENCE: &str = include_str!("../../docs/configuration.toml");

/// The least that a cluster of three nodes has to write; everything else is default.
const MINIMAL: &str = r#"
cluster.id = "example"
node = { id = "n1", data_dir = "data/n1" }
[[cluster.node]]
id = "n1"
address = "127.0.0.1:7400"
[[cluster.node]]
id = "n2"
address = "127.0.0.1:7401"
[[cluster.node]]
id = "n3"
address = "127.0.0.1:7402"
"#;

/// What README.md tells people to write.
#[test]
fn the_configuration_of_the_readme_is_right_and_brings_no_warning() {
    let readme = include_str!("../../README.md");
    let text = readme.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("README.md shows a configuration");
    assert!(readme.contains("QUORATE__CLUSTER__SECRET"), "README.md says where the secret is written");
    let file = SourceFile { path: "README.md".into(), text: text.to_owned() };
    let env = vec![("QUORATE__CLUSTER__SECRET".to_owned(), "0123456789abcdef0123456789abcdef".to_owned())];
    let config = Config::from_sources(Sources { file: Some(file), env, set: Vec::new() }).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.warnings(), []);
}

fn config(text: &str) -> Config {
    let file = SourceFile { path: "docs/configuration.toml".into(), text: text.to_owned() };
    Config::from_sources(Sources { file: Some(file), ..Sources::default() }).unwrap_or_else(|errors| panic!("{errors}"))
}

/// The key of a line `key = value` or, if `unset`, of a line `#key = value`.
fn key(line: &str, unset: bool) -> Option<&str> {
    let line = if unset { line.strip_prefix('#')? } else { line };
    let (key, _) = line.split_once(" = ")?;
    key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_').then_some(key)
}

/// The reference with every key set that it shows as not set.
fn with_everything_set() -> String {
    REFERENCE.lines().map(|line| if key(line, true).is_some() { &line[1..] } else { line }).collect::<Vec<_>>().join("\n")
}

/// Pairs of table and key, `[peer] queue_max`, in a text with one key per line.
fn keys(text: &str) -> BTreeSet<String> {
    let mut table = "";
    let mut keys = BTreeSet::new();
    for line in text.lines() {
        if line.starts_with('[') {
            table = line;
        } else if let Some(key) = key(line, false) {
            keys.insert(format!("{table} {key}"));
        }
    }
    keys
}

#[test]
fn the_shown_defaults_are_the_real_defaults() {
    let (reference, minimal) = (config(REFERENCE), config(MINIMAL));
    assert_eq!(reference.cluster, minimal.cluster);
    assert_eq!(reference.node, minimal.node);
    assert_eq!(reference.store, minimal.store);
    assert_eq!(reference.peer, minimal.peer);
    assert_eq!(reference.coordination, minimal.coordination);
    assert_eq!(reference.hints, minimal.hints);
    assert_eq!(reference.log, minimal.log);
    assert_eq!(reference.buckets, minimal.buckets);
}

#[test]
fn every_key_is_named_and_only_optional_ones_are_not_set() {
    let everything = config(&with_everything_set());
    let effective = everything.render().replace("# secret is set, not shown", "secret = 0");
    let (known, named) = (keys(&effective), keys(&with_everything_set()));
    assert_eq!(known, named, "keys the code knows, keys the reference names");
    let left: Vec<_> = effective.lines().filter(|line| line.ends_with("# default")).collect();
    let zones_of_further_nodes = left.len() == 2 && left.iter().all(|line| line.starts_with("# zone is not set"));
    assert!(zones_of_further_nodes, "keys that the reference does not set: {left:#?}");

    let unset: Vec<_> = REFERENCE.lines().filter_map(|line| key(line, true)).collect();
    assert_eq!(unset, ["secret", "zone", "listen", "metrics_address", "worker_threads"]);
}

/// The comment before a key's first line says what it means, and its last paragraph begins with the default.
#[test]
fn every_key_is_explained_with_its_default() {
    let lines: Vec<&str> = REFERENCE.lines().collect();
    let mut explained = BTreeSet::new();
    let mut table = "";
    for (index, line) in lines.iter().enumerate() {
        if line.starts_with('[') {
            table = line;
        }
        let Some(key) = key(line, false).or_else(|| key(line, true)) else {
            continue;
        };
        if !explained.insert((table, key)) {
            continue;
        }
        let comment: Vec<&str> = lines[..index].iter().rev().take_while(|line| line.starts_with("# ")).copied().collect();
        let default = comment.iter().find_map(|line| line.strip_prefix("# Default: "));
        let required = comment.iter().any(|line| line.starts_with("# Required"));
        assert!(comment.len() >= 2, "{table} {key} lacks an explanation");
        assert!(required != default.is_some(), "{table} {key} says neither Required nor Default, or both");
    }
    assert!(explained.len() > 40, "found only {}", explained.len());
}

/// The default named in prose is the value on the line below it.
#[test]
fn the_defaults_in_prose_are_the_values_shown() {
    let lines: Vec<&str> = REFERENCE.lines().collect();
    let mut compared = 0;
    for (index, line) in lines.iter().enumerate() {
        let Some(key) = key(line, false).filter(|key| *key != "replicas") else {
            continue;
        };
        let value = line.split_once(" = ").expect("a key line").1.trim_matches('"');
        let comment = lines[..index].iter().rev().take_while(|line| line.starts_with("# "));
        let Some(prose) = comment.copied().find_map(|line| line.strip_prefix("# Default: ")) else {
            continue;
        };
        assert!(prose.starts_with(&format!("{value}.")), "{key} is {value}, but its comment says: {prose}");
        compared += 1;
    }
    assert!(compared >= 30, "compared only {compared}");
}
