//! The testbed itself: it is what it says, and its faults are faults.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

mod aws;
mod cert_manager;
mod endings;
mod google_cas;
mod interceptor;
mod outages;
mod proxy;
mod servers;
