//! Key, tab, value, line feed: the bulk format for people and for the tools of Unix.
//!
//! **Promise.** What [`encode`] writes, [`decode`] reads back: any key and value that are UTF-8. A line that is not in this
//! format is refused, never guessed at.
//!
//! Three characters are escaped in keys and in values, so that a record is one line and has one tab:
//!
//! ```text
//! tab  \t      line feed  \n      backslash  \\
//! ```
//!
//! A carriage return is an ordinary character. Any other backslash is an error: a file with a lone backslash was not
//! written with these rules, and reading it by them would change its values.
//!
//! **Deliberately missing.** Buckets, siblings, and bytes that are not UTF-8: [`super::jsonl`] has them.

use std::borrow::Cow;

/// Why a line is no record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TsvError {
    /// The line is not UTF-8.
    #[error("not UTF-8 at byte {at} of the line; JSON lines can carry such values as base64")]
    NotUtf8 {
        /// Bytes of the line before the first wrong one.
        at: usize,
    },
    /// There is no tab.
    #[error("no tab between key and value")]
    NoTab,
    /// There is more than one tab.
    #[error("more than one tab; a tab within a key or value is written \\t")]
    ManyTabs,
    /// A backslash before another character than `t`, `n` or a backslash.
    #[error("a backslash that is none of \\t, \\n and \\\\; a backslash itself is written \\\\")]
    Escape,
}

/// Writes one record, with its line feed, to the end of `line`.
pub fn encode(key: &str, value: &str, line: &mut String) {
    escape(key, line);
    line.push('\t');
    escape(value, line);
    line.push('\n');
}

/// Reads one line, without its line feed, as key and value.
///
/// # Errors
/// [`TsvError`] if the line is not a record.
pub fn decode(line: &[u8]) -> Result<(String, String), TsvError> {
    let line = std::str::from_utf8(line).map_err(|error| TsvError::NotUtf8 { at: error.valid_up_to() })?;
    let (key, value) = line.split_once('\t').ok_or(TsvError::NoTab)?;
    if value.contains('\t') {
        return Err(TsvError::ManyTabs);
    }
    Ok((unescape(key)?.into_owned(), unescape(value)?.into_owned()))
}

fn escape(text: &str, line: &mut String) {
    for c in text.chars() {
        match c {
            '\t' => line.push_str("\\t"),
            '\n' => line.push_str("\\n"),
            '\\' => line.push_str("\\\\"),
            c => line.push(c),
        }
    }
}

fn unescape(text: &str) -> Result<Cow<'_, str>, TsvError> {
    if !text.contains('\\') {
        return Ok(Cow::Borrowed(text));
    }
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        plain.push(match c {
            '\\' => match characters.next() {
                Some('t') => '\t',
                Some('n') => '\n',
                Some('\\') => '\\',
                Some(_) | None => return Err(TsvError::Escape),
            },
            c => c,
        });
    }
    Ok(Cow::Owned(plain))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_record_is_one_line_with_one_tab() {
        let mut line = String::new();
        encode("a\tb", "c\\n\nd\r", &mut line);
        assert_eq!(line, "a\\tb\tc\\\\n\\nd\r\n");
    }

    #[test]
    fn lines_of_another_format_are_refused() {
        let refused = |line: &[u8]| decode(line).expect_err("not a record");
        assert_eq!(refused(b"key value"), TsvError::NoTab);
        assert_eq!(refused(b"key\tvalue\tmore"), TsvError::ManyTabs);
        assert_eq!(refused(b"key\tC:\\dir"), TsvError::Escape);
        assert_eq!(refused(b"key\tends with \\"), TsvError::Escape);
        assert_eq!(refused(b"key\tabc\xff"), TsvError::NotUtf8 { at: 7 });
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(key in "[a\\\\\t\nü]{1,8}|\\PC{1,20}", value in "[tn\\\\\t\n\r\u{0}]{0,12}|\\PC*") {
            let mut line = String::new();
            encode(&key, &value, &mut line);
            let body = line.strip_suffix('\n').expect("a line ends");
            prop_assert!(!body.contains('\n') && body.matches('\t').count() == 1);
            prop_assert_eq!(decode(body.as_bytes()), Ok((key, value)));
        }
    }
}
