//! What a user reads when a configuration is wrong, word for word.

use quorate_config::{Config, ConfigErrors, SourceFile, Sources};

const GOOD: &str = r#"[cluster]
id = "demo"
[[cluster.node]]
id = "n1"
address = "127.0.0.1:7400"
[[cluster.node]]
id = "n2"
address = "127.0.0.1:7401"
[[cluster.node]]
id = "n3"
address = "127.0.0.1:7402"
[node]
id = "n1"
data_dir = "data"
"#;

fn read(text: &str, env: &[(&str, &str)], set: &[&str]) -> Result<Config, ConfigErrors> {
    Config::from_sources(Sources {
        file: Some(SourceFile { path: "q.toml".into(), text: text.to_owned() }),
        env: env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        set: set.iter().map(|argument| (*argument).to_owned()).collect(),
    })
}

/// The errors of the good configuration with `more` below it.
fn errors_with(more: &str) -> String {
    read(&format!("{GOOD}{more}"), &[], &[]).expect_err("must be refused").to_string()
}

/// The errors of the good configuration with one text replaced.
fn errors_after(old: &str, new: &str) -> String {
    assert!(GOOD.contains(old));
    read(&GOOD.replacen(old, new, 1), &[], &[]).expect_err("must be refused").to_string()
}

fn errors_with_set(set: &[&str]) -> String {
    read(GOOD, &[], set).expect_err("must be refused").to_string()
}

#[test]
fn the_good_configuration_is_good() {
    let config = read(GOOD, &[], &[]).expect("good");
    assert_eq!(config.buckets.len(), 1);
}

