//! A relay in memory and servers for it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use relay_pki_authority::x509::{Certificate, TrustBundle};
use relay_pki_authority::{Level, Provider};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::super::{Bounds, Registry, Revoker, serve};
use super::client::Client;
use crate::authorities::{self, Surroundings};
use crate::clock::{Clock as _, SystemClock};
use crate::cluster::{Cluster, MemoryCluster};
use crate::clusters::Opener;
use crate::config::Relay;
use crate::engine::{Apply, Cancel, Fleet, Goal, observe, plan};
use crate::journal::{EnrolledCertificate, Why};
use crate::metrics::Metrics;
use crate::rotation::{Begun, Request, Steering, begin, steer};

pub(super) const SERVER: &str = "gloo-mesh-mgmt-server.gloo-mesh";

pub(crate) struct World {
    pub(crate) home: MemoryCluster,
    pub(crate) fleet: Arc<Fleet>,
}

/// One replica.
pub(super) struct Replica {
    pub(super) address: SocketAddr,
    pub(super) fleet: watch::Sender<Option<Arc<Fleet>>>,
    pub(super) metrics: Arc<Metrics>,
    cancel: Cancel,
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

pub(super) fn document(spec: &str) -> Relay {
    parse(&text(spec))
}

pub(super) fn parse(text: &str) -> Relay {
    Relay::parse(text, "relay.yaml", Path::new("")).unwrap()
}

pub(super) fn text(spec: &str) -> String {
    format!(
        "apiVersion: relay-pki.dev/v1alpha1\nkind: Relay\nmetadata: {{ name: relay }}\nspec:\n{spec}  \
         clusters:\n    - {{ name: mgmt, role: management, directory: mgmt }}\n    \
         - {{ name: cluster-1, role: workload, delivery: enroll }}\n    \
         - {{ name: cluster-2, role: workload, delivery: enroll }}\n    \
         - {{ name: pushed, role: workload, directory: pushed }}\n"
    )
}

impl World {
    pub(super) async fn new() -> Self {
        Self::with("").await
    }

    /// `spec` is more of the document.
    pub(super) async fn with(spec: &str) -> Self {
        Self::around(spec, |provider| provider).await
    }

    /// With something put around each provider.
    pub(crate) async fn around(
        spec: &str,
        wrap: impl Fn(Arc<dyn Provider>) -> Arc<dyn Provider>,
    ) -> Self {
        let home = MemoryCluster::new("mgmt");
        let mut fleet = fleet(&home, document(spec));
        for provider in fleet.providers.values_mut() {
            *provider = wrap(provider.clone());
        }
        let world = Self {
            home,
            fleet: Arc::new(fleet),
        };
        world
            .reach(Goal::Bootstrap {
                adopt: false,
                prune_keys: false,
            })
            .await;
        world
    }

    pub(super) async fn reach(&self, goal: Goal) {
        for _ in 0..20 {
            let observed = observe(&self.fleet).await.unwrap();
            let plan = plan(&self.fleet.relay, &goal, &observed, self.fleet.clock.now());
            if plan.steps.is_empty() {
                return;
            }
            let applied = Apply::new(&self.fleet, &observed)
                .run(plan, &Cancel::default(), &|_| {})
                .await;
            assert!(applied.failed.is_empty(), "{:?}", applied.failed);
        }
        panic!("no end to it");
    }

    /// Begins a rotation.
    pub(super) async fn begin(&self, level: Level) {
        let observed = observe(&self.fleet).await.unwrap();
        let request = Request {
            level,
            by: "alice".to_owned(),
            why: Why::Requested,
            canary: Vec::new(),
            emergency: false,
        };
        let (relay, now) = (&self.fleet.relay, self.fleet.clock.now());
        let begun = begin(relay, &observed, &request, now);
        let Ok(Begun::New(record)) = begun else {
            panic!("{begun:?}");
        };
        self.home.overwrite(record.encode("relay"));
    }

    /// Leads the rotation under way.
    pub(super) async fn steer(&self, steering: &Steering) {
        let observed = observe(&self.fleet).await.unwrap();
        let (relay, now) = (&self.fleet.relay, self.fleet.clock.now());
        let record = steer(relay, &observed, steering, "alice", now).unwrap();
        self.home.overwrite(record.encode("relay"));
    }

    /// Decides that cluster-1 is out, with a certificate that it may have.
    pub(crate) async fn revoke(&self) {
        let now = SystemClock.now();
        let certificate = EnrolledCertificate {
            serial: "0a".to_owned(),
            signer: 1,
            not_before: now,
            not_after: now + SignedDuration::from_hours(1),
            pem: None,
        };
        let (registry, all) = (self.registry(), [certificate]);
        let revoked = registry.revoke("cluster-1", None, &all, now).await;
        assert_eq!(revoked.unwrap().certificates.len(), 1);
    }

    /// One that has heard of what is recorded now.
    pub(super) async fn revoker(&self) -> Revoker {
        let revoker = Revoker::start(Cancel::default());
        self.tell(&revoker).await;
        revoker
    }

    /// As a round of the controller does it.
    pub(super) async fn tell(&self, revoker: &Revoker) {
        let observed = observe(&self.fleet).await.unwrap();
        revoker.hear(&self.fleet, &observed.journal);
    }

    pub(super) fn registry(&self) -> Registry {
        Registry::of(&self.fleet).unwrap()
    }

    pub(super) async fn token(&self, cluster: &str) -> String {
        let (hour, now) = (SignedDuration::from_hours(1), SystemClock.now());
        let token = self.registry().create_token(cluster, hour, now).await;
        token.unwrap().to_string()
    }

    pub(super) async fn roots(&self) -> TrustBundle {
        let observed = observe(&self.fleet).await.unwrap();
        observed.journal.published_roots().unwrap()
    }

    pub(super) async fn signer(&self) -> Certificate {
        let observed = observe(&self.fleet).await.unwrap();
        let signer = observed.journal.active(Level::Signer);
        signer.unwrap().certificate.clone().unwrap()
    }

    pub(super) async fn replica(&self) -> Replica {
        self.replica_with(Bounds::default()).await
    }

    pub(super) async fn replica_with(&self, bounds: Bounds) -> Replica {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, receiver) = watch::channel(Some(self.fleet.clone()));
        let cancel = Cancel::default();
        let metrics = Arc::new(Metrics::new(true));
        let counted = metrics.enrolment().clone();
        tokio::spawn(serve(listener, receiver, bounds, counted, cancel.clone()));
        let replica = Replica {
            address,
            fleet: sender,
            metrics,
            cancel,
        };
        let client = self.client(&replica).await;
        for _ in 0..100 {
            if client.get("cacerts").await.is_ok() {
                return replica;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("it does not serve");
    }

    pub(super) async fn client(&self, replica: &Replica) -> Client {
        Client::new(replica.address, &self.roots().await)
    }
}

pub(super) fn fleet(home: &MemoryCluster, relay: Relay) -> Fleet {
    let home: Arc<dyn Cluster> = Arc::new(home.clone());
    let pushed: Arc<dyn Cluster> = Arc::new(MemoryCluster::new("pushed"));
    Fleet {
        providers: authorities::open(&Surroundings {
            relay: &relay,
            home: &home,
            opener: &Opener::by_hand("test"),
        }),
        clusters: BTreeMap::from([("mgmt".to_owned(), home), ("pushed".to_owned(), pushed)]),
        clock: Arc::new(SystemClock),
        relay,
    }
}
