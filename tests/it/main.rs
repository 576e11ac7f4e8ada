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
mod agent;
mod applied;
mod audits;
mod aws;
mod bad_input;
mod ca_keys;
mod cert_manager;
mod chart;
mod command_line;
mod contexts;
mod controller;
mod crds;
mod crds_applied;
mod defective_families;
mod docs;
mod encrypted_keys;
mod enrolled_fleet;
mod enrolment;
mod enrolment_replicas;
mod evidence;
mod file_faults;
mod gcp;
mod handshakes;
mod installed;
mod interruptions;
mod kubernetes_cluster;
mod layout;
mod lifecycle;
mod offline_root;
mod output;
mod pairs;
mod registration;
mod rehearsals;
mod renewals;
mod restarts;
mod rotations;
mod values;
mod vault;
