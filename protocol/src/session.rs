//! The client's side of an operation: whom to ask, how often, and what a retry may do.
//!
//! What a retry may do is protocol, not glue: sent wrongly, it applies a write twice or reports a failure for something that
//! happened. So the decisions are a pure machine, driven by the client and by tests alike.
//!
//! - [`attempts`]: coordinators, attempts, back-off, the total deadline;
//! - [`lanes`]: operation ids.

pub mod attempts;
pub mod lanes;
