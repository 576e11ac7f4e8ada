//! How the controller is, for those who restart it or count on it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How the controller is. Clones are handles of the same.
#[derive(Debug, Clone)]
pub struct Health(Arc<State>);

#[derive(Debug)]
struct State {
    stalled_after: Duration,
    progress: Mutex<Instant>,
    leading: AtomicBool,
    api_reachable: AtomicBool,
    watches_synced: AtomicBool,
}

impl Health {
    /// Of a controller that has just started. Its loop counts as stuck when it made no progress for
    /// `stalled_after`.
    pub fn new(stalled_after: Duration) -> Self {
        Self(Arc::new(State {
            stalled_after,
            progress: Mutex::new(Instant::now()),
            leading: AtomicBool::new(false),
            api_reachable: AtomicBool::new(false),
            watches_synced: AtomicBool::new(false),
        }))
    }

    /// The loop went round.
    pub fn progress(&self) {
        *self.last() = Instant::now();
    }

    /// A replica that only waits to lead is alive as long as it waits.
    pub fn waited(&self) {
        if !self.0.leading.load(Ordering::Relaxed) {
            self.progress();
        }
    }

    /// Whether this replica leads: from then on only [`Health::progress`] shows that it is alive.
    pub fn set_leading(&self, leading: bool) {
        self.0.leading.store(leading, Ordering::Relaxed);
        self.progress();
    }

    /// Whether the API server of the controller's own cluster answers.
    pub fn set_api_reachable(&self, reachable: bool) {
        self.0.api_reachable.store(reachable, Ordering::Relaxed);
    }

    /// Whether the watches have seen everything that there is.
    pub fn set_watches_synced(&self, synced: bool) {
        self.0.watches_synced.store(synced, Ordering::Relaxed);
    }

    /// What is wrong with the process, if only a restart helps.
    pub(super) fn stalled(&self) -> Option<String> {
        let since = self.last().elapsed();
        (since > self.0.stalled_after)
            .then(|| format!("the loop has made no progress for {} s", since.as_secs()))
    }

    /// What is still missing before the controller can work, whether or not it leads.
    pub(super) fn unready(&self) -> Option<String> {
        let api = self.0.api_reachable.load(Ordering::Relaxed);
        let synced = self.0.watches_synced.load(Ordering::Relaxed);
        let missing = match (api, synced) {
            (true, true) => return None,
            (false, _) => "the API server of this cluster does not answer",
            (true, false) => "not everything in this cluster was read yet",
        };
        Some(missing.to_owned())
    }

    fn last(&self) -> MutexGuard<'_, Instant> {
        // An instant is written as a whole.
        let last = self.0.progress.lock();
        last.unwrap_or_else(PoisonError::into_inner)
    }
}
