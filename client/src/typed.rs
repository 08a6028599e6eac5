//! Values of one type, as JSON, with the merging of concurrent ones decided once.
//!
//! **Promise.** What a program stored is what it gets back, or a typed error. Siblings are merged by the bucket's resolver, in
//! memory by a `get`, and for good by an `update`.
//!
//! **`update` at `linearizable` is a transaction on its key**: it reads, changes, and sets the result if nothing has happened in
//! between, else it begins again. At every other level it is none: it reads, merges, changes and writes with the context of its read, so
//! it replaces what it has seen and nothing else. Two updates at the same time leave two siblings, which the next one merges. Choose a
//! resolver under which that loses nothing: a union, a maximum, a sum of parts kept apart; not "the later one".

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;
use quorate_protocol::outcome::Reason;
use quorate_protocol::{Level, Outcome};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bucket::Bucket;
use crate::change::{Cas, Changed, Current, Expect};
use crate::clock::Budget;
use crate::context::Context;
use crate::error::Error;
use crate::get::{Conflict, Read};
use crate::key_text::KeyText;
use crate::token::Token;
use crate::write::Written;

/// Most times that an update reads and writes before it gives up; each write already retries by itself until its deadline.
pub const UPDATE_TRIES_MAX: u32 = 8;

type Resolver<T> = dyn Fn(Vec<T>) -> T + Send + Sync;

/// A bucket whose values are JSON of one type.
///
/// ```no_run
/// # async fn example(kv: quorate_client::Client) -> Result<(), quorate_client::TypedError> {
/// use std::collections::BTreeSet;
///
/// let carts = kv.bucket("carts").json::<BTreeSet<String>>().resolve_with(|a, b| &a | &b);
/// carts.update("7", |cart| {
///     let mut cart = cart.unwrap_or_default();
///     cart.insert("milk".to_owned());
///     cart
/// }).await?;
/// # Ok(())
/// # }
/// ```
pub struct JsonBucket<T> {
    bucket: Bucket,
    resolver: Option<Arc<Resolver<T>>>,
    values: PhantomData<fn() -> T>,
}

impl<T> Clone for JsonBucket<T> {
    fn clone(&self) -> Self {
        Self { bucket: self.bucket.clone(), resolver: self.resolver.clone(), values: PhantomData }
    }
}

impl<T> fmt::Debug for JsonBucket<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JsonBucket").field("bucket", &self.bucket).field("resolves", &self.resolver.is_some()).finish()
    }
}

/// A typed operation failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TypedError {
    /// The operation on the store failed.
    #[error(transparent)]
    Operation(#[from] Error),
    /// There are siblings and nothing that merges them. Nothing was written.
    #[error(transparent)]
    Conflict(#[from] Box<Conflict>),
    /// An update at `linearizable` was overtaken by others each time. Nothing was written.
    #[error("the update of {} was overtaken by others {tries} times", KeyText(key))]
    Overtaken {
        /// The key.
        key: Bytes,
        /// How often it was tried.
        tries: u32,
    },
    /// A stored value is not JSON of the type. Nothing was written.
    #[error("the value of {} is not of the expected type", KeyText(key))]
    Decode {
        /// The key.
        key: Bytes,
        /// Where and why.
        source: serde_json::Error,
    },
    /// The value cannot be written as JSON. Nothing was written.
    #[error("the new value of {} cannot be written as JSON", KeyText(key))]
    Encode {
        /// The key.
        key: Bytes,
        /// Why.
        source: serde_json::Error,
    },
}

impl TypedError {
    /// Did it happen?
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Operation(error) => error.outcome(),
            Self::Conflict(_) | Self::Overtaken { .. } | Self::Decode { .. } | Self::Encode { .. } => Outcome::NotApplied,
        }
    }
}

/// What a typed read found.
#[derive(Clone, Debug)]
pub struct TypedRead<T> {
    /// The value, merged if there were several; none if the key is absent or deleted.
    pub value: Option<T>,
    /// How many values there were.
    pub siblings: usize,
    /// What the read has seen.
    pub context: Context,
    /// At `linearizable`, the version that was read.
    pub token: Option<Token>,
}

