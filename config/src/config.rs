//! The configuration as a whole: read, checked, queried, shown.

use std::collections::BTreeSet;

use quorate_protocol::BucketId;
use quorate_ring::{Member, RingEpoch, RingSpec};

use crate::bucket::BucketProperties;
use crate::cluster::Cluster;
use crate::coordination::Coordination;
use crate::effective::EffectiveTable;
use crate::error::{ConfigError, ConfigErrors, Problem};
use crate::hints::Hints;
use crate::layer::{Sources, merge_sources};
use crate::log::Log;
use crate::node::Node;
use crate::origin::Origin;
use crate::peer::Peer;
use crate::reader::{Decoder, Subtable};
use crate::store::Store;

/// The configuration of one node, complete and consistent.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[cluster]`: what all nodes agree on.
    pub cluster: Cluster,
    /// `[node]`: this node.
    pub node: Node,
    /// `[store]`: the storage engine.
    pub store: Store,
    /// `[peer]`: connections to other nodes.
    pub peer: Peer,
    /// `[coordination]`: the conduct of requests.
    pub coordination: Coordination,
    /// `[hints]`: hinted handoff.
    pub hints: Hints,
    /// `[log]`: logging.
    pub log: Log,
    /// `[[bucket]]`: `default` first, then in the order declared; numbers and names differ.
    pub buckets: Vec<BucketProperties>,
    effective: Vec<EffectiveTable>,
}

impl Config {
    /// Reads the configuration from its sources: file, under environment, under command line.
    ///
    /// # Errors
    /// [`ConfigErrors`] with everything that is wrong. If the file is not TOML at all, only that is reported.
    pub fn from_sources(sources: Sources) -> Result<Self, ConfigErrors> {
        let mut errors = Vec::new();
        let root = merge_sources(&sources, &mut errors);
        let Sources { file, .. } = sources;
        if errors.iter().any(|error| matches!(error.problem, Problem::Syntax { .. })) {
            return Err(ConfigErrors::new(errors, file));
        }
        let origin = file.as_ref().map_or(Origin::Default, |file| Origin::File(file.beginning()));
        Self::read(Subtable { origin, table: root }, Decoder::new(errors)).map_err(|errors| ConfigErrors::new(errors, file))
    }

    fn read(root: Subtable, mut decoder: Decoder) -> Result<Self, Vec<ConfigError>> {
        let mut table = decoder.table("", "", root);
        let [cluster, node, store, peer] = ["cluster", "node", "store", "peer"].map(|name| table.subtable(name));
        let [coordination, hints, log] = ["coordination", "hints", "log"].map(|name| table.subtable(name));
        let buckets = table.subtables("bucket");
        table.finish();

        let decoder_ref = &mut decoder;
        let cluster = Cluster::read(decoder_ref, cluster);
        let config = Self {
            node: Node::read(decoder_ref, node, &cluster),
            store: Store::read(decoder_ref, store),
            peer: Peer::read(decoder_ref, peer),
            coordination: Coordination::read(decoder_ref, coordination),
            hints: Hints::read(decoder_ref, hints),
            log: Log::read(decoder_ref, log),
            buckets: BucketProperties::read_all(decoder_ref, buckets, &cluster),
            cluster,
            effective: Vec::new(),
        };
        Ok(Self { effective: decoder.finish()?, ..config })
    }

    /// The bucket called `name`, if it is declared or is `default`.
    pub fn bucket(&self, name: &str) -> Option<&BucketProperties> {
        self.buckets.iter().find(|bucket| bucket.name.as_str() == name)
    }

    /// The bucket with the number `id`.
    pub fn bucket_by_id(&self, id: BucketId) -> Option<&BucketProperties> {
        self.buckets.iter().find(|bucket| bucket.id == id)
    }

    /// What the ring of the first epoch is made of.
    pub fn ring_spec(&self) -> RingSpec {
        const FIRST: RingEpoch = RingEpoch(1);
        let members = self.cluster.nodes.iter().map(|node| Member { id: node.id, zone: node.zone.clone() }).collect();
        RingSpec { epoch: FIRST, partitions: self.cluster.partitions, members }
    }

    /// The numbers of replicas that buckets have; the ring needs a table of preference lists for each.
    pub fn replica_counts(&self) -> BTreeSet<u8> {
        self.buckets.iter().map(|bucket| bucket.replicas).collect()
    }

    /// Who decided the value of a key such as `peer.queue_max` or `cluster.node[0].id`; `None` if there is no such key.
    pub fn origin(&self, path: &str) -> Option<&Origin> {
        self.effective.iter().find_map(|table| table.line(path)).map(|line| &line.origin)
    }

    /// The whole effective configuration as TOML, each line with a comment on who decided it.
    ///
    /// It is a configuration file with the same effect, except that a secret is not shown.
    pub fn render(&self) -> String {
        let tables = self.effective.iter().map(ToString::to_string).collect::<String>();
        format!("# the effective configuration; behind each key, who decided its value\n{tables}")
    }
}
