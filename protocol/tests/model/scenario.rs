//! What is explored: who does what, and what may go wrong.

use quorate_protocol::chain::state::{Change, Expect, Function};
use quorate_protocol::ids::{ClientId, OpId};
use quorate_protocol::record::WriteMode;
use quorate_protocol::siblings::Body;
use quorate_protocol::{Defect, Options};

use crate::history::Do;
use crate::ledger::Rule;

/// What a node may do at any moment, once in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crash {
    /// It stops and starts again: its record is as it was on disk, what it had promised in memory is its floor, its proposer is gone, and
    /// its ballots carry a new boot.
    Restart,
    /// So, but it has no floor.
    RestartWithoutFloor,
    /// So, and it proposes under its old boot.
    RestartUnderOldBoot,
    /// Its replica forgets the promises since it last accepted.
    PromiseLost,
    /// Its replica forgets everything, and takes part as before.
    RecordLost,
}

/// One configuration. Client `i` sends to node `i`, which is also a home replica.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    /// One list of operations for each client, done one after the other.
    pub(crate) clients: &'static [&'static [Do]],
    /// The last client begins when all others are done, or can do nothing more.
    pub(crate) last_waits: bool,
    pub(crate) write_mode: WriteMode,
    /// Most rounds of one operation at one proposer.
    pub(crate) rounds_max: u8,
    /// A read may be told to begin again after a rejected repair.
    pub(crate) reads_try_again: bool,
    /// Replicas may be told what was chosen.
    pub(crate) learns: bool,
    /// A client may send a change again, through the third node, while it has no answer.
    pub(crate) retries: bool,
    /// A proposer may run out of time.
    pub(crate) deadlines: bool,
    pub(crate) crash: Option<Crash>,
    pub(crate) defect: Option<Defect>,
    /// The one rule to be judged by; all if none.
    pub(crate) rule: Option<Rule>,
    /// What happens first. The exploration begins after it.
    pub(crate) prelude: &'static [Cue],
}

/// A step of a prelude.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cue {
    /// The operation begins.
    Begin(usize),
    /// Its client sends the operation again.
    SendAgain(usize),
    /// The `Prepare` of this node's proposer arrives at that node, and is answered.
    Prepare(usize, usize),
    /// The `Accept` of this node's proposer arrives at that node, and is answered.
    Accept(usize, usize),
    /// What an operation has sent without a proposer arrives at that node, and is answered.
    Ask(usize, usize),
}

impl Scenario {
    pub(crate) fn new(clients: &'static [&'static [Do]]) -> Self {
        Self {
            clients,
            last_waits: false,
            write_mode: WriteMode::Mixed,
            rounds_max: 1,
            reads_try_again: false,
            learns: false,
            retries: false,
            deadlines: false,
            crash: None,
            defect: None,
            rule: None,
            prelude: &[],
        }
    }

    pub(crate) fn options(&self) -> Options {
        Options { defect: self.defect, ..Options::default() }
    }

    /// All operations, client by client, with their clients.
    pub(crate) fn operations(&self) -> impl Iterator<Item = (usize, Do)> + Clone {
        self.clients.iter().enumerate().flat_map(|(client, ops)| ops.iter().map(move |what| (client, *what)))
    }
}

/// The name under which the client of the operation at `at` sends it.
pub(crate) fn op_id(client: usize, at: usize) -> OpId {
    let seq = at as u64 + 1;
    OpId { client: ClientId(client as u128 + 1), lane: 0, seq, issued_ms: seq }
}

/// A change, as the chain knows it.
pub(crate) fn change(what: Do) -> Change {
    let cas = |expect, new| Change::Cas { expect, body: body(new) };
    match what {
        Do::Put(value) => Change::Put(bytes(value)),
        Do::Delete => Change::Delete,
        Do::CasAbsent(value) => cas(Expect::Absent, value),
        Do::Cas(expected, value) => cas(Expect::Value(bytes(expected)), value),
        Do::CasUnchanged(value) => cas(Expect::Token(quorate_protocol::chain::Token::default()), value),
        Do::Increment => Change::Modify(Function::Increment(1)),
        Do::Get | Do::EventualPut(_) | Do::EventualGet => Change::Identity,
    }
}

/// A value as bytes.
pub(crate) fn bytes(value: u8) -> bytes::Bytes {
    bytes::Bytes::from(value.to_string())
}

/// A value as a version's body.
pub(crate) fn body(value: u8) -> Body {
    Body::Value(bytes(value))
}
