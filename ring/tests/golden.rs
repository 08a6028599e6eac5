//! Placement is frozen: these tables were computed once and committed, and every build must compute them again.
//!
//! A difference here means that keys of existing clusters would be looked for on other nodes. If that is truly meant,
//! give the hash domains of the crate a new number, and replace the files by what the failing test prints.

use std::fmt::Write;

use quorate_ring::{Member, NodeId, Partitions, PlacementTable, RingEpoch, RingSpec, Zone};

fn member(id: u64) -> Member {
    Member::new(NodeId(id))
}

fn member_in(zone: &str, id: u64) -> Member {
    Member::in_zone(NodeId(id), Zone::new(zone).expect("a short name"))
}

/// The fingerprint, the load of each node, then for each partition its preference list and its walk.
fn describe(members: Vec<Member>) -> String {
    let spec = RingSpec { epoch: RingEpoch(1), partitions: Partitions::default(), members };
    let table = PlacementTable::compute(&spec, 3).expect("at least three members");
    let mut text = format!("fingerprint {:016x}\n", table.fingerprint());
    for member in &spec.members {
        writeln!(text, "{} holds {}", member.id, table.load(member.id)).expect("writing to memory");
    }
    for partition in spec.partitions.iter() {
        write!(text, "{partition} {}", table.preference_list(partition)).expect("writing to memory");
        for node in table.walk(partition) {
            write!(text, " {node}").expect("writing to memory");
        }
        text.push('\n');
    }
    text
}

fn check(members: Vec<Member>, golden: &str) {
    let computed = describe(members);
    if computed != golden {
        let first = computed.lines().zip(golden.lines()).find(|(computed, golden)| computed != golden);
        println!("{computed}");
        panic!("the placement changed; first difference (computed, golden): {first:?}");
    }
}

#[test]
fn three_nodes() {
    check((1..=3).map(member).collect(), include_str!("golden/3-nodes.txt"));
}

#[test]
fn five_nodes() {
    check((1..=5).map(member).collect(), include_str!("golden/5-nodes.txt"));
}

#[test]
fn seven_nodes_with_ids_of_every_size() {
    let ids = [0, 1, 200, 70_000, 5_000_000_000, 1 << 63, u64::MAX];
    check(ids.map(member).to_vec(), include_str!("golden/7-nodes.txt"));
}

#[test]
fn six_nodes_in_three_unequal_zones() {
    let members = [("east", 1), ("east", 2), ("east", 3), ("north", 4), ("north", 5), ("west", 6)];
    check(members.map(|(zone, id)| member_in(zone, id)).to_vec(), include_str!("golden/6-nodes-3-zones.txt"));
}
