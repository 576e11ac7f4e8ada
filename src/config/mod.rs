//! The values of the Relay document.

mod error;
mod lifetime;
mod schedule;

pub use self::error::{ConfigError, Problem, ValueError};
pub use self::lifetime::Lifetime;
pub use self::schedule::Schedule;
