//! Roots: made once, of every key type, under one name.

use crate::conformance::forge;
use crate::conformance::suite::{Suite, ca_subject, generation};
use crate::conformance::{Fixture, NotApplicable};
use crate::x509::{CertificateChain, KeyType, PeerRole, TrustBundle, verify_path};
use crate::{AuthorityError, Level, Profile, Progress, SigningRequest};

/// The probe succeeds on a backend that works.
pub async fn the_provider_can_be_probed<F: Fixture>() -> Result<(), NotApplicable> {
    let suite = Suite::<F>::start(&[]).await?;
    suite.provider.check().await.unwrap();
    assert!(!suite.provider.name().is_empty());
    assert!(!suite.provider.capabilities().ca_key_types.is_empty());
    assert!(!suite.provider.capabilities().subject_key_types.is_empty());
    Ok(())
}

/// Asked again, and asked by a new handle, the backend answers with the root that it made.
pub async fn a_root_is_made_once<F: Fixture>() -> Result<(), NotApplicable> {
    let suite = Suite::<F>::start(&[Level::Root]).await?;
    let request = suite.root_request(1, suite.ca_key_type());
    let root = suite.create_root(&suite.provider, &request).await.unwrap();
    let again = suite.create_root(&suite.provider, &request).await.unwrap();
    let restarted = suite.restarted().await;
    let by_new_handle = suite.create_root(&restarted, &request).await.unwrap();
    assert_eq!(again, root);
    assert_eq!(by_new_handle, root);
    assert!(root.is_self_signed());
    assert!(root.validity().unwrap().contains(suite.now()));
    if let (Some(issued), true) = (suite.fixture.issued().await, suite.makes_roots()) {
        assert_eq!(issued, 1);
    }
    Ok(())
}

/// Two leaders for a moment, or a retry that overtakes: still one root.
pub async fn concurrent_creation_makes_one_root<F: Fixture>() -> Result<(), NotApplicable> {
    let suite = Suite::<F>::start(&[Level::Root]).await?;
    let request = suite.root_request(1, suite.ca_key_type());
    let mut calls = tokio::task::JoinSet::new();
    let mut providers = Vec::new();
    for _ in 0..4 {
        providers.push(suite.restarted().await);
    }
    for provider in providers.clone() {
        let request = request.clone();
        calls.spawn(async move { provider.create_root(&request).await });
    }
    // Who loses the race may say so, but must not hand out a root that nobody kept.
    let mut roots = Vec::new();
    while let Some(call) = calls.join_next().await {
        if let Ok(Progress::Done(root)) = call.unwrap() {
            roots.push(root);
        }
    }
    for provider in &providers {
        roots.push(suite.create_root(provider, &request).await.unwrap());
    }
    roots.dedup();
    assert_eq!(roots.len(), 1, "more than one root: {roots:?}");
    if let (Some(issued), true) = (suite.fixture.issued().await, suite.makes_roots()) {
        assert_eq!(issued, 1);
    }
    Ok(())
}

/// One root, signer and leaf for each key type that is cheap to make.
pub async fn every_ca_key_type_carries_a_whole_chain<F: Fixture>() -> Result<(), NotApplicable> {
    let suite = Suite::<F>::start(&[Level::Root, Level::Signer]).await?;
    let offered = suite.provider.capabilities().ca_key_types.clone();
    let cheap = [
        KeyType::EcdsaP256,
        KeyType::EcdsaP384,
        KeyType::Ed25519,
        KeyType::Rsa2048,
    ];
    let mut number = 0;
    let existing = [suite.ca_key_type()];
    let cheap = match suite.makes_roots() {
        true => cheap.as_slice(),
        false => existing.as_slice(),
    };
    for key_type in cheap
        .iter()
        .copied()
        .filter(|cheap| offered.contains(cheap))
    {
        number += 1;
        let request = suite.root_request(number, key_type);
        let root = suite.create_root(&suite.provider, &request).await.unwrap();
        assert_eq!(root.public_key().key_type(), Ok(key_type));
        let anchors = TrustBundle::new([root]).unwrap();
        let root = suite
            .provider
            .open(&request.generation, &anchors)
            .await
            .unwrap();
        // A second RSA key would only cost time: it is signed by the first like any other.
        let signer_key = match key_type.is_rsa() {
            true => *offered.first().unwrap(),
            false => key_type,
        };
        let signer = suite.signer_with_key(number, &root, signer_key).await;
        let constraints = signer.certificate().basic_constraints().unwrap();
        let left_open = suite.reads_csrs() && constraints.path_len.is_none();
        assert!(left_open || constraints.path_len == Some(0));
        for profile in [Profile::RelayServer, Profile::AgentClient] {
            let csr = suite.csr(&forge::private_key(), "cluster-1", &["cluster-1"]);
            let request = suite.leaf(csr, profile, "cluster-1");
            suite.sign_and_inspect(&signer, &request).await;
        }
    }
    Ok(())
}

