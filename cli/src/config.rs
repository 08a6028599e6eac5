//! `quorate config`: is this configuration right, and what does it amount to?
//!
//! `check` reports every error with file, line, column and what to write instead, and remarks on what is allowed but
//! probably not meant. `show` prints the configuration that is in force, each key with who decided it.

use clap::{Args, Subcommand};
use quorate_config::Warning;
use serde::Serialize;

use crate::error::CliError;
use crate::exit::Exit;
use crate::globals::{Globals, Output};
use crate::output;
use crate::settings::Settings;

/// Checks or shows a node's configuration.
#[derive(Clone, Debug, Args)]
pub struct Configuration {
    #[command(subcommand)]
    action: Action,
}

#[derive(Clone, Debug, Subcommand)]
enum Action {
    /// Reports everything that is wrong with a configuration, and what is allowed but probably not meant.
    Check(#[command(flatten)] Settings),
    /// Prints the configuration in force, each key with who decided it; secrets are not shown.
    Show(#[command(flatten)] Settings),
}

#[derive(Serialize)]
struct Checked {
    outcome: &'static str,
    cluster: String,
    node: String,
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct ShownConfiguration {
    outcome: &'static str,
    toml: String,
}

/// Runs the command.
///
/// # Errors
/// [`CliError::ConfigFile`], [`CliError::Config`] if the configuration is wrong; [`CliError::Stdout`].
pub fn run(command: &Configuration, globals: &Globals) -> Result<Exit, CliError> {
    match &command.action {
        Action::Check(settings) => check(settings, globals.output),
        Action::Show(settings) => show(settings, globals.output),
    }?;
    Ok(Exit::Ok)
}

fn check(settings: &Settings, output: Output) -> Result<(), CliError> {
    let config = settings.read()?;
    let warnings: Vec<String> = config.warnings().iter().map(Warning::to_string).collect();
    let (cluster, node) = (config.cluster.id.to_string(), config.node.id.to_string());
    match output {
        Output::Json => output::print_json(&Checked { outcome: "ok", cluster, node, warnings }),
        Output::Table | Output::Raw => {
            for warning in &warnings {
                output::note(format_args!("warning: {warning}"));
            }
            output::print(format_args!("{}: ok for node {node} of cluster {cluster}", settings.config.display()))
        }
    }
}

fn show(settings: &Settings, output: Output) -> Result<(), CliError> {
    let toml = settings.read()?.render();
    match output {
        Output::Json => output::print_json(&ShownConfiguration { outcome: "ok", toml }),
        Output::Table | Output::Raw => output::print(toml.trim_end()),
    }
}
