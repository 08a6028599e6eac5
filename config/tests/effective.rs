//! What `config show` prints, and the values that a node gets.

use quorate_config::{BucketName, Config, Origin, SourceFile, Sources, Warning};
use quorate_protocol::record::WriteMode;
use quorate_protocol::{BucketId, Level};
use quorate_ring::{NodeId, PlacementTable, Ring, RingEpoch};

const FILE: &str = r#"[cluster]
id = "demo"
node = [
    { id = "n1", address = "127.0.0.1:7400" },
    { id = "n2", address = "127.0.0.1:7401" },
    { id = "n3", address = "127.0.0.1:7402" },
]
[node]
id = "n1"
data_dir = "data"
[[bucket]]
name = "carts"
level = "r2w1"
replicas = 2
"#;

fn config(text: &str, env: &[(&str, &str)], set: &[&str]) -> Config {
    let sources = Sources {
        file: Some(SourceFile { path: "q.toml".into(), text: text.to_owned() }),
        env: env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        set: set.iter().map(|argument| (*argument).to_owned()).collect(),
    };
    Config::from_sources(sources).unwrap_or_else(|errors| panic!("{errors}"))
}

#[test]
fn every_line_says_who_decided_it() {
    let env = [("QUORATE__PEER__QUEUE_MAX", "100"), ("QUORATE__CLUSTER__SECRET", "correct horse battery")];
    let config = config(FILE, &env, &["node.id=n2", "store.block_cache=1536 KiB", "bucket=[]"]);
    insta::assert_snapshot!(config.render(), @r#"
    # the effective configuration; behind each key, who decided its value

    [cluster]
    id = "demo"                 # q.toml:2
    # secret is set, not shown  # environment variable QUORATE__CLUSTER__SECRET
    partitions = 256            # default
    replicas = 3                # default

    [[cluster.node]]
    id = "n1"                                           # q.toml:4
    address = "127.0.0.1:7400"                          # q.toml:4
    # zone is not set: zones play no part in placement  # default

    [[cluster.node]]
    id = "n2"                                           # q.toml:5
    address = "127.0.0.1:7401"                          # q.toml:5
    # zone is not set: zones play no part in placement  # default

    [[cluster.node]]
    id = "n3"                                           # q.toml:6
    address = "127.0.0.1:7402"                          # q.toml:6
    # zone is not set: zones play no part in placement  # default

    [node]
    id = "n2"                                            # --set node.id
    listen = "127.0.0.1:7401"                            # default
    data_dir = "data"                                    # q.toml:10
    # metrics_address is not set: no metrics are served  # default
    # worker_threads is not set: one per core            # default
    requests_in_flight_max = 1024                        # default
    connections_max = 1024                               # default

    [store]
    block_cache = "1536 KiB"  # --set store.block_cache
    write_buffer = "32 MiB"   # default
    commit_queue_max = 8192   # default
    commit_batch_max = 1024   # default

    [peer]
    connect_timeout = "1s"        # default
    heartbeat_interval = "500ms"  # default
    heartbeat_timeout = "1500ms"  # default
    reconnect_min = "50ms"        # default
    reconnect_max = "2s"          # default
    queue_max = 100               # environment variable QUORATE__PEER__QUEUE_MAX
    batch_max = 64                # default

    [coordination]
    hedge_after = "30ms"            # default
    background_repair_chance = 0.1  # default
    hint_after = "1s"               # default
    deadline_max = "30s"            # default

    [hints]
    per_peer_max = 1000000        # default
    per_peer_bytes_max = "1 GiB"  # default
    age_max = "3h"                # default
    replay_batch = 64             # default
    replay_backoff_min = "100ms"  # default
    replay_backoff_max = "30s"    # default

    [log]
    format = "text"            # default
    filter = "info,tarpc=off"  # default

    [[bucket]]
    name = "default"         # default
    replicas = 3             # default
    write_mode = "mixed"     # default
    level = "quorum"         # default
    siblings_max = 16        # default
    blind_writes = true      # default
    fsync_before_ack = true  # default
    "#);
}

#[test]
fn the_rendered_text_is_a_configuration_with_the_same_effect() {
    let set = [
        "peer.heartbeat_timeout=1750ms",
        "node.data_dir=a \"b\" \\c",
        "log.filter=warn, quorate_node=debug",
        "coordination.background_repair_chance=1",
        "node.worker_threads=2",
    ];
    let first = config(FILE, &[], &set);
    let second = config(&first.render(), &[], &[]);
    assert_eq!(first.cluster, second.cluster);
    assert_eq!(first.node, second.node);
    assert_eq!(first.store, second.store);
    assert_eq!(first.peer, second.peer);
    assert_eq!(first.coordination, second.coordination);
    assert_eq!(first.hints, second.hints);
    assert_eq!(first.log, second.log);
    assert_eq!(first.buckets, second.buckets);
}

#[test]
fn a_secret_is_neither_rendered_nor_debugged() {
    let config = config(FILE, &[], &["cluster.secret=correct horse battery"]);
    assert!(!config.render().contains("horse"));
    assert!(!format!("{config:?}").contains("horse"));
    assert_eq!(config.cluster.secret.as_ref().map(quorate_config::Secret::expose), Some("correct horse battery"));
    assert!(matches!(config.origin("cluster.secret"), Some(Origin::Set { .. })));
}

#[test]
fn a_node_listens_on_its_own_address_unless_told_otherwise() {
    assert_eq!(config(FILE, &[], &["node.id=n3"]).node.listen.to_string(), "127.0.0.1:7402");
    assert_eq!(config(FILE, &[], &["node.listen=[::]:7400"]).node.listen.to_string(), "[::]:7400");
}

#[test]
fn the_default_bucket_is_first_and_inherits_the_replicas() {
    let config = config(FILE, &[], &["cluster.replicas=1"]);
    let default = config.bucket("default").expect("there is always one");
    assert_eq!((default.id, default.replicas, default.level), (BucketId(0), 1, Level::Quorum));
    assert_eq!(config.buckets[0], *default);
    let carts = config.bucket("carts").expect("declared");
    assert_eq!((carts.replicas, carts.level), (2, Level::Counts { r: 2, w: 1 }));
    assert_eq!(config.bucket_by_id(carts.id), Some(carts));
    assert_eq!(config.bucket("cart"), None);
}

#[test]
fn a_bucket_of_linearizable_writes_is_linearizable_by_default() {
    let config = config(&format!("{FILE}[[bucket]]\nname = \"locks\"\nwrite_mode = \"lin_only\"\n"), &[], &[]);
    let locks = config.bucket("locks").expect("declared");
    assert_eq!((locks.write_mode, locks.level), (WriteMode::LinOnly, Level::Linearizable));
    assert_eq!(config.buckets[0].write_mode, WriteMode::Mixed);
}

#[test]
fn declaring_the_default_bucket_changes_it() {
    let config = config(&format!("{FILE}[[bucket]]\nname = \"default\"\nlevel = \"one\"\n"), &[], &[]);
    assert_eq!(config.buckets.len(), 2);
    assert_eq!(config.buckets[0].name, BucketName::default_bucket());
    assert_eq!(config.buckets[0].level, Level::One);
}

#[test]
fn the_ring_has_every_node_and_every_number_of_replicas() {
    let config = config(FILE, &[], &[]);
    let ring = Ring::new(config.ring_spec(), config.replica_counts()).expect("a valid configuration makes a ring");
    assert_eq!(ring.epoch(), RingEpoch(1));
    assert_eq!(ring.members().iter().map(|member| member.id).collect::<Vec<_>>(), [NodeId(1), NodeId(2), NodeId(3)]);
    assert_eq!(ring.tables().map(PlacementTable::replicas).collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn doubtful_choices_are_warned_about() {
    let set = |set: &[&str]| config(FILE, &[], set).warnings();
    assert_eq!(set(&[]), [Warning::NoSecret]);
    assert_eq!(set(&["cluster.secret=short"]), [Warning::ShortSecret { bytes: 5 }]);
    assert_eq!(set(&["cluster.secret=correct horse battery"]), [Warning::SecretOnCommandLine]);
    let env = [("QUORATE__CLUSTER__SECRET", "correct horse battery")];
    assert_eq!(config(FILE, &env, &[]).warnings(), []);

    let default = BucketName::default_bucket;
    let buckets = config(FILE, &env, &["bucket=[{name='default', replicas=1, fsync_before_ack=false}]"]).warnings();
    assert_eq!(buckets, [Warning::SingleCopy { bucket: default() }, Warning::NotSynced { bucket: default() }]);

    let zoned = |old: &str, new: &str| config(&FILE.replace(old, new), &env, &[]).warnings();
    assert_eq!(zoned("7400\" }", "7400\", zone = \"a\" }"), [Warning::PartlyZoned { without: vec![NodeId(2), NodeId(3)] }]);
    assert_eq!(zoned("\" },", "\", zone = \"a\" },"), [Warning::FewZones { zones: 1, replicas: 3 }]);
}