/// Generations of a root share their name, so that cross-certificates are RFC 9810's, and differ in
/// key and key identifier, so that paths can be told apart.
pub async fn generations_keep_their_name_and_differ_in_their_key<F: Fixture>()
-> Result<(), NotApplicable> {
    let suite = Suite::<F>::start(&[Level::Root]).await?;
    let first = suite.root(1).await;
    if !suite.makes_roots() {
        return Err(NotApplicable("it makes no roots: they exist already"));
    }
    let second = suite.root(2).await;
    assert_eq!(first.raw_subject(), second.raw_subject());
    assert_ne!(first.public_key(), second.public_key());
    assert_ne!(
        first.subject_key_identifier(),
        second.subject_key_identifier()
    );
    assert!(first.subject_key_identifier().is_some());
    assert_eq!(
        first,
        suite.root(1).await,
        "the second generation replaced the first"
    );
    Ok(())
}

/// A client that knows one root only goes on through the other one's certificate of it (RFC 9810 section
/// 4.4).
pub async fn roots_certify_each_other<F: Fixture>() -> Result<(), NotApplicable> {
    let suite = Suite::<F>::start(&[Level::Root]).await?;
    if !suite.makes_roots() {
        return Err(NotApplicable("it makes no roots: they exist already"));
    }
    let (old, new) = (suite.root(1).await, suite.root(2).await);
    let subject = ca_subject("conformance root");
    let capabilities = suite.provider.capabilities().clone();
    for (number, root, other) in [(1, &old, (2, &new)), (2, &new, (1, &old))] {
        let asked = generation(Level::Root, number);
        let csr = match suite.provider.request_root(&asked, &subject).await {
            Err(AuthorityError::Unsupported { .. }) if !capabilities.requests_roots => {
                return Err(NotApplicable("its roots show no requests"));
            }
            csr => csr.unwrap(),
        };
        assert!(capabilities.requests_roots, "it can do more than it says");
        assert_eq!(csr.public_key(), root.public_key());
        if !capabilities.cross_certificates {
            continue;
        }
        let anchors = TrustBundle::new([other.1.clone()]).unwrap();
        let opened = generation(Level::Root, other.0);
        let authority = suite.provider.open(&opened, &anchors).await.unwrap();
        let request = SigningRequest {
            profile: Profile::Root,
            subject: subject.clone(),
            names: Vec::new(),
            ..suite.leaf(csr, Profile::AgentClient, "root")
        };
        let certified = suite.sign(&authority, &request).await.unwrap();
        let certified = certified.chain.leaf().clone();
        assert_eq!(certified.raw_subject(), root.raw_subject());
        assert_eq!(certified.public_key(), root.public_key());
        assert_eq!(
            certified.subject_key_identifier(),
            root.subject_key_identifier()
        );
        assert!(certified.is_issued_by(other.1));
        // What is below one of them verifies with the other.
        let own = TrustBundle::new([root.clone()]).unwrap();
        let own = suite.provider.open(&asked, &own).await.unwrap();
        let signer = suite.signer(10 + number, &own).await;
        let key = forge::private_key();
        let csr = suite.csr(&key, "cluster-1", &["cluster-1"]);
        let leaf = suite.leaf(csr, Profile::AgentClient, "cluster-1");
        let leaf = suite.sign(&signer, &leaf).await.unwrap();
        let mut chain = leaf.chain.certificates().to_vec();
        chain.push(certified);
        let chain = CertificateChain::new(chain).unwrap();
        verify_path(&chain, &anchors, PeerRole::Client, suite.at(chain.leaf())).unwrap();
    }
    Ok(())
}
