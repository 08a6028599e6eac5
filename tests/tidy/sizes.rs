//! Sizes: what a reader can hold in mind.

use super::source::{Source, after_closing, body_or_end, line_of};
use super::tree::Violation;

/// Lines of a file, tests apart. Beyond it the file holds two ideas.
const FILE_LINES_MAX: usize = 800;
/// Lines of code in a function's body. Aim for 30.
pub(crate) const FUNCTION_LINES_MAX: usize = 70;

/// Files and functions that need a split.
pub(crate) fn too_long(sources: &[Source]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for source in sources {
        let shipped = source.lines().filter(|line| !line.test).count();
        if shipped > FILE_LINES_MAX {
            violations
                .push(Violation::of(&source.path, format!("{shipped} lines without tests; {FILE_LINES_MAX} at most: split it by ideas")));
        }
        for function in functions(&source.code) {
            if function.lines > FUNCTION_LINES_MAX {
                let says = format!("`{}` has {} lines; {FUNCTION_LINES_MAX} at most: name its parts", function.name, function.lines);
                violations.push(Violation::at(&source.path, function.line, says));
            }
        }
    }
    violations
}

/// Files that do not begin with a module doc.
pub(crate) fn undocumented(sources: &[Source]) -> Vec<Violation> {
    let silent = sources.iter().filter(|source| !source.text.starts_with("//! "));
    silent.map(|source| Violation::at(&source.path, 1, "begin with `//!`: what promise does this module keep?")).collect()
}

struct Function<'a> {
    name: &'a str,
    /// Where it begins, counted from 1.
    line: usize,
    /// Lines between its braces that hold code.
    lines: usize,
}

fn functions(code: &str) -> Vec<Function<'_>> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let is_name = |c: char| c.is_alphanumeric() || c == '_';
        let start = at + "fn ".len();
        let name = code[start..].split(|c| !is_name(c)).next().unwrap_or("");
        if name.is_empty() || code[..at].ends_with(is_name) {
            continue;
        }
        if let Some(open) = body_or_end(code, start).filter(|open| code[*open..].starts_with('{')) {
            let body = &code[open + 1..after_closing(code, open) - 1];
            let lines = body.lines().filter(|line| !line.trim().is_empty()).count();
            found.push(Function { name, line: line_of(code, at) + 1, lines });
        }
    }
    found
}

#[test]
fn a_long_file_is_found() {
    let of = |shipped: usize, tested: usize| {
        let text = format!("//! A.\n{}#[cfg(test)]\nmod tests {{\n{}}}\n", "a;\n".repeat(shipped - 1), "b;\n".repeat(tested));
        too_long(&[Source::new("node/src/a.rs", &text)]).len()
    };
    assert_eq!((of(FILE_LINES_MAX, 9), of(FILE_LINES_MAX + 1, 9)), (0, 1));
}

#[test]
fn a_long_function_is_found() {
    let of = |lines: usize| {
        let text =
            format!("trait A {{ fn a(x: [u8; 2]); }}\nfn b() {{\n\n    // a comment\n{}}}\nfn c() {{}}\n", "    if x {}\n".repeat(lines));
        too_long(&[Source::new("node/src/a.rs", &text)])
    };
    assert_eq!(of(FUNCTION_LINES_MAX), []);
    assert_eq!(of(FUNCTION_LINES_MAX + 1).iter().map(|violation| violation.line).collect::<Vec<_>>(), [2]);
}

#[test]
fn a_file_without_module_doc_is_found() {
    let found = |text: &str| undocumented(&[Source::new("node/src/a.rs", text)]).len();
    assert_eq!((found("//! A promise.\nuse a;"), found("use a;\n//! Too late."), found("")), (0, 1, 1));
}
