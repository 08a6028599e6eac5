//! `quorate ring`: where a key lives, or where all keys live.
//!
//! The answer is computed here, from the ring description that the cluster tells, by the same function that nodes
//! use: a key's slot, the slot's partition, the partition's preference list.

use bytes::Bytes;
use clap::Args;
use quorate_config::BucketName;
use quorate_protocol::Access;
use quorate_ring::{PartitionId, PlacementTable, Ring, SLOTS, slot_of};
use quorate_rpc::kv::{BucketInfo, Topology};
use serde::Serialize;

use crate::error::CliError;
use crate::exit::Exit;
use crate::globals::{Globals, Output, connect};
use crate::json::{KeyFields, nodes};
use crate::output::{self, Columns};
use crate::text::{checked_key, from_base64};

/// Shows where keys live.
#[derive(Clone, Debug, Args)]
pub struct RingCommand {
    /// The key to look up; without one the whole table is shown.
    #[arg(long, value_name = "KEY")]
    key: Option<String>,

    /// The key is given as base64.
    #[arg(long, requires = "key")]
    key_base64: bool,

    /// The bucket whose number of replicas counts.
    #[arg(long, value_name = "BUCKET", default_value_t = BucketName::default_bucket())]
    bucket: BucketName,
}

/// The cluster has no such bucket.
#[derive(Debug, thiserror::Error)]
#[error("no bucket is called {bucket:?}; the cluster has {}", known.join(", "))]
struct UnknownBucket {
    bucket: String,
    known: Vec<String>,
}

/// What both answers begin with.
#[derive(Serialize)]
struct RingFields {
    outcome: &'static str,
    cluster: String,
    epoch: u64,
    bucket: String,
    replicas: u8,
}

#[derive(Serialize)]
struct KeyPlace {
    #[serde(flatten)]
    ring: RingFields,
    #[serde(flatten)]
    key: KeyFields,
    slot: u16,
    partition: u16,
    preference_list: Vec<String>,
}

#[derive(Serialize)]
struct WholeRing {
    #[serde(flatten)]
    ring: RingFields,
    slots: u16,
    partitions: u16,
    nodes: Vec<NodeFields>,
    table: Vec<PartitionFields>,
}

#[derive(Serialize)]
struct NodeFields {
    node: String,
    address: String,
    zone: Option<String>,
    partitions: usize,
}

#[derive(Serialize)]
struct PartitionFields {
    partition: u16,
    slot_first: u16,
    slot_last: u16,
    preference_list: Vec<String>,
}

/// Runs the command.
///
/// # Errors
/// Exit 2 for a wrong key or bucket, 6 if no node answers; [`CliError::Stdout`].
pub async fn run(command: &RingCommand, globals: &Globals) -> Result<Exit, CliError> {
    let key = command.key()?;
    let client = connect(globals, Access::Read).await?;
    let topology = client.topology();
    let info = bucket(&topology, &command.bucket)?;
    let ring = client.ring();
    let table = ring.table(info.replicas).expect("the client's ring has a table for every bucket");
    let fields = RingFields {
        outcome: "ok",
        cluster: topology.cluster.clone(),
        epoch: ring.epoch().0,
        bucket: info.name.clone(),
        replicas: info.replicas,
    };
    match key {
        Some(key) => print_place(fields, table, &key, globals.output)?,
        None => print_ring(whole(fields, &topology, &ring, table), globals.output)?,
    }
    Ok(Exit::Ok)
}

impl RingCommand {
    fn key(&self) -> Result<Option<Bytes>, CliError> {
        let Some(text) = &self.key else { return Ok(None) };
        let key = if self.key_base64 { from_base64("key", text) } else { Ok(Bytes::from(text.clone())) };
        key.and_then(checked_key).map(Some).map_err(CliError::usage)
    }
}

fn bucket<'a>(topology: &'a Topology, name: &BucketName) -> Result<&'a BucketInfo, CliError> {
    topology.buckets.iter().find(|bucket| bucket.name == name.as_str()).ok_or_else(|| {
        let known = topology.buckets.iter().map(|bucket| bucket.name.clone()).collect();
        CliError::usage(UnknownBucket { bucket: name.to_string(), known })
    })
}

fn print_place(ring: RingFields, table: &PlacementTable, key: &[u8], output: Output) -> Result<(), CliError> {
    let slot = slot_of(key);
    let partition = table.partitions().of(slot);
    let preference_list = nodes(table.preference_list(partition));
    match output {
        Output::Json => {
            output::print_json(&KeyPlace { ring, key: KeyFields::new(key), slot: slot.number(), partition: partition.0, preference_list })
        }
        Output::Table | Output::Raw => {
            let mut columns = Columns::new(&["#slot", "partition", "home replicas", "epoch"]);
            columns.row([slot.to_string(), partition.to_string(), preference_list.join(" "), format!("e{}", ring.epoch)]);
            output::print(columns)
        }
    }
}

