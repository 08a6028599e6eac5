//! The command line as a type. Help, completions and manual pages follow from it.

use clap::{Parser, Subcommand};

use crate::bench::Bench;
use crate::bulk::dump::Dump;
use crate::bulk::load::Load;
use crate::check::Check;
use crate::compare::Compare;
use crate::completions::{Completions, Manual};
use crate::config::Configuration;
use crate::demo::Demo;
use crate::exit::Exit;
use crate::globals::Globals;
use crate::json;
use crate::kv::{CasCommand, Del, Get, IncrCommand, OutcomeCommand, Put, Siblings};
use crate::ring::RingCommand;
use crate::server::Server;
use crate::sim::Sim;
use crate::status::StatusCommand;
use crate::story::StoryCommand;

/// A leaderless replicated key-value store with a consistency level on every request.
///
/// Start with `quorate demo`: a real cluster on this machine, with a prompt. Every other command finds a cluster by
/// --cluster, else by `QUORATE_CLUSTER`, else at 127.0.0.1:7400 to 7402.
#[derive(Debug, Parser)]
#[command(name = "quorate", version, max_term_width = 110, after_long_help = codes_and_fields())]
pub struct CommandLine {
    /// What all commands share.
    #[command(flatten)]
    pub globals: Globals,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands. What help says of one is the documentation of its arguments' type.
#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "a text here would hide from help what the type says")]
pub enum Command {
    Demo(Demo),
    Server(Server),
    Get(Get),
    Put(Put),
    Del(Del),
    Cas(CasCommand),
    Incr(IncrCommand),
    Siblings(Siblings),
    Outcome(OutcomeCommand),
    Load(Load),
    Dump(Dump),
    Status(StatusCommand),
    Ring(RingCommand),
    Config(Configuration),
    Bench(Bench),
    Story(StoryCommand),
    Sim(Sim),
    Compare(Compare),
    Check(Check),
    Completions(Completions),
    Man(Manual),
}

fn codes_and_fields() -> String {
    let codes = Exit::IN_USE.map(|exit| format!("  {}  {}", exit.code(), exit.describe())).join("\n");
    let fields: String = json::FIELDS.lines().map(|line| format!("  {line}\n")).collect();
    format!("Exit codes:\n{codes}\n\nFields of --output json:\n{}", fields.trim_end())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    use super::*;

    fn refusal(line: &str) -> clap::Error {
        CommandLine::try_parse_from(line.split_whitespace()).expect_err(line)
    }

    #[test]
    fn the_definition_is_sound() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn options_of_all_commands_may_stand_before_and_behind_the_command() {
        for line in ["quorate --output json get k --timeout 300ms", "quorate get k --timeout 300ms --output json"] {
            let parsed = CommandLine::try_parse_from(line.split_whitespace()).expect(line);
            assert_eq!(parsed.globals.output, crate::globals::Output::Json, "{line}");
            assert_eq!(parsed.globals.timeout, Some(std::time::Duration::from_millis(300)), "{line}");
        }
    }

    #[test]
    fn wrong_levels_and_contexts_are_refused_before_anything_is_sent() {
        let error = refusal("quorate get k --level two");
        assert_eq!((error.kind(), error.exit_code()), (ErrorKind::ValueValidation, 2));
        assert!(
            error.to_string().contains("\"two\" is not a level; write any, one, quorum, all, linearizable or rXwY such as r2w1"),
            "{error}"
        );
        assert_eq!(refusal("quorate cas k --expect nothing --set v").exit_code(), 2);
        assert_eq!(refusal("quorate cas k --expect absent").kind(), ErrorKind::MissingRequiredArgument);
        assert_eq!(refusal("quorate cas k --expect absent --set v --delete").kind(), ErrorKind::ArgumentConflict);
        assert_eq!(refusal("quorate cas k --expect absent --set v --level one").kind(), ErrorKind::UnknownArgument);
        assert_eq!(refusal("quorate incr k x").exit_code(), 2);
        assert_eq!(refusal("quorate outcome 1.2.3 --key k").exit_code(), 2);
        assert_eq!(refusal("quorate put k v --context ?").exit_code(), 2);
        assert_eq!(refusal("quorate put k v --op-id 1.2.3").exit_code(), 2);
        assert_eq!(refusal("quorate get k --bucket Carts").exit_code(), 2);
        assert_eq!(refusal("quorate put k v --context c1.AQID --concurrent").kind(), ErrorKind::ArgumentConflict);
    }

    /// Texts on the enum's variants once hid those of the arguments' types.
    #[test]
    fn help_of_a_command_says_all_that_its_type_does() {
        for (name, says) in [("status", "estimate"), ("load", "FILE.progress"), ("bench", "bench:"), ("put", "Without --context")] {
            let help = CommandLine::command().find_subcommand_mut(name).expect(name).render_long_help().to_string();
            assert!(help.contains(says), "{help}");
        }
    }

    #[test]
    fn help_says_what_each_level_promises() {
        let help = CommandLine::command().find_subcommand_mut("get").expect("get").render_long_help().to_string();
        let words = help.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains(&quorate_protocol::Level::One.describe(3)), "{help}");
    }
}
