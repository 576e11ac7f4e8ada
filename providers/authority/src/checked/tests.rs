//! A CA that lies about one thing at a time.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, IsCa,
    KeyIdMethod, KeyUsagePurpose, SanType, SerialNumber,
};

use crate::conformance::forge::{self, ForgedCa};
use crate::x509::{Certificate, CertificateChain, PublicKey, TrustBundle, VerifiedCsr};
use crate::{
    Authority, AuthorityError, Calls, Capabilities, Custody, Dialect, Generation, Issuance,
    IssuanceId, Level, Metering, Outcome, Profile, Progress, Provider, Revocation, RootRequest,
    Roots, SignerRequest, SigningRequest, checked,
};

mod dialect;
mod lies;
mod opening;
mod ways;

/// What the liar is about to sign and hand out.
struct Forgery {
    params: CertificateParams,
    key: PublicKey,
    signed_by: ForgedCa,
    /// What follows the leaf.
    path: Vec<Certificate>,
}

type Lie = Box<dyn Fn(&mut Forgery) + Send + Sync>;

struct Liar {
    ca: ForgedCa,
    lie: Lie,
}

#[async_trait]
impl Authority for Liar {
    fn id(&self) -> &str {
        "liar"
    }

    fn certificate(&self) -> &Certificate {
        &self.ca.certificate
    }

    fn path(&self) -> &[Certificate] {
        &self.ca.path
    }

    fn anchors(&self) -> &TrustBundle {
        &self.ca.anchors
    }

    async fn sign(&self, request: &SigningRequest) -> Result<Outcome, AuthorityError> {
        let mut forgery = Forgery {
            params: self.ca.honest(request),
            key: request.csr.public_key().clone(),
            signed_by: self.ca.clone(),
            path: self.ca.path.clone(),
        };
        (self.lie)(&mut forgery);
        let leaf = forgery.signed_by.certify(&forgery.params, &forgery.key);
        let chain = std::iter::once(leaf).chain(forgery.path);
        Ok(Outcome::Issued(Issuance {
            chain: CertificateChain::new(chain.collect()).unwrap(),
            anchors: ForgedCa::root("the liar's own root", validity(1)).anchors,
            reference: None,
        }))
    }

    async fn collect(
        &self,
        request: &SigningRequest,
        _: &crate::Ticket,
    ) -> Result<Outcome, AuthorityError> {
        self.sign(request).await
    }
}

/// A provider whose answers are given.
struct Given {
    capabilities: Capabilities,
    authority: Arc<dyn Authority>,
}

