//! What the prompt says after a command: the answer, and how it came about.
//!
//! The second part teaches: which level was asked for, who answered, who was stale, down or repaired, for whom a hint is kept. A failure
//! says whether anything happened and what helps.

use std::time::{Duration, UNIX_EPOCH};

use quorate_client::{
    Changed, Current, Error, KeyText, Read, Receipt, ReplicaReport, ReplicaStatus, Sibling, Subject, Token, Verb, Written,
};
use quorate_protocol::outcome::{Micros, Reason};
use quorate_protocol::{Access, Outcome};
use quorate_ring::NodeId;

use crate::kv::Found;
use crate::output::Count;
use crate::retry::can_be_settled;
use crate::text::Shown;

/// What a read found.
pub(super) fn read(read: &Read) -> String {
    let key = KeyText(read.key());
    let mut lines = match read.siblings() {
        [] => vec![format!("{key} has no value")],
        [only] => vec![Shown(&only.value).to_string()],
        siblings => {
            let title = format!("{key} has {} siblings, left by writes that had not seen each other", siblings.len());
            let values = siblings.iter().map(|sibling| format!("  {}    {}", Shown(&sibling.value), sibling.dot));
            let advice = match read.token() {
                Some(token) => format!("  `cas {key} --expect token:{token} --set VALUE` replaces them"),
                None => format!("  `put {key} VALUE --context {}` replaces them", read.context()),
            };
            std::iter::once(title).chain(values).chain([advice]).collect()
        }
    };
    lines.push(reached(read.receipt(), Access::Read) + &at(read.token()));
    lines.join("\n")
}

/// All values of a key with their origin.
pub(super) fn siblings(read: &Read) -> String {
    let key = KeyText(read.key());
    let mut lines = vec![match read.siblings().len() {
        0 => format!("{key} has no value"),
        1 => format!("{key} has 1 value"),
        count => format!("{key} has {count} values"),
    }];
    lines.extend(read.siblings().iter().map(sibling));
    lines.push(format!("  context {}", read.context()));
    lines.push(reached(read.receipt(), Access::Read) + &at(read.token()));
    lines.join("\n")
}

/// A value with the write that put it, and when that was by the clock of its coordinator, however wrong.
fn sibling(sibling: &Sibling) -> String {
    let written = humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(sibling.hlc.ms()));
    format!("  {}    {}    written {written}", Shown(&sibling.value), sibling.dot)
}

/// What a write left behind; `done` is its participle.
pub(super) fn written(done: &str, written: &Written) -> String {
    format!("{done}\n{}{}", reached(written.receipt(), Access::Write), at(written.token()))
}

/// What a change left behind; `done` says what it returned.
pub(super) fn changed<T>(done: &str, changed: &Changed<T>) -> String {
    format!("{done}\n{}{}", reached(changed.receipt(), Access::Write), at(Some(changed.token())))
}

/// What a compare-and-set found instead of what it expected.
pub(super) fn conflict(key: &[u8], current: &Current) -> String {
    let values = current.values.iter().flatten().map(|value| format!("\n  {}", Shown(value)));
    format!("conflict: {}{}", Found { key, current }, values.collect::<String>())
}

/// The version, where the level has versions.
fn at(token: Option<Token>) -> String {
    token.map_or_else(String::new, |token| format!("; token {token}"))
}

/// Why an operation failed, what became of it, and what helps.
///
/// `mending` are the commands that would bring back what was taken away.
pub(super) fn failure(error: &Error, access: Access, mending: &[String]) -> String {
    let mut lines = vec![error.to_string()];
    if error.outcome() == Outcome::Unknown {
        lines.push(match (error.op(), &error.operation().subject) {
            (Some(op), Subject::Key(key)) => {
                let settle = if can_be_settled(error.operation()) { " --settle" } else { "" };
                let (key, op) = (KeyText(key), op);
                format!("  it may or may not be stored, now or later: `outcome {op} --key {key}{settle}` finds out, the same command with `--op-id {op}` does it once")
            }
            _ => "  it may or may not be stored, now or later".to_owned(),
        });
    }
    if let Some(Reason::TooManySiblings { context, .. }) = error.reason() {
        let context = quorate_client::Context::from(context.clone());
        lines.push(format!("  `put K VALUE --context {context}` replaces all of them"));
    }
    if error.is_retryable() {
        let lower = match access {
            Access::Read => "a lower level, which may show less than was written",
            Access::Write => "a lower level, at which fewer replicas must have it",
        };
        // Some operations have one level only.
        let has_levels = matches!(error.operation().verb, Verb::Get | Verb::Put | Verb::Delete);
        let helps: Vec<String> = mending.iter().map(|command| format!("`{command}`")).chain(has_levels.then(|| lower.to_owned())).collect();
        if !helps.is_empty() {
            lines.push(format!("  what helps: {}", helps.join(", or ")));
        }
    }
    lines.join("\n")
}

