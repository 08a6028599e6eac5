//! Who may import whom.
//!
//! ```text
//!  6   quorate (binary)   tests
//!  5   cli
//!  4   lab
//!  3   node      client      sim
//!  2   rpc       config
//!  1   anti-entropy
//!  0   ring  <-  protocol                 checker
//! ```
//!
//! Imports go strictly downward, of every kind: what a test imports, it is built with. `protocol` alone looks sideways, to
//! `ring`, for its vocabulary.
//!
//! Some libraries have one home, so that replacing one stays the work of one crate, and traps are known in one place. The
//! dependency graph shows who could use them; the text shows who does. Three files outside the homes speak of tarpc's clients,
//! through `quorate_rpc::tarpc`: calls to a node that the client library must not make for them, in `lab` to break it, in the
//! tests to ask one node and no other.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::OnceLock;

use cargo_metadata::{DependencyKind, MetadataCommand, PackageId};

use super::source::{Source, contains_word};
use super::tree::{Violation, root};

/// Package and level.
const LEVELS: &[(&str, u8)] = &[
    ("quorate", 6),
    ("quorate-cli", 5),
    ("quorate-lab", 4),
    ("quorate-node", 3),
    ("quorate-client", 3),
    ("quorate-sim", 3),
    ("quorate-rpc", 2),
    ("quorate-config", 2),
    ("quorate-anti-entropy", 1),
    ("quorate-protocol", 0),
    ("quorate-ring", 0),
    ("quorate-checker", 0),
];

/// The one import between crates of a level.
const SIDEWAYS: (&str, &str) = ("quorate-protocol", "quorate-ring");

/// The folders of the crates without clock, I/O, threads, globals, randomness and hash order.
pub(crate) const PURE_FOLDERS: &[&str] = &["ring", "protocol", "anti-entropy", "checker", "sim"];

/// Libraries that a pure crate must not reach, not even through others.
const IMPURE: &[&str] = &[
    "async-std",
    "chrono",
    "crossbeam",
    "crossbeam-channel",
    "fastrand",
    "getrandom",
    "hashbrown",
    "mio",
    "num_cpus",
    "parking_lot",
    "rand",
    "rand_chacha",
    "rayon",
    "rocksdb",
    "smol",
    "socket2",
    "tarpc",
    "tempfile",
    "time",
    "tokio",
    "uuid",
    "web-time",
];

/// Library, who may depend on it, why.
const HOMES: &[(&str, &[&str], &str)] = &[
    ("hashring", &["quorate-ring"], "placement is decided in one crate"),
    ("crc16", &["quorate-ring"], "the slot function is decided in one crate"),
    ("rocksdb", &["quorate-node"], "the store is the node's"),
    ("librocksdb-sys", &[], "through rocksdb"),
    ("tarpc", &["quorate-rpc", "quorate-node", "quorate-client"], "the wire contract, its server and its session"),
    ("axum", &["quorate-node"], "a node serves its metrics"),
    ("prometheus-client", &["quorate-node"], "a registry per node"),
    ("clap", &["quorate-cli"], "the command line is the topmost library"),
    ("miette", &["quorate-cli"], "libraries return typed errors"),
    ("anyhow", &[], "errors are typed: thiserror"),
    ("bincode", &[], "abandoned: postcard"),
    ("openssl", &[], "rustls"),
];

/// Name in code, where it may stand, why.
const NAMES: &[(&str, &[&str], &str)] = &[
    ("hashring", &["ring/"], "placement is decided in one crate"),
    ("rocksdb", &["node/src/store/"], "the store hides its engine"),
    (
        "tarpc",
        &["rpc/", "node/", "client/", "lab/src/cluster/link.rs", "tests/processes/support/direct.rs", "tests/drivers/direct.rs"],
        "the wire contract, its server and its session",
    ),
];

/// Packages, and what each depends on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Graph {
    packages: BTreeMap<String, Package>,
}

#[derive(Debug, Clone)]
struct Package {
    name: String,
    /// Ours, not a library.
    member: bool,
    /// Names and what they are needed for; empty for libraries of tests.
    needs: Vec<Need>,
}

#[derive(Debug, Clone)]
struct Need {
    /// Key of another package.
    package: String,
    /// Part of what ships, not of tests or build scripts only.
    ships: bool,
}

