//! What help says of each level.

use quorate_protocol::Level;

/// What each level promises, with the usual three home replicas.
#[must_use]
pub fn help() -> String {
    const REPLICAS: u8 = 3;
    let levels = [Level::Any, Level::One, Level::Quorum, Level::All, Level::Counts { r: 2, w: 1 }, Level::Linearizable];
    let lines = levels.map(|level| format!("{level}: {}", level.describe(REPLICAS)));
    format!("How many replicas must take part [default: the bucket's own level]. With 3 home replicas per key:\n\n{}", lines.join("\n\n"))
}
