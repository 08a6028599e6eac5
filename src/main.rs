//! The `quorate` binary; everything is in `quorate-cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    quorate_cli::main()
}
