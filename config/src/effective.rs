//! The effective configuration as text: every key, its value, and who decided it.
//!
//! Law: the text of a configuration without a secret is itself a configuration file with the same effect. A secret is
//! never printed; its line says only that there is one.

use std::fmt;

use crate::origin::Origin;

/// One table of the effective configuration.
#[derive(Clone, Debug)]
pub(crate) struct EffectiveTable {
    header: String,
    lines: Vec<Line>,
}

/// One key of a table.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// The key with its sections, unique.
    pub(crate) path: String,
    pub(crate) key: &'static str,
    pub(crate) value: Effective,
    pub(crate) origin: Origin,
}

/// What a key amounts to.
#[derive(Clone, Debug)]
pub(crate) enum Effective {
    /// The value, as TOML.
    Shown(String),
    /// A value that must not be printed.
    Hidden,
    /// No value, which is allowed and means something.
    Unset { meaning: &'static str },
}

impl EffectiveTable {
    pub(crate) fn new(header: String, lines: Vec<Line>) -> Self {
        Self { header, lines }
    }

    /// True for an element of a list of tables.
    pub(crate) fn is_element(&self) -> bool {
        self.header.starts_with("[[")
    }

    pub(crate) fn lines(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter()
    }

    pub(crate) fn line(&self, path: &str) -> Option<&Line> {
        self.lines.iter().find(|line| line.path == path)
    }
}

impl fmt::Display for EffectiveTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.lines.is_empty() {
            return Ok(());
        }
        writeln!(f, "\n{}", self.header)?;
        let settings: Vec<String> = self.lines.iter().map(ToString::to_string).collect();
        let width = settings.iter().map(|setting| setting.chars().count()).max().unwrap_or(0);
        for (setting, line) in settings.iter().zip(&self.lines) {
            match &line.origin {
                Origin::File(place) => writeln!(f, "{setting:width$}  # {}:{}", place.path.display(), place.line)?,
                origin => writeln!(f, "{setting:width$}  # {origin}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Effective::Shown(value) => write!(f, "{} = {value}", self.key),
            Effective::Hidden => write!(f, "# {} is set, not shown", self.key),
            Effective::Unset { meaning } => write!(f, "# {} is not set: {meaning}", self.key),
        }
    }
}
