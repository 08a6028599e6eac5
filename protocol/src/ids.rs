//! Names of things: clients, operations, boots, buckets, and the points of virtual or monotonic time.
//!
//! Every id has a short `Display`, because traces, logs and errors are read by people.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A point of a monotonic clock, in microseconds since an arbitrary start that all inputs of one machine share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tick(pub u64);

impl Tick {
    /// The tick `micros` microseconds later, or the last tick there is.
    #[must_use]
    pub fn after(self, micros: u64) -> Self {
        Self(self.0.saturating_add(micros))
    }

    /// Microseconds from `earlier` to this tick, zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// The number of a bucket, part of every storage key. The bucket `default` is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BucketId(pub u32);

impl fmt::Display for BucketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b{:08x}", self.0)
    }
}

/// How often a node has been started: synced, and one higher, before each start serves anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BootId(pub u32);

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "boot {}", self.0)
    }
}

/// A number from a node's durable counter, drawn for one key whenever the node cannot prove which dots it has given out for it.
///
/// A dot's actor is a node *and* such a number, so that a node which forgot its past (dropped the record, lost the end of
/// its log) can never give one dot to two writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyEpoch(pub u64);

/// A client's random name, drawn once per client instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClientId(pub u128);

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// The name of one mutation, chosen by the client and kept by every retry of it.
///
/// A client has at most one operation in flight per lane, and both `seq` and `issued_ms` grow strictly along a lane.
///
/// Its text can be read back, so that another process can retry the operation:
///
/// ```text
/// 0000000000000000000000000000feed.3.9.1700000000000
/// the client, in hexadecimal       |  |  when it was issued, in milliseconds since 1970
///                                  |  place on the lane
///                                  lane
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OpId {
    /// Who issued it.
    pub client: ClientId,
    /// Which of the client's lanes it runs on.
    pub lane: u16,
    /// Its place on the lane.
    pub seq: u64,
    /// Wall clock of the client when it was issued, in milliseconds since 1970.
    pub issued_ms: u64,
}

impl fmt::Display for OpId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}.{}", self.client, self.lane, self.seq, self.issued_ms)
    }
}

/// The text is no operation id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no operation id; write the one that an error or --output json told, in its four parts")]
pub struct OpIdTextError {
    /// What was written.
    pub text: String,
}

impl FromStr for OpId {
    type Err = OpIdTextError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_op_id(text).ok_or_else(|| OpIdTextError { text: text.to_owned() })
    }
}

/// Digits of a client in the text of an operation id.
const CLIENT_DIGITS: usize = 32;

fn parse_op_id(text: &str) -> Option<OpId> {
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

/// How often the client has sent an operation before, when an earlier sending may have taken effect: 0 for the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Attempt(pub u32);

impl Attempt {
    /// True when an earlier sending of the same operation may have been applied somewhere.
    #[must_use]
    pub fn is_retry(self) -> bool {
        self.0 > 0
    }

    /// The attempt after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_an_operation_id_is_read_back() {
        let op = OpId { client: ClientId(0xfeed), lane: 3, seq: 9, issued_ms: 1_700_000_000_000 };
        assert_eq!(op.to_string(), "0000000000000000000000000000feed.3.9.1700000000000");
        let last = OpId { client: ClientId(u128::MAX), lane: u16::MAX, seq: u64::MAX, issued_ms: u64::MAX };
        for op in [op, last, OpId { client: ClientId(0), lane: 0, seq: 0, issued_ms: 0 }] {
            assert_eq!(op.to_string().parse(), Ok(op));
        }
    }

    #[test]
    fn other_texts_are_no_operation_ids() {
        let client = "0000000000000000000000000000feed";
        for text in ["", "a", &format!("{client}.3.9"), &format!("{client}.3.9.1.2"), &format!("{client}.3.+9.1"), "feed.3.9.1"] {
            let refused = text.parse::<OpId>().expect_err(text);
            assert!(refused.to_string().ends_with("in its four parts"), "{refused}");
        }
        assert!(format!("{client}.65536.9.1").parse::<OpId>().is_err(), "there are fewer lanes");
        assert!(format!("{client}.3..1").parse::<OpId>().is_err());
    }
}
