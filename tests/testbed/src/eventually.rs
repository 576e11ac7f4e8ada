//! Waiting for what happens elsewhere.

use std::thread;
use std::time::{Duration, Instant};

/// Asks until there is an answer.
///
/// # Panics
///
/// If there is none within `limit`; `what` is named then.
pub fn eventually<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(
            begun.elapsed() < limit,
            "not within {} s: {what}",
            limit.as_secs_f32()
        );
        thread::sleep(Duration::from_millis(100));
    }
}
