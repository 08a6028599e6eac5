//! What clients did and saw, as they noted it; and the history that follows from the notes.
//!
//! Notes are kept in memory and written when all is over, so that writing disturbs nobody, and because what a write covered can be told
//! only then: its context says which versions it replaced, and the notes of other operations say which values those were.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use quorate_client::Token;
use quorate_protocol::session::attempts::AttemptOptions;
use quorate_protocol::{Context, Dot};
use quorate_ring::NodeId;
use serde::Serialize;

use super::covers::Versions;
use crate::bench::{Ending, Evidence};
use crate::history::{Line, Values, append, outcome, says_nothing};

/// One operation.
#[derive(Clone, Debug)]
pub(super) struct Note {
    pub(super) process: u64,
    pub(super) key: usize,
    pub(super) level: Arc<str>,
    pub(super) done: Done,
    /// It was decided on by what its client had just read.
    pub(super) update: bool,
    pub(super) due: Option<Instant>,
    pub(super) called: Instant,
    pub(super) returned: Instant,
    pub(super) ending: Ending,
    pub(super) token: Option<Token>,
    pub(super) evidence: Evidence,
}

/// What an operation did.
#[derive(Clone, Debug)]
pub(super) enum Done {
    /// A read; what it returned, with the versions where they are known.
    Read { values: Vec<String>, dots: Vec<Dot> },
    /// A put. `shown`: what had been read of the key when it was made with that read's context.
    Put { value: String, shown: Option<Vec<String>>, version: Version },
    /// A compare-and-set.
    Cas { value: String, expect: Vec<String>, by_token: bool, observed: Option<Vec<String>> },
}

/// What is known of the version that a put became.
#[derive(Clone, Debug, Default)]
pub(super) struct Version {
    pub(super) dot: Option<Dot>,
    /// What it had seen.
    pub(super) seen: Option<Context>,
    /// How often it was sent; 0 if nobody says: then as often as a client sends at most.
    pub(super) sendings: u32,
}

/// The first line of a history: what the run was.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Header {
    pub(super) seed: u64,
    pub(super) levels: Vec<String>,
    pub(super) faults: Vec<String>,
    pub(super) cluster: String,
    pub(super) replicas: u8,
    /// From then on, in nanoseconds, all was healed and repaired; absent if that was not reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) quiet: Option<u64>,
    /// Updates say that they are.
    pub(super) updates: &'static str,
    /// Positions of writes that were sent more than once, so that more than one sending may have been applied.
    pub(super) repeated: Vec<usize>,
}

/// The history of some notes, as text. `begin` is the zero of its clock.
pub(super) fn history(mut notes: Vec<Note>, keys: &[String], begin: Instant, mut header: Header) -> Vec<u8> {
    #[derive(Serialize)]
    struct HeaderLine {
        header: Header,
    }
    notes.sort_by_key(|note| (note.called, note.process));
    let covered = covered(&notes);
    let is_repeated = |note: &Note| match &note.done {
        Done::Put { version, .. } => version.sendings > 1 || note.ending == Ending::Unknown,
        Done::Read { .. } | Done::Cas { .. } => false,
    };
    header.repeated = (0..notes.len()).filter(|at| is_repeated(&notes[*at])).collect();
    let mut text = Vec::new();
    append(&mut text, &HeaderLine { header });
    for (at, note) in notes.iter().enumerate() {
        append(&mut text, &note.line(keys, begin, covered.get(&at).cloned()));
    }
    text
}

/// What each put covered, by its position, where it is known what it had seen.
fn covered(notes: &[Note]) -> BTreeMap<usize, Vec<String>> {
    /// A put by its position, and its value.
    type Put<'a> = (usize, &'a str);
    let mut keys: BTreeMap<usize, (Versions<'_>, Vec<Put<'_>>)> = BTreeMap::new();
    for (at, note) in notes.iter().enumerate() {
        let (versions, puts) = keys.entry(note.key).or_default();
        match &note.done {
            Done::Read { values, dots } => values.iter().zip(dots).for_each(|(value, dot)| versions.is(value, *dot)),
            Done::Put { value, version, .. } => {
                version.dot.into_iter().for_each(|dot| versions.is(value, dot));
                version.seen.iter().for_each(|seen| versions.had_seen(value, seen));
                puts.push((at, value));
            }
            Done::Cas { .. } => {}
        }
    }
    let covered = keys.values().flat_map(|(versions, puts)| puts.iter().map(|(at, value)| (*at, versions.covers(value))));
    covered.filter_map(|(at, values)| Some((at, values?.into_iter().map(str::to_owned).collect()))).collect()
}

