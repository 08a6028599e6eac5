//! Lines of a history: one JSON object per operation, for checkers.
//!
//! `docs/history-format.md` says what each member means. Nothing here judges anything: whoever runs a workload writes down what was
//! done and seen, and others judge it.

use std::io::Write as _;

use serde::{Serialize, Serializer};

use crate::bench::Ending;

/// One operation. Members that are `None`, empty or false are left out; `value` and `return` never are.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Line<'a> {
    pub(crate) process: u64,
    pub(crate) op: &'static str,
    pub(crate) key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expect: Option<Values>,
    pub(crate) value: Values,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) observed: Option<Values>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) due: Option<u64>,
    pub(crate) call: u64,
    #[serde(rename = "return")]
    pub(crate) returned: Option<u64>,
    pub(crate) outcome: &'static str,
    pub(crate) level: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) op_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) node: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) asked: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) stale: Vec<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) refused: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) covers: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) shown: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) dots: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) attempts: Option<u32>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) update: bool,
}

/// What was written, or what a read returned: null if absent, a list if there are siblings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Values(pub(crate) Vec<String>);

impl Serialize for Values {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [] => serializer.serialize_none(),
            [one] => serializer.serialize_str(one),
            several => serializer.collect_seq(several),
        }
    }
}

/// An ending as a history tells it: a compare-and-set that found something else is one that failed, and says what it found.
pub(crate) fn outcome(ending: Ending) -> &'static str {
    match ending {
        Ending::Ok => "ok",
        Ending::Conflict | Ending::NotApplied => "fail",
        Ending::Unknown => "unknown",
    }
}

/// Whether a compare-and-set failed without proof that another value was there: nobody looked, or only the version had changed, as happens
/// when an eventual write that was replaced already arrives. `other` tells whether it found anything else than it expected.
pub(crate) fn says_nothing(ending: Ending, by_token: bool, other: bool) -> bool {
    match ending {
        Ending::NotApplied => true,
        Ending::Conflict => by_token && !other,
        Ending::Ok | Ending::Unknown => false,
    }
}

/// Adds a line to what is to be written.
pub(crate) fn append(piece: &mut Vec<u8>, line: &impl Serialize) {
    serde_json::to_writer(&mut *piece, line).expect("plain values go into memory");
    piece.write_all(b"\n").expect("memory takes everything");
}
