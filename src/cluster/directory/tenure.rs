use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::index::Index;
use super::lock::{Attempt, DirectoryLock};
use super::store::{Store, parent};
use crate::cluster::{ClusterError, LockGuard};

/// How long a single write waits for another one: the time of many writes, short for people.
const PATIENCE: Duration = Duration::from_secs(2);
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(10);

/// The lock, while a guard is out.
pub(super) type Held = Arc<Mutex<Option<Arc<Tenure>>>>;

/// One holding of the lock.
pub(super) struct Tenure {
    _lock: DirectoryLock,
    /// One write at a time among those that share the lock.
    pub(super) turn: Mutex<Option<Index>>,
}

impl Tenure {
    fn new(lock: DirectoryLock) -> Arc<Self> {
        Arc::new(Self {
            _lock: lock,
            turn: Mutex::default(),
        })
    }
}

struct Release(Held);

impl Drop for Release {
    fn drop(&mut self) {
        *own(&self.0) = None;
    }
}

/// Neither state here can be left half changed by a panic.
pub(super) fn own<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store {
    pub(super) fn lock(&self) -> Result<LockGuard, ClusterError> {
        let operation = "lock the directory";
        let mut held = own(&self.held);
        if held.is_some() {
            return Err(self.locked("this process"));
        }
        self.make_directory(operation)?;
        match DirectoryLock::attempt(&self.path).map_err(|e| self.io(operation, &self.path, &e))? {
            Attempt::Locked(lock) => *held = Some(Tenure::new(lock)),
            Attempt::Held(holder) => return Err(self.locked(&holder)),
        }
        Ok(LockGuard::new(Release(Arc::clone(&self.held))))
    }

    /// The lock that a guard holds, or one for this write alone.
    pub(super) fn lock_for_one(&self, operation: &str) -> Result<Arc<Tenure>, ClusterError> {
        if let Some(lock) = &*own(&self.held) {
            return Ok(Arc::clone(lock));
        }
        self.make_directory(operation)?;
        let start = Instant::now();
        loop {
            let attempt = DirectoryLock::attempt(&self.path);
            match attempt.map_err(|error| self.io(operation, &self.path, &error))? {
                Attempt::Locked(lock) => return Ok(Tenure::new(lock)),
                Attempt::Held(holder) if start.elapsed() > PATIENCE => {
                    return Err(self.locked(&holder));
                }
                Attempt::Held(_) => thread::sleep(BETWEEN_ATTEMPTS),
            }
        }
    }

    /// Makes the directory and those above it that are missing, and makes each of them last.
    fn make_directory(&self, operation: &str) -> Result<(), ClusterError> {
        let missing: Vec<&Path> = self
            .path
            .ancestors()
            .take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists())
            .collect();
        for dir in missing.into_iter().rev() {
            match self.steps.make_dir(dir) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                made => made.and_then(|()| self.steps.sync_dir(parent(dir))),
            }
            .map_err(|error| self.io(operation, dir, &error))?;
        }
        Ok(())
    }
}
