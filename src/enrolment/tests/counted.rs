//! A backend where certificates count: one is bought for each that is needed, whoever is asked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use relay_pki_authority::x509::{Certificate, CertificateChain, Subject, TrustBundle, VerifiedCsr};
use relay_pki_authority::{
    Authority, AuthorityError, Capabilities, Generation, Metering, Outcome, Progress, Provider,
    RootRequest, SignerRequest, SigningRequest, Ticket, checked,
};

use super::client::{key, request};
use super::world::World;
use crate::engine::Fleet;

/// How often each certificate was asked for anew, by issuance id; it answers "pending" at first.
#[derive(Clone, Default)]
struct Ledger(Arc<Mutex<BTreeMap<String, (usize, usize)>>>);

struct Counted {
    inner: Arc<dyn Provider>,
    ledger: Ledger,
    capabilities: Capabilities,
}

struct CountedCa {
    inner: Arc<dyn Authority>,
    ledger: Ledger,
}

/// Polls that are answered with "pending".
const POLLS: usize = 2;

fn pending(id: &str) -> Outcome {
    Outcome::Pending {
        ticket: Ticket(id.to_owned()),
        poll_after: Duration::from_millis(1200),
    }
}

#[async_trait]
impl Authority for CountedCa {
    fn id(&self) -> &str {
        self.inner.id()
    }

    fn certificate(&self) -> &Certificate {
        self.inner.certificate()
    }

    fn path(&self) -> &[Certificate] {
        self.inner.path()
    }

    fn anchors(&self) -> &TrustBundle {
        self.inner.anchors()
    }

    async fn sign(&self, request: &SigningRequest) -> Result<Outcome, AuthorityError> {
        let id = request.id.as_str();
        let mut entries = self.ledger.0.lock().unwrap();
        entries.entry(id.to_owned()).or_default().0 += 1;
        Ok(pending(id))
    }

    async fn collect(
        &self,
        request: &SigningRequest,
        ticket: &Ticket,
    ) -> Result<Outcome, AuthorityError> {
        let polls = {
            let mut entries = self.ledger.0.lock().unwrap();
            let entry = entries.get_mut(&ticket.0).unwrap();
            entry.1 += 1;
            entry.1
        };
        match polls < POLLS {
            true => Ok(pending(&ticket.0)),
            false => self.inner.sign(request).await,
        }
    }
}

#[async_trait]
impl Provider for Counted {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn check(&self) -> Result<(), AuthorityError> {
        self.inner.check().await
    }

    async fn create_root(
        &self,
        request: &RootRequest,
    ) -> Result<Progress<Certificate>, AuthorityError> {
        self.inner.create_root(request).await
    }

    async fn prepare_signer(
        &self,
        request: &SignerRequest,
    ) -> Result<Progress<VerifiedCsr>, AuthorityError> {
        self.inner.prepare_signer(request).await
    }

    async fn request_root(
        &self,
        generation: &Generation,
        subject: &Subject,
    ) -> Result<VerifiedCsr, AuthorityError> {
        self.inner.request_root(generation, subject).await
    }

    async fn install_signer(
        &self,
        generation: &Generation,
        chain: &CertificateChain,
        anchors: &TrustBundle,
    ) -> Result<(), AuthorityError> {
        self.inner.install_signer(generation, chain, anchors).await
    }

    async fn open(
        &self,
        generation: &Generation,
        anchors: &TrustBundle,
    ) -> Result<Arc<dyn Authority>, AuthorityError> {
        Ok(Arc::new(CountedCa {
            inner: self.inner.open(generation, anchors).await?,
            ledger: self.ledger.clone(),
        }))
    }

    async fn destroy(&self, generation: &Generation) -> Result<(), AuthorityError> {
        self.inner.destroy(generation).await
    }
}

/// The same relay, whose certificates count from now on.
fn counted(world: World, ledger: &Ledger) -> World {
    let fleet = Arc::into_inner(world.fleet).unwrap();
    let providers = fleet.providers.into_iter().map(|(name, inner)| {
        let mut capabilities = inner.capabilities().clone();
        capabilities.metering = Metering::Counted;
        let provider: Arc<dyn Provider> = Arc::new(Counted {
            inner,
            ledger: ledger.clone(),
            capabilities,
        });
        (name, checked(provider))
    });
    World {
        home: world.home,
        fleet: Arc::new(Fleet {
            providers: providers.collect(),
            ..fleet
        }),
    }
}

fn bought(ledger: &Ledger) -> Vec<usize> {
    let entries = ledger.0.lock().unwrap();
    entries.values().map(|(asked, _)| *asked).collect()
}

#[tokio::test]
async fn a_certificate_that_takes_its_time_is_bought_once_on_all_replicas() {
    let ledger = Ledger::default();
    let world = counted(World::new().await, &ledger);
    let replicas = [world.replica().await, world.replica().await];
    let clients = [
        world.client(&replicas[0]).await,
        world.client(&replicas[1]).await,
    ];
    let (own, token) = (key(), world.token("cluster-1").await);
    let body = request(&own, "cluster-1");
    // Each answer may get lost, and each request may come to another replica.
    let first = clients[0].enroll("cluster-1", &token, &body).await;
    assert_eq!(first.status, 202, "{}", first.text());
    assert_eq!(first.headers["retry-after"], "2");
    assert_eq!(
        clients[1].enroll("cluster-1", &token, &body).await.status,
        202
    );
    let issued = clients[0]
        .enroll("cluster-1", &token, &body)
        .await
        .certificate();
    let again = clients[1]
        .enroll("cluster-1", &token, &body)
        .await
        .certificate();
    assert_eq!(issued, again);
    assert_eq!(bought(&ledger), [1]);
    // Somebody with another key gets nothing of it.
    let other = request(&key(), "cluster-1");
    assert_eq!(
        clients[0].enroll("cluster-1", &token, &other).await.status,
        403
    );
    // Once the agent was seen with it, the record goes; a renewal is another purchase.
    let agent = clients[0].with(&own, &issued);
    assert_eq!(agent.get("cacerts").await.unwrap().status, 200);
    let recorded = || {
        let objects = world.home.objects();
        let mut names = objects.iter().map(|object| object.key.name.as_str());
        names.any(|name| name == "relay-pki-relay-issuance-agent-cluster-1")
    };
    for _ in 0..100 {
        if !recorded() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(!recorded());
    let renewal = request(&key(), "cluster-1");
    assert_eq!(agent.reenroll(&renewal).await.unwrap().status, 202);
    assert_eq!(agent.reenroll(&renewal).await.unwrap().status, 202);
    let renewed = agent.reenroll(&renewal).await.unwrap().certificate();
    assert_ne!(renewed, issued);
    assert_eq!(bought(&ledger), [1, 1]);
}
