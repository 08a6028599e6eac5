//! Arguments that could not be parsed, told as people and as programs read it.
//!
//! The parser writes paragraphs for a terminal: what is wrong, tips, usage, a pointer to `--help`. In JSON the first is the error
//! and the tips are its help. To a misspelt command that the parser has no tip for, one is added.

use std::fmt;

use clap::error::{ContextKind, ContextValue};
use clap::{Command, CommandFactory};

use crate::args::CommandLine;

/// Most edits between a misspelt command and the one that was meant: two letters swapped are one.
const EDITS_MAX: usize = 2;

/// Why the arguments are no command. Nothing was done.
#[derive(Debug)]
pub struct Refusal(clap::Error);

impl Refusal {
    /// Takes the parser's refusal.
    #[must_use]
    pub fn new(mut refusal: clap::Error) -> Self {
        let has_tip = refusal.get(ContextKind::SuggestedSubcommand).is_some();
        let meant = match refusal.get(ContextKind::InvalidSubcommand) {
            Some(ContextValue::String(word)) if !has_tip => nearest(word, &CommandLine::command()),
            _ => None,
        };
        if let Some(meant) = meant {
            refusal.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(vec![meant]));
        }
        Self(refusal)
    }

    /// Prints it for people.
    pub fn print(&self) {
        let _unheard = self.0.print();
    }

    /// The parser's tips, if it has any.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        let paragraphs = self.paragraphs();
        let tips: Vec<&str> = paragraphs.iter().skip(1).filter_map(|paragraph| paragraph.strip_prefix("tip: ")).collect();
        (!tips.is_empty()).then(|| tips.join("; "))
    }

    /// What is wrong, then tips, each in one line.
    fn paragraphs(&self) -> Vec<String> {
        let text = self.0.render().to_string();
        let told = text.split("\n\n").take_while(|paragraph| !paragraph.starts_with("Usage:") && !paragraph.starts_with("For more"));
        told.map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let paragraphs = self.paragraphs();
        let first = paragraphs.first().map_or("", String::as_str);
        f.write_str(first.strip_prefix("error: ").unwrap_or(first))
    }
}

impl std::error::Error for Refusal {}

/// The command that is spelt most like `word`, if one is at all.
fn nearest(word: &str, definition: &Command) -> Option<String> {
    let edits_max = EDITS_MAX.min(word.chars().count() / 2);
    let edits = |command: &Command| strsim::damerau_levenshtein(word, command.get_name());
    let nearest = definition.get_subcommands().min_by_key(|command| edits(command)).filter(|command| edits(command) <= edits_max);
    nearest.map(|command| command.get_name().to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn refusal(line: &str) -> Refusal {
        Refusal::new(CommandLine::try_parse_from(line.split_whitespace()).expect_err(line))
    }

    #[test]
    fn a_misspelt_command_brings_the_one_that_was_meant() {
        for (word, meant) in [("gte", "get"), ("pu", "put"), ("statsu", "status"), ("sibling", "siblings"), ("dmup", "dump")] {
            let refused = refusal(&format!("quorate {word}"));
            assert!(refused.help().is_some_and(|help| help.contains(&format!("'{meant}'"))), "{word}: {:?}", refused.help());
        }
        assert_eq!(refusal("quorate frobnicate").help(), None);
    }

    #[test]
    fn programs_read_what_is_wrong_and_nothing_of_the_page_around_it() {
        assert_eq!(refusal("quorate gte").to_string(), "unrecognized subcommand 'gte'");
        assert_eq!(refusal("quorate put k").to_string(), "the following required arguments were not provided: <VALUE>");
        let missing = refusal("quorate --output json").to_string();
        assert!(missing.starts_with("'quorate' requires a subcommand"), "{missing}");
        let level = refusal("quorate get k --level linear").to_string();
        assert!(level.contains("linearizable") && !level.contains("--help"), "{level}");
    }
}
