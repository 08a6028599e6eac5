//! The consistent-hash ring: where every node's tokens lie, and in which order a partition's walk meets them.
//!
//! **Promise.** The order of the nodes in a partition's walk is a function of bytes: of the nodes' ids and the number of
//! partitions. Two nodes keep their order in every walk, whoever else joins or leaves.
//!
//! **Rules.**
//! - The ring is the circle of 64-bit positions. Every partition has an arc of its own and enters the ring at its start.
//! - A node has as many tokens as there are partitions, one in each arc. A walk from the start of an arc has therefore
//!   met every node before the arc ends, and meets each once.
//! - How far into the arcs a node's tokens lie is a random permutation: the node ranks all partitions by a hash stream
//!   of its id, and its token for the partition of rank r lies r/Q of an arc past the start, plus a random fraction of
//!   1/Q. So every node has exactly one token in each Q-th of distance, and no node is favoured.
//!
//! ```text
//!   p0 start                     p1 start                     p2 start
//!   |---n2-n1-----------n3-------|-n3---------n1----n2--------|-----n1--n3-----------n2----|
//!    walk of p0: n2 n1 n3         walk of p1: n3 n1 n2         walk of p2: n1 n3 n2
//!
//!   position   63 partition 48 | 47 distance into the arc 16 | 15 member 0
//! ```
//!
//! **Invariants.**
//! - No two tokens have one position: its low bits name the member, counted in order of ids.
//! - Members are counted in order of ids, so the order in which they were given cannot matter.
//!
//! **Deviations.** Karger scatters tokens independently; with as many of them as here the load of a node would still
//! vary by the square root of its copies. Permutations halve that variance, which is what makes a tight cap cheap (the
//! cap of `capacity.rs` then turns away few copies, and what is not turned away need not move when caps change).
//! Maglev's hashing uses permutations for the same reason.
//!
//! **Use of `hashring`.** Its `get_with_replicas` is not used: it copies the ring at every call, repeats entries and
//! knows nothing of nodes. Its positions come from `std::hash::Hash`, so the hasher given to it passes on the eight bytes
//! of the position, which are decided here. Tokens are sorted before they are added; walks enter with `get`, go on with
//! `get` just past the token they met, and are kept. (A ring with a hasher of one's own cannot be iterated.)
//!
//! Sources: Karger et al. 1997 (consistent hashing), Dynamo §4.2 (virtual nodes) and §6.2 strategy 3 (Q partitions,
//! tokens only order the nodes), Eisenbud et al. 2016 §3.4 (Maglev hashing).

use std::hash::{BuildHasher, Hash, Hasher};

use hashring::HashRing;

use crate::node::NodeId;
use crate::partition::{PartitionId, Partitions};

/// Domain of the hash that ranks partitions. Another text is another placement: data would move in every cluster.
const RANKING_DOMAIN: &str = "quorate ring 1: how a node ranks the partitions";

/// Bits of a distance: how finely an arc is divided.
const DISTANCE_BITS: u32 = 32;

/// A place on the ring that belongs to a member. Its only content is its position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Token(u64);

impl Token {
    fn new(partition: u16, distance: u32, member: u16) -> Self {
        Token(u64::from(partition) << 48 | u64::from(distance) << 16 | u64::from(member))
    }

    /// The partition in whose arc the token lies.
    pub(crate) fn partition(self) -> usize {
        usize::from((self.0 >> 48) as u16)
    }

    /// How far from the start of the arc it lies, in 2^-32 of an arc.
    pub(crate) fn distance(self) -> u32 {
        (self.0 >> 16) as u32
    }

    /// The member it belongs to, counted in order of ids.
    pub(crate) fn member(self) -> usize {
        usize::from(self.0 as u16)
    }

    /// Where a walk that has met this token goes on.
    fn next_position(self) -> Self {
        Token(self.0 + 1)
    }
}

impl Hash for Token {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.0.to_be_bytes());
    }
}

/// Builds hashers whose value is the eight bytes they were given: `hashring` puts a token where the token says.
struct Positions;

struct Position(u64);

impl BuildHasher for Positions {
    type Hasher = Position;

    fn build_hasher(&self) -> Position {
        Position(0)
    }
}

impl Hasher for Position {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |position, &byte| position << 8 | u64::from(byte));
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// All tokens of a membership in ring order.
pub(crate) struct TokenRing {
    /// Walk after walk, each with one token of every member.
    tokens: Vec<Token>,
    partitions: usize,
    members: usize,
}

impl TokenRing {
    /// Lays out the tokens of `nodes`, which are distinct, in order, and at most `NODES_MAX`.
    pub(crate) fn new(nodes: &[NodeId], partitions: Partitions) -> Self {
        debug_assert!(nodes.is_sorted_by(|a, b| a < b), "members are distinct and in order");
        let mut ring = HashRing::with_hasher(Positions);
        ring.batch_add(sorted_tokens(nodes, partitions));
        let mut tokens = Vec::with_capacity(ring.len());
        for PartitionId(partition) in partitions.iter() {
            let mut position = Token::new(partition, 0, 0);
            for _ in nodes {
                let met = *ring.get(&position).expect("a membership has nodes");
                tokens.push(met);
                position = met.next_position();
            }
        }
        TokenRing { tokens, partitions: usize::from(partitions.count()), members: nodes.len() }
    }

