//! The level held to its own promise, and to linearizability whatever it promises.

use std::collections::BTreeMap;
use std::fmt;

use super::report::{Check, Keys, Linearizability, LinearizabilityVerdict, Promise, PromiseVerdict, Rate, Verdict};
use super::{LevelName, Stale, Subject};
use crate::finding::{Evidence, Finding, Showing};
use crate::history::{Action, History, KeyId, Nanos, Operation};
use crate::level::{self, Access, copies};
use crate::overlap;
use crate::promises::{self, Facts, Judged};
use crate::siblings;
use crate::staleness::Staleness;
use crate::verdict::{self, Limits, Method, Overall, Report, Rule, Scope};

/// So many violations are told in words.
const TOLD_MAX: usize = 5;

/// All that was judged.
pub(super) struct Judgement {
    /// What the level promises besides linearizability.
    checks: Vec<Judged>,
    /// Linearizability where it was promised.
    promised: Report,
    /// Linearizability of everything.
    everything: Report,
    /// Of keys that are not linearizable a stale read, where there is one: that which missed the fewest writes, then the first. It is the
    /// simplest proof there is. A key that was searched as a multi-value register is not linearizable if it has one, whatever the search
    /// says: the search is milder with writes below `linearizable`, as their levels are.
    stale: BTreeMap<KeyId, Staleness>,
    /// The same of keys that promised it, among operations that did.
    stale_promised: BTreeMap<KeyId, Staleness>,
}

