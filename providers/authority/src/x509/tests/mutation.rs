//! Damaged input: never a panic, never a request whose signed part was changed.

use std::sync::LazyLock;

use jiff::Timestamp;
use proptest::prelude::*;

use super::fixture;
use crate::conformance::forge::{self, ForgedCa};
use crate::x509::{
    Certificate, CertificateChain, PeerRole, PrivateKey, PublicKey, TrustBundle, VerifiedCsr,
    verify_path,
};

static REQUESTS: LazyLock<Vec<VerifiedCsr>> = LazyLock::new(|| {
    let kept: [&[u8]; 3] = [
        fixture!("ed25519.csr.pem"),
        fixture!("attributes.csr.pem"),
        include_bytes!("../../conformance/fixtures/wishes.csr.pem"),
    ];
    kept.iter()
        .map(|pem| VerifiedCsr::from_pem(pem).unwrap())
        .collect()
});

static CERTIFICATES: LazyLock<Vec<Certificate>> = LazyLock::new(|| {
    let start = Timestamp::from_second(1_900_000_000).unwrap();
    let root = ForgedCa::root("root", forge::hours(start, 100));
    let signer = root.signer("signer", forge::hours(start, 50));
    vec![signer.certificate, root.certificate]
});

static KEY_PEM: LazyLock<String> = LazyLock::new(|| forge::private_key().to_pem().to_string());

/// One change to bytes.
#[derive(Debug, Clone)]
enum Change {
    Flip(prop::sample::Index, u8),
    Set(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Insert(prop::sample::Index, Vec<u8>),
    Remove(prop::sample::Index),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (any::<prop::sample::Index>(), 0u8..8).prop_map(|(at, bit)| Change::Flip(at, bit)),
        any::<(prop::sample::Index, u8)>().prop_map(|(at, byte)| Change::Set(at, byte)),
        any::<prop::sample::Index>().prop_map(Change::Cut),
        (
            any::<prop::sample::Index>(),
            prop::collection::vec(any::<u8>(), 1..20)
        )
            .prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        any::<prop::sample::Index>().prop_map(Change::Remove),
    ]
}

fn changed(bytes: &[u8], changes: &[Change]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for change in changes {
        if bytes.is_empty() {
            break;
        }
        let length = bytes.len();
        match change {
            Change::Flip(at, bit) => bytes[at.index(length)] ^= 1 << bit,
            Change::Set(at, byte) => bytes[at.index(length)] = *byte,
            Change::Cut(at) => bytes.truncate(at.index(length)),
            Change::Insert(at, insert) => {
                let at = at.index(length);
                bytes.splice(at..at, insert.iter().copied());
            }
            Change::Remove(at) => drop(bytes.remove(at.index(length))),
        }
    }
    bytes
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    prop::collection::vec(change(), 1..4)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn damaged_certificates_do_no_harm(changes in changes()) {
        for certificate in CERTIFICATES.iter() {
            let der = changed(certificate.der(), &changes);
            if let Ok(parsed) = Certificate::from_der(&der) {
                let _ = parsed.is_self_signed();
                let _ = parsed.validity();
                let _ = parsed.serial();
                let at = Timestamp::from_second(1_900_000_100).unwrap();
                let bundle = TrustBundle::new([CERTIFICATES[1].clone()]).unwrap();
                let chain = CertificateChain::new(vec![parsed]).unwrap();
                let accepted = verify_path(&chain, &bundle, PeerRole::Client, at).is_ok();
                prop_assert!(!accepted);
            }
        }
    }

    #[test]
    fn damaged_bundles_do_no_harm(changes in changes()) {
        let pem: String = CERTIFICATES.iter().map(Certificate::to_pem).collect();
        let damaged = changed(pem.as_bytes(), &changes);
        let _ = TrustBundle::from_pem(&damaged).map(|bundle| bundle.digest());
        let _ = CertificateChain::from_pem(&damaged);
    }

    #[test]
    fn damaged_private_keys_do_no_harm_and_stay_secret(changes in changes()) {
        let damaged = changed(KEY_PEM.as_bytes(), &changes);
        let body: Vec<&str> = KEY_PEM.lines().filter(|line| !line.starts_with('-')).collect();
        if let Err(error) = PrivateKey::from_pem(&damaged) {
            let text = format!("{error} {error:?}");
            prop_assert!(body.iter().all(|line| !text.contains(line)));
        }
    }

    #[test]
    fn damaged_private_key_bytes_do_no_harm(changes in changes()) {
        let key = PrivateKey::from_pem(KEY_PEM.as_bytes()).unwrap();
        let _ = PrivateKey::from_der(&changed(key.pkcs8_der(), &changes));
        let _ = PublicKey::from_spki_der(&changed(key.public_key().spki_der(), &changes));
    }

    #[test]
    fn damaged_requests_do_no_harm(changes in changes()) {
        for request in REQUESTS.iter() {
            let damaged = changed(request.der(), &changes);
            if let Ok(parsed) = VerifiedCsr::from_der(&damaged) {
                // Whatever still verifies speaks for the same key.
                prop_assert_eq!(parsed.public_key(), request.public_key());
            }
        }
    }

    #[test]
    fn any_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Certificate::from_der(&bytes).is_err());
        prop_assert!(VerifiedCsr::from_der(&bytes).is_err());
        prop_assert!(PrivateKey::from_der(&bytes).is_err());
        let _ = PublicKey::from_spki_der(&bytes);
    }
}

/// Every single bit of what is signed: not sampled, all of them.
#[test]
fn no_bit_of_the_signed_part_can_be_changed() {
    for request in REQUESTS.iter() {
        let der = request.der();
        let signed = signed_part(der);
        for at in signed {
            for bit in 0..8 {
                let mut changed = der.to_vec();
                changed[at] ^= 1 << bit;
                assert!(
                    VerifiedCsr::from_der(&changed).is_err(),
                    "byte {at}, bit {bit} of {}",
                    request.requested_subject()
                );
            }
        }
    }
}

/// The CertificationRequestInfo inside a request, header included.
fn signed_part(der: &[u8]) -> std::ops::Range<usize> {
    let header = |at: usize| match der[at + 1] {
        short @ 0..=0x7f => (2, usize::from(short)),
        0x81 => (3, usize::from(der[at + 2])),
        _ => (4, usize::from(der[at + 2]) << 8 | usize::from(der[at + 3])),
    };
    let start = header(0).0;
    let (length_of_header, length) = header(start);
    start..start + length_of_header + length
}
