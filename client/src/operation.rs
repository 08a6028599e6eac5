//! What all operations share: settings, checks before anything is sent, routing, and turning the end of a failed one into an error.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_protocol::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use quorate_protocol::outcome::{Outcome, Reason, Sized};
use quorate_protocol::{Access, Level, OpId};
use quorate_ring::{NodeId, PartitionId};
use quorate_rpc::kv::BucketInfo;
use tokio::time::timeout_at;

use crate::client::Inner;
use crate::clock::Budget;
use crate::driver::{Driven, Ended, Request, drive};
use crate::error::{Error, Operation, Subject, Verb};
use crate::routing;
use crate::session::{Full, Session, Turn};
use crate::topology::Snapshot;

/// The bucket that every cluster has.
pub(crate) const DEFAULT_BUCKET: &str = "default";

/// How an operation is to be done.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The bucket's own level if absent.
    pub(crate) level: Option<Level>,
    pub(crate) deadline: Duration,
    pub(crate) session: Option<Session>,
    /// The only node that is asked, if one was named.
    pub(crate) via: Option<NodeId>,
}

/// One key of one bucket, and how to work on it.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) inner: Arc<Inner>,
    pub(crate) bucket: Arc<str>,
    pub(crate) key: Bytes,
    pub(crate) settings: Settings,
}

impl Target {
    /// The operation for an error's text; made only when there is one.
    pub(crate) fn operation(&self, verb: Verb, info: Option<&BucketInfo>, op: Option<OpId>) -> Box<Operation> {
        let subject = Subject::Key(self.key.clone());
        operation(verb, subject, &self.bucket, self.settings.level.or(info.map(|info| info.level)), op)
    }

    /// The level of the operation: its own, or the bucket's.
    pub(crate) fn level(&self, info: &BucketInfo) -> Level {
        self.settings.level.unwrap_or(info.level)
    }

    /// The level as requests carry it. A linearizable operation says so in any case: what a retry of it may do depends on that.
    pub(crate) fn level_sent(&self, info: &BucketInfo) -> Option<Level> {
        let is_linearizable = self.level(info) == Level::Linearizable;
        if is_linearizable { Some(Level::Linearizable) } else { self.settings.level }
    }

    /// Refuses a key that no node would take.
    pub(crate) fn check_key(&self) -> Result<(), Reason> {
        match self.key.len() {
            0 => Err(Reason::InvalidKey { bytes_max: u32::try_from(KEY_BYTES_MAX).expect("a kilobyte") }),
            bytes => check_length(Sized::Key, bytes, KEY_BYTES_MAX),
        }
    }

    /// Finds the bucket, and refuses a key or level that it cannot serve.
    pub(crate) async fn prepare(&self, verb: Verb, access: Access, budget: Budget) -> Result<(Arc<Snapshot>, Arc<BucketInfo>), Error> {
        let invalid =
            |info: Option<&BucketInfo>, reason| Error::Invalid { operation: self.operation(verb, info, None), reason: Box::new(reason) };
        self.check_key().map_err(|reason| invalid(None, reason))?;
        let (snapshot, info) = self.inner.bucket(&self.bucket, budget).await.map_err(|reason| invalid(None, reason))?;
        check_level(self.settings.level, access, &info).map_err(|reason| invalid(Some(&info), reason))?;
        if self.settings.via.is_some_and(|via| !snapshot.links.contains_key(&via)) {
            return Err(Error::UnknownNode { operation: self.operation(verb, Some(&info), None) });
        }
        Ok((snapshot, info))
    }

    /// Waits for the session's turn on the key, if there is a session.
    pub(crate) async fn turn(&self, verb: Verb, info: &BucketInfo, budget: Budget) -> Result<Option<Turn>, Error> {
        let Some(session) = &self.settings.session else { return Ok(None) };
        let operation = || self.operation(verb, Some(info), None);
        match timeout_at(budget.end(), session.turn(&self.bucket, &self.key)).await {
            Ok(Ok(turn)) => Ok(Some(turn)),
            Ok(Err(Full)) => Err(Error::SessionFull { operation: operation() }),
            Err(_elapsed) => {
                let micros = budget.elapsed_micros();
                Err(Error::TimedOut { operation: operation(), asked: Vec::new(), micros, outcome: Outcome::NotApplied })
            }
        }
    }
}