/// A few operations that prove something.
#[derive(Clone, Copy)]
pub(super) enum Proof<'a> {
    Finding(&'a Finding),
    Violation(&'a verdict::Violation),
    Stale(&'a Staleness),
}

/// What became of a level.
pub(super) fn verdict(promise: PromiseVerdict, invalid: &[String]) -> Verdict {
    match promise {
        PromiseVerdict::Violation => Verdict::Violation,
        PromiseVerdict::Kept | PromiseVerdict::Undecided | PromiseVerdict::Empty if !invalid.is_empty() => Verdict::Invalid,
        PromiseVerdict::Undecided | PromiseVerdict::Empty => Verdict::Undecided,
        PromiseVerdict::Kept => Verdict::Kept,
    }
}

impl Judgement {
    pub(super) fn of(history: &History, facts: &Facts, subject: &Subject, stale: &Stale) -> Self {
        let check = |limits: &Limits, scope| verdict::check_with(history, limits, scope, &mut || true);
        // As `quorate check` does it: the two must not differ.
        let promised = check(&Limits::default(), Scope::Promises);
        let is_promised =
            |operation: &Operation| operation.level.is_some() && level::Promise::of(history, operation) == level::Promise::Linearizable;
        let everything =
            if history.operations.iter().all(is_promised) { promised.clone() } else { check(&subject.limits, Scope::Everything) };
        let may_break =
            |key: &&verdict::KeyVerdict| key.method == Method::MultiValueSearch || matches!(key.verdict, verdict::Verdict::Violation(_));
        let open: Vec<KeyId> = everything.keys.iter().filter(may_break).map(|key| key.key).collect();
        let owed: Vec<KeyId> = promised.violations().map(|violation| violation.key).collect();
        let stale_at = |keys: &[KeyId], counts: &dyn Fn(&Staleness) -> bool| {
            let mut found: BTreeMap<KeyId, Staleness> = BTreeMap::new();
            for staleness in stale.values().filter(|staleness| keys.binary_search(&staleness.key).is_ok() && counts(staleness)) {
                let rank = |staleness: &Staleness| (staleness.k, history.operations[staleness.read].call);
                let best = found.entry(staleness.key).or_insert(*staleness);
                if rank(staleness) < rank(best) {
                    *best = *staleness;
                }
            }
            found
        };
        let both_promised = |staleness: &Staleness| {
            let promised = |at: usize| is_promised(&history.operations[at]);
            promised(staleness.read) && staleness.first_missed.is_some_and(promised)
        };
        let stale = stale_at(&open, &|_| true);
        Self { checks: promises::judge(history, facts), stale_promised: stale_at(&owed, &both_promised), promised, everything, stale }
    }

    pub(super) fn promise(&self, history: &History, facts: &Facts, level: &LevelName, replicas: u8) -> Promise {
        let violations = self.promised.violations();
        let findings = self.checks.iter().flat_map(|check| &check.findings);
        let words = violations.map(|violation| violation.in_words(history).to_string());
        let words = words.chain(findings.map(|finding| finding.in_words(history).to_string())).take(TOLD_MAX);
        let words = words.chain(facts.beyond.iter().map(|beyond| format!("no history shows it, but this was broken: {beyond}")));
        Promise {
            verdict: self.verdict(facts),
            promised: promised(level, replicas).into_iter().map(str::to_owned).collect(),
            checks: self.checks(),
            words: words.collect(),
        }
    }

    fn verdict(&self, facts: &Facts) -> PromiseVerdict {
        let broken = self.checks.iter().any(|check| !check.findings.is_empty());
        let judged = self.promised.operations() > 0 || self.checks.iter().any(|check| check.judged > 0);
        match self.promised.overall() {
            Overall::Violation => PromiseVerdict::Violation,
            _ if broken => PromiseVerdict::Violation,
            Overall::Undecided => PromiseVerdict::Undecided,
            Overall::Linearizable if !facts.beyond.is_empty() => PromiseVerdict::Undecided,
            Overall::Linearizable if judged => PromiseVerdict::Kept,
            Overall::Linearizable => PromiseVerdict::Empty,
        }
    }

    fn checks(&self) -> Vec<Check> {
        let check = |check: &str, judged: u64, violations: usize| Check { check: check.to_owned(), judged, violations: violations as u64 };
        let operations = self.promised.operations() as u64;
        let linearizability = (operations > 0).then(|| check("linearizability", operations, self.promised.violations().count()));
        linearizability.into_iter().chain(self.checks.iter().map(|one| check(one.name, one.judged, one.findings.len()))).collect()
    }

    pub(super) fn linearizability(&self, history: &History) -> Linearizability {
        let mut keys = Keys { total: self.everything.keys.len() as u64, linearizable: 0, violated: 0, undecided: 0 };
        for key in &self.everything.keys {
            let counter = match &key.verdict {
                _ if self.stale.contains_key(&key.key) => &mut keys.violated,
                verdict::Verdict::Violation(_) => &mut keys.violated,
                verdict::Verdict::Undecided(_) => &mut keys.undecided,
                verdict::Verdict::Linearizable => &mut keys.linearizable,
            };
            *counter += 1;
        }
        let words = self.against_linearizability().min_by_key(|proof| proof.rank(history)).map(|proof| proof.words(history));
        Linearizability {
            verdict: match (keys.violated, keys.undecided) {
                (0, 0) => LinearizabilityVerdict::Linearizable,
                (0, _) => LinearizabilityVerdict::Undecided,
                _ => LinearizabilityVerdict::Violation,
            },
            operations: self.everything.operations() as u64,
            keys,
            words,
        }
    }

    pub(super) fn lost_writes(&self) -> Rate {
        let durability = self.checks.iter().find(|check| check.name == "durability");
        durability.map_or(Rate::of(0, 0), |check| Rate::of(check.findings.len() as u64, check.judged))
    }

    /// What breaks the level's own promise.
    pub(super) fn against_promise(&self) -> impl Iterator<Item = Proof<'_>> {
        let findings = self.checks.iter().flat_map(|check| &check.findings).map(Proof::Finding);
        let order = self.promised.violations().map(|violation| {
            let stale = self.stale_promised.get(&violation.key);
            stale.map_or(Proof::Violation(violation), Proof::Stale)
        });
        order.chain(findings)
    }

    /// What breaks linearizability, one for each key.
    pub(super) fn against_linearizability(&self) -> impl Iterator<Item = Proof<'_>> {
        self.everything.keys.iter().filter_map(|key| match (&key.verdict, self.stale.get(&key.key)) {
            (_, Some(staleness)) => Some(Proof::Stale(staleness)),
            (verdict::Verdict::Violation(violation), None) => Some(Proof::Violation(violation)),
            (verdict::Verdict::Linearizable | verdict::Verdict::Undecided(_), None) => None,
        })
    }
}

/// What a level promises, each in a word.
fn promised(LevelName { read, write, session }: &LevelName, replicas: u8) -> Vec<&'static str> {
    use level::Promise::{Linearizable, Strict, Weak};
    let (reads, writes) = (level::Promise::of_level(read), level::Promise::of_level(write));
    let counts = copies(read, Access::Read, replicas).zip(copies(write, Access::Write, replicas));
    // Replicas learn after the answer what was chosen: eventual reads may lag behind linearizable writes.
    let meets = reads == Linearizable || writes != Linearizable;
    let overlaps = meets && counts.is_some_and(|(r, w)| u16::from(r) + u16::from(w) > u16::from(replicas));
    let monotonic = match reads {
        Strict => true,
        Linearizable => writes == Linearizable,
        Weak => false,
    };
    let linearizable = reads == Linearizable && writes == Linearizable;
    let all = [
        ("every-level", true),
        ("overlap", overlaps),
        ("monotonic-reads", monotonic),
        ("session", *session),
        ("linearizable", linearizable),
    ];
    all.into_iter().filter(|(_, promised)| *promised).map(|(promise, _)| promise).collect()
}

