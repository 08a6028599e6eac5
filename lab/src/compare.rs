//! Comparing levels: the same work under the same faults, once per level.
//!
//! | idea | file |
//! |---|---|
//! | the report as a page that opens from disk | `page.rs` |

pub mod page;
