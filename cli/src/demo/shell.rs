//! Doing what the prompt's commands ask for: requests go through the client, everything else to the processes.

use std::collections::BTreeSet;
use std::fmt;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::join_all;
use quorate_client::{Bucket, Cas, Change, Changed, Client, Error, Expect, OpId, Receipt, Write};
use quorate_lab::cluster::{Cluster, ClusterError, Life, Node, Pair};
use quorate_protocol::{Access, Level};
use quorate_ring::NodeId;

use super::answer::{self, list};
use super::command::{Command, HELP, Replaces, Target};
use super::view;
use crate::explain::{self, Request};
use crate::kv::Told;

/// Everything that the prompt's commands work on.
pub(super) struct Shell {
    cluster: Cluster,
    client: Client,
    level: Option<Level>,
}

/// What a command came to.
pub(super) struct Reply {
    /// What each replica did, if that was asked for.
    pub(super) story: Option<String>,
    pub(super) result: Result<String, Failure>,
}

/// A command could not be done.
#[derive(Debug)]
pub(super) enum Failure {
    Operation {
        error: Box<Error>,
        access: Access,
        mending: Vec<String>,
    },
    /// A compare-and-set found something else; this is what.
    Conflict(String),
    Cluster(Box<ClusterError>),
}

impl From<ClusterError> for Failure {
    fn from(error: ClusterError) -> Self {
        Self::Cluster(Box::new(error))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operation { error, access, mending } => f.write_str(&answer::failure(error, *access, mending)),
            Self::Conflict(found) => f.write_str(found),
            Self::Cluster(error) => {
                write!(f, "{error}")?;
                let mut cause = std::error::Error::source(&**error);
                while let Some(error) = cause {
                    write!(f, "\n  because: {error}")?;
                    cause = error.source();
                }
                Ok(())
            }
        }
    }
}

impl Shell {
    pub(super) fn new(cluster: Cluster, client: Client) -> Self {
        Self { cluster, client, level: None }
    }

    /// The cluster, to be stopped.
    pub(super) fn into_cluster(self) -> Cluster {
        self.cluster
    }

    /// Processes that have ended by themselves, each told once.
    pub(super) fn ended(&mut self) -> Vec<ClusterError> {
        let most = self.cluster_size();
        std::iter::from_fn(|| self.cluster.check().err()).take(most).collect()
    }

    fn cluster_size(&self) -> usize {
        self.cluster.nodes().len()
    }

    /// Does what a command asks for; `quit` is the caller's to do.
    pub(super) async fn run(&mut self, command: Command) -> Reply {
        match command {
            Command::Get(target) => self.read("get", &target, answer::read).await,
            Command::Siblings(target) => self.read("siblings", &target, answer::siblings).await,
            Command::Put { target, value, replaces, op } => self.write(&target, Some(value), &replaces, op).await,
            Command::Del { target, replaces, op } => self.write(&target, None, &replaces, op).await,
            Command::Cas { target, expect, body, op } => self.cas(&target, expect, body, op).await,
            Command::Incr { target, by, op } => self.incr(&target, by, op).await,
            Command::Outcome { target, op, settle } => self.outcome(&target, op, settle).await,
            Command::Level(level) => self.set_level(level),
            Command::Ring(key) => Reply::said(view::ring(&self.client.ring(), &self.client.topology(), key.as_ref())),
            Command::Status => Reply::said(view::status(&self.cluster, self.level).await),
            Command::Help | Command::Quit => Reply::said(HELP.to_owned()),
            Command::Kill(node) => self.kill(node).await.into(),
            Command::Pause(node) => self.pause(node).await.into(),
            Command::Resume(node) => self.resume(node).await.into(),
            Command::Restart(node) => self.restart(node).await.into(),
            Command::Partition(groups) => self.partition(&groups).await.into(),
            Command::OneWay { from, to } => self.one_way(from, to).await.into(),
            Command::Slow { node, delay } => self.slow(node, delay).await.into(),
            Command::Latency { pair, round_trip } => self.latency(pair, round_trip).await.into(),
            Command::Skew { node, skew_ms } => self.skew(node, skew_ms).await.into(),
            Command::Heal => self.heal().await.into(),
        }
    }

    async fn read(&self, operation: &'static str, target: &Target, tell: fn(&quorate_client::Read) -> String) -> Reply {
        let bucket = self.bucket(target);
        let read = bucket.get(&target.key).await;
        let story = self.story(operation, Access::Read, target, read.as_ref().map(quorate_client::Read::receipt));
        Reply { story, result: read.map(|read| tell(&read)).map_err(|error| self.failed(error, Access::Read, target.via)) }
    }

