//! Faults as they are asked for: `KIND[:TARGET][@FROM-UNTIL]`, in a list with commas.
//!
//! | request | asks for |
//! |---|---|
//! | `kill`, `pause` | of some node, at times of the schedule's choice |
//! | `kill:n2`, `pause:n2@5s-9s` | of this node; from 5 s to 9 s after the window's begin |
//! | `partition:n1|n2+n3` | these sides; `+` stands within a side, since the comma ends a request |
//! | `one-way:n1>n2` | what n1 sends to n2 is lost |
//! | `slow:n3`, `slow:n3=200ms` | what n3 sends arrives 200 ms later, which is also the delay if none is named |
//! | `skew:n2`, `skew:n2=-3s` | n2's clock is behind; 3 s ahead if nothing is named |
//! | `none` | nothing, and stands alone |
//!
//! All faults of a list have times, or none has: a fault without times is made wherever there is room, and beside stated times nobody
//! could foresee where.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use std::time::Duration;

use quorate_protocol::hlc::AHEAD_MS_MAX;
use quorate_ring::{NodeId, NodeIdError};

use super::target::{FaultKind, Target, UnknownKind, short};
use crate::cluster::{FaultState, InvalidFault};

/// The delay of slow senders if none is named: far above what a busy machine adds, far below what counts as silence.
pub const DELAY_USUAL: Duration = Duration::from_millis(200);
/// The error of wrong clocks if none is named: nobody follows it.
pub const SKEW_USUAL_MS: i64 = 3_000;
/// The least error of a clock that can be asked for. Below [`AHEAD_MS_MAX`] other clocks follow it, and nothing can be seen.
const SKEW_MS_MIN: u64 = 2 * AHEAD_MS_MAX;

/// How the list of no faults is written.
const NONE: &str = "none";

/// What is to be done, as far as it was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// To whomever the seed says.
    Any(FaultKind),
    /// To this one.
    To(Target),
}

impl Wish {
    /// The kind of fault.
    #[must_use]
    pub fn kind(&self) -> FaultKind {
        match self {
            Self::Any(kind) => *kind,
            Self::To(target) => target.kind(),
        }
    }
}

/// One fault that somebody asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultRequest {
    /// What is to be done.
    pub wish: Wish,
    /// When, as times after the window's begin; the schedule's choice if absent. It ends after it begins.
    pub times: Option<Range<Duration>>,
}

impl fmt::Display for FaultRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.wish {
            Wish::Any(kind) => kind.fmt(f)?,
            Wish::To(target) => write!(f, "{}:{}", target.kind(), target.spelling())?,
        }
        match &self.times {
            Some(times) => write!(f, "@{}-{}", short(times.start), short(times.end)),
            None => Ok(()),
        }
    }
}

/// All faults that somebody asked for; none if empty. Either all of them have times, or none has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults(Vec<FaultRequest>);

impl Faults {
    /// One by one, as they were written.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &FaultRequest> {
        self.0.iter()
    }

    /// True when nothing is to be broken.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_none() {
            return f.write_str(NONE);
        }
        f.write_str(&self.iter().map(FaultRequest::to_string).collect::<Vec<_>>().join(","))
    }
}

/// A request that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRequest {
    /// Nothing is written where a fault should be.
    #[error("a fault is missing; write a list such as kill,partition, or none")]
    Empty,
    /// The kind is none.
    #[error(transparent)]
    Kind(#[from] UnknownKind),
    /// What the fault is done to cannot be read.
    #[error("{text:?} is nothing that {kind} can be done to; write {}", usage(*kind))]
    Target {
        /// The fault.
        kind: FaultKind,
        /// What was written.
        text: String,
    },
    /// A node has another name.
    #[error("{text:?} is no node; write {}", usage(*kind))]
    Node {
        /// The fault.
        kind: FaultKind,
        /// What was written.
        text: String,
        /// What is wrong with it.
        source: NodeIdError,
    },
    /// No such fault can be.
    #[error(transparent)]
    Fault(#[from] InvalidFault),
    /// The delay is none.
    #[error("a delay of nothing is no fault; write slow:{node}={}", short(DELAY_USUAL))]
    NoDelay {
        /// The node.
        node: NodeId,
    },
    /// Other clocks follow one that is wrong by so little.
    #[error(
        "a clock that is wrong by less than {} can be followed by the others; write at least that, as in skew:{node}=+{}",
        short(Duration::from_millis(SKEW_MS_MIN)),
        short(Duration::from_millis(SKEW_MS_MIN))
    )]
    SmallSkew {
        /// The node.
        node: NodeId,
    },
    /// The times cannot be read.
    #[error("{text:?} are no times; write @FROM-UNTIL with times after the begin of the measurement, as in @5s-9s")]
    Times {
        /// What was written.
        text: String,
    },
    /// It would end before it begins.
    #[error("a fault cannot end {} after the begin of the measurement and begin {} after it; write the earlier time first", short(*until), short(*from))]
    Backwards {
        /// When it would begin.
        from: Duration,
        /// When it would end.
        until: Duration,
    },
    /// Some have times and others have not.
    #[error("{timed} has times and {untimed} has none; give times to all faults, or to none")]
    MixedTimes {
        /// A request with times.
        timed: String,
        /// One without.
        untimed: String,
    },
    /// `none` stands beside faults.
    #[error("none stands alone; leave it out, or leave out {other}")]
    NoneBeside {
        /// What else was asked for.
        other: String,
    },
}