impl Graph {
    /// What cargo resolved for this machine. Asks no network: whoever runs this has the packages.
    pub(crate) fn of_workspace() -> Self {
        static GRAPH: OnceLock<Graph> = OnceLock::new();
        GRAPH.get_or_init(Self::resolve).clone()
    }

    fn resolve() -> Self {
        let metadata = MetadataCommand::new()
            .manifest_path(root().join("Cargo.toml"))
            .other_options(["--locked", "--offline", "--filter-platform", &host()].map(str::to_owned))
            .exec()
            .expect("cargo knows the workspace");
        let key = |id: &PackageId| id.repr.clone();
        let members: BTreeSet<String> = metadata.workspace_members.iter().map(key).collect();
        let names: BTreeMap<String, String> =
            metadata.packages.iter().map(|package| (key(&package.id), package.name.to_string())).collect();
        let resolve = metadata.resolve.expect("cargo resolved the workspace");
        let packages = resolve.nodes.iter().map(|node| {
            let needs = node
                .deps
                .iter()
                .map(|dep| Need { package: key(&dep.pkg), ships: dep.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal) });
            let id = key(&node.id);
            let package = Package { name: names[&id].clone(), member: members.contains(&id), needs: needs.collect() };
            (id, package)
        });
        Self { packages: packages.collect() }
    }

    fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages.values().filter(|package| package.member)
    }

    fn needs<'a>(&'a self, package: &'a Package) -> impl Iterator<Item = &'a Package> {
        package.needs.iter().map(|need| &self.packages[&need.package])
    }

    /// For every package that ships with `package`: the path by which.
    fn shipped(&self, package: &Package) -> BTreeMap<String, String> {
        let mut paths = BTreeMap::new();
        let mut open = vec![(package, package.name.clone())];
        while let Some((package, path)) = open.pop() {
            for need in package.needs.iter().filter(|need| need.ships) {
                let next = &self.packages[&need.package];
                let path = format!("{path} -> {}", next.name);
                if paths.insert(next.name.clone(), path.clone()).is_none() {
                    open.push((next, path));
                }
            }
        }
        paths
    }
}

/// The platform that cargo builds for.
fn host() -> String {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo).arg("-vV").output().expect("cargo runs");
    let text = String::from_utf8(output.stdout).expect("cargo writes UTF-8");
    text.lines().find_map(|line| line.strip_prefix("host: ")).expect("cargo names its host").to_owned()
}

fn level(package: &Package) -> Option<u8> {
    LEVELS.iter().find(|(name, _)| *name == package.name).map(|(_, level)| *level)
}

/// Crates without a level, and imports that go up or sideways.
pub(crate) fn not_downward(graph: &Graph) -> Vec<Violation> {
    let mut violations = Vec::new();
    for package in graph.members() {
        let Some(from) = level(package) else {
            violations.push(Violation::of(&package.name, "has no level: give it one in tests/tidy/imports.rs and ARCHITECTURE.md"));
            continue;
        };
        for import in graph.needs(package).filter(|import| import.member && import.name != package.name) {
            let Some(to) = level(import) else { continue };
            if to >= from && SIDEWAYS != (&package.name, &import.name) {
                violations.push(Violation::of(
                    &package.name,
                    format!("level {from}, imports {} of level {to}: imports go downward", import.name),
                ));
            }
        }
    }
    violations
}

/// Libraries that a crate depends on although they have their home elsewhere.
pub(crate) fn astray(graph: &Graph) -> Vec<Violation> {
    let mut violations = Vec::new();
    for package in graph.members() {
        for library in graph.needs(package) {
            let home = HOMES.iter().find(|(name, _, _)| *name == library.name);
            if let Some((name, _, why)) = home.filter(|(_, homes, _)| !homes.contains(&package.name.as_str())) {
                violations.push(Violation::of(&package.name, format!("depends on {name}: {why}")));
            }
        }
    }
    violations
}

/// Libraries named in code outside their home.
pub(crate) fn named_astray(sources: &[Source]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for source in sources {
        for (word, homes, why) in NAMES {
            if homes.iter().any(|home| source.path.starts_with(home)) {
                continue;
            }
            let named = source.lines().filter(|line| contains_word(line.code, word));
            violations.extend(named.map(|line| Violation::at(&source.path, line.number, format!("names {word}: {why}"))));
        }
    }
    violations
}

