//! The bytes of every kind of message, frozen.
//!
//! A difference here is a change of the wire. If it only adds at the end, write the new line into `golden/wire.txt`;
//! otherwise raise `PROTOCOL_VERSION` as well. `QUORATE_WRITE_GOLDEN=1` writes the file anew.

use std::fmt::Write as _;

use bytes::Bytes;
use quorate_protocol::chain::acceptor::Rejected;
use quorate_protocol::chain::message::{Promise, View};
use quorate_protocol::chain::once::Recorded;
use quorate_protocol::chain::state::{Authorship, Inapplicable};
use quorate_protocol::chain::{Accepted, Ballot, ChainReply, ChainRequest, ChainState, Change, Expect, Function, Token};
use quorate_protocol::hlc::Hlc;
use quorate_protocol::outcome::{Failure, Outcome, Reason, Receipt, ReplicaReport, ReplicaStatus};
use quorate_protocol::replica::{Refusal, ReplicaReply, ReplicaRequest};
use quorate_protocol::{
    Actor, Attempt, Body, BootId, BucketId, ClientId, Context, Dot, KeyEpoch, Level, OpId, SealedContext, Siblings, Version,
};
use quorate_ring::{NodeId, PartitionId, RingEpoch};
use quorate_rpc::admin::{Faults, LinkFault};
use quorate_rpc::hello::{self, Class, Hello, HelloRefusal, HelloReply, Identity, Welcome};
use quorate_rpc::kv::{
    ChangeReply, ChangeRequest, Changed, KeyValueRequest, KeyValueResponse, ListRequest, NotAppliedWhy, OutcomeReply, OutcomeRequest,
    ReadReply, ReadRequest, Sibling, UnknownWhy, WriteContext, WriteReply, WriteRequest,
};
use quorate_rpc::peer::{Calls, KeysPage, KeysRequest, PeerRequest, PeerResponse, Pong, ReplicaCall};
use quorate_rpc::proof::{Challenge, PeerKey, Side};
use serde::Serialize;

fn key() -> Bytes {
    Bytes::from_static(b"cart:7")
}

fn sealed() -> SealedContext {
    SealedContext::from_bytes(Bytes::from_static(b"\x01sealed"))
}

fn dot() -> Dot {
    Dot { actor: Actor::Node { node: NodeId(2), epoch: KeyEpoch(300) }, n: 7 }
}

fn op() -> OpId {
    OpId { client: ClientId(0xfeed), lane: 3, seq: 9, issued_ms: 1_700_000_000_000 }
}

fn delta() -> Siblings {
    Siblings::delta(Context::empty(), dot(), Version { body: Body::Value(Bytes::from_static(b"milk")), hlc: Hlc(77), op: Some(op()) })
}

fn receipt() -> Receipt {
    Receipt {
        level: Level::Quorum,
        coordinator: NodeId(1),
        epoch: RingEpoch(1),
        needed: 2,
        replicas: vec![ReplicaReport { status: ReplicaStatus::Answered, micros: 40, stale: true, ..ReplicaReport::not_asked(NodeId(1)) }],
        versions: 2,
        micros: 55,
        hint_only: false,
        rounds: 1,
    }
}

fn write_request() -> WriteRequest {
    WriteRequest {
        bucket: BucketId(0),
        key: key(),
        body: Body::Tombstone,
        context: WriteContext::Seen(sealed()),
        level: Some(Level::Counts { r: 2, w: 1 }),
        op: op(),
        attempt: Attempt(1),
        session: None,
        micros_left: 2_000_000,
        begin_by: Some(300),
    }
}

fn failure() -> Failure {
    let down = ReplicaReport { status: ReplicaStatus::Refused(Refusal::DiskFull), ..ReplicaReport::not_asked(NodeId(3)) };
    Failure { reason: Reason::Unavailable { needed: 2, answered: 1 }, outcome: Outcome::Unknown, replicas: vec![down] }
}

fn ballot() -> Ballot {
    Ballot { epoch: RingEpoch(1), counter: 300, node: NodeId(2), boot: BootId(3) }
}

fn token() -> Token {
    Token { inc: ballot(), seq: 7 }
}

/// A state with a value, and with the operation that put it.
fn proposal() -> Accepted {
    let author = Authorship { ballot: ballot(), hlc: Hlc(77), op: Some(op()) };
    let (state, _) = ChainState::default().apply(&Change::Put(Bytes::from_static(b"milk")), author);
    let recorded = Recorded::Applied { token: state.token(), result: None };
    Accepted { ballot: ballot(), state: state.record(&op(), recorded, author).expect("room for one") }
}

