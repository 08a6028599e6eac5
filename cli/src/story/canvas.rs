//! Lines of text that are drawn on, cell by cell, each with its colour.
//!
//! Whether colours are seen is not decided here: they are left out where the output is no terminal or nobody wants them
//! ([`crate::output`]).

use std::fmt::{self, Write as _};

use clap::builder::styling::{AnsiColor, Effects, Style};

/// What a cell is drawn with, by what it means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Ink {
    /// Names and words.
    #[default]
    Plain,
    /// Axes, and what only helps to read the rest.
    Faint,
    /// Reads.
    Read,
    /// Writes.
    Write,
    /// What is wrong.
    Wrong,
    /// Faults, and what waits.
    Fault,
}

impl Ink {
    fn style(self) -> Style {
        match self {
            Self::Plain => Style::new(),
            Self::Faint => Style::new().effects(Effects::DIMMED),
            Self::Read => AnsiColor::Cyan.on_default(),
            Self::Write => AnsiColor::Green.on_default(),
            Self::Wrong => AnsiColor::Red.on_default().effects(Effects::BOLD),
            Self::Fault => AnsiColor::Yellow.on_default(),
        }
    }
}

/// A sheet that grows downward. A cell that nobody has drawn on is free; a blank that somebody drew is not.
#[derive(Clone, Debug, Default)]
pub(super) struct Canvas {
    rows: Vec<Vec<Option<(char, Ink)>>>,
}

impl Canvas {
    /// A new line at the bottom; returns its number.
    pub(super) fn line(&mut self) -> usize {
        self.rows.push(Vec::new());
        self.rows.len() - 1
    }

    /// How many lines there are.
    pub(super) fn height(&self) -> usize {
        self.rows.len()
    }

    /// Writes over what is there.
    pub(super) fn put(&mut self, row: usize, column: usize, text: &str, ink: Ink) {
        let cells = &mut self.rows[row];
        let end = column + text.chars().count();
        if cells.len() < end {
            cells.resize(end, None);
        }
        for (cell, c) in cells[column..end].iter_mut().zip(text.chars()) {
            *cell = Some((c, ink));
        }
    }

    /// Whether nothing is drawn in these columns.
    pub(super) fn is_free(&self, row: usize, columns: std::ops::Range<usize>) -> bool {
        self.rows[row].iter().skip(columns.start).take(columns.len()).all(Option::is_none)
    }
}

impl fmt::Display for Canvas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, row) in self.rows.iter().enumerate() {
            if number > 0 {
                f.write_char('\n')?;
            }
            let cells: Vec<(char, Ink)> = row.iter().map(|cell| cell.unwrap_or((' ', Ink::Plain))).collect();
            let end = cells.iter().rposition(|(c, _)| *c != ' ').map_or(0, |last| last + 1);
            for cells in cells[..end].chunk_by(|(_, left), (_, right)| left == right) {
                let style = cells[0].1.style();
                let text: String = cells.iter().map(|(c, _)| c).collect();
                write!(f, "{style}{text}{style:#}")?;
            }
        }
        Ok(())
    }
}
