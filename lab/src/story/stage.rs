//! Where stories are played: a cluster of three processes, its faults, and somebody who looks at each copy.
//!
//! **Promise.** What a run finds was made by the run alone: it has a key of its own, and it begins when nothing is broken and all see
//! each other. Faults are on the record from the moment at which all nodes had been told of them.
//!
//! - *Upon silence*: nodes of a stage do not count each other as down for it, unless the story asks for that, so that what is cut or slow is
//!   waited for. Chance is off: no read repairs what it does not need. A further replica is asked soon.
//! - *Upon watching*: each replica is asked at `one`, which it answers from its own copy, every few milliseconds.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quorate_client::{Bucket, Client, Level, NodeId};
use quorate_protocol::record::WriteMode;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::StoryError;
use super::actor::{Actor, Recorder, text};
use super::record::{Claim, Copies, Fault, Run};
use crate::cluster::{BucketSpec, Cluster, ClusterSpec};

pub(super) const N1: NodeId = NodeId(1);
pub(super) const N2: NodeId = NodeId(2);
pub(super) const N3: NodeId = NodeId(3);
const ALL: [NodeId; 3] = [N1, N2, N3];

/// The bucket for locks, which takes linearizable writes only.
pub(super) const LOCKS: &str = "locks";

/// Longest that a client of a story waits for an answer.
const DEADLINE: Duration = Duration::from_secs(8);
/// Longest wait for something that will surely be.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between the preparations and the first operation.
const CURTAIN: Duration = Duration::from_millis(40);
/// Between two looks at a copy.
const LOOK_EVERY: Duration = Duration::from_millis(4);

/// How soon a node that is silent counts as down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notice {
    /// Not while a story lasts.
    Never,
    /// After less than a second.
    Soon,
}

/// A cluster to play on.
#[derive(Debug)]
pub(super) struct Stage {
    cluster: Cluster,
    client: Client,
    recorder: Recorder,
    faults: Vec<Fault>,
    watch: Option<Watch>,
    runs: u32,
}

impl Stage {
    pub(super) async fn build(binary: &Path, notice: Notice) -> Result<Self, StoryError> {
        let (interval, silence) = match notice {
            Notice::Never => ("500ms", "5m"),
            Notice::Soon => ("100ms", "400ms"),
        };
        let settings = [
            format!("peer.heartbeat_interval={interval}"),
            format!("peer.heartbeat_timeout={silence}"),
            "coordination.background_repair_chance=0".to_owned(),
            "coordination.hedge_after=20ms".to_owned(),
            "coordination.hint_after=4s".to_owned(),
        ];
        let locks = BucketSpec { write_mode: Some(WriteMode::LinOnly), ..BucketSpec::new(LOCKS) };
        let spec = ClusterSpec { enable_faults: true, settings: settings.to_vec(), buckets: vec![locks], ..ClusterSpec::new(binary, 3) };
        let cluster = Cluster::start(spec).await?;
        let client = Client::builder().seeds(&cluster.seeds()).deadline(DEADLINE).connect().await?;
        Ok(Self { cluster, client, recorder: Recorder::start(), faults: Vec::new(), watch: None, runs: 0 })
    }

    /// Ends all processes.
    pub(super) async fn strike(mut self) -> Result<(), StoryError> {
        self.watch = None;
        self.cluster.shutdown().await?;
        Ok(())
    }

    /// A new record, and the name of a key that nobody has used. Everything is whole when this returns.
    pub(super) async fn set(&mut self, key: &str) -> Result<String, StoryError> {
        self.watch = None;
        self.cluster.heal().await?;
        for node in self.cluster.nodes().map(|node| (node.id(), node.life())).collect::<Vec<_>>() {
            if node.1 == crate::cluster::Life::Dead {
                self.cluster.restart(node.0).await?;
            }
        }
        self.cluster.wait_until_connected().await?;
        self.recorder = Recorder::start();
        self.faults.clear();
        self.runs += 1;
        Ok(if self.runs == 1 { key.to_owned() } else { format!("{key}:{}", self.runs) })
    }

    pub(super) fn bucket(&self) -> Bucket {
        self.client.default_bucket()
    }

    pub(super) fn locks(&self) -> Bucket {
        self.client.bucket(LOCKS)
    }

    /// A client that asks one node alone.
    pub(super) fn client(&self, name: &str, key: &str, via: NodeId) -> Actor {
        Actor::enter(&self.recorder, name, self.bucket(), key, Some(via))
    }

    /// The moment at which the preparations are over. A drawing begins there, so a little is waited for what was before.
    pub(super) async fn curtain(&self) -> Duration {
        let begin = self.recorder.now();
        sleep(CURTAIN).await;
        begin
    }

    /// Loses all messages of one direction.
    pub(super) async fn cut(&mut self, from: NodeId, to: NodeId) -> Result<(), StoryError> {
        self.cluster.one_way(from, to).await?;
        self.began("one-way", format!("{from}>{to}"));
        Ok(())
    }

    /// Delays all that a node says to other nodes.
    pub(super) async fn slow(&mut self, node: NodeId, delay: Duration) -> Result<(), StoryError> {
        self.cluster.slow(node, delay).await?;
        self.ended(|fault| fault.kind == "slow" && fault.target.starts_with(&format!("{node} ")));
        if !delay.is_zero() {
            self.began("slow", format!("{node} +{}ms", delay.as_millis()));
        }
        Ok(())
    }

