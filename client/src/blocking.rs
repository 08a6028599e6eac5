//! The same client for programs without async: every operation blocks its thread until it ends.
//!
//! The client brings its own runtime, which runs on the threads that wait for an operation; it has no thread of its own.
//! Several threads may share a client.
//!
//! ```no_run
//! # fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use quorate_client::{Level, blocking::Client};
//!
//! let kv = Client::connect("127.0.0.1:7400,127.0.0.1:7401")?;
//! kv.put("cart:7", "milk").level(Level::Quorum).send()?;
//! let cart = kv.get("cart:7").send()?.single()?;
//! # Ok(())
//! # }
//! ```
//!
//! **Panics.** All of it panics when called from within an async task: blocking there would stop the task's runtime.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_protocol::{Level, OpId};
use quorate_ring::NodeId;
use quorate_rpc::kv::{Status, Topology};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::{Builder, Runtime};

use crate::change::{Cas, Change, Compare, Expect, Expecting, InFull};
use crate::context::Context;
use crate::error::{ConnectError, Error};
use crate::fate::AskFate;
use crate::get::{Get, Read};
use crate::scan::{Items, Keys, Scan};
use crate::session::Session;
use crate::typed::{TypedError, TypedRead, Updated};
use crate::write::{Write, Written};

/// Runs operations to their end.
#[derive(Clone)]
struct Runner(Arc<Runtime>);

impl Runner {
    fn run<F: Future>(&self, future: F) -> F::Output {
        self.0.block_on(future)
    }
}

impl fmt::Debug for Runner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Runner")
    }
}

/// A client was not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The system gives no means to wait for sockets and timers.
    #[error("the runtime did not start")]
    Runtime {
        /// What the system says.
        source: io::Error,
    },
    /// No node could be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

/// [`crate::Client`] without async.
#[derive(Clone, Debug)]
pub struct Client {
    client: crate::Client,
    runner: Runner,
}

impl Client {
    /// As [`crate::Client::connect`].
    ///
    /// # Errors
    /// [`StartError`] when an address is none, or no node answers.
    pub fn connect(seeds: &str) -> Result<Self, StartError> {
        Self::from_builder(crate::Client::builder().seeds(seeds))
    }

    /// As [`crate::ClientBuilder::connect`].
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub fn from_builder(builder: crate::ClientBuilder) -> Result<Self, StartError> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(|source| StartError::Runtime { source })?;
        let client = runtime.block_on(builder.connect())?;
        Ok(Self { client, runner: Runner(Arc::new(runtime)) })
    }

    /// As [`crate::Client::get`].
    pub fn get(&self, key: impl AsRef<[u8]>) -> Call<Get> {
        self.call(self.client.get(key))
    }

    /// As [`crate::Client::put`].
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl Into<Bytes>) -> Call<Write> {
        self.call(self.client.put(key, value))
    }

    /// As [`crate::Client::delete`].
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Call<Write> {
        self.call(self.client.delete(key))
    }

    /// As [`crate::Client::cas`].
    pub fn cas(&self, key: impl AsRef<[u8]>) -> Call<Compare> {
        self.call(self.client.cas(key))
    }

    /// As [`crate::Client::incr`].
    pub fn incr(&self, key: impl AsRef<[u8]>, by: i64) -> Call<Change<i64>> {
        self.call(self.client.incr(key, by))
    }

    /// As [`crate::Client::append`].
    pub fn append(&self, key: impl AsRef<[u8]>, tail: impl Into<Bytes>) -> Call<Change<u64>> {
        self.call(self.client.append(key, tail))
    }

    /// As [`crate::Client::set_if_greater`].
    pub fn set_if_greater(&self, key: impl AsRef<[u8]>, number: i64) -> Call<Change<i64>> {
        self.call(self.client.set_if_greater(key, number))
    }

    /// As [`crate::Client::outcome`].
    pub fn outcome(&self, key: impl AsRef<[u8]>, op: OpId) -> Call<AskFate> {
        self.call(self.client.outcome(key, op))
    }

    /// As [`crate::Client::bucket`].
    #[must_use]
    pub fn bucket(&self, name: &str) -> Bucket {
        Bucket { bucket: self.client.bucket(name), runner: self.runner.clone() }
    }

    /// As [`crate::Client::session`].
    #[must_use]
    pub fn session(&self) -> Session {
        self.client.session()
    }

    /// As [`crate::Client::topology`].
    #[must_use]
    pub fn topology(&self) -> Arc<Topology> {
        self.client.topology()
    }

    /// As [`crate::Client::nodes`].
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeId> {
        self.client.nodes()
    }

    /// As [`crate::Client::status_of`].
    ///
    /// # Errors
    /// As there.
    pub fn status_of(&self, node: NodeId) -> Result<Status, Error> {
        self.runner.run(self.client.status_of(node))
    }

    /// As [`crate::Client::metrics_of`].
    ///
    /// # Errors
    /// As there.
    pub fn metrics_of(&self, node: NodeId) -> Result<String, Error> {
        self.runner.run(self.client.metrics_of(node))
    }

    fn call<B>(&self, builder: B) -> Call<B> {
        Call { builder, runner: self.runner.clone() }
    }
}