/// What an update left behind.
#[derive(Clone, Debug)]
pub struct Updated<T> {
    /// The new value.
    pub value: T,
    /// The write that put it.
    pub written: Written,
}

impl<T> JsonBucket<T> {
    pub(crate) fn new(bucket: Bucket) -> Self {
        Self { bucket, resolver: None, values: PhantomData }
    }

    /// Merges siblings two by two, beginning with the oldest.
    ///
    /// The result should not depend on the order: clocks decide it, and clocks differ.
    #[must_use]
    pub fn resolve_with(self, merge: impl Fn(T, T) -> T + Send + Sync + 'static) -> Self {
        self.resolve_all_with(move |siblings| siblings.into_iter().reduce(&merge).expect("there are siblings to merge"))
    }

    /// Merges all siblings at once; they come oldest first, and there are at least two.
    #[must_use]
    pub fn resolve_all_with(mut self, merge: impl Fn(Vec<T>) -> T + Send + Sync + 'static) -> Self {
        self.resolver = Some(Arc::new(merge));
        self
    }
}

impl<T: Serialize + DeserializeOwned> JsonBucket<T> {
    /// The value of a key, merged if there are several; the merger is not written back.
    ///
    /// # Errors
    /// [`TypedError`]: a failed read, siblings without a resolver, or a value of another type.
    pub async fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<T>, TypedError> {
        Ok(self.read(key).await?.value)
    }

    /// As [`JsonBucket::get`], with the context for a later write.
    ///
    /// # Errors
    /// As [`JsonBucket::get`].
    pub async fn read(&self, key: impl AsRef<[u8]>) -> Result<TypedRead<T>, TypedError> {
        let read = self.bucket.get(key).await?;
        let value = self.resolve(&read)?;
        Ok(TypedRead { value, siblings: read.siblings().len(), context: read.context().clone(), token: read.token() })
    }

    /// Writes a value; with a context it replaces what that has seen, without one what the coordinating replica has.
    ///
    /// # Errors
    /// [`TypedError`]; ask its outcome.
    pub async fn put(&self, key: impl AsRef<[u8]>, value: &T, context: Option<&Context>) -> Result<Written, TypedError> {
        let key = key.as_ref();
        let write = self.bucket.put(key, encode(key, value)?);
        let write = match context {
            Some(context) => write.context(context),
            None => write,
        };
        Ok(write.await?)
    }

    /// Sets a value, or deletes the key, if it is as expected.
    ///
    /// # Errors
    /// [`TypedError`]; ask its outcome. That something else was there is none, unless that is of another type.
    pub async fn cas(&self, key: impl AsRef<[u8]>, expect: impl Into<Expect>, value: Option<&T>) -> Result<Cas<T>, TypedError> {
        let key = key.as_ref();
        match self.compared(key, expect.into(), value).await?.value {
            Cas::Applied { token } => Ok(Cas::Applied { token }),
            Cas::Conflict { current: Current { values, token } } => {
                let values = values.map(|values| values.iter().map(|value| decode(key, value)).collect()).transpose()?;
                Ok(Cas::Conflict { current: Current { values, token } })
            }
        }
    }

    /// What a compare-and-set expects when it expects this very value: exactly one, written as this program writes it.
    ///
    /// # Errors
    /// [`TypedError::Encode`].
    pub fn expect_value(&self, value: &T) -> Result<Expect, TypedError> {
        Ok(Expect::value(encode(&[], value)?))
    }

    async fn compared(&self, key: &[u8], expect: Expect, value: Option<&T>) -> Result<Changed<Cas>, TypedError> {
        let expecting = self.bucket.cas(key).expect(expect);
        let change = match value {
            Some(value) => expecting.set(encode(key, value)?),
            None => expecting.delete(),
        };
        Ok(change.in_full().await?)
    }

