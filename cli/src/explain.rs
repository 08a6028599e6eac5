//! `--explain`: the story of one request, told from what the replicas were reported to have done.
//!
//! ```text
//! get "cart:7" at quorum, bucket default: answered after 1.2ms
//!   slot 1093, partition p17, home replicas n2 n3 n1 at ring epoch e1; n2 coordinated
//!   after  210us  n2 answered
//!   after  1.1ms  n3 answered; it was stale; it was sent what it lacked
//!                 n1 was not asked
//!   2 of 2 needed replicas had answered; they held 2 different states
//!   quorum: 2 of 3 home replicas answer: ..
//! ```
//!
//! Replicas are told in the order in which their part was settled, then those that nothing was heard of. Times are those of
//! the coordinator; the way between it and the client is not in them.

use std::fmt::{self, Write as _};

use quorate_client::KeyText;
use quorate_protocol::outcome::{Micros, Receipt, ReplicaReport, ReplicaStatus};
use quorate_protocol::{Access, Level, Outcome};
use quorate_ring::{NodeId, Partitions, slot_of};

/// Which request the story is about.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// `get`, `put`, `del`, `siblings`.
    pub operation: &'static str,
    /// Whether it reads or writes.
    pub access: Access,
    /// The bucket's name.
    pub bucket: &'a str,
    /// The key.
    pub key: &'a [u8],
    /// How the cluster cuts its slots.
    pub partitions: Partitions,
}

/// Tells of a request that was answered.
#[must_use]
pub fn answered(request: &Request<'_>, receipt: &Receipt) -> String {
    let Receipt { level, coordinator, epoch, needed, versions, micros, .. } = receipt;
    let mut story = format!("{request} at {level}, bucket {}: answered after {}\n", request.bucket, Micros(*micros));
    let homes = receipt.replicas.iter().map(|report| report.node);
    line(&mut story, format_args!("{} at ring epoch {epoch}; {coordinator} coordinated", Place { request, homes: homes.collect() }));
    tell_replicas(&mut story, request.access, &receipt.replicas);
    line(&mut story, format_args!("{}{}", Reached { needed: *needed, receipt }, Versions { access: request.access, versions: *versions }));
    if *level == Level::Linearizable {
        line(&mut story, format_args!("{}", Consensus { access: request.access, receipt }));
    }
    promise(&mut story, *level, &receipt.replicas);
    story
}

/// Tells of a request that failed. Why it failed is for its error to say.
#[must_use]
pub fn failed(request: &Request<'_>, level: Option<Level>, outcome: Outcome, replicas: &[ReplicaReport]) -> String {
    let at_level = level.map_or_else(String::new, |level| format!(" at {level}"));
    let mut story = format!("{request}{at_level}, bucket {}: failed, {outcome}\n", request.bucket);
    let homes: Vec<NodeId> = replicas.iter().map(|report| report.node).collect();
    line(&mut story, format_args!("{}", Place { request, homes }));
    tell_replicas(&mut story, request.access, replicas);
    story
}

fn line(story: &mut String, text: fmt::Arguments<'_>) {
    writeln!(story, "  {text}").expect("a String takes all text");
}

fn tell_replicas(story: &mut String, access: Access, replicas: &[ReplicaReport]) {
    let mut reports: Vec<&ReplicaReport> = replicas.iter().collect();
    reports.sort_by_key(|report| (!is_settled(report), report.micros));
    for report in reports {
        let when = if is_settled(report) { format!("after {:>6}", Micros(report.micros).to_string()) } else { String::new() };
        line(story, format_args!("{when:12}  {}", Part { access, report }));
    }
}

/// True when the report's time says when something became of the replica.
fn is_settled(report: &ReplicaReport) -> bool {
    match report.status {
        ReplicaStatus::Answered | ReplicaStatus::TimedOut | ReplicaStatus::Refused(_) | ReplicaStatus::Down => true,
        ReplicaStatus::NotAsked | ReplicaStatus::Waiting => false,
    }
}

fn promise(story: &mut String, level: Level, replicas: &[ReplicaReport]) {
    if let Ok(homes) = u8::try_from(replicas.len()) {
        line(story, format_args!("{level}: {}", level.describe(homes)));
    }
}

impl fmt::Display for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.operation, KeyText(self.key))
    }
}

