//! One client: does its operations when they are due, and notes what it did and saw.
//!
//! - *A read* at the level of reads.
//! - *A write* at the level of writes, blindly: it replaces what its coordinator has seen.
//! - *An update*: a read, and a write that replaces what was read and nothing else. Where writes are linearizable that is a compare-and-set, by
//!   token if the read has one; elsewhere a put with the read's context, which keeps what it did not see as a sibling. A program that knows no
//!   contexts puts blindly instead; then updates may be lost.
//!
//! Values are unique: `c7.12` is the twelfth of client 7.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use quorate_client::{Bucket, Cas, Context, Current, Error, Expect, Read, Session, Token};
use quorate_protocol::outcome::Receipt;
use quorate_protocol::sealed::ContextSeal;
use quorate_protocol::{Access, BucketId, Context as Seen, Level, OpId};

use super::beats::Turns;
use super::level::ComparedLevel;
use super::note::{Done, Note, Version};
use super::progress::Progress;
use crate::bench::{Ending, Evidence};
use crate::workload::{KeyNumber, Operation};

/// Opens what answers say they have seen, if the cluster's secret is known.
#[derive(Clone, Debug)]
pub(super) struct Contexts {
    pub(super) seal: ContextSeal,
    pub(super) bucket: BucketId,
}

impl Contexts {
    /// What a context has seen, if this cluster sealed it with the secret that is known.
    fn open(&self, key: &str, context: &Context) -> Option<Seen> {
        self.seal.open(self.bucket, key.as_bytes(), context.sealed()).ok()
    }
}

/// A client of one level.
#[derive(Debug)]
pub(super) struct Worker {
    process: u64,
    bucket: Bucket,
    level: ComparedLevel,
    names: [Arc<str>; 2],
    keys: Arc<[String]>,
    contexts: Contexts,
    blind_updates: bool,
    written: u64,
    notes: Vec<Note>,
}

/// When an operation was due, called and answered, and with which key.
#[derive(Clone, Copy)]
struct Span {
    key: usize,
    due: Option<Instant>,
    called: Instant,
    returned: Instant,
}

/// What a put replaces.
#[derive(Clone, Copy)]
pub(super) enum Put<'a> {
    /// What its coordinator has seen.
    Blind,
    /// The same, though the client decided on it by what it had just read.
    BlindUpdate,
    /// What was read, and nothing else.
    After(&'a Read),
}

impl Worker {
    pub(super) fn new(process: u64, bucket: Bucket, level: ComparedLevel, keys: &Arc<[String]>, contexts: Contexts) -> Self {
        let bucket = if level.session { bucket.session(&Session::new()) } else { bucket };
        let names = [Access::Read, Access::Write].map(|access| level.name_of(access).into());
        Self { process, bucket, level, names, keys: Arc::clone(keys), contexts, blind_updates: false, written: 0, notes: Vec::new() }
    }

    /// Lets updates be written as by a program that knows no contexts.
    pub(super) fn updating_blindly(self, blind_updates: bool) -> Self {
        Self { blind_updates, ..self }
    }

    /// Does all operations that are due, those of `operations` in turn, unless it is `until` before.
    pub(super) async fn work(
        mut self,
        mut turns: Turns,
        mut operations: impl Iterator<Item = (Operation, KeyNumber)>,
        until: Instant,
        progress: &Progress,
    ) -> Vec<Note> {
        while let Some(due) = turns.next().await {
            let (operation, KeyNumber(key)) = operations.next().expect("operations are endless");
            if Instant::now() >= until {
                break;
            }
            let key = usize::try_from(key).expect("keys are few");
            match operation {
                Operation::Get => drop(self.read(key, Some(due)).await),
                Operation::Put => drop(self.put(key, Some(due), Put::Blind).await),
                Operation::Cas => self.update(key, due).await,
            }
            progress.count();
        }
        self.notes
    }

    pub(super) fn into_notes(self) -> Vec<Note> {
        self.notes
    }

    fn key(&self, key: usize) -> Bytes {
        Bytes::copy_from_slice(self.keys[key].as_bytes())
    }

    fn next_value(&mut self) -> String {
        self.written += 1;
        format!("c{}.{}", self.process, self.written)
    }

    pub(super) async fn read(&mut self, key: usize, due: Option<Instant>) -> Option<Read> {
        let called = Instant::now();
        let answer = self.bucket.get(self.key(key)).level(self.level.read).await;
        let span = Span { key, due, called, returned: Instant::now() };
        let (values, dots) = match &answer {
            Ok(read) => (read.values().map(text).collect(), read.siblings().iter().map(|sibling| sibling.dot).collect()),
            Err(_) => (Vec::new(), Vec::new()),
        };
        let note = self.note(span, Access::Read, Done::Read { values, dots });
        match answer {
            Ok(read) => {
                self.notes.push(note.answered(None, read.token(), read.receipt()));
                Some(read)
            }
            Err(error) => {
                self.notes.push(note.failed(&error));
                None
            }
        }
    }

