//! A cluster of fake nodes on loopback: real sockets, hello and codec, but one store for all, and answers by script.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt;
use quorate_client::{BucketInfo, Client, ClientBuilder, Level, NodeId, OpId, Outcome, Receipt, Sibling, Status, Topology};
use quorate_protocol::chain::once::{Recorded, Verdict};
use quorate_protocol::chain::state::{Authorship, Effect};
use quorate_protocol::chain::{Ballot, ChainState, Change, Token};
use quorate_protocol::hlc::Hlc;
use quorate_protocol::outcome::{Failure, Reason};
use quorate_protocol::record::WriteMode;
use quorate_protocol::sealed::{ContextSeal, InvalidContext};
use quorate_protocol::{Actor, Body, BootId, BucketId, Context, Dot, KeyEpoch, SealedContext, Siblings, Version};
use quorate_ring::{Member, Partitions, RingEpoch, RingSpec};
use quorate_rpc::hello::{self, HelloRefusal, HelloReply, Welcome};
use quorate_rpc::kv::{
    ChangeReply, ChangeRequest, Changed, KeyValue, ListRequest, NotAppliedWhy, OutcomeReply, OutcomeRequest, ReadReply, ReadRequest,
    UnknownWhy, WriteContext, WriteReply, WriteRequest,
};
use quorate_rpc::peer::KeysPage;
use quorate_rpc::transport;
use tarpc::context;
use tarpc::server::{BaseChannel, Channel};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;

pub(crate) const CLUSTER: &str = "fake";
/// A bucket whose keys have one home replica each.
pub(crate) const SINGLE: &str = "single";
/// A bucket that takes linearizable writes only.
pub(crate) const LIN_ONLY: &str = "lin-only";

/// What becomes of the next request that arrives anywhere.
#[derive(Debug)]
pub(crate) enum Script {
    /// It is done as it should be.
    Do,
    /// It fails.
    Fail(Failure),
    /// A change is answered so, whatever is stored.
    Answer(Changed),
    /// Its connection breaks, before anything is done.
    Break,
    /// It is never answered.
    Ignore,
    /// It is decided later.
    Wait(oneshot::Receiver<Script>),
}

/// A request as it arrived.
#[derive(Debug)]
pub(crate) enum Seen {
    Read(NodeId, ReadRequest),
    Write(NodeId, WriteRequest),
    Change(NodeId, ChangeRequest),
    Outcome,
    List,
    Topology(NodeId),
}

struct Shared {
    topology: Mutex<Topology>,
    scripts: Mutex<VecDeque<Script>>,
    store: Mutex<Store>,
    seen: mpsc::UnboundedSender<Seen>,
    started: Instant,
    /// How long before a welcome leaves its node has looked at its clock.
    welcome_late_micros: AtomicU64,
}

impl Shared {
    /// What the nodes' clock shows: by an hour more than any that began with this process.
    fn tick(&self) -> u64 {
        3_600_000_000 + u64::try_from(self.started.elapsed().as_micros()).expect("a short test")
    }
}

/// All nodes of a cluster and what they saw.
pub(crate) struct Cluster {
    shared: Arc<Shared>,
    nodes: Vec<Node>,
    seen: mpsc::UnboundedReceiver<Seen>,
}

struct Node {
    id: NodeId,
    address: String,
    connections: Arc<Notify>,
    accepting: Option<JoinHandle<()>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no test panics with a lock held")
}

impl Cluster {
    pub(crate) async fn start(count: u64) -> Self {
        let (sender, seen) = mpsc::unbounded_channel();
        let members = (1..=count).map(|id| Member::new(NodeId(id))).collect();
        let partitions = Partitions::new(8).expect("a power of two");
        let bucket = |id, name: &str, replicas| BucketInfo {
            id: BucketId(id),
            name: name.to_owned(),
            replicas,
            level: Level::Quorum,
            siblings_max: 16,
            blind_writes: true,
            write_mode: if name == LIN_ONLY { WriteMode::LinOnly } else { WriteMode::Mixed },
        };
        let topology = Topology {
            cluster: CLUSTER.to_owned(),
            ring: RingSpec { epoch: RingEpoch(1), partitions, members },
            addresses: Vec::new(),
            buckets: vec![bucket(0, "default", u8::try_from(count.min(3)).expect("three")), bucket(1, SINGLE, 1), bucket(2, LIN_ONLY, 1)],
        };
        let shared = Shared {
            topology: Mutex::new(topology),
            scripts: Mutex::default(),
            store: Mutex::new(Store::new()),
            seen: sender,
            started: Instant::now(),
            welcome_late_micros: AtomicU64::new(0),
        };
        let mut cluster = Self { shared: Arc::new(shared), nodes: Vec::new(), seen };
        for id in (1..=count).map(NodeId) {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            let address = listener.local_addr().expect("bound").to_string();
            lock(&cluster.shared.topology).addresses.push((id, address.clone()));
            let mut node = Node { id, address, connections: Arc::default(), accepting: None };
            node.accept(listener, &cluster.shared);
            cluster.nodes.push(node);
        }
        cluster
    }

