//! Our server, as `relay-pki controller` runs it: the same runtime, the same log, the same `serve`. Two things
//! are different: there is no controller around it, and one client may have any number of certificates,
//! which otherwise are ten and then one every thirty seconds.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use relay_pki::authorities::{self, Surroundings};
use relay_pki::clock::SystemClock;
use relay_pki::clusters::{self, Opener};
use relay_pki::config::Relay;
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

/// Serves the relay of a document until the process ends.
pub(crate) fn run(document: &str, port: u16) {
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
    runtime.block_on(async {
        let (_sender, fleet) = watch::channel(Some(Arc::new(fleet(Path::new(document)))));
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
    });
}

fn fleet(document: &Path) -> Fleet {
    let relay = Relay::load(document).unwrap();
    let opener = Opener::by_hand("load");
    let clusters = clusters::open(&relay, &opener).unwrap();
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