#[test]
fn a_typo_gets_line_column_and_suggestion() {
    insta::assert_snapshot!(errors_with("[peer]\nheartbeat_intervall = \"1s\"\n"), @r"
    q.toml:16:1: unknown key peer.heartbeat_intervall
      did you mean peer.heartbeat_interval? [peer] has connect_timeout, heartbeat_interval, heartbeat_timeout, reconnect_min, reconnect_max, queue_max, batch_max
    ");
}

#[test]
fn a_misspelt_section_gets_a_suggestion() {
    insta::assert_snapshot!(errors_with("[hint]\nage_max = \"1h\"\n"), @r"
    q.toml:15:2: unknown key hint
      did you mean hints? the top level has cluster, node, store, peer, coordination, hints, log, bucket
    ");
}

#[test]
fn a_key_of_another_section_is_recognised() {
    insta::assert_snapshot!(errors_with("[store]\nhedge_after = \"1s\"\n"), @r"
    q.toml:16:1: unknown key store.hedge_after
      did you mean coordination.hedge_after? [store] has block_cache, write_buffer, commit_queue_max, commit_batch_max
    ");
}

#[test]
fn all_errors_are_reported_at_once() {
    let more =
        "[store]\nblock_cache = 5\ncommit_queue_max = \"many\"\n[log]\nformat = \"xml\"\n[coordination]\nbackground_repair_chance = 2\n";
    insta::assert_snapshot!(errors_with(more), @r#"
    q.toml:16:15: store.block_cache cannot be "5 B"
      write a value from "1 MiB" to "1 TiB"
    q.toml:17:20: store.commit_queue_max cannot be the text "many"
      write a whole number, without quotes, such as 3
    q.toml:19:10: log.format cannot be the text "xml"
      write "text" or "json"
    q.toml:21:28: coordination.background_repair_chance cannot be 2.0
      write a value from 0.0 to 1.0
    "#);
}

#[test]
fn values_of_the_wrong_kind_say_what_to_write() {
    let more = "peer = { connect_timeout = 5, queue_max = 1.5, batch_max = 99999999999999999999 }\nhints = { replay_batch = -1 }\nstore = 3\nbucket = [1]\n";
    insta::assert_snapshot!(read(&format!("{more}{GOOD}"), &[], &[]).expect_err("must be refused").to_string(), @r#"
    q.toml:1:28: peer.connect_timeout cannot be the integer 5
      write a time with its unit, in quotes, such as "500ms", "2s" or "3h"
    q.toml:1:43: peer.queue_max cannot be the number 1.5
      write a whole number, without quotes, such as 3
    q.toml:1:60: peer.batch_max cannot be 99999999999999999999
      write a value from 1 to 10000
    q.toml:2:26: hints.replay_batch cannot be -1
      write a value from 1 to 10000
    q.toml:3:9: store cannot be the integer 3
      write a table: its name in brackets, then one key = value per line
    q.toml:4:11: bucket cannot be the integer 1
      write one table per element: its name in double brackets, then one key = value per line
    "#);
}

#[test]
fn broken_toml_is_located() {
    insta::assert_snapshot!(errors_after("id = \"demo\"", "id = demo\nsecret = \"hush"), @r#"
    q.toml:2:6: not valid TOML: string values must be quoted, expected literal string
      correct this line: each key once, text in quotes, tables as [name] or [[name]], comments behind #
    q.toml:3:15: not valid TOML: invalid basic string, expected `"`
      correct this line: each key once, text in quotes, tables as [name] or [[name]], comments behind #
    "#);
}

#[test]
fn duplicate_keys_are_located() {
    insta::assert_snapshot!(errors_after("id = \"demo\"", "id = \"demo\"\nid = \"other\""), @r"
    q.toml:3:1: not valid TOML: duplicate key
      correct this line: each key once, text in quotes, tables as [name] or [[name]], comments behind #
    ");
}

#[test]
fn an_empty_file_lacks_everything_required() {
    insta::assert_snapshot!(read("", &[], &[]).expect_err("must be refused").to_string(), @r#"
    q.toml:1:1: required key cluster.id is missing
      write 1 to 64 letters, digits, dots, hyphens or underscores, in quotes, such as "shop-production"
    q.toml:1:1: the cluster has no nodes
      declare every node of the cluster: [[cluster.node]] with id = "n1", address = "127.0.0.1:7400"
    q.toml:1:1: required key node.id is missing
      write the name of a node: n and a number, in quotes, such as "n1"
    q.toml:1:1: required key node.data_dir is missing
      write a path in quotes, such as "/var/lib/quorate"
    "#);
    let nothing = Config::from_sources(Sources::default()).expect_err("must be refused");
    assert!(nothing.to_string().starts_with("configuration: required key cluster.id is missing"), "{nothing}");
}

#[test]
fn a_missing_key_points_at_its_table() {
    insta::assert_snapshot!(errors_after("data_dir = \"data\"\n", ""), @r#"
    q.toml:12:1: required key node.data_dir is missing
      write a path in quotes, such as "/var/lib/quorate"
    "#);
    insta::assert_snapshot!(errors_after("address = \"127.0.0.1:7401\"\n", ""), @r#"
    q.toml:6:1: required key cluster.node[1].address is missing
      write a host and a port, in quotes, such as "127.0.0.1:7400"
    "#);
}

#[test]
fn nodes_are_distinct() {
    insta::assert_snapshot!(errors_after("id = \"n3\"", "id = \"n2\""), @r#"
    q.toml:10:6: n2 is declared twice, first at q.toml:7:6
      give every node an id of its own, such as "n4"
    "#);
    insta::assert_snapshot!(errors_after("7402", "7400"), @r"
    q.toml:11:11: address 127.0.0.1:7400 already belongs to n1
      give every node an address of its own
    ");
}

#[test]
fn this_node_is_a_member() {
    insta::assert_snapshot!(errors_with_set(&["node.id=n4"]), @r"
    --set node.id: node.id is n4, but no [[cluster.node]] has that id
      write n1 or n2 or n3, or declare this node
    ");
}

#[test]
fn replicas_need_nodes() {
    insta::assert_snapshot!(errors_with_set(&["cluster.replicas=4"]), @r"
    --set cluster.replicas: cluster.replicas is 4, but the cluster has 3 nodes
      write a number from 1 to 3, or declare more nodes: replicas of a key live on different nodes
    ");
    let two = GOOD.replace("[[cluster.node]]\nid = \"n3\"\naddress = \"127.0.0.1:7402\"\n", "");
    insta::assert_snapshot!(read(&two, &[], &[]).expect_err("must be refused").to_string(), @r"
    q.toml:1:1: cluster.replicas is 3 by default, but the cluster has 2 nodes
      write a number from 1 to 2, or declare more nodes: replicas of a key live on different nodes
    ");
    insta::assert_snapshot!(errors_with("[[bucket]]\nname = \"carts\"\nreplicas = 5\n"), @r"
    q.toml:17:12: bucket[0].replicas is 5, but the cluster has 3 nodes
      write a number from 1 to 3, or declare more nodes: replicas of a key live on different nodes
    ");
}

#[test]
fn advice_about_a_single_node_names_one_thing() {
    let one = "[[cluster.node]]\nid = \"n1\"\naddress = \"127.0.0.1:7400\"\n";
    let text = format!("[cluster]\nid = \"demo\"\n{one}[node]\nid = \"n2\"\ndata_dir = \"data\"\n");
    insta::assert_snapshot!(read(&text, &[], &[]).expect_err("must be refused").to_string(), @r"
    q.toml:1:1: cluster.replicas is 3 by default, but the cluster has 1 node
      write 1, or declare more nodes: replicas of a key live on different nodes
    q.toml:7:6: node.id is n2, but no [[cluster.node]] has that id
      write n1, or declare this node
    ");
    let twice = text.replace(one, &format!("{one}{one}"));
    let errors = read(&twice, &[], &["cluster.replicas=1"]).expect_err("must be refused").to_string();
    assert!(errors.contains("write n1, or declare this node"), "{errors}");
}

#[test]
fn a_log_filter_that_would_log_nothing_is_refused() {
    insta::assert_snapshot!(errors_with_set(&["log.filter=inof"]), @r#"
    --set log.filter: log.filter cannot be the text "inof"
      write a level (off, error, warn, info, debug or trace), or levels per module, in quotes, such as "info" or "info,quorate_node=debug"; a word alone must be a level
    "#);
    assert!(errors_with_set(&["log.filter=a=b=c,,"]).contains("a word alone must be a level"));
}

#[test]
fn partitions_are_a_power_of_two() {
    insta::assert_snapshot!(errors_with_set(&["cluster.partitions=200"]), @r"
    --set cluster.partitions: cluster.partitions cannot be 200: not a power of two
      write 128 or 256
    ");
    insta::assert_snapshot!(errors_with_set(&["cluster.partitions=32768"]), @r"
    --set cluster.partitions: cluster.partitions cannot be 32768
      write a value from 1 to 16384
    ");
}

#[test]
fn orders_are_kept() {
    let more = "[peer]\nheartbeat_interval = \"2s\"\nreconnect_min = \"5s\"\nreconnect_max = \"1s\"\nqueue_max = 10\n[store]\ncommit_queue_max = 10\n\
                [hints]\nreplay_batch = 100\nper_peer_max = 10\nreplay_backoff_max = \"5ms\"\n[coordination]\ndeadline_max = \"20ms\"\n";
    insta::assert_snapshot!(errors_with(more), @r#"
    q.toml:16:22: peer.heartbeat_interval ("2s") must be less than peer.heartbeat_timeout ("1500ms")
      lower peer.heartbeat_interval or raise peer.heartbeat_timeout
    q.toml:18:17: peer.reconnect_min ("5s") must be at most peer.reconnect_max ("1s")
      lower peer.reconnect_min or raise peer.reconnect_max
    q.toml:19:13: peer.batch_max (64) must be at most peer.queue_max (10)
      lower peer.batch_max or raise peer.queue_max
    q.toml:21:20: store.commit_batch_max (1024) must be at most store.commit_queue_max (10)
      lower store.commit_batch_max or raise store.commit_queue_max
    q.toml:24:16: hints.replay_batch (100) must be at most hints.per_peer_max (10)
      lower hints.replay_batch or raise hints.per_peer_max
    q.toml:25:22: hints.replay_backoff_min ("100ms") must be at most hints.replay_backoff_max ("5ms")
      lower hints.replay_backoff_min or raise hints.replay_backoff_max
    q.toml:27:16: coordination.hedge_after ("30ms") must be less than coordination.deadline_max ("20ms")
      lower coordination.hedge_after or raise coordination.deadline_max
    q.toml:27:16: coordination.hint_after ("1s") must be less than coordination.deadline_max ("20ms")
      lower coordination.hint_after or raise coordination.deadline_max
    "#);
    assert!(read(GOOD, &[], &["peer.heartbeat_timeout=500ms"]).is_err(), "equal is not above");
    assert!(read(GOOD, &[], &["peer.heartbeat_timeout=501ms"]).is_ok());
}

#[test]
fn a_wrong_value_brings_no_errors_about_its_default() {
    insta::assert_snapshot!(errors_with("[peer]\nheartbeat_interval = \"20s\"\nheartbeat_timeout = 30\n"), @r#"
    q.toml:17:21: peer.heartbeat_timeout cannot be the integer 30
      write a time with its unit, in quotes, such as "500ms", "2s" or "3h"
    "#);
}

#[test]
fn bucket_levels_must_be_possible() {
    insta::assert_snapshot!(errors_with("[[bucket]]\nname = \"carts\"\nlevel = \"r5w5\"\n"), @r#"
    q.toml:17:9: bucket carts: level r5w5 is impossible: each of its counts is from 1 to 3, the home replicas per key in the bucket
      write one, quorum, all or linearizable, or counts from 1 to 3 such as "r1w3"
    "#);
    insta::assert_snapshot!(errors_with("[[bucket]]\nname = \"carts\"\nlevel = \"any\"\n"), @r"
    q.toml:17:9: bucket carts: level any is for writes only: a hint answers no read; read at one
      write one: a bucket's level serves its reads and its writes
    ");
    insta::assert_snapshot!(errors_with("[[bucket]]\nname = \"carts\"\nreplicas = 2\nlevel = \"r1w3\"\n"), @r#"
    q.toml:18:9: bucket carts: level r1w3 is impossible: each of its counts is from 1 to 2, the home replicas per key in the bucket
      write one, quorum, all or linearizable, or counts from 1 to 2 such as "r1w2"
    "#);
    insta::assert_snapshot!(errors_with("[[bucket]]\nname = \"carts\"\nlevel = \"eventual\"\n"), @r#"
    q.toml:17:9: bucket[0].level cannot be the text "eventual"
      write one, quorum, all, linearizable or rXwY, in quotes, such as "quorum" or "r2w1"
    "#);
}

#[test]
fn a_bucket_of_linearizable_writes_has_no_other_level() {
    insta::assert_snapshot!(errors_with("[[bucket]]\nname = \"locks\"\nwrite_mode = \"lin_only\"\nlevel = \"one\"\n"), @r#"
    q.toml:18:9: bucket locks: writes at its level one would be refused, because write_mode is "lin_only"
      leave level out or write linearizable; single reads may still name another level. Or write write_mode = "mixed"
    "#);
    insta::assert_snapshot!(errors_with("[[bucket]]\nname = \"locks\"\nwrite_mode = \"strict\"\nlevel = \"one\"\n"), @r#"
    q.toml:17:14: bucket[0].write_mode cannot be the text "strict"
      write "mixed" or "lin_only"
    "#);
}

#[test]
fn buckets_are_distinct() {
    insta::assert_snapshot!(errors_with("[[bucket]]\nname = \"carts\"\n[[bucket]]\nname = \"carts\"\n[[bucket]]\nname = \"Carts\"\n"), @r#"
    q.toml:18:8: bucket carts is declared twice, first at q.toml:16:8
      declare each bucket once
    q.toml:20:8: bucket[2].name cannot be the text "Carts"
      write 1 to 64 lower-case letters, digits, hyphens or underscores, in quotes, such as "carts"
    "#);
    assert!(errors_with("[[bucket]]\nname = \"default\"\n[[bucket]]\nname = \"default\"\n").contains("declared twice"));
}

#[test]
fn addresses_can_be_connected_to() {
    insta::assert_snapshot!(errors_after("127.0.0.1:7402", "127.0.0.1:0"), @r"
    q.toml:11:11: cluster.node[2].address has port 0, which nobody can connect to
      write the port that peers and clients connect to
    ");
    insta::assert_snapshot!(errors_after("127.0.0.1:7402", "127.0.0.1"), @r#"
    q.toml:11:11: cluster.node[2].address cannot be the text "127.0.0.1"
      write a host and a port, in quotes, such as "127.0.0.1:7400"
    "#);
    insta::assert_snapshot!(errors_with_set(&["node.metrics_address=127.0.0.1:7400"]), @r"
    --set node.metrics_address: node.metrics_address is 127.0.0.1:7400, where the node itself listens
      write another port
    ");
}

#[test]
fn overrides_are_named_by_their_source() {
    let env = [("QUORATE__PEER__QUEUE_MX", "9"), ("QUORATE__HINTS__AGE_MAX", "soon"), ("QUORATE__STORE__", "1")];
    let errors = read(GOOD, &env, &["node.worker_threads=0", "verbose", "bucket.carts.level=one"]).expect_err("must be refused");
    insta::assert_snapshot!(errors.to_string(), @r#"
    environment variable QUORATE__STORE__: names no key and value
      write --set section.key=value, or QUORATE__SECTION__KEY=value in the environment
    environment variable QUORATE__HINTS__AGE_MAX: hints.age_max cannot be the text "soon"
      write a time with its unit, in quotes, such as "500ms", "2s" or "3h"
    environment variable QUORATE__PEER__QUEUE_MX: unknown key peer.queue_mx
      did you mean peer.queue_max? [peer] has connect_timeout, heartbeat_interval, heartbeat_timeout, reconnect_min, reconnect_max, queue_max, batch_max
    --set verbose: names no key and value
      write --set section.key=value, or QUORATE__SECTION__KEY=value in the environment
    --set bucket.carts.level: bucket cannot be a table
      write one table per element: its name in double brackets, then one key = value per line
    --set node.worker_threads: node.worker_threads cannot be 0
      write a value from 1 to 1024
    "#);
}

#[test]
fn a_secret_is_in_no_error() {
    let text = GOOD.replace("id = \"demo\"", "id = \"de mo\"\nsecret = 71077345\nsecrets = \"hush-hush\"");
    let errors = read(&text, &[("QUORATE__CLUSTER__SECRET", "[71077345]")], &["cluster.secretive=71077345", "cluster.secret:71077345=="]);
    let errors = errors.expect_err("must be refused");
    let shown = errors.file().expect("there is a file");
    assert!(errors.errors().len() >= 4, "{errors}");
    for text in [errors.to_string(), format!("{errors:?}")] {
        assert!(!text.contains("71077345") && !text.contains("hush"), "{text}");
    }
    assert_eq!((shown.path.to_str(), shown.text.len()), (Some("q.toml"), text.len()));
}

#[test]
fn spans_underline_the_culprit() {
    let text = format!("{GOOD}[peer]\nqueue_max = \"many\"\nbatch_mx = 2\n");
    let errors = read(&text, &[], &[]).expect_err("must be refused");
    let culprits: Vec<&str> = errors.errors().iter().map(|error| &text[error.span().expect("in the file")]).collect();
    assert_eq!(culprits, ["\"many\"", "batch_mx"]);
    assert!(errors.errors().iter().all(|error| !error.help().is_empty()));
}
