//! The files of the repository, and what a rule says about them.

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::path::Path;

use super::source::Source;

/// Something that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    /// The file, or the crate.
    pub(crate) place: String,
    /// Its line, counted from 1; 0 stands for the whole.
    pub(crate) line: usize,
    /// What is wrong, and what to do.
    pub(crate) says: String,
}

impl Violation {
    /// About one line.
    pub(crate) fn at(place: &str, line: usize, says: impl Into<String>) -> Self {
        Self { place: place.to_owned(), line, says: says.into() }
    }

    /// About a whole file or crate.
    pub(crate) fn of(place: &str, says: impl Into<String>) -> Self {
        Self::at(place, 0, says)
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.place, self.says),
            line => write!(f, "{}:{line}: {}", self.place, self.says),
        }
    }
}

/// A file that is text.
#[derive(Debug, Clone)]
pub(crate) struct Text {
    /// From the root of the repository, with slashes.
    pub(crate) path: String,
    /// What it holds.
    pub(crate) text: String,
}

impl Text {
    /// A file that a self-test makes up.
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }
}

/// All files that people wrote.
#[derive(Debug)]
pub(crate) struct Tree {
    /// Every text file, Rust or not, sorted by path.
    pub(crate) texts: Vec<Text>,
    /// The Rust files among them.
    pub(crate) sources: Vec<Source>,
}

impl Tree {
    /// Reads the repository.
    ///
    /// # Panics
    /// When a file cannot be read, or when hardly any is found: a rule that reads nothing would pass.
    pub(crate) fn read() -> Self {
        let mut texts = Vec::new();
        collect(root(), "", &mut texts);
        texts.sort_by(|a, b| a.path.cmp(&b.path));
        let tree = Self::of(texts);
        assert!(tree.sources.len() > 50, "only {} Rust files below {}", tree.sources.len(), root().display());
        tree
    }

    /// Takes the files as given.
    pub(crate) fn of(texts: Vec<Text>) -> Self {
        let rust = texts.iter().filter(|file| file.path.ends_with(".rs"));
        let mut sources: Vec<Source> = rust.map(|file| Source::new(&file.path, &file.text)).collect();
        let test_modules: Vec<String> =
            sources.iter().flat_map(|source| source.test_modules.iter().map(|module| source.module_path(module))).collect();
        for source in &mut sources {
            let stem = source.path.trim_end_matches(".rs").to_owned();
            if test_modules.iter().any(|module| stem == *module || stem.starts_with(&format!("{module}/"))) {
                source.mark_as_test();
            }
        }
        Self { texts, sources }
    }
}

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Adds the text files below `directory`. Build directories carry a `CACHEDIR.TAG`; `Cargo.lock` is nobody's prose.
fn collect(directory: &Path, prefix: &str, texts: &mut Vec<Text>) {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    for entry in entries {
        let path = entry.unwrap_or_else(|error| panic!("{}: {error}", directory.display())).path();
        let Some(name) = path.file_name().and_then(OsStr::to_str) else {
            continue;
        };
        let relative = format!("{prefix}{name}");
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            if name != ".git" && !path.join("CACHEDIR.TAG").exists() {
                collect(&path, &format!("{relative}/"), texts);
            }
        } else if name != "Cargo.lock"
            && let Ok(text) = fs::read_to_string(&path)
        {
            texts.push(Text { path: relative, text });
        }
    }
}

#[test]
fn a_module_declared_for_tests_is_a_test_with_all_below_it() {
    let tree = Tree::of(vec![
        Text::new("x/src/lib.rs", "mod a;\n#[cfg(test)]\nmod checks;"),
        Text::new("x/src/a.rs", "fn a() {}"),
        Text::new("x/src/checks.rs", "mod deep;"),
        Text::new("x/src/checks/deep.rs", "fn deep() {}"),
        Text::new("x/notes.md", "no code"),
    ]);
    let tests: Vec<&str> =
        tree.sources.iter().filter(|source| source.lines().all(|line| line.test)).map(|source| source.path.as_str()).collect();
    assert_eq!(tests, ["x/src/checks.rs", "x/src/checks/deep.rs"]);
}
