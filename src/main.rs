//! The `quorate` binary; everything is in `quorate-cli`.
fn main() {}
