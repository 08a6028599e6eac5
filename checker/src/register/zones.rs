//! Clusters, chains and zones: whether there is an order, given whose every value and every absence was.

use super::absence::{self, Absence, BEGINNING};
use super::evidence;
use super::facts::{Facts, NONE, Writers};
use crate::history::Nanos;
use crate::verdict::Rule;

/// The call or end of an operation, and its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Edge {
    pub(super) at: Nanos,
    /// Its position in the history; [`NONE`] is the beginning.
    pub(super) operation: u32,
    pub(super) cluster: u32,
}

/// What chains are made of.
#[derive(Debug)]
pub(super) struct Clusters {
    /// The least end.
    pub(super) ended: Vec<Edge>,
    /// The greatest call.
    pub(super) began: Vec<Edge>,
    /// The cluster whose put is a cas from this one.
    pub(super) next: Vec<u32>,
    /// The cluster that this one's put is a cas from; [`NONE`] if it is none, or it is left open.
    pub(super) source: Vec<u32>,
    pub(super) kept: Vec<bool>,
}

/// A chain's extremes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Zone {
    /// The least end.
    pub(super) ended: Edge,
    /// The greatest call.
    pub(super) began: Edge,
}

impl Zone {
    fn is_forward(&self) -> bool {
        self.ended.at < self.began.at
    }
}

/// Whether an order explains all.
pub(super) fn check(facts: &Facts, writers: &Writers, absence: &Absence) -> Result<(), Rule> {
    let clusters = Clusters::of(facts, writers, absence)?;
    let zones = clusters.chains(facts)?;
    conflict(zones).map_or(Ok(()), |(stale, other)| Err(evidence::two_orders(facts, &clusters, &stale, &other)))
}

impl Clusters {
    fn of(facts: &Facts, writers: &Writers, absence: &Absence) -> Result<Self, Rule> {
        let beginning = Edge { at: 0, operation: NONE, cluster: BEGINNING };
        let mut clusters = Self {
            ended: vec![beginning],
            began: vec![beginning],
            next: vec![NONE; facts.puts.len() + 1],
            source: vec![NONE; facts.puts.len() + 1],
            kept: absence::kept(facts, absence),
        };
        for (cluster, put) in (1..).zip(&facts.puts) {
            clusters.ended.push(Edge { at: put.end, operation: put.operation, cluster });
            clusters.began.push(Edge { at: put.call, operation: put.operation, cluster });
        }
        let cluster_of = |value| writers.of(value).expect("what was met was written") + 1;
        for (sight, &absent) in facts.sights.iter().zip(&absence.sights) {
            let cluster = sight.seen.map_or(absent, cluster_of);
            if cluster != NONE {
                clusters.join(cluster, sight.operation, sight.call, sight.end);
            }
        }
        clusters.seen_after_put(facts)?;
        for (cluster, (put, &absent)) in (1..).zip(facts.puts.iter().zip(&absence.puts)) {
            if let Some(replaced) = put.replaced.filter(|_| put.kept) {
                let source = replaced.map_or(absent, cluster_of);
                if source != NONE {
                    clusters.link(facts, source, cluster)?;
                }
            }
        }
        Ok(clusters)
    }

    fn join(&mut self, cluster: u32, operation: u32, call: Nanos, end: Nanos) {
        let (ended, began) = (&mut self.ended[cluster as usize], &mut self.began[cluster as usize]);
        if end < ended.at {
            *ended = Edge { at: end, operation, cluster };
        }
        if call > began.at {
            *began = Edge { at: call, operation, cluster };
        }
    }

    /// No value was met before its put was called.
    fn seen_after_put(&self, facts: &Facts) -> Result<(), Rule> {
        let early = facts.puts.iter().zip(&self.ended[1..]).find(|(put, ended)| ended.at < put.call);
        early.map_or(Ok(()), |(put, ended)| {
            Err(Rule::SeenBeforeWritten { write: put.operation as usize, seen_by: ended.operation as usize })
        })
    }

    fn link(&mut self, facts: &Facts, source: u32, cluster: u32) -> Result<(), Rule> {
        self.source[cluster as usize] = source;
        let first = std::mem::replace(&mut self.next[source as usize], cluster);
        if first == NONE {
            return Ok(());
        }
        let operation = |cluster: u32| facts.puts[cluster as usize - 1].operation as usize;
        let source = (source != BEGINNING).then(|| operation(source));
        Err(Rule::CasTwice { source, first: operation(first), second: operation(cluster) })
    }

    /// Walks every chain from its head.
    fn chains(&self, facts: &Facts) -> Result<Vec<Zone>, Rule> {
        let mut zones = Vec::new();
        let mut visited = vec![false; self.next.len()];
        let is_head = |cluster: &usize| self.kept[*cluster] && self.source[*cluster] == NONE;
        for head in (0..self.next.len()).filter(is_head) {
            let mut zone = Zone { ended: self.ended[head], began: self.began[head] };
            visited[head] = true;
            let mut cluster = self.next[head];
            while cluster != NONE {
                let at = cluster as usize;
                visited[at] = true;
                if self.ended[at].at < zone.began.at {
                    return Err(evidence::backwards(facts, self, &zone.began, &self.ended[at]));
                }
                zone.ended = zone.ended.min(self.ended[at]);
                zone.began = zone.began.max(self.began[at]);
                cluster = self.next[at];
            }
            zones.push(zone);
        }
        let ring = (0..self.next.len()).find(|&cluster| self.kept[cluster] && !visited[cluster]);
        ring.map_or(Ok(zones), |cluster| Err(evidence::ring(facts, self, cluster)))
    }
}

/// Two chains that each have to precede the other. The first is a forward zone; the second is not the beginning's.
fn conflict(zones: Vec<Zone>) -> Option<(Zone, Zone)> {
    let (mut forward, backward): (Vec<Zone>, Vec<Zone>) = zones.into_iter().partition(Zone::is_forward);
    forward.sort_unstable_by_key(|zone| zone.ended.at);
    let overlap = forward.windows(2).find(|pair| pair[1].ended.at < pair[0].began.at);
    if let Some(&[first, second]) = overlap {
        let later = first.began.at < second.began.at && first.ended.operation != NONE;
        return Some(if later { (second, first) } else { (first, second) });
    }
    backward.into_iter().find_map(|inner| {
        let before = forward.partition_point(|zone| zone.ended.at < inner.began.at);
        let outer = forward[..before].last()?;
        (inner.ended.at < outer.began.at).then_some((*outer, inner))
    })
}
