//! The engine against clusters in memory, with the real self-signed provider: what it plans, and what
//! holds while it works, whatever goes wrong.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout
)]

mod adopt;
mod backend;
mod crash;
mod document;
mod encryption;
mod existing;
mod forecast;
mod foreign;
mod makers;
mod metered;
mod model;
mod old_keys;
mod oracle;
mod plan;
mod property;
mod request;
mod restart;
mod rotation;
mod simulation;
mod transcript;
mod world;
mod writers;