/// Impure libraries within what ships with a pure crate.
pub(crate) fn impure(graph: &Graph) -> Vec<Violation> {
    let is_pure = |package: &&Package| PURE_FOLDERS.iter().any(|folder| package.name == format!("quorate-{folder}"));
    let reached = graph.members().filter(is_pure).flat_map(|package| {
        let paths = graph.shipped(package).into_iter().filter(|(name, _)| IMPURE.contains(&name.as_str()));
        paths.map(|(_, path)| Violation::of(&package.name, format!("is pure, but reaches {path}")))
    });
    reached.collect()
}

#[cfg(test)]
impl Graph {
    /// Members and libraries made up of `(from, to, ships)`; ours begin with `quorate`.
    fn of(edges: &[(&str, &str, bool)]) -> Self {
        let mut graph = Self::default();
        let package = |name: &str| Package { name: name.to_owned(), member: name.starts_with("quorate"), needs: Vec::new() };
        for (from, to, ships) in edges {
            graph.packages.entry((*to).to_owned()).or_insert_with(|| package(to));
            let from = graph.packages.entry((*from).to_owned()).or_insert_with(|| package(from));
            from.needs.push(Need { package: (*to).to_owned(), ships: *ships });
        }
        graph
    }
}

#[test]
fn an_import_upward_or_sideways_is_found() {
    let fine = [("quorate", "quorate-cli", true), ("quorate-node", "quorate-ring", true), ("quorate-protocol", "quorate-ring", true)];
    assert_eq!(not_downward(&Graph::of(&fine)), []);
    for (from, to) in [
        ("quorate-ring", "quorate-protocol"),
        ("quorate-client", "quorate-node"),
        ("quorate-checker", "quorate-ring"),
        ("quorate-protocol", "quorate-sim"),
        ("quorate-gateway", "quorate-ring"),
    ] {
        assert_eq!(not_downward(&Graph::of(&[(from, to, false)])).len(), 1, "{from} -> {to}");
    }
}

#[test]
fn a_library_astray_is_found() {
    assert_eq!(astray(&Graph::of(&[("quorate-ring", "hashring", true), ("quorate-node", "rocksdb", true)])), []);
    for (package, library) in
        [("quorate-protocol", "hashring"), ("quorate-lab", "rocksdb"), ("quorate-cli", "tarpc"), ("quorate-rpc", "bincode")]
    {
        assert_eq!(astray(&Graph::of(&[(package, library, false)])).len(), 1, "{package} -> {library}");
    }
}

#[test]
fn a_name_astray_is_found() {
    let found = |path: &str, text: &str| named_astray(&[Source::new(path, text)]).len();
    assert_eq!(found("node/src/store/engine.rs", "use rocksdb::DB;"), 0);
    assert_eq!(found("node/src/metrics.rs", "// rocksdb counts\nlet rocksdb_bytes = \"rocksdb\";"), 0);
    assert_eq!(found("node/src/metrics.rs", "use rocksdb::DB;"), 1);
    assert_eq!(found("lab/src/bench.rs", "use quorate_rpc::tarpc::context;"), 1);
    assert_eq!(found("protocol/src/lib.rs", "use hashring::HashRing;"), 1);
}

#[test]
fn an_impure_library_behind_others_is_found() {
    let deep = [("quorate-protocol", "blake3", true), ("blake3", "rayon-core", true), ("rayon-core", "num_cpus", true)];
    let says: Vec<String> = impure(&Graph::of(&deep)).iter().map(ToString::to_string).collect();
    assert_eq!(says, ["quorate-protocol: is pure, but reaches quorate-protocol -> blake3 -> rayon-core -> num_cpus"]);
    assert_eq!(impure(&Graph::of(&[("quorate-protocol", "proptest", false), ("proptest", "rand", true)])), []);
    assert_eq!(impure(&Graph::of(&[("quorate-node", "tokio", true)])), []);
}

#[test]
fn the_graph_knows_the_workspace() {
    let graph = Graph::of_workspace();
    assert!(graph.members().count() >= 10);
    let node = graph.members().find(|package| package.name == "quorate-node").expect("a member");
    let shipped = graph.shipped(node);
    assert!(shipped.contains_key("tokio") && shipped.contains_key("quorate-protocol") && !shipped.contains_key("proptest"));
}
