//! What each level still serves on the two sides of a partition.
//!
//! ```text
//! A  via n1, alone          read, write
//! B  via n2, with n3        read, write
//! C                                       both sides see each other again: what is left
//! ```
//!
//! The clients begin once the nodes know who is out of their reach; before, they would wait for their deadlines.
//!
//! Source: Gilbert, Lynch, *Brewer's conjecture and the feasibility of consistent, available, partition-tolerant web services* (2002).

use std::time::Duration;

use quorate_client::Level;

use super::StoryError;
use super::actor::{Actor, Answer};
use super::record::{Claim, Ending, Run};
use super::stage::{N1, N2, N3, Stage};

/// Between two operations, so that they can be told apart.
const BETWEEN: Duration = Duration::from_millis(120);

pub(super) async fn play(stage: &mut Stage, level: Level) -> Result<Run, StoryError> {
    let key = stage.set("x").await?;
    let (a, b, c) = (stage.client("A", &key, N1), stage.client("B", &key, N2), stage.client("C", &key, N3));
    stage.watch(&key);
    a.write(level, "0").await;
    stage.until_all_hold("0").await?;
    let begin = stage.curtain().await;
    stage.isolate(N1).await?;
    stage.until_noticed().await?;
    let alone = ask(&a, level, "a").await;
    let together = ask(&b, level, "b").await;
    stage.reunite().await?;
    // What is left is asked of everybody, since below quorum nothing else sees both sides at once.
    let left = c.read(if level == Level::Linearizable { level } else { Level::All }).await;
    let (serves_alone, serves_together) = (level == Level::One, level != Level::All);
    let ends = |answers: [Answer; 2], serves: bool| {
        let ending = if serves { Ending::Ok } else { Ending::Refused };
        answers.map(|answer| Claim::Ends { at: answer.at, ending })
    };
    let mut claims = [ends(alone, serves_alone), ends(together, serves_together)].concat();
    let values: &[&str] = match (serves_alone, serves_together) {
        (true, _) => &["a", "b"],
        (false, true) => &["b"],
        (false, false) => &["0"],
    };
    claims.push(Claim::Shows { at: left.at, values: values.iter().map(|value| (*value).to_owned()).collect() });
    Ok(stage.finish(level, begin, claims))
}

/// One side's read, and its write over what it was shown.
async fn ask(client: &Actor, level: Level, value: &str) -> [Answer; 2] {
    let read = client.read(level).await;
    tokio::time::sleep(BETWEEN).await;
    let written = if level == Level::Linearizable || read.ending != Ending::Ok {
        client.write(level, value).await
    } else {
        client.replace(level, value, &read).await
    };
    tokio::time::sleep(BETWEEN).await;
    [read, written]
}
