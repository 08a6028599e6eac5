//! The texts are read by people and quoted in documentation, so they are held here word by word.

use std::io;

use quorate_protocol::outcome::{ReplicaStatus, Sized};
use quorate_protocol::{ClientId, InvalidLevel, SealedContext};

use super::*;

fn asked(verb: Verb, key: &'static [u8]) -> Box<Operation> {
    let op = verb.is_mutation().then_some(OpId { client: ClientId(1), lane: 0, seq: 1, issued_ms: 1 });
    Box::new(Operation { verb, subject: Subject::Key(Bytes::from_static(key)), bucket: None, level: Some(Level::Quorum), op })
}

fn report(node: u64, status: ReplicaStatus, micros: u64) -> ReplicaReport {
    ReplicaReport { status, micros, ..ReplicaReport::not_asked(NodeId(node)) }
}

fn failed(verb: Verb, failure: Failure) -> Error {
    let outcome = failure.outcome;
    Error::Failed { operation: asked(verb, b"cart:7"), coordinator: NodeId(1), failure: Box::new(failure), outcome }
}

fn half_done() -> Failure {
    Failure {
        reason: Reason::Unavailable { needed: 2, answered: 1 },
        outcome: Outcome::Unknown,
        replicas: vec![
            report(1, ReplicaStatus::Answered, 300),
            report(2, ReplicaStatus::TimedOut, 500_000),
            report(3, ReplicaStatus::Down, 0),
        ],
    }
}

#[test]
fn a_write_that_one_replica_has_says_so() {
    let error = failed(Verb::Put, half_done());
    let text = "put \"cart:7\" at quorum: 1 of 2 needed replicas answered; n2 timed out after 500ms, n3 is down. \
                outcome unknown: n1 has the value and it may spread";
    assert_eq!(error.to_string(), text);
    assert_eq!((error.outcome(), error.is_retryable(), error.replicas().len()), (Outcome::Unknown, true, 3));
    assert_eq!(error.reason(), Some(&Reason::Unavailable { needed: 2, answered: 1 }));
    assert!(error.op().is_some());
}

#[test]
fn several_holders_and_a_delete_are_worded_as_such() {
    let mut failure = half_done();
    failure.replicas[1].status = ReplicaStatus::Answered;
    let text = "delete \"cart:7\" at quorum: 1 of 2 needed replicas answered; n3 is down. \
                outcome unknown: n1 and n2 have the delete and it may spread";
    assert_eq!(failed(Verb::Delete, failure).to_string(), text);
}

#[test]
fn a_write_that_reached_nobody_is_not_applied() {
    let replicas = vec![report(2, ReplicaStatus::Down, 0), report(3, ReplicaStatus::Down, 0)];
    let failure = Failure { reason: Reason::Unreachable { needed: 2, alive: 1 }, outcome: Outcome::NotApplied, replicas };
    let text = "put \"cart:7\" at quorum: 1 of 2 needed replicas are reachable; n2 is down, n3 is down. not applied";
    assert_eq!(failed(Verb::Put, failure).to_string(), text);
}

/// The coordinator that answered did nothing, but an earlier one was lost.
#[test]
fn a_definite_failure_after_a_lost_sending_stays_unknown() {
    let failure = Box::new(Failure::refused(Reason::Overloaded));
    let error = Error::Failed { operation: asked(Verb::Put, b"k"), coordinator: NodeId(2), failure, outcome: Outcome::Unknown };
    let text = "put \"k\" at quorum: the node is overloaded. \
                outcome unknown: it was sent before that too, without an answer, and may have been applied";
    assert_eq!(error.to_string(), text);
}

#[test]
fn a_read_has_no_outcome_to_speak_of() {
    let mut failure = half_done();
    failure.outcome = Outcome::NotApplied;
    let text = "get \"cart:7\" at quorum: 1 of 2 needed replicas answered; n2 timed out after 500ms, n3 is down";
    assert_eq!(failed(Verb::Get, failure).to_string(), text);
}