    /// A client that knows the cluster and is connected to the first node only.
    pub(crate) async fn client(&mut self) -> Client {
        self.client_with(|builder| builder).await
    }

    pub(crate) async fn client_with(&mut self, settings: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Client {
        let client = settings(Client::builder().seeds(&self.nodes[0].address)).connect().await.expect("the first node answers");
        assert!(matches!(self.next().await, Seen::Topology(NodeId(1))));
        client
    }

    /// What the nodes' clock shows.
    pub(crate) fn tick(&self) -> u64 {
        self.shared.tick()
    }

    /// From now on the nodes look at their clock so long before they welcome a client.
    pub(crate) fn welcome_late(&self, micros: u64) {
        self.shared.welcome_late_micros.store(micros, Ordering::Relaxed);
    }

    pub(crate) fn addresses(&self) -> String {
        self.nodes.iter().map(|node| node.address.as_str()).collect::<Vec<_>>().join(",")
    }

    pub(crate) fn script(&self, scripts: impl IntoIterator<Item = Script>) {
        lock(&self.shared.scripts).extend(scripts);
    }

    /// The next request that arrives anywhere.
    pub(crate) async fn next(&mut self) -> Seen {
        let waited = tokio::time::timeout(Duration::from_secs(10), self.seen.recv()).await;
        waited.expect("a request arrives within ten seconds").expect("the cluster lives")
    }

    /// The next write that arrives anywhere; other requests are passed over.
    pub(crate) async fn next_write(&mut self) -> (NodeId, WriteRequest) {
        loop {
            if let Seen::Write(node, request) = self.next().await {
                return (node, request);
            }
        }
    }

    pub(crate) async fn next_read(&mut self) -> (NodeId, ReadRequest) {
        loop {
            if let Seen::Read(node, request) = self.next().await {
                return (node, request);
            }
        }
    }

    pub(crate) async fn next_change(&mut self) -> (NodeId, ChangeRequest) {
        loop {
            if let Seen::Change(node, request) = self.next().await {
                return (node, request);
            }
        }
    }

    /// Requests that have arrived and were not looked at.
    pub(crate) fn rest(&mut self) -> Vec<Seen> {
        std::iter::from_fn(|| self.seen.try_recv().ok()).collect()
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Topology)) {
        change(&mut lock(&self.shared.topology));
    }

    /// Stops a node: its connections break, and nothing listens at its address.
    pub(crate) async fn down(&mut self, id: NodeId) {
        let node = self.node(id);
        let accepting = node.accepting.take().expect("up");
        accepting.abort();
        let _ = accepting.await;
        node.connections.notify_waiters();
    }

    pub(crate) async fn up(&mut self, id: NodeId) {
        let shared = Arc::clone(&self.shared);
        let node = self.node(id);
        let listener = TcpListener::bind(&node.address).await.expect("the port is still free");
        node.accept(listener, &shared);
    }

    /// Stops a node and lets its address accept connections without ever saying anything.
    pub(crate) async fn deafen(&mut self, id: NodeId) {
        self.down(id).await;
        let node = self.node(id);
        let listener = TcpListener::bind(&node.address).await.expect("the port is still free");
        node.accepting = Some(tokio::spawn(async move {
            let mut held = Vec::new();
            while let Ok(accepted) = listener.accept().await {
                held.push(accepted);
            }
        }));
    }

    fn node(&mut self, id: NodeId) -> &mut Node {
        self.nodes.iter_mut().find(|node| node.id == id).expect("a member")
    }
}

