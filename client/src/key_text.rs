//! Keys as people read them in errors and logs: short, on one line, and never raw bytes.

use std::fmt;

/// Longest text of a key, in characters; the rest is cut and its length told.
const TEXT_CHARS_MAX: usize = 48;
const BYTES_SHOWN_MAX: usize = 16;

/// Shows a key: text in quotes with everything unprintable escaped, other bytes in hexadecimal. Long keys are cut.
///
/// ```
/// # use quorate_client::KeyText;
/// assert_eq!(KeyText(b"cart:7").to_string(), r#""cart:7""#);
/// assert_eq!(KeyText(b"\xff\x00").to_string(), "0xff00");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct KeyText<'a>(pub &'a [u8]);

impl fmt::Display for KeyText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0.len();
        match std::str::from_utf8(self.0) {
            Ok(text) if text.chars().count() <= TEXT_CHARS_MAX => write!(f, "{text:?}"),
            Ok(text) => {
                let start: String = text.chars().take(TEXT_CHARS_MAX).collect();
                write!(f, "{start:?}.. ({bytes} bytes)")
            }
            Err(_binary) => {
                f.write_str("0x")?;
                for byte in self.0.iter().take(BYTES_SHOWN_MAX) {
                    write!(f, "{byte:02x}")?;
                }
                if bytes > BYTES_SHOWN_MAX {
                    write!(f, ".. ({bytes} bytes)")?;
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_short_and_on_one_line() {
        assert_eq!(KeyText(b"").to_string(), r#""""#);
        assert_eq!(KeyText(b"a\n\x1b[31m\"").to_string(), r#""a\n\u{1b}[31m\"""#);
        assert_eq!(KeyText("größe".as_bytes()).to_string(), r#""größe""#);
        assert_eq!(KeyText(&[b'k'; 1024]).to_string(), format!("\"{}\".. (1024 bytes)", "k".repeat(48)));
        assert_eq!(KeyText(&[0xff; 20]).to_string(), format!("0x{}.. (20 bytes)", "ff".repeat(16)));
    }
}
