//! Listing keys: the union of what enough home replicas of one partition have.
//!
//! **Promise.** A page holds every key, above the page before, of which some asked replica has a record, up to the page's last
//! key. Deleted keys are among them; reading each key at the level tells. Pages are never empty while there is more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use quorate_protocol::Tick;
use quorate_protocol::outcome::{Failure, Outcome, Reason, ReplicaReport, ReplicaStatus};
use quorate_protocol::quorum::ReadQuorum;
use quorate_protocol::record::Role;
use quorate_protocol::replica::Refusal;
use quorate_ring::NodeId;
use quorate_rpc::kv::ListRequest;
use quorate_rpc::peer::{KeysPage, KeysRequest};
use quorate_rpc::tarpc::client::RpcError;
use tokio::time::timeout;

use super::deadline;
use crate::metrics::{Ended, Op};
use crate::node::Node;
use crate::peers::context;
use crate::store::{PageLimit, ScanRange};

/// Most keys of one page, whatever the request says; with the longest keys a page fits into a frame several times over.
const KEYS_MAX: u32 = 4_096;

/// Lists a page of keys for a client.
pub(crate) async fn list(node: &Arc<Node>, request: ListRequest) -> Result<KeysPage, Failure> {
    let _admitted = node.admit()?;
    let bucket = node.bucket(request.bucket)?;
    let level = request.level.unwrap_or(bucket.level);
    let begun = node.clock.tick();
    let place = node
        .placement
        .place_partition(bucket, request.partition)
        .ok_or_else(|| Failure::refused(Reason::Refused { refusal: Refusal::Malformed }))?;
    let quorum = ReadQuorum::of(level, place.homes.clone(), place.record.epoch, node.options)
        .map_err(|invalid| Failure::refused(Reason::InvalidLevel(invalid)))?;
    let deadline = deadline(node, begun, request.micros_left);
    let keys = KeysRequest {
        partition: request.partition,
        bucket: request.bucket,
        after: request.after,
        count_max: request.count_max.clamp(1, KEYS_MAX),
    };
    let result = gather(node, &quorum, &keys, begun, deadline).await;
    let took = Duration::from_micros(node.clock.tick().since(begun));
    node.metrics.answered(Op::List, level, if result.is_ok() { Ended::Ok } else { Ended::NotApplied }, took);
    result
}

/// Asks as many replicas as the level needs, and further ones in place of those that fail, all of them by one deadline.
async fn gather(node: &Arc<Node>, quorum: &ReadQuorum, keys: &KeysRequest, begun: Tick, deadline: Tick) -> Result<KeysPage, Failure> {
    let needed = usize::from(quorum.needed());
    let mut candidates = node.peers.preferred(node.me(), quorum.homes()).into_iter();
    let mut asked: FuturesUnordered<_> = candidates.by_ref().take(needed).map(|replica| ask(node, replica, keys, deadline)).collect();
    let mut pages = Vec::new();
    let mut statuses = BTreeMap::new();
    while let Some((replica, answer)) = asked.next().await {
        let now = node.clock.tick();
        let status = match answer {
            Ok(page) => {
                pages.push(page);
                ReplicaStatus::Answered
            }
            Err(status) => {
                let next = candidates.next().filter(|_| now < deadline);
                asked.extend(next.map(|further| ask(node, further, keys, deadline)));
                status
            }
        };
        statuses.insert(replica, (status, now.since(begun)));
    }
    if pages.len() >= needed {
        return Ok(unite(pages));
    }
    let (needed, answered) = (quorum.needed(), u8::try_from(pages.len()).unwrap_or(u8::MAX));
    let is_late = node.clock.tick() >= deadline;
    let reason = if is_late { Reason::TimedOut { needed, answered } } else { Reason::Unavailable { needed, answered } };
    let report = |replica| match statuses.remove(&replica) {
        Some((status, micros)) => ReplicaReport { status, micros, ..ReplicaReport::not_asked(replica) },
        None => ReplicaReport::not_asked(replica),
    };
    Err(Failure { reason, outcome: Outcome::NotApplied, replicas: quorum.homes().iter().map(report).collect() })
}

