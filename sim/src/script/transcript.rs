//! Scripts as they are written down, with what their commands answered.
//!
//! Comments begin with `#`. A command stands at the margin; the lines below it, indented, are its answers.

use super::{Mistake, Stage};
use crate::judge::Violation;

/// What stands before every line of an answer.
pub const INDENT: &str = "    ";

/// A script that was performed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transcript {
    /// The script, with what its commands answered now in place of the answers that it had.
    pub text: String,
    /// What its last `judge` found.
    pub violations: Vec<Violation>,
}

/// A command that could not be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {mistake}")]
pub struct MistakeAt {
    /// Its line, counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub mistake: Mistake,
}

impl Transcript {
    /// Performs a script.
    ///
    /// # Errors
    /// [`MistakeAt`], of the first command that cannot be done.
    pub fn perform(script: &str) -> Result<Self, MistakeAt> {
        let mut stage = Stage::default();
        let mut text = String::new();
        for (number, line) in script.lines().enumerate().filter(|(_, line)| !line.starts_with(INDENT)) {
            tell(&mut text, "", line);
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            for answer in stage.perform(line).map_err(|mistake| MistakeAt { line: number + 1, mistake })? {
                tell(&mut text, INDENT, &answer);
            }
        }
        Ok(Self { text, violations: stage.violations().to_vec() })
    }
}

fn tell(text: &mut String, indent: &str, line: &str) {
    text.push_str(indent);
    text.push_str(line);
    text.push('\n');
}
