//! Two carts that grew from one, kept side by side until somebody merges them.
//!
//! ```text
//! A   [read milk]   [write milk,eggs]
//! B   [read milk]          [write milk,bread]
//! C                                   [read both]   [write milk,bread,eggs: replaces both]
//! ```
//!
//! Each write says by its context what it replaces: the milk, and nothing that its client was not shown.
//!
//! Source: Dynamo (SOSP'07) §4.4; DDIA, figure 5-13.

use std::time::Duration;

use quorate_client::Level;

use super::StoryError;
use super::record::{Claim, Run};
use super::stage::{N1, N2, N3, Stage};

/// How long people look at their carts.
const LOOKS: Duration = Duration::from_millis(150);

pub(super) async fn play(stage: &mut Stage, level: Level) -> Result<Run, StoryError> {
    let key = stage.set("cart").await?;
    let (a, b, c) = (stage.client("A", &key, N1), stage.client("B", &key, N2), stage.client("C", &key, N3));
    a.write(level, "milk").await;
    let begin = stage.curtain().await;
    let of_a = a.read(level).await;
    let of_b = b.read(level).await;
    a.pause(LOOKS, "adds eggs").await;
    a.replace(level, "milk,eggs", &of_a).await;
    b.pause(LOOKS, "adds bread").await;
    b.replace(level, "milk,bread", &of_b).await;
    let both = c.read(level).await;
    c.pause(LOOKS, "merges").await;
    c.replace(level, "milk,bread,eggs", &both).await;
    let merged = a.read(level).await;
    let shows = |at, values: &[&str]| Claim::Shows { at, values: values.iter().map(|value| (*value).to_owned()).collect() };
    let claims = vec![
        shows(both.at, &["milk,bread", "milk,eggs"]),
        shows(merged.at, &["milk,bread,eggs"]),
        Claim::Siblings(true),
        Claim::LostUpdate(false),
    ];
    Ok(stage.finish(level, begin, claims))
}