impl Note {
    fn line<'a>(&'a self, keys: &'a [String], begin: Instant, covers: Option<Vec<String>>) -> Line<'a> {
        let nanos = |at: Instant| u64::try_from(at.saturating_duration_since(begin).as_nanos()).unwrap_or(u64::MAX);
        let names = |nodes: &[NodeId]| nodes.iter().map(ToString::to_string).collect();
        let line = Line {
            process: self.process,
            key: &keys[self.key],
            due: self.due.map(nanos),
            call: nanos(self.called),
            returned: (self.ending != Ending::Unknown).then(|| nanos(self.returned)),
            outcome: outcome(self.ending),
            level: &self.level,
            token: self.token.map(|token| token.to_string()),
            op_id: self.evidence.op_id.map(|op| op.to_string()),
            node: self.evidence.coordinator.map(|node| node.to_string()),
            asked: names(&self.evidence.asked),
            stale: names(&self.evidence.stale),
            covers,
            update: self.update,
            ..Line::default()
        };
        match &self.done {
            Done::Read { values, .. } => Line { op: "read", value: Values(values.clone()), ..line },
            Done::Put { value, shown, version } => {
                let dots = version.dot.filter(|_| version.sendings == 1).iter().map(Dot::to_string).collect();
                let attempts = match self.ending {
                    Ending::Unknown => Some(AttemptOptions::default().sendings_max.saturating_sub(1)),
                    _ => (version.sendings > 1).then(|| version.sendings - 1),
                };
                Line { op: "write", value: Values(vec![value.clone()]), shown: shown.clone(), dots, attempts, ..line }
            }
            Done::Cas { value, expect, by_token, observed } => Line {
                op: "cas",
                value: Values(vec![value.clone()]),
                expect: Some(Values(expect.clone())),
                observed: observed.clone().map(Values),
                refused: says_nothing(self.ending, *by_token, observed.as_ref().is_some_and(|observed| observed != expect)),
                ..line
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use quorate_protocol::{Actor, ClientId, KeyEpoch, OpId};

    use super::*;

    fn dot(n: u64) -> Dot {
        Dot { actor: Actor::Node { node: NodeId(1), epoch: KeyEpoch(1) }, n }
    }

    fn put(value: &str, n: u64, sendings: u32, shown: Option<&[&str]>) -> Done {
        let seen = (1..=n).map(dot).fold(Context::empty(), Context::with);
        let shown = shown.map(|values| values.iter().map(|value| (*value).to_owned()).collect());
        Done::Put { value: value.to_owned(), shown, version: Version { dot: Some(dot(n)), seen: Some(seen), sendings } }
    }

    /// Held here because checkers, ours and others, read it.
    #[test]
    fn the_history_is_as_its_format_says() {
        let begin = Instant::now();
        let at = |nanos| begin + Duration::from_nanos(nanos);
        let note = |called, done, ending| Note {
            process: 3,
            key: 0,
            level: "one".into(),
            done,
            update: called == 300,
            due: (called == 100).then(|| at(90)),
            called: at(called),
            returned: at(called + 50),
            ending,
            token: None,
            evidence: Evidence::default(),
        };
        let op = OpId { client: ClientId(0xab), lane: 1, seq: 4, issued_ms: 9 };
        let evidence =
            Evidence { op_id: Some(op), coordinator: Some(NodeId(1)), asked: vec![NodeId(1), NodeId(2)], stale: vec![NodeId(2)] };
        let named = |note: Note| Note { evidence: evidence.clone(), ..note };
        let values = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>();
        let cas = |by_token, observed: Option<&[&str]>| {
            let observed = observed.map(values);
            Done::Cas { value: "c3.9".to_owned(), expect: values(&["c3.2"]), by_token, observed }
        };
        let notes = vec![
            note(300, put("c3.2", 2, 2, Some(&["c3.1"])), Ending::Ok),
            named(note(100, put("c3.1", 1, 1, None), Ending::Ok)),
            note(500, Done::Put { value: "c3.3".to_owned(), shown: None, version: Version::default() }, Ending::Unknown),
            note(600, Done::Read { values: values(&["c3.2", "c3.3"]), dots: vec![dot(2), dot(7)] }, Ending::Ok),
            note(700, Done::Read { values: Vec::new(), dots: Vec::new() }, Ending::NotApplied),
            note(800, cas(false, Some(&["c3.3"])), Ending::Conflict),
            note(900, cas(true, Some(&["c3.2"])), Ending::Conflict),
            note(950, cas(true, None), Ending::NotApplied),
        ];
        let header = Header {
            seed: 7,
            levels: vec!["one".to_owned()],
            faults: vec!["kill n2".to_owned()],
            cluster: "local".to_owned(),
            replicas: 3,
            quiet: Some(550),
            updates: "said",
            repeated: Vec::new(),
        };
        let text = String::from_utf8(history(notes, &["k0".to_owned()], begin, header)).expect("text");
        insta::assert_snapshot!(text, @r#"
        {"header":{"seed":7,"levels":["one"],"faults":["kill n2"],"cluster":"local","replicas":3,"quiet":550,"updates":"said","repeated":[1,2]}}
        {"process":3,"op":"write","key":"k0","value":"c3.1","due":90,"call":100,"return":150,"outcome":"ok","level":"one","op_id":"000000000000000000000000000000ab.1.4.9","node":"n1","asked":["n1","n2"],"stale":["n2"],"covers":[],"dots":["1@n1.1"]}
        {"process":3,"op":"write","key":"k0","value":"c3.2","call":300,"return":350,"outcome":"ok","level":"one","covers":["c3.1"],"shown":["c3.1"],"attempts":1,"update":true}
        {"process":3,"op":"write","key":"k0","value":"c3.3","call":500,"return":null,"outcome":"unknown","level":"one","attempts":31}
        {"process":3,"op":"read","key":"k0","value":["c3.2","c3.3"],"call":600,"return":650,"outcome":"ok","level":"one"}
        {"process":3,"op":"read","key":"k0","value":null,"call":700,"return":750,"outcome":"fail","level":"one"}
        {"process":3,"op":"cas","key":"k0","expect":"c3.2","value":"c3.9","observed":"c3.3","call":800,"return":850,"outcome":"fail","level":"one"}
        {"process":3,"op":"cas","key":"k0","expect":"c3.2","value":"c3.9","observed":"c3.2","call":900,"return":950,"outcome":"fail","level":"one","refused":true}
        {"process":3,"op":"cas","key":"k0","expect":"c3.2","value":"c3.9","call":950,"return":1000,"outcome":"fail","level":"one","refused":true}
        "#);
    }
}