#[async_trait]
impl Provider for Given {
    fn name(&self) -> &str {
        "given"
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn check(&self) -> Result<(), AuthorityError> {
        Ok(())
    }

    async fn create_root(&self, _: &RootRequest) -> Result<Progress<Certificate>, AuthorityError> {
        Ok(Progress::Done(self.authority.certificate().clone()))
    }

    async fn prepare_signer(
        &self,
        _: &SignerRequest,
    ) -> Result<Progress<VerifiedCsr>, AuthorityError> {
        Ok(Progress::Done(forge::csr(&forge::private_key(), "signer")))
    }

    async fn install_signer(
        &self,
        _: &Generation,
        _: &CertificateChain,
        _: &TrustBundle,
    ) -> Result<(), AuthorityError> {
        Ok(())
    }

    async fn open(
        &self,
        _: &Generation,
        _: &TrustBundle,
    ) -> Result<Arc<dyn Authority>, AuthorityError> {
        Ok(self.authority.clone())
    }

    async fn import(
        &self,
        _: &Generation,
        _: &crate::x509::PrivateKey,
        _: &CertificateChain,
    ) -> Result<(), AuthorityError> {
        Ok(())
    }

    async fn destroy(&self, _: &Generation) -> Result<(), AuthorityError> {
        Ok(())
    }
}

fn provider(authority: Arc<dyn Authority>) -> Arc<dyn Provider> {
    provider_with(authority, Dialect::Full, Roots::Made)
}

fn provider_with(
    authority: Arc<dyn Authority>,
    dialect: Dialect,
    roots: Roots,
) -> Arc<dyn Provider> {
    checked(Arc::new(Given {
        capabilities: Capabilities {
            ca_key_types: Vec::new(),
            subject_key_types: Vec::new(),
            calls: Calls::NONE,
            custody: Custody::Local,
            metering: Metering::Free,
            asynchronous: false,
            recertifies_signers: true,
            cross_certificates: true,
            requests_roots: false,
            revocation: Revocation::Never,
            dialect,
            roots,
            disables: false,
        },
        authority,
    }))
}

fn now() -> Timestamp {
    Timestamp::from_second(1_900_000_000).unwrap()
}

fn ago(minutes: i64) -> Timestamp {
    now() - SignedDuration::from_mins(minutes)
}

/// From a minute ago.
fn validity(hours: i64) -> crate::x509::Validity {
    forge::hours(ago(1), hours)
}

fn generation(level: Level) -> Generation {
    Generation {
        relay: "gloo-mesh".to_owned(),
        level,
        number: 1,
    }
}

/// A root with its signer below.
fn ca() -> (ForgedCa, ForgedCa) {
    let root = ForgedCa::root("root", forge::hours(ago(24 * 60), 24 * 365));
    let signer = root.signer("signer", forge::hours(ago(24 * 60), 24 * 30));
    (root, signer)
}

async fn open(liar: Liar, level: Level) -> Arc<dyn Authority> {
    let anchors = liar.ca.anchors.clone();
    provider(Arc::new(liar))
        .open(&generation(level), &anchors)
        .await
        .unwrap()
}

fn agent() -> SigningRequest {
    let csr = forge::csr(&forge::private_key(), "cluster-1");
    forge::leaf_request(csr, Profile::AgentClient, "cluster-1", validity(24), now())
}

fn signer_request() -> SigningRequest {
    let csr = forge::csr(&forge::private_key(), "signer");
    SigningRequest {
        id: IssuanceId::derive(&[csr.der()]),
        csr,
        profile: Profile::Signer,
        subject: forge::subject("signer"),
        names: Vec::new(),
        validity: validity(24),
        now: now(),
    }
}

/// What `ca` hands out for `request` when it lies like this: once as the very first certificate,
/// and once after an honest one, when the way up is known already.
async fn caught(
    ca: &ForgedCa,
    level: Level,
    request: &SigningRequest,
    lie: impl Fn(&mut Forgery) + Send + Sync + 'static,
) -> String {
    let lie = Arc::new(lie);
    let honest_first = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let mut problems = Vec::new();
    for warmed in [false, true] {
        honest_first.store(warmed, std::sync::atomic::Ordering::SeqCst);
        let (lie, honest_first) = (lie.clone(), honest_first.clone());
        let authority = open(
            Liar {
                ca: ca.clone(),
                lie: Box::new(move |forgery| {
                    if !honest_first.swap(false, std::sync::atomic::Ordering::SeqCst) {
                        lie(forgery);
                    }
                }),
            },
            level,
        )
        .await;
        if warmed {
            authority
                .sign(request)
                .await
                .expect("the honest one passes");
        }
        match authority.sign(request).await {
            Err(AuthorityError::Misissued { problem, .. }) => problems.push(problem),
            other => panic!("warmed {warmed}: {other:?}"),
        }
        // What comes late is looked at no less.
        let ticket = crate::Ticket("late".to_owned());
        let late = authority.collect(request, &ticket).await;
        assert!(matches!(late, Err(AuthorityError::Misissued { .. })));
    }
    assert_eq!(problems[0], problems[1]);
    problems.remove(0)
}

/// As [`caught`], for an agent's certificate from a signer.
async fn caught_leaf(lie: impl Fn(&mut Forgery) + Send + Sync + 'static) -> String {
    caught(&ca().1, Level::Signer, &agent(), lie).await
}

#[track_caller]
fn says(problem: &str, words: &str) {
    assert!(problem.contains(words), "{words:?} is not in: {problem}");
}
