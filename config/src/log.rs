//! `[log]`: what the node writes to stderr.

use std::fmt;
use std::str::FromStr;

use crate::reader::{Decoder, Subtable};

/// Logging. Section `[log]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    /// `log.format`: `text` for people, `json` for collectors: one object per line. Default `text`.
    pub format: LogFormat,
    /// `log.filter`: which events are logged: levels (`off`, `error`, `warn`, `info`, `debug`, `trace`), alone or per module.
    /// Default `info,tarpc=off`; without the second part every call between nodes is logged.
    pub filter: LogFilter,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One line of text per event.
    Text,
    /// One JSON object per event and line.
    Json,
}

/// Which events are logged, as levels for everything and for single modules: `info,quorate_node=debug`. What comes later wins.
///
/// *Shape.* At least one rule. `Display` writes the rules with commas between and no blanks: a text that
/// `tracing_subscriber::EnvFilter` takes with the same meaning.
///
/// *Deviation.* An `EnvFilter` takes a lone word that is no level for the name of a module, so that a misspelt level silences
/// the log; and it knows rules about spans and fields. Here the first is refused, and the second left to `RUST_LOG`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFilter {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    /// `None` stands for all modules.
    module: Option<String>,
    level: &'static str,
}

/// How much is logged, from nothing to everything.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// The text names no log format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a log format; write text or json")]
pub struct InvalidLogFormat {
    /// What was written.
    pub text: String,
}

/// A part of the text is no rule of a log filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{rule:?} is not a rule of a log filter; write a level ({}) or module=level", LEVELS.join(", "))]
pub struct InvalidLogFilter {
    /// What stands between two commas.
    pub rule: String,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, filter: LogFilter::default() }
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

impl Default for LogFilter {
    fn default() -> Self {
        let everything = Rule { module: None, level: "info" };
        let every_call = Rule { module: Some("tarpc".to_owned()), level: "off" };
        Self { rules: vec![everything, every_call] }
    }
}

impl FromStr for LogFilter {
    type Err = InvalidLogFilter;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rules = text.split(',').map(|rule| Rule::read(rule.trim()).ok_or_else(|| InvalidLogFilter { rule: rule.to_owned() }));
        Ok(Self { rules: rules.collect::<Result<_, _>>()? })
    }
}

impl fmt::Display for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Rule { module, level }) in self.rules.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            match module {
                Some(module) => write!(f, "{comma}{module}={level}")?,
                None => write!(f, "{comma}{level}")?,
            }
        }
        Ok(())
    }
}

impl Rule {
    fn read(text: &str) -> Option<Self> {
        let (module, level) = match text.split_once('=') {
            Some((module, level)) => (Some(module.trim_end()), level.trim_start()),
            None => (None, text),
        };
        let level = LEVELS.into_iter().find(|known| *known == level)?;
        let sound = module.is_none_or(is_module);
        sound.then(|| Self { module: module.map(str::to_owned), level })
    }
}

/// True for the path of a module, such as `quorate_node::server`, or the beginning of one.
fn is_module(text: &str) -> bool {
    let inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ':' | '.');
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && text.chars().all(inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_levels_for_everything_and_for_modules() {
        for (text, shown) in [
            ("info", "info"),
            ("off", "off"),
            ("info,tarpc=off", "info,tarpc=off"),
            (" warn , quorate_node::server = trace ", "warn,quorate_node::server=trace"),
        ] {
            let filter: LogFilter = text.parse().expect("a filter");
            assert_eq!(filter.to_string(), shown);
            assert_eq!(shown.parse(), Ok(filter), "what is shown is read back");
        }
        assert_eq!("info,tarpc=off".parse(), Ok(LogFilter::default()));
    }

    /// A misspelt level used to pass for the name of a module, and the node logged nothing at all.
    #[test]
    fn a_lone_word_is_a_level() {
        for text in
            ["inof", "quorate_node", "info,tarpc", "INFO", "3", "", "info,", ",", "a=b=c,,", "=info", "a=", "a b=info", "[span]=info"]
        {
            assert!(text.parse::<LogFilter>().is_err(), "{text:?} must be refused");
        }
        let error = "info,inof".parse::<LogFilter>().expect_err("no level");
        assert_eq!(
            error.to_string(),
            "\"inof\" is not a rule of a log filter; write a level (off, error, warn, info, debug, trace) or module=level"
        );
    }
}
