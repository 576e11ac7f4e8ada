//! Bootstraps, rotates and audits the certificates of a multi-cluster relay.
//!
//! The way of the data is observe → plan → apply: [`cluster`] reads and writes objects, the plan is
//! a pure function in between.

pub mod audit;
pub mod clock;
pub mod cluster;
pub mod config;
pub mod engine;
pub mod journal;
pub mod relay;
pub mod renewal;