pub(crate) fn operation(verb: Verb, subject: Subject, bucket: &str, level: Option<Level>, op: Option<OpId>) -> Box<Operation> {
    let bucket = (bucket != DEFAULT_BUCKET).then(|| bucket.to_owned());
    Box::new(Operation { verb, subject, bucket, level, op })
}

pub(crate) fn check_value(value: &Bytes) -> Result<(), Reason> {
    check_length(Sized::Value, value.len(), VALUE_BYTES_MAX)
}

/// Refuses a level that the bucket's number of home replicas cannot give.
pub(crate) fn check_level(level: Option<Level>, access: Access, info: &BucketInfo) -> Result<(), Reason> {
    let level = level.unwrap_or(info.level);
    level.needed(access, info.replicas).map(drop).map_err(Reason::InvalidLevel)
}

fn check_length(what: Sized, bytes: usize, bytes_max: usize) -> Result<(), Reason> {
    if bytes <= bytes_max {
        return Ok(());
    }
    Err(Reason::TooLarge { what, bytes: bytes as u64, bytes_max: bytes_max as u64 })
}

impl Inner {
    /// Routes and runs one request about a partition; to one node alone if `via` names it.
    ///
    /// # Panics
    /// If the cluster has no node `via`.
    pub(crate) async fn run<R: Request>(
        self: &Arc<Self>,
        request: &R,
        (snapshot, info): (&Snapshot, &BucketInfo),
        partition: PartitionId,
        via: Option<NodeId>,
        budget: Budget,
    ) -> Result<R::Reply, Ended> {
        self.send(request, (snapshot, info), partition, via, budget).await.result
    }

    /// The same, and what the way to the answer was.
    ///
    /// # Panics
    /// If the cluster has no node `via`.
    pub(crate) async fn send<R: Request>(
        self: &Arc<Self>,
        request: &R,
        (snapshot, info): (&Snapshot, &BucketInfo),
        partition: PartitionId,
        via: Option<NodeId>,
        budget: Budget,
    ) -> Driven<R::Reply> {
        let (homes, others) = snapshot.placed(info, partition);
        let homes: Vec<_> = homes.iter().map(|node| snapshot.link(node)).collect();
        let others = others.iter().map(|node| snapshot.link(*node));
        let draw = rand::random();
        let candidates = match via {
            Some(node) => vec![snapshot.link(node)],
            None if request.wants_ring_order() => routing::in_ring_order(&homes, others, |link| link.standing()),
            None => routing::order(&homes, others, |link| link.standing(), draw),
        };
        let driven = drive(request, &candidates, self.options, budget, draw).await;
        let receipt = driven.result.as_ref().ok().and_then(R::receipt);
        if driven.had_link_trouble || receipt.is_some_and(|receipt| receipt.epoch > snapshot.ring.epoch()) {
            self.refresh_soon();
        }
        driven
    }
}

impl Ended {
    /// The error that tells this end.
    pub(crate) fn into_error(self, operation: Box<Operation>, budget: Budget) -> Error {
        let Self { outcome, failure, unreached, silent, timed_out } = self;
        if let Some((coordinator, failure)) = failure {
            return Error::Failed { operation, coordinator, failure: Box::new(failure), outcome };
        }
        if outcome == Outcome::NotApplied && silent.is_empty() && !unreached.is_empty() {
            return Error::Unreachable { operation, nodes: unreached };
        }
        if timed_out {
            return Error::TimedOut { operation, asked: silent, micros: budget.elapsed_micros(), outcome };
        }
        Error::Lost { operation, asked: silent, outcome }
    }
}