impl Node {
    fn accept(&mut self, listener: TcpListener, shared: &Arc<Shared>) {
        let (node, shared, connections) = (self.id, Arc::clone(shared), Arc::clone(&self.connections));
        self.accepting = Some(tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = Server { node, shared: Arc::clone(&shared), broken: Arc::new(Notify::new()) };
                let down = Arc::clone(&connections).notified_owned();
                tokio::spawn(async move {
                    let broken = Arc::clone(&server.broken);
                    tokio::select! {
                        () = serve(stream, server) => {}
                        () = broken.notified() => {}
                        () = down => {}
                    }
                });
            }
        }));
    }
}

async fn serve(mut stream: TcpStream, server: Server) {
    transport::prepare(&stream).expect("open");
    let Ok(hello) = hello::receive_hello(&mut stream).await else { return };
    let cluster = lock(&server.shared.topology).cluster.clone();
    if hello.cluster.is_some_and(|meant| meant != cluster) {
        let refused = HelloReply::Refused(HelloRefusal::OtherCluster { theirs: cluster });
        let _ = hello::answer(&mut stream, &refused).await;
        return;
    }
    let tick = server.shared.tick() - server.shared.welcome_late_micros.load(Ordering::Relaxed);
    let welcome = Welcome { cluster, node: server.node, identity: None, proof: None, tick, vouches: false };
    if hello::answer(&mut stream, &HelloReply::Welcome(welcome)).await.is_ok() {
        let channel = BaseChannel::with_defaults(transport::framed(stream));
        channel.execute(server.serve()).for_each_concurrent(None, |call| call).await;
    }
}

#[derive(Clone)]
struct Server {
    node: NodeId,
    shared: Arc<Shared>,
    broken: Arc<Notify>,
}

impl Server {
    /// Takes the next line of the script; returns when the request is to be done.
    async fn play(&self, seen: Seen) -> Result<Option<Changed>, Failure> {
        let mut script = lock(&self.shared.scripts).pop_front().unwrap_or(Script::Do);
        self.shared.seen.send(seen).expect("the test listens");
        loop {
            match script {
                Script::Do => return Ok(None),
                Script::Answer(changed) => return Ok(Some(changed)),
                Script::Fail(failure) => return Err(failure),
                Script::Wait(decision) => script = decision.await.unwrap_or(Script::Ignore),
                Script::Break => {
                    self.broken.notify_one();
                    std::future::pending::<()>().await;
                    unreachable!("the connection is gone");
                }
                Script::Ignore => {
                    std::future::pending::<()>().await;
                    unreachable!("never answered");
                }
            }
        }
    }

    fn receipt(&self, level: Option<Level>) -> Receipt {
        let epoch = lock(&self.shared.topology).ring.epoch;
        let level = level.unwrap_or(Level::Quorum);
        Receipt {
            level,
            coordinator: self.node,
            epoch,
            needed: 1,
            replicas: Vec::new(),
            versions: 1,
            micros: 1,
            hint_only: false,
            rounds: u16::from(level == Level::Linearizable),
        }
    }
}

impl KeyValue for Server {
    async fn read(self, _: context::Context, request: ReadRequest) -> Result<ReadReply, Failure> {
        self.play(Seen::Read(self.node, request.clone())).await?;
        let reply = lock(&self.shared.store).read(&request, self.receipt(request.level));
        Ok(reply)
    }

    async fn write(self, _: context::Context, request: WriteRequest) -> Result<WriteReply, Failure> {
        self.play(Seen::Write(self.node, request.clone())).await?;
        if request.level == Some(Level::Linearizable) {
            let change = match &request.body {
                Body::Value(value) => Change::Put(value.clone()),
                Body::Tombstone => Change::Delete,
            };
            let done = lock(&self.shared.store).change(request.bucket, &request.key, &change, request.op)?;
            return Ok(WriteReply {
                dot: None,
                context: done.context,
                session: None,
                token: Some(done.token),
                receipt: self.receipt(request.level),
            });
        }
        let (dot, context, session) = lock(&self.shared.store).write(self.node, &request)?;
        Ok(WriteReply { dot: Some(dot), context, session, token: None, receipt: self.receipt(request.level) })
    }

