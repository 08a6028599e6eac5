//! `quorate server`: one node, from its configuration to its last breath.
//!
//! - *Upon SIGTERM or SIGINT*: the node stops accepting requests, finishes what it is doing, marks its store as closed
//!   cleanly, and the process ends with 0.
//! - *Upon a second one*: the process ends at once, as after a crash; acknowledged writes are safe all the same.
//! - *Upon the end of stdin, with `--exit-with-stdin`*: as upon SIGTERM. A parent that holds the other end of the pipe
//!   takes its nodes with it however it ends, by SIGKILL too.
//!
//! Logs go to stderr, as text or JSON. `RUST_LOG` wins over `log.filter`; under both lies `tarpc=off`, because tarpc opens
//! a span for every call.

use std::future::Future;
use std::io::{self, IsTerminal};
use std::process;

use clap::Args;
use quorate_config::{Config, Log, LogFormat};
use quorate_rpc::admin::Faults;
use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tracing::{info, warn};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

use crate::error::CliError;
use crate::exit::Exit;
use crate::planted::Planted;
use crate::settings::Settings;

/// Runs one node until SIGTERM.
#[derive(Clone, Debug, Args)]
pub struct Server {
    #[command(flatten)]
    settings: Settings,

    /// Accept an empty data directory and make this a new node. Without it an empty directory is refused: a node that
    /// lost its disk must not pass for the one it was. It serves once a majority of the other members have met it.
    #[arg(long)]
    init: bool,

    /// Let tests cut, delay and skew this node's messages and clock on request.
    #[arg(long)]
    enable_faults: bool,

    /// Faults that are in force before the first message, as JSON.
    #[arg(long, hide = true, requires = "enable_faults", value_name = "JSON", value_parser = faults)]
    initial_faults: Option<Faults>,

    /// Stop when stdin ends.
    #[arg(long, hide = true)]
    exit_with_stdin: bool,

    #[command(flatten)]
    planted: Planted,
}

/// The server could not be set up.
#[derive(Debug, thiserror::Error)]
enum SetUpError {
    #[error("{origin} is not a log filter; write a level such as info, or info,quorate_node=debug")]
    Filter { origin: &'static str, source: ParseError },
    #[error("cannot start the threads that run requests")]
    Runtime { source: io::Error },
    #[error("cannot listen for signals")]
    Signals { source: io::Error },
}

/// Runs the node; returns once it has stopped.
///
/// # Errors
/// [`CliError::ConfigFile`], [`CliError::Config`] before anything was started; [`CliError::Server`] if the node could not
/// start, or had to stop.
pub fn run(command: &Server) -> Result<Exit, CliError> {
    let config = command.settings.read()?;
    start_logging(&config.log)?;
    for warning in config.warnings() {
        warn!(%warning, "configuration");
    }
    let mut builder = runtime::Builder::new_multi_thread();
    if let Some(threads) = config.node.worker_threads {
        builder.worker_threads(threads);
    }
    let runtime = builder.enable_all().build().map_err(|source| failure(SetUpError::Runtime { source }))?;
    runtime.block_on(serve(config, command))?;
    Ok(Exit::Ok)
}

async fn serve(config: Config, command: &Server) -> Result<(), CliError> {
    let initial_faults = command.initial_faults.clone().unwrap_or_default();
    let (init, enable_faults, defect) = (command.init, command.enable_faults, command.planted.bug());
    let options = quorate_node::ServeOptions { init, enable_faults, initial_faults, defect };
    let shutdown = shutdown(command.exit_with_stdin).map_err(|source| failure(SetUpError::Signals { source }))?;
    Ok(quorate_node::serve(config, options, shutdown).await?)
}

fn faults(text: &str) -> Result<Faults, serde_json::Error> {
    serde_json::from_str(text)
}

/// Ready when the node shall stop. Signals are caught from the moment this returns, not only once the future is polled.
fn shutdown(exit_with_stdin: bool) -> io::Result<impl Future<Output = ()> + Send> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stdin_ended = if exit_with_stdin { Some(end_of_stdin()) } else { None };
    Ok(async move {
        let reason = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
            () = ended(stdin_ended) => "stdin ended",
        };
        info!(reason, "stopping");
        tokio::spawn(end_at_once_upon_another(terminate, interrupt));
    })
}

