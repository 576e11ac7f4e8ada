use super::*;
use crate::x509::{KeyType, PrivateKey, Validity};

async fn open_error(ca: ForgedCa, anchors: &TrustBundle) -> String {
    let provider = provider(Arc::new(ca));
    let error = provider.open(&generation(Level::Signer), anchors).await;
    let error = error.err().expect("it was opened");
    assert!(matches!(error, AuthorityError::Misissued { .. }), "{error}");
    error.to_string()
}

fn repeated() -> (Certificate, PrivateKey) {
    (
        Certificate::from_pem(include_bytes!("../../conformance/fixtures/repeated.pem")).unwrap(),
        PrivateKey::from_pem(include_bytes!(
            "../../conformance/fixtures/repeated.key.pem"
        ))
        .unwrap(),
    )
}

#[tokio::test]
async fn a_ca_with_repeated_attributes_is_refused_by_name() {
    let (certificate, key) = repeated();
    let mut ca = ca().0;
    ca.certificate = certificate.clone();
    ca.anchors = TrustBundle::new([certificate.clone()]).unwrap();
    let anchors = ca.anchors.clone();
    let error = open_error(ca.clone(), &anchors).await;
    says(
        &error,
        "DC=com, DC=example, OU=one, OU=two has DC more than once",
    );

    let chain = CertificateChain::new(vec![certificate]).unwrap();
    let error = provider(Arc::new(ca))
        .import(&generation(Level::Root), &key, &chain)
        .await
        .unwrap_err();
    assert!(matches!(error, AuthorityError::Rejected { .. }), "{error}");
    says(&error.to_string(), "has DC more than once");
}

#[tokio::test]
async fn a_ca_under_another_root_is_not_opened() {
    let (_, signer) = ca();
    let error = open_error(signer, &ca().0.anchors).await;
    says(&error, "does not lead to any of the expected roots");
}

#[tokio::test]
async fn a_path_that_starts_elsewhere_is_not_opened() {
    let (root, mut signer) = ca();
    signer.path.clear();
    let error = open_error(signer, &root.anchors).await;
    says(
        &error,
        "the path of CN=signer does not start with its certificate",
    );
}

#[tokio::test]
async fn what_is_no_ca_is_not_opened() {
    let (root, _) = ca();
    let no_ca = root.signer_with("signer", validity(24), |params| {
        params.is_ca = IsCa::ExplicitNoCa;
    });
    says(
        &open_error(no_ca, &root.anchors).await,
        "is not a CA (basicConstraints)",
    );
    let no_signing = root.signer_with("signer", validity(24), |params| {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    });
    let error = open_error(no_signing, &root.anchors).await;
    says(&error, "may not sign certificates (keyUsage)");
}

#[tokio::test]
async fn a_signer_below_a_root_that_allows_none_is_not_opened() {
    let root = ForgedCa::root_with("root", validity(24), |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    });
    let signer = root.signer("signer", validity(24));
    says(&open_error(signer, &root.anchors).await, "(path length)");
}

/// The old root's certificate first, the new root's behind it: what is served while roots change.
#[tokio::test]
async fn a_signer_under_two_roots_opens_and_signs_for_both() {
    let (old, mut signer) = ca();
    let (new, _) = ca();
    let again = new.certify(&signer.issuer, signer.key.public_key());
    signer.path.push(again);
    let both = [old.certificate.clone(), new.certificate.clone()];
    for anchors in [
        old.anchors.clone(),
        new.anchors.clone(),
        TrustBundle::new(both).unwrap(),
    ] {
        let opened = provider(Arc::new(signer.clone()))
            .open(&generation(Level::Signer), &anchors)
            .await;
        // Under the new root alone the first certificate leads nowhere.
        match anchors.contains(&old.certificate) {
            true => drop(opened.unwrap().sign(&agent()).await.unwrap()),
            false => assert!(opened.is_err()),
        }
    }
}

