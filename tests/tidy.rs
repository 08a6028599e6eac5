//! The project's rules that a machine can check, each as one test.
//!
//! **Promise.** A change that breaks one of these rules fails here, with the file, the line and what to do instead. Every rule
//! has a second test beside it, in its module, which shows that the rule can fail.
//!
//! | rules | module |
//! |---|---|
//! | who may import whom; which crate may name which library; what a pure crate may never reach | `imports.rs` |
//! | words: impure calls in pure crates, leftovers, unwraps, sleeping tests | `words.rs` |
//! | sizes of files and functions, module docs | `sizes.rs` |
//! | manifests, lint settings, one build for binary and tests | `manifests.rs` |
//! | pages under `docs/decisions/` | `decisions.rs` |
//! | links of pages, and the tests that they name | `links.rs` |
//! | what all of them read: the files, and Rust without comments and strings | `tree.rs`, `source.rs` |
//!
//! The rules read text and `cargo metadata`, not types: a crate can get round them with enough will. Clippy, which knows types,
//! stands behind them with the `clippy.toml` of each pure crate.
//!
//! **Deliberately missing.** What Clippy and rustfmt check already, and everything that needs taste.

mod tidy {
    pub(crate) mod decisions;
    pub(crate) mod imports;
    pub(crate) mod links;
    pub(crate) mod manifests;
    pub(crate) mod sizes;
    pub(crate) mod source;
    pub(crate) mod tree;
    pub(crate) mod words;
}

use tidy::imports::Graph;
use tidy::tree::{Tree, Violation};
use tidy::{decisions, imports, links, manifests, sizes, words};

/// Fails with one line per violation.
#[track_caller]
fn none(violations: &[Violation]) {
    let lines: Vec<String> = violations.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "{} violations (CONTRIBUTING.md says why):\n{}", lines.len(), lines.join("\n"));
}

#[test]
fn imports_go_strictly_downward() {
    none(&imports::not_downward(&Graph::of_workspace()));
}

#[test]
fn libraries_with_one_home_are_depended_on_there_only() {
    none(&imports::astray(&Graph::of_workspace()));
}

#[test]
fn libraries_with_one_home_are_named_there_only() {
    none(&imports::named_astray(&Tree::read().sources));
}

#[test]
fn pure_crates_reach_no_clock_runtime_or_randomness() {
    none(&imports::impure(&Graph::of_workspace()));
}

#[test]
fn pure_crates_call_nothing_impure() {
    none(&words::impure(&Tree::read().sources));
}

#[test]
fn nothing_is_left_over() {
    none(&words::leftovers(&Tree::read().sources));
}

#[test]
fn lints_are_silenced_with_a_reason() {
    none(&words::silenced(&Tree::read().sources));
}

#[test]
fn only_tests_unwrap() {
    none(&words::unwraps(&Tree::read().sources));
}

#[test]
fn tests_wait_for_events() {
    none(&words::sleeping_tests(&Tree::read().sources));
}

#[test]
fn no_file_names_a_machine() {
    none(&words::machine_paths(&Tree::read().texts));
}

#[test]
fn files_and_functions_are_short() {
    none(&sizes::too_long(&Tree::read().sources));
}

#[test]
fn every_file_says_what_it_is() {
    none(&sizes::undocumented(&Tree::read().sources));
}

#[test]
fn every_manifest_follows_the_workspace() {
    none(&manifests::apart(&Tree::read().texts));
}

#[test]
fn lint_settings_are_the_same_everywhere() {
    none(&manifests::lax(&Tree::read().texts));
}

#[test]
fn tests_and_binary_share_one_build() {
    none(&manifests::rebuilt(&manifests::Features::of_binary(), &manifests::Features::of_tests()));
}

#[test]
fn decisions_have_context_choice_and_consequence() {
    none(&decisions::malformed(&Tree::read().texts));
}

#[test]
fn links_lead_to_files_and_name_tests_that_are_there() {
    none(&links::broken(&Tree::read().texts));
}
