//! Planning for large fleets: linear, below 100 ms for 10,000 clusters.
//!
//! `cargo bench --bench plan`

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, LazyLock};

use divan::{Bencher, black_box};
use jiff::{SignedDuration, Timestamp};
use relay_pki::authorities::{self, Surroundings};
use relay_pki::clock::ManualClock;
use relay_pki::cluster::{Cluster, MemoryCluster};
use relay_pki::clusters::Opener;
use relay_pki::config::Relay;
use relay_pki::engine::{Apply, Cancel, Fleet, Goal, Observed, observe, plan};
use relay_pki::journal::{Kept, RequestRecord, Scope};

const SIZES: [usize; 4] = [1_000, 5_000, 10_000, 20_000];

const BOOTSTRAP: Goal = Goal::Bootstrap {
    adopt: false,
    prune_keys: false,
};

fn main() {
    divan::main();
}

/// A fleet before and after its bootstrap.
struct Sample {
    relay: Relay,
    empty: Observed,
    full: Observed,
    now: Timestamp,
}

static SAMPLES: LazyLock<BTreeMap<usize, Sample>> = LazyLock::new(|| {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let sample = |size| (size, runtime.block_on(Sample::new(size)));
    SIZES.into_iter().map(sample).collect()
});

impl Sample {
    async fn new(size: usize) -> Self {
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
        let clusters: BTreeMap<String, Arc<dyn Cluster>> = relay
            .clusters
            .iter()
            .map(|spec| {
                let name = spec.name.to_string();
                let cluster: Arc<dyn Cluster> = Arc::new(MemoryCluster::new(&name));
                (name, cluster)
            })
            .collect();
        let now = Timestamp::now();
        let fleet = Fleet {
            providers: authorities::open(&Surroundings {
                relay: &relay,
                home: &clusters["mgmt"],
                opener: &Opener::by_hand("bench"),
            }),
            relay,
            clusters,
            clock: Arc::new(ManualClock::new(now)),
        };
        let empty = observe(&fleet).await.unwrap();
        let steps = plan(&fleet.relay, &BOOTSTRAP, &empty, now);
        let apply = Apply::new(&fleet, &empty);
        let applied = apply.run(steps, &Cancel::default(), &|_| {}).await;
        assert!(applied.failed.is_empty());
        let mut full = observe(&fleet).await.unwrap();
        let record = RequestRecord { number: 1, at: now };
        let version = None;
        let kept = Kept { record, version };
        full.journal.requests.insert(Scope::Agents, kept);
        Self {
            relay: fleet.relay,
            empty,
            full,
            now,
        }
    }
}

#[divan::bench(args = SIZES)]
fn everything_is_missing(bencher: Bencher, size: usize) {
    let sample = &SAMPLES[&size];
    bencher.bench_local(|| {
        let plan = plan(
            &sample.relay,
            &BOOTSTRAP,
            black_box(&sample.empty),
            sample.now,
        );
        assert!(plan.steps.len() > size);
        plan
    });
}

#[divan::bench(args = SIZES)]
fn nothing_to_do(bencher: Bencher, size: usize) {
    let sample = &SAMPLES[&size];
    bencher.bench_local(|| {
        let plan = plan(
            &sample.relay,
            &BOOTSTRAP,
            black_box(&sample.full),
            sample.now,
        );
        assert!(plan.steps.is_empty());
        plan
    });
}

#[divan::bench(args = SIZES)]
fn rotate_every_agent(bencher: Bencher, size: usize) {
    let sample = &SAMPLES[&size];
    let goal = Goal::Rotate(BTreeSet::from([Scope::Agents]));
    bencher.bench_local(|| {
        let plan = plan(&sample.relay, &goal, black_box(&sample.full), sample.now);
        assert_eq!(plan.steps.len(), size);
        plan
    });
}

#[divan::bench(args = SIZES)]
fn renew_what_is_due(bencher: Bencher, size: usize) {
    let sample = &SAMPLES[&size];
    let later = sample.now + SignedDuration::from_hours(24 * 25);
    bencher.bench_local(|| {
        let plan = plan(&sample.relay, &Goal::Due, black_box(&sample.full), later);
        assert_eq!(plan.steps.len(), size);
        plan
    });
}
