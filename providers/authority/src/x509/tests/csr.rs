//! Certificate requests as OpenSSL makes them.

use rcgen::{BasicConstraints, CustomExtension, IsCa};

use super::fixture;
use crate::conformance::forge;
use crate::x509::{KeyType, VerifiedCsr, X509Error};

macro_rules! shared {
    ($name:literal) => {
        include_bytes!(concat!("../../conformance/fixtures/", $name)).as_slice()
    };
}

#[test]
fn the_key_type_comes_from_the_key() {
    for (pem, key_type) in [
        (shared!("p256-sha384.csr.pem"), KeyType::EcdsaP256),
        (shared!("p384-sha256.csr.pem"), KeyType::EcdsaP384),
        (shared!("rsa-2048.csr.pem"), KeyType::Rsa2048),
        (shared!("rsa-3072.csr.pem"), KeyType::Rsa3072),
        (shared!("rsa-4096.csr.pem"), KeyType::Rsa4096),
        (fixture!("ed25519.csr.pem"), KeyType::Ed25519),
    ] {
        let csr = VerifiedCsr::from_pem(pem).unwrap();
        assert_eq!(csr.public_key().key_type(), Ok(key_type));
        assert_eq!(
            VerifiedCsr::from_pem(csr.to_pem().as_bytes())
                .unwrap()
                .der(),
            csr.der()
        );
    }
}

#[test]
fn what_cannot_be_verified_is_refused_with_its_name() {
    for (pem, words) in [
        (
            fixture!("p256-sha512.csr.pem"),
            "signature algorithm 1.2.840.10045.4.3.4",
        ),
        (
            fixture!("rsa-sha1.csr.pem"),
            "signature algorithm 1.2.840.113549.1.1.5",
        ),
        (
            fixture!("rsa-pss.csr.pem"),
            "signature algorithm 1.2.840.113549.1.1.10",
        ),
        (
            fixture!("p521-sha512.csr.pem"),
            "unsupported key: ecdsa-p521",
        ),
        (
            fixture!("rsa1024-sha256.csr.pem"),
            "unsupported key: rsa-1024",
        ),
        (
            fixture!("compressed.csr.pem"),
            "unsupported key: ecdsa with a compressed point",
        ),
        (
            fixture!("explicit-curve.csr.pem"),
            "unsupported key: ecdsa on another curve",
        ),
    ] {
        let error = VerifiedCsr::from_pem(pem).unwrap_err().to_string();
        assert!(error.contains(words), "{words:?} is not in: {error}");
    }
}

#[test]
fn attributes_and_extensions_that_nobody_grants_do_no_harm() {
    let csr = VerifiedCsr::from_pem(fixture!("attributes.csr.pem")).unwrap();
    assert_eq!(csr.requested_common_name(), Some("cluster-1"));
    assert_eq!(csr.requested_dns_names(), ["cluster-1"]);
    csr.for_leaf().unwrap();
    assert!(!format!("{csr:?}").contains("secret-word"));
}

#[test]
fn a_request_to_be_a_ca_is_refused_for_leaves_only() {
    let csr = VerifiedCsr::from_pem(shared!("ca-true.csr.pem")).unwrap();
    let error = csr.for_leaf().unwrap_err();
    assert!(
        matches!(error, X509Error::ForbiddenRequest { .. }),
        "{error}"
    );
    let key = forge::private_key();
    let explicit_no = forge::csr_with(&key, "cluster-1", |params| {
        params.is_ca = IsCa::ExplicitNoCa;
    });
    explicit_no.for_leaf().unwrap();
    let yes = forge::csr_with(&key, "cluster-1", |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    });
    yes.for_leaf().unwrap_err();
    assert!(forge::csr(&key, "cluster-1").for_leaf().is_ok());
}

#[test]
fn asking_twice_is_refused() {
    let twice = std::panic::catch_unwind(|| {
        forge::csr_with(&forge::private_key(), "cluster-1", |params| {
            params.is_ca = IsCa::ExplicitNoCa;
            let ca_true = vec![0x30, 0x03, 0x01, 0x01, 0xff];
            let second = CustomExtension::from_oid_content(&[2, 5, 29, 19], ca_true);
            params.custom_extensions.push(second);
        })
    });
    let message = *twice.unwrap_err().downcast::<String>().unwrap();
    assert!(
        message.contains("extension 2.5.29.19 is requested twice"),
        "{message}"
    );
}

#[test]
fn what_is_no_request_is_an_error() {
    let key = forge::private_key();
    let der = forge::csr(&key, "cluster-1").der().to_vec();
    let mut trailing = der.clone();
    trailing.push(0);
    assert!(VerifiedCsr::from_der(&trailing).is_err());
    assert!(VerifiedCsr::from_der(&[]).is_err());
    assert!(matches!(
        VerifiedCsr::from_der(&vec![0x30; 17 * 1024]),
        Err(X509Error::TooLarge { .. })
    ));
    assert!(matches!(
        VerifiedCsr::from_pem(key.to_pem().as_bytes()),
        Err(X509Error::PemMissing { .. })
    ));
    let broken = b"-----BEGIN CERTIFICATE REQUEST-----\n!!!\n-----END CERTIFICATE REQUEST-----\n";
    assert!(matches!(
        VerifiedCsr::from_pem(broken),
        Err(X509Error::PemMalformed { .. })
    ));
}

#[test]
fn what_people_are_shown_has_no_control_characters() {
    let csr = forge::csr_with(&forge::private_key(), "x", |params| {
        let name = &mut params.distinguished_name;
        name.push(rcgen::DnType::CommonName, "a\u{1b}[31mb");
    });
    assert_eq!(csr.requested_common_name(), Some("a?[31mb"));
    assert!(!csr.requested_subject().contains('\u{1b}'));
}
