//! One Rust file as the rules read it: code apart from comments and strings, tests apart from what ships.
//!
//! ```text
//!   text      let a = "Instant"; // no Instant here
//!   code      let a = "       ";
//!   comment                         no Instant here
//! ```
//!
//! Lengths and line breaks stay, so a place in `code` is a place in the file. A line belongs to a test if it lies in an item
//! under `#[cfg(test)]` or `#[test]`, or if the whole file is one (under `tests/`, or a module declared under `#[cfg(test)]`).
//!
//! **Deliberately missing.** Macros are not expanded and names are not resolved: `use std::time as t` hides from the rules.

/// A Rust file.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// From the root of the repository, with slashes.
    pub(crate) path: String,
    /// As it is.
    pub(crate) text: String,
    /// The text with comments, and what stands inside quotes, as spaces.
    pub(crate) code: String,
    /// The text with everything but comments as spaces.
    pub(crate) comments: String,
    /// For each line: whether only tests run it.
    tests: Vec<bool>,
    /// Modules declared under `#[cfg(test)]` whose text is another file.
    pub(crate) test_modules: Vec<String>,
}

/// One line of a [`Source`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line<'a> {
    /// Counted from 1.
    pub(crate) number: usize,
    /// Without comments, and without what stands inside quotes.
    pub(crate) code: &'a str,
    /// Its comments alone.
    pub(crate) comment: &'a str,
    /// Only tests run it.
    pub(crate) test: bool,
}

impl Source {
    /// Reads `text` as the file at `path`.
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let (code, comments) = Masker::new(text).mask();
        let (tests, test_modules) = test_items(&code);
        let mut source =
            Self { path: path.to_owned(), text: text.to_owned(), code, comments, tests: vec![false; text.lines().count()], test_modules };
        for (first, last) in tests {
            source.tests[first..=last].fill(true);
        }
        if path.split('/').any(|part| part == "tests" || part == "benches") {
            source.mark_as_test();
        }
        source
    }

    /// Declares all of it a test.
    pub(crate) fn mark_as_test(&mut self) {
        self.tests.fill(true);
    }

    /// Its lines, in order.
    pub(crate) fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        let pairs = self.code.lines().zip(self.comments.lines()).zip(&self.tests);
        pairs.enumerate().map(|(at, ((code, comment), test))| Line { number: at + 1, code, comment, test: *test })
    }

    /// The name of the workspace's folder it belongs to; empty for the root package.
    pub(crate) fn folder(&self) -> &str {
        match self.path.split_once('/') {
            Some(("src" | "tests", _)) | None => "",
            Some((folder, _)) => folder,
        }
    }

    /// The files in which a module that this file declares may be, without `.rs`: `module` or `module/mod`, and below `module/`.
    pub(crate) fn module_path(&self, module: &str) -> String {
        let stem = self.path.trim_end_matches(".rs");
        match stem.rsplit_once('/') {
            Some((parent, "lib" | "main" | "mod")) => format!("{parent}/{module}"),
            _ => format!("{stem}/{module}"),
        }
    }
}

/// Whether `text` contains `word` as a whole, not as a part of a longer name.
pub(crate) fn contains_word(text: &str, word: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        let opens = !word.starts_with(is_name) || !text[..at].ends_with(is_name);
        let closes = !word.ends_with(is_name) || !text[at + word.len()..].starts_with(is_name);
        opens && closes
    })
}

/// The line, counted from 0, of a place in `text`.
pub(crate) fn line_of(text: &str, place: usize) -> usize {
    text[..place].matches('\n').count()
}

/// The place after the bracket that closes the one at `open`, or the end.
pub(crate) fn after_closing(code: &str, open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, c) in code[open..].char_indices() {
        match c {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return open + at + c.len_utf8();
        }
    }
    code.len()
}

/// The place of the first `{` or `;` after `from` that lies in no inner bracket.
pub(crate) fn body_or_end(code: &str, from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(c) = code[at..].chars().next() {
        match c {
            '{' | ';' => return Some(at),
            '(' | '[' => at = after_closing(code, at),
            _ => at += c.len_utf8(),
        }
    }
    None
}

/// First and last line, counted from 0, of every item that only tests compile, and the names of modules among them without a body.
fn test_items(code: &str) -> (Vec<(usize, usize)>, Vec<String>) {
    let mut ranges = Vec::new();
    let mut modules = Vec::new();
    for (at, _) in code.match_indices("#[") {
        let mut item = after_closing(code, at + 1);
        if !is_test_attribute(&code[at + 2..item - 1]) {
            continue;
        }
        while code[item..].trim_start().starts_with("#[") {
            let next = item + code[item..].find("#[").unwrap_or(0);
            item = after_closing(code, next + 1);
        }
        let Some(stop) = body_or_end(code, item) else { continue };
        let end = if code[stop..].starts_with('{') { after_closing(code, stop) } else { stop + 1 };
        ranges.push((line_of(code, at), line_of(code, end - 1)));
        if code[stop..].starts_with(';')
            && let Some((_, name)) = code[item..stop].rsplit_once("mod ")
        {
            modules.push(name.trim().to_owned());
        }
    }
    (ranges, modules)
}

fn is_test_attribute(attribute: &str) -> bool {
    let attribute: String = attribute.split_whitespace().collect();
    attribute == "test" || attribute == "cfg(test)" || attribute.starts_with("cfg(all(test,") || attribute.starts_with("tokio::test")
}

