//! The server in process, over real TLS, as clients of all kinds see it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

mod backend;
mod bad_input;
mod client;
mod corpus;
mod counted;
mod enrolment;
pub(crate) mod keeper;
mod metrics;
mod revocation;
mod revoker;
mod rotation;
mod tokens;
pub(crate) mod world;
