//! Words that must not stand where they stand.

use super::imports::PURE_FOLDERS;
use super::source::{Source, after_closing, contains_word, line_of};
use super::tree::{Text, Violation};

/// What a pure crate never says, and what it does instead.
const IMPURE: &[(&str, &str)] = &[
    ("Instant", "no clock: time is an argument"),
    ("SystemTime", "no clock: time is an argument"),
    ("sleep", "no clock: set a timer"),
    ("thread", "no threads: the driver schedules"),
    ("thread_local!", "no globals: state is an argument"),
    ("static mut", "no globals: state is an argument"),
    ("OnceLock", "no globals: state is an argument"),
    ("LazyLock", "no globals: state is an argument"),
    ("Mutex", "no shared state: the driver serialises"),
    ("RwLock", "no shared state: the driver serialises"),
    ("std::fs", "no I/O: the driver reads and writes"),
    ("fs::", "no I/O: the driver reads and writes"),
    ("File", "no I/O: the driver reads and writes"),
    ("std::net", "no I/O: the driver sends"),
    ("net::", "no I/O: the driver sends"),
    ("std::env", "no environment: options are arguments"),
    ("env::", "no environment: options are arguments"),
    ("std::process", "no processes: the driver decides how to end"),
    ("println!", "no output: return a value, or trace"),
    ("eprintln!", "no output: return a value, or trace"),
    ("print!", "no output: return a value, or trace"),
    ("eprint!", "no output: return a value, or trace"),
    ("HashMap", "its iteration order is random: BTreeMap"),
    ("HashSet", "its iteration order is random: BTreeSet"),
    ("RandomState", "it draws randomness: the seed is an argument"),
    ("rand", "it draws randomness: the seed is an argument"),
    ("thread_rng", "it draws randomness: the seed is an argument"),
    ("getrandom", "it draws randomness: the seed is an argument"),
    ("tokio", "no runtime: the driver runs"),
    ("async", "no runtime: a machine takes a step"),
    ("await", "no runtime: a machine takes a step"),
];

/// What nobody leaves behind in code.
const LEFTOVERS: &[(&str, &str)] = &[
    ("todo!", "write it, or leave it out"),
    ("unimplemented!", "write it, or leave it out"),
    ("dbg!", "trace it, or take it out"),
    ("#[ignore]", "say why: #[ignore = \"..\"]"),
];

/// What nobody leaves behind in comments.
const NOTES_TO_SELF: &[&str] = &["TODO", "FIXME", "XXX", "HACK"];

/// The comment with which a helper that waits until a deadline says that its pause is not the event.
const WAITS: &str = "waits for: ";

/// Clocks, I/O, threads, globals, randomness and hash order in what pure crates ship.
pub(crate) fn impure(sources: &[Source]) -> Vec<Violation> {
    let pure = sources.iter().filter(|source| PURE_FOLDERS.contains(&source.folder()));
    pure.flat_map(|source| {
        let shipped = source.lines().filter(|line| !line.test);
        shipped.flat_map(|line| found(source, line.number, line.code, IMPURE))
    })
    .collect()
}

/// Unfinished code, notes to oneself, tests ignored without a reason, and names that begin with `get_`.
pub(crate) fn leftovers(sources: &[Source]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for source in sources {
        for line in source.lines() {
            violations.extend(found(source, line.number, line.code, LEFTOVERS));
            for note in NOTES_TO_SELF.iter().filter(|note| contains_word(line.comment, note)) {
                violations.push(Violation::at(&source.path, line.number, format!("`{note}`: do it now, or open an issue")));
            }
            if let Some(name) = line.code.split("fn get_").nth(1) {
                let name: String = name.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                violations.push(Violation::at(&source.path, line.number, format!("`get_{name}`: call it `{name}`")));
            }
        }
    }
    violations
}

/// Lints silenced for good, or without saying why.
pub(crate) fn silenced(sources: &[Source]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for source in sources {
        for (at, attribute) in attributes(&source.code) {
            let inner = attribute.trim_start_matches("cfg_attr(test,").trim_start();
            let says = if inner.starts_with("allow(") {
                "`allow`: write #[expect(.., reason = \"..\")], which ends when its cause does"
            } else if inner.starts_with("expect(") && !contains_word(inner, "reason") {
                "`expect` without a reason"
            } else {
                continue;
            };
            violations.push(Violation::at(&source.path, line_of(&source.code, at) + 1, says));
        }
    }
    violations
}

/// `unwrap` in what ships.
pub(crate) fn unwraps(sources: &[Source]) -> Vec<Violation> {
    const WORDS: &[(&str, &str)] = &[(".unwrap()", "expect(\"the invariant\"), or return the error")];
    let lines = sources.iter().flat_map(|source| source.lines().map(move |line| (source, line)));
    lines.filter(|(_, line)| !line.test).flat_map(|(source, line)| found(source, line.number, line.code, WORDS)).collect()
}