/// Home replicas that were needed and did not answer.
pub(super) fn missing(replicas: &[ReplicaReport]) -> Vec<NodeId> {
    names(replicas.iter().filter(|report| match report.status {
        ReplicaStatus::Down | ReplicaStatus::TimedOut | ReplicaStatus::Waiting => true,
        ReplicaStatus::Answered | ReplicaStatus::NotAsked | ReplicaStatus::Refused(_) => false,
    }))
}

/// What became of the hints for a node that was away, by how many there were before it came back and how many there are now.
pub(super) fn hints(before: u64, now: u64) -> String {
    match (before, now) {
        (0, 0) => "no hints were kept for it".to_owned(),
        (1, 0) => "the hint that was kept for it is delivered".to_owned(),
        (count, 0) => format!("the {count} hints that were kept for it are delivered"),
        (_, 1) => "a hint for it is on its way".to_owned(),
        (_, count) => format!("{count} hints for it are on their way"),
    }
}

/// The level and every home replica's part.
fn reached(receipt: &Receipt, access: Access) -> String {
    let mut parts = Vec::new();
    let with = |status: &ReplicaStatus| names(receipt.replicas.iter().filter(|report| report.status == *status));
    let (answered, waiting, not_asked) = (with(&ReplicaStatus::Answered), with(&ReplicaStatus::Waiting), with(&ReplicaStatus::NotAsked));
    match (access, answered.as_slice()) {
        (Access::Read, nodes) => parts.extend(sentence(nodes, "answered", "answered")),
        (Access::Write, []) if receipt.hint_only => parts.push("no home replica has it yet, only a hint does".to_owned()),
        (Access::Write, nodes) => parts.extend(sentence(nodes, "has it", "have it")),
    }
    if let Some(first) = parts.first_mut() {
        first.push_str(&format!(" after {}", Micros(receipt.micros)));
    }
    parts.extend(sentence(&waiting, "had not answered yet", "had not answered yet"));
    parts.extend(sentence(&not_asked, "was not asked", "were not asked"));
    parts.extend(receipt.replicas.iter().filter_map(trouble));
    parts.extend(marks(&receipt.replicas));
    if receipt.rounds > 0 {
        parts.push(Count(u64::from(receipt.rounds), "round").to_string());
    }
    format!("  {}: {}", receipt.level, parts.join("; "))
}

/// What kept a replica from its part.
fn trouble(report: &ReplicaReport) -> Option<String> {
    let node = report.node;
    match &report.status {
        ReplicaStatus::Down => Some(format!("{node} is down")),
        ReplicaStatus::TimedOut => Some(format!("{node} did not answer within {}", Micros(report.micros))),
        ReplicaStatus::Refused(refusal) => Some(format!("{node} {refusal}")),
        ReplicaStatus::NotAsked | ReplicaStatus::Waiting | ReplicaStatus::Answered => None,
    }
}

/// Who was stale, who was repaired, for whom hints are kept.
fn marks(replicas: &[ReplicaReport]) -> Vec<String> {
    let with = |mark: fn(&ReplicaReport) -> bool| names(replicas.iter().filter(|report| mark(report)));
    let kinds = [
        (
            with(|report| report.stale && report.repaired),
            "was stale and was sent what it lacked",
            "were stale and were sent what they lacked",
        ),
        (with(|report| report.stale && !report.repaired), "was stale", "were stale"),
        (with(|report| !report.stale && report.repaired), "was sent what it lacked", "were sent what they lacked"),
    ];
    let mut marks: Vec<String> = kinds.iter().filter_map(|(nodes, one, several)| sentence(nodes, one, several)).collect();
    let hinted = with(|report| report.hinted);
    if !hinted.is_empty() {
        marks.push(format!("a hint is kept for {}", list(&hinted)));
    }
    marks
}

fn names<'a>(reports: impl Iterator<Item = &'a ReplicaReport>) -> Vec<NodeId> {
    let mut names: Vec<NodeId> = reports.map(|report| report.node).collect();
    names.sort_unstable();
    names
}

fn sentence(nodes: &[NodeId], one: &str, several: &str) -> Option<String> {
    match nodes {
        [] => None,
        [node] => Some(format!("{node} {one}")),
        nodes => Some(format!("{} {several}", list(nodes))),
    }
}

