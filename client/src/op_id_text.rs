//! Operation ids as text: what an error prints, so that the operation can be retried under its id later, by another process.
//!
//! ```text
//! 0000000000000000000000000000feed.3.9.1700000000000
//! the client, in hexadecimal       |  |  when it was issued, in milliseconds since 1970
//!                                  |  place on the lane
//!                                  lane
//! ```

use std::fmt;
use std::str::FromStr;

use quorate_protocol::{ClientId, OpId};

const CLIENT_DIGITS: usize = 32;

/// The whole of an operation id as text that can be read back. It begins with what [`OpId`] itself shows, which leaves the time out.
///
/// ```
/// # use quorate_client::OpIdText;
/// let text = "0000000000000000000000000000feed.3.9.1700000000000";
/// let OpIdText(op) = text.parse()?;
/// assert_eq!((op.lane, op.seq, OpIdText(op).to_string()), (3, 9, text.to_owned()));
/// # Ok::<(), quorate_client::OpIdTextError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OpIdText(pub OpId);

/// The text is no operation id. Nothing was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no operation id; write the one that an error or --output json told, in its four parts")]
pub struct OpIdTextError {
    /// What was written.
    pub text: String,
}

impl fmt::Display for OpIdText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(op) = self;
        write!(f, "{op}.{}", op.issued_ms)
    }
}

impl FromStr for OpIdText {
    type Err = OpIdTextError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        read(text).map(Self).ok_or_else(|| OpIdTextError { text: text.to_owned() })
    }
}

fn read(text: &str) -> Option<OpId> {
    let parts: Vec<&str> = text.split('.').collect();
    let [client, lane, seq, issued_ms] = parts[..] else { return None };
    let is_hexadecimal = client.len() == CLIENT_DIGITS && client.bytes().all(|digit| digit.is_ascii_hexdigit());
    let are_decimal = [lane, seq, issued_ms].iter().all(|number| number.bytes().all(|digit| digit.is_ascii_digit()));
    if !is_hexadecimal || !are_decimal {
        return None;
    }
    let client = ClientId(u128::from_str_radix(client, 16).ok()?);
    Some(OpId { client, lane: lane.parse().ok()?, seq: seq.parse().ok()?, issued_ms: issued_ms.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_an_id_is_read_back() {
        let op = OpId { client: ClientId(u128::MAX), lane: u16::MAX, seq: u64::MAX, issued_ms: u64::MAX };
        for op in [op, OpId { client: ClientId(0), lane: 0, seq: 0, issued_ms: 0 }] {
            assert_eq!(OpIdText(op).to_string().parse(), Ok(OpIdText(op)));
        }
    }

    #[test]
    fn other_texts_are_refused() {
        let client = "0000000000000000000000000000feed";
        for text in ["", "a", &format!("{client}.3.9"), &format!("{client}.3.9.1.2"), &format!("{client}.3.+9.1"), "feed.3.9.1"] {
            let refused = text.parse::<OpIdText>().expect_err(text);
            assert!(refused.to_string().ends_with("in its four parts"), "{refused}");
        }
        assert!(format!("{client}.65536.9.1").parse::<OpIdText>().is_err(), "there are fewer lanes");
        assert!(format!("{client}.3..1").parse::<OpIdText>().is_err());
    }
}
