//! For tests: waits for what happens beside them.

#![allow(clippy::panic)]

use std::time::{Duration, Instant};

/// Far more than anything takes that is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `done`.
pub(crate) async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !done().await {
        assert!(begun.elapsed() < PATIENCE, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
