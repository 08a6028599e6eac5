//! Clients with names, whose every operation is written down.
//!
//! **Promise.** Each operation an [`Actor`] makes is in the record once it has ended, with the moment of its call and that of its
//! answer on the one clock of the [`Recorder`], and with what the client was told, not what somebody concluded from it. The order of
//! the record is that in which operations ended.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use quorate_client::{Bucket, Cas, Context, Error, Expect, Fate, Level, NodeId, OpId, Outcome, Receipt, Token};

use super::record::{Act, Ending, Operation, Pause};

/// Everything that is written down during a run.
#[derive(Debug, Default)]
pub(super) struct Recorded {
    pub(super) clients: Vec<String>,
    pub(super) operations: Vec<Operation>,
    pub(super) pauses: Vec<Pause>,
}

/// One clock and one record, shared by all who act.
#[derive(Clone, Debug)]
pub(super) struct Recorder {
    begin: Instant,
    recorded: Arc<Mutex<Recorded>>,
}

impl Recorder {
    pub(super) fn start() -> Self {
        Self { begin: Instant::now(), recorded: Arc::default() }
    }

    pub(super) fn now(&self) -> Duration {
        self.begin.elapsed()
    }

    pub(super) fn recorded(&self) -> MutexGuard<'_, Recorded> {
        // Whoever panicked while writing down ends the story anyway.
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A client with a name, which works on one key.
#[derive(Clone, Debug)]
pub(super) struct Actor {
    client: usize,
    key: String,
    bucket: Bucket,
    via: Option<NodeId>,
    recorder: Recorder,
}

/// What an operation left its client with.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// Position in the record.
    pub(super) at: usize,
    pub(super) ending: Ending,
    pub(super) values: Vec<String>,
    pub(super) context: Option<Context>,
    pub(super) token: Option<Token>,
    pub(super) op: Option<OpId>,
}

/// An answer as it came, before it is written down.
struct Told {
    ending: Ending,
    values: Vec<String>,
    context: Option<Context>,
    token: Option<Token>,
    op: Option<OpId>,
    receipt: Option<Receipt>,
    error: Option<String>,
}

impl Told {
    fn ok(values: Vec<String>, receipt: Option<Receipt>) -> Self {
        Self { ending: Ending::Ok, values, context: None, token: None, op: None, receipt, error: None }
    }

    fn failed(error: &Error) -> Self {
        let told = Self::ok(Vec::new(), None);
        Self { ending: error.outcome().into(), op: error.op(), error: Some(error.to_string()), ..told }
    }
}

impl Actor {
    /// A new client, drawn below those there are; it asks `via` alone, if that is some node.
    pub(super) fn enter(recorder: &Recorder, name: &str, bucket: Bucket, key: &str, via: Option<NodeId>) -> Self {
        let mut recorded = recorder.recorded();
        recorded.clients.push(name.to_owned());
        let client = recorded.clients.len() - 1;
        let bucket = via.into_iter().fold(bucket, Bucket::via);
        Self { client, key: key.to_owned(), bucket, via, recorder: recorder.clone() }
    }

    /// The same client, on another key of another bucket.
    pub(super) fn on(&self, bucket: Bucket, key: &str) -> Self {
        let bucket = self.via.into_iter().fold(bucket, Bucket::via);
        Self { bucket, key: key.to_owned(), ..self.clone() }
    }

    /// The same client, asking another node alone.
    pub(super) fn via(&self, node: NodeId) -> Self {
        Self { bucket: self.bucket.clone().via(node), via: Some(node), ..self.clone() }
    }

    /// The same client, with less patience.
    pub(super) fn within(&self, deadline: Duration) -> Self {
        Self { bucket: self.bucket.clone().deadline(deadline), ..self.clone() }
    }

    pub(super) async fn read(&self, level: Level) -> Answer {
        self.record(level, Act::Read, async {
            match self.bucket.get(&self.key).level(level).await {
                Ok(read) => {
                    let values = read.values().map(|value| text(value)).collect();
                    let told = Told::ok(values, Some(read.receipt().clone()));
                    Told { context: Some(read.context().clone()), token: read.token(), ..told }
                }
                Err(error) => Told::failed(&error),
            }
        })
        .await
    }

    /// Puts a value over whatever its coordinator holds.
    pub(super) async fn write(&self, level: Level, value: &str) -> Answer {
        self.put(level, value, None).await
    }

    /// Puts a value over what a read had shown, and nothing else.
    pub(super) async fn replace(&self, level: Level, value: &str, read: &Answer) -> Answer {
        self.put(level, value, Some(read)).await
    }

