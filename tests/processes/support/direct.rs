//! One node, spoken to directly: it coordinates whatever is asked of it, and nobody tries again.
//!
//! The client library goes where it gets an answer, which hides what a single node can and cannot do.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use quorate_protocol::outcome::Failure;
use quorate_protocol::{Attempt, Body, BucketId, ClientId, Level, OpId, SealedContext};
use quorate_rpc::clock::FarClock;
use quorate_rpc::hello::{Class, Hello, HelloError, introduce};
use quorate_rpc::kv::{KeyValueClient, ReadReply, ReadRequest, WriteContext, WriteReply, WriteRequest};
use quorate_rpc::tarpc::{client, context};
use quorate_rpc::transport;
use tokio::net::TcpStream;

use super::metrics::Metrics;

/// The deadline of requests that name none.
const DEADLINE: Duration = Duration::from_secs(5);
/// What an answer may take on top of its deadline, by a busy machine.
const SLACK: Duration = Duration::from_secs(10);

/// Tells the clients of this process apart.
static CLIENTS: AtomicU64 = AtomicU64::new(1);

/// A connection to one node.
pub(crate) struct Direct {
    calls: KeyValueClient,
    client: ClientId,
    writes: AtomicU64,
    deadline: Duration,
    clock: FarClock,
}

/// Connects and introduces itself.
pub(crate) async fn greeted(address: &str, hello: &Hello) -> Result<TcpStream, HelloError> {
    welcomed(address, hello).await.map(|(stream, _)| stream)
}

async fn welcomed(address: &str, hello: &Hello) -> Result<(TcpStream, FarClock), HelloError> {
    let mut stream = TcpStream::connect(address).await?;
    transport::prepare(&stream)?;
    let welcome = introduce(&mut stream, hello).await?;
    Ok((stream, FarClock::new(welcome.tick, Instant::now().into())))
}

/// The introduction of a client.
pub(crate) fn client_hello(cluster: &str) -> Hello {
    Hello { cluster: Some(cluster.to_owned()), class: Class::Client, from: None, topology: 0 }
}

impl Direct {
    pub(crate) async fn connect(address: &str, cluster: &str) -> Self {
        let welcomed = welcomed(address, &client_hello(cluster)).await;
        let (stream, clock) = welcomed.unwrap_or_else(|error| panic!("{address} did not welcome: {error}"));
        let calls = KeyValueClient::new(client::Config::default(), transport::framed(stream)).spawn();
        let client = ClientId(u128::from(CLIENTS.fetch_add(1, Ordering::Relaxed)));
        Self { calls, client, writes: AtomicU64::new(0), deadline: DEADLINE, clock }
    }

    /// The same connection, with another deadline.
    pub(crate) fn within(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    pub(crate) async fn get(&self, key: &str, level: Level) -> Result<ReadReply, Failure> {
        let key = key.as_bytes().to_vec().into();
        let request = ReadRequest { bucket: BucketId(0), key, level: Some(level), seen: None, micros_left: self.micros() };
        self.calls.read(self.context(), request).await.expect("the node answers")
    }

    /// The values that a read shows, in order.
    pub(crate) async fn values(&self, key: &str, level: Level) -> Result<Vec<String>, Failure> {
        Ok(values(&self.get(key, level).await?))
    }

    pub(crate) async fn put(&self, key: &str, value: &str, level: Level) -> Result<WriteReply, Failure> {
        self.write(key, value, Some(level), WriteContext::Blind).await
    }

    /// Replaces what an earlier answer has seen.
    pub(crate) async fn replace(&self, key: &str, value: &str, level: Level, seen: &SealedContext) -> Result<WriteReply, Failure> {
        self.write(key, value, Some(level), WriteContext::Seen(seen.clone())).await
    }

    pub(crate) async fn write(
        &self,
        key: impl AsRef<[u8]>,
        value: impl Into<Vec<u8>>,
        level: Option<Level>,
        context: WriteContext,
    ) -> Result<WriteReply, Failure> {
        let request = self.request(key, value, level, context);
        self.send(request).await
    }

    /// A first attempt under a new name.
    pub(crate) fn request(
        &self,
        key: impl AsRef<[u8]>,
        value: impl Into<Vec<u8>>,
        level: impl Into<Option<Level>>,
        context: WriteContext,
    ) -> WriteRequest {
        let seq = self.writes.fetch_add(1, Ordering::Relaxed) + 1;
        WriteRequest {
            bucket: BucketId(0),
            key: key.as_ref().to_vec().into(),
            body: Body::Value(value.into().into()),
            context,
            level: level.into(),
            op: OpId { client: self.client, lane: 0, seq, issued_ms: seq },
            attempt: Attempt(0),
            session: None,
            micros_left: self.micros(),
            begin_by: None,
        }
    }

    /// Sends a write as it is.
    pub(crate) async fn send(&self, request: WriteRequest) -> Result<WriteReply, Failure> {
        self.calls.write(self.context(), request).await.expect("the node answers")
    }

    /// What the node's clock shows now at least.
    pub(crate) fn tick(&self) -> u64 {
        self.clock.at_least(Instant::now().into())
    }

    pub(crate) async fn metrics(&self) -> Metrics {
        Metrics::read(&self.calls.metrics(self.context()).await.expect("the node answers"))
    }

    fn micros(&self) -> u64 {
        u64::try_from(self.deadline.as_micros()).expect("a short deadline")
    }

    fn context(&self) -> context::Context {
        let mut context = context::current();
        context.deadline = Instant::now() + self.deadline + SLACK;
        context
    }
}

/// The values of a reply, in order.
pub(crate) fn values(reply: &ReadReply) -> Vec<String> {
    let mut values: Vec<String> = reply.siblings.iter().map(|sibling| String::from_utf8_lossy(&sibling.value).into_owned()).collect();
    values.sort();
    values
}