/// How a fault with a target is written. The shell has its own use for two of the signs.
fn usage(kind: FaultKind) -> &'static str {
    match kind {
        FaultKind::Kill => "kill:n2",
        FaultKind::Pause => "pause:n2",
        FaultKind::Partition => "'partition:n1|n2+n3', in quotes",
        FaultKind::OneWay => "'one-way:n1>n2', in quotes",
        FaultKind::Slow => "slow:n3=200ms",
        FaultKind::Skew => "skew:n2=+3s",
    }
}

impl FromStr for Faults {
    type Err = InvalidRequest;

    fn from_str(text: &str) -> Result<Self, InvalidRequest> {
        let words: Vec<&str> = text.split(',').map(str::trim).collect();
        if words.contains(&NONE) {
            return match words.iter().find(|word| **word != NONE) {
                Some(other) => Err(InvalidRequest::NoneBeside { other: (*other).to_owned() }),
                None => Ok(Self::default()),
            };
        }
        let requests: Vec<FaultRequest> = words.into_iter().map(str::parse).collect::<Result<_, _>>()?;
        let one = |timed: bool| requests.iter().find(|request| request.times.is_some() == timed);
        match (one(true), one(false)) {
            (Some(timed), Some(untimed)) => Err(InvalidRequest::MixedTimes { timed: timed.to_string(), untimed: untimed.to_string() }),
            _ => Ok(Self(requests)),
        }
    }
}

impl FromStr for FaultRequest {
    type Err = InvalidRequest;

    fn from_str(text: &str) -> Result<Self, InvalidRequest> {
        if text.is_empty() {
            return Err(InvalidRequest::Empty);
        }
        let (what, times) = match text.split_once('@') {
            Some((what, written)) => (what, Some(times(written)?)),
            None => (text, None),
        };
        let wish = match what.split_once(':') {
            Some((kind, written)) => Wish::To(target(kind.parse()?, written)?),
            None => Wish::Any(what.parse()?),
        };
        Ok(Self { wish, times })
    }
}

fn times(written: &str) -> Result<Range<Duration>, InvalidRequest> {
    let (from, until) = written
        .split_once('-')
        .and_then(|(from, until)| Some((duration(from)?, duration(until)?)))
        .ok_or_else(|| InvalidRequest::Times { text: written.to_owned() })?;
    if from < until { Ok(from..until) } else { Err(InvalidRequest::Backwards { from, until }) }
}

fn target(kind: FaultKind, written: &str) -> Result<Target, InvalidRequest> {
    let unread = || InvalidRequest::Target { kind, text: written.to_owned() };
    let node = |text: &str| text.parse().map_err(|source| InvalidRequest::Node { kind, text: text.to_owned(), source });
    Ok(match kind {
        FaultKind::Kill => Target::Kill(node(written)?),
        FaultKind::Pause => Target::Pause(node(written)?),
        FaultKind::Partition => {
            let sides = written.split('|').map(|side| side.split('+').map(node).collect());
            let sides: Vec<BTreeSet<NodeId>> = sides.collect::<Result<_, _>>()?;
            if sides.len() < 2 {
                return Err(unread());
            }
            FaultState::default().partition(&sides)?;
            Target::Partition(sides)
        }
        FaultKind::OneWay => {
            let (from, to) = written.split_once('>').ok_or_else(unread)?;
            let (from, to) = (node(from)?, node(to)?);
            FaultState::default().one_way(from, to)?;
            Target::OneWay { from, to }
        }
        FaultKind::Slow => {
            let (name, delay) = match written.split_once('=') {
                Some((name, delay)) => (name, duration(delay).ok_or_else(unread)?),
                None => (written, DELAY_USUAL),
            };
            slow(node(name)?, delay)?
        }
        FaultKind::Skew => {
            let (name, skew_ms) = match written.split_once('=') {
                Some((name, skew)) => (name, signed_ms(skew).ok_or_else(unread)?),
                None => (written, SKEW_USUAL_MS),
            };
            skew(node(name)?, skew_ms)?
        }
    })
}

