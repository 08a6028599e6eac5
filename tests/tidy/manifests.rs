//! Manifests and lint settings: every crate is the workspace's, none makes its own exceptions.
//!
//! Versions stand in the root manifest only. Clippy reads the nearest `clippy.toml` and no other, so a crate that has its own
//! repeats what all share.
//!
//! A build for tests resolves features together with what only tests need. Whatever that adds to a library of the binary
//! compiles the library twice, and everything above it: in the worst case RocksDB, for minutes. So tests may add libraries,
//! never features.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use super::imports::PURE_FOLDERS;
use super::sizes::FUNCTION_LINES_MAX;
use super::tree::{Text, Violation, root};

/// Lints that the workspace sets, and how.
const LINTS: &[&str] = &[
    "unsafe_code = \"forbid\"",
    "missing_docs = \"warn\"",
    "unreachable_pub = \"warn\"",
    "too_many_lines = \"warn\"",
    "map_err_ignore = \"warn\"",
    "match_wildcard_for_single_variants = \"warn\"",
    "unwrap_used = \"warn\"",
];

/// Types that Clippy refuses in pure crates, whatever name an import gives them.
const DISALLOWED: &[&str] = &[
    "std::collections::HashMap",
    "std::collections::HashSet",
    "std::collections::hash_map::DefaultHasher",
    "std::collections::hash_map::RandomState",
    "std::time::Instant",
    "std::time::SystemTime",
    "std::fs::File",
    "std::thread::spawn",
];

/// Members that set their own lints, edition or versions.
pub(crate) fn apart(texts: &[Text]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for manifest in texts.iter().filter(|file| file.path.rsplit('/').next() == Some("Cargo.toml")) {
        if !section(&manifest.text, "lints").any(|(_, line)| line == "workspace = true") {
            violations.push(Violation::of(&manifest.path, "[lints] must say `workspace = true`"));
        }
        for field in ["version", "edition", "rust-version", "license", "publish"] {
            if !section(&manifest.text, "package").any(|(_, line)| line == format!("{field}.workspace = true")) {
                violations.push(Violation::of(&manifest.path, format!("[package] must say `{field}.workspace = true`")));
            }
        }
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            for (number, line) in section(&manifest.text, kind).filter(|(_, line)| !line.contains("workspace = true")) {
                let says = format!("`{line}`: its version belongs into [workspace.dependencies]");
                violations.push(Violation::at(&manifest.path, number, says));
            }
        }
    }
    violations
}

/// Lint settings weaker than agreed.
pub(crate) fn lax(texts: &[Text]) -> Vec<Violation> {
    let mut violations = Vec::new();
    let text_of = |path: &str| texts.iter().find(|file| file.path == path).map_or("", |file| &file.text);
    let manifest = text_of("Cargo.toml");
    for lint in LINTS.iter().filter(|lint| !manifest.lines().any(|line| line.trim() == **lint)) {
        violations.push(Violation::of("Cargo.toml", format!("[workspace.lints] must say `{lint}`")));
    }
    let folders = texts.iter().filter_map(|file| file.path.strip_suffix("Cargo.toml"));
    for folder in folders {
        let path = format!("{folder}clippy.toml");
        let settings = text_of(&path);
        let pure = PURE_FOLDERS.contains(&folder.trim_end_matches('/'));
        let own = folder.is_empty() || pure || !settings.is_empty();
        let threshold = format!("too-many-lines-threshold = {FUNCTION_LINES_MAX}");
        if own && !settings.lines().any(|line| line == threshold) {
            violations.push(Violation::of(&path, format!("must say `{threshold}`")));
        }
        for path_of_type in DISALLOWED.iter().filter(|path| pure && !settings.contains(&format!("path = \"{path}\""))) {
            violations.push(Violation::of(&path, format!("must disallow {path_of_type}: the crate is pure")));
        }
    }
    violations
}