/// Reads stdin to its end on a thread of its own, which nobody waits for: a blocked read must not hold up the shutdown.
fn end_of_stdin() -> oneshot::Receiver<()> {
    let (ended, receiver) = oneshot::channel();
    std::thread::spawn(move || {
        let _ended_or_broken = io::copy(&mut io::stdin().lock(), &mut io::sink());
        let _nobody_waits_if_the_node_is_gone = ended.send(());
    });
    receiver
}

async fn ended(stdin: Option<oneshot::Receiver<()>>) {
    match stdin {
        Some(receiver) => drop(receiver.await),
        None => std::future::pending().await,
    }
}

async fn end_at_once_upon_another(mut terminate: Signal, mut interrupt: Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    warn!("ended by a second signal before the shutdown was complete");
    process::exit(Exit::Failure.code().into());
}

fn start_logging(log: &Log) -> Result<(), CliError> {
    let from_environment = std::env::var("RUST_LOG").ok().filter(|filter| !filter.is_empty());
    let (origin, filter) = match from_environment {
        Some(filter) => ("RUST_LOG", filter),
        None => ("log.filter", log.filter.to_string()),
    };
    let filter = filter_over_defaults(&filter).map_err(|source| CliError::new(Exit::Usage, SetUpError::Filter { origin, source }))?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match log.format {
        LogFormat::Text => subscriber.with_ansi(io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()).init(),
        LogFormat::Json => subscriber.json().flatten_event(true).init(),
    }
    Ok(())
}

/// Later directives win, so the filter can name tarpc itself.
fn filter_over_defaults(filter: &str) -> Result<EnvFilter, ParseError> {
    EnvFilter::builder().parse(format!("tarpc=off,{filter}"))
}

fn failure(error: SetUpError) -> CliError {
    CliError::new(Exit::Failure, error)
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use quorate_config::LogFilter;
    use quorate_ring::NodeId;
    use quorate_rpc::admin::LinkFault;

    use super::*;

    #[derive(Debug, Parser)]
    struct Words {
        #[command(flatten)]
        server: Server,
    }

    #[test]
    fn a_node_begins_with_faults_only_where_faults_are_enabled() {
        let words =
            ["server", "--config", "quorate.toml", "--initial-faults", r#"{"links":{"2":{"cut":true,"delay_micros":5}},"skew_ms":-7}"#];
        assert!(Words::try_parse_from(words).is_err());
        let enabled = [&words[..], &["--enable-faults"]].concat();
        let faults = Words::try_parse_from(enabled).expect("options").server.initial_faults.expect("faults");
        let cut = LinkFault { cut: true, delay_micros: 5 };
        assert_eq!((faults.skew_ms, faults.links.get(&NodeId(2))), (-7, Some(&cut)));
    }

    #[test]
    fn tarpc_is_quiet_unless_named() {
        let quiet = filter_over_defaults("debug").expect("a filter").to_string();
        assert!(quiet.contains("tarpc=off") && quiet.contains("debug"), "{quiet}");
        let loud = filter_over_defaults("info,tarpc=trace").expect("a filter").to_string();
        assert!(loud.contains("tarpc=trace") && !loud.contains("tarpc=off"), "{loud}");
        assert!(filter_over_defaults("info,quorate_node=loud").is_err());
    }

    /// What `config check` accepts, the server must too, and mean the same.
    #[test]
    fn every_filter_of_a_configuration_is_one() {
        for text in ["off", "error", "info,tarpc=off", "warn, quorate_node::server = trace", "info,h2.client=debug,_a-b=warn"] {
            let filter: LogFilter = text.parse().expect("a filter");
            let taken = filter_over_defaults(&filter.to_string()).unwrap_or_else(|error| panic!("{filter}: {error}")).to_string();
            let missing: Vec<&str> = text.split(',').map(str::trim).filter(|rule| !taken.contains(&rule.replace(' ', ""))).collect();
            assert_eq!(missing, Vec::<&str>::new(), "{taken}");
        }
    }
}
