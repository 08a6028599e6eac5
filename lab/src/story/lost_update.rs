//! Two clients read a number, compute, and write it back.
//!
//! ```text
//! A   [read 10]  [write 9: one sold]
//! B     [read 10]                     [write 8: two sold]      7 are left, and the store says 8
//! ```
//!
//! Nothing is broken and every read is fresh. Only who says what he has read, and asks the store to compare, is told that somebody was
//! faster. B writes once all replicas have A's number, so that a blind write replaces it for certain.
//!
//! Source: DDIA chapter 7, "preventing lost updates".

use std::time::Duration;

use quorate_client::Level;

use super::StoryError;
use super::actor::{Actor, Answer};
use super::record::{Claim, Ending, Run};
use super::stage::{N1, N2, N3, Stage};

/// How long a client computes.
const THINKS: Duration = Duration::from_millis(150);

pub(super) async fn play(stage: &mut Stage, level: Level) -> Result<Run, StoryError> {
    let key = stage.set("stock").await?;
    let (a, b) = (stage.client("A", &key, N1), stage.client("B", &key, N2));
    stage.watch(&key);
    a.write(level, "10").await;
    stage.until_all_hold("10").await?;
    let begin = stage.curtain().await;
    let of_a = a.read(level).await;
    let of_b = b.read(level).await;
    a.pause(THINKS, "sells 1").await;
    let compares = level == Level::Linearizable;
    if compares {
        a.cas(Some(&of_a), "9").await
    } else {
        a.write(level, "9").await
    };
    stage.until_all_hold("9").await?;
    b.pause(THINKS, "sells 2").await;
    let mut claims = vec![Claim::LostUpdate(!compares), Claim::Linearizable(true)];
    if compares {
        claims.push(sell_again(&b, &of_b).await);
    } else {
        b.write(level, "8").await;
    }
    let left = a.read(level).await;
    let last = if compares { "7" } else { "8" };
    stage.until_holds(&[N1, N2, N3], last, THINKS).await;
    claims.push(Claim::Shows { at: left.at, values: vec![last.to_owned()] });
    Ok(stage.finish(level, begin, claims))
}

/// Compares, is told that somebody was faster, and begins anew with what is there.
async fn sell_again(b: &Actor, read: &Answer) -> Claim {
    let beaten = b.cas(Some(read), "8").await;
    let again = b.read(Level::Linearizable).await;
    b.cas(Some(&again), "7").await;
    Claim::Ends { at: beaten.at, ending: Ending::Conflict }
}
