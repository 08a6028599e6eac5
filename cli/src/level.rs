//! Levels on the command line: how they are read, and what help says of each.

use std::str::FromStr;

use quorate_protocol::{InvalidLevel, Level};

/// A level that is designed and not built, so that whoever asks for it learns that, and not that it is misspelt.
const NOT_YET: &str = "linearizable";

/// The text is no level that requests can have.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LevelError {
    /// There is none of that name.
    #[error(transparent)]
    Invalid(#[from] InvalidLevel),
    /// It is not available yet.
    #[error("{NOT_YET} is not available yet; the strictest levels there are, quorum and all, do not order concurrent writes")]
    NotYet,
}

/// Reads a level, or what is written like one.
///
/// # Errors
/// [`LevelError`].
pub fn parse<L: FromStr<Err = InvalidLevel>>(text: &str) -> Result<L, LevelError> {
    let level = text.split('+').next().unwrap_or(text);
    if level == NOT_YET { Err(LevelError::NotYet) } else { Ok(text.parse()?) }
}

/// What each level promises, with the usual three home replicas.
#[must_use]
pub fn help() -> String {
    const REPLICAS: u8 = 3;
    let levels = [Level::Any, Level::One, Level::Quorum, Level::All, Level::Counts { r: 2, w: 1 }];
    let lines = levels.map(|level| format!("{level}: {}", level.describe(REPLICAS)));
    format!("How many replicas must take part [default: the bucket's own level]. With 3 home replicas per key:\n\n{}", lines.join("\n\n"))
}

#[cfg(test)]
mod tests {
    use quorate_lab::bench::BenchLevel;

    use super::*;

    #[test]
    fn a_level_that_is_to_come_is_told_from_a_misspelt_one() {
        assert_eq!(parse::<Level>("r2w1").expect("a level"), Level::Counts { r: 2, w: 1 });
        assert!(parse::<BenchLevel>("one+session").expect("a level with a session").session);
        for text in ["linearizable", "linearizable+session"] {
            assert!(matches!(parse::<BenchLevel>(text), Err(LevelError::NotYet)), "{text}");
        }
        let misspelt = parse::<Level>("two").expect_err("none");
        assert_eq!(misspelt.to_string(), "\"two\" is not a level; write any, one, quorum, all or rXwY such as r2w1");
    }
}
