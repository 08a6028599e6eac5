//! `quorate sim --bug NAME` of a bug that chance comes to too seldom: the script that shows it, played.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use quorate_sim::script::{Told, Transcript};
use serde::Serialize;

use super::{ViolationFields, violation_fields};
use crate::error::CliError;
use crate::output;

/// Where the scripts lie.
pub(super) const SCRIPTS: &str = "sim/tests/scripts";

/// The file that a script is written to.
const FILE: &str = "script.txt";

/// A script that was played.
#[derive(Debug)]
pub(super) struct Story {
    told: &'static Told,
    transcript: Transcript,
}

/// A played script in JSON.
#[derive(Debug, Serialize)]
pub(super) struct StoryFields<'a> {
    name: &'static str,
    repeat: String,
    violations: Vec<ViolationFields<'a>>,
    transcript: Vec<&'a str>,
}

impl Story {
    /// Plays a script, and writes it down if there is a place for it.
    ///
    /// # Errors
    /// [`CliError::Unwritable`], with the file.
    pub(super) fn play(told: &'static Told, directory: Option<&Path>) -> Result<Self, CliError> {
        let transcript = told.play();
        if let Some(directory) = directory {
            let path = directory.join(FILE);
            let written = fs::create_dir_all(directory).and_then(|()| fs::write(&path, &transcript.text));
            written.map_err(|source| CliError::Unwritable { path, source })?;
            output::note(format_args!("written to {}", directory.display()));
        }
        Ok(Self { told, transcript })
    }

    pub(super) fn is_violation(&self) -> bool {
        !self.transcript.violations.is_empty()
    }

    /// The command that plays it. The script is part of the program.
    fn repeat(&self) -> String {
        format!("quorate sim --bug {}", self.told.bug)
    }

    pub(super) fn fields(&self) -> StoryFields<'_> {
        let Self { told, transcript } = self;
        let violations = violation_fields(&transcript.violations);
        StoryFields { name: told.name, repeat: self.repeat(), violations, transcript: transcript.text.lines().collect() }
    }

    /// In words: the story, what was broken, and how to see it again.
    pub(super) fn told(&self) -> String {
        let Self { told, transcript } = self;
        let mut text = format!("{}\n", transcript.text);
        for violation in &transcript.violations {
            writeln!(text, "violation: {violation}").expect("memory takes text");
        }
        write!(text, "told by {SCRIPTS}/{}\nrepeat with: {}", told.name, self.repeat()).expect("memory takes text");
        text
    }
}

#[cfg(test)]
mod tests {
    use quorate_sim::script::TOLD;

    use super::*;

    #[test]
    fn every_script_breaks_a_promise_and_says_so_again_wherever_it_is_played() {
        for told in &TOLD {
            let story = Story::play(told, None).expect("nothing is written");
            assert!(story.is_violation(), "{}", told.bug);
            let text = story.told();
            assert!(text.starts_with(told.script) && text.contains("\nviolation: "), "{text}");
            assert!(text.ends_with(&format!("\nrepeat with: quorate sim --bug {}", told.bug)), "{text}");
        }
    }
}
