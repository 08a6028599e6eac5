//! What is allowed and probably not meant.

use std::fmt;

use quorate_ring::{NodeId, Zone};

use crate::address::Secret;
use crate::bucket::BucketName;
use crate::config::Config;
use crate::origin::Origin;

/// Something a configuration may do that its owner should know. `Display` is one sentence without a full stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// There is no `cluster.secret`.
    NoSecret,
    /// The secret is short enough to be guessed.
    ShortSecret {
        /// Its length.
        bytes: usize,
    },
    /// The secret was given with `--set`.
    SecretOnCommandLine,
    /// A bucket keeps one copy of each key.
    SingleCopy {
        /// The bucket.
        bucket: BucketName,
    },
    /// A bucket acknowledges writes that a power failure may take back.
    NotSynced {
        /// The bucket.
        bucket: BucketName,
    },
    /// Some nodes have a zone and others have none.
    PartlyZoned {
        /// The nodes without.
        without: Vec<NodeId>,
    },
    /// There are fewer zones than replicas, so that some replicas share a zone.
    FewZones {
        /// Different zones declared.
        zones: usize,
        /// Replicas of each key.
        replicas: u8,
    },
}

impl Config {
    /// What this configuration allows and its owner should know; empty when all is well.
    pub fn warnings(&self) -> Vec<Warning> {
        let mut warnings: Vec<Warning> = self.secret_warning().into_iter().collect();
        for bucket in &self.buckets {
            let name = || bucket.name.clone();
            warnings.extend((bucket.replicas == 1).then(|| Warning::SingleCopy { bucket: name() }));
            warnings.extend((!bucket.fsync_before_ack).then(|| Warning::NotSynced { bucket: name() }));
        }
        warnings.extend(self.zone_warning());
        warnings
    }

    fn secret_warning(&self) -> Option<Warning> {
        const BYTES_ENOUGH: usize = 16;
        let Some(bytes) = self.cluster.secret.as_ref().map(|secret: &Secret| secret.expose().len()) else {
            return Some(Warning::NoSecret);
        };
        if bytes < BYTES_ENOUGH {
            return Some(Warning::ShortSecret { bytes });
        }
        matches!(self.origin("cluster.secret"), Some(Origin::Set { .. })).then_some(Warning::SecretOnCommandLine)
    }

    fn zone_warning(&self) -> Option<Warning> {
        let nodes = &self.cluster.nodes;
        let mut zones: Vec<&Zone> = nodes.iter().filter_map(|node| node.zone.as_ref()).collect();
        zones.sort_unstable();
        zones.dedup();
        if zones.is_empty() {
            return None;
        }
        let without: Vec<NodeId> = nodes.iter().filter(|node| node.zone.is_none()).map(|node| node.id).collect();
        if !without.is_empty() {
            return Some(Warning::PartlyZoned { without });
        }
        let replicas = self.buckets.iter().map(|bucket| bucket.replicas).max()?;
        (zones.len() < usize::from(replicas)).then_some(Warning::FewZones { zones: zones.len(), replicas })
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSecret => f.write_str(
                "there is no cluster.secret: contexts are guarded against accidents only, not against forgery; and whoever can connect \
                 can pass for a node that has not been met yet, or shut a known one out",
            ),
            Self::ShortSecret { bytes } => {
                write!(f, "cluster.secret has {bytes} bytes and can be guessed; write 16 or more random characters")
            }
            Self::SecretOnCommandLine => f.write_str(
                "cluster.secret is on the command line, where every user of this machine can read it; use the file or the environment",
            ),
            Self::SingleCopy { bucket } => write!(f, "bucket {bucket} keeps one copy of each key: a lost node loses data"),
            Self::NotSynced { bucket } => {
                write!(f, "bucket {bucket} acknowledges weak writes before they are synced: a power failure may take them back")
            }
            Self::PartlyZoned { without } => {
                let names: Vec<String> = without.iter().map(ToString::to_string).collect();
                write!(f, "some nodes have a zone, but not {}: nodes without one count as sharing one", names.join(", "))
            }
            Self::FewZones { zones, replicas } => {
                write!(f, "{replicas} replicas share {zones} zones: a lost zone may take more than one copy of a key")
            }
        }
    }
}
