//! A root rotation of a large fleet in memory, in one process: time, writes a cluster, peak memory. No
//! disk and no network are in it: what is left is relay-pki.
//!
//! `cargo bench --bench rotation -- 10000`; 1,000 clusters without an argument.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout
)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use relay_pki::authorities::{self, Surroundings};
use relay_pki::clock::{Clock as _, ManualClock};
use relay_pki::cluster::fault::Faults;
use relay_pki::cluster::{Cluster, Expected, MemoryCluster, SecretBytes};
use relay_pki::clusters::Opener;
use relay_pki::config::Relay;
use relay_pki::engine::{Apply, Cancel, Fleet, Goal, observe, plan};
use relay_pki::journal::Why;
use relay_pki::relay::TLS_KEY;
use relay_pki::rotation::{Begun, Request, begin};
use relay_pki_authority::Level;

const BOOTSTRAP: Goal = Goal::Bootstrap {
    adopt: false,
    prune_keys: false,
};

#[tokio::main]
async fn main() {
    // cargo adds `--bench`.
    let mut arguments = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"));
    let size: usize = arguments.next().map_or(1_000, |text| text.parse().unwrap());
    let bench = Bench::new(size);
    println!("{size} workload clusters");
    let began = Instant::now();
    bench.run(&BOOTSTRAP).await;
    println!("bootstrap      {:7.2} s", began.elapsed().as_secs_f64());
    let before = bench.faults.effects().len();
    bench.begin().await;
    let began = Instant::now();
    let (mut rounds, mut issued) = (0, 0);
    let mut keys = bench.keys();
    loop {
        let round = Instant::now();
        let (phase, steps) = bench.round(&Goal::Rotation).await;
        let seconds = round.elapsed().as_secs_f64();
        rounds += 1;
        let now = bench.keys();
        issued += now
            .iter()
            .filter(|(cluster, key)| keys[*cluster] != **key)
            .count();
        keys = now;
        println!("  {phase:11}  {seconds:7.2} s  {steps:6} steps");
        if phase == "done" && steps == 0 {
            break;
        }
        if steps == 0 {
            bench.clock.advance(bench.fleet.relay.rotation.soak);
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    println!("root rotation  {seconds:7.2} s in {rounds} rounds");
    let mut writes: BTreeMap<String, usize> = BTreeMap::new();
    for effect in bench.faults.effects().into_iter().skip(before) {
        if effect.cluster != "mgmt" {
            *writes.entry(effect.object.name).or_default() += 1;
        }
    }
    for (object, count) in writes {
        println!(
            "{object}: {:.2} writes a cluster",
            count as f64 / size as f64
        );
    }
    println!(
        "client certificates: {:.2} issued a cluster",
        issued as f64 / size as f64
    );
    println!("peak memory {} MB", peak() / 1024);
}

struct Bench {
    fleet: Fleet,
    stores: BTreeMap<String, MemoryCluster>,
    clock: ManualClock,
    faults: Faults,
}

impl Bench {
    fn new(size: usize) -> Self {
        let mut text =
            "apiVersion: relay-pki.dev/v1alpha1\nkind: Relay\nmetadata: { name: bench }\n\
                        spec:\n  providers: { local: { selfSigned: {} } }\n  \
                        root: { provider: local }\n  signer: { provider: local }\n  clusters:\n    \
                        - { name: mgmt, role: management, directory: mgmt }\n"
                .to_owned();
        for n in 0..size {
            let line = format!("    - {{ name: c-{n}, role: workload, directory: c/{n} }}\n");
            text.push_str(&line);
        }
        let relay = Relay::parse(&text, "relay.yaml", Path::new("")).unwrap();
        let names = relay.clusters.iter().map(|spec| spec.name.to_string());
        let stores = names.map(|name| (name.clone(), MemoryCluster::new(&name)));
        let stores: BTreeMap<String, MemoryCluster> = stores.collect();
        let faults = Faults::new();
        let clusters: BTreeMap<String, Arc<dyn Cluster>> = stores
            .iter()
            .map(|(name, store)| {
                let counted: Arc<dyn Cluster> = Arc::new(faults.wrap(store.clone()));
                (name.clone(), counted)
            })
            .collect();
        let clock = ManualClock::new(Timestamp::now());
        let fleet = Fleet {
            providers: authorities::open(&Surroundings {
                relay: &relay,
                home: &clusters["mgmt"],
                opener: &Opener::by_hand("bench"),
            }),
            relay,
            clusters,
            clock: Arc::new(clock.clone()),
        };
        Self {
            fleet,
            stores,
            clock,
            faults,
        }
    }

    /// One round: the phase afterwards, and how many steps were done.
    async fn round(&self, goal: &Goal) -> (String, usize) {
        let observed = observe(&self.fleet).await.unwrap();
        let plan = plan(&self.fleet.relay, goal, &observed, self.clock.now());
        let apply = Apply::new(&self.fleet, &observed);
        let applied = apply.run(plan, &Cancel::default(), &|_| {}).await;
        assert!(applied.failed.is_empty());
        let journal = observe(&self.fleet).await.unwrap().journal;
        let last = journal.rotations.last_key_value();
        let phase = last.map(|(_, kept)| kept.record.phase.to_string());
        (phase.unwrap_or_default(), applied.done.len())
    }

    async fn run(&self, goal: &Goal) {
        while self.round(goal).await.1 > 0 {}
    }

    async fn begin(&self) {
        let observed = observe(&self.fleet).await.unwrap();
        let request = Request {
            level: Level::Root,
            by: "bench".to_owned(),
            why: Why::Requested,
            canary: Vec::new(),
            emergency: false,
        };
        let begun = begin(&self.fleet.relay, &observed, &request, self.clock.now());
        if let Ok(Begun::New(record)) = begun {
            let object = record.encode(&self.fleet.relay.name);
            let home = self.fleet.home().unwrap();
            home.write(&object, &Expected::Absent).await.unwrap();
        }
    }

    /// The private key of each agent.
    fn keys(&self) -> BTreeMap<String, SecretBytes> {
        let agents = self.stores.iter().filter(|(name, _)| *name != "mgmt");
        agents
            .filter_map(|(name, store)| {
                let mut keys = store.objects().into_iter();
                let key = keys.find_map(|mut object| object.data.remove(TLS_KEY))?;
                Some((name.clone(), key))
            })
            .collect()
    }
}

/// `VmHWM` in kB.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|rest| rest.trim().strip_suffix(" kB"));
    kilobytes.unwrap().parse().unwrap()
}
