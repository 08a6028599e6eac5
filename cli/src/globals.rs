//! What every command shares: which cluster, how long to wait, how to print.

use std::time::Duration;

use clap::{Args, ColorChoice, ValueEnum};
use quorate_client::Client;
use quorate_protocol::Access;

use crate::error::CliError;

/// Where a local demo cluster listens when these ports are free.
pub const CLUSTER_DEFAULT: &str = "127.0.0.1:7400,127.0.0.1:7401,127.0.0.1:7402";

/// Longest wait for one seed: a cluster that answers at all does so in less.
const CONNECT_TIMEOUT_MAX: Duration = Duration::from_millis(500);

/// How results are printed to stdout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Table,
    /// One JSON object, with the field names that the manual lists.
    Json,
    /// The value's bytes and nothing else: nothing, and exit 5, if the key has several values; the same as `table` where there is
    /// no value to print.
    Raw,
}

/// The options of all commands.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Options of all commands")]
pub struct Globals {
    /// Nodes to ask first; one that answers is enough. Read only by commands that ask a cluster.
    #[arg(
        long,
        global = true,
        value_name = "HOST:PORT,..",
        env = "QUORATE_CLUSTER",
        value_delimiter = ',',
        default_value = CLUSTER_DEFAULT
    )]
    pub cluster: Vec<String>,

    /// How long one operation may take in all, retries included, such as 300ms or 5s [default: the client's, 2s].
    #[arg(long, global = true, value_name = "DURATION", value_parser = timeout)]
    pub timeout: Option<Duration>,

    /// How results are printed; logs and progress go to stderr in any case.
    #[arg(long, global = true, value_enum, default_value_t)]
    pub output: Output,

    /// Whether to use colours; `auto` obeys `NO_COLOR` and asks whether the output is a terminal.
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value = "auto")]
    pub color: ColorChoice,
}

impl Globals {
    /// The seeds as one text, as [`Client::connect`] reads them.
    #[must_use]
    pub fn seeds(&self) -> String {
        self.cluster.join(",")
    }
}

/// Connects to the cluster that the options name, and learns its ring, in order to read or to write.
///
/// # Errors
/// [`CliError::Connect`] if a seed is no address, or none answers. Nothing was applied.
pub async fn connect(globals: &Globals, access: Access) -> Result<Client, CliError> {
    let mut builder = Client::builder().seeds(&globals.seeds());
    if let Some(timeout) = globals.timeout {
        builder = builder.deadline(timeout).connect_timeout(timeout.min(CONNECT_TIMEOUT_MAX));
    }
    builder.connect().await.map_err(|source| CliError::Connect { source, access })
}

fn timeout(text: &str) -> Result<Duration, InvalidTimeout> {
    let duration = humantime::parse_duration(text).map_err(|source| InvalidTimeout::Unreadable { source })?;
    if duration.is_zero() { Err(InvalidTimeout::Zero) } else { Ok(duration) }
}

/// The text is no time to wait.
#[derive(Clone, Debug, thiserror::Error)]
enum InvalidTimeout {
    #[error("not a duration such as 300ms or 5s")]
    Unreadable { source: humantime::DurationError },
    #[error("a timeout of nothing leaves no time to answer")]
    Zero,
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::exit::Exit;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        globals: Globals,
    }

    fn parse(arguments: &[&str]) -> Result<Globals, clap::Error> {
        let arguments = std::iter::once(&"quorate").chain(arguments);
        Line::try_parse_from(arguments).map(|line| line.globals)
    }

    #[test]
    fn seeds_are_kept_in_order() {
        let globals = parse(&["--cluster", "db2:7401,127.0.0.1:7400"]).expect("two addresses");
        assert_eq!(globals.seeds(), "db2:7401,127.0.0.1:7400");
    }

    /// A wrong `QUORATE_CLUSTER` used to stop commands that ask no cluster, such as `config check`.
    #[tokio::test]
    async fn seeds_are_checked_by_whoever_uses_them() {
        for seeds in ["db2", "", "db2:x"] {
            let globals = parse(&["--cluster", seeds]).expect("any text");
            let refused = connect(&globals, Access::Read).await.expect_err(seeds);
            assert_eq!(refused.exit(), Exit::Usage, "{refused}");
        }
    }

    #[test]
    fn a_timeout_has_a_unit_and_is_not_nothing() {
        let globals = parse(&["--timeout", "300ms"]).expect("a duration");
        assert_eq!(globals.timeout, Some(Duration::from_millis(300)));
        assert!(parse(&["--timeout", "300"]).is_err() && parse(&["--timeout", "0s"]).is_err());
    }
}