    async fn change(self, _: context::Context, request: ChangeRequest) -> Result<ChangeReply, Failure> {
        let scripted = self.play(Seen::Change(self.node, request.clone())).await?;
        let mut store = lock(&self.shared.store);
        let receipt = self.receipt(Some(Level::Linearizable));
        if let Some(changed) = scripted {
            let context = store.seal.seal(request.bucket, &request.key, &Context::empty());
            return Ok(ChangeReply { changed, token: Default::default(), context, session: None, receipt });
        }
        let done = store.change(request.bucket, &request.key, &request.change, request.op)?;
        Ok(ChangeReply { changed: done.changed, token: done.token, context: done.context, session: None, receipt })
    }

    async fn outcome(self, _: context::Context, request: OutcomeRequest) -> Result<OutcomeReply, Failure> {
        self.play(Seen::Outcome).await?;
        Ok(lock(&self.shared.store).outcome(&request))
    }

    async fn list(self, _: context::Context, request: ListRequest) -> Result<KeysPage, Failure> {
        self.play(Seen::List).await?;
        let partitions = lock(&self.shared.topology).ring.partitions;
        let store = lock(&self.shared.store);
        let above = |key: &Bytes| request.after.as_ref().is_none_or(|after| key > after);
        let mut keys: Vec<Bytes> = store
            .records
            .keys()
            .filter(|(bucket, key)| *bucket == request.bucket && partitions.of_key(key) == request.partition && above(key))
            .map(|(_, key)| key.clone())
            .collect();
        let more = keys.len() > request.count_max as usize;
        keys.truncate(request.count_max as usize);
        Ok(KeysPage { keys, more })
    }

    async fn topology(self, _: context::Context) -> Topology {
        self.shared.seen.send(Seen::Topology(self.node)).expect("the test listens");
        lock(&self.shared.topology).clone()
    }

    async fn status(self, _: context::Context) -> Status {
        Status {
            node: self.node,
            version: "fake".to_owned(),
            boot: 1,
            uptime_seconds: 1,
            writable: true,
            faults_enabled: false,
            partitions: 1,
            records: lock(&self.shared.store).records.len() as u64,
            disk_bytes: 0,
            requests_in_flight: 0,
            peers: Vec::new(),
            refusal: None,
            bug: None,
        }
    }

    async fn metrics(self, _: context::Context) -> String {
        format!("fake_node {}\n", self.node.0)
    }

    async fn tick(self, _: context::Context) -> u64 {
        self.shared.tick()
    }
}

/// One copy of everything, with the real sibling sets, chain states and seals. The eventual and the linearizable versions of a key know
/// nothing of each other here.
struct Store {
    seal: ContextSeal,
    records: BTreeMap<(BucketId, Bytes), Siblings>,
    chains: BTreeMap<(BucketId, Bytes), ChainState>,
    dots: u64,
}

/// What a change came to.
struct Done {
    changed: Changed,
    token: Token,
    context: SealedContext,
}

impl Store {
    fn new() -> Self {
        Self { seal: ContextSeal::new(CLUSTER, None), records: BTreeMap::new(), chains: BTreeMap::new(), dots: 0 }
    }

    fn read(&self, request: &ReadRequest, receipt: Receipt) -> ReadReply {
        let place = (request.bucket, request.key.clone());
        let chain = (request.level == Some(Level::Linearizable)).then(|| self.chains.get(&place).cloned().unwrap_or_default());
        let siblings = match &chain {
            Some(chain) => chain.siblings.clone(),
            None => self.records.get(&place).cloned().unwrap_or_default(),
        };
        let shown = siblings.visible().into_iter().map(|(dot, version)| Sibling {
            value: version.value().expect("visible").clone(),
            dot,
            hlc: version.hlc,
            op: version.op,
        });
        let context = self.seal.seal(request.bucket, &request.key, siblings.context());
        ReadReply { siblings: shown.collect(), context, token: chain.map(|chain| chain.token()), receipt }
    }

