//! From broken rule to the few operations that prove it.

use super::absence::BEGINNING;
use super::facts::{Facts, NONE, Put};
use super::zones::{Clusters, Edge, Zone};
use crate::history::{History, Outcome, ValueId};
use crate::specification::register::Held;
use crate::verdict::{Link, Order, Rule};

/// So many cas of a chain are named at most; of longer ones, the ends.
const LINKS_MAX: usize = 6;

/// A value that nobody can have put.
pub(super) fn unwritten(history: &History, operations: &[u32], seen_by: u32, value: ValueId) -> Rule {
    let puts = |operation: &u32| history.operations[*operation as usize].action.written() == Some(value);
    let failed = operations.iter().find(|&operation| puts(operation) && history.operations[*operation as usize].outcome == Outcome::Fail);
    let seen_by = seen_by as usize;
    failed.map_or(Rule::NeverWritten { seen_by }, |&write| Rule::WriteFailed { write: write as usize, seen_by })
}

/// An operation on an older value of a chain that began after one on a newer had ended.
pub(super) fn backwards(facts: &Facts, clusters: &Clusters, older: &Edge, newer: &Edge) -> Rule {
    Rule::Backwards {
        newer: newer.operation as usize,
        older: older.operation as usize,
        links: links(facts, clusters, older.cluster, newer.cluster),
    }
}

/// A ring of cas: each needs the value of the one before.
pub(super) fn ring(facts: &Facts, clusters: &Clusters, within: usize) -> Rule {
    let source = |cluster: usize| clusters.source[cluster] as usize;
    // What hangs on a ring leads into it: after as many steps as there are clusters one is in it.
    let mut on_ring = within;
    for _ in 0..clusters.source.len() {
        on_ring = source(on_ring);
    }
    let mut ring = Vec::new();
    let mut cluster = on_ring;
    loop {
        ring.push(&facts.puts[cluster - 1]);
        cluster = source(cluster);
        if cluster == on_ring {
            break;
        }
    }
    ring.reverse();
    let on_ring = |held: Held| ring.iter().any(|put| put.value == held);
    let seen_by = || {
        let sights = facts.sights.iter().map(|sight| (sight.operation, sight.seen));
        let others = facts.puts.iter().filter(|put| put.kept && !on_ring(put.value));
        let mut met = sights.chain(others.filter_map(|put| Some((put.operation, put.replaced?))));
        met.find(|(_, held)| on_ring(*held)).map(|(operation, _)| operation as usize)
    };
    let is_known = ring.iter().any(|put| put.is_known());
    Rule::CasRing { cas: ring.iter().map(|put| put.operation as usize).collect(), seen_by: if is_known { None } else { seen_by() } }
}

/// Two chains that each have to precede the other. `stale` is a forward zone.
///
/// The extremes prove it, but so may others that need fewer operations: what put the value, instead of one who read it.
pub(super) fn two_orders(facts: &Facts, clusters: &Clusters, stale: &Zone, other: &Zone) -> Rule {
    let stale_began = stale.began;
    let other_ended = put_of(facts, other.ended.cluster).filter(|(_, put)| put.end < stale_began.at).map_or(other.ended, end_of);
    let other_began = put_of(facts, other_ended.cluster).filter(|(_, put)| put.call > stale.ended.at).map_or(other.began, call_of);
    let stale_ended = put_of(facts, stale_began.cluster).filter(|(_, put)| put.end < other_began.at).map_or(stale.ended, end_of);
    Rule::TwoOrders {
        stale: Box::new(order(facts, clusters, &stale_ended, &stale_began)),
        other: Box::new(order(facts, clusters, &other_ended, &other_began)),
    }
}

fn put_of(facts: &Facts, cluster: u32) -> Option<(u32, &Put)> {
    (cluster != BEGINNING).then(|| (cluster, &facts.puts[cluster as usize - 1]))
}

fn end_of((cluster, put): (u32, &Put)) -> Edge {
    Edge { at: put.end, operation: put.operation, cluster }
}

fn call_of((cluster, put): (u32, &Put)) -> Edge {
    Edge { at: put.call, operation: put.operation, cluster }
}

fn order(facts: &Facts, clusters: &Clusters, ended: &Edge, began: &Edge) -> Order {
    let put = |edge: &Edge| put_of(facts, edge.cluster).map(|(_, put)| put.operation as usize);
    let way = links(facts, clusters, ended.cluster, began.cluster);
    Order {
        ended: (ended.operation != NONE).then_some(ended.operation as usize),
        ended_put: put(ended),
        began: began.operation as usize,
        began_put: put(began),
        links: if way.cas.is_empty() { links(facts, clusters, began.cluster, ended.cluster) } else { way },
    }
}

/// The cas that lead from one cluster of a chain to a later one; none if it is not later.
fn links(facts: &Facts, clusters: &Clusters, from: u32, to: u32) -> Link {
    let mut cas = Vec::new();
    let mut cluster = to;
    while cluster != from {
        if cluster == NONE || cluster == BEGINNING {
            return Link::default();
        }
        cas.push(facts.puts[cluster as usize - 1].operation as usize);
        cluster = clusters.source[cluster as usize];
    }
    cas.reverse();
    let left_out = cas.len().saturating_sub(LINKS_MAX);
    if left_out > 0 {
        cas.drain(LINKS_MAX / 2..LINKS_MAX / 2 + left_out);
    }
    Link { cas, left_out }
}