fn change(change: Change) -> KeyValueRequest {
    let (attempt, session) = (Attempt(1), Some(sealed()));
    let request = ChangeRequest { bucket: BucketId(0), key: key(), change, op: op(), attempt, session, micros_left: 5 };
    KeyValueRequest::Change { request }
}

fn changed(changed: Changed) -> KeyValueResponse {
    let (context, session) = (sealed(), Some(sealed()));
    KeyValueResponse::Change(Ok(ChangeReply { changed, token: token(), context, session, receipt: receipt() }))
}

fn consensus_of_clients(lines: &mut String) {
    let expect = [Expect::Token(token()), Expect::Absent, Expect::Value(Bytes::from_static(b"milk"))];
    for (name, expect) in ["cas token", "cas absent", "cas value"].into_iter().zip(expect) {
        line(lines, name, &change(Change::Cas { expect, body: Body::Value(Bytes::from_static(b"oats")) }));
    }
    let functions = [Function::Increment(-3), Function::Append(Bytes::from_static(b"!")), Function::SetIfGreater(9)];
    for (name, function) in ["increment", "append", "set if greater"].into_iter().zip(functions) {
        line(lines, name, &change(Change::Modify(function)));
    }
    line(lines, "applied", &changed(Changed::Applied { result: Some(Bytes::from_static(b"4")) }));
    let current = Some(vec![Bytes::from_static(b"oats")]);
    line(lines, "conflict", &changed(Changed::Conflict { current, recorded: false }));
    let failure = Failure { reason: Reason::Inapplicable { why: Inapplicable::NotANumber }, ..failure() };
    line(lines, "inapplicable", &KeyValueResponse::Change(Err(failure)));
    let outcome = OutcomeRequest { bucket: BucketId(0), key: key(), op: op(), settle: true, micros_left: 5 };
    line(lines, "outcome", &KeyValueRequest::Outcome { request: outcome });
    let replies = [
        OutcomeReply::Applied { token: Some(token()), result: None },
        OutcomeReply::NotApplied(NotAppliedWhy::Settled),
        OutcomeReply::Unknown(UnknownWhy::NotContained),
    ];
    for reply in replies {
        line(lines, "outcome reply", &KeyValueResponse::Outcome(Ok(reply)));
    }
}

fn consensus_of_nodes(lines: &mut String) {
    let call = |request| {
        let request = ReplicaRequest::Chain { epoch: RingEpoch(1), request };
        PeerRequest::Replica { calls: Calls(vec![ReplicaCall { bucket: BucketId(0), key: key(), micros_left: 5, request }]) }
    };
    line(lines, "chain read", &call(ChainRequest::Read { full: true }));
    line(lines, "prepare", &call(ChainRequest::Prepare { ballot: ballot(), known: Ballot::ZERO }));
    line(lines, "accept", &call(ChainRequest::Accept { proposal: proposal(), next: Some(ballot()), clean: true }));
    line(lines, "learn", &call(ChainRequest::Learn { ballot: ballot(), state: None }));
    let view = View { accepted: ballot(), decided: Ballot::ZERO, live: vec![dot()], state: Some(proposal().state) };
    let promise = Promise { accepted: ballot(), decided: ballot(), state: None, eventual: Some(delta()) };
    let replies = [
        ("view", ChainReply::View(view)),
        ("promised", ChainReply::Promised { ballot: ballot(), promise }),
        ("rejected", ChainReply::Rejected(Rejected { ballot: ballot(), limit: ballot() })),
        ("accepted", ChainReply::Accepted { ballot: ballot() }),
        ("dirty", ChainReply::Dirty { ballot: ballot() }),
        ("learned", ChainReply::Learned),
    ];
    for (name, reply) in replies {
        line(lines, name, &PeerResponse::Replica(vec![ReplicaReply::Chain(Box::new(reply))]));
    }
}

fn introductions(lines: &mut String) {
    let me = Identity { node: NodeId(2), nonce: 300, boot: BootId(3) };
    let (cluster, challenge) = (Some("shop".to_owned()), Challenge([7; 16]));
    let proof = PeerKey::new("shop", "secret").prove(Side::Caller, challenge, Class::Peer, me);
    line(lines, "hello", &Hello { cluster, class: Class::Peer, from: Some(me), topology: 99 });
    line(lines, "challenge", &HelloReply::Challenge(challenge));
    line(lines, "response", &hello::Response { proof, challenge });
    let welcome = Welcome { cluster: "shop".to_owned(), node: NodeId(1), identity: None, proof: None, tick: 300, vouches: false };
    line(lines, "welcome of a client", &HelloReply::Welcome(welcome.clone()));
    line(lines, "welcome of a node", &HelloReply::Welcome(Welcome { identity: Some(me), proof: Some(proof), vouches: true, ..welcome }));
    line(lines, "refused", &HelloReply::Refused(HelloRefusal::NotRemembered));
}