    fn change(&mut self, bucket: BucketId, key: &Bytes, change: &Change, op: OpId) -> Result<Done, Failure> {
        self.dots += 1;
        let author = Authorship {
            ballot: Ballot { epoch: RingEpoch(1), counter: self.dots, node: NodeId(1), boot: BootId(1) },
            hlc: Hlc(self.dots),
            op: Some(op),
        };
        let state = self.chains.entry((bucket, key.clone())).or_default();
        let recorded = match state.once.look(&op) {
            Verdict::Known(recorded) => recorded,
            Verdict::Superseded => return Err(Failure { outcome: Outcome::Unknown, ..Failure::refused(Reason::Superseded) }),
            Verdict::TooOld => return Err(Failure { outcome: Outcome::Unknown, ..Failure::refused(Reason::OpIdTooOld) }),
            Verdict::New => {
                let (next, effect) = state.begun(author.ballot).apply(change, author);
                let (token, current) = (next.token(), next.values().cloned().collect());
                let (recorded, told) = match effect {
                    Effect::Applied(result) => (Recorded::Applied { token, result }, None),
                    Effect::CasFailed => {
                        (Recorded::CasFailed { token }, Some(Changed::Conflict { current: Some(current), recorded: true }))
                    }
                    Effect::Inapplicable(why) => (Recorded::Inapplicable(why), None),
                };
                *state = next.record(&op, recorded.clone(), author).expect("few clients");
                if let Some(changed) = told {
                    let context = self.seal.seal(bucket, key, state.siblings.context());
                    return Ok(Done { changed, token, context });
                }
                recorded
            }
        };
        let context = self.seal.seal(bucket, key, state.siblings.context());
        match recorded {
            Recorded::Applied { token, result } => Ok(Done { changed: Changed::Applied { result }, token, context }),
            Recorded::CasFailed { token } => Ok(Done { changed: Changed::Conflict { current: None, recorded: true }, token, context }),
            Recorded::Inapplicable(why) => Err(Failure::refused(Reason::Inapplicable { why })),
            Recorded::Fenced => Err(Failure::refused(Reason::Fenced)),
        }
    }

    fn outcome(&mut self, request: &OutcomeRequest) -> OutcomeReply {
        let OutcomeRequest { bucket, key, op, settle, .. } = request;
        let state = self.chains.entry((*bucket, key.clone())).or_default();
        match state.once.look(op) {
            Verdict::Known(Recorded::Applied { token, result }) => OutcomeReply::Applied { token: Some(token), result },
            Verdict::Known(Recorded::CasFailed { .. }) => OutcomeReply::NotApplied(NotAppliedWhy::Conflict),
            Verdict::Known(Recorded::Inapplicable(why)) => OutcomeReply::NotApplied(NotAppliedWhy::Inapplicable(why)),
            Verdict::Known(Recorded::Fenced) => OutcomeReply::NotApplied(NotAppliedWhy::Settled),
            Verdict::Superseded => OutcomeReply::Unknown(UnknownWhy::Superseded),
            Verdict::TooOld => OutcomeReply::Unknown(UnknownWhy::Forgotten),
            Verdict::New if *settle => {
                state.once.record(op, Recorded::Fenced, 1).expect("few clients");
                OutcomeReply::NotApplied(NotAppliedWhy::Settled)
            }
            Verdict::New => OutcomeReply::Unknown(UnknownWhy::NotContained),
        }
    }

    fn write(&mut self, node: NodeId, request: &WriteRequest) -> Result<(Dot, SealedContext, Option<SealedContext>), Failure> {
        let (bucket, key) = (request.bucket, &request.key);
        let open = |sealed| self.seal.open(bucket, key, sealed).map_err(|InvalidContext| Failure::refused(Reason::InvalidContext));
        let session = request.session.as_ref().map(open).transpose()?;
        let record = self.records.entry((bucket, key.clone())).or_default();
        let context = match &request.context {
            WriteContext::Seen(sealed) => {
                self.seal.open(bucket, key, sealed).map_err(|InvalidContext| Failure::refused(Reason::InvalidContext))?
            }
            WriteContext::Blind => record.context().clone(),
            WriteContext::Concurrent => Context::empty(),
        };
        self.dots += 1;
        let dot = Dot { actor: Actor::Node { node, epoch: KeyEpoch(self.dots) }, n: 1 };
        let version = Version { body: request.body.clone(), hlc: Hlc(self.dots), op: Some(request.op) };
        record.merge(&Siblings::delta(context.clone(), dot, version));
        let seal = |context: &Context| self.seal.seal(bucket, key, context);
        Ok((dot, seal(&context.with(dot)), session.map(|seen| seal(&seen.with(dot)))))
    }
}