#[tokio::test]
async fn roots_that_are_not_what_was_asked_for() {
    let request = |name: &str, key_type, validity: Validity| RootRequest {
        generation: generation(Level::Root),
        subject: forge::subject(name),
        key_type,
        validity,
    };
    let year = validity(24 * 365);
    let plain = ForgedCa::root("root", year);
    let p256 = KeyType::EcdsaP256;
    let good = request("root", p256, year);
    provider(Arc::new(plain.clone()))
        .create_root(&good)
        .await
        .unwrap();
    // Found again later, when it would start later if it were made now.
    let later = now() + SignedDuration::from_hours(5);
    let later = request("root", p256, forge::hours(later, 24 * 365));
    provider(Arc::new(plain.clone()))
        .create_root(&later)
        .await
        .unwrap();

    let serial = ForgedCa::root_with("root", year, |params| {
        params.serial_number = Some(SerialNumber::from_slice(&[1]));
    });
    let leaf_only = ForgedCa::root_with("root", year, |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    });
    let no_identifier = ForgedCa::root_with("root", year, |params| {
        super::lies::without_key_identifier(params, vec![0x30, 0x03, 0x01, 0x01, 0xff]);
    });
    let mut not_self_signed = plain.clone();
    not_self_signed.certificate = plain.certify(
        &ForgedCa::root("root", year).issuer,
        forge::private_key().public_key(),
    );
    for (ca, request, words) in [
        (
            plain.clone(),
            request("other", p256, year),
            "is not named CN=other",
        ),
        (
            plain.clone(),
            request("root", KeyType::EcdsaP384, year),
            "a key of type ecdsa-p256, not ecdsa-p384",
        ),
        (
            plain.clone(),
            request("root", p256, validity(24)),
            "that was asked for",
        ),
        (serial, good.clone(), "fewer than 64 bits"),
        (
            no_identifier,
            good.clone(),
            "it has no subject key identifier",
        ),
        (leaf_only, good.clone(), "path length 0"),
        (not_self_signed, good.clone(), "is not self-signed"),
    ] {
        let error = provider(Arc::new(ca))
            .create_root(&request)
            .await
            .unwrap_err();
        assert!(matches!(error, AuthorityError::Misissued { .. }), "{error}");
        says(&error.to_string(), words);
    }
}

#[tokio::test]
async fn a_signer_key_of_another_type_is_refused() {
    let request = SignerRequest {
        generation: generation(Level::Signer),
        subject: forge::subject("signer"),
        key_type: KeyType::EcdsaP384,
    };
    let provider = provider(Arc::new(ca().0));
    let error = provider.prepare_signer(&request).await.unwrap_err();
    says(&error.to_string(), "is ecdsa-p256, not ecdsa-p384");
}

#[tokio::test]
async fn what_is_imported_or_installed_must_hang_together() {
    let (root, signer) = ca();
    let provider = provider(Arc::new(root.clone()));
    let stray = CertificateChain::new(vec![signer.certificate.clone(), ca().0.certificate]);
    let stray = stray.unwrap();
    let at = generation(Level::Signer);
    let imported = provider.import(&at, &signer.key, &stray).await.unwrap_err();
    says(
        &imported.to_string(),
        "issued none of the certificates before it",
    );
    let installed = provider
        .install_signer(&at, &stray, &root.anchors)
        .await
        .unwrap_err();
    says(
        &installed.to_string(),
        "issued none of the certificates before it",
    );

    let chain = CertificateChain::new(vec![signer.certificate.clone()]).unwrap();
    provider.import(&at, &signer.key, &chain).await.unwrap();
    let error = provider.import(&at, &root.key, &chain).await.unwrap_err();
    says(
        &error.to_string(),
        "does not belong to the certificate CN=signer",
    );
    let as_root = provider
        .import(&generation(Level::Root), &signer.key, &chain)
        .await;
    says(&as_root.unwrap_err().to_string(), "is not self-signed");
}
