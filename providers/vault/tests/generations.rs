//! Roots and signers over several generations.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use relay_pki_authority::conformance::Fixture as _;
use relay_pki_authority::x509::{KeyType, Subject, TrustBundle, Validity};
use relay_pki_authority::{
    AuthorityError, Generation, IssuanceId, Level, Outcome, Profile, Progress, Provider,
    RootRequest, SignerRequest, SigningRequest, checked,
};
use relay_pki_testbed::Vault;
use relay_pki_vault::{Auth, Uses, VaultConfig};
use serde_json::{Value, json};

use crate::backend::{Backend, Kept, config, uses};

pub(crate) fn generation(level: Level, number: u32) -> Generation {
    Generation {
        relay: "conformance".to_owned(),
        level,
        number,
    }
}

fn subject(name: &str) -> Subject {
    Subject {
        organization: Some("conformance".parse().unwrap()),
        common_name: name.parse().unwrap(),
    }
}

pub(crate) fn days(days: i64) -> Validity {
    let now = Timestamp::now();
    let length = SignedDuration::from_hours(24 * days);
    Validity::new(now - SignedDuration::from_mins(5), now + length).unwrap()
}

pub(crate) async fn root(provider: &Arc<dyn Provider>, number: u32) -> TrustBundle {
    let request = RootRequest {
        generation: generation(Level::Root, number),
        subject: subject("relay root"),
        key_type: KeyType::EcdsaP256,
        validity: days(3650),
    };
    match provider.create_root(&request).await.unwrap() {
        Progress::Done(root) => TrustBundle::new([root]).unwrap(),
        Progress::Pending { .. } => panic!("a root is made at once"),
    }
}

fn signer(number: u32) -> SignerRequest {
    SignerRequest {
        generation: generation(Level::Signer, number),
        subject: subject("relay signer 1"),
        key_type: KeyType::EcdsaP256,
    }
}

/// A signer certified by the root of a generation.
pub(crate) async fn certified(
    provider: &Arc<dyn Provider>,
    number: u32,
    anchors: &TrustBundle,
) -> relay_pki_authority::x509::CertificateChain {
    let Progress::Done(csr) = provider.prepare_signer(&signer(1)).await.unwrap() else {
        panic!("a key is made at once");
    };
    let root = generation(Level::Root, number);
    let root = provider.open(&root, anchors).await.unwrap();
    let request = SigningRequest {
        id: IssuanceId::derive(&[b"signer", &number.to_be_bytes()]),
        csr,
        profile: Profile::Signer,
        subject: subject("relay signer 1"),
        names: Vec::new(),
        validity: days(365),
        now: Timestamp::now(),
    };
    match root.sign(&request).await.unwrap() {
        Outcome::Issued(issuance) => issuance.chain,
        Outcome::Pending { .. } => panic!("Vault signs at once"),
    }
}

/// What a root rotation does: one signer under two roots, and back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_signer_goes_from_root_to_root_and_back() {
    let backend = Backend::start().await;
    let provider = checked(backend.provider().await);
    let (old, new) = (root(&provider, 1).await, root(&provider, 2).await);
    let under_old = certified(&provider, 1, &old).await;
    let under_new = certified(&provider, 2, &new).await;
    let generation = generation(Level::Signer, 1);
    for (chain, anchors) in [
        (&under_old, &old),
        (&under_new, &new),
        (&under_old, &old),
        (&under_new, &new),
    ] {
        provider
            .install_signer(&generation, chain, anchors)
            .await
            .unwrap();
        let opened = provider.open(&generation, anchors).await.unwrap();
        assert_eq!(opened.certificate(), chain.leaf());
    }
    // All of them go when it is destroyed.
    provider.destroy(&generation).await.unwrap();
    assert!(provider.open(&generation, &new).await.is_err());
    assert!(provider.open(&generation, &old).await.is_err());
    let listed = Vault::shared().admin("LIST", &format!("{}/keys", backend.mount), &Value::Null);
    assert_eq!(listed["keys"].as_array().unwrap().len(), 2, "{listed}");
}

/// The other root's key under this root: RFC 9810's "new with old".
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_root_signs_another_roots_key() {
    let backend = Backend::start().await;
    let provider = checked(backend.provider().await);
    let old = root(&provider, 1).await;
    let new = relay_pki_authority::conformance::forge::private_key();
    let request = SigningRequest {
        id: IssuanceId::derive(&[b"cross"]),
        csr: relay_pki_authority::conformance::forge::csr(&new, "relay root"),
        profile: Profile::Root,
        subject: subject("relay root"),
        names: Vec::new(),
        validity: days(365),
        now: Timestamp::now(),
    };
    let opened = provider.open(&generation(Level::Root, 1), &old).await;
    let Outcome::Issued(crossed) = opened.unwrap().sign(&request).await.unwrap() else {
        panic!("Vault signs at once");
    };
    let crossed = crossed.chain.leaf().clone();
    assert_eq!(crossed.public_key(), new.public_key());
    assert_eq!(crossed.raw_subject(), old.anchors()[0].raw_subject());
    assert_eq!(crossed.basic_constraints().unwrap().path_len, None);
    assert!(crossed.is_issued_by(&old.anchors()[0]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_root_that_is_there_already_is_used_as_it_is() {
    let vault = Vault::shared();
    let mount = vault.pki("pki");
    let generate = format!("{mount}/issuers/generate/root/internal");
    let body =
        json!({ "common_name": "Example Corp Root", "issuer_name": "corp", "ttl": "87600h" });
    let made = vault.admin("POST", &generate, &body);
    let auth = Auth::Token(Kept::new(vault.root_token()).credential());
    let with = |issuer: &str| {
        let config = VaultConfig {
            root_issuer: Some(issuer.to_owned()),
            uses: Uses {
                signer: None,
                ..uses()
            },
            ..config(vault, &mount, auth.clone())
        };
        checked(Arc::new(relay_pki_vault::Vault::new("corp", config)))
    };
    let provider = with("corp");
    let anchors = root(&provider, 1).await;
    assert_eq!(
        anchors.anchors()[0].common_name(),
        Some("Example Corp Root")
    );
    certified(&provider, 1, &anchors).await;
    assert_eq!(made["issuer_name"], "corp");

    // The next root: the document names another issuer, and the old one still signs.
    let body =
        json!({ "common_name": "Example Corp Root 2", "issuer_name": "corp-2", "ttl": "87600h" });
    vault.admin("POST", &generate, &body);
    let next = with("corp-2");
    let new = root(&next, 2).await;
    assert_ne!(new, anchors);
    certified(&next, 2, &new).await;
    certified(&next, 1, &anchors).await;

    // It is not ours to destroy.
    let error = next.destroy(&generation(Level::Root, 1)).await.unwrap_err();
    assert!(
        matches!(error, AuthorityError::Unsupported { .. }),
        "{error}"
    );
    certified(&next, 1, &anchors).await;
    let error = with("corp-3").check().await.unwrap_err();
    assert!(error.to_string().contains("corp-3"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_second_policy_a_destroyed_ca_signs_no_more_at_least() {
    let backend = tokio::task::spawn_blocking(|| Backend::begin(false));
    let backend = backend.await.unwrap();
    let provider = checked(backend.provider().await);
    let anchors = root(&provider, 1).await;
    let error = provider.destroy(&generation(Level::Root, 1)).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("permission denied"), "{error}");
    let opened = provider.open(&generation(Level::Root, 1), &anchors).await;
    let error = opened.err().expect("it still signs").to_string();
    assert!(error.contains("retired"), "{error}");
}
