//! The `quorate` binary; everything is in `quorate-cli`.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// A node's time goes into small allocations that one thread makes and another frees: a fifth of all with the C library's.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    quorate_cli::main()
}
