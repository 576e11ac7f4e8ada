//! What is this provider's own: key store trouble, the shape of its CAs, cross-certificates.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use jiff::{SignedDuration, Timestamp};
use relay_pki_authority::conformance::forge::{self, ForgedCa};
use relay_pki_authority::x509::{
    Certificate, CertificateChain, KeyType, PeerRole, Subject, TrustBundle, VerifiedCsr,
    verify_path,
};
use relay_pki_authority::{
    Authority, AuthorityError, Generation, Issuance, KeyStore, Level, Outcome, Profile, Progress,
    Provider, RootRequest, SignerRequest, SigningRequest, StoredKey, checked,
};

use super::FailingKeyStore;
use crate::{SelfSigned, build};

struct Setup {
    store: Arc<FailingKeyStore>,
    provider: Arc<dyn Provider>,
    now: Timestamp,
}

impl Setup {
    fn new() -> Self {
        let store = Arc::<FailingKeyStore>::default();
        Self {
            provider: checked(Arc::new(SelfSigned::new("local", store.clone()))),
            store,
            now: Timestamp::from_second(1_900_000_000).unwrap(),
        }
    }

    fn root_request(&self, number: u32) -> RootRequest {
        RootRequest {
            generation: generation(Level::Root, number),
            subject: subject("root"),
            key_type: KeyType::EcdsaP256,
            validity: forge::hours(self.now, 24 * 365 * i64::from(number)),
        }
    }

    async fn root(&self, number: u32) -> Result<Certificate, AuthorityError> {
        match self
            .provider
            .create_root(&self.root_request(number))
            .await?
        {
            Progress::Done(root) => Ok(root),
            Progress::Pending { .. } => panic!("pending"),
        }
    }

    async fn open_root(&self, number: u32) -> Arc<dyn Authority> {
        let anchors = TrustBundle::new([self.root(number).await.unwrap()]).unwrap();
        let root = generation(Level::Root, number);
        self.provider.open(&root, &anchors).await.unwrap()
    }

    async fn prepare(&self) -> Result<VerifiedCsr, AuthorityError> {
        let request = SignerRequest {
            generation: generation(Level::Signer, 1),
            subject: subject("signer"),
            key_type: KeyType::EcdsaP256,
        };
        match self.provider.prepare_signer(&request).await? {
            Progress::Done(csr) => Ok(csr),
            Progress::Pending { .. } => panic!("pending"),
        }
    }

    fn signing(&self, csr: VerifiedCsr, profile: Profile, name: &str) -> SigningRequest {
        let validity = forge::hours(self.now, 24);
        let mut request = forge::leaf_request(csr, profile, name, validity, self.now);
        if profile.is_ca() {
            request.names.clear();
            request.subject = subject(name);
        }
        request
    }
}

fn generation(level: Level, number: u32) -> Generation {
    Generation {
        relay: "gloo-mesh".to_owned(),
        level,
        number,
    }
}

fn subject(name: &str) -> Subject {
    Subject {
        organization: Some("gloo-mesh".parse().unwrap()),
        common_name: name.parse().unwrap(),
    }
}

async fn issued(authority: &Arc<dyn Authority>, request: &SigningRequest) -> Issuance {
    match authority.sign(request).await.unwrap() {
        Outcome::Issued(issuance) => issuance,
        Outcome::Pending { .. } => panic!("pending"),
    }
}

#[tokio::test]
async fn a_swapped_key_is_a_misconfiguration() {
    let setup = Setup::new();
    let root = setup.root(1).await.unwrap();
    let swapped = StoredKey {
        key: forge::private_key(),
        chain: Some(CertificateChain::new(vec![root.clone()]).unwrap()),
    };
    let generation = generation(Level::Root, 1);
    setup.store.destroy(&generation).await.unwrap();
    setup.store.create(&generation, &swapped).await.unwrap();
    let anchors = TrustBundle::new([root]).unwrap();
    let opened = setup
        .provider
        .open(&generation, &anchors)
        .await
        .err()
        .unwrap();
    let created = setup.root(1).await.unwrap_err();
    let exported = setup.provider.export_key(&generation).await.unwrap_err();
    for error in [opened, created, exported] {
        assert!(
            matches!(error, AuthorityError::Misconfigured { .. }),
            "{error}"
        );
        assert!(error.to_string().contains("does not belong"), "{error}");
    }
}

#[tokio::test]
async fn a_lost_reply_of_the_key_store_is_made_up_for() {
    let setup = Setup::new();
    setup.store.lose_reply.store(true, Ordering::SeqCst);
    assert!(setup.root(1).await.unwrap_err().is_transient());
    let stored = setup
        .store
        .load(&generation(Level::Root, 1))
        .await
        .unwrap()
        .unwrap();
    let root = setup.root(1).await.unwrap();
    assert_eq!(stored.key.public_key(), root.public_key());

    setup.store.lose_reply.store(true, Ordering::SeqCst);
    assert!(setup.prepare().await.unwrap_err().is_transient());
    let stored = setup
        .store
        .load(&generation(Level::Signer, 1))
        .await
        .unwrap()
        .unwrap();
    let csr = setup.prepare().await.unwrap();
    assert_eq!(stored.key.public_key(), csr.public_key());
}

