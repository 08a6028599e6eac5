//! `put` and `del`.

use std::io::{self, Read};

use bytes::Bytes;
use clap::Args;
use quorate_client::{Context, KeyText, OpId, Receipt, Write, Written};
use quorate_protocol::Access;
use quorate_protocol::limits::VALUE_BYTES_MAX;
use quorate_protocol::outcome::ReplicaStatus;

use super::{Prepared, Target};
use crate::error::CliError;
use crate::exit::Exit;
use crate::globals::{Globals, Output};
use crate::json::{WriteFields, nodes};
use crate::output;
use crate::text::{InvalidInput, checked_value, from_base64};

/// Gives a key a value.
///
/// Without --context the value replaces whatever the coordinating replica has seen.
#[derive(Clone, Debug, Args)]
pub struct Put {
    #[command(flatten)]
    target: Target,

    /// The value: at most 1 MiB, as text; `-` reads it from stdin, byte for byte.
    #[arg(allow_negative_numbers = true)]
    value: String,

    /// The value, or what stdin says, is base64.
    #[arg(long)]
    value_base64: bool,

    #[command(flatten)]
    manner: Manner,
}

/// Deletes a key.
///
/// Without --context everything that the coordinating replica has seen is deleted.
#[derive(Clone, Debug, Args)]
pub struct Del {
    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    manner: Manner,
}

/// What a write replaces, and whether it goes on with an earlier one.
#[derive(Clone, Debug, Args)]
struct Manner {
    /// Replace what this context of an earlier answer about the same key has seen, and nothing else.
    #[arg(long, value_name = "CONTEXT", conflicts_with = "concurrent")]
    context: Option<Context>,

    /// Replace nothing: every other value stays as a sibling, as in Dynamo.
    #[arg(long)]
    concurrent: bool,

    /// Retry the write that an error with an unknown outcome named so, with the same key, value and options: it takes effect now
    /// unless it had already, and is not done twice.
    #[arg(long, value_name = "OP-ID")]
    op_id: Option<OpId>,
}

impl Manner {
    fn applied_to(&self, mut write: Write) -> Write {
        if let Some(context) = &self.context {
            write = write.context(context);
        }
        if self.concurrent {
            write = write.concurrent();
        }
        match self.op_id {
            Some(op) => write.op_id(op),
            None => write,
        }
    }
}

/// Runs `put`.
///
/// # Errors
/// [`CliError`] for wrong input, for too few replicas, and for a closed stdout.
pub async fn put(command: Put, globals: &Globals) -> Result<Exit, CliError> {
    let value = command.value().map_err(CliError::usage)?;
    let prepared = command.target.prepare(globals, Access::Write).await?;
    let put = command.manner.applied_to(prepared.bucket.put(&prepared.key, value));
    let written = prepared.answer("put", Access::Write, put.await, Written::receipt)?;
    prepared.end("stored", print(&prepared, "stored", &written, globals.output), Exit::Ok)
}

/// Runs `del`.
///
/// # Errors
/// As [`put`].
pub async fn del(command: &Del, globals: &Globals) -> Result<Exit, CliError> {
    let prepared = command.target.prepare(globals, Access::Write).await?;
    let delete = command.manner.applied_to(prepared.bucket.delete(&prepared.key));
    let written = prepared.answer("del", Access::Write, delete.await, Written::receipt)?;
    prepared.end("deleted", print(&prepared, "deleted", &written, globals.output), Exit::Ok)
}

impl Put {
    fn value(&self) -> Result<Bytes, InvalidInput> {
        let given = if self.value == "-" { read_value(io::stdin().lock())? } else { Bytes::from(self.value.clone()) };
        if !self.value_base64 {
            return checked_value(given);
        }
        let text = String::from_utf8_lossy(&given); // what is not UTF-8 is not base64 either
        checked_value(from_base64("value", text.trim_end())?)
    }
}

/// Reads to the end, or until it is clear that there is too much, even in base64.
fn read_value(input: impl Read) -> Result<Bytes, InvalidInput> {
    const BYTES_MAX: usize = VALUE_BYTES_MAX * 3 / 2;
    let mut value = Vec::new();
    input.take(BYTES_MAX as u64 + 1).read_to_end(&mut value).map_err(|source| InvalidInput::Stdin { source })?;
    if value.len() > BYTES_MAX { Err(InvalidInput::ValueTooLong { bytes: value.len() }) } else { Ok(value.into()) }
}

fn print(prepared: &Prepared, done: &str, written: &Written, output: Output) -> Result<(), CliError> {
    match output {
        Output::Json => output::print_json(&WriteFields::new(prepared.bucket.name(), &prepared.key, written)),
        Output::Table => output::print(format_args!("{done} {}{}", KeyText(&prepared.key), where_it_is(written.receipt()))),
        Output::Raw => Ok(()),
    }
}

/// Who had the write when it was acknowledged.
fn where_it_is(receipt: &Receipt) -> String {
    if receipt.hint_only {
        return format!(" at {}, as a hint only: no home replica has it yet", receipt.level);
    }
    let holders = receipt.replicas.iter().filter(|report| report.status == ReplicaStatus::Answered).map(|report| report.node);
    format!(" at {} on {}", receipt.level, nodes(holders).join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stdin_is_read_byte_for_byte_and_not_without_end() {
        assert_eq!(read_value(&b"a\n\xff"[..]).expect("short"), &b"a\n\xff"[..]);
        let endless = read_value(io::repeat(0)).expect_err("too much");
        assert!(matches!(endless, InvalidInput::ValueTooLong { .. }));
    }
}