    async fn write(&self, target: &Target, value: Option<Bytes>, replaces: &Replaces, op: Option<OpId>) -> Reply {
        let bucket = self.bucket(target);
        let (operation, done, write) = match value {
            Some(value) => ("put", "stored", bucket.put(&target.key, value)),
            None => ("del", "deleted", bucket.delete(&target.key)),
        };
        let write = match replaces {
            Replaces::WhatTheCoordinatorHasSeen => write,
            Replaces::WhatThisHasSeen(context) => write.context(context),
            Replaces::Nothing => write.concurrent(),
        };
        let written = op.into_iter().fold(write, Write::op_id).await;
        let story = self.story(operation, Access::Write, target, written.as_ref().map(quorate_client::Written::receipt));
        Reply {
            story,
            result: written.map(|written| answer::written(done, &written)).map_err(|error| self.failed(error, Access::Write, target.via)),
        }
    }

    async fn cas(&self, target: &Target, expect: Expect, body: Option<Bytes>, op: Option<OpId>) -> Reply {
        let expecting = self.bucket(target).cas(&target.key).expect(expect);
        let (done, change) = match body {
            Some(value) => ("set", expecting.set(value)),
            None => ("deleted", expecting.delete()),
        };
        let changed = op.into_iter().fold(change, Change::op_id).in_full().await;
        let story = self.story("cas", Access::Write, target, changed.as_ref().map(Changed::receipt));
        let result = match changed {
            Ok(changed) => match &changed.value {
                Cas::Applied { .. } => Ok(answer::changed(done, &changed)),
                Cas::Conflict { current } => Err(Failure::Conflict(answer::conflict(&target.key, current))),
            },
            Err(error) => Err(self.failed(error, Access::Write, target.via)),
        };
        Reply { story, result }
    }

    async fn incr(&self, target: &Target, by: i64, op: Option<OpId>) -> Reply {
        let change = self.bucket(target).incr(&target.key, by);
        let changed = op.into_iter().fold(change, Change::op_id).in_full().await;
        let story = self.story("incr", Access::Write, target, changed.as_ref().map(Changed::receipt));
        let tell = |changed: Changed<i64>| answer::changed(&changed.value.to_string(), &changed);
        Reply { story, result: changed.map(tell).map_err(|error| self.failed(error, Access::Write, target.via)) }
    }

    async fn outcome(&self, target: &Target, op: OpId, settle: bool) -> Reply {
        let ask = self.bucket(target).outcome(&target.key, op);
        let fate = if settle { ask.settle().await } else { ask.await };
        let result = fate.map(|fate| Told(&fate).to_string());
        Reply { story: None, result: result.map_err(|error| self.failed(error, Access::Read, target.via)) }
    }

    fn bucket(&self, target: &Target) -> Bucket {
        let bucket = match &target.bucket {
            Some(name) => self.client.bucket(name.as_str()),
            None => self.client.default_bucket(),
        };
        let bucket = target.via.into_iter().fold(bucket, Bucket::via);
        target.level.or(self.level).into_iter().fold(bucket, Bucket::level)
    }

    fn story(&self, operation: &'static str, access: Access, target: &Target, result: Result<&Receipt, &Error>) -> Option<String> {
        let partitions = self.client.topology().ring.partitions;
        let bucket = target.bucket.as_ref().map_or("default", |name| name.as_str());
        let request = Request { operation, access, bucket, key: &target.key, partitions };
        target.explain.then(|| match result {
            Ok(receipt) => explain::answered(&request, receipt),
            Err(error) => explain::failed(&request, target.level.or(self.level), error.outcome(), error.replicas()),
        })
    }

    /// The failure, with the commands that would bring back the replicas that did not answer; any node if none is known, or the
    /// one that was asked for.
    fn failed(&self, error: Error, access: Access, via: Option<NodeId>) -> Failure {
        let missing = answer::missing(error.replicas());
        let is_missing = |node: &Node| match (missing.as_slice(), via) {
            ([], None) => true,
            ([], Some(via)) => node.id() == via,
            (missing, _) => missing.contains(&node.id()),
        };
        let faults = self.cluster.faults();
        let (mut mending, mut heal) = (Vec::new(), false);
        for node in self.cluster.nodes().filter(|node| is_missing(node)) {
            match node.life() {
                Life::Running => heal |= faults.delays(node.id()),
                Life::Paused => mending.push(format!("resume {}", node.id())),
                Life::Dead => mending.push(format!("restart {}", node.id())),
            }
            heal |= faults.cuts_off(node.id());
        }
        mending.extend(heal.then(|| "heal".to_owned()));
        Failure::Operation { error: Box::new(error), access, mending }
    }

    fn set_level(&mut self, level: Option<Level>) -> Reply {
        self.level = level.or(self.level);
        Reply::said(match self.level {
            Some(level) => format!("{level}: {}", level.describe(self.cluster.spec().replicas())),
            None => "each bucket's own level; of the bucket default it is quorum unless configured otherwise".to_owned(),
        })
    }

    async fn kill(&mut self, id: NodeId) -> Result<String, ClusterError> {
        self.cluster.kill(id)?;
        self.cluster.wait_until_noticed_dead(id).await?;
        let others = self.running_beside(id);
        let noticed = if others.is_empty() { String::new() } else { format!("; seen by {}", list(&others)) };
        Ok(format!("{id} is dead{noticed}\n  writes keep hints for it; `restart {id}` brings it back on its own data"))
    }

