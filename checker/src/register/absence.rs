//! Whose absence was met: the beginning's, or which delete's.
//!
//! An absence `r` (a read of nothing, or a cas from nothing) cannot be delete `d`'s if `d` was called after `r` ended, or if
//! something else was certainly put in between: `w` with `d` ended before `w` was called and `w` ended before `r` was called. It cannot be the
//! beginning's if anything was certainly put before `r` was called. What remains are the candidates:
//!
//! - none: a violation by itself;
//! - one: certain;
//! - several: a guess, the last that ended before `r` was called. If the guesses explain everything, that is a proof; if
//!   they do not, it is none.

use super::facts::{Facts, NEVER, NONE};
use crate::history::Nanos;
use crate::verdict::Rule;

/// The cluster of the beginning; that of the put at position `p` is `p + 1`.
pub(super) const BEGINNING: u32 = 0;

/// For everyone who met an absence, whose it was.
#[derive(Clone, Debug)]
pub(super) struct Absence {
    /// By position among the sights; [`NONE`] for those that met a value, or are left open.
    pub(super) sights: Vec<u32>,
    /// By position among the puts, for cas from nothing; [`NONE`] for all others, and those that are left open.
    pub(super) puts: Vec<u32>,
    /// Some are guesses.
    pub(super) guessed: bool,
    guessed_sights: Vec<u32>,
    guessed_puts: Vec<u32>,
}

/// Positions among the puts of all deletes, and what is known about them.
struct Deletes {
    /// By call: the call, and the delete with the greatest end up to there.
    by_call: Vec<(Nanos, u32)>,
    /// By end: the end, the delete.
    by_end: Vec<(Nanos, u32)>,
    /// Ends of known puts of any kind, ascending, with the greatest call up to there and whose it is.
    puts: Vec<(Nanos, Nanos, u32)>,
}

enum Candidates {
    None {
        write: u32,
    },
    One(u32),
    /// The best guess.
    Several(u32),
}

impl Absence {
    /// Attributes every absence in `facts`, whose needed values are kept.
    pub(super) fn attribute(facts: &Facts) -> Result<Self, Rule> {
        let mut absence = Self {
            sights: vec![NONE; facts.sights.len()],
            puts: vec![NONE; facts.puts.len()],
            guessed: false,
            guessed_sights: Vec::new(),
            guessed_puts: Vec::new(),
        };
        let deletes = facts.puts.iter().any(|put| put.value.is_none()).then(|| Deletes::of(facts));
        let whose = |call, end, operation: u32| match &deletes {
            None => Ok((BEGINNING, false)),
            Some(deletes) => match deletes.candidates(facts, call, end) {
                Candidates::One(cluster) => Ok((cluster, false)),
                Candidates::Several(cluster) => Ok((cluster, true)),
                Candidates::None { write } => {
                    let write = facts.puts[write as usize].operation as usize;
                    Err(Rule::NothingThere { write, seen_by: operation as usize })
                }
            },
        };
        for (position, sight) in facts.sights.iter().enumerate().filter(|(_, sight)| sight.seen.is_none()) {
            let (cluster, guess) = whose(sight.call, sight.end, sight.operation)?;
            absence.sights[position] = cluster;
            absence.guessed_sights.extend(guess.then(|| u32::try_from(position).expect("fewer than 2^32 operations")));
        }
        for (position, put) in facts.puts.iter().enumerate().filter(|(_, put)| put.kept && put.replaced == Some(None)) {
            let (cluster, guess) = whose(put.call, put.end, put.operation)?;
            absence.puts[position] = cluster;
            absence.guessed_puts.extend(guess.then(|| u32::try_from(position).expect("fewer than 2^32 operations")));
        }
        absence.guessed = !absence.guessed_sights.is_empty() || !absence.guessed_puts.is_empty();
        Ok(absence)
    }

    /// The same without guesses: guessed absences are left open, so whatever is wrong is wrong for certain.
    pub(super) fn certain(&self) -> Self {
        let mut certain = self.clone();
        certain.guessed_sights.drain(..).for_each(|position| certain.sights[position as usize] = NONE);
        certain.guessed_puts.drain(..).for_each(|position| certain.puts[position as usize] = NONE);
        certain.guessed = false;
        certain
    }
}