/// Splits a text into code and comments.
struct Masker<'a> {
    rest: &'a str,
    previous: char,
    code: String,
    comments: String,
}

impl<'a> Masker<'a> {
    fn new(text: &'a str) -> Self {
        Self { rest: text, previous: ' ', code: String::with_capacity(text.len()), comments: String::with_capacity(text.len()) }
    }

    fn mask(mut self) -> (String, String) {
        while let Some(c) = self.rest.chars().next() {
            let in_name = self.previous.is_alphanumeric() || self.previous == '_';
            if self.rest.starts_with("//") {
                self.comment(self.rest.find('\n').unwrap_or(self.rest.len()));
            } else if self.rest.starts_with("/*") {
                self.comment(block_comment(self.rest));
            } else if let Some((open, inside)) = raw_string(self.rest).filter(|_| !in_name) {
                self.quoted(open, inside);
            } else if c == '"' {
                self.quoted(1, escaped(&self.rest[1..], '"'));
            } else if let Some(inside) = character(self.rest) {
                self.quoted(1, inside);
            } else {
                self.code(c.len_utf8());
            }
        }
        (self.code, self.comments)
    }

    fn code(&mut self, length: usize) {
        let (now, rest) = self.rest.split_at(length);
        self.code.push_str(now);
        self.comments.push_str(&spaces(now));
        self.previous = now.chars().next_back().unwrap_or(' ');
        self.rest = rest;
    }

    fn comment(&mut self, length: usize) {
        let (now, rest) = self.rest.split_at(length);
        self.comments.push_str(now);
        self.code.push_str(&spaces(now));
        self.previous = ' ';
        self.rest = rest;
    }

    /// Keeps `open` bytes of opening quote, hides what is `inside`; the closing quote follows as code.
    fn quoted(&mut self, open: usize, inside: usize) {
        self.code(open);
        let (now, rest) = self.rest.split_at(inside);
        self.code.push_str(&spaces(now));
        self.comments.push_str(&spaces(now));
        self.rest = rest;
        let close = if rest.is_empty() { 0 } else { 1 };
        self.code(close);
    }
}

/// As many bytes of spaces, with the line breaks kept.
fn spaces(text: &str) -> String {
    text.bytes().map(|b| if b == b'\n' { '\n' } else { ' ' }).collect()
}

/// The length of the block comment at the start, which may hold others.
fn block_comment(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with(b"*/") {
            depth -= 1;
            at += 2;
        } else {
            at += 1;
        }
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

/// The length up to the closing `quote`, which a backslash can escape.
fn escaped(text: &str, quote: char) -> usize {
    let mut skip = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if skip => skip = false,
            '\\' => skip = true,
            _ if c == quote => return at,
            _ => {}
        }
    }
    text.len()
}

/// For `r"`, `br#"` and the like: the lengths of the opening and of the inside.
fn raw_string(text: &str) -> Option<(usize, usize)> {
    let prefix = ["r", "br", "cr"].into_iter().find(|p| text.strip_prefix(p).is_some_and(|rest| rest.starts_with(['"', '#'])))?;
    let hashes = text[prefix.len()..].bytes().take_while(|b| *b == b'#').count();
    let open = prefix.len() + hashes + 1;
    if !text[prefix.len() + hashes..].starts_with('"') {
        return None;
    }
    let close = format!("\"{}", "#".repeat(hashes));
    Some((open, text[open..].find(&close).unwrap_or(text.len() - open)))
}

/// For a character literal, not a lifetime: the length of the inside.
fn character(text: &str) -> Option<usize> {
    let inside = text.strip_prefix('\'')?;
    let first = inside.chars().next()?;
    if first == '\\' {
        return Some(escaped(inside, '\''));
    }
    inside[first.len_utf8()..].starts_with('\'').then_some(first.len_utf8())
}

#[test]
fn comments_and_strings_are_not_code() {
    let text = "a(\"b \\\" b\"); // c\n/* d /* d */ d */ e(r#\"f \" f\"#, 'g', '\\'', b'h', \"\\\\\"); i::<'j>(r#k)";
    let source = Source::new("x/src/a.rs", text);
    assert_eq!(source.code.len(), text.len());
    let code: String = source.code.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(code, "a(\" \"); e(r#\" \"#, ' ', ' ', b' ', \" \"); i::<'j>(r#k)");
    assert_eq!(source.comments.split_whitespace().collect::<String>(), "//c/*d/*d*/d*/");
}

#[test]
fn test_code_is_told_from_what_ships() {
    let text = "fn a() {}\n#[cfg(test)]\n#[expect(x)]\nmod b {\n    fn c() { [0; 1]; }\n}\nfn d() {}\n#[cfg(test)]\nmod e;\n#[cfg(not(test))]\nfn f() {}";
    let source = Source::new("x/src/a.rs", text);
    let shipped: Vec<usize> = source.lines().filter(|line| !line.test).map(|line| line.number).collect();
    assert_eq!(shipped, [1, 7, 10, 11]);
    assert_eq!(source.test_modules, ["e"]);
    assert_eq!(source.module_path("e"), "x/src/a/e");
    assert_eq!(Source::new("x/src/lib.rs", "").module_path("e"), "x/src/e");
    assert!(Source::new("x/tests/a.rs", text).lines().all(|line| line.test));
}

#[test]
fn words_are_found_whole() {
    assert!(contains_word("use tokio::time;", "tokio"));
    assert!(!contains_word("use tokio_util::time; my_tokio", "tokio"));
    assert!(contains_word("x.unwrap()", ".unwrap()"));
}
