//! An EST server for a fleet of directories, and clients of others.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, Instant};

use relay_pki::authorities::{self, Surroundings};
use relay_pki::clock::{Clock, SystemClock};
use relay_pki::clusters::{self, Opener};
use relay_pki::config::Relay;
use relay_pki::engine::{Cancel, Fleet as EngineFleet};
use relay_pki::enrolment::{Bounds, serve};
use relay_pki::metrics;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::fleet::Fleet;

/// Workload clusters that enrol, and a server that is called `localhost`.
pub(crate) fn spec(names: &[&str]) -> String {
    let mut spec = "  server: { extraDnsNames: [localhost] }\n  clusters:\n    \
                    - { name: mgmt, role: management, directory: clusters/mgmt }\n"
        .to_owned();
    for name in names {
        spec.push_str(&format!(
            "    - {{ name: {name}, role: workload, delivery: enroll }}\n"
        ));
    }
    spec
}

/// One replica; it ends when it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    cancel: Cancel,
    runtime: Option<Runtime>,
    _fleet: watch::Sender<Option<Arc<EngineFleet>>>,
}

impl Server {
    pub(crate) fn start(fleet: &Fleet) -> Self {
        Self::with_clock(fleet, Arc::new(SystemClock))
    }

    /// One whose machine has a clock of its own.
    pub(crate) fn with_clock(fleet: &Fleet, clock: Arc<dyn Clock>) -> Self {
        let relay = Relay::load(&fleet.path("relay.yaml")).unwrap();
        let opener = Opener::by_hand("replica");
        let clusters = clusters::open(&relay, &opener).unwrap();
        let home = clusters[relay.home().name.as_str()].clone();
        let engine = EngineFleet {
            providers: authorities::open(&Surroundings {
                relay: &relay,
                home: &home,
                opener: &opener,
            }),
            clusters,
            clock,
            relay,
        };
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, receiver) = watch::channel(Some(Arc::new(engine)));
        let cancel = Cancel::default();
        let metrics = metrics::Enrolment::default();
        let bounds = Bounds::default();
        runtime.spawn(serve(listener, receiver, bounds, metrics, cancel.clone()));
        let server = Self {
            address,
            cancel,
            runtime: Some(runtime),
            _fleet: sender,
        };
        server.awaited(fleet);
        server
    }

    fn awaited(&self, fleet: &Fleet) {
        let begun = Instant::now();
        while !curl(
            fleet.dir(),
            &["-sk", &self.url("cacerts"), "-o", "/dev/null"],
        )
        .status
        .success()
        {
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "it does not serve"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Where an operation is called.
    pub(crate) fn url(&self, operation: &str) -> String {
        format!("{}/.well-known/est/{operation}", self.origin())
    }

    pub(crate) fn origin(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.cancel.cancel();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(10));
        }
    }
}

pub(crate) fn curl(dir: &Path, arguments: &[&str]) -> Output {
    let output = Command::new("curl")
        .current_dir(dir)
        .args(["--max-time", "30", "--noproxy", "*"])
        .args(arguments)
        .output();
    output.expect("curl is part of this test: apt-get install curl")
}

/// strongSwan's `pki`.
pub(crate) fn pki(dir: &Path, arguments: &[&str]) -> Output {
    let output = Command::new("pki")
        .current_dir(dir)
        .args(arguments)
        .output();
    output.expect(
        "pki is part of this test: apt-get install strongswan-pki libstrongswan-standard-plugins",
    )
}

/// Runs it; it has to succeed.
pub(crate) fn pki_done(dir: &Path, arguments: &[&str]) -> Vec<u8> {
    let output = pki(dir, arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    // It names every plug-in that this machine does not have.
    let said: Vec<&str> = said
        .lines()
        .filter(|line| !line.starts_with("plugin"))
        .collect();
    assert!(output.status.success(), "pki {arguments:?}: {said:#?}");
    output.stdout
}
