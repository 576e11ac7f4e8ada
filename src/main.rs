//! The `relay-pki` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    relay_pki::cli::main()
}
