#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

pub(super) mod ca;
mod decisions;
mod live;
mod server;
mod stores;