    async fn pause(&mut self, id: NodeId) -> Result<String, ClusterError> {
        let before = self.life(id)?;
        self.cluster.pause(id).await?;
        let already = if before == Life::Paused { ", as it was before" } else { "" };
        Ok(format!(
            "{id} is stopped{already}: its connections stay open and it says nothing\n  the others notice by its silence, after 1.5s; `resume {id}` lets it go on"
        ))
    }

    async fn resume(&mut self, id: NodeId) -> Result<String, ClusterError> {
        let before = self.life(id)?;
        self.cluster.resume(id).await?;
        self.cluster.wait_until_connected_to(id).await?;
        let goes_on = if before == Life::Paused { "goes on" } else { "was not paused" };
        Ok(format!("{id} {goes_on}{}", self.connected_with(id)))
    }

    async fn restart(&mut self, id: NodeId) -> Result<String, ClusterError> {
        let (before, hints_before) = (self.life(id)?, self.hints_for(id).await);
        let began = Instant::now();
        self.cluster.restart(id).await?;
        let boot = self.cluster.status(id).await?.boot;
        let took = Duration::from_millis(u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX));
        let stopped = match before {
            Life::Dead => "",
            Life::Running => " was running and was stopped first; it",
            Life::Paused => " was paused and was stopped first; it",
        };
        let (took, connected) = (humantime::format_duration(took), self.connected_with(id));
        let hints = answer::hints(hints_before, self.hints_for(id).await);
        Ok(format!("{id}{stopped} is back after {took}, boot {boot}{connected}\n  {hints}"))
    }

    fn life(&self, id: NodeId) -> Result<Life, ClusterError> {
        self.cluster.node(id).map(Node::life)
    }

    /// How many hints all others keep for a node, as far as they answer.
    async fn hints_for(&self, id: NodeId) -> u64 {
        let others = self.running_beside(id);
        let asked = join_all(others.into_iter().map(|other| self.cluster.status(other))).await;
        let views = asked.iter().flatten().flat_map(|status| &status.peers);
        views.filter(|peer| peer.node == id).map(|peer| peer.hints).sum()
    }

    async fn partition(&mut self, groups: &[BTreeSet<NodeId>]) -> Result<String, ClusterError> {
        self.cluster.partition(groups).await?;
        let sides: Vec<String> = groups.iter().map(|group| list(&group.iter().copied().collect::<Vec<_>>())).collect();
        Ok(format!(
            "messages between {} are lost\n  each side notices by silence, after 1.5s; `get K --via n1` asks n1's side; `heal` mends it",
            sides.join(" | ")
        ))
    }

    async fn one_way(&mut self, from: NodeId, to: NodeId) -> Result<String, ClusterError> {
        self.cluster.one_way(from, to).await?;
        Ok(format!("messages from {from} to {to} are lost, answers too; those from {to} to {from} arrive"))
    }

    async fn slow(&mut self, node: NodeId, delay: Duration) -> Result<String, ClusterError> {
        self.cluster.slow(node, delay).await?;
        Ok(format!("messages from {node} to other nodes arrive {} later", humantime::format_duration(delay)))
    }

    async fn latency(&mut self, pair: Pair, round_trip: Duration) -> Result<String, ClusterError> {
        self.cluster.latency(pair, round_trip).await?;
        let [a, b] = pair.nodes();
        Ok(format!("a round trip between {a} and {b} takes {} more", humantime::format_duration(round_trip)))
    }

    async fn skew(&mut self, node: NodeId, skew_ms: i64) -> Result<String, ClusterError> {
        self.cluster.skew(node, skew_ms).await?;
        Ok(format!("the wall clock of {node} is wrong by {skew_ms:+}ms"))
    }

    async fn heal(&mut self) -> Result<String, ClusterError> {
        self.cluster.heal().await?;
        self.cluster.wait_until_connected().await?;
        Ok("no faults; all running nodes see each other".to_owned())
    }

    fn connected_with(&self, id: NodeId) -> String {
        let others = self.running_beside(id);
        let (seen, cut): (Vec<NodeId>, Vec<NodeId>) = others.into_iter().partition(|other| self.cluster.faults().connects(id, *other));
        let seen = if seen.is_empty() { String::new() } else { format!("; connected with {}", list(&seen)) };
        let cut = if cut.is_empty() { String::new() } else { format!("; still separated from {}", list(&cut)) };
        seen + &cut
    }

    fn running_beside(&self, id: NodeId) -> Vec<NodeId> {
        self.cluster.nodes().filter(|node| node.id() != id && node.life() == Life::Running).map(|node| node.id()).collect()
    }
}

impl Reply {
    fn said(text: String) -> Self {
        Self { story: None, result: Ok(text) }
    }
}

impl From<Result<String, ClusterError>> for Reply {
    fn from(result: Result<String, ClusterError>) -> Self {
        Self { story: None, result: result.map_err(Failure::from) }
    }
}
