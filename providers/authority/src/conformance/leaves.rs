//! Leaves: exactly what the profile says, for as long as was asked.

use jiff::SignedDuration;

use crate::Profile;
use crate::conformance::forge;
use crate::conformance::suite::Suite;
use crate::conformance::{Fixture, NotApplicable};
use crate::x509::{KeyType, PrivateKey, Validity, VerifiedCsr};

/// RSA requests are kept: making the keys takes seconds.
fn request_of<F: Fixture>(suite: &Suite<F>, key_type: KeyType) -> VerifiedCsr {
    let kept: &[u8] = match key_type {
        KeyType::Rsa2048 => include_bytes!("fixtures/rsa-2048.csr.pem"),
        KeyType::Rsa3072 => include_bytes!("fixtures/rsa-3072.csr.pem"),
        KeyType::Rsa4096 => include_bytes!("fixtures/rsa-4096.csr.pem"),
        _ => {
            let key = PrivateKey::generate(key_type).unwrap();
            return suite.csr(&key, "cluster-1", &["cluster-1"]);
        }
    };
    VerifiedCsr::from_pem(kept).unwrap()
}

/// Server and agent, every key type that the backend says it signs for.
pub async fn every_subject_key_type_gets_every_leaf_profile<F: Fixture>()
-> Result<(), NotApplicable> {
    let suite = Suite::<F>::start(&[]).await?;
    let issuer = suite.some_issuer().await;
    for key_type in suite.provider.capabilities().subject_key_types.clone() {
        for profile in [Profile::RelayServer, Profile::AgentClient] {
            let request = suite.leaf(request_of(&suite, key_type), profile, "cluster-1");
            let issuance = suite.sign_and_inspect(&issuer, &request).await;
            let leaf = issuance.chain.leaf();
            assert_eq!(leaf.public_key().key_type(), Ok(key_type));
            let usage = leaf.key_usage().unwrap();
            assert!(usage.contains(profile.required_key_usage(key_type.is_rsa())));
        }
    }
    Ok(())
}

/// Not longer than asked, and not noticeably shorter.
pub async fn validity_is_honoured<F: Fixture>() -> Result<(), NotApplicable> {
    let suite = Suite::<F>::start(&[]).await?;
    let issuer = suite.some_issuer().await;
    for hours in [2, 24, 24 * 30] {
        let mut request = suite.agent("cluster-1");
        request.validity = suite.validity(hours);
        request.id = crate::IssuanceId::derive(&[b"validity", &hours.to_be_bytes()]);
        let issuance = suite.sign_and_inspect(&issuer, &request).await;
        let found = issuance.chain.leaf().validity().unwrap();
        assert!(found.contains(suite.at(issuance.chain.leaf())));
        let missing = request
            .validity
            .not_after()
            .duration_since(found.not_after());
        let tolerance = SignedDuration::from_mins(2);
        assert!(
            !missing.is_negative() && missing < tolerance,
            "{hours} h: {found}"
        );
    }
    Ok(())
}

/// A leaf asked for beyond its issuer's end is cut there, or refused; it never outlives it.
pub async fn validity_ends_with_the_issuer<F: Fixture>() -> Result<(), NotApplicable> {
    let suite = Suite::<F>::start(&[]).await?;
    let issuer = suite.some_issuer().await;
    let mut request = suite.agent("cluster-1");
    request.validity = suite.validity(24 * 365 * 5);
    match suite.sign(&issuer, &request).await {
        Ok(issuance) => {
            let found: Validity = issuance.chain.leaf().validity().unwrap();
            assert!(found.not_after() <= issuer.certificate().not_after());
        }
        Err(error) => assert!(!error.is_transient(), "{error}"),
    }
    Ok(())
}

/// Issuer and serial number name a certificate: the same key twice gets two.
pub async fn a_renewed_key_gets_a_new_serial<F: Fixture>() -> Result<(), NotApplicable> {
    let suite = Suite::<F>::start(&[]).await?;
    let issuer = suite.some_issuer().await;
    let first = suite.agent("cluster-1");
    let mut renewal = first.clone();
    renewal.id = crate::IssuanceId::derive(&[b"renewal"]);
    let first = suite.sign_and_inspect(&issuer, &first).await.chain;
    let renewed = suite.sign_and_inspect(&issuer, &renewal).await.chain;
    assert_eq!(first.leaf().public_key(), renewed.leaf().public_key());
    assert_ne!(first.leaf().serial(), renewed.leaf().serial());
    assert_eq!(
        first.leaf().subject_key_identifier(),
        renewed.leaf().subject_key_identifier()
    );
    Ok(())
}

/// The relay server's names, in the form that relay agents dial.
pub async fn several_names_and_wildcards_are_kept<F: Fixture>() -> Result<(), NotApplicable> {
    let suite = Suite::<F>::start(&[]).await?;
    let issuer = suite.some_issuer().await;
    let names = [
        "gloo-mesh-mgmt-server.gloo-mesh",
        "*.gloo-mesh",
        "relay.example.org",
    ];
    let csr = suite.csr(&forge::private_key(), names[0], &names);
    let mut request = suite.leaf(csr, Profile::RelayServer, names[0]);
    request.names = names.map(|name| name.parse().unwrap()).to_vec();
    let issuance = suite.sign(&issuer, &request).await.unwrap();
    let leaf = issuance.chain.leaf();
    for host in ["any.gloo-mesh", "relay.example.org"] {
        assert!(leaf.covers(&host.parse().unwrap()), "{host}");
    }
    assert!(!leaf.covers(&"a.b.gloo-mesh".parse().unwrap()));
    Ok(())
}
