//! Writing results to stdout, and remarks to stderr.
//!
//! Results go to stdout and nowhere else; everything said about them (notes, progress, logs) goes to stderr. A reader that
//! closes the pipe early, such as `head`, is no failure: [`CliError::is_closed_pipe`] tells, and the process ends quietly.

use std::fmt;
use std::io::{self, Write};

use clap::builder::styling::{AnsiColor, Effects};
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table};
use serde::Serialize;

use crate::error::CliError;

/// Prints text and a line feed.
///
/// # Errors
/// [`CliError::Stdout`].
pub fn print(text: impl fmt::Display) -> Result<(), CliError> {
    let mut out = anstream::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(|source| CliError::Stdout { source })
}

/// Prints bytes as they are.
///
/// # Errors
/// [`CliError::Stdout`].
pub fn print_bytes(bytes: &[u8]) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(|source| CliError::Stdout { source })
}

/// Prints one JSON object and a line feed.
///
/// # Errors
/// [`CliError::Stdout`].
pub fn print_json(object: &impl Serialize) -> Result<(), CliError> {
    print(serde_json::to_string(object).expect("what is printed has text keys and plain values"))
}

/// Decides for the whole process whether colours are used.
pub fn choose_color(choice: clap::ColorChoice) {
    let choice = match choice {
        clap::ColorChoice::Auto => anstream::ColorChoice::Auto,
        clap::ColorChoice::Always => anstream::ColorChoice::Always,
        clap::ColorChoice::Never => anstream::ColorChoice::Never,
    };
    choice.write_global();
}

/// Says on stderr why the command failed.
pub fn error(text: impl fmt::Display) {
    let red = AnsiColor::Red.on_default().effects(Effects::BOLD);
    note(format_args!("{red}error:{red:#} {text}"));
}

/// Says something about the results, on stderr. That nobody may listen is no failure.
pub fn note(text: impl fmt::Display) {
    let _unheard = writeln!(anstream::stderr(), "{text}");
}

/// A number of things, in the singular or plural: `1 record`, `2 records`.
#[derive(Clone, Copy, Debug)]
pub struct Count(pub u64, pub &'static str);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(count, thing) = self;
        write!(f, "{count} {thing}{}", if *count == 1 { "" } else { "s" })
    }
}

/// A table for people: a row per thing, columns aligned, no lines drawn, so that it can be cut and sorted.
#[derive(Debug)]
pub struct Columns {
    table: Table,
    numeric: Vec<bool>,
}

impl Columns {
    /// An empty table. A heading that begins with `#` is that of a column of numbers, which end at one line.
    #[must_use]
    pub fn new(headings: &[&str]) -> Self {
        let mut table = Table::new();
        table.load_preset(comfy_table::presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        let numeric = headings.iter().map(|heading| heading.starts_with('#')).collect();
        let mut columns = Self { table, numeric };
        let row = columns.cells(headings.iter().map(|heading| heading.trim_start_matches('#').to_owned()));
        columns.table.set_header(row);
        for column in columns.table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        columns
    }

    /// Adds a row with as many texts as there are columns.
    pub fn row(&mut self, texts: impl IntoIterator<Item = String>) {
        let row = self.cells(texts);
        self.table.add_row(row);
    }

    fn cells(&self, texts: impl IntoIterator<Item = String>) -> Vec<Cell> {
        let cell = |(text, is_number): (String, &bool)| {
            let alignment = if *is_number { CellAlignment::Right } else { CellAlignment::Left };
            Cell::new(text).set_alignment(alignment)
        };
        texts.into_iter().zip(&self.numeric).map(cell).collect()
    }
}

impl fmt::Display for Columns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.table.lines().map(|line| line.trim_end().to_owned()).collect();
        f.write_str(&lines.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_end_at_one_line_and_no_line_has_trailing_blanks() {
        let mut columns = Columns::new(&["node", "#records", "peers"]);
        columns.row(["n1".to_owned(), "7".to_owned(), "n2 n3".to_owned()]);
        columns.row(["n2".to_owned(), "34924".to_owned(), String::new()]);
        insta::assert_snapshot!(columns, @r#"
        node  records  peers
        n1          7  n2 n3
        n2      34924
        "#);
    }
}
