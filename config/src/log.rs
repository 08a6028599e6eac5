//! `[log]`: what the node writes to stderr.

use std::fmt;
use std::str::FromStr;

use crate::reader::{Decoder, Subtable};

/// Logging. Section `[log]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    /// `log.format`: `text` for people, `json` for collectors: one object per line. Default `text`.
    pub format: LogFormat,
    /// `log.filter`: which events are logged: levels (`error`, `warn`, `info`, `debug`, `trace`), alone or per module.
    /// Default `info,tarpc=off`; without the second part every call between nodes is logged.
    pub filter: String,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One line of text per event.
    Text,
    /// One JSON object per event and line.
    Json,
}

/// The text names no log format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a log format; write text or json")]
pub struct InvalidLogFormat {
    /// What was written.
    pub text: String,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, filter: "info,tarpc=off".to_owned() }
    }
}

impl Log {
    pub(crate) fn read(decoder: &mut Decoder, subtable: Subtable) -> Self {
        let default = Self::default();
        let mut table = decoder.table("log", "[log]", subtable);
        let log = Self { format: table.key("format").or(default.format), filter: table.key("filter").or(default.filter) };
        table.finish();
        log
    }
}

impl FromStr for LogFormat {
    type Err = InvalidLogFormat;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(InvalidLogFormat { text: text.to_owned() }),
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}
