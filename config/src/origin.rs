//! Where a value was written: in a file (line and column), in the environment, on the command line, or nowhere.
//!
//! Every value keeps its origin from the moment it is read, so that an error can point at the text that caused it and
//! `config show` can say why a setting has the value it has.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::error::ReadError;

/// A configuration file that has been read: its name and its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// The name as the user gave it; errors repeat it.
    pub path: PathBuf,
    /// The whole text, TOML.
    pub text: String,
}

/// A stretch of a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub path: PathBuf,
    /// The line of the first character, counted from 1.
    pub line: usize,
    /// The first character within its line, counted from 1, in characters and not in bytes.
    pub column: usize,
    /// The stretch as bytes of the file's text, for tools that underline it.
    pub span: Range<usize>,
}

/// Who decided a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody wrote it; the built-in default holds.
    Default,
    /// The configuration file.
    File(Place),
    /// An environment variable.
    Environment {
        /// Its name, with the prefix.
        variable: String,
    },
    /// A `--set` argument of the command line.
    Set {
        /// The part before the equals sign. The value stays out: it may be a secret.
        key: String,
    },
}

impl SourceFile {
    /// Reads the file at `path`: the one place of this crate that touches the world.
    ///
    /// # Errors
    /// [`ReadError`] if the file cannot be read or is not UTF-8.
    pub fn read(path: &Path) -> Result<Self, ReadError> {
        let text = std::fs::read_to_string(path).map_err(|source| ReadError { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), text })
    }

    /// The place of the bytes `span` of this file, which may begin at its very end.
    pub(crate) fn place(&self, span: Range<usize>) -> Place {
        let before = self.text.get(..span.start).unwrap_or(&self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Place { path: self.path.clone(), line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1, span }
    }

    /// The text with the value of every `secret = ..` overwritten by asterisks, byte for byte, so that spans still fit.
    ///
    /// Works on text that is not valid TOML too, because broken files are shown as well: whatever follows the equals sign
    /// is hidden, to the end of the line or, behind a triple quote, to the end of the file.
    pub(crate) fn masked(&self) -> String {
        let mut masked = String::with_capacity(self.text.len());
        let mut rest = self.text.as_str();
        while let Some(start) = secret_value(rest) {
            let (open, hidden) = rest.split_at(start);
            let multiline = [r#"""""#, "'''"].iter().any(|quotes| hidden.trim_start().starts_with(quotes));
            let end = if multiline { hidden.len() } else { hidden.find('\n').unwrap_or(hidden.len()) };
            masked.push_str(open);
            masked.extend(hidden[..end].bytes().map(|byte| if byte == b'\n' { '\n' } else { '*' }));
            rest = &hidden[end..];
        }
        masked.push_str(rest);
        masked
    }

    /// The place before the first character, to which errors about absent sections point.
    pub(crate) fn beginning(&self) -> Place {
        self.place(0..0)
    }
}

/// The offset right behind the equals sign of the first `secret =`, if there is one.
fn secret_value(text: &str) -> Option<usize> {
    const WORD: &str = "secret";
    text.match_indices(WORD).find_map(|(at, _)| {
        let behind = &text[at + WORD.len()..];
        let behind_word = behind.trim_start_matches(|c: char| c.is_alphanumeric() || "_-".contains(c)); // a misspelt `secrets` too
        let trimmed = behind_word.trim_start_matches([' ', '\t', '"', '\'']);
        trimmed.starts_with('=').then(|| at + WORD.len() + (behind.len() - trimmed.len()) + 1)
    })
}

impl Origin {
    /// The place in the file, if the value was written there.
    pub fn place(&self) -> Option<&Place> {
        match self {
            Self::File(place) => Some(place),
            Self::Default | Self::Environment { .. } | Self::Set { .. } => None,
        }
    }

    /// The order in which sources are laid over each other, and errors reported: down the file, environment, command line.
    pub(crate) fn rank(&self) -> (u8, usize) {
        match self {
            Self::Default => (0, 0),
            Self::File(place) => (1, place.span.start),
            Self::Environment { .. } => (2, 0),
            Self::Set { .. } => (3, 0),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.path.display(), self.line, self.column)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(place) => place.fmt(f),
            Self::Environment { variable } => write!(f, "environment variable {variable}"),
            Self::Set { key } => write!(f, "--set {key}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> SourceFile {
        SourceFile { path: "q.toml".into(), text: text.to_owned() }
    }

    #[test]
    fn columns_count_characters_not_bytes() {
        let file = file("a = 1\nü = 2\n");
        assert_eq!(file.place(0..1).to_string(), "q.toml:1:1");
        let two = file.text.find('2').expect("written above");
        assert_eq!(file.place(two..two + 1).to_string(), "q.toml:2:5");
        assert_eq!(file.place(file.text.len()..file.text.len()).to_string(), "q.toml:3:1");
    }

    #[test]
    fn an_unreadable_file_is_named() {
        let error = SourceFile::read(Path::new("no/such/quorate.toml")).expect_err("there is none");
        assert_eq!(error.to_string(), "cannot read the configuration file no/such/quorate.toml");
    }

    #[test]
    fn masking_hides_secrets_and_keeps_every_offset() {
        let file = file("[cluster]\nsecret = \"hüsh\"\nsecrets = 'a'\nid = \"a\" # the secret is above\nx = {\"secret\"='no'}\n");
        let masked = file.masked();
        assert_eq!(masked, "[cluster]\nsecret =********\nsecrets =****\nid = \"a\" # the secret is above\nx = {\"secret\"=*****\n");
        assert_eq!(masked.len(), file.text.len());
        let long = self::file("secret = \"\"\"one\ntwo\"\"\"\nid = 1\n").masked();
        assert!(!long.contains("two"), "{long}");
    }
}
