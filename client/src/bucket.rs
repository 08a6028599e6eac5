//! A bucket: a named key space, and how its operations are done unless they say otherwise.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_protocol::{Level, OpId};
use quorate_ring::NodeId;

use crate::change::{Change, Compare};
use crate::client::Inner;
use crate::fate::AskFate;
use crate::get::Get;
use crate::operation::{Settings, Target};
use crate::scan::{Keys, Scan};
use crate::session::Session;
use crate::typed::JsonBucket;
use crate::write::Write;

/// One bucket of the cluster. Cheap to clone.
///
/// ```no_run
/// # async fn example(kv: quorate_client::Client) -> Result<(), quorate_client::Error> {
/// let carts = kv.bucket("carts").level(quorate_client::Level::One);
/// carts.put("7", "milk").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Bucket {
    pub(crate) inner: Arc<Inner>,
    pub(crate) name: Arc<str>,
    pub(crate) settings: Settings,
}

impl Bucket {
    /// The bucket's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The level of operations made through this value that name none.
    #[must_use]
    pub fn level(mut self, level: Level) -> Self {
        self.settings.level = Some(level);
        self
    }

    /// The total deadline of operations made through this value that name none.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.settings.deadline = deadline;
        self
    }

    /// The session of operations made through this value.
    #[must_use]
    pub fn session(mut self, session: &Session) -> Self {
        self.settings.session = Some(session.clone());
        self
    }

    /// The only node that reads and writes through this value are sent to, whoever owns the key; it coordinates, or hands a write on
    /// to a home replica that it reaches. To look at a cluster from one side: without it the client goes where it gets an answer. Scans
    /// do that in any case.
    #[must_use]
    pub fn via(mut self, node: NodeId) -> Self {
        self.settings.via = Some(node);
        self
    }

    /// Reads a key.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Get {
        Get::new(self.target(key))
    }

    /// Writes a key. Without a context it replaces what the coordinating replica has seen.
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl Into<Bytes>) -> Write {
        Write::put(self.target(key), value.into())
    }

    /// Deletes a key. Without a context it deletes what the coordinating replica has seen.
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Write {
        Write::delete(self.target(key))
    }

    /// Sets or deletes a key if it is as expected: linearizable, whatever the level of this value.
    pub fn cas(&self, key: impl AsRef<[u8]>) -> Compare {
        Compare::new(self.target(key))
    }

    /// Adds to the decimal number that a key holds, an absent one counting as 0, and gives the sum. Linearizable, and applied once.
    pub fn incr(&self, key: impl AsRef<[u8]>, by: i64) -> Change<i64> {
        Change::increment(self.target(key), by)
    }

    /// Appends to the value of a key and gives its new length in bytes. Linearizable, and applied once.
    pub fn append(&self, key: impl AsRef<[u8]>, tail: impl Into<Bytes>) -> Change<u64> {
        Change::append(self.target(key), tail.into())
    }

    /// Puts a decimal number if the key holds a lower one or none, and gives what it holds then. Linearizable, and applied once.
    pub fn set_if_greater(&self, key: impl AsRef<[u8]>, number: i64) -> Change<i64> {
        Change::set_if_greater(self.target(key), number)
    }

    /// Asks what became of an operation on a key ([`crate::Error::op`]).
    pub fn outcome(&self, key: impl AsRef<[u8]>, op: OpId) -> AskFate {
        AskFate::new(self.target(key), op)
    }

    /// The bucket with JSON values of one type.
    pub fn json<T>(self) -> JsonBucket<T> {
        JsonBucket::new(self)
    }

    /// Lists the bucket's keys, deleted ones included.
    pub fn keys(&self) -> Keys {
        Keys::new(self.clone())
    }

    /// Reads every key of the bucket.
    pub fn scan(&self) -> Scan {
        Scan::new(self.clone())
    }

    fn target(&self, key: impl AsRef<[u8]>) -> Target {
        self.target_of(Bytes::copy_from_slice(key.as_ref()))
    }

    pub(crate) fn target_of(&self, key: Bytes) -> Target {
        Target { inner: Arc::clone(&self.inner), bucket: Arc::clone(&self.name), key, settings: self.settings.clone() }
    }
}
