use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{Fixture, NotApplicable, forge};
use crate::x509::{
    Certificate, CertificateChain, KeyType, PeerRole, PrivateKey, Subject, TrustBundle, Validity,
    VerifiedCsr, verify_path,
};
use crate::{
    Authority, AuthorityError, Dialect, Generation, Issuance, IssuanceId, KeyUsage, Level, Outcome,
    Profile, Progress, Provider, RootRequest, Roots, SignerRequest, SigningRequest, checked,
};

/// One backend under test, and what every case does with it.
pub(crate) struct Suite<F> {
    pub(crate) fixture: F,
    pub(crate) provider: Arc<dyn Provider>,
    polls: AtomicUsize,
}

impl<F: Fixture> Suite<F> {
    /// A fresh backend that holds `levels`.
    pub(crate) async fn start(levels: &[Level]) -> Result<Self, NotApplicable> {
        for level in levels {
            if !F::LEVELS.contains(level) {
                return Err(NotApplicable(match level {
                    Level::Root => "it holds no root in this role",
                    Level::Signer => "it holds no signer in this role",
                }));
            }
        }
        let fixture = F::start().await;
        Ok(Self {
            provider: checked(fixture.provider().await),
            fixture,
            polls: AtomicUsize::new(0),
        })
    }

    /// The time as it is: a backend's CAs begin when they are made.
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    /// As after a restart.
    pub(crate) async fn restarted(&self) -> Arc<dyn Provider> {
        checked(self.fixture.provider().await)
    }

    /// From a minute ago, so that clocks which differ a little do no harm.
    pub(crate) fn validity(&self, hours: i64) -> Validity {
        let start = self.now() - SignedDuration::from_mins(1);
        Validity::new(start, self.now() + SignedDuration::from_hours(hours)).unwrap()
    }

    pub(crate) fn root_request(&self, number: u32, key_type: KeyType) -> RootRequest {
        RootRequest {
            generation: generation(Level::Root, number),
            subject: ca_subject("conformance root"),
            key_type,
            validity: self.validity(24 * 365),
        }
    }

    pub(crate) async fn root(&self, number: u32) -> Certificate {
        let request = self.root_request(number, self.ca_key_type());
        self.create_root(&self.provider, &request).await.unwrap()
    }

    /// The first key type that the backend offers for CAs.
    pub(crate) fn ca_key_type(&self) -> KeyType {
        *self.provider.capabilities().ca_key_types.first().unwrap()
    }

    pub(crate) async fn create_root(
        &self,
        provider: &Arc<dyn Provider>,
        request: &RootRequest,
    ) -> Result<Certificate, AuthorityError> {
        for _ in 0..self.fixture.polls() {
            match provider.create_root(request).await? {
                Progress::Done(root) => return Ok(root),
                Progress::Pending { poll_after } => self.pause(poll_after).await,
            }
        }
        panic!("the root of {} is still pending", request.generation)
    }

    pub(crate) async fn prepare_signer(
        &self,
        provider: &Arc<dyn Provider>,
        request: &SignerRequest,
    ) -> Result<VerifiedCsr, AuthorityError> {
        for _ in 0..self.fixture.polls() {
            match provider.prepare_signer(request).await? {
                Progress::Done(csr) => return Ok(csr),
                Progress::Pending { poll_after } => self.pause(poll_after).await,
            }
        }
        panic!("the signer {} is still pending", request.generation)
    }

    pub(crate) async fn sign(
        &self,
        authority: &Arc<dyn Authority>,
        request: &SigningRequest,
    ) -> Result<Issuance, AuthorityError> {
        let mut outcome = authority.sign(request).await?;
        for _ in 0..self.fixture.polls() {
            match outcome {
                Outcome::Issued(issuance) => return Ok(issuance),
                Outcome::Pending { ticket, poll_after } => {
                    self.pause(poll_after).await;
                    outcome = authority.collect(request, &ticket).await?;
                }
            }
        }
        panic!("issuance {} is still pending", request.id)
    }

    /// How often the backend said that it was too early.
    pub(crate) fn polls(&self) -> usize {
        self.polls.load(Ordering::SeqCst)
    }

    async fn pause(&self, asked: Duration) {
        self.polls.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(asked.min(self.fixture.longest_pause())).await;
    }

    /// Some CA to put signers under: the backend's root, or a stranger's where it holds none.
    pub(crate) async fn some_root(&self, number: u32) -> Arc<dyn Authority> {
        if !F::LEVELS.contains(&Level::Root) {
            return self.foreign_root();
        }
        let root = self.root(number).await;
        let anchors = TrustBundle::new([root]).unwrap();
        let root = generation(Level::Root, number);
        self.provider.open(&root, &anchors).await.unwrap()
    }

    /// The root of another provider.
    pub(crate) fn foreign_root(&self) -> Arc<dyn Authority> {
        Arc::new(forge::ForgedCa::root(
            "foreign root",
            self.validity(24 * 365),
        ))
    }

    /// Some CA that issues leaves: a signer, or the root where the backend holds no signers.
    pub(crate) async fn some_issuer(&self) -> Arc<dyn Authority> {
        let root = self.some_root(1).await;
        match F::LEVELS.contains(&Level::Signer) {
            true => self.signer(1, &root).await,
            false => root,
        }
    }

    /// Prepares, certifies, installs and opens a signer.
    pub(crate) async fn signer(
        &self,
        number: u32,
        root: &Arc<dyn Authority>,
    ) -> Arc<dyn Authority> {
        self.signer_with_key(number, root, self.ca_key_type()).await
    }

