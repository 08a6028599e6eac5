//! How far long work has come, on stderr: a bar on a terminal, else a line every few seconds.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::output;

/// Time between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Shows the progress of one piece of work.
#[derive(Debug)]
pub struct Display {
    what: &'static str,
    goal: Option<u64>,
    bar: Option<ProgressBar>,
    line_due: Instant,
}

impl Display {
    /// Begins to show work on `goal` things, if that many are known, called `what`.
    #[must_use]
    pub fn new(what: &'static str, goal: Option<u64>) -> Self {
        let bar = io::stderr().is_terminal().then(|| bar(what, goal));
        Self { what, goal, bar, line_due: Instant::now() + LINE_EVERY }
    }

    /// `done` things are done; `remark` says what else there is to say.
    pub fn at(&mut self, done: u64, remark: &str) {
        if let Some(bar) = &self.bar {
            bar.set_position(done);
            bar.set_message(remark.to_owned());
        } else if Instant::now() >= self.line_due {
            self.line_due = Instant::now() + LINE_EVERY;
            output::note(line(self.what, self.goal, done, remark));
        }
    }

    /// The work has ended; the bar disappears.
    pub fn end(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

fn bar(what: &'static str, goal: Option<u64>) -> ProgressBar {
    let template = match goal {
        Some(_) => "{bar:40} {human_pos}/{human_len} {prefix}, {per_sec:.0}, {eta} left {msg}",
        None => "{spinner} {human_pos} {prefix}, {per_sec:.0} {msg}",
    };
    let style = ProgressStyle::with_template(template).expect("the templates are valid");
    let bar = goal.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    bar.with_style(style).with_prefix(what)
}

fn line(what: &str, goal: Option<u64>, done: u64, remark: &str) -> String {
    let of_goal = goal.map_or_else(String::new, |goal| format!(" of {goal}"));
    let remark = if remark.is_empty() { String::new() } else { format!(", {remark}") };
    format!("{done}{of_goal} {what}{remark}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_much_of_how_much() {
        assert_eq!(line("records", Some(34_924), 1_200, "3 failed"), "1200 of 34924 records, 3 failed");
        assert_eq!(line("records", None, 7, ""), "7 records");
    }

    #[test]
    fn both_templates_are_valid() {
        for goal in [None, Some(7)] {
            assert_eq!(bar("records", goal).length(), goal);
        }
    }
}