fn whole(ring: RingFields, topology: &Topology, computed: &Ring, table: &PlacementTable) -> WholeRing {
    let address = |node| topology.addresses.iter().find(|(member, _)| *member == node).map(|(_, address)| address.clone());
    let member_fields = |member: &quorate_ring::Member| NodeFields {
        node: member.id.to_string(),
        address: address(member.id).unwrap_or_default(),
        zone: member.zone.as_ref().map(ToString::to_string),
        partitions: table.load(member.id),
    };
    WholeRing {
        ring,
        slots: SLOTS,
        partitions: table.partitions().count(),
        nodes: computed.members().iter().map(member_fields).collect(),
        table: table.partitions().iter().map(|partition| PartitionFields::new(table, partition)).collect(),
    }
}

impl PartitionFields {
    fn new(table: &PlacementTable, partition: PartitionId) -> Self {
        let slots = table.partitions().slots(partition);
        Self {
            partition: partition.0,
            slot_first: slots.start,
            slot_last: slots.end - 1,
            preference_list: nodes(table.preference_list(partition)),
        }
    }
}

fn print_ring(whole: WholeRing, output: Output) -> Result<(), CliError> {
    if output == Output::Json {
        return output::print_json(&whole);
    }
    let RingFields { cluster, epoch, bucket, replicas, .. } = &whole.ring;
    output::print(format_args!("cluster {cluster}, epoch e{epoch}, bucket {bucket} with {replicas} home replicas per key\n"))?;
    let mut members = Columns::new(&["node", "address", "zone", "#partitions"]);
    for member in whole.nodes {
        members.row([member.node, member.address, member.zone.unwrap_or_default(), member.partitions.to_string()]);
    }
    output::print(format_args!("{members}\n"))?;
    let mut table = Columns::new(&["partition", "slots", "home replicas"]);
    for line in whole.table {
        let slots = format!("{} to {}", line.slot_first, line.slot_last);
        table.row([PartitionId(line.partition).to_string(), slots, line.preference_list.join(" ")]);
    }
    output::print(table)
}

#[cfg(test)]
mod tests {
    use quorate_protocol::{BucketId, Level};
    use quorate_ring::{Member, NodeId, Partitions, RingEpoch, RingSpec};

    use super::*;

    fn topology() -> Topology {
        let members = [1, 2, 3].map(|id| Member::new(NodeId(id))).to_vec();
        let partitions = Partitions::new(2).expect("a power of two");
        Topology {
            cluster: "shop".to_owned(),
            ring: RingSpec { epoch: RingEpoch(1), partitions, members },
            addresses: [1, 2, 3].map(|id| (NodeId(id), format!("127.0.0.1:740{}", id - 1))).to_vec(),
            buckets: vec![BucketInfo {
                id: BucketId(0),
                name: "default".to_owned(),
                replicas: 3,
                level: Level::Quorum,
                siblings_max: 16,
                blind_writes: true,
                write_mode: Default::default(),
            }],
        }
    }

    fn fields() -> RingFields {
        RingFields { outcome: "ok", cluster: "shop".to_owned(), epoch: 1, bucket: "default".to_owned(), replicas: 3 }
    }

    #[test]
    fn the_whole_ring_has_the_documented_fields() {
        let topology = topology();
        let ring = Ring::new(topology.ring.clone(), [3]).expect("three members");
        let table = ring.table(3).expect("made for three");
        let json = serde_json::to_value(whole(fields(), &topology, &ring, table)).expect("serialises");
        assert_eq!(json["outcome"], "ok");
        assert_eq!((&json["slots"], &json["partitions"], &json["replicas"]), (&16384.into(), &2.into(), &3.into()));
        let first = serde_json::json!({"node": "n1", "address": "127.0.0.1:7400", "zone": null, "partitions": 2});
        assert_eq!(json["nodes"][0], first);
        assert_eq!((&json["table"][1]["slot_first"], &json["table"][1]["slot_last"]), (&8192.into(), &16383.into()));
        assert_eq!(json["table"][1]["preference_list"].as_array().map(Vec::len), Some(3));
    }

    #[test]
    fn an_unknown_bucket_is_refused_with_those_there_are() {
        let name: BucketName = "carts".parse().expect("a name");
        let refused = bucket(&topology(), &name).expect_err("not declared");
        assert_eq!(
            (refused.exit(), refused.to_string()),
            (Exit::Usage, "no bucket is called \"carts\"; the cluster has default".to_owned())
        );
    }
}
