//! The controller: keeps relays right by itself.

mod health;
pub mod http;

pub use health::Health;