async fn ask(node: &Arc<Node>, replica: NodeId, keys: &KeysRequest, deadline: Tick) -> (NodeId, Result<KeysPage, ReplicaStatus>) {
    let left = Duration::from_micros(deadline.since(node.clock.tick()));
    if replica == node.me() {
        let listed = timeout(left, keys_here(node, keys)).await;
        return (replica, listed.map_or(Err(ReplicaStatus::TimedOut), |keys| keys.map_err(ReplicaStatus::Refused)));
    }
    let Some(connection) = node.peers.peer(replica).and_then(|peer| peer.connection()) else {
        return (replica, Err(ReplicaStatus::Down));
    };
    let answer = match connection.calls.keys(context(left), keys.clone()).await {
        Ok(answer) => answer.map_err(ReplicaStatus::Refused),
        Err(RpcError::DeadlineExceeded) => Err(ReplicaStatus::TimedOut),
        Err(RpcError::Server(_)) => Err(ReplicaStatus::Refused(Refusal::Overloaded)),
        Err(RpcError::Shutdown | RpcError::Channel(_) | RpcError::Send(_)) => Err(ReplicaStatus::Down),
    };
    (replica, answer)
}

/// This node's own list.
pub(crate) async fn keys_here(node: &Arc<Node>, request: &KeysRequest) -> Result<KeysPage, Refusal> {
    node.refusal().map_or(Ok(()), Err)?;
    let bucket = node.placement.bucket(request.bucket).ok_or(Refusal::Malformed)?;
    let place = node.placement.place_partition(bucket, request.partition).ok_or(Refusal::Malformed)?;
    if place.record.role == Role::Stranger {
        return Err(Refusal::Stranger);
    }
    let limit = PageLimit { count: request.count_max.clamp(1, KEYS_MAX) as usize, bytes: usize::MAX };
    let (node, request) = (Arc::clone(node), request.clone());
    let scan = move || {
        let range = ScanRange { partition: request.partition, bucket: request.bucket, after: request.after.as_deref() };
        node.store.scan_keys(&range, limit)
    };
    match tokio::task::spawn_blocking(scan).await {
        Ok(Ok(page)) => Ok(KeysPage { keys: page.entries, more: page.more }),
        Ok(Err(error)) => {
            tracing::error!(%error, "keys could not be listed");
            Err(Refusal::StoreFailed)
        }
        Err(_stopped) => Err(Refusal::StoreFailed),
    }
}

/// All keys of the pages up to where the first page that has more behind it ends: beyond that, its replica is not known yet.
fn unite(pages: Vec<KeysPage>) -> KeysPage {
    let bound: Option<Bytes> = pages.iter().filter(|page| page.more).filter_map(|page| page.keys.last().cloned()).min();
    let keys: BTreeSet<Bytes> = pages.into_iter().flat_map(|page| page.keys).collect();
    let more = bound.is_some();
    let keys = keys.into_iter().take_while(|key| bound.as_ref().is_none_or(|bound| key <= bound)).collect();
    KeysPage { keys, more }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(keys: &[&'static str], more: bool) -> KeysPage {
        KeysPage { keys: keys.iter().map(|key| Bytes::from_static(key.as_bytes())).collect(), more }
    }

    #[test]
    fn a_united_page_ends_where_the_shorter_one_does() {
        let united = unite(vec![page(&["a", "b"], true), page(&["a", "c", "d"], true)]);
        assert_eq!(united, page(&["a", "b"], true));
        let united = unite(vec![page(&["a", "b"], false), page(&["c"], false)]);
        assert_eq!(united, page(&["a", "b", "c"], false));
        let united = unite(vec![page(&["a", "b"], true), page(&[], false)]);
        assert_eq!(united, page(&["a", "b"], true));
    }
}