#[tokio::test]
async fn an_unreachable_key_store_is_unavailable() {
    let setup = Setup::new();
    setup.store.unavailable.store(true, Ordering::SeqCst);
    assert!(setup.provider.check().await.unwrap_err().is_transient());
    assert!(setup.root(1).await.unwrap_err().is_transient());
    setup.store.unavailable.store(false, Ordering::SeqCst);
    setup.provider.check().await.unwrap();
}

#[tokio::test]
async fn roots_are_unlimited_and_signers_issue_leaves_only() {
    let setup = Setup::new();
    let root = setup.open_root(1).await;
    let constraints = root.certificate().basic_constraints().unwrap();
    assert!(constraints.ca && constraints.critical);
    assert_eq!(constraints.path_len, None);
    assert!(root.certificate().authority_key_identifier().is_none());

    let request = setup.signing(setup.prepare().await.unwrap(), Profile::Signer, "signer");
    let signer = issued(&root, &request).await.chain;
    let constraints = signer.leaf().basic_constraints().unwrap();
    assert!(constraints.ca && constraints.critical);
    assert_eq!(constraints.path_len, Some(0));
    assert!(signer.leaf().key_usage_is_critical());
}

#[tokio::test]
async fn generations_of_a_root_share_the_name_and_nothing_else() {
    let setup = Setup::new();
    let (first, second) = (setup.root(1).await.unwrap(), setup.root(2).await.unwrap());
    assert_eq!(first.raw_subject(), second.raw_subject());
    assert_ne!(first.public_key(), second.public_key());
    assert_ne!(first.serial(), second.serial());
    assert!(second.not_after() > first.not_after());
}

#[tokio::test]
async fn levels_are_not_mixed_up() {
    let setup = Setup::new();
    let root = setup.root(1).await.unwrap();
    let anchors = TrustBundle::new([root.clone()]).unwrap();
    let chain = CertificateChain::new(vec![root]).unwrap();
    let level = generation(Level::Root, 1);
    let error = setup
        .provider
        .install_signer(&level, &chain, &anchors)
        .await
        .unwrap_err();
    assert!(matches!(error, AuthorityError::Rejected { .. }), "{error}");
}

/// RFC 9810 section 4.4: the old root certifies the new one, and whoever knows only the old one
/// accepts leaves under the new.
#[tokio::test]
async fn the_old_root_can_certify_the_new_one() {
    let setup = Setup::new();
    let (old, new) = (setup.open_root(1).await, setup.open_root(2).await);
    let stored = setup
        .store
        .load(&generation(Level::Root, 2))
        .await
        .unwrap()
        .unwrap();
    let csr = build::request(&stored.key, &subject("root")).unwrap();
    let csr = VerifiedCsr::from_der(&csr).unwrap();
    let request = setup.signing(csr, Profile::Root, "root");
    let new_with_old = issued(&old, &request).await.chain.leaf().clone();
    assert_eq!(
        new_with_old.subject_key_identifier(),
        new.certificate().subject_key_identifier()
    );
    assert!(new_with_old.is_issued_by(old.certificate()));

    let request = setup.signing(setup.prepare().await.unwrap(), Profile::Signer, "signer");
    let signer = issued(&new, &request).await.chain.leaf().clone();
    let path = CertificateChain::new(vec![signer, new_with_old]).unwrap();
    let level = generation(Level::Signer, 1);
    let install = setup.provider.install_signer(&level, &path, new.anchors());
    install.await.unwrap();
    for anchors in [old.anchors(), new.anchors()] {
        let signer = setup.provider.open(&level, anchors).await.unwrap();
        let csr = forge::csr(&forge::private_key(), "cluster-1");
        let request = setup.signing(csr, Profile::AgentClient, "cluster-1");
        let issuance = issued(&signer, &request).await;
        assert_eq!(&issuance.anchors, anchors);
        verify_path(&issuance.chain, anchors, PeerRole::Client, setup.now).unwrap();
    }
}

/// Made by hand, in the wrong order, with the same `-days`: the signer outlives its root.
#[tokio::test]
async fn leaves_end_with_whatever_ends_first_above_them() {
    let setup = Setup::new();
    let root = ForgedCa::root("root", forge::hours(setup.now, 20));
    let signer = root.signer("signer", forge::hours(setup.now, 30));
    let chain = CertificateChain::new(vec![signer.certificate.clone()]).unwrap();
    let level = generation(Level::Signer, 1);
    setup
        .provider
        .import(&level, &signer.key, &chain)
        .await
        .unwrap();
    let opened = setup.provider.open(&level, &root.anchors).await.unwrap();
    let csr = forge::csr(&forge::private_key(), "cluster-1");
    let request = setup.signing(csr, Profile::AgentClient, "cluster-1");
    let leaf = issued(&opened, &request).await.chain.leaf().clone();
    assert_eq!(leaf.not_after(), setup.now + SignedDuration::from_hours(20));
}