/// Tests that pause. A helper that looks again and again until its deadline may, and says so in a comment on the line or right
/// above it: `// waits for: what`.
pub(crate) fn sleeping_tests(sources: &[Source]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for source in sources {
        let mut said_above = false;
        for line in source.lines() {
            let said = line.comment.contains(WAITS);
            let sleeps = ["sleep(", "sleep_until(", "park_timeout("].iter().any(|call| contains_word(line.code, call));
            if line.test && sleeps && !said && !said_above {
                violations.push(Violation::at(
                    &source.path,
                    line.number,
                    format!("a test that sleeps: wait for the event (`// {WAITS}..`)"),
                ));
            }
            said_above = said;
        }
    }
    violations
}

/// Absolute paths of the machine somebody developed on.
pub(crate) fn machine_paths(texts: &[Text]) -> Vec<Violation> {
    let places = ["work", "root", "farm", "home"];
    let mut violations = Vec::new();
    for file in texts {
        for (at, line) in file.text.lines().enumerate() {
            for place in places {
                let path = format!("/{place}/");
                let is_absolute = |at: usize| {
                    !line[..at].ends_with(|c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '~' | '}' | ')' | '/' | '*'))
                };
                if line.match_indices(&path).any(|(at, _)| is_absolute(at)) {
                    violations.push(Violation::at(&file.path, at + 1, format!("`{path}` is a path of one machine")));
                }
            }
        }
    }
    violations
}

fn found(source: &Source, line: usize, code: &str, words: &[(&str, &str)]) -> Vec<Violation> {
    let said = words.iter().filter(|(word, _)| contains_word(code, word));
    said.map(|(word, instead)| Violation::at(&source.path, line, format!("`{word}`: {instead}"))).collect()
}

/// The place and the inside of every attribute.
fn attributes(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let opens = code.match_indices('#').filter_map(|(at, _)| {
        let rest = &code[at + 1..];
        let bracket = at + 1 + usize::from(rest.starts_with('!'));
        code[bracket..].starts_with('[').then_some((at, bracket))
    });
    opens.map(|(at, bracket)| (at, code[bracket + 1..after_closing(code, bracket)].trim_end_matches(']').trim_start()))
}

#[cfg(test)]
fn lines_of(violations: &[Violation]) -> Vec<usize> {
    violations.iter().map(|violation| violation.line).collect()
}

#[test]
fn an_impure_call_in_a_pure_crate_is_found() {
    let text = "//! Instant::now() in a comment.\nuse std::time::Instant;\nlet a = \"tokio\";\nlet m: HashMap<u8, u8>;\n#[cfg(test)]\nmod tests { use std::fs; }\nprintln!();";
    for folder in PURE_FOLDERS {
        assert_eq!(lines_of(&impure(&[Source::new(&format!("{folder}/src/a.rs"), text)])), [2, 4, 7]);
    }
    assert_eq!(impure(&[Source::new("node/src/a.rs", text)]), []);
}

#[test]
fn a_leftover_is_found() {
    let text = "fn a() { todo!() }\n// FIXME later\nlet s = \"XXX dbg!(\";\n#[ignore]\n#[ignore = \"slow\"]\nfn get_ring() {}\nlet mask = XXX;\ndbg!(1);";
    assert_eq!(lines_of(&leftovers(&[Source::new("node/src/a.rs", text)])), [1, 2, 4, 6, 8]);
}

#[test]
fn a_silenced_lint_without_reason_is_found() {
    let text = "#[allow(dead_code)]\n#![allow(x)]\n#[expect(\n  x\n)]\n#[expect(x, reason = \"y\")]\n#[cfg_attr(test, allow(x))]\na.expect(\"x\");";
    assert_eq!(lines_of(&silenced(&[Source::new("node/src/a.rs", text)])), [1, 2, 3, 7]);
}

#[test]
fn an_unwrap_in_what_ships_is_found() {
    let text = "a.unwrap();\na.unwrap_or(1);\n#[cfg(test)]\nmod tests { fn b() { a.unwrap(); } }";
    assert_eq!(lines_of(&unwraps(&[Source::new("node/src/a.rs", text)])), [1]);
}

#[test]
fn a_sleeping_test_is_found() {
    let text = "fn a() { sleep(b); }\n#[test]\nfn c() {\n    thread::sleep(b);\n    // waits for: the port\n    sleep(b);\n    tokio::time::sleep(b).await;\n}";
    assert_eq!(lines_of(&sleeping_tests(&[Source::new("node/src/a.rs", text)])), [4, 7]);
}

#[test]
fn a_path_of_one_machine_is_found() {
    let text = format!("cd {0}work/main\nsrc{0}work/x $HOME{0}root/\n\"{0}home/kim/x\"", '/');
    assert_eq!(lines_of(&machine_paths(&[Text::new("Makefile", &text)])), [1, 3]);
}