    pub(crate) fn members(&self) -> usize {
        self.members
    }

    pub(crate) fn partitions(&self) -> usize {
        self.partitions
    }

    /// The tokens that a partition's walk meets: one of every member, in ring order.
    pub(crate) fn walk(&self, partition: usize) -> &[Token] {
        &self.tokens[partition * self.members..][..self.members]
    }

    /// The tokens of all arcs, the nearest to the start of its arc first. Equals go by member, then by partition.
    pub(crate) fn by_distance(&self) -> Vec<Token> {
        let mut tokens = self.tokens.clone();
        tokens.sort_unstable_by_key(|token| (token.distance(), token.member(), token.partition()));
        tokens
    }
}

fn sorted_tokens(nodes: &[NodeId], partitions: Partitions) -> Vec<Token> {
    let mut tokens = vec![Token::default(); nodes.len() * usize::from(partitions.count())];
    for (&node, member) in nodes.iter().zip(0..) {
        for (partition, distance) in distances(node, partitions) {
            tokens[usize::from(partition) * nodes.len() + usize::from(member)] = Token::new(partition, distance, member);
        }
    }
    tokens.chunk_by_mut(|a, b| a.partition() == b.partition()).for_each(<[Token]>::sort_unstable);
    tokens
}

/// How far into each partition's arc a node's token lies: the rank of the partition, then random bits.
fn distances(node: NodeId, partitions: Partitions) -> impl Iterator<Item = (u16, u32)> {
    let fraction_bits = DISTANCE_BITS - partitions.count().ilog2();
    let fraction_mask = (1u64 << fraction_bits) - 1;
    ranking(node, partitions).into_iter().zip(0u64..).map(move |((draw, partition), rank)| {
        let distance = rank << fraction_bits | draw & fraction_mask;
        (partition, u32::try_from(distance).expect("a rank has the bits that the fraction leaves"))
    })
}

/// A node's draw for each partition, the partition of the smallest draw first.
fn ranking(node: NodeId, partitions: Partitions) -> Vec<(u64, u16)> {
    let mut stream = vec![0; usize::from(partitions.count()) * size_of::<u64>()];
    blake3::Hasher::new_derive_key(RANKING_DOMAIN).update(&node.0.to_le_bytes()).finalize_xof().fill(&mut stream);
    let (draws, _) = stream.as_chunks();
    let mut ranking: Vec<(u64, u16)> = draws.iter().copied().map(u64::from_le_bytes).zip(0..).collect();
    ranking.sort_unstable();
    ranking
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn nodes(ids: impl IntoIterator<Item = u64>) -> Vec<NodeId> {
        ids.into_iter().map(NodeId).collect()
    }

    fn q(count: u16) -> Partitions {
        Partitions::new(count).expect("a power of two")
    }

    #[test]
    fn walk_stays_in_its_arc_and_meets_every_member_once() {
        for (count, members) in [(1, 1), (1, 5), (64, 1), (64, 12), (256, 3)] {
            let ring = TokenRing::new(&nodes(0..members), q(count));
            assert_eq!(ring.partitions(), usize::from(count));
            for partition in 0..ring.partitions() {
                let walk = ring.walk(partition);
                assert!(walk.iter().all(|token| token.partition() == partition));
                assert!(walk.is_sorted_by(|a, b| a < b));
                let met: BTreeSet<usize> = walk.iter().map(|token| token.member()).collect();
                assert_eq!(met, (0..ring.members()).collect());
            }
        }
    }

    #[test]
    fn node_has_one_token_in_each_qth_of_distance() {
        let mut ranks: Vec<u32> = distances(NodeId(42), q(256)).map(|(_, distance)| distance >> 24).collect();
        ranks.sort_unstable();
        assert_eq!(ranks, (0..256).collect::<Vec<_>>());
    }

    #[test]
    fn two_nodes_keep_their_order_whoever_joins() {
        let few = nodes([3, 8, 90]);
        let many = nodes([1, 3, 4, 8, 20, 90, 91]);
        let order = |all: &[NodeId], partition| -> Vec<NodeId> {
            TokenRing::new(all, q(64)).walk(partition).iter().map(|token| all[token.member()]).filter(|node| few.contains(node)).collect()
        };
        for partition in 0..64 {
            assert_eq!(order(&few, partition), order(&many, partition));
        }
    }

    #[test]
    fn token_is_its_position() {
        let token = Token::new(0x1234, 0x5678_9abc, 0xdef0);
        assert_eq!(Positions.hash_one(token), 0x1234_5678_9abc_def0);
        assert_eq!((token.partition(), token.distance(), token.member()), (0x1234, 0x5678_9abc, 0xdef0));
    }
}
