//! A read elsewhere, right after a write was acknowledged.
//!
//! ```text
//! W  via n1   [] write 2
//! R  via n3       [] read 1 at one: n3 answers from its own copy
//! ```
//!
//! All that n1 says to other nodes is late, so the write is on its way to n3 while n3 is asked. At `one` the acknowledgement did not wait
//! for it, and the read does not look further; at levels whose read and write quorums overlap one of the two has to.

use std::time::Duration;

use quorate_client::Level;

use super::StoryError;
use super::record::{Claim, Run};
use super::stage::{N1, N2, N3, Stage};

/// How late n1's messages are.
const LATE: Duration = Duration::from_millis(400);
/// From the acknowledgement to the read.
const AFTER: Duration = Duration::from_millis(50);

pub(super) async fn play(stage: &mut Stage, level: Level) -> Result<Run, StoryError> {
    let key = stage.set("x").await?;
    let (writer, reader) = (stage.client("W", &key, N1), stage.client("R", &key, N3));
    stage.watch(&key);
    writer.write(level, "1").await;
    stage.until_all_hold("1").await?;
    let begin = stage.curtain().await;
    stage.slow(N1, LATE).await?;
    writer.write(level, "2").await;
    tokio::time::sleep(AFTER).await;
    reader.read(level).await;
    stage.until_holds(&[N1, N2, N3], "2", LATE * 2).await;
    stage.heal().await?;
    let is_stale = level == Level::One;
    Ok(stage.finish(level, begin, vec![Claim::Stale(is_stale), Claim::Linearizable(!is_stale)]))
}