struct Place<'a> {
    request: &'a Request<'a>,
    homes: Vec<NodeId>,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slot = slot_of(self.request.key);
        write!(f, "slot {slot}, partition {}", self.request.partitions.of(slot))?;
        for (index, node) in self.homes.iter().enumerate() {
            let before = if index == 0 { ", home replicas" } else { "" };
            write!(f, "{before} {node}")?;
        }
        Ok(())
    }
}

struct Part<'a> {
    access: Access,
    report: &'a ReplicaReport,
}

impl fmt::Display for Part<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ReplicaReport { node, status, stale, repaired, hinted, .. } = self.report;
        match (status, self.access) {
            (ReplicaStatus::NotAsked, _) => write!(f, "{node} was not asked")?,
            (ReplicaStatus::Waiting, _) => write!(f, "{node} had not answered yet")?,
            (ReplicaStatus::Answered, Access::Read) => write!(f, "{node} answered")?,
            (ReplicaStatus::Answered, Access::Write) => write!(f, "{node} stored the write")?,
            (ReplicaStatus::Down, _) => write!(f, "{node} is down")?,
            (ReplicaStatus::TimedOut, _) => write!(f, "{node} timed out")?,
            (ReplicaStatus::Refused(refusal), _) => write!(f, "{node} {refusal}")?,
        }
        let marks = [(*stale, "; it was stale"), (*repaired, "; it was sent what it lacked"), (*hinted, "; a hint is kept for it")];
        for (_, text) in marks.iter().filter(|(is_so, _)| *is_so) {
            f.write_str(text)?;
        }
        Ok(())
    }
}

struct Reached<'a> {
    needed: u8,
    receipt: &'a Receipt,
}

impl fmt::Display for Reached<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { needed, receipt } = self;
        if receipt.hint_only {
            return f.write_str("no home replica holds the write yet: only a hint does");
        }
        match receipt.answered() {
            more if more > usize::from(*needed) => write!(f, "{more} replicas had answered, {needed} needed"),
            answered => write!(f, "{answered} of {needed} needed replicas had answered"),
        }
    }
}

/// How a linearizable request was decided.
struct Consensus<'a> {
    access: Access,
    receipt: &'a Receipt,
}

impl fmt::Display for Consensus<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let repaired = self.receipt.replicas.iter().any(|report| report.repaired);
        match (self.access, self.receipt.rounds) {
            (Access::Read, 0) if repaired => f.write_str("2 round trips: the newest state was brought to a majority before the answer"),
            (Access::Read, 0) => f.write_str("1 round trip: what was read is known to be decided"),
            (Access::Write, 0) => f.write_str("nothing had to be agreed on"),
            (_, 1) => f.write_str("agreed on in 1 round of consensus"),
            (_, rounds) => write!(f, "agreed on in round {rounds} of consensus; others came between the earlier ones"),
        }
    }
}

struct Versions {
    access: Access,
    versions: u8,
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.access, self.versions) {
            (Access::Write, _) | (Access::Read, 0) => Ok(()),
            (Access::Read, 1) => f.write_str("; all that answered agreed"),
            (Access::Read, versions) => write!(f, "; they held {versions} different states"),
        }
    }
}

#[cfg(test)]
mod tests {
    use quorate_protocol::replica::Refusal;
    use quorate_ring::RingEpoch;

    use super::*;

