//! A provider with a root, or a root and a signer, and requests for it.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use relay_pki_authority::conformance::forge;
use relay_pki_authority::x509::{
    Certificate, CertificateChain, KeyType, Subject, TrustBundle, Validity, VerifiedCsr,
};
use relay_pki_authority::{
    Authority, AuthorityError, Generation, Issuance, IssuanceId, Level, Outcome, Profile, Progress,
    Provider, RootRequest, SignerRequest, SigningRequest, checked,
};
use relay_pki_testbed::{GoogleCas as Emulator, GoogleProject};
use serde_json::{Value, json};

use super::{Key, provider_with};

pub(super) struct Setup {
    pub(super) project: GoogleProject,
    pub(super) key: Arc<Key>,
    pub(super) provider: Arc<dyn Provider>,
}

impl Setup {
    pub(super) fn new() -> Self {
        Self::with(json!({}))
    }

    /// A project with something more, and a provider that nothing was asked of.
    pub(super) fn with(mut wanted: Value) -> Self {
        wanted["operationSeconds"] = json!(0.1);
        let project = Emulator::shared().project_with(&wanted);
        let key = Arc::new(Key::new(project.key()));
        Self {
            provider: checked(Arc::new(provider_with(&project, key.clone()))),
            key,
            project,
        }
    }

    /// A project whose only pool has this policy.
    pub(super) fn with_policy(policy: Value) -> Self {
        Self::with(json!({ "pools": [{ "issuancePolicy": policy }] }))
    }

    /// Another handle, as after a restart.
    pub(super) fn restarted(&self) -> Arc<dyn Provider> {
        checked(Arc::new(provider_with(&self.project, self.key.clone())))
    }

    pub(super) async fn create_root(&self, number: u32) -> Result<Certificate, AuthorityError> {
        let request = RootRequest {
            generation: generation(Level::Root, number),
            subject: subject("relay root"),
            key_type: KeyType::EcdsaP256,
            validity: validity(24 * 365),
        };
        loop {
            match self.provider.create_root(&request).await? {
                Progress::Done(root) => return Ok(root),
                Progress::Pending { .. } => pause().await,
            }
        }
    }

    pub(super) async fn open_root(&self, number: u32) -> Arc<dyn Authority> {
        let anchors = TrustBundle::new([self.create_root(number).await.unwrap()]).unwrap();
        let root = generation(Level::Root, number);
        self.provider.open(&root, &anchors).await.unwrap()
    }

    pub(super) async fn prepare(&self) -> Result<VerifiedCsr, AuthorityError> {
        let request = SignerRequest {
            generation: generation(Level::Signer, 1),
            subject: subject("relay signer 1"),
            key_type: KeyType::EcdsaP256,
        };
        loop {
            match self.provider.prepare_signer(&request).await? {
                Progress::Done(csr) => return Ok(csr),
                Progress::Pending { .. } => pause().await,
            }
        }
    }

    /// The request for a signer's certificate.
    pub(super) fn signer_request(csr: VerifiedCsr) -> SigningRequest {
        SigningRequest {
            id: IssuanceId::derive(&[b"signer", csr.der()]),
            csr,
            profile: Profile::Signer,
            subject: subject("relay signer 1"),
            names: Vec::new(),
            validity: validity(24 * 90),
            now: Timestamp::now(),
        }
    }

    /// The signer under the root, both in the pool.
    pub(super) async fn signer(&self, root: &Arc<dyn Authority>) -> Arc<dyn Authority> {
        let csr = self.prepare().await.unwrap();
        let chain = issue(root, &Self::signer_request(csr)).await.unwrap().chain;
        self.install(&chain, root.anchors()).await.unwrap();
        let signer = generation(Level::Signer, 1);
        self.provider.open(&signer, root.anchors()).await.unwrap()
    }

    pub(super) async fn install(
        &self,
        chain: &CertificateChain,
        anchors: &TrustBundle,
    ) -> Result<(), AuthorityError> {
        let signer = generation(Level::Signer, 1);
        self.provider.install_signer(&signer, chain, anchors).await
    }
}

async fn pause() {
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
}

pub(super) async fn issue(
    authority: &Arc<dyn Authority>,
    request: &SigningRequest,
) -> Result<Issuance, AuthorityError> {
    match authority.sign(request).await? {
        Outcome::Issued(issuance) => Ok(issuance),
        Outcome::Pending { .. } => panic!("pending"),
    }
}

pub(super) fn generation(level: Level, number: u32) -> Generation {
    Generation {
        relay: "gloo-mesh".to_owned(),
        level,
        number,
    }
}

pub(super) fn subject(name: &str) -> Subject {
    Subject {
        organization: Some("gloo-mesh".parse().unwrap()),
        common_name: name.parse().unwrap(),
    }
}

/// From five minutes ago, as relay-pki dates.
pub(super) fn validity(hours: i64) -> Validity {
    let now = Timestamp::now();
    let start = now - SignedDuration::from_mins(5);
    Validity::new(start, now + SignedDuration::from_hours(hours)).unwrap()
}

/// A request for an agent's certificate.
pub(super) fn agent(name: &str) -> SigningRequest {
    let csr = forge::csr(&forge::private_key(), name);
    let now = Timestamp::now();
    forge::leaf_request(csr, Profile::AgentClient, name, validity(24), now)
}