    async fn put(&self, level: Level, value: &str, read: Option<&Answer>) -> Answer {
        let act = Act::Write { value: value.to_owned(), shown: read.map(|read| read.values.clone()) };
        self.record(level, act, async {
            let put = self.bucket.put(&self.key, value.to_owned()).level(level);
            let put = read.and_then(|read| read.context.as_ref()).into_iter().fold(put, quorate_client::Write::context);
            match put.await {
                Ok(written) => {
                    let told = Told::ok(Vec::new(), Some(written.receipt().clone()));
                    Told { context: Some(written.context().clone()), token: written.token(), op: Some(written.op()), ..told }
                }
                Err(error) => Told::failed(&error),
            }
        })
        .await
    }

    /// Puts a value if nothing has changed since a read; of an absent key that is that it still is.
    pub(super) async fn cas(&self, read: Option<&Answer>, value: &str) -> Answer {
        let expected = read.and_then(|read| read.values.first().cloned());
        let expect = match read.and_then(|read| read.token) {
            Some(token) => Expect::Token(token),
            None => expected.clone().map_or(Expect::Absent, Expect::value),
        };
        let act = Act::Cas { expect: expected, value: value.to_owned() };
        self.record(Level::Linearizable, act, async {
            match self.bucket.cas(&self.key).expect(expect).set(value.to_owned()).in_full().await {
                Ok(changed) => {
                    let found = match &changed.value {
                        Cas::Applied { .. } => Told::ok(Vec::new(), None),
                        Cas::Conflict { current } => {
                            let values = current.values.iter().flatten().map(|value| text(value)).collect();
                            Told { ending: Ending::Conflict, ..Told::ok(values, None) }
                        }
                    };
                    Told { token: Some(changed.token()), op: Some(changed.op()), receipt: Some(changed.receipt().clone()), ..found }
                }
                Err(error) => Told::failed(&error),
            }
        })
        .await
    }

    /// Adds to a number; under the name of an earlier operation it is a retry of that.
    pub(super) async fn increment(&self, by: i64, retried: Option<OpId>) -> Answer {
        self.record(Level::Linearizable, Act::Increment { by }, async {
            let change = self.bucket.incr(&self.key, by);
            match retried.into_iter().fold(change, quorate_client::Change::op_id).in_full().await {
                Ok(changed) => {
                    let told = Told::ok(vec![changed.value.to_string()], Some(changed.receipt().clone()));
                    Told { token: Some(changed.token()), op: Some(changed.op()), ..told }
                }
                Err(error) => Told { op: error.op().or(retried), ..Told::failed(&error) },
            }
        })
        .await
    }

    /// Asks what became of an operation.
    pub(super) async fn ask(&self, op: OpId) -> Answer {
        self.record(Level::Linearizable, Act::Ask, async {
            let fate = self.bucket.outcome(&self.key, op).await;
            let told = match fate {
                Ok(Fate::Applied { result, .. }) => Told::ok(result.iter().map(|result| text(result)).collect(), None),
                Ok(Fate::NotApplied(_)) => Told { ending: Ending::Refused, ..Told::ok(Vec::new(), None) },
                Ok(Fate::Unknown(_)) => Told { ending: Outcome::Unknown.into(), ..Told::ok(Vec::new(), None) },
                Err(error) => Told::failed(&error),
            };
            Told { op: Some(op), ..told }
        })
        .await
    }

    /// Writes down that somebody in front of the store refused to pass a compare-and-set on.
    pub(super) fn turned_away(&self, expect: Option<String>, value: &str, since: Duration, why: &str) -> Answer {
        let told = Told { ending: Ending::Refused, error: Some(why.to_owned()), ..Told::ok(Vec::new(), None) };
        self.note(Level::Linearizable, Act::Cas { expect, value: value.to_owned() }, since, told)
    }

    /// This moment on the clock of the record.
    pub(super) fn now(&self) -> Duration {
        self.recorder.now()
    }

    /// Does nothing for so long.
    pub(super) async fn pause(&self, length: Duration, why: &str) {
        let begin = self.recorder.now();
        tokio::time::sleep(length).await;
        let end = self.recorder.now();
        self.recorder.recorded().pauses.push(Pause { client: self.client, begin, end, why: why.to_owned() });
    }

    async fn record(&self, level: Level, act: Act, asking: impl Future<Output = Told>) -> Answer {
        let call = self.recorder.now();
        let told = asking.await;
        self.note(level, act, call, told)
    }

    fn note(&self, level: Level, act: Act, call: Duration, told: Told) -> Answer {
        let Told { ending, values, context, token, op, receipt, error } = told;
        let key = if self.bucket.name() == "default" { self.key.clone() } else { format!("{}/{}", self.bucket.name(), self.key) };
        let end = self.recorder.now();
        let operation = Operation {
            client: self.client,
            key,
            level,
            via: self.via,
            act,
            call,
            end,
            ending,
            values: values.clone(),
            token: token.map(|token| token.to_string()),
            op,
            receipt,
            error,
        };
        let mut recorded = self.recorder.recorded();
        recorded.operations.push(operation);
        Answer { at: recorded.operations.len() - 1, ending, values, context, token, op }
    }
}

/// The values of stories are text.
pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