/// [`crate::Bucket`] without async.
#[derive(Clone, Debug)]
pub struct Bucket {
    bucket: crate::Bucket,
    runner: Runner,
}

impl Bucket {
    /// As [`crate::Bucket::level`].
    #[must_use]
    pub fn level(self, level: Level) -> Self {
        Self { bucket: self.bucket.level(level), ..self }
    }

    /// As [`crate::Bucket::deadline`].
    #[must_use]
    pub fn deadline(self, deadline: Duration) -> Self {
        Self { bucket: self.bucket.deadline(deadline), ..self }
    }

    /// As [`crate::Bucket::session`].
    #[must_use]
    pub fn session(self, session: &Session) -> Self {
        Self { bucket: self.bucket.session(session), ..self }
    }

    /// As [`crate::Bucket::get`].
    pub fn get(&self, key: impl AsRef<[u8]>) -> Call<Get> {
        self.call(self.bucket.get(key))
    }

    /// As [`crate::Bucket::put`].
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl Into<Bytes>) -> Call<Write> {
        self.call(self.bucket.put(key, value))
    }

    /// As [`crate::Bucket::delete`].
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Call<Write> {
        self.call(self.bucket.delete(key))
    }

    /// As [`crate::Bucket::cas`].
    pub fn cas(&self, key: impl AsRef<[u8]>) -> Call<Compare> {
        self.call(self.bucket.cas(key))
    }

    /// As [`crate::Bucket::incr`].
    pub fn incr(&self, key: impl AsRef<[u8]>, by: i64) -> Call<Change<i64>> {
        self.call(self.bucket.incr(key, by))
    }

    /// As [`crate::Bucket::append`].
    pub fn append(&self, key: impl AsRef<[u8]>, tail: impl Into<Bytes>) -> Call<Change<u64>> {
        self.call(self.bucket.append(key, tail))
    }

    /// As [`crate::Bucket::set_if_greater`].
    pub fn set_if_greater(&self, key: impl AsRef<[u8]>, number: i64) -> Call<Change<i64>> {
        self.call(self.bucket.set_if_greater(key, number))
    }

    /// As [`crate::Bucket::outcome`].
    pub fn outcome(&self, key: impl AsRef<[u8]>, op: OpId) -> Call<AskFate> {
        self.call(self.bucket.outcome(key, op))
    }

    /// The bucket with JSON values of one type; `typed` sets how siblings are merged.
    pub fn json<T>(self, typed: impl FnOnce(crate::JsonBucket<T>) -> crate::JsonBucket<T>) -> JsonBucket<T> {
        JsonBucket { bucket: typed(self.bucket.json()), runner: self.runner }
    }

    /// Lists keys as `keys` says.
    pub fn keys(&self, keys: impl FnOnce(Keys) -> Keys) -> Iter<Bytes> {
        Iter { items: keys(self.bucket.keys()).stream(), runner: self.runner.clone() }
    }

    /// Reads every key as `scan` says.
    pub fn scan(&self, scan: impl FnOnce(Scan) -> Scan) -> Iter<Read> {
        Iter { items: scan(self.bucket.scan()).stream(), runner: self.runner.clone() }
    }

    fn call<B>(&self, builder: B) -> Call<B> {
        Call { builder, runner: self.runner.clone() }
    }
}

/// An operation to be sent by [`Call::send`].
#[derive(Debug)]
#[must_use = "an operation is sent by `send`"]
pub struct Call<B> {
    builder: B,
    runner: Runner,
}

impl<B: IntoFuture> Call<B> {
    /// Sends the operation and waits for its end.
    pub fn send(self) -> B::Output {
        self.runner.run(self.builder.into_future())
    }
}

impl<B> Call<B> {
    fn with<C>(self, change: impl FnOnce(B) -> C) -> Call<C> {
        Call { builder: change(self.builder), runner: self.runner }
    }
}

impl Call<Get> {
    /// As [`Get::level`].
    pub fn level(self, level: Level) -> Self {
        self.with(|get| get.level(level))
    }

    /// As [`Get::deadline`].
    pub fn deadline(self, deadline: Duration) -> Self {
        self.with(|get| get.deadline(deadline))
    }

