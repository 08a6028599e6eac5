//! The holder of a lock stops for so long that the lock is given to somebody else, and goes on without knowing it.
//!
//! ```text
//! A   [takes the lock]  ~~~~~~~~~~~ paused ~~~~~~~~~~~~~  [writes]
//! B     [it is taken]   ~ the lease ends ~ [takes it] [writes]
//! ```
//!
//! The lock is a key that is set by compare-and-set; its *token* grows with every holder. The first run writes the file without a word of
//! the lock. In the second a small storage service stands before the file: it keeps beside the text the token that came with it, refuses a
//! lower one, and writes by compare-and-set with what it has read, so that its own check and its write are one step. A check in two steps
//! would be just another place to be paused in.
//!
//! The clients live in this process, so a pause is a task that does not go on; the store cannot tell it from a stopped process.
//!
//! Source: DDIA, figures 8-4 and 8-5.

use std::time::Duration;

use quorate_client::{Level, Token};

use super::StoryError;
use super::actor::{Actor, Answer};
use super::record::{Claim, Ending, Run};
use super::stage::{N1, N2, N3, Stage};

/// How long a holder may rely on the lock.
const LEASE: Duration = Duration::from_millis(300);
/// How long A stands still.
const PAUSED: Duration = Duration::from_millis(700);

pub(super) async fn play(stage: &mut Stage, level: Level) -> Result<Run, StoryError> {
    let file = stage.set("file").await?;
    let lock = file.replacen("file", "lock", 1);
    let (a, b) = (stage.client("A", &file, N1), stage.client("B", &file, N2));
    stage.watch(&file);
    a.write(level, "draft").await;
    stage.until_all_hold("draft").await?;
    let begin = stage.curtain().await;
    let (lock_of_a, lock_of_b) = (a.on(stage.locks(), &lock), b.on(stage.locks(), &lock));
    let held = lock_of_a.cas(None, "A").await;
    a.read(level).await;
    let is_fenced = level == Level::Linearizable;
    let ((), mine) = tokio::join!(a.pause(PAUSED, "paused"), async {
        let taken = lock_of_b.cas(None, "B").await;
        b.pause(LEASE, "the lease ends").await;
        let mine = lock_of_b.cas(Some(&taken), "B").await;
        if is_fenced {
            store(&b, "B", mine.token).await;
        } else {
            b.read(level).await;
            b.write(level, "B").await;
        }
        mine
    });
    let mut claims = vec![Claim::LostUpdate(!is_fenced)];
    if is_fenced {
        let refused = store(&a, "A", held.token).await;
        claims.push(Claim::Ends { at: refused.at, ending: Ending::Refused });
    } else {
        stage.until_all_hold("B").await?;
        a.write(level, "A").await;
    }
    let left = b.read(level).await;
    let survivor = if is_fenced { mine.token.map(|token| format!("B@{token}")).unwrap_or_default() } else { "A".to_owned() };
    stage.until_holds(&[N1, N2, N3], &survivor, LEASE).await;
    claims.push(Claim::Shows { at: left.at, values: vec![survivor] });
    Ok(stage.finish(level, begin, claims))
}

/// The storage service: writes a text for the holder of a token, unless one with a higher token has written before.
async fn store(client: &Actor, text: &str, token: Option<Token>) -> Answer {
    let stored = client.read(Level::Linearizable).await;
    let value = format!("{text}@{}", token.map(|token| token.to_string()).unwrap_or_default());
    let newest = stored.values.first().and_then(|stored| stored.split_once('@')?.1.parse::<Token>().ok());
    if token < newest {
        let since = client.now();
        return client.turned_away(stored.values.first().cloned(), &value, since, "the storage service has seen a higher token");
    }
    client.cas(Some(&stored), &value).await
}
