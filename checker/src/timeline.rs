//! A few operations drawn over time.
//!
//! One row per operation, in order of calls. Only the order of ends and beginnings is to scale, not the distance:
//!
//! ```text
//! process 1  |-write v1-|
//! process 1               |-write v2-|
//! process 2                             |-read v1-|
//! process 3               |-cas v1 -> v3-...
//! ```
//!
//! Dots instead of an end: the outcome is unknown.

use std::fmt;

use crate::history::{Action, History, Nanos, Operation, Outcome, Seen, ValueId};

/// Longer texts are cut, so that a row stays a row.
const TEXT_CHARS_MAX: usize = 24;

/// Operations of a history, to be drawn with `Display`.
#[derive(Clone, Debug)]
pub struct Timeline<'a> {
    history: &'a History,
    /// Positions in the history, by call.
    operations: Vec<usize>,
}

impl<'a> Timeline<'a> {
    /// A drawing of the operations at these positions, in any order.
    ///
    /// # Panics
    /// When it is drawn, if a position is not of this history.
    #[must_use]
    pub fn new(history: &'a History, operations: &[usize]) -> Self {
        let mut operations = operations.to_vec();
        operations.sort_by_key(|&at| (history.operations[at].call, history.operations[at].end.unwrap_or(Nanos::MAX), at));
        operations.dedup();
        Self { history, operations }
    }

    fn rows(&self) -> Vec<Row> {
        let operations = self.operations.iter().map(|&at| &self.history.operations[at]);
        operations.map(|operation| Row { call: operation.call, end: operation.end, label: label(self.history, operation) }).collect()
    }
}

struct Row {
    call: Nanos,
    end: Option<Nanos>,
    label: String,
}

impl Row {
    fn width(&self) -> usize {
        "|--|".len() + self.label.chars().count()
    }
}

impl fmt::Display for Timeline<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.rows();
        let moments = moments(&rows);
        let column = |at: Nanos| moments[moments.partition_point(|(moment, _)| *moment < at)].1;
        let names = self.operations.iter().map(|&at| format!("process {}", self.history.operations[at].process));
        let names: Vec<String> = names.collect();
        let name_width = names.iter().map(String::len).max().unwrap_or(0);
        for (position, (row, name)) in rows.iter().zip(&names).enumerate() {
            if position > 0 {
                writeln!(f)?;
            }
            let call = column(row.call);
            write!(f, "{name:name_width$}  {:call$}|-{}-", "", row.label)?;
            match row.end {
                None => write!(f, "...")?,
                Some(end) => write!(f, "{}|", "-".repeat((column(end) + 1).saturating_sub(call + row.width())))?,
            }
        }
        Ok(())
    }
}

/// Every call and end with its column: in order, and far enough apart for the labels.
fn moments(rows: &[Row]) -> Vec<(Nanos, usize)> {
    let mut times: Vec<Nanos> = rows.iter().flat_map(|row| std::iter::once(row.call).chain(row.end)).collect();
    times.sort_unstable();
    times.dedup();
    let mut moments: Vec<(Nanos, usize)> = Vec::with_capacity(times.len());
    for time in times {
        let mut column = moments.last().map_or(0, |(_, column)| column + 2);
        for row in rows.iter().filter(|row| row.end == Some(time)) {
            let call = moments.iter().find(|(moment, _)| *moment == row.call).map_or(column, |(_, column)| *column);
            column = column.max(call + row.width() - 1);
        }
        moments.push((time, column));
    }
    moments
}

fn label(history: &History, operation: &Operation) -> String {
    let text = |value: ValueId| short(history.names.value_text(value));
    let or_absent = |value: Option<ValueId>| value.map_or_else(|| "absent".to_owned(), text);
    let all = |seen: &Seen| match seen.values() {
        [] => "absent".to_owned(),
        values => values.iter().map(|value| text(*value)).collect::<Vec<_>>().join(" + "),
    };
    let failed = if operation.outcome == Outcome::Fail { "failed " } else { "" };
    let action = match &operation.action {
        Action::Read { seen: None } => "read".to_owned(),
        Action::Read { seen: Some(Seen::Absent) } => "read absent".to_owned(),
        Action::Read { seen: Some(Seen::One(value)) } => format!("read {}", text(*value)),
        Action::Read { seen: Some(seen @ Seen::Many(_)) } => format!("read {}", all(seen)),
        Action::Write { value } => format!("write {}", text(*value)),
        Action::Delete => "delete".to_owned(),
        Action::Cas { expect, value, observed } => {
            let saw = observed.filter(|observed| observed != expect || operation.outcome == Outcome::Fail);
            let saw = saw.map(|observed| format!(", saw {}", or_absent(observed))).unwrap_or_default();
            format!("cas {} -> {}{saw}", or_absent(*expect), text(*value))
        }
        Action::CasSiblings(cas) => {
            let saw = cas.observed.as_ref().map(|observed| format!(", saw {}", all(observed))).unwrap_or_default();
            format!("cas {} -> {}{saw}", all(&cas.expect), text(cas.value))
        }
    };
    format!("{failed}{action}")
}

fn short(text: &str) -> String {
    match text.char_indices().nth(TEXT_CHARS_MAX) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}~", &text[..end]),
    }
}