    pub(crate) async fn signer_with_key(
        &self,
        number: u32,
        root: &Arc<dyn Authority>,
        key_type: KeyType,
    ) -> Arc<dyn Authority> {
        let request = signer_request(number, key_type);
        let csr = self.prepare_signer(&self.provider, &request).await.unwrap();
        assert_eq!(csr.public_key().key_type(), Ok(key_type));
        let chain = self.certify_signer(root, &request, csr).await;
        let generation = &request.generation;
        self.provider
            .install_signer(generation, &chain, root.anchors())
            .await
            .unwrap();
        // Again, as after a crash before it was noted.
        self.provider
            .install_signer(generation, &chain, root.anchors())
            .await
            .unwrap();
        let signer = self
            .provider
            .open(generation, root.anchors())
            .await
            .unwrap();
        assert_eq!(signer.certificate(), chain.leaf());
        signer
    }

    pub(crate) async fn certify_signer(
        &self,
        root: &Arc<dyn Authority>,
        request: &SignerRequest,
        csr: VerifiedCsr,
    ) -> CertificateChain {
        let request = SigningRequest {
            id: IssuanceId::derive(&[b"signer", csr.der(), root.id().as_bytes()]),
            csr,
            profile: Profile::Signer,
            subject: request.subject.clone(),
            names: Vec::new(),
            validity: self.validity(24 * 90),
            now: self.now(),
        };
        self.sign(root, &request).await.unwrap().chain
    }

    pub(crate) fn leaf(&self, csr: VerifiedCsr, profile: Profile, name: &str) -> SigningRequest {
        forge::leaf_request(csr, profile, name, self.validity(24), self.now())
    }

    /// Whether the backend grants what a CSR asks for, so that CSRs have to ask for it.
    pub(crate) fn reads_csrs(&self) -> bool {
        self.provider.capabilities().dialect == Dialect::Csr
    }

    /// When a certificate is looked at: validity may begin with the signing, a moment from now.
    pub(crate) fn at(&self, certificate: &Certificate) -> Timestamp {
        match self.reads_csrs() {
            true => self.now().max(certificate.not_before()),
            false => self.now(),
        }
    }

    /// Whether roots are made as they are asked for; there is one that is given otherwise.
    pub(crate) fn makes_roots(&self) -> bool {
        self.provider.capabilities().roots == Roots::Made
    }

    /// A leaf's CSR: with as little in it as the backend can do with.
    pub(crate) fn csr(&self, key: &PrivateKey, common_name: &str, names: &[&str]) -> VerifiedCsr {
        let names = match self.reads_csrs() {
            true => names,
            false => &[],
        };
        forge::csr_with(key, common_name, |params| {
            params.subject_alt_names = forge::dns_names(names);
        })
    }

    /// A leaf of a new key, for an agent.
    pub(crate) fn agent(&self, name: &str) -> SigningRequest {
        let csr = self.csr(&forge::private_key(), name, &[name]);
        self.leaf(csr, Profile::AgentClient, name)
    }

    /// Has `authority` sign, and looks at everything that the profile promises.
    pub(crate) async fn sign_and_inspect(
        &self,
        authority: &Arc<dyn Authority>,
        request: &SigningRequest,
    ) -> Issuance {
        let issuance = self.sign(authority, request).await.unwrap();
        let leaf = issuance.chain.leaf();
        let profile = request.profile;
        assert_eq!(leaf.public_key(), request.csr.public_key());
        assert_eq!(
            leaf.common_name(),
            Some(request.subject.common_name.as_str())
        );
        let wanted: Vec<&str> = request.names.iter().map(|name| name.as_str()).collect();
        assert_eq!(leaf.dns_names(), wanted);
        assert!(leaf.other_names().is_empty());
        assert!(!leaf.is_ca());
        let eku = profile.extended_key_usage().unwrap().oid();
        assert_eq!(leaf.extended_key_usage(), [eku]);
        let usage = leaf.key_usage().unwrap();
        assert!(usage.contains(KeyUsage::DIGITAL_SIGNATURE));
        assert!(!usage.contains(KeyUsage::KEY_CERT_SIGN), "{usage}");
        let issuer = authority.certificate();
        assert_eq!(
            leaf.authority_key_identifier(),
            issuer.subject_key_identifier()
        );
        assert!(leaf.authority_key_identifier().is_some());
        // RFC 5280 section 4.2.1.2 recommends it for leaves, and some backends leave it away.
        assert!(leaf.subject_key_identifier().is_some() || self.reads_csrs());
        assert_eq!(leaf.raw_issuer(), issuer.raw_subject());
        assert!(leaf.serial().unwrap().bits() >= 64);
        assert!(
            !issuance
                .chain
                .certificates()
                .iter()
                .any(Certificate::is_self_signed)
        );
        let role = match profile {
            Profile::RelayServer => PeerRole::Server,
            _ => PeerRole::Client,
        };
        verify_path(&issuance.chain, authority.anchors(), role, self.at(leaf)).unwrap();
        issuance
    }
}

pub(crate) fn generation(level: Level, number: u32) -> Generation {
    Generation {
        relay: "conformance".to_owned(),
        level,
        number,
    }
}

pub(crate) fn ca_subject(name: &str) -> Subject {
    Subject {
        organization: Some("relay-pki".parse().unwrap()),
        common_name: name.parse().unwrap(),
    }
}

pub(crate) fn signer_request(number: u32, key_type: KeyType) -> SignerRequest {
    SignerRequest {
        generation: generation(Level::Signer, number),
        subject: ca_subject("conformance signer"),
        key_type,
    }
}

/// What is wrong with the request or with the set-up, as opposed to what may pass.
pub(crate) fn is_refusal(error: &AuthorityError) -> bool {
    matches!(
        error,
        AuthorityError::Rejected { .. } | AuthorityError::Misconfigured { .. }
    )
}