impl Absence {
    /// Adds to a broken rule the puts that show that its absences are not the beginning's, where the delete does not show it.
    pub(super) fn since(&self, facts: &Facts, rule: Rule) -> (Rule, Vec<usize>) {
        let named = rule.operations();
        let is_named = |operation: u32| named.binary_search(&(operation as usize)).is_ok();
        let deletes = Deletes::of(facts);
        let sights = facts.sights.iter().zip(&self.sights).map(|(sight, cluster)| (sight.operation, sight.call, *cluster));
        let puts = facts.puts.iter().zip(&self.puts).map(|(put, cluster)| (put.operation, put.call, *cluster));
        let met = sights.chain(puts).filter(|(operation, _, cluster)| is_named(*operation) && ![NONE, BEGINNING].contains(cluster));
        let mut since = Vec::new();
        for (_, call, cluster) in met {
            if facts.puts[cluster as usize - 1].end >= call
                && let Some((_, put)) = deletes.put_before(call)
            {
                since.push(facts.puts[put as usize].operation as usize);
            }
        }
        (rule, since)
    }
}

impl Deletes {
    /// Of the known puts that ended before `call`, the last called: when, and which.
    fn put_before(&self, call: Nanos) -> Option<(Nanos, u32)> {
        let before = self.puts.partition_point(|(ended, _, _)| *ended < call);
        before.checked_sub(1).map(|last| (self.puts[last].1, self.puts[last].2))
    }

    fn of(facts: &Facts) -> Self {
        let all = || (0..).zip(&facts.puts).filter(|(_, put)| put.value.is_none());
        let mut by_call: Vec<(Nanos, u32)> = all().map(|(position, put)| (put.call, position)).collect();
        by_call.sort_unstable();
        let mut latest = by_call.first().map_or(NONE, |(_, position)| *position);
        for (_, position) in &mut by_call {
            if facts.puts[*position as usize].end > facts.puts[latest as usize].end {
                latest = *position;
            }
            *position = latest;
        }
        let mut by_end: Vec<(Nanos, u32)> = all().map(|(position, put)| (put.end, position)).collect();
        by_end.sort_unstable();
        let known = (0..).zip(&facts.puts).filter(|(_, put)| put.is_known());
        let mut puts: Vec<(Nanos, Nanos, u32)> = known.map(|(position, put)| (put.end, put.call, position)).collect();
        puts.sort_unstable();
        let mut greatest = (0, NONE);
        for (_, call, position) in &mut puts {
            greatest = greatest.max((*call, *position));
            (*call, *position) = greatest;
        }
        Self { by_call, by_end, puts }
    }

    /// Whose the absence can be that somebody met between `call` and `end`.
    fn candidates(&self, facts: &Facts, call: Nanos, end: Nanos) -> Candidates {
        let Some((between, write)) = self.put_before(call) else {
            let called = self.by_call.partition_point(|(called, _)| *called <= end);
            return if called == 0 { Candidates::One(BEGINNING) } else { Candidates::Several(BEGINNING) };
        };
        let called = self.by_call.partition_point(|(called, _)| *called <= end);
        let replaced = self.by_end.partition_point(|(ended, _)| *ended < between);
        let latest = called.checked_sub(1).map(|last| self.by_call[last].1);
        match (called - replaced, latest) {
            (0, _) | (_, None) => Candidates::None { write },
            (1, Some(latest)) => Candidates::One(latest + 1),
            (_, Some(latest)) => {
                let ended = self.by_end.partition_point(|(ended, _)| *ended < call);
                let sure = ended.checked_sub(1).map(|last| self.by_end[last]).filter(|(ended, _)| *ended >= between);
                let guess = sure.map_or(latest, |(_, delete)| delete);
                debug_assert!(facts.puts[guess as usize].end >= between || guess == latest, "a candidate");
                Candidates::Several(guess + 1)
            }
        }
    }
}

/// Marks the clusters whose put takes part: those that answered or are needed, and the deletes whose absence was met.
pub(super) fn kept(facts: &Facts, absence: &Absence) -> Vec<bool> {
    let mut kept = vec![true];
    kept.extend(facts.puts.iter().map(|put| put.kept));
    let met = absence.sights.iter().chain(&absence.puts).filter(|cluster| **cluster != NONE);
    met.for_each(|cluster| kept[*cluster as usize] = true);
    debug_assert!(facts.puts.iter().zip(&kept[1..]).all(|(put, kept)| *kept || put.end == NEVER), "what answered takes part");
    kept
}