impl Proof<'_> {
    pub(super) fn rule(self) -> &'static str {
        match self {
            Self::Finding(finding) => finding.kind(),
            Self::Violation(violation) => violation.kind(),
            Self::Stale(_) => "stale-read",
        }
    }

    pub(super) fn key(self) -> KeyId {
        match self {
            Self::Finding(finding) => finding.key(),
            Self::Violation(violation) => violation.key,
            Self::Stale(staleness) => staleness.key,
        }
    }

    /// The operations that prove it, each once; none where final states do it alone.
    pub(super) fn operations(self) -> Vec<usize> {
        let mut operations = match self {
            Self::Finding(finding) => finding.operations(),
            Self::Violation(violation) => violation.operations(),
            Self::Stale(staleness) => staleness.first_missed.into_iter().chain([staleness.read]).collect(),
        };
        operations.sort_unstable();
        operations.dedup();
        operations
    }

    /// Less is easier to follow: few operations, close together, early.
    pub(super) fn rank(self, history: &History) -> (usize, Nanos, Nanos) {
        let operations = self.operations();
        let calls = || operations.iter().map(|at| history.operations[*at].call);
        let (first, last) = (calls().min().unwrap_or(0), calls().max().unwrap_or(0));
        (operations.len(), last - first, first)
    }

    /// The reason in a sentence, without the key.
    pub(super) fn words(self, history: &History) -> String {
        Words { proof: self, history }.to_string()
    }

    /// Reads with the writes that they should have shown, as far as the violation says it.
    pub(super) fn missed(self) -> Vec<(usize, usize)> {
        match self {
            Self::Stale(staleness) => staleness.first_missed.into_iter().map(|write| (staleness.read, write)).collect(),
            Self::Violation(violation) => missed_in_order(&violation.rule).into_iter().collect(),
            Self::Finding(Finding::Overlap(violation)) => vec![match violation {
                overlap::Violation::Missed { write, read, .. } => (*read, *write),
                overlap::Violation::ShowsReplaced { by, read, .. } => (*read, *by),
                overlap::Violation::WentBack { write, by, read, .. } => (*read, by.unwrap_or(*write)),
            }],
            Self::Finding(Finding::Sessions(violation)) => vec![(violation.read, violation.by.unwrap_or(violation.write))],
            Self::Finding(Finding::Siblings(siblings::Violation::Lost { write, place, .. })) => {
                place.operation().into_iter().map(|read| (read, *write)).collect()
            }
            Self::Finding(Finding::Siblings(siblings::Violation::Resurrected { by, place, .. })) => {
                place.operation().into_iter().map(|read| (read, *by)).collect()
            }
            Self::Finding(_) => Vec::new(),
        }
    }
}

fn missed_in_order(rule: &Rule) -> Option<(usize, usize)> {
    match rule {
        Rule::NothingThere { write, seen_by } => Some((*seen_by, *write)),
        Rule::TwoOrders { stale, other } => Some((stale.began, other.ended_put.or(other.began_put)?)),
        Rule::Backwards { newer, older, .. } => Some((*older, *newer)),
        Rule::NeverWritten { .. }
        | Rule::WriteFailed { .. }
        | Rule::SeenBeforeWritten { .. }
        | Rule::CasTwice { .. }
        | Rule::CasRing { .. }
        | Rule::CasAgainstObservation { .. }
        | Rule::CasFailedInVain { .. }
        | Rule::NoOrder { .. } => None,
    }
}

struct Words<'a> {
    proof: Proof<'a>,
    history: &'a History,
}

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.proof {
            Proof::Finding(finding) => finding.tell(self.history, f),
            Proof::Violation(violation) => violation.tell(self.history, f),
            Proof::Stale(staleness) => tell_stale(self.history, staleness, f),
        }
    }
}

fn tell_stale(history: &History, staleness: &Staleness, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let read = &history.operations[staleness.read];
    let seen = match &read.action {
        Action::Read { seen } => seen.clone(),
        Action::Cas { observed, .. } => observed.map(Into::into),
        Action::CasSiblings(cas) => cas.observed.clone(),
        Action::Write { .. } | Action::Delete => None,
    };
    write!(f, "process {} read {}", read.process, Showing { history, seen: seen.as_ref() })?;
    let Some(missed) = staleness.first_missed.map(|missed| &history.operations[missed]) else { return Ok(()) };
    write!(f, " although process {} had ", missed.process)?;
    match missed.action.written() {
        Some(value) => write!(f, "written {}", history.names.value_text(value))?,
        None => f.write_str("deleted it")?,
    }
    write!(f, ", which was acknowledged {}.{:03} ms before", staleness.t / 1_000_000, staleness.t / 1_000 % 1_000)
}
