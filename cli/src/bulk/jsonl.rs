//! One JSON object per line: the bulk format that carries everything a key holds.
//!
//! ```text
//! {"bucket":"default","key":"cart:7","siblings":[{"value":"milk"},{"value_base64":"/w=="}]}
//! ```
//!
//! `bucket` may be missing when reading: the bucket of `--bucket`, else `default`. Of `key` and `key_base64` exactly one is
//! present, and so in each sibling of `value` and `value_base64`. Unknown fields are refused.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Record;
use crate::text::{InvalidInput, from_base64, text_or_base64};

/// Why a line is no record.
#[derive(Debug, thiserror::Error)]
pub enum JsonlError {
    /// It is not a JSON object with the expected fields.
    #[error("not a record in JSON")]
    Json {
        /// What is wrong, and where in the line.
        source: serde_json::Error,
    },
    /// The bytes are written twice or not at all.
    #[error("write exactly one of {what} and {what}_base64")]
    OneOf {
        /// `key` or `value`.
        what: &'static str,
    },
    /// The base64 is none.
    #[error(transparent)]
    Base64(#[from] InvalidInput),
    /// A key without values.
    #[error("siblings is empty: a record has at least one value")]
    NoSiblings,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bucket: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    siblings: Vec<LineSibling>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LineSibling {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
}

/// Writes one record, with its line feed, to the end of `line`.
pub fn encode(record: &Record, line: &mut String) {
    let (key, key_base64) = text_or_base64(&record.key);
    let sibling = |value: &Bytes| {
        let (value, value_base64) = text_or_base64(value);
        LineSibling { value, value_base64 }
    };
    let siblings = record.values.iter().map(sibling).collect();
    let object = Line { bucket: record.bucket.clone(), key, key_base64, siblings };
    line.push_str(&serde_json::to_string(&object).expect("texts always serialise"));
    line.push('\n');
}

/// Reads one line.
///
/// # Errors
/// [`JsonlError`] if the line is not a record.
pub fn decode(line: &[u8]) -> Result<Record, JsonlError> {
    let line: Line = serde_json::from_slice(line).map_err(|source| JsonlError::Json { source })?;
    let key = one_of("key", line.key, line.key_base64)?;
    let value = |sibling: LineSibling| one_of("value", sibling.value, sibling.value_base64);
    let values = line.siblings.into_iter().map(value).collect::<Result<Vec<_>, _>>()?;
    if values.is_empty() {
        return Err(JsonlError::NoSiblings);
    }
    Ok(Record { bucket: line.bucket, key, values })
}

fn one_of(what: &'static str, text: Option<String>, base64: Option<String>) -> Result<Bytes, JsonlError> {
    match (text, base64) {
        (Some(text), None) => Ok(text.into()),
        (None, Some(base64)) => Ok(from_base64(what, &base64)?),
        (Some(_), Some(_)) | (None, None) => Err(JsonlError::OneOf { what }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_line_is_the_documented_one() {
        let record =
            Record { bucket: Some("default".to_owned()), key: "cart:7".into(), values: vec!["milk".into(), Bytes::from_static(&[0xff])] };
        let mut line = String::new();
        encode(&record, &mut line);
        let documented = r#"{"bucket":"default","key":"cart:7","siblings":[{"value":"milk"},{"value_base64":"/w=="}]}"#;
        assert_eq!(line.trim_end(), documented);
    }

    #[test]
    fn incomplete_and_ambiguous_lines_are_refused() {
        let refused = |line: &str| decode(line.as_bytes()).expect_err("not a record").to_string();
        assert_eq!(refused(r#"{"key":"a","siblings":[]}"#), "siblings is empty: a record has at least one value");
        assert_eq!(refused(r#"{"siblings":[{"value":"1"}]}"#), "write exactly one of key and key_base64");
        let both = r#"{"key":"a","siblings":[{"value":"1","value_base64":"MQ=="}]}"#;
        assert_eq!(refused(both), "write exactly one of value and value_base64");
        assert_eq!(refused(r#"{"key":"a","siblings":[{"value_base64":"?"}]}"#), "the value is not base64");
        assert_eq!(refused(r#"{"key":"a","value":"1"}"#), "not a record in JSON");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(key in vec(any::<u8>(), 1..20), values in vec(vec(any::<u8>(), 0..20), 1..4)) {
            let record = Record { bucket: None, key: key.into(), values: values.into_iter().map(Bytes::from).collect() };
            let mut line = String::new();
            encode(&record, &mut line);
            prop_assert_eq!(line.matches('\n').count(), 1);
            prop_assert_eq!(decode(line.trim_end().as_bytes()).expect("written so"), record);
        }
    }
}
