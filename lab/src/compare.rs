//! Comparing levels: the same work under the same faults, once per level.
//!
//! | idea | file |
//! |---|---|
//! | which faults are made when | `schedule.rs` |
//! | the clients' own network, in partitions | `sides.rs` |
//! | making the faults, and proving that they took effect | `stage.rs` |
//! | the report as a page that opens from disk | `page.rs` |

pub mod page;
pub mod schedule;
pub mod sides;
pub mod stage;