#[test]
fn time_outs_name_who_was_asked() {
    let timed_out = |verb, asked_nodes: &[u64], outcome| {
        let nodes = asked_nodes.iter().map(|node| NodeId(*node)).collect();
        Error::TimedOut { operation: asked(verb, b"k"), asked: nodes, micros: 2_000_000, outcome }.to_string()
    };
    assert_eq!(timed_out(Verb::Get, &[1, 2, 3], Outcome::NotApplied), "get \"k\" at quorum: no answer within 2000ms from n1, n2 and n3");
    assert_eq!(
        timed_out(Verb::Put, &[1], Outcome::Unknown),
        "put \"k\" at quorum: no answer within 2000ms from n1. outcome unknown: it was sent and may have been applied"
    );
    assert_eq!(
        timed_out(Verb::Put, &[1, 2], Outcome::Unknown),
        "put \"k\" at quorum: no answer within 2000ms from n1 and n2. outcome unknown: any of them may have applied it"
    );
    assert_eq!(
        timed_out(Verb::Put, &[], Outcome::NotApplied),
        "put \"k\" at quorum: no answer within 2000ms; nothing was sent. not applied"
    );
}

#[test]
fn unreachable_nodes_are_named_with_the_reason() {
    let refused = LinkError::Unreachable { source: io::ErrorKind::ConnectionRefused.into() };
    let silent = LinkError::TimedOut { after: Duration::from_millis(500) };
    let other = LinkError::OtherCluster { expected: "shop".to_owned(), found: "demo".to_owned() };
    let nodes = [refused, silent, other, LinkError::Broken];
    let nodes = (1..).zip(nodes).map(|(node, error)| Unreached { node: NodeId(node), error: Arc::new(error) }).collect();
    let error = Error::Unreachable { operation: asked(Verb::Put, b"k"), nodes };
    let text = "put \"k\" at quorum: no node could be reached; n1: cannot connect: connection refused, \
                n2: no answer to the connection within 500ms, n3: it belongs to cluster \"demo\", not \"shop\", \
                n4: its connection broke. not applied";
    assert_eq!(error.to_string(), text);
}

#[test]
fn impossible_requests_say_what_would_be_possible() {
    let invalid = |operation: Box<Operation>, reason| Error::Invalid { operation, reason: Box::new(reason) }.to_string();
    assert_eq!(
        invalid(asked(Verb::Put, b""), Reason::InvalidKey { bytes_max: 1024 }),
        "put \"\" at quorum: the key is empty; a key has 1 to 1024 bytes. not applied"
    );
    assert_eq!(
        invalid(asked(Verb::Put, b"k"), Reason::TooLarge { what: Sized::Value, bytes: 1_048_577, bytes_max: 1_048_576 }),
        "put \"k\" at quorum: the value has 1048577 bytes; at most 1048576 are allowed. not applied"
    );
    let mut operation = asked(Verb::Get, b"\xff\x00");
    operation.bucket = Some("carts".to_owned());
    operation.level = Some(Level::Any);
    assert_eq!(
        invalid(operation, Reason::InvalidLevel(InvalidLevel::WriteOnly)),
        "get 0xff00 in bucket carts at any: level any is for writes only: a hint answers no read; read at one"
    );
}

#[test]
fn too_many_siblings_bring_the_context_that_resolves_them() {
    let sealed = SealedContext::from_bytes(Bytes::from_static(b"sealed"));
    let reason = Reason::TooManySiblings { siblings_max: 16, context: sealed.clone() };
    let error = failed(Verb::Put, Failure::refused(reason));
    assert_eq!(error.context(), Some(Context::from(sealed)));
    assert!(!error.is_retryable());
}

/// Errors travel through every `?`; a large one would make every result large.
#[test]
fn errors_are_small() {
    assert!(size_of::<Error>() <= 64, "{}", size_of::<Error>());
}