fn slow(node: NodeId, delay: Duration) -> Result<Target, InvalidRequest> {
    if delay.is_zero() {
        return Err(InvalidRequest::NoDelay { node });
    }
    FaultState::default().slow(node, delay)?;
    Ok(Target::Slow { node, delay })
}

fn skew(node: NodeId, skew_ms: i64) -> Result<Target, InvalidRequest> {
    if skew_ms.unsigned_abs() < SKEW_MS_MIN {
        return Err(InvalidRequest::SmallSkew { node });
    }
    FaultState::default().skew(node, skew_ms)?;
    Ok(Target::Skew { node, skew_ms })
}

/// A time with its unit; nothing needs no unit.
fn duration(text: &str) -> Option<Duration> {
    if text == "0" { Some(Duration::ZERO) } else { humantime::parse_duration(text).ok() }
}

fn signed_ms(text: &str) -> Option<i64> {
    let (sign, size) = match text.strip_prefix('-') {
        Some(size) => (-1, size),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    Some(sign * i64::try_from(duration(size)?.as_millis()).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        text.parse::<Faults>().expect_err(text).to_string()
    }

    #[test]
    fn what_is_written_is_read_and_written_again() {
        let texts = [
            "none",
            "kill",
            "kill,pause,partition,one-way,slow,skew",
            "kill:n2,partition:n1|n2+n3,one-way:n1>n2,slow:n3=200ms,skew:n2=+3s",
            "partition:n1|n2|n3@5s-9s,kill:n2@0s-1s500ms",
            "partition@1s-1s50ms",
        ];
        for text in texts {
            assert_eq!(text.parse::<Faults>().expect(text).to_string(), text);
        }
    }

    #[test]
    fn what_is_not_said_is_usual() {
        let faults: Faults = " slow:n3, skew:n2 ,skew:n1=2s".parse().expect("three faults");
        assert_eq!(faults.to_string(), "slow:n3=200ms,skew:n2=+3s,skew:n1=+2s");
        assert_eq!("kill@0-1s".parse::<Faults>().expect("a time").to_string(), "kill@0s-1s");
    }

    #[test]
    fn what_cannot_be_read_says_what_to_write() {
        let shown = [
            "",
            "kill,",
            "partitions",
            "kill:2",
            "partition:n1",
            "partition:n1|n2+n1",
            "one-way:n1",
            "one-way:n1>n1",
            "slow:n3=fast",
            "slow:n3=0",
            "slow:n3=2h",
            "skew:n2=+300ms",
            "kill@5s",
            "kill@9s-5s",
            "kill@5s-9s,slow",
            "none,kill",
        ]
        .map(|text| format!("{text:<20} {}", refused(text)));
        insta::assert_snapshot!(shown.join("\n"), @r#"
                             a fault is missing; write a list such as kill,partition, or none
        kill,                a fault is missing; write a list such as kill,partition, or none
        partitions           there is no fault "partitions"; write kill, pause, partition, one-way, slow or skew
        kill:2               "2" is no node; write kill:n2
        partition:n1         "n1" is nothing that partition can be done to; write 'partition:n1|n2+n3', in quotes
        partition:n1|n2+n1   n1 cannot be on two sides of a partition
        one-way:n1           "n1" is nothing that one-way can be done to; write 'one-way:n1>n2', in quotes
        one-way:n1>n1        n1 has no link to itself; name two different nodes
        slow:n3=fast         "n3=fast" is nothing that slow can be done to; write slow:n3=200ms
        slow:n3=0            a delay of nothing is no fault; write slow:n3=200ms
        slow:n3=2h           2h is longer than any request lives; write at most 1m, or cut the link with `partition`
        skew:n2=+300ms       a clock that is wrong by less than 1s can be followed by the others; write at least that, as in skew:n2=+1s
        kill@5s              "5s" are no times; write @FROM-UNTIL with times after the begin of the measurement, as in @5s-9s
        kill@9s-5s           a fault cannot end 5s after the begin of the measurement and begin 9s after it; write the earlier time first
        kill@5s-9s,slow      kill@5s-9s has times and slow has none; give times to all faults, or to none
        none,kill            none stands alone; leave it out, or leave out kill
        "#);
    }
}
