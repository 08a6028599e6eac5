//! `[[bucket]]`: named key spaces with their own replicas, default level and rules.
//!
//! There is always a bucket `default`, number 0; declaring it changes its properties. A bucket's number is part of every
//! storage key and follows from its name alone, so every node computes the same one:
//!
//! ```text
//! number("default") = 0
//! number(name)      = first 4 bytes, big-endian, of BLAKE3 derive_key("quorate bucket number v1", name)
//! ```
//!
//! Two declared names with the same number are refused.

use std::fmt;
use std::str::FromStr;

use quorate_protocol::record::WriteMode;
use quorate_protocol::{Access, BucketId, Level, limits};
use quorate_ring::REPLICAS_MAX;

use crate::cluster::Cluster;
use crate::error::Problem;
use crate::layer::{Entry, Item, Shape, Table};
use crate::origin::Origin;
use crate::reader::{Decoder, Subtable};

/// The rules of one bucket. Section `[[bucket]]`; the same list on every node.
#[derive(Clone, Debug, PartialEq)]
pub struct BucketProperties {
    /// The bucket's number, which follows from its name.
    pub id: BucketId,
    /// `name`: 1 to 64 of `a-z 0-9 _ -`. Required, distinct. A renamed bucket is another, empty one.
    pub name: BucketName,
    /// `replicas`: nodes that keep a copy of each key of this bucket. Default: `cluster.replicas`. At most the number of
    /// nodes and at most 7; fixed once the bucket holds data.
    pub replicas: u8,
    /// `write_mode`: which writes the bucket takes. `mixed`, the default, takes eventual and linearizable ones on the same keys;
    /// `lin_only` refuses eventual ones everywhere, and a steady linearizable writer then needs one round trip. For locks, counters,
    /// leader election. Fixed for the life of the bucket.
    pub write_mode: WriteMode,
    /// `level`: the level of requests that name none. Default `quorum`, or `linearizable` where `write_mode` is `lin_only`, which
    /// refuses any other. See the documentation of levels for what each promises; `any` is refused because it cannot serve reads.
    pub level: Level,
    /// `siblings_max`: concurrent values one key may hold; a write beyond is answered `TooManySiblings`. Default 16, at most
    /// 128. A high limit hides clients that never resolve; 1 forbids concurrent values.
    pub siblings_max: usize,
    /// `blind_writes`: whether a write without a context is allowed. Default true. False makes every writer say what it has
    /// read, so nobody replaces what they have not seen.
    pub blind_writes: bool,
    /// `fsync_before_ack`: whether a replica syncs a write before it acknowledges it. Default true. False is faster for
    /// writes below `quorum`, which a power failure may then take back after the acknowledgement. Off, a read right after an
    /// acknowledged put may miss it until the next sync, on the very replica that acknowledged it: reads show synced state only;
    /// X + Y > N then does not promise read-your-writes.
    pub fsync_before_ack: bool,
}

/// The name of a bucket: 1 to 64 of `a-z 0-9 _ -`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BucketName(String);

/// The text cannot name a bucket.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} cannot name a bucket; write 1 to {} lower-case letters, digits, hyphens or underscores", BucketName::BYTES_MAX)]
pub struct InvalidBucketName {
    /// What was written.
    pub text: String,
}

impl BucketName {
    /// Bytes of the longest name.
    pub const BYTES_MAX: usize = 64;
    const DEFAULT: &str = "default";
    const NUMBER_CONTEXT: &str = "quorate bucket number v1";

    /// The name of the bucket that always exists.
    pub fn default_bucket() -> Self {
        Self(Self::DEFAULT.to_owned())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The number that this name stands for in storage keys and messages.
    pub fn id(&self) -> BucketId {
        if self.0 == Self::DEFAULT {
            return BucketId(0);
        }
        let digest = blake3::derive_key(Self::NUMBER_CONTEXT, self.0.as_bytes());
        let (first, _) = digest.split_first_chunk().expect("a digest has 32 bytes");
        BucketId(u32::from_be_bytes(*first))
    }
}

impl BucketProperties {
    const SIBLINGS_MAX: usize = 16;

    fn level_of(write_mode: WriteMode) -> Level {
        match write_mode {
            WriteMode::Mixed => Level::Quorum,
            WriteMode::LinOnly => Level::Linearizable,
        }
    }

    /// Reads the declared buckets, adds `default` if it is not among them, and puts it first.
    pub(crate) fn read_all(decoder: &mut Decoder, mut subtables: Vec<Subtable>, cluster: &Cluster) -> Vec<Self> {
        if !subtables.iter().any(|subtable| names_default(&subtable.table)) {
            subtables.push(undeclared_default()); // last, so that the others keep their index in errors
        }
        let mut buckets: Vec<Self> = Vec::new();
        for (index, subtable) in subtables.into_iter().enumerate() {
            let bucket = Self::read(decoder, index, subtable, cluster);
            bucket.check_name(decoder, index, &buckets);
            buckets.push(bucket);
        }
        buckets.sort_by_key(|bucket| bucket.id != BucketId(0));
        buckets
    }

