//! A slow write, two readers: the first is shown the new value, the second, later, the old one.
//!
//! ```text
//! W  via n1   [----------------- write 2 -----------------]     n1 has it at once; n2's copy is lost, n3's is late
//! A  via n1        [-- read: n1, n2 --]                          2; what n2 lacks is sent behind the answer, late
//! B  via n2                              [read: n2, n3]          1 at r2w2
//! ```
//!
//! Every answer comes from two of three replicas, and any two pairs of them overlap: the pair that has answered A and the pair that
//! has answered B overlap in n2, which is late. The same messages are late at every level; only what the level waits for differs.
//!
//! Source: DDIA, figure 9-6 (second edition: 10-6).

use std::time::Duration;

use quorate_client::Level;

use super::StoryError;
use super::record::{Claim, Run};
use super::stage::{N1, N2, N3, Stage};

/// How late n1's messages are.
const LATE: Duration = Duration::from_millis(800);
/// How late n2's answer to A is: long enough for n1's messages to become late again before it arrives.
const ANSWER: Duration = Duration::from_millis(240);
/// From A's call until its request has left n1: the one replica that it asks first may be the other one, and n2 the next.
const ASKED: Duration = Duration::from_millis(100);
/// Longest wait for n1's own copy. At `linearizable` it comes only when the write is decided.
const LOCAL: Duration = Duration::from_millis(120);

pub(super) async fn play(stage: &mut Stage, level: Level) -> Result<Run, StoryError> {
    let key = stage.set("x").await?;
    let writer = stage.client("W", &key, N1);
    let (first, second) = (stage.client("A", &key, N1), stage.client("B", &key, N2));
    stage.watch(&key);
    writer.write(level, "1").await;
    stage.until_all_hold("1").await?;
    let begin = stage.curtain().await;
    stage.cut(N1, N2).await?;
    stage.slow(N1, LATE).await?;
    let (_, read) = tokio::join!(writer.write(level, "2"), async {
        stage.until_holds(&[N1], "2", LOCAL).await;
        // What is under way from n1 to n3 stays late; from now on n1 can ask n2.
        stage.heal().await?;
        stage.slow(N2, ANSWER).await?;
        let (_, late) = tokio::join!(first.read(level), async {
            tokio::time::sleep(ASKED).await;
            stage.slow(N1, LATE).await
        });
        late?;
        stage.slow(N2, Duration::ZERO).await?;
        second.read(level).await;
        stage.heal().await
    });
    read?;
    stage.until_holds(&[N1, N2, N3], "2", LATE * 2).await;
    let is_enough = level.is_strict();
    Ok(stage.finish(level, begin, vec![Claim::Linearizable(is_enough)]))
}
