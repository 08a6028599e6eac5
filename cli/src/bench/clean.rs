//! What becomes of the keys of a measured cluster: they stay and are named, or they are deleted.
//!
//! That a key cannot be deleted is told and is no failure: the measurement is done.

use futures::stream::{self, StreamExt};
use quorate_client::{Bucket, Client, Error};
use quorate_lab::workload::KeyNumber;
use quorate_protocol::Level;

use super::Bench;
use crate::output::{self, Count};

/// Keys that are deleted at a time.
const AT_A_TIME: usize = 64;

/// Deletes the keys, or says that they are there.
pub(super) async fn up(client: &Client, command: &Bench) {
    let [first, last] = [0, command.keys - 1].map(|number| String::from_utf8_lossy(&KeyNumber(number).to_key()).into_owned());
    if !command.clean_up {
        return output::note(format_args!("the keys {first} to {last} stay in bucket default; --clean-up deletes them"));
    }
    output::note(format_args!("deleting the keys {first} to {last}"));
    let bucket = client.default_bucket().level(Level::Quorum);
    let deletes = stream::iter(0..command.keys).map(|number| delete(&bucket, KeyNumber(number)));
    let failed: Vec<Error> = deletes.buffer_unordered(AT_A_TIME).filter_map(async |deleted| deleted.err()).collect().await;
    if let Some(error) = failed.first() {
        output::error(format_args!("{} could not be deleted; the first reason: {error}", Count(failed.len() as u64, "key")));
    }
}

/// Deletes all values of a key, siblings too.
async fn delete(bucket: &Bucket, key: KeyNumber) -> Result<(), Error> {
    let read = bucket.get(key.to_key()).await?;
    if !read.siblings().is_empty() {
        bucket.delete(key.to_key()).context(read.context()).await?;
    }
    Ok(())
}
