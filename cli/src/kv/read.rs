//! `get` and `siblings`: the same read, shown in two ways.

use std::time::{Duration, UNIX_EPOCH};

use clap::Args;
use quorate_client::{KeyText, Read};
use quorate_protocol::Access;

use super::{Prepared, Target};
use crate::error::CliError;
use crate::exit::Exit;
use crate::globals::{Globals, Output};
use crate::json::ReadFields;
use crate::output::{self, Columns};
use crate::text::Shown;

/// Prints a key's value. Several concurrent values are all printed.
#[derive(Clone, Debug, Args)]
pub struct Get {
    #[command(flatten)]
    target: Target,

    /// End with 5 if the key has several values.
    #[arg(long)]
    fail_on_siblings: bool,
}

/// Prints all of a key's concurrent values, with who wrote them and the context that replaces them.
#[derive(Clone, Debug, Args)]
pub struct Siblings {
    #[command(flatten)]
    target: Target,

    /// End with 5 if the key has several values.
    #[arg(long)]
    fail_on_siblings: bool,
}

/// Runs `get`.
///
/// # Errors
/// [`CliError`] for wrong input, for too few replicas, and for a closed stdout.
pub async fn get(command: &Get, globals: &Globals) -> Result<Exit, CliError> {
    let (prepared, read) = read("get", &command.target, globals).await?;
    let printed = match globals.output {
        Output::Json => print_json(&prepared, &read),
        Output::Raw => print_single(&read),
        Output::Table => read.values().try_for_each(|value| output::print(Shown(value))),
    };
    if globals.output != Output::Json {
        note_unusual(&read);
    }
    prepared.end("read", printed, exit(read.siblings().len(), command.fail_on_siblings || globals.output == Output::Raw))
}

/// Runs `siblings`.
///
/// # Errors
/// As [`get`].
pub async fn siblings(command: &Siblings, globals: &Globals) -> Result<Exit, CliError> {
    let (prepared, read) = read("siblings", &command.target, globals).await?;
    let count = read.siblings().len();
    let printed = match globals.output {
        Output::Json => print_json(&prepared, &read),
        Output::Raw => print_single(&read),
        Output::Table if count == 0 => Ok(()),
        Output::Table => output::print(format_args!("{}\n\ncontext {}", table(&read), read.context())),
    };
    if count == 0 || globals.output == Output::Raw {
        note_unusual(&read);
    }
    prepared.end("read", printed, exit(count, command.fail_on_siblings || globals.output == Output::Raw))
}

async fn read(operation: &'static str, target: &Target, globals: &Globals) -> Result<(Prepared, Read), CliError> {
    let prepared = target.prepare(globals, Access::Read).await?;
    let result = prepared.bucket.get(&prepared.key).await;
    let read = prepared.answer(operation, Access::Read, result, Read::receipt)?;
    Ok((prepared, read))
}

fn exit(values: usize, fail_on_siblings: bool) -> Exit {
    match values {
        0 => Exit::NotFound,
        2.. if fail_on_siblings => Exit::Siblings,
        1.. => Exit::Ok,
    }
}

fn print_json(prepared: &Prepared, read: &Read) -> Result<(), CliError> {
    output::print_json(&ReadFields::new(prepared.bucket.name(), read))
}

/// Prints the value as it is. Of several, which nobody could tell apart, none.
fn print_single(read: &Read) -> Result<(), CliError> {
    match read.siblings() {
        [only] => output::print_bytes(&only.value),
        [] | [_, _, ..] => Ok(()),
    }
}

fn note_unusual(read: &Read) {
    let key = KeyText(read.key());
    match read.siblings().len() {
        0 => output::note(format_args!("{key} has no value")),
        1 => {}
        count => {
            output::note(format_args!("{key} has {count} siblings, left by writes that had not seen each other; replace them all with"));
            output::note(format_args!("quorate put {key} VALUE --context {}", read.context()));
        }
    }
}

/// The values stand last, as `get` prints them.
fn table(read: &Read) -> Columns {
    let mut columns = Columns::new(&["dot", "written", "operation", "value"]);
    for sibling in read.siblings() {
        let written = UNIX_EPOCH + Duration::from_millis(sibling.hlc.ms());
        columns.row([
            sibling.dot.to_string(),
            humantime::format_rfc3339_millis(written).to_string(),
            sibling.op.map(|op| op.to_string()).unwrap_or_default(),
            Shown(&sibling.value).to_string(),
        ]);
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_follow_the_number_of_values() {
        let with_flag = [0, 1, 2, 3].map(|values| exit(values, true));
        assert_eq!(with_flag, [Exit::NotFound, Exit::Ok, Exit::Siblings, Exit::Siblings]);
        let without = [0, 1, 2].map(|values| exit(values, false));
        assert_eq!(without, [Exit::NotFound, Exit::Ok, Exit::Ok]);
    }
}
