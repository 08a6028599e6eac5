//! One line as it stands there, borrowed from the text.
//!
//! Every member is optional here; what a line needs is decided where it becomes an operation. A line that does not fit is read a
//! second time, slowly, to say which member is wrong: `serde_json` says where in the line, not in which member.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::error::Problem;

/// A text, borrowed unless it has escapes.
#[derive(Debug, Deserialize)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// What an operation was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    Read,
    Write,
    Delete,
    Cas,
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Ending {
    Ok,
    Fail,
    Unknown,
}

/// Null, a text, or several.
#[derive(Debug)]
pub(super) enum Values<'a> {
    Null,
    One(Text<'a>),
    Many(Vec<Text<'a>>),
}

/// Any line.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Line<'a> {
    pub(super) process: Option<u64>,
    pub(super) op: Option<Kind>,
    #[serde(borrow)]
    pub(super) key: Option<Text<'a>>,
    #[serde(borrow, deserialize_with = "present")]
    pub(super) value: Option<Values<'a>>,
    #[serde(borrow, deserialize_with = "present")]
    pub(super) expect: Option<Values<'a>>,
    #[serde(borrow, deserialize_with = "present")]
    pub(super) observed: Option<Values<'a>>,
    pub(super) due: Option<u64>,
    pub(super) call: Option<u64>,
    #[serde(rename = "return")]
    pub(super) returned: Option<u64>,
    pub(super) outcome: Option<Ending>,
    #[serde(borrow)]
    pub(super) level: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) op_id: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) node: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) token: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) asked: Option<Vec<Text<'a>>>,
    #[serde(borrow)]
    pub(super) stale: Option<Vec<Text<'a>>>,
    #[serde(borrow)]
    pub(super) covers: Option<Vec<Text<'a>>>,
    #[serde(borrow)]
    pub(super) shown: Option<Vec<Text<'a>>>,
    #[serde(borrow)]
    pub(super) dots: Option<Vec<Text<'a>>>,
    pub(super) attempts: Option<u32>,
    pub(super) refused: Option<bool>,
    pub(super) update: Option<bool>,
    pub(super) header: Option<BTreeMap<String, serde_json::Value>>,
    #[serde(borrow)]
    pub(super) replica: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) versions: Option<Vec<Version<'a>>>,
    #[serde(borrow)]
    pub(super) digest: Option<Text<'a>>,
}

/// A live version of a replica's final state.
#[derive(Debug, Deserialize)]
pub(super) struct Version<'a> {
    #[serde(borrow)]
    pub(super) dot: Text<'a>,
    #[serde(borrow, deserialize_with = "value_or_null")]
    pub(super) value: Option<Text<'a>>,
}

impl<'a> Line<'a> {
    /// Reads one line.
    pub(super) fn parse(text: &'a str) -> Result<Self, Problem> {
        serde_json::from_str(text).map_err(|source| diagnose(text, source))
    }
}

/// Tells a member that is null from one that is not there.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// With a function of its own, a member must be there even if it is null.
fn value_or_null<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    T::deserialize(deserializer)
}

impl<'de: 'a, 'a> Deserialize<'de> for Values<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Values<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("null, a text or a list of texts")
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Values::Null)
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Values::One(Text(Cow::Borrowed(text))))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Values::One(Text(Cow::Owned(text.to_owned()))))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = list.next_element()? {
                    texts.push(text);
                }
                Ok(Values::Many(texts))
            }
        }

        deserializer.deserialize_any(Any)
    }
}

/// What a member may be, apart from null where it need not be there.
#[derive(Clone, Copy)]
enum Shape {
    Whole,
    Count,
    Bool,
    Text,
    Texts,
    Values,
    OneOf(&'static [&'static str], &'static str),
    Object,
    Versions,
}

const SHAPES: &[(&str, Shape)] = &[
    ("process", Shape::Whole),
    ("op", Shape::OneOf(&["read", "write", "delete", "cas"], "\"read\", \"write\", \"delete\" or \"cas\"")),
    ("key", Shape::Text),
    ("value", Shape::Values),
    ("expect", Shape::Values),
    ("observed", Shape::Values),
    ("due", Shape::Whole),
    ("call", Shape::Whole),
    ("return", Shape::Whole),
    ("outcome", Shape::OneOf(&["ok", "fail", "unknown"], "\"ok\", \"fail\" or \"unknown\"")),
    ("level", Shape::Text),
    ("op_id", Shape::Text),
    ("node", Shape::Text),
    ("token", Shape::Text),
    ("asked", Shape::Texts),
    ("stale", Shape::Texts),
    ("covers", Shape::Texts),
    ("shown", Shape::Texts),
    ("dots", Shape::Texts),
    ("attempts", Shape::Count),
    ("refused", Shape::Bool),
    ("update", Shape::Bool),
    ("header", Shape::Object),
    ("replica", Shape::Text),
    ("versions", Shape::Versions),
    ("digest", Shape::Text),
];

impl Shape {
    fn wanted(self) -> &'static str {
        match self {
            Self::Whole => "a whole number from 0 to 2^64 - 1",
            Self::Count => "a whole number below 2^32",
            Self::Bool => "true or false",
            Self::Text => "a text",
            Self::Texts => "a list of texts",
            Self::Values => "a text, null or a list of texts",
            Self::OneOf(_, wanted) => wanted,
            Self::Object => "an object",
            Self::Versions => "a list of objects with a text `dot` and a `value` (a text, or null for a tombstone)",
        }
    }

    fn admits(self, json: &serde_json::Value) -> bool {
        use serde_json::Value as Json;
        let texts = |list: &[Json]| list.iter().all(Json::is_string);
        match (self, json) {
            (Self::Whole, json) => json.is_null() || json.is_u64(),
            (Self::Count, json) => json.is_null() || json.as_u64().is_some_and(|count| u32::try_from(count).is_ok()),
            (Self::Bool, json) => json.is_null() || json.is_boolean(),
            (Self::Text, json) => json.is_null() || json.is_string(),
            (Self::Texts, Json::Array(list)) | (Self::Values, Json::Array(list)) => texts(list),
            (Self::Texts, json) => json.is_null(),
            (Self::Values, json) => json.is_null() || json.is_string(),
            (Self::OneOf(words, _), json) => json.is_null() || json.as_str().is_some_and(|text| words.contains(&text)),
            (Self::Object, json) => json.is_null() || json.is_object(),
            (Self::Versions, Json::Array(list)) => list.iter().all(|version| {
                let fine = |value: &Json| value.is_null() || value.is_string();
                version.get("dot").is_some_and(Json::is_string) && version.get("value").is_some_and(fine)
            }),
            (Self::Versions, json) => json.is_null(),
        }
    }
}

/// Finds the member that made a line unreadable.
fn diagnose(text: &str, source: serde_json::Error) -> Problem {
    let column = source.column();
    let Ok(members) = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text) else {
        return Problem::NotJson { column, source };
    };
    let wrong = SHAPES.iter().find_map(|(member, shape)| {
        let json = members.get(*member).filter(|json| !shape.admits(json))?;
        Some(Problem::Mistyped { member, wanted: shape.wanted(), found: kind_of(json) })
    });
    wrong.unwrap_or(Problem::NotJson { column, source })
}

fn kind_of(json: &serde_json::Value) -> &'static str {
    use serde_json::Value as Json;
    match json {
        Json::Null => "null",
        Json::Bool(_) => "true or false",
        Json::Number(number) if number.is_u64() => "a whole number",
        Json::Number(_) => "such a number",
        Json::String(_) => "such a text",
        Json::Array(_) => "such a list",
        Json::Object(_) => "such an object",
    }
}
