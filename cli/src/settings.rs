//! Reading a node's configuration from file, environment and `--set`, for every command that needs one.

use std::path::PathBuf;

use clap::Args;
use quorate_config::{Config, SourceFile, Sources};

use crate::error::CliError;

/// Where a configuration comes from.
#[derive(Clone, Debug, Args)]
pub struct Settings {
    /// The configuration file, in TOML.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,

    /// Overrides one key, over the file and over `QUORATE__SECTION__KEY` in the environment; may be repeated.
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    pub set: Vec<String>,
}

impl Settings {
    /// Reads and checks the configuration.
    ///
    /// # Errors
    /// [`CliError::ConfigFile`], [`CliError::Config`]. Nothing was started or changed.
    pub fn read(&self) -> Result<Config, CliError> {
        let file = SourceFile::read(&self.config)?;
        let lossy = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        let env = std::env::vars_os().map(|(name, value)| (lossy(name), lossy(value))).collect();
        let sources = Sources { file: Some(file), env, set: self.set.clone() };
        Config::from_sources(sources).map_err(|errors| CliError::Config(Box::new(errors)))
    }
}
