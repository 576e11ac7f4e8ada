//! Keeps under the service's quota, so that a large fleet is not thrown back by it.

use std::time::{Duration, Instant};

use relay_pki_authority::AuthorityError;
use tokio::sync::Mutex;

/// Longest queue that is waited in.
const PATIENCE: Duration = Duration::from_secs(15);

/// Calls to one CA, one after the other at even intervals.
pub(crate) struct Pace {
    interval: Duration,
    next: Mutex<Option<Instant>>,
}

impl Pace {
    pub(crate) fn new(interval: Duration) -> Self {
        Self {
            interval,
            next: Mutex::new(None),
        }
    }

    /// Waits for the caller's turn; an error if that is too far off.
    pub(crate) async fn turn(&self, authority: &str) -> Result<(), AuthorityError> {
        let now = Instant::now();
        let turn = {
            let mut next = self.next.lock().await;
            let turn = next.unwrap_or(now).max(now);
            let wait = turn.duration_since(now);
            if wait > PATIENCE {
                return Err(AuthorityError::Unavailable {
                    authority: authority.to_owned(),
                    reason: "too many certificates are wanted at once; its quota is a few a second"
                        .to_owned(),
                    retry_after: Some(wait),
                });
            }
            *next = Some(turn + self.interval);
            turn
        };
        tokio::time::sleep_until(turn.into()).await;
        Ok(())
    }
}
