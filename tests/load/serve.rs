//! Our server, as `relay-pki controller` runs it: the same runtime, the same log, the same `serve`. Two things
//! are different: there is no controller around it, and one client may have any number of certificates,
//! which otherwise are ten and then one every thirty seconds.

use std::collections::BTreeMap;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use relay_pki::authorities::{self, Surroundings};
use relay_pki::clock::SystemClock;
use relay_pki::cluster::{Cluster, MemoryCluster, manifest};
use relay_pki::clusters::{self, Opener};
use relay_pki::config::{Location, Relay};
use relay_pki::engine::{Cancel, Fleet};
use relay_pki::enrolment::{Bounds, Rate, Rates, serve};
use relay_pki::metrics::Metrics;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

const UNLIMITED: Rate = Rate {
    burst: u32::MAX,
    every: Duration::from_nanos(1),
};

/// Where the records are that a server writes behind its replies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Records {
    /// Where the document says, which is on a disk, and synced.
    Kept,
    /// In memory, as with peers that keep none.
    InMemory,
}

impl Records {
    const IN_MEMORY: &str = "in-memory";

    pub(crate) fn argument(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::InMemory => Self::IN_MEMORY,
        }
    }

    pub(crate) fn of(argument: &str) -> Self {
        match argument == Self::IN_MEMORY {
            true => Self::InMemory,
            false => Self::Kept,
        }
    }
}

/// Serves the relay of a document until the process ends.
pub(crate) fn run(document: &str, port: u16, records: Records) {
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(false);
    tracing_subscriber::registry()
        .with(EnvFilter::new("relay_pki=info,warn"))
        .with(lines.json().flatten_event(true))
        .init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    // A task like any other, as in the controller: the thread that starts it all only waits.
    let serving = runtime.spawn({
        let fleet = Arc::new(fleet(Path::new(document), records));
        serving(fleet, port)
    });
    runtime.block_on(serving).unwrap();
}

async fn serving(fleet: Arc<Fleet>, port: u16) {
    let (_sender, fleet) = watch::channel(Some(fleet));
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let rates = Rates {
        certificates: UNLIMITED,
    };
    let bounds = Bounds {
        rates,
        ..Bounds::default()
    };
    let metrics = Metrics::new(true).enrolment().clone();
    serve(listener, fleet, bounds, metrics, Cancel::default()).await;
}

fn fleet(document: &Path, records: Records) -> Fleet {
    let relay = Relay::load(document).unwrap();
    let opener = Opener::by_hand("load");
    let clusters = match records {
        Records::Kept => clusters::open(&relay, &opener).unwrap(),
        Records::InMemory => in_memory(&relay),
    };
    let home = clusters[relay.home().name.as_str()].clone();
    Fleet {
        providers: authorities::open(&Surroundings {
            relay: &relay,
            home: &home,
            opener: &opener,
        }),
        clusters,
        clock: Arc::new(SystemClock),
        relay,
    }
}

/// The management cluster, read once and from then on in memory.
fn in_memory(relay: &Relay) -> BTreeMap<String, Arc<dyn Cluster>> {
    let home = relay.home();
    let Location::Directory(folder) = &home.location else {
        panic!("only a directory is read into memory");
    };
    let cluster = MemoryCluster::new(home.name.as_str());
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|end| end == "yaml") {
            let content = std::fs::read(&path).unwrap();
            let read = manifest::parse(&content, &home.namespace).unwrap();
            for declared in read.objects {
                cluster.overwrite(declared.object);
            }
        }
    }
    BTreeMap::from([(home.name.to_string(), Arc::new(cluster) as Arc<dyn Cluster>)])
}
