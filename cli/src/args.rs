//! The command line as a type. Help, completions and manual pages follow from it.

use clap::{Parser, Subcommand};

use crate::bench::Bench;
use crate::bulk::dump::Dump;
use crate::bulk::load::Load;
use crate::completions::{Completions, Manual};
use crate::config::Configuration;
use crate::demo::Demo;
use crate::exit::Exit;
use crate::globals::Globals;
use crate::json;
use crate::kv::{Del, Get, Put, Siblings};
use crate::ring::RingCommand;
use crate::server::Server;
use crate::status::StatusCommand;

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

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a real cluster on this machine, with a prompt.
    Demo(Demo),
    /// Run one node.
    Server(Server),
    /// Print a key's value.
    Get(Get),
    /// Give a key a value.
    Put(Put),
    /// Delete a key.
    Del(Del),
    /// Print all of a key's concurrent values.
    Siblings(Siblings),
    /// Put every record of a file.
    Load(Load),
    /// Print every record.
    Dump(Dump),
    /// Show how the nodes are.
    Status(StatusCommand),
    /// Show where keys live.
    Ring(RingCommand),
    /// Check or show a node's configuration.
    Config(Configuration),
    /// Measure latency and throughput, and verify what is read.
    Bench(Bench),
    /// Print a completion script for a shell.
    Completions(Completions),
    /// Print a manual page, in roff.
    Man(Manual),
}

fn codes_and_fields() -> String {
    let codes = Exit::ALL.map(|exit| format!("  {}  {}", exit.code(), exit.describe())).join("\n");
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
        assert!(error.to_string().contains("\"two\" is not a level; write any, one, quorum, all or rXwY such as r2w1"), "{error}");
        assert_eq!(refusal("quorate put k v --context ?").exit_code(), 2);
        assert_eq!(refusal("quorate get k --bucket Carts").exit_code(), 2);
        assert_eq!(refusal("quorate put k v --context c1.AQID --concurrent").kind(), ErrorKind::ArgumentConflict);
    }

    #[test]
    fn help_says_what_each_level_promises() {
        let help = CommandLine::command().find_subcommand_mut("get").expect("get").render_long_help().to_string();
        let words = help.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains(&quorate_protocol::Level::One.describe(3)), "{help}");
    }
}