    fn request(operation: &'static str, access: Access) -> Request<'static> {
        Request { operation, access, bucket: "default", key: b"cart:7", partitions: Partitions::default() }
    }

    fn report(node: u64, status: ReplicaStatus, micros: u64) -> ReplicaReport {
        ReplicaReport { status, micros, ..ReplicaReport::not_asked(NodeId(node)) }
    }

    fn receipt(level: Level, replicas: Vec<ReplicaReport>) -> Receipt {
        Receipt {
            level,
            coordinator: NodeId(2),
            epoch: RingEpoch(1),
            needed: 2,
            replicas,
            versions: 1,
            micros: 1_200,
            hint_only: false,
            rounds: 0,
        }
    }

    #[test]
    fn a_read_that_repaired_tells_who_was_stale() {
        let stale = ReplicaReport { stale: true, repaired: true, ..report(3, ReplicaStatus::Answered, 1_100) };
        let replicas = vec![stale, report(2, ReplicaStatus::Answered, 210), ReplicaReport::not_asked(NodeId(1))];
        let receipt = Receipt { versions: 2, ..receipt(Level::Quorum, replicas) };
        insta::assert_snapshot!(answered(&request("get", Access::Read), &receipt), @r#"
        get "cart:7" at quorum, bucket default: answered after 1.2ms
          slot 9546, partition p149, home replicas n3 n2 n1 at ring epoch e1; n2 coordinated
          after  210us  n2 answered
          after  1.1ms  n3 answered; it was stale; it was sent what it lacked
                        n1 was not asked
          2 of 2 needed replicas had answered; they held 2 different states
          quorum: 2 of 3 home replicas answer: a read sees every acknowledged quorum write, or what replaced it, and repairs before it answers, so reads never go backwards; concurrent writes are kept as siblings
        "#);
    }

    #[test]
    fn a_write_below_its_homes_tells_of_hints_and_of_those_still_awaited() {
        let hinted = ReplicaReport { hinted: true, ..report(1, ReplicaStatus::Down, 0) };
        let replicas = vec![report(2, ReplicaStatus::Answered, 900), hinted, report(3, ReplicaStatus::Waiting, 0)];
        let receipt = Receipt { hint_only: false, needed: 1, ..receipt(Level::One, replicas) };
        insta::assert_snapshot!(answered(&request("put", Access::Write), &receipt), @r#"
        put "cart:7" at one, bucket default: answered after 1.2ms
          slot 9546, partition p149, home replicas n2 n1 n3 at ring epoch e1; n2 coordinated
          after    0us  n1 is down; a hint is kept for it
          after  900us  n2 stored the write
                        n3 had not answered yet
          1 of 1 needed replicas had answered
          one: 1 of 3 home replicas answers: reads may be stale and may go backwards, a write survives only as long as that one replica until it has spread
        "#);
    }

    #[test]
    fn a_failure_tells_who_has_it_and_who_did_not_answer() {
        let replicas = vec![
            report(2, ReplicaStatus::Answered, 900),
            report(3, ReplicaStatus::TimedOut, 500_000),
            report(1, ReplicaStatus::Refused(Refusal::DiskFull), 1_500),
        ];
        insta::assert_snapshot!(failed(&request("put", Access::Write), Some(Level::Quorum), Outcome::Unknown, &replicas), @r#"
        put "cart:7" at quorum, bucket default: failed, outcome unknown
          slot 9546, partition p149, home replicas n2 n3 n1
          after  900us  n2 stored the write
          after  1.5ms  n1 has no disk space left
          after  500ms  n3 timed out
        "#);
    }

    #[test]
    fn a_linearizable_request_tells_how_it_was_decided() {
        let last = |access, receipt: &Receipt| {
            let story = answered(&request("get", access), receipt);
            story.lines().rev().nth(1).map(|line| line.trim().to_owned()).unwrap_or_default()
        };
        let answered = vec![report(2, ReplicaStatus::Answered, 900), report(1, ReplicaStatus::Answered, 1_000)];
        let plain = receipt(Level::Linearizable, answered.clone());
        assert_eq!(last(Access::Read, &plain), "1 round trip: what was read is known to be decided");
        let mended = answered.into_iter().map(|report| ReplicaReport { repaired: report.node == NodeId(1), ..report }).collect();
        let text = last(Access::Read, &receipt(Level::Linearizable, mended));
        assert_eq!(text, "2 round trips: the newest state was brought to a majority before the answer");
        assert_eq!(last(Access::Write, &Receipt { rounds: 1, ..plain.clone() }), "agreed on in 1 round of consensus");
        let text = last(Access::Write, &Receipt { rounds: 3, ..plain });
        assert_eq!(text, "agreed on in round 3 of consensus; others came between the earlier ones");
    }

    #[test]
    fn a_hint_is_not_called_a_replica() {
        let replicas = vec![ReplicaReport { hinted: true, ..report(1, ReplicaStatus::Down, 0) }];
        let receipt = Receipt { hint_only: true, ..receipt(Level::Any, replicas) };
        let story = answered(&request("put", Access::Write), &receipt);
        assert!(story.contains("no home replica holds the write yet: only a hint does"), "{story}");
    }
}
