//! Staying below a quota: a token bucket of one second's worth.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

/// Longest that a call waits for its turn.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// The pace of calls that share a quota.
#[derive(Debug)]
pub(crate) struct Pace {
    interval: Duration,
    burst: u32,
    /// When the bucket will be full again if nobody takes anything.
    full_at: Mutex<Instant>,
}

impl Pace {
    /// So many calls in a second, and so many at once.
    pub(crate) fn per_second(calls: u32) -> Self {
        let calls = calls.max(1);
        Self {
            interval: Duration::from_secs(1) / calls,
            burst: calls,
            full_at: Mutex::new(Instant::now()),
        }
    }

    /// Waits for a turn; an error, and no turn taken, with the time that it would have taken if that
    /// is too long.
    pub(crate) async fn turn(&self) -> Result<(), Duration> {
        let wait = self.take(Instant::now())?;
        tokio::time::sleep(wait).await;
        Ok(())
    }

    /// Nobody's turn for a while: the backend said that it is asked too often.
    pub(crate) fn hold(&self, pause: Duration) {
        let mut full_at = self.lock();
        let emptied = Instant::now() + self.interval * self.burst + pause;
        *full_at = emptied.max(*full_at);
    }

    fn take(&self, now: Instant) -> Result<Duration, Duration> {
        let mut full_at = self.lock();
        let taken = (*full_at).max(now) + self.interval;
        let wait = taken.saturating_duration_since(now + self.interval * self.burst);
        if wait > LONGEST_WAIT {
            return Err(wait);
        }
        *full_at = taken;
        Ok(wait)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Instant> {
        // A panic elsewhere while the lock was held cannot have left half an instant.
        self.full_at
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_no_more_turns_than_the_quota() {
        let pace = Pace::per_second(20);
        let now = Instant::now();
        let waits: Vec<Duration> = (0..60).map(|_| pace.take(now).unwrap()).collect();
        // A full bucket goes at once, then one every twentieth of a second.
        assert_eq!(waits[19], Duration::ZERO);
        assert_eq!(waits[20], Duration::from_millis(50));
        assert_eq!(waits[59], Duration::from_secs(2));
        let later = now + Duration::from_secs(3);
        assert_eq!(pace.take(later).unwrap(), Duration::ZERO);
    }

    #[test]
    fn who_would_wait_too_long_is_told_how_long_and_takes_no_turn() {
        let pace = Pace::per_second(1);
        let now = Instant::now();
        for _ in 0..11 {
            pace.take(now).unwrap();
        }
        for _ in 0..2 {
            assert_eq!(pace.take(now).unwrap_err(), Duration::from_secs(11));
        }
    }

    #[test]
    fn a_throttled_backend_is_left_alone() {
        let pace = Pace::per_second(20);
        pace.hold(Duration::from_secs(3));
        assert!(pace.take(Instant::now()).unwrap() >= Duration::from_secs(3));
    }
}
