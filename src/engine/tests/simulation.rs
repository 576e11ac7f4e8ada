//! Random schedules of rotations and everything that may go wrong with them, by numbered seeds: the real
//! engine, real certificates, and after every single write a handshake of each chain with each bundle.
//!
//! `tests/simulate SCHEDULES [SEED]` runs many; `RELAY_PKI_SEED=N` with one schedule replays one.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::document::Document;
use super::property::{FAULTS, Tally, Turn, rotations};

/// Schedules in a run of the tests.
const FEW: u64 = 60;

/// Numbers that can be had again.
struct Dice(u64);

impl Dice {
    /// A number below `limit`, by splitmix.
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % limit as u64).unwrap()
    }

    fn document(&mut self) -> Document {
        let mut document = Document::new(1 + self.below(2), self.below(4));
        for cluster in &mut document.clusters {
            cluster.agent |= self.below(4) == 0;
            cluster.server_signed = cluster.agent && self.below(5) == 0;
        }
        document
    }

    fn turn(&mut self) -> Turn {
        match self.below(20) {
            0..2 => Turn::Begin(self.below(2) == 0),
            2..8 => Turn::Goal(self.below(4)),
            8 => Turn::Rollback,
            9 => Turn::Waive(self.below(8)),
            // Clocks are set back, too.
            10 => Turn::Minutes(-1 - self.below(2) as i64),
            11..14 => Turn::Minutes(self.below(24 * 60) as i64),
            14 => Turn::Unreachable(self.below(8)),
            15 => Turn::Reachable,
            _ => Turn::Fault(1 + self.below(40), FAULTS[self.below(FAULTS.len())]),
        }
    }
}

fn schedule(seed: u64) -> Tally {
    let mut dice = Dice(seed);
    let (document, safe) = (dice.document(), dice.below(2) == 0);
    let turns = (0..4 + dice.below(24)).map(|_| dice.turn()).collect();
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().unwrap();
    runtime.block_on(rotations(document, safe, turns))
}

fn setting(name: &str) -> Option<u64> {
    Some(std::env::var(name).ok()?.parse().unwrap())
}

#[test]
fn nobody_is_locked_out_by_any_schedule() {
    let schedules = setting("RELAY_PKI_SCHEDULES").unwrap_or(FEW);
    let first = setting("RELAY_PKI_SEED").unwrap_or(1);
    let (next, failed) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    let total = Mutex::new(Tally::default());
    let begin = Instant::now();
    let work = || {
        loop {
            let n = next.fetch_add(1, Ordering::SeqCst);
            if n >= schedules {
                return;
            }
            let seed = first + n;
            match catch_unwind(AssertUnwindSafe(|| schedule(seed))) {
                Ok(tally) => {
                    let mut total = total.lock().unwrap();
                    total.crashes += tally.crashes;
                    total.faults += tally.faults;
                    total.handshakes += tally.handshakes;
                }
                Err(_) => failed.lock().unwrap().push(seed),
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let seconds = begin.elapsed().as_secs_f64();
    let Tally {
        crashes,
        faults,
        handshakes,
    } = total.into_inner().unwrap();
    println!(
        "simulation: {schedules} schedules from seed {first}, {faults} writes gone wrong, {crashes} crashes, \
         {handshakes} handshakes, {seconds:.1} s, {:.1} schedules/s",
        schedules as f64 / seconds
    );
    let failed = failed.into_inner().unwrap();
    assert!(
        failed.is_empty(),
        "replay with RELAY_PKI_SCHEDULES=1 RELAY_PKI_SEED=SEED: {failed:?}"
    );
    assert!(schedules < 20 || (crashes > 0 && handshakes > 0));
}