fn client_messages(lines: &mut String) {
    let read = ReadRequest { bucket: BucketId(7), key: key(), level: None, seen: Some(sealed()), micros_left: 5 };
    line(lines, "read", &KeyValueRequest::Read { request: read });
    let sibling = Sibling { value: Bytes::from_static(b"milk"), dot: dot(), hlc: Hlc(77), op: Some(op()) };
    let reply = ReadReply { siblings: vec![sibling], context: sealed(), token: Some(token()), receipt: receipt() };
    line(lines, "read reply", &KeyValueResponse::Read(Ok(reply)));
    line(lines, "write", &KeyValueRequest::Write { request: write_request() });
    let reply = WriteReply { dot: Some(dot()), context: sealed(), session: Some(sealed()), token: None, receipt: receipt() };
    line(lines, "write reply", &KeyValueResponse::Write(Ok(reply)));
    line(lines, "write failure", &KeyValueResponse::Write(Err(failure())));
    let list =
        ListRequest { bucket: BucketId(0), partition: PartitionId(9), after: Some(key()), count_max: 10, level: None, micros_left: 5 };
    line(lines, "list", &KeyValueRequest::List { request: list });
    line(lines, "topology", &KeyValueRequest::Topology {});
    line(lines, "status", &KeyValueRequest::Status {});
    line(lines, "metrics", &KeyValueRequest::Metrics {});
    line(lines, "tick", &KeyValueRequest::Tick {});
    line(lines, "tick reply", &KeyValueResponse::Tick(300));
}

fn peer_messages(lines: &mut String) {
    let call = |request| ReplicaCall { bucket: BucketId(0), key: key(), micros_left: 5, request };
    let read = call(ReplicaRequest::Read { strict: Some(RingEpoch(1)) });
    let replicate = call(ReplicaRequest::Replicate { strict: None, delta: delta() });
    line(lines, "replica", &PeerRequest::Replica { calls: Calls(vec![read, replicate]) });
    let refused = [Refusal::OtherEpoch { here: RingEpoch(4) }, Refusal::NotVouched].map(ReplicaReply::Refused);
    let replies = [ReplicaReply::State { siblings: delta() }, ReplicaReply::Stored].into_iter().chain(refused).collect();
    line(lines, "replica reply", &PeerResponse::Replica(replies));
    line(lines, "forward", &PeerRequest::Forward { request: write_request() });
    let keys = KeysRequest { partition: PartitionId(9), bucket: BucketId(0), after: None, count_max: 10 };
    line(lines, "keys", &PeerRequest::Keys { request: keys });
    line(lines, "keys reply", &PeerResponse::Keys(Ok(KeysPage { keys: vec![key()], more: true })));
    line(lines, "ping", &PeerRequest::Ping {});
    line(lines, "pong", &PeerResponse::Ping(Pong { epoch: RingEpoch(1), hlc: Hlc(77), tick: 300 }));
}

fn line(lines: &mut String, name: &str, message: &impl Serialize) {
    let bytes = postcard::to_stdvec(message).expect("a message always encodes");
    let hex: String = bytes.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    writeln!(lines, "{name}: {hex}").expect("writing to a string");
}

#[test]
fn the_bytes_of_every_message_are_frozen() {
    let mut lines = String::new();
    introductions(&mut lines);
    client_messages(&mut lines);
    peer_messages(&mut lines);
    consensus_of_clients(&mut lines);
    consensus_of_nodes(&mut lines);
    let faults = Faults { links: [(NodeId(2), LinkFault { cut: true, delay_micros: 5 })].into(), skew_ms: -3 };
    line(&mut lines, "faults", &faults);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/wire.txt");
    if std::env::var_os("QUORATE_WRITE_GOLDEN").is_some() {
        std::fs::write(path, &lines).expect("the golden file can be written");
    }
    let golden = std::fs::read_to_string(path).expect("the golden file is there");
    for (now, frozen) in lines.lines().zip(golden.lines()) {
        assert_eq!(now, frozen);
    }
    assert_eq!(lines.lines().count(), golden.lines().count(), "messages without frozen bytes");
}
