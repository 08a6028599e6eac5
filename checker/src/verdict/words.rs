//! A broken rule in one sentence.

use std::fmt;

use super::{Link, Order, Rule, Violation};
use crate::finding::{Evidence, Showing};
use crate::history::{Action, History, KeyId, Outcome, Seen, ValueId};

impl Evidence for Violation {
    fn kind(&self) -> &'static str {
        self.rule.name()
    }

    fn key(&self) -> KeyId {
        self.key
    }

    fn operations(&self) -> Vec<usize> {
        Violation::operations(self)
    }

    fn tell(&self, history: &History, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Sentence { history, rule: &self.rule }, f)
    }
}

/// Says what happened, as `Display`.
pub(super) struct Sentence<'a> {
    pub(super) history: &'a History,
    pub(super) rule: &'a Rule,
}

impl fmt::Display for Sentence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let did = |at| Deed { history: self.history, at, tense: Tense::Past };
        let who = |at: usize| self.history.operations[at].process;
        match self.rule {
            Rule::NeverWritten { seen_by } => write!(f, "{}, but nobody wrote that", did(*seen_by)),
            Rule::WriteFailed { write, seen_by } => {
                write!(f, "{}, but process {} was told that this was not written", did(*seen_by), who(*write))
            }
            Rule::SeenBeforeWritten { write, seen_by } => {
                write!(f, "{}, and was done before process {} began to write that", did(*seen_by), who(*write))
            }
            Rule::NothingThere { write, seen_by } => {
                let had = Deed { history: self.history, at: *write, tense: Tense::Perfect };
                write!(f, "{} after {had}, and no delete can have come between", did(*seen_by))
            }
            Rule::CasTwice { source, first, second } => {
                let there = source.map_or("absent", |put| self.put(put));
                write!(f, "{} and {}, but {there} was there only once: one of the two updates is lost", did(*first), did(*second))
            }
            Rule::CasRing { cas, .. } => self.ring(cas, f),
            Rule::CasAgainstObservation { cas } => write!(f, "{}, although it found {}", did(*cas), self.observed(*cas)),
            Rule::CasFailedInVain { cas } => {
                let found = self.observed(*cas);
                write!(f, "a cas of process {} failed although it found {found}, which is what it expected", who(*cas))
            }
            Rule::Backwards { newer, older, links } => {
                let had = Deed { history: self.history, at: *newer, tense: Tense::Perfect };
                write!(f, "{} after {had}", did(*older))?;
                self.way(links, f)
            }
            Rule::TwoOrders { stale, other } => self.two_orders(stale, other, f),
            Rule::NoOrder { operations, least: true } => {
                write!(f, "no order of these {} operations explains what they found", operations.len())
            }
            Rule::NoOrder { operations, least: false } => {
                write!(f, "no order of the {} operations up to here explains what they found", operations.len())
            }
        }
    }
}

impl Sentence<'_> {
    fn two_orders(&self, stale: &Order, other: &Order, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let did = |at| Deed { history: self.history, at, tense: Tense::Past };
        let ended = other.ended.unwrap_or(other.began);
        let had = Deed { history: self.history, at: ended, tense: Tense::Perfect };
        write!(f, "{} after {had}", did(stale.began))?;
        let is_written = Some(other.began) == other.began_put && other.began_put == other.ended_put;
        match stale.ended {
            None => write!(f, ", and no delete can have come between")?,
            Some(first) if ended == other.began => write!(f, ", although {} before that", did(first))?,
            Some(first) if is_written && Some(first) == stale.ended_put && stale.ended_put == stale.began_put => {
                write!(f, ", which was written later")?;
            }
            Some(first) => write!(f, ", although {} before {}", did(first), did(other.began))?,
        }
        self.way(&stale.links, f)?;
        self.way(&other.links, f)
    }

    /// How one value became another, if it did.
    fn way(&self, links: &Link, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Some(first), Some(last)) = (links.cas.first(), links.cas.last()) else {
            return Ok(());
        };
        let Action::Cas { expect, .. } = self.history.operations[*first].action else {
            return Ok(());
        };
        let steps = links.cas.len() + links.left_out;
        let from = expect.map_or("absent", |value| self.text(value));
        write!(f, "; {} came from {from} by {}", self.put(*last), if steps == 1 { "cas" } else { "several cas" })
    }

    fn ring(&self, cas: &[usize], f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, at) in cas.iter().enumerate() {
            let comma = if position == 0 { "" } else { ", " };
            write!(f, "{comma}{}", Deed { history: self.history, at: *at, tense: Tense::Past })?;
        }
        write!(f, ": each needs what another put, so none was the first")
    }

    fn text(&self, value: ValueId) -> &str {
        self.history.names.value_text(value)
    }

    /// What an operation put.
    fn put(&self, at: usize) -> &str {
        self.history.operations[at].action.written().map_or("absent", |value| self.text(value))
    }

    fn observed(&self, at: usize) -> &str {
        match self.history.operations[at].action {
            Action::Cas { observed: Some(Some(value)), .. } => self.text(value),
            _ => "absent",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tense {
    /// "process 1 wrote x"
    Past,
    /// "process 1 had already written x"
    Perfect,
}

struct Deed<'a> {
    history: &'a History,
    at: usize,
    tense: Tense,
}

impl fmt::Display for Deed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operation = &self.history.operations[self.at];
        let text = |value: ValueId| self.history.names.value_text(value);
        let or_absent = |value: Option<ValueId>| value.map_or("absent", text);
        let verb = |past: &'static str, perfect: &'static str| if self.tense == Tense::Past { past } else { perfect };
        let had = if self.tense == Tense::Past { "" } else { "had already " };
        write!(f, "process {} {had}", operation.process)?;
        match &operation.action {
            Action::Read { seen: None } => write!(f, "read"),
            Action::Read { seen: Some(Seen::Absent) } => write!(f, "read absent"),
            Action::Read { seen: Some(Seen::One(value)) } => write!(f, "read {}", text(*value)),
            Action::Read { seen: Some(Seen::Many(values)) } => write!(f, "read {} siblings", values.len()),
            Action::Write { value } => write!(f, "{} {}", verb("wrote", "written"), text(*value)),
            Action::Delete => write!(f, "deleted the key"),
            Action::Cas { observed, .. } if operation.outcome == Outcome::Fail => {
                write!(f, "{} {} by a cas that failed", verb("found", "found"), or_absent(observed.flatten()))
            }
            Action::Cas { expect, value, .. } => write!(f, "replaced {} by {}", or_absent(*expect), text(*value)),
            Action::CasSiblings(cas) => match &cas.observed {
                Some(observed) if operation.outcome == Outcome::Fail => {
                    write!(f, "found {} by a cas that failed", Showing { history: self.history, seen: Some(observed) })
                }
                _ => write!(f, "replaced {} by {}", Showing { history: self.history, seen: Some(&cas.expect) }, text(cas.value)),
            },
        }?;
        if operation.outcome == Outcome::Unknown { write!(f, " (outcome unknown)") } else { Ok(()) }
    }
}