    /// As [`Get::session`].
    pub fn session(self, session: &Session) -> Self {
        self.with(|get| get.session(session))
    }
}

impl Call<Write> {
    /// As [`Write::level`].
    pub fn level(self, level: Level) -> Self {
        self.with(|write| write.level(level))
    }

    /// As [`Write::deadline`].
    pub fn deadline(self, deadline: Duration) -> Self {
        self.with(|write| write.deadline(deadline))
    }

    /// As [`Write::session`].
    pub fn session(self, session: &Session) -> Self {
        self.with(|write| write.session(session))
    }

    /// As [`Write::context`].
    pub fn context(self, context: &Context) -> Self {
        self.with(|write| write.context(context))
    }

    /// As [`Write::concurrent`].
    pub fn concurrent(self) -> Self {
        self.with(Write::concurrent)
    }

    /// As [`Write::op_id`].
    pub fn op_id(self, op: OpId) -> Self {
        self.with(|write| write.op_id(op))
    }
}

impl Call<Compare> {
    /// As [`Compare::expect`].
    pub fn expect(self, expect: impl Into<Expect>) -> Call<Expecting> {
        self.with(|compare| compare.expect(expect))
    }
}

impl Call<Expecting> {
    /// As [`Expecting::set`].
    pub fn set(self, value: impl Into<Bytes>) -> Call<Change<Cas>> {
        self.with(|expecting| expecting.set(value))
    }

    /// As [`Expecting::delete`].
    pub fn delete(self) -> Call<Change<Cas>> {
        self.with(Expecting::delete)
    }
}

impl<T> Call<Change<T>> {
    /// As [`Change::deadline`].
    pub fn deadline(self, deadline: Duration) -> Self {
        self.with(|change| change.deadline(deadline))
    }

    /// As [`Change::session`].
    pub fn session(self, session: &Session) -> Self {
        self.with(|change| change.session(session))
    }

    /// As [`Change::op_id`].
    pub fn op_id(self, op: OpId) -> Self {
        self.with(|change| change.op_id(op))
    }

    /// As [`Change::in_full`].
    pub fn in_full(self) -> Call<InFull<T>> {
        self.with(Change::in_full)
    }
}

impl Call<AskFate> {
    /// As [`AskFate::settle`].
    pub fn settle(self) -> Self {
        self.with(AskFate::settle)
    }

    /// As [`AskFate::deadline`].
    pub fn deadline(self, deadline: Duration) -> Self {
        self.with(|ask| ask.deadline(deadline))
    }
}

/// [`crate::JsonBucket`] without async.
#[derive(Debug)]
pub struct JsonBucket<T> {
    bucket: crate::JsonBucket<T>,
    runner: Runner,
}

impl<T: Serialize + DeserializeOwned> JsonBucket<T> {
    /// As [`crate::JsonBucket::get`].
    ///
    /// # Errors
    /// As there.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<T>, TypedError> {
        self.runner.run(self.bucket.get(key))
    }

    /// As [`crate::JsonBucket::read`].
    ///
    /// # Errors
    /// As there.
    pub fn read(&self, key: impl AsRef<[u8]>) -> Result<TypedRead<T>, TypedError> {
        self.runner.run(self.bucket.read(key))
    }

    /// As [`crate::JsonBucket::put`].
    ///
    /// # Errors
    /// As there.
    pub fn put(&self, key: impl AsRef<[u8]>, value: &T, context: Option<&Context>) -> Result<Written, TypedError> {
        self.runner.run(self.bucket.put(key, value, context))
    }

    /// As [`crate::JsonBucket::cas`].
    ///
    /// # Errors
    /// As there.
    pub fn cas(&self, key: impl AsRef<[u8]>, expect: impl Into<Expect>, value: Option<&T>) -> Result<Cas<T>, TypedError> {
        self.runner.run(self.bucket.cas(key, expect, value))
    }

    /// As [`crate::JsonBucket::expect_value`].
    ///
    /// # Errors
    /// As there.
    pub fn expect_value(&self, value: &T) -> Result<Expect, TypedError> {
        self.bucket.expect_value(value)
    }

    /// As [`crate::JsonBucket::update`].
    ///
    /// # Errors
    /// As there.
    pub fn update(&self, key: impl AsRef<[u8]>, change: impl FnMut(Option<T>) -> T) -> Result<Updated<T>, TypedError> {
        self.runner.run(self.bucket.update(key, change))
    }
}

/// Keys or reads, one by one.
#[derive(Debug)]
#[must_use = "nothing happens until it is asked for items"]
pub struct Iter<T> {
    items: Items<T>,
    runner: Runner,
}

impl<T> Iterator for Iter<T> {
    type Item = Result<T, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.runner.run(self.items.next())
    }
}
