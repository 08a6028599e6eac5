//! Going through all keys of a bucket.
//!
//! **Promise.** Every key that was there all along is found: per partition the key lists of as many home replicas are united as
//! the level reads from. A key written or deleted meanwhile may be found or not. Keys come partition by partition, in byte
//! order within one.
//!
//! **Rules.**
//! - *Listing*: page by page, each an operation of its own with its own deadline.
//! - *Reading*: each key is read at the level, several at once, and comes in the order of the list; keys without a value are
//!   left out.
//! - *Upon a failed page or read*: the error is an item like any other. The consumer decides whether to stop; after a failed
//!   page the scan goes on with the next partition.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::future;
use futures::stream::{self, BoxStream, Stream, StreamExt};
use quorate_protocol::{Access, Level};
use quorate_ring::PartitionId;
use quorate_rpc::kv::ListRequest;
use quorate_rpc::peer::KeysPage;

use crate::bucket::Bucket;
use crate::error::{Error, Subject, Verb};
use crate::get::{Get, Read};
use crate::operation::{check_level, operation};

/// Keys of a page unless told otherwise: at the longest, a page is then a megabyte.
const PAGE_KEYS: u32 = 1_000;

/// Reads of a scan in flight unless told otherwise.
const CONCURRENCY: usize = 16;

/// Most reads of a scan in flight.
pub const SCAN_CONCURRENCY_MAX: usize = 1_024;

/// A list of a bucket's keys to be, deleted ones included.
#[derive(Clone, Debug)]
#[must_use = "keys are listed by their stream"]
pub struct Keys {
    bucket: Bucket,
    page_keys: u32,
}

impl Keys {
    pub(crate) fn new(bucket: Bucket) -> Self {
        Self { bucket, page_keys: PAGE_KEYS }
    }

    /// The level: the lists of as many home replicas are united as a read at this level asks.
    pub fn level(mut self, level: Level) -> Self {
        self.bucket.settings.level = Some(level);
        self
    }

    /// The deadline of each page.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.bucket.settings.deadline = deadline;
        self
    }

    /// Most keys of a page, at least one; 1000 by default.
    pub fn page_keys(mut self, count: u32) -> Self {
        self.page_keys = count.max(1);
        self
    }

    /// Begins to list when polled.
    pub fn stream(self) -> Items<Bytes> {
        let cursor = Cursor { list: self, partition: PartitionId(0), after: None, ended: false };
        let pages = stream::unfold(cursor, Cursor::next);
        let keys = pages.map(|page| match page {
            Ok(keys) => stream::iter(keys.into_iter().map(Ok)).left_stream(),
            Err(error) => stream::iter([Err(error)]).right_stream(),
        });
        Items(keys.flatten().boxed())
    }

    async fn page(&self, partition: PartitionId, after: Option<Bytes>) -> Result<(KeysPage, u16), Error> {
        let Bucket { inner, name, settings } = &self.bucket;
        let budget = inner.clock.budget(settings.deadline);
        let operation = |level| operation(Verb::List, Subject::Partition(partition), name, level, None);
        let invalid = |level, reason| Error::Invalid { operation: operation(level), reason: Box::new(reason) };
        let (snapshot, info) = inner.bucket(name, budget).await.map_err(|reason| invalid(settings.level, reason))?;
        let level = settings.level.or(Some(info.level));
        check_level(settings.level, Access::Read, &info).map_err(|reason| invalid(level, reason))?;
        let request = ListRequest { bucket: info.id, partition, after, count_max: self.page_keys, level: settings.level, micros_left: 0 };
        let page = inner.run(&request, (&snapshot, &info), partition, None, budget).await;
        let page = page.map_err(|ended| ended.into_error(operation(level), budget))?;
        Ok((page, snapshot.ring.partitions().count()))
    }
}

/// Where a listing stands.
struct Cursor {
    list: Keys,
    partition: PartitionId,
    after: Option<Bytes>,
    ended: bool,
}

impl Cursor {
    async fn next(mut self) -> Option<(Result<Vec<Bytes>, Error>, Self)> {
        if self.ended {
            return None;
        }
        match self.list.page(self.partition, self.after.take()).await {
            Ok((page, partitions)) => {
                self.after = page.keys.last().filter(|_| page.more).cloned();
                if self.after.is_none() {
                    self.partition.0 += 1;
                }
                self.ended = self.partition.0 >= partitions;
                Some((Ok(page.keys), self))
            }
            Err(error) => {
                self.partition.0 += 1;
                let partitions = self.list.bucket.inner.partitions();
                self.ended = matches!(error, Error::Invalid { .. }) || self.partition.0 >= partitions;
                Some((Err(error), self))
            }
        }
    }
}

/// A scan to be: every key of a bucket, read at a level.
///
/// ```no_run
/// # async fn example(kv: quorate_client::Client) -> Result<(), quorate_client::Error> {
/// let mut carts = kv.bucket("carts").scan().concurrency(32).stream();
/// while let Some(read) = carts.next().await {
///     let read = read?;
///     println!("{:?} has {} values", read.key(), read.siblings().len());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "keys are read by the scan's stream"]
pub struct Scan {
    keys: Keys,
    concurrency: usize,
}

impl Scan {
    pub(crate) fn new(bucket: Bucket) -> Self {
        Self { keys: Keys::new(bucket), concurrency: CONCURRENCY }
    }

    /// The level of the lists and of the reads.
    pub fn level(mut self, level: Level) -> Self {
        self.keys = self.keys.level(level);
        self
    }

    /// The deadline of each page and each read.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.keys = self.keys.deadline(deadline);
        self
    }

    /// Most keys of a page, at least one; 1000 by default.
    pub fn page_keys(mut self, count: u32) -> Self {
        self.keys = self.keys.page_keys(count);
        self
    }

    /// Reads in flight, 16 by default, at most [`SCAN_CONCURRENCY_MAX`]. More is faster until the nodes are busy.
    pub fn concurrency(mut self, reads: usize) -> Self {
        self.concurrency = reads.clamp(1, SCAN_CONCURRENCY_MAX);
        self
    }

    /// Begins to scan when polled.
    pub fn stream(self) -> Items<Read> {
        let bucket = self.keys.bucket.clone();
        let reads = self.keys.stream().map(move |key| {
            let target = key.map(|key| bucket.target_of(key));
            async move { Get::new(target?).await }
        });
        let present = |read: &Result<Read, Error>| future::ready(!read.as_ref().is_ok_and(|read| read.siblings().is_empty()));
        Items(reads.buffered(self.concurrency).filter(present).boxed())
    }
}

/// What a listing or a scan brings, one by one. A stream, for those who like combinators.
#[must_use = "nothing happens until it is polled"]
pub struct Items<T>(BoxStream<'static, Result<T, Error>>);

impl<T> Items<T> {
    /// The next item; `None` at the end.
    pub async fn next(&mut self) -> Option<Result<T, Error>> {
        self.0.next().await
    }
}

impl<T> Stream for Items<T> {
    type Item = Result<T, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next_unpin(cx)
    }
}

impl<T> std::fmt::Debug for Items<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Items")
    }
}
