//! `cas` and `incr`: changes that depend on what is there. They are linearizable, and take no level.

use std::str::FromStr;

use bytes::Bytes;
use clap::Args;
use quorate_client::{Cas, Changed, Current, Expect, KeyText, OpId, Token, TokenTextError};
use quorate_protocol::Access;

use super::{Place, Prepared};
use crate::error::CliError;
use crate::exit::Exit;
use crate::globals::{Globals, Output};
use crate::json::{CasFields, IncrFields};
use crate::output;
use crate::text::{InvalidInput, Shown, checked_value, from_base64};

/// Sets a key, or deletes it, if it is as expected: at most once, and in one order with all other linearizable operations.
///
/// Ends with 4 if something else is there, and says what.
#[derive(Clone, Debug, Args)]
#[command(group = clap::ArgGroup::new("body").required(true))]
pub struct CasCommand {
    #[command(flatten)]
    place: Place,

    /// What must hold: `absent`; `value:TEXT`, that this is the only value; or `token:TOKEN`, that nothing has changed since the
    /// linearizable answer that told the token.
    #[arg(long, value_name = "EXPECTATION")]
    expect: ExpectText,

    /// The value to set: at most 1 MiB, as text.
    #[arg(long, value_name = "VALUE", group = "body", allow_hyphen_values = true)]
    set: Option<String>,

    /// Delete the key.
    #[arg(long, group = "body")]
    delete: bool,

    /// The values of --expect and --set are base64.
    #[arg(long)]
    value_base64: bool,

    /// Retry the cas that an error with an unknown outcome named so, with the same key and options: it is applied now unless it had been.
    #[arg(long, value_name = "OP-ID")]
    op_id: Option<OpId>,
}

/// Adds to the decimal number that a key holds, and prints the sum: exactly once, however often it is sent.
///
/// A key without a value counts as 0.
#[derive(Clone, Debug, Args)]
pub struct IncrCommand {
    #[command(flatten)]
    place: Place,

    /// What to add; may be negative.
    #[arg(default_value_t = 1, allow_negative_numbers = true)]
    by: i64,

    /// Retry the incr that an error with an unknown outcome named so, with the same key and number: it is applied now unless it had been.
    #[arg(long, value_name = "OP-ID")]
    op_id: Option<OpId>,
}

/// An expectation as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExpectText {
    /// `absent`.
    Absent,
    /// `value:TEXT`.
    Value(String),
    /// `token:1.7.2.3.12`.
    Token(Token),
}

/// The text is no expectation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpectTextError {
    /// It begins with none of the words.
    #[error("{text:?} is no expectation; write absent, value:TEXT or token:TOKEN")]
    Unknown {
        /// What was written.
        text: String,
    },
    /// What is called a token is none.
    #[error(transparent)]
    Token(#[from] TokenTextError),
}

impl FromStr for ExpectText {
    type Err = ExpectTextError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            None if text == "absent" => Ok(Self::Absent),
            Some(("value", value)) => Ok(Self::Value(value.to_owned())),
            Some(("token", token)) => Ok(Self::Token(token.parse()?)),
            _ => Err(ExpectTextError::Unknown { text: text.to_owned() }),
        }
    }
}

impl ExpectText {
    /// The expectation, its value read as base64 if that is said.
    ///
    /// # Errors
    /// [`InvalidInput`] for a value that is too long, or not base64.
    pub fn expect(self, base64: bool) -> Result<Expect, InvalidInput> {
        match self {
            Self::Absent => Ok(Expect::Absent),
            Self::Token(token) => Ok(Expect::Token(token)),
            Self::Value(text) => value(text, base64).map(Expect::Value),
        }
    }
}

fn value(text: String, base64: bool) -> Result<Bytes, InvalidInput> {
    checked_value(if base64 { from_base64("value", &text)? } else { text.into() })
}

/// Runs `cas`.
///
/// # Errors
/// [`CliError`] for wrong input, for too few replicas, and for a closed stdout.
pub async fn cas(command: CasCommand, globals: &Globals) -> Result<Exit, CliError> {
    let CasCommand { place, expect, set, delete: _, value_base64, op_id } = command;
    let expect = expect.expect(value_base64).map_err(CliError::usage)?;
    let body = set.map(|set| value(set, value_base64)).transpose().map_err(CliError::usage)?;
    let prepared = place.prepare(None, globals, Access::Write).await?;
    let expecting = prepared.bucket.cas(&prepared.key).expect(expect);
    let done = if body.is_some() { "set" } else { "deleted" };
    let change = match body {
        Some(value) => expecting.set(value),
        None => expecting.delete(),
    };
    let change = op_id.into_iter().fold(change, |change, op| change.op_id(op));
    let changed = prepared.answer("cas", Access::Write, change.in_full().await, Changed::receipt)?;
    let (printed, exit) = match &changed.value {
        Cas::Applied { .. } => (print_applied(&prepared, done, &changed, globals.output), Exit::Ok),
        Cas::Conflict { current } => (print_conflict(&prepared, current, &changed, globals.output), Exit::CasConflict),
    };
    prepared.end("compared", printed, exit)
}