    /// Puts a value.
    ///
    /// # Errors
    /// As the put itself.
    pub(super) async fn put(&mut self, key: usize, due: Option<Instant>, how: Put<'_>) -> Result<(), Error> {
        let value = self.next_value();
        let put = self.bucket.put(self.key(key), value.clone()).level(self.level.write);
        let put = if let Put::After(read) = how { put.context(read.context()) } else { put };
        let called = Instant::now();
        let answer = put.await;
        let span = Span { key, due, called, returned: Instant::now() };
        let shown = match how {
            Put::After(read) => Some(read.values().map(text).collect()),
            Put::Blind | Put::BlindUpdate => None,
        };
        let context = match (how, &answer) {
            (Put::After(read), _) => Some(read.context()),
            (Put::Blind | Put::BlindUpdate, Ok(written)) => Some(written.context()),
            (Put::Blind | Put::BlindUpdate, Err(_)) => None,
        };
        // A linearizable write is in the order of all: nobody asks what it covered.
        let context = context.filter(|_| self.level.write != Level::Linearizable);
        let seen = context.and_then(|context| self.contexts.open(&self.keys[key], context));
        let (dot, sendings) = answer.as_ref().map_or((None, 0), |written| (written.dot(), written.sendings()));
        let version = Version { dot, seen, sendings };
        let note = Note { update: !matches!(how, Put::Blind), ..self.note(span, Access::Write, Done::Put { value, shown, version }) };
        self.notes.push(match &answer {
            Ok(written) => note.answered(Some(written.op()), written.token(), written.receipt()),
            Err(error) => note.failed(error),
        });
        answer.map(drop)
    }

    async fn update(&mut self, key: usize, due: Instant) {
        let Some(read) = self.read(key, Some(due)).await else { return };
        // When its write would have been called, had its read been on time.
        let due = self.notes.last().map(|read| due + read.returned.saturating_duration_since(read.called));
        if self.level.write != Level::Linearizable {
            let how = if self.blind_updates { Put::BlindUpdate } else { Put::After(&read) };
            // It is noted, whatever became of it.
            let _ = self.put(key, due, how).await;
            return;
        }
        let expect = match (read.token(), read.siblings()) {
            (Some(token), _) => Expect::Token(token),
            (None, []) => Expect::Absent,
            (None, [only]) => Expect::Value(only.value.clone()),
            // Nothing can be expected of siblings without a token.
            (None, [_, _, ..]) => return,
        };
        self.cas(key, due, &read, expect).await;
    }

    async fn cas(&mut self, key: usize, due: Option<Instant>, read: &Read, expect: Expect) {
        let value = self.next_value();
        let by_token = matches!(expect, Expect::Token(_));
        let called = Instant::now();
        let answer = self.bucket.cas(self.key(key)).expect(expect).set(value.clone()).in_full().await;
        let span = Span { key, due, called, returned: Instant::now() };
        let observed = match &answer {
            Ok(changed) => match &changed.value {
                Cas::Conflict { current: Current { values, .. } } => values.as_ref().map(|values| values.iter().map(text).collect()),
                Cas::Applied { .. } => None,
            },
            Err(_) => None,
        };
        let expect = read.values().map(text).collect();
        let note = Note { update: true, ..self.note(span, Access::Write, Done::Cas { value, expect, by_token, observed }) };
        self.notes.push(match &answer {
            Ok(changed) => {
                let ending = if changed.value.is_applied() { Ending::Ok } else { Ending::Conflict };
                Note { ending, ..note.answered(Some(changed.op()), Some(changed.token()), changed.receipt()) }
            }
            Err(error) => note.failed(error),
        });
    }

    fn note(&self, span: Span, access: Access, done: Done) -> Note {
        let Span { key, due, called, returned } = span;
        Note {
            process: self.process,
            key,
            level: Arc::clone(&self.names[usize::from(access == Access::Write)]),
            done,
            update: false,
            due,
            called,
            returned,
            ending: Ending::Ok,
            token: None,
            evidence: Evidence::default(),
        }
    }
}

impl Note {
    fn answered(self, op: Option<OpId>, token: Option<Token>, receipt: &Receipt) -> Self {
        Self { token, evidence: Evidence::of(op, Some(receipt.coordinator), &receipt.replicas), ..self }
    }

    fn failed(self, error: &Error) -> Self {
        Self { ending: error.outcome().into(), evidence: Evidence::of(error.op(), None, error.replicas()), ..self }
    }
}

/// A value as the history names it.
fn text(value: &Bytes) -> String {
    value.escape_ascii().to_string()
}
