//! Comparing levels: the same work under the same faults, once per level.
//!
//! **Promise.** Everything random follows from the seed: operations, and which fault is made where and when. What is written down is what clients
//! did and saw, on one clock; nothing here judges it. A fault counts only if its effect was seen.
//!
//! **Who takes part.** Clients live beside nodes, in turn, as applications do: in a partition a client is on the side of its node.
//!
//! ```text
//!   Plan -> run(): Stage (cluster, faults, evidence) --+
//!                  Beats -> client -> Note ------------+--> history-LEVEL.jsonl, Ran
//!                  Meters (messages, fsyncs, delays) --+
//! ```
//!
//! | idea | file |
//! |---|---|
//! | what to compare, and where | `plan.rs`, `level.rs` |
//! | which fault is made when | `schedule.rs` |
//! | making faults, and proving that they took effect | `stage.rs` |
//! | the clients' network, which a partition divides | `sides.rs` |
//! | when operations are due | `beats.rs` |
//! | what a client does | `client.rs` |
//! | what it noted, and the history that follows | `note.rs`, `covers.rs` |
//! | what it cost, and how long messages travelled | `meters.rs` |
//! | one level from start to end | `run.rs` |
//! | the report as a page that opens from disk | `page.rs` |

mod beats;
mod client;
mod covers;
mod error;
mod level;
mod meters;
mod note;
pub mod page;
mod plan;
mod progress;
mod run;
pub mod schedule;
pub mod sides;
pub mod stage;

pub use error::CompareError;
pub use level::ComparedLevel;
pub use meters::Counted;
pub use plan::{Place, Plan};
pub use progress::{Phase, Progress, Stop};
pub use run::{Fault, Ran, run};
pub use schedule::{FaultKind, Faults, Planned, ScheduleError, plan};
pub use stage::StageError;