fn print_applied(prepared: &Prepared, done: &str, changed: &Changed<Cas>, output: Output) -> Result<(), CliError> {
    match output {
        Output::Json => output::print_json(&CasFields::applied(prepared.bucket.name(), &prepared.key, changed)),
        Output::Table => output::print(format_args!("{done} {}, token {}", KeyText(&prepared.key), changed.token())),
        Output::Raw => Ok(()),
    }
}

fn print_conflict(prepared: &Prepared, current: &Current, changed: &Changed<Cas>, output: Output) -> Result<(), CliError> {
    if output == Output::Json {
        return output::print_json(&CasFields::conflict(prepared.bucket.name(), &prepared.key, changed, current));
    }
    output::note(format_args!("conflict: {}; nothing was changed", Found { key: &prepared.key, current }));
    let Some(values) = &current.values else { return Ok(()) };
    match (output, values.as_slice()) {
        (Output::Raw, [only]) => output::print_bytes(only),
        (Output::Raw, _) => Ok(()),
        (Output::Table | Output::Json, values) => values.iter().try_for_each(|value| output::print(Shown(value))),
    }
}

/// What a cas found instead of what it expected, but for the values.
pub struct Found<'a> {
    /// The key.
    pub key: &'a [u8],
    /// What was there.
    pub current: &'a Current,
}

impl std::fmt::Display for Found<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (key, token) = (KeyText(self.key), self.current.token);
        match self.current.values.as_deref() {
            None => write!(f, "{key} was not as expected when this cas was first tried, at token {token}"),
            Some([]) => write!(f, "{key} has no value, token {token}"),
            Some([_]) => write!(f, "{key} has another value, token {token}"),
            Some(several) => write!(f, "{key} has {} siblings, token {token}", several.len()),
        }
    }
}

/// Runs `incr`.
///
/// # Errors
/// As [`cas`].
pub async fn incr(command: &IncrCommand, globals: &Globals) -> Result<Exit, CliError> {
    let prepared = command.place.prepare(None, globals, Access::Write).await?;
    let change = prepared.bucket.incr(&prepared.key, command.by);
    let change = command.op_id.into_iter().fold(change, |change, op| change.op_id(op));
    let changed = prepared.answer("incr", Access::Write, change.in_full().await, Changed::receipt)?;
    let printed = match globals.output {
        Output::Json => output::print_json(&IncrFields::new(prepared.bucket.name(), &prepared.key, &changed)),
        Output::Table => output::print(changed.value),
        Output::Raw => output::print_bytes(changed.value.to_string().as_bytes()),
    };
    prepared.end("added", printed, Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expectations_are_written_in_three_ways() {
        assert_eq!("absent".parse(), Ok(ExpectText::Absent));
        assert_eq!("value:absent".parse(), Ok(ExpectText::Value("absent".to_owned())));
        assert_eq!("value:a:b".parse(), Ok(ExpectText::Value("a:b".to_owned())));
        assert_eq!("value:".parse(), Ok(ExpectText::Value(String::new())));
        assert_eq!("token:1.7.2.3.12".parse(), Ok(ExpectText::Token("1.7.2.3.12".parse().expect("a token"))));
        for text in ["", "Absent", "a", "absent:", "tokens:1.2.3.4.5"] {
            assert_eq!(text.parse::<ExpectText>(), Err(ExpectTextError::Unknown { text: text.to_owned() }));
        }
        assert!(matches!("token:c1.AQID".parse::<ExpectText>(), Err(ExpectTextError::Token(_))));
    }

    #[test]
    fn what_was_found_is_told_with_its_token() {
        let told = |values: Option<Vec<&'static str>>| {
            let values = values.map(|values| values.into_iter().map(Bytes::from).collect());
            let current = Current { values, token: "1.7.2.3.12".parse().expect("a token") };
            Found { key: b"lock", current: &current }.to_string()
        };
        assert_eq!(told(Some(vec!["me"])), "\"lock\" has another value, token 1.7.2.3.12");
        assert_eq!(told(Some(vec![])), "\"lock\" has no value, token 1.7.2.3.12");
        assert_eq!(told(Some(vec!["a", "b"])), "\"lock\" has 2 siblings, token 1.7.2.3.12");
        assert_eq!(told(None), "\"lock\" was not as expected when this cas was first tried, at token 1.7.2.3.12");
    }
}
