//! Keys and values are bytes; this is how the command line writes them as text and reads them back.
//!
//! - *Upon a key or value in an argument*: its UTF-8 bytes, or with `--key-base64`, `--value-base64` the bytes decoded.
//! - *Upon bytes in JSON*: a field `key` or `value` if they are UTF-8, else `key_base64` or `value_base64`; never both.
//! - *Upon a value for people*: control characters and bytes that are not UTF-8 are escaped, so that stored data cannot
//!   command the terminal. `--output raw` shows the bytes as they are.
//!
//! Sizes are checked here too, so that a wrong key costs no round trip.

use std::fmt;
use std::io;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use bytes::Bytes;
use quorate_protocol::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};

/// A key or value that cannot be sent. Nothing was.
#[derive(Debug, thiserror::Error)]
pub enum InvalidInput {
    /// The key has no bytes.
    #[error("the key is empty; a key has 1 to {KEY_BYTES_MAX} bytes")]
    EmptyKey,
    /// The key is too long.
    #[error("the key has {bytes} bytes; a key has 1 to {KEY_BYTES_MAX} bytes")]
    KeyTooLong {
        /// Its length.
        bytes: usize,
    },
    /// The value is too long.
    #[error("the value has {bytes} bytes; a value has at most {VALUE_BYTES_MAX} bytes")]
    ValueTooLong {
        /// Its length, or the least it can be if it was not read to the end.
        bytes: usize,
    },
    /// Base64 was announced and something else was given.
    #[error("the {what} is not base64")]
    NotBase64 {
        /// `key` or `value`.
        what: &'static str,
        /// Where it stops being base64.
        source: base64::DecodeError,
    },
    /// The value could not be read from stdin.
    #[error("cannot read the value from stdin")]
    Stdin {
        /// What the operating system said.
        source: io::Error,
    },
}

/// Checks a key's length.
///
/// # Errors
/// [`InvalidInput::EmptyKey`], [`InvalidInput::KeyTooLong`].
pub fn checked_key(key: Bytes) -> Result<Bytes, InvalidInput> {
    match key.len() {
        0 => Err(InvalidInput::EmptyKey),
        1..=KEY_BYTES_MAX => Ok(key),
        bytes => Err(InvalidInput::KeyTooLong { bytes }),
    }
}

/// Checks a value's length. A value may be empty.
///
/// # Errors
/// [`InvalidInput::ValueTooLong`].
pub fn checked_value(value: Bytes) -> Result<Bytes, InvalidInput> {
    match value.len() {
        0..=VALUE_BYTES_MAX => Ok(value),
        bytes => Err(InvalidInput::ValueTooLong { bytes }),
    }
}

/// Decodes base64, in the standard alphabet or that of URLs, with or without padding.
///
/// # Errors
/// [`InvalidInput::NotBase64`], naming `what`.
pub fn from_base64(what: &'static str, text: &str) -> Result<Bytes, InvalidInput> {
    let for_urls = text.contains(['-', '_']);
    let engine = match (for_urls, text.ends_with('=')) {
        (false, true) => STANDARD,
        (false, false) => STANDARD_NO_PAD,
        (true, true) => URL_SAFE,
        (true, false) => URL_SAFE_NO_PAD,
    };
    let decoded = engine.decode(text).map_err(|source| InvalidInput::NotBase64 { what, source })?;
    Ok(decoded.into())
}

/// The two ways to write bytes in JSON; exactly one is present.
#[must_use]
pub fn text_or_base64(bytes: &[u8]) -> (Option<String>, Option<String>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (Some(text.to_owned()), None),
        Err(_) => (None, Some(STANDARD.encode(bytes))),
    }
}

/// Bytes as a person may see them: text as it is, line breaks and tabs too, everything else escaped.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a>(pub &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                if c.is_control() && !matches!(c, '\n' | '\t') {
                    write!(f, "{}", c.escape_unicode())?;
                } else {
                    write!(f, "{c}")?;
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_checked_at_the_limit() {
        let key = |length| checked_key(vec![b'k'; length].into());
        assert!(key(1).is_ok() && key(KEY_BYTES_MAX).is_ok());
        let empty = key(0).expect_err("no bytes");
        assert_eq!(empty.to_string(), "the key is empty; a key has 1 to 1024 bytes");
        assert!(matches!(key(KEY_BYTES_MAX + 1), Err(InvalidInput::KeyTooLong { bytes: 1025 })));
        let value = |length| checked_value(vec![0; length].into());
        assert!(value(0).is_ok() && value(VALUE_BYTES_MAX).is_ok() && value(VALUE_BYTES_MAX + 1).is_err());
    }

    #[test]
    fn base64_is_read_in_either_alphabet() {
        for text in ["+/8=", "+/8", "-_8=", "-_8"] {
            let bytes = from_base64("key", text).expect("base64");
            assert_eq!(&bytes[..], [0xfb, 0xff], "{text}");
        }
        let refused = from_base64("key", "a b").expect_err("a blank is not base64");
        assert_eq!(refused.to_string(), "the key is not base64");
    }

    #[test]
    fn json_has_text_or_base64_and_never_both() {
        assert_eq!(text_or_base64("ü\n".as_bytes()), (Some("ü\n".to_owned()), None));
        assert_eq!(text_or_base64(&[0xfb, 0xff]), (None, Some("+/8=".to_owned())));
    }

    #[test]
    fn stored_bytes_cannot_command_the_terminal() {
        assert_eq!(Shown(b"a\tb\n\x1b[31m\xff").to_string(), "a\tb\n\\u{1b}[31m\\xff");
    }
}
