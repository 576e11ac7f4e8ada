//! moto signs whatever it is asked for and ignores templates: its "subordinate CA" is none, and has to
//! be refused.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use relay_pki_authority::conformance::forge;
use relay_pki_authority::x509::{KeyType, TrustBundle, Validity};
use relay_pki_authority::{
    AuthorityError, IssuanceId, Level, Profile, Provider, SignerRequest, SigningRequest, checked,
};
use relay_pki_testbed::AwsServer;

use super::chains::{collected, generation};
use super::clients::{KeyFile, REGION};
use crate::{AwsPrivateCa, Settings};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subordinate_that_is_no_ca_is_refused() {
    let moto = AwsServer::moto();
    let provider: Arc<dyn Provider> = Arc::new(AwsPrivateCa::new(
        "moto",
        Settings {
            region: Some(REGION.to_owned()),
            credentials: Some(KeyFile::with("AKIAMOTO", "moto")),
            endpoint: Some(moto.endpoint()),
            ..Settings::default()
        },
    ));
    provider.check().await.unwrap();
    let unchecked = provider.clone();
    let provider = checked(provider);
    let now = Timestamp::now();
    let validity = |days: i64| {
        let end = now + SignedDuration::from_hours(24 * days);
        Validity::new(now - SignedDuration::from_mins(1), end).unwrap()
    };
    let request = relay_pki_authority::RootRequest {
        generation: generation(Level::Root, 1),
        subject: forge::subject("root"),
        key_type: KeyType::Rsa2048,
        validity: validity(3650),
    };
    // What it calls a root may be one or not; that is not the question here.
    let made = unchecked.create_root(&request).await;
    let Ok(relay_pki_authority::Progress::Done(root)) = made else {
        panic!("{made:?}");
    };
    let anchors = TrustBundle::new([root]).unwrap();
    let root = match provider.open(&request.generation, &anchors).await {
        Ok(root) => root,
        Err(error) => {
            assert!(matches!(error, AuthorityError::Misissued { .. }), "{error}");
            assert!(error.to_string().contains("is not a CA"), "{error}");
            return;
        }
    };
    let prepare = SignerRequest {
        generation: generation(Level::Signer, 1),
        subject: forge::subject("signer"),
        key_type: KeyType::Rsa2048,
    };
    let prepared = provider.prepare_signer(&prepare).await.unwrap();
    let relay_pki_authority::Progress::Done(csr) = prepared else {
        panic!("pending");
    };
    let signer = SigningRequest {
        id: IssuanceId::derive(&[b"moto"]),
        csr,
        profile: Profile::Signer,
        subject: prepare.subject,
        names: Vec::new(),
        // moto says of every CA that it is in short-lived mode.
        validity: validity(5),
        now,
    };
    // Everything that moto issues is valid for a year: already that is refused.
    let error = collected(&root, &signer).await.unwrap_err();
    assert!(matches!(error, AuthorityError::Misissued { .. }), "{error}");
    // Even if it were not: what it calls a subordinate is no CA.
    let root = unchecked.open(&request.generation, &anchors).await.unwrap();
    let chain = collected(&root, &signer).await.unwrap().chain;
    assert!(!chain.leaf().is_ca());
    let install = provider.install_signer(&prepare.generation, &chain, &anchors);
    let error = install.await.unwrap_err();
    assert!(error.to_string().contains("is not a CA"), "{error}");
}
