//! How many reads for how many writes.

use std::fmt;
use std::str::FromStr;

use super::Operation;

/// Shares of reads and writes in percent, together 100. Written `50r50w`, `100r`, `100w`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mix {
    reads_percent: u8,
}

/// The text is no mix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a mix; write percentages of reads and writes that make 100, as in 50r50w, 95r5w or 100w")]
pub struct InvalidMix {
    /// What was written.
    pub text: String,
}

impl Mix {
    /// Reads only.
    pub const READS: Self = Self { reads_percent: 100 };
    /// Writes only.
    pub const WRITES: Self = Self { reads_percent: 0 };

    /// Whether an operation that drew `percent`, below 100, reads or writes.
    #[must_use]
    pub fn pick(self, percent: u8) -> Operation {
        if percent < self.reads_percent { Operation::Get } else { Operation::Put }
    }

    /// The operations that occur.
    #[must_use]
    pub fn operations(self) -> &'static [Operation] {
        match self.reads_percent {
            0 => &[Operation::Put],
            100 => &[Operation::Get],
            _ => &[Operation::Get, Operation::Put],
        }
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reads_percent {
            0 => f.write_str("100w"),
            100 => f.write_str("100r"),
            reads => write!(f, "{reads}r{}w", 100 - reads),
        }
    }
}

impl FromStr for Mix {
    type Err = InvalidMix;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (reads, rest) = text.split_once('r').map_or(("0", text), |(reads, rest)| (reads, rest));
        let writes = if rest.is_empty() { Some("0") } else { rest.strip_suffix('w') };
        let reads_percent = percent(reads);
        let total = reads_percent.zip(writes.and_then(percent)).map(|(reads, writes)| u16::from(reads) + u16::from(writes));
        match (reads_percent, total) {
            (Some(reads_percent), Some(100)) => Ok(Self { reads_percent }),
            _ => Err(InvalidMix { text: text.to_owned() }),
        }
    }
}

fn percent(digits: &str) -> Option<u8> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    if plain { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_is_two_percentages_that_make_a_hundred() {
        for text in ["50r50w", "95r5w", "1r99w", "100r", "100w"] {
            assert_eq!(text.parse::<Mix>().expect("a mix").to_string(), text);
        }
        assert_eq!("0r100w".parse(), Ok(Mix::WRITES));
        assert_eq!("100r0w".parse(), Ok(Mix::READS));
        for text in ["", "50r", "50r49w", "50w50r", "r100w", "100", "156r200w", "+50r50w", "50r50w ", "50r50"] {
            assert_eq!(text.parse::<Mix>(), Err(InvalidMix { text: text.to_owned() }), "{text:?}");
        }
    }

    #[test]
    fn the_share_decides_which_draws_read() {
        let mix: Mix = "30r70w".parse().expect("a mix");
        let reads = (0..100).filter(|percent| mix.pick(*percent) == Operation::Get).count();
        assert_eq!(reads, 30);
        assert_eq!((Mix::READS.pick(99), Mix::WRITES.pick(0)), (Operation::Get, Operation::Put));
    }
}
