//! What a key does when operations come one after the other.
//!
//! [`register`]: holds one value or none. [`multi_value`]: holds the live siblings of eventual writes, and is a register to
//! everybody else.

pub mod multi_value;
pub mod register;