    /// Cuts a node off from the others.
    pub(super) async fn isolate(&mut self, node: NodeId) -> Result<(), StoryError> {
        let others: BTreeSet<NodeId> = ALL.into_iter().filter(|other| *other != node).collect();
        let names: Vec<String> = others.iter().map(NodeId::to_string).collect();
        self.cluster.partition(&[BTreeSet::from([node]), others]).await?;
        self.began("partition", format!("{node}|{}", names.join(",")));
        Ok(())
    }

    /// Kills a node.
    pub(super) fn kill(&mut self, node: NodeId) -> Result<(), StoryError> {
        self.cluster.kill(node)?;
        self.began("kill", node.to_string());
        Ok(())
    }

    /// Mends what is broken; the dead stay dead.
    pub(super) async fn heal(&mut self) -> Result<(), StoryError> {
        self.cluster.heal().await?;
        self.ended(|fault| fault.kind != "kill");
        Ok(())
    }

    /// Mends, and waits until all see each other again.
    pub(super) async fn reunite(&mut self) -> Result<(), StoryError> {
        self.heal().await?;
        self.cluster.wait_until_connected().await?;
        Ok(())
    }

    /// Waits until every node knows who is out of its reach.
    pub(super) async fn until_noticed(&self) -> Result<(), StoryError> {
        let since = Instant::now();
        loop {
            let mut expected = true;
            for node in ALL {
                let status = self.cluster.status(node).await?;
                expected &= status.peers.iter().all(|peer| peer.up == self.cluster.faults().connects(node, peer.node));
            }
            if expected {
                return Ok(());
            }
            if since.elapsed() > PATIENCE {
                return Err(StoryError::NotNoticed { within: PATIENCE });
            }
            sleep(LOOK_EVERY * 4).await;
        }
    }

    fn began(&mut self, kind: &'static str, target: String) {
        self.faults.push(Fault { kind, target, begin: self.recorder.now(), end: None });
    }

    fn ended(&mut self, which: impl Fn(&Fault) -> bool) {
        let now = self.recorder.now();
        self.faults.iter_mut().filter(|fault| fault.end.is_none() && which(fault)).for_each(|fault| fault.end = Some(now));
    }

    /// Looks at every replica's copy of a key from now on.
    pub(super) fn watch(&mut self, key: &str) {
        self.watch = Some(Watch::start(&self.bucket(), key, &self.recorder));
    }

    /// Waits until a replica was seen to hold exactly this value; false if that took too long.
    pub(super) async fn until_holds(&self, nodes: &[NodeId], value: &str, within: Duration) -> bool {
        let Some(watch) = &self.watch else { return false };
        let wanted = [value.to_owned()];
        timeout(within, async {
            while !nodes.iter().all(|node| watch.last(*node).is_some_and(|held| held == wanted)) {
                sleep(LOOK_EVERY).await;
            }
        })
        .await
        .is_ok()
    }

    /// The same for all replicas, which must come to hold it.
    pub(super) async fn until_all_hold(&self, value: &str) -> Result<(), StoryError> {
        if self.until_holds(&ALL, value, PATIENCE).await { Ok(()) } else { Err(StoryError::NotPrepared { value: value.to_owned() }) }
    }

    /// Ends the run: what was recorded, and what the story says of it.
    pub(super) fn finish(&mut self, level: Level, begin: Duration, claims: Vec<Claim>) -> Run {
        let copies = self.watch.take().map(|watch| watch.copies()).unwrap_or_default();
        let end = self.recorder.now();
        let recorded = std::mem::take(&mut *self.recorder.recorded());
        Run {
            level,
            clients: recorded.clients,
            operations: recorded.operations,
            pauses: recorded.pauses,
            faults: std::mem::take(&mut self.faults),
            copies,
            begin,
            end,
            claims,
        }
    }
}

/// Somebody at every replica who looks at its copy.
#[derive(Debug)]
struct Watch {
    seen: Arc<Mutex<Vec<Copies>>>,
    /// Ends with the watch.
    _looking: JoinSet<()>,
}

impl Watch {
    fn start(bucket: &Bucket, key: &str, recorder: &Recorder) -> Self {
        let seen = Arc::new(Mutex::new(ALL.map(|node| Copies { node, seen: Vec::new() }).to_vec()));
        let mut looking = JoinSet::new();
        for (index, node) in ALL.into_iter().enumerate() {
            let (seen, recorder, bucket, key) = (Arc::clone(&seen), recorder.clone(), bucket.clone().via(node), key.to_owned());
            looking.spawn(async move {
                loop {
                    if let Ok(read) = bucket.get(&key).level(Level::One).deadline(Duration::from_millis(500)).await {
                        let values: Vec<String> = read.values().map(|value| text(value)).collect();
                        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                        if seen[index].last() != Some(&values) {
                            let now = recorder.now();
                            seen[index].seen.push((now, values));
                        }
                    }
                    sleep(LOOK_EVERY).await;
                }
            });
        }
        Self { seen, _looking: looking }
    }

    fn copies(self) -> Vec<Copies> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn last(&self, node: NodeId) -> Option<Vec<String>> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter().find(|copies| copies.node == node)?.last().map(<[String]>::to_vec)
    }
}
