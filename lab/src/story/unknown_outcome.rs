//! An increment whose coordinator dies after it was applied and before it could say so.
//!
//! ```text
//! A  via n1   [incr +1 ...............        n1 is killed: outcome unknown
//! A  via n2                [outcome? applied]  [the same incr again = 11]
//! B  via n3                                                                 [read 11]
//! ```
//!
//! What n2 and n3 say is late. So there is a time in which both have accepted the new state, which is thereby decided, and n1 has not heard
//! of it: a round trip after n1 asked for promises, and before the next one is over.

use std::time::Duration;

use quorate_client::Level;

use super::StoryError;
use super::record::{Claim, Ending, Run};
use super::stage::{N1, N2, N3, Stage};

/// How late what n2 and n3 say is.
const LATE: Duration = Duration::from_millis(400);
/// From the call to n1's end: after the first round trip, before the second is over.
const KILLED: Duration = Duration::from_millis(620);

/// How long A waits for n1.
const WAITS: Duration = Duration::from_millis(1_200);

pub(super) async fn play(stage: &mut Stage, level: Level) -> Result<Run, StoryError> {
    let key = stage.set("visits").await?;
    let (a, b) = (stage.client("A", &key, N1), stage.client("B", &key, N3));
    stage.watch(&key);
    a.write(level, "10").await;
    stage.until_all_hold("10").await?;
    let begin = stage.curtain().await;
    stage.slow(N2, LATE).await?;
    stage.slow(N3, LATE).await?;
    let impatient = a.within(WAITS);
    let (lost, killed) = tokio::join!(impatient.increment(1, None), async {
        tokio::time::sleep(KILLED).await;
        stage.kill(N1)
    });
    killed?;
    stage.heal().await?;
    let a = a.via(N2);
    let mut claims = vec![Claim::Ends { at: lost.at, ending: Ending::Unknown }, Claim::Linearizable(true)];
    if let Some(op) = lost.op {
        let told = a.ask(op).await;
        let again = a.increment(1, Some(op)).await;
        let count = b.read(level).await;
        claims.extend([told, again, count].map(|answer| Claim::Shows { at: answer.at, values: vec!["11".to_owned()] }));
    }
    stage.until_holds(&[N2, N3], "11", WAITS).await;
    Ok(stage.finish(level, begin, claims))
}
