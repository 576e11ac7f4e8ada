//! Bootstraps, rotates and audits the certificates of a multi-cluster relay.
//!
//! The way of the data is observe → plan → apply: [`cluster`] reads and writes objects, the plan in
//! [`engine`] is a pure function in between. [`audit`] is observation and checks.

pub mod agent;
pub mod audit;
pub mod authorities;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod clusters;
pub mod config;
pub mod controller;
pub mod crd;
pub mod credential;
pub mod engine;
pub mod enrolment;
#[cfg(test)]
mod eventually;
mod evidence;
pub mod journal;
pub mod metrics;
pub mod premortem;
pub mod registration;
pub mod rehearsal;
pub mod relay;
pub mod renewal;
pub mod rotation;
mod secret_file;
mod shape;
pub mod transcript;
pub mod wording;