    fn read(decoder: &mut Decoder, index: usize, subtable: Subtable, cluster: &Cluster) -> Self {
        let mut table = decoder.table(&format!("bucket[{index}]"), "[[bucket]]", subtable);
        let name = table.key("name").required(BucketName::default_bucket());
        let replicas = table.key("replicas").within(1, REPLICAS_MAX).or(cluster.replicas);
        let write_mode = table.key("write_mode").or(WriteMode::default());
        let bucket = Self {
            id: name.id(),
            name,
            replicas,
            write_mode,
            level: table.key("level").or(Self::level_of(write_mode)),
            siblings_max: table.key("siblings_max").within(1, limits::SIBLINGS_MAX).or(Self::SIBLINGS_MAX),
            blind_writes: table.key("blind_writes").or(true),
            fsync_before_ack: table.key("fsync_before_ack").or(true),
        };
        table.finish();
        bucket.check_replicas(decoder, index, cluster);
        bucket.check_level(decoder, index);
        bucket
    }

    fn check_replicas(&self, decoder: &mut Decoder, index: usize, cluster: &Cluster) {
        let path = path(index, "replicas");
        let (nodes, origin) = (cluster.nodes.len(), decoder.origin(&path));
        let inherited = origin == Origin::Default; // then cluster.replicas is checked already
        let checkable = !inherited && nodes > 0 && decoder.sound(&[&path, "cluster.node"]);
        if checkable && usize::from(self.replicas) > nodes {
            decoder.refuse(origin, Problem::TooManyReplicas { key: path, replicas: self.replicas, nodes, by_default: false });
        }
    }

    fn check_level(&self, decoder: &mut Decoder, index: usize) {
        let (level, replicas, name) = (path(index, "level"), path(index, "replicas"), path(index, "name"));
        if !decoder.sound(&[&level, &replicas, &name, "cluster.replicas"]) {
            return;
        }
        let needed = |access| self.level.needed(access, self.replicas);
        if let Err(error) = needed(Access::Read).and(needed(Access::Write)) {
            let origin = decoder.latest_origin(&[&replicas, &level]);
            decoder.refuse(origin, Problem::ImpossibleLevel { bucket: self.name.clone(), error });
        }
        let write_mode = path(index, "write_mode");
        if self.write_mode == WriteMode::LinOnly && self.level != Level::Linearizable && decoder.sound(&[&write_mode]) {
            let origin = decoder.latest_origin(&[&write_mode, &level]);
            decoder.refuse(origin, Problem::EventualLevelInLinOnly { bucket: self.name.clone(), level: self.level });
        }
    }

    fn check_name(&self, decoder: &mut Decoder, index: usize, earlier: &[Self]) {
        let name = path(index, "name");
        let twin = earlier.iter().position(|other| other.id == self.id);
        let Some((first, other)) = twin.map(|first| (first, &earlier[first])) else {
            return;
        };
        if !decoder.sound(&[&name, &path(first, "name")]) {
            return;
        }
        let problem = if other.name == self.name {
            Problem::DuplicateBucket { name: self.name.clone(), first: decoder.origin(&path(first, "name")) }
        } else {
            Problem::BucketCollision { name: self.name.clone(), other: other.name.clone(), id: self.id }
        };
        decoder.refuse(decoder.origin(&name), problem);
    }
}

fn path(index: usize, key: &str) -> String {
    format!("bucket[{index}].{key}")
}

fn names_default(table: &Table) -> bool {
    table.get("name").and_then(|entry| entry.item.text()) == Some(BucketName::DEFAULT)
}

fn undeclared_default() -> Subtable {
    let name = Item { origin: Origin::Default, written: String::new(), shape: Shape::Text(BucketName::DEFAULT.to_owned()) };
    let entry = Entry { key: Origin::Default, item: name };
    Subtable { origin: Origin::Default, table: Table::from([("name".to_owned(), entry)]) }
}

impl FromStr for BucketName {
    type Err = InvalidBucketName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte));
        if plain && (1..=Self::BYTES_MAX).contains(&text.len()) {
            return Ok(Self(text.to_owned()));
        }
        Err(InvalidBucketName { text: text.to_owned() })
    }
}

impl fmt::Display for BucketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_numbers_never_change() {
        let id = |name: &str| name.parse::<BucketName>().expect("a name").id().to_string();
        insta::assert_snapshot!([id("default"), id("carts"), id("users"), id("a")].join(" "), @"b00000000 bc4c8332b b006bc707 bfaf95c5c");
    }

    #[test]
    fn bucket_names_are_short_plain_and_lower_case() {
        let longest = "x".repeat(BucketName::BYTES_MAX);
        for name in ["a", "carts-2026", "user_names", longest.as_str()] {
            assert_eq!(name.parse::<BucketName>().expect("a name").as_str(), name);
        }
        let too_long = "x".repeat(BucketName::BYTES_MAX + 1);
        for name in ["", "Carts", "ca rts", "ca.rts", "käse", too_long.as_str()] {
            assert!(name.parse::<BucketName>().is_err(), "{name:?} must be refused");
        }
    }
}
