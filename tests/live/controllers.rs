//! Two replicas of the controller, killed and started again all along.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::relay::within;
use crate::support::dice::Dice;
use crate::support::stage::Stage;
use crate::surroundings::Surroundings;

/// The longest time between two kills. Whoever follows a killed leader waits for its Lease to run
/// out, so that most of the time somebody acts.
const PEACE: Duration = Duration::from_secs(40);

/// Replicas that somebody kills. They end when this is dropped.
pub(crate) struct Controllers {
    over: Arc<AtomicBool>,
    killed: Arc<AtomicUsize>,
    killer: Option<JoinHandle<()>>,
}

impl Controllers {
    /// Starts two.
    pub(crate) fn start(
        stage: &Arc<Stage<'static>>,
        surroundings: &Surroundings,
        mut dice: Dice,
    ) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let killed = Arc::new(AtomicUsize::new(0));
        let (ends, kills) = (Arc::clone(&over), Arc::clone(&killed));
        let (stage, surroundings) = (Arc::clone(stage), surroundings.clone());
        let killer = std::thread::spawn(move || {
            let start = |identity: &str| stage.replica_in(identity, surroundings.arguments());
            let mut replicas = [start("r1"), start("r2")];
            let mut next = Instant::now() + PEACE;
            while !ends.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(50));
                let ended = replicas.iter_mut().position(|replica| replica.has_ended());
                let due = next <= Instant::now();
                let Some(victim) = ended.or(due.then(|| dice.below(2))) else {
                    continue;
                };
                // One that ended, as a leader without its Lease does, is started by the Deployment.
                let number = kills.load(Ordering::SeqCst) + usize::from(ended.is_none());
                replicas[victim] = start(&format!("r{victim}-{number}"));
                if ended.is_none() {
                    kills.store(number, Ordering::SeqCst);
                    next = Instant::now() + within(&mut dice, PEACE);
                }
            }
        });
        Self {
            over,
            killed,
            killer: Some(killer),
        }
    }

    /// How many were killed.
    pub(crate) fn killed(&self) -> usize {
        self.killed.load(Ordering::SeqCst)
    }

    /// Ends both; how many were killed before.
    pub(crate) fn end(mut self) -> usize {
        self.stop()
            .expect("the replicas say nothing that they must not");
        self.killed()
    }

    fn stop(&mut self) -> std::thread::Result<()> {
        self.over.store(true, Ordering::SeqCst);
        self.killer.take().map_or(Ok(()), JoinHandle::join)
    }
}

impl Drop for Controllers {
    fn drop(&mut self) {
        let _ = self.stop();
    }
}