/// `n1`, `n1 and n2`, `n1, n2 and n3`; `nobody` if there is none.
pub(super) fn list(nodes: &[NodeId]) -> String {
    match nodes {
        [] => "nobody".to_owned(),
        [node] => node.to_string(),
        [first @ .., last] => format!("{} and {last}", first.iter().map(NodeId::to_string).collect::<Vec<_>>().join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use quorate_client::Operation;
    use quorate_protocol::hlc::Hlc;
    use quorate_protocol::outcome::Failure;
    use quorate_protocol::replica::Refusal;
    use quorate_protocol::{Actor, Dot, KeyEpoch, Level};
    use quorate_ring::RingEpoch;

    use super::*;

    fn report(node: u64, status: ReplicaStatus) -> ReplicaReport {
        ReplicaReport { status, micros: 500_000, ..ReplicaReport::not_asked(NodeId(node)) }
    }

    fn receipt(level: Level, replicas: Vec<ReplicaReport>) -> Receipt {
        let (coordinator, epoch) = (NodeId(1), RingEpoch(1));
        Receipt { level, coordinator, epoch, needed: 1, replicas, versions: 1, micros: 1_234, hint_only: false, rounds: 0 }
    }

    #[test]
    fn a_read_tells_who_answered_and_who_was_repaired() {
        let stale = ReplicaReport { stale: true, repaired: true, ..report(2, ReplicaStatus::Answered) };
        let replicas = vec![report(3, ReplicaStatus::Answered), stale, report(1, ReplicaStatus::Answered)];
        let text = reached(&receipt(Level::All, replicas), Access::Read);
        assert_eq!(text, "  all: n1, n2 and n3 answered after 1.2ms; n2 was stale and was sent what it lacked");
        let replicas = vec![report(2, ReplicaStatus::Answered), report(1, ReplicaStatus::NotAsked), report(3, ReplicaStatus::NotAsked)];
        let text = reached(&receipt(Level::One, replicas), Access::Read);
        assert_eq!(text, "  one: n2 answered after 1.2ms; n1 and n3 were not asked");
    }

    #[test]
    fn a_write_tells_who_has_it_and_for_whom_a_hint_is_kept() {
        let hinted = ReplicaReport { hinted: true, ..report(2, ReplicaStatus::Down) };
        let replicas = vec![report(3, ReplicaStatus::Answered), hinted.clone(), report(1, ReplicaStatus::Waiting)];
        let text = reached(&receipt(Level::One, replicas), Access::Write);
        assert_eq!(text, "  one: n3 has it after 1.2ms; n1 had not answered yet; n2 is down; a hint is kept for n2");
        let only_hint = Receipt { hint_only: true, ..receipt(Level::Any, vec![hinted]) };
        let text = reached(&only_hint, Access::Write);
        assert_eq!(text, "  any: no home replica has it yet, only a hint does after 1.2ms; n2 is down; a hint is kept for n2");
    }

    #[test]
    fn a_value_is_told_with_the_time_that_its_coordinator_thought_it_was() {
        let dot = Dot { actor: Actor::Node { node: NodeId(2), epoch: KeyEpoch(1) }, n: 7 };
        let told = sibling(&Sibling { value: "milk".into(), dot, hlc: Hlc::at_ms(1_000), op: None });
        assert_eq!(told, format!("  milk    {dot}    written 1970-01-01T00:00:01.000Z"));
    }

    #[test]
    fn hints_are_told_as_they_are() {
        assert_eq!(hints(0, 0), "no hints were kept for it");
        assert_eq!(hints(1, 0), "the hint that was kept for it is delivered");
        assert_eq!(hints(5, 0), "the 5 hints that were kept for it are delivered");
        assert_eq!(hints(5, 1), "a hint for it is on its way");
        assert_eq!(hints(0, 2), "2 hints for it are on their way");
    }

    #[test]
    fn only_replicas_that_did_not_answer_can_be_brought_back() {
        let refused = ReplicaStatus::Refused(Refusal::DiskFull);
        let reports =
            [report(4, ReplicaStatus::TimedOut), report(1, ReplicaStatus::Answered), report(3, refused), report(2, ReplicaStatus::Down)];
        assert_eq!(missing(&reports), [NodeId(2), NodeId(4)]);
    }

    fn failed(reason: Reason, outcome: Outcome) -> Error {
        let operation =
            Operation { verb: Verb::Put, subject: Subject::Key("a".into()), bucket: None, level: Some(Level::Quorum), op: None };
        let failure = Failure { reason, outcome, replicas: vec![report(2, ReplicaStatus::TimedOut), report(3, ReplicaStatus::Down)] };
        Error::Failed { operation: Box::new(operation), coordinator: NodeId(1), failure: Box::new(failure), outcome }
    }

    #[test]
    fn a_failure_says_what_became_of_it_and_what_helps() {
        let unknown = failed(Reason::TimedOut { needed: 2, answered: 1 }, Outcome::Unknown);
        let text = failure(&unknown, Access::Write, &["restart n3".to_owned(), "heal".to_owned()]);
        assert!(text.contains("may or may not be stored"), "{text}");
        assert!(text.ends_with("what helps: `restart n3`, or `heal`, or a lower level, at which fewer replicas must have it"), "{text}");
        let invalid = failed(Reason::InvalidContext, Outcome::NotApplied);
        let text = failure(&invalid, Access::Write, &["heal".to_owned()]);
        assert!(!text.contains("what helps") && !text.contains("may or may not"), "{text}");
    }
}
