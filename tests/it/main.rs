//! The program against files, against other people's verifiers and against faults.
//!
//! Every test runs the built `relay-pki` in a directory of its own and reads what it wrote with a
//! reader of its own. `openssl` and `go` are part of the test: without them it fails.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

mod support;

mod adoption;
mod applied;
mod audits;
mod bad_input;
mod ca_keys;
mod chart;
mod command_line;
mod crds;
mod defective_families;
mod docs;
mod file_faults;
mod handshakes;
mod interruptions;
mod layout;
mod lifecycle;
mod output;
mod rotations;
mod values;
mod vault;