    /// Reads, merges, changes and writes with the context of the read; at `linearizable`, sets the result if nothing has changed since. `change` is given `None` for an absent key; it may be
    /// called again when the write was refused and a new read may help, up to [`UPDATE_TRIES_MAX`] times. The deadline is that
    /// of all of it together.
    ///
    /// # Errors
    /// [`TypedError`]. Once the outcome of a write is unknown, it is told and not tried again.
    pub async fn update(&self, key: impl AsRef<[u8]>, mut change: impl FnMut(Option<T>) -> T) -> Result<Updated<T>, TypedError> {
        let key = key.as_ref();
        let budget = self.bucket.inner.clock.budget(self.bucket.settings.deadline);
        let mut part = self.clone();
        if self.is_linearizable(budget).await {
            return part.transact(key, budget, change).await;
        }
        let mut tries = 1;
        loop {
            part.bucket.settings.deadline = budget.total_left();
            let read = part.read(key).await?;
            let value = change(read.value);
            part.bucket.settings.deadline = budget.total_left();
            match part.put(key, &value, Some(&read.context)).await {
                Ok(written) => return Ok(Updated { value, written }),
                Err(TypedError::Operation(error)) if tries < UPDATE_TRIES_MAX && a_new_read_may_help(&error) => tries += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads, changes, and sets if the token of the read still holds.
    async fn transact(&mut self, key: &[u8], budget: Budget, mut change: impl FnMut(Option<T>) -> T) -> Result<Updated<T>, TypedError> {
        let mut tries = 0;
        loop {
            self.bucket.settings.deadline = budget.total_left();
            let read = self.read(key).await?;
            let token = read.token.expect("a linearizable read tells the token");
            let value = change(read.value);
            self.bucket.settings.deadline = budget.total_left();
            let compared = self.compared(key, token.into(), Some(&value)).await?;
            tries += 1;
            match compared.value {
                Cas::Applied { .. } => return Ok(Updated { value, written: Written::by_change(&compared) }),
                Cas::Conflict { .. } if tries < UPDATE_TRIES_MAX => {}
                Cas::Conflict { .. } => return Err(TypedError::Overtaken { key: Bytes::copy_from_slice(key), tries }),
            }
        }
    }

    /// Whether operations of this bucket are linearizable. Of a bucket that nobody knows the first operation says so.
    async fn is_linearizable(&self, budget: Budget) -> bool {
        let level = match self.bucket.settings.level {
            Some(level) => Some(level),
            None => self.bucket.inner.bucket(&self.bucket.name, budget).await.ok().map(|(_, info)| info.level),
        };
        level == Some(Level::Linearizable)
    }

    fn resolve(&self, read: &Read) -> Result<Option<T>, TypedError> {
        let decode = |value: &Bytes| decode(read.key(), value);
        match (read.single(), &self.resolver) {
            (Ok(value), _) => value.as_ref().map(decode).transpose(),
            (Err(_conflict), Some(resolver)) => Ok(Some(resolver(read.values().map(decode).collect::<Result<_, _>>()?))),
            (Err(conflict), None) => Err(Box::new(conflict).into()),
        }
    }
}

fn encode<T: Serialize>(key: &[u8], value: &T) -> Result<Bytes, TypedError> {
    let json = serde_json::to_vec(value).map_err(|source| TypedError::Encode { key: Bytes::copy_from_slice(key), source })?;
    Ok(json.into())
}

fn decode<T: DeserializeOwned>(key: &[u8], value: &Bytes) -> Result<T, TypedError> {
    serde_json::from_slice(value).map_err(|source| TypedError::Decode { key: Bytes::copy_from_slice(key), source })
}

/// Whether the write certainly did nothing, and others have written since its read.
fn a_new_read_may_help(error: &Error) -> bool {
    let too_many = matches!(error.reason(), Some(Reason::TooManySiblings { .. }));
    error.outcome() == Outcome::NotApplied && (too_many || error.is_retryable())
}