/// The lines of one section of a manifest, without comments.
fn section<'a>(manifest: &'a str, name: &str) -> impl Iterator<Item = (usize, &'a str)> {
    let header = format!("[{name}]");
    let lines = manifest.lines().enumerate().skip_while(move |(_, line)| line.trim() != header).skip(1);
    let lines = lines.take_while(|(_, line)| !line.starts_with('[')).map(|(at, line)| (at + 1, line.trim()));
    lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

/// For each package of a build, the sets of features it is compiled with: more than one when build scripts want another.
#[derive(Debug, Default)]
pub(crate) struct Features(BTreeMap<String, BTreeSet<String>>);

impl Features {
    /// What `cargo build` compiles.
    pub(crate) fn of_binary() -> Self {
        Self::of_tree(&["--package", "quorate", "--edges", "normal,build"])
    }

    /// What `cargo test --workspace` compiles.
    pub(crate) fn of_tests() -> Self {
        Self::of_tree(&["--workspace", "--edges", "normal,build,dev"])
    }

    fn of_tree(selection: &[&str]) -> Self {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.current_dir(root()).args(["tree", "--locked", "--offline", "--prefix", "none", "--format", "{p}\t{f}"]).args(selection);
        let output = command.output().expect("cargo runs");
        assert!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
        Self::parse(&String::from_utf8(output.stdout).expect("cargo writes UTF-8"))
    }

    /// Reads lines of package, tab, features.
    fn parse(tree: &str) -> Self {
        let mut features = Self::default();
        for (package, set) in tree.lines().filter_map(|line| line.trim_end_matches(" (*)").split_once('\t')) {
            features.0.entry(package.to_owned()).or_default().insert(set.to_owned());
        }
        features
    }
}

/// Libraries of the binary that tests compile again, with other features.
pub(crate) fn rebuilt(binary: &Features, tests: &Features) -> Vec<Violation> {
    let nothing = BTreeSet::new();
    let mut violations = Vec::new();
    for (package, sets) in &binary.0 {
        let again = tests.0.get(package).unwrap_or(&nothing);
        if !sets.is_subset(again) {
            let says = format!("tests compile it again: features {sets:?} in the binary, {again:?} with tests; ask for the same in both");
            violations.push(Violation::of(package, says));
        }
    }
    violations
}

#[cfg(test)]
const MEMBER: &str = "[package]\nname = \"a\"\nversion.workspace = true\nedition.workspace = true\nrust-version.workspace = true
license.workspace = true\npublish.workspace = true\n\n[dependencies]\n# bytes\nbytes.workspace = true\n\n[lints]\nworkspace = true\n";

#[test]
fn a_member_apart_is_found() {
    let found = |from: &str, to: &str| apart(&[Text::new("ring/Cargo.toml", &MEMBER.replace(from, to))]).len();
    assert_eq!(found("", ""), 0);
    assert_eq!(found("[lints]\nworkspace = true\n", ""), 1);
    assert_eq!(found("[lints]\nworkspace = true", "[lints.rust]\nunsafe_code = \"allow\""), 1);
    assert_eq!(found("bytes.workspace = true", "bytes = \"1\""), 1);
    assert_eq!(found("edition.workspace = true", "edition = \"2018\""), 1);
}

#[test]
fn a_lax_lint_setting_is_found() {
    let rules: String = DISALLOWED.iter().map(|path| format!("{{ path = \"{path}\" }}\n")).collect();
    let settings = format!("too-many-lines-threshold = {FUNCTION_LINES_MAX}\n{rules}");
    let found = |root: &str, ring: &str| {
        let texts = [("Cargo.toml", root), ("clippy.toml", &settings), ("ring/Cargo.toml", MEMBER), ("ring/clippy.toml", ring)];
        lax(&texts.map(|(path, text)| Text::new(path, text))).len()
    };
    let lints = LINTS.join("\n");
    assert_eq!(found(&lints, &settings), 0);
    assert_eq!(found(&lints.replace("forbid", "deny"), &settings), 1);
    assert_eq!(found(&lints, &settings.replace("= 70", "= 700")), 1);
    assert_eq!(found(&lints, &settings.replace("HashMap", "TreeMap")), 1);
    assert_eq!(found(&lints, ""), 1 + DISALLOWED.len());
}

#[test]
fn a_feature_that_only_tests_want_is_found() {
    let binary = Features::parse("serde v1\tstd\ntokio v1\trt\nserde v1\tstd (*)\nsyn v2\tfull\n");
    assert_eq!(rebuilt(&binary, &Features::parse("serde v1\tstd\ntokio v1\trt\nsyn v2\tfull\nsyn v2\tfull,visit\nproptest v1\t\n")), []);
    let says = rebuilt(&binary, &Features::parse("serde v1\tstd\ntokio v1\trt,test-util\nsyn v2\tfull\n"));
    assert_eq!(says.iter().map(|violation| violation.place.as_str()).collect::<Vec<_>>(), ["tokio v1"]);
}
