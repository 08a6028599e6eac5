//! Where a key lives: slots, partitions, preference lists.
//!
//! **Promise.** Every process that is given the same [`RingSpec`] finds the same nodes for the same key, whatever its
//! platform, compiler, or the order in which it learned of the members. Nothing here reads a clock, does I/O, draws
//! randomness or iterates in hash order.
//!
//! ```text
//!   key  --slot_of-->  Slot  --Partitions::of-->  PartitionId  --PlacementTable-->  PreferenceList  n4 n1 n7
//!        CRC16 of the        equal runs of            once per ring epoch,          N homes, in ring order
//!        key or {tag}        16384 / Q slots          by the token ring             (and all other nodes: the walk)
//! ```
//!
//! | idea | file |
//! |---|---|
//! | who: node ids, zones, members | `node.rs` |
//! | the slot function that Redis Cluster clients know | `slot.rs` |
//! | fixed, equal partitions of the slots | `partition.rs` |
//! | N distinct nodes in order | `preference_list.rs` |
//! | tokens on the consistent-hash ring | `token_ring.rs` |
//! | how many copies a node may take | `capacity.rs` |
//! | which copies it takes | `assignment.rs` |
//! | the result, once per ring epoch and replica count | `placement.rs` |
//! | all of it as one immutable snapshot | `ring.rs` |
//!
//! **Deliberately missing.** Weighted nodes (every node has the same capacity), changing the number of partitions of a
//! living cluster (a key never moves between partitions), and the plan of transfers from one ring epoch to the next:
//! this crate says where copies belong, not how they get there.

mod assignment;
mod capacity;
mod node;
mod partition;
mod placement;
mod preference_list;
mod ring;
mod slot;
mod token_ring;

pub use node::{Member, NodeId, NodeIdError, ZONE_BYTES_MAX, Zone, ZoneError};
pub use partition::{PartitionId, Partitions, PartitionsError};
pub use placement::{NODES_MAX, PlacementError, PlacementTable};
pub use preference_list::{PreferenceList, PreferenceListError, REPLICAS_MAX};
pub use ring::{Ring, RingEpoch, RingSpec};
pub use slot::{SLOTS, Slot, SlotError, slot_of};
