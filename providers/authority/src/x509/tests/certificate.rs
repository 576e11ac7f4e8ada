//! Facts of certificates, and what does not parse.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use jiff::Timestamp;
use rcgen::{CustomExtension, NameConstraints};

use super::fixture;
use crate::conformance::forge::{self, ForgedCa};
use crate::x509::{Certificate, SerialNumber};

fn start() -> Timestamp {
    Timestamp::from_second(1_900_000_000).unwrap()
}

/// 99991231235959Z says "no end" (RFC 5280 section 4.1.2.5) and lies beyond what jiff can hold.
#[test]
fn no_well_defined_end_parses() {
    let certificate = Certificate::from_pem(fixture!("endless.pem")).unwrap();
    assert_eq!(certificate.not_after(), Timestamp::MAX);
    assert!(certificate.is_valid_at(start()));
    assert!(certificate.validity().is_ok());
    assert!(certificate.is_self_signed());
}

#[test]
fn the_same_extension_twice_does_not_parse() {
    let root = ForgedCa::root("root", forge::hours(start(), 1));
    let mut params = root.issuer.clone();
    // A second basicConstraints, which says that it is no CA.
    let second = CustomExtension::from_oid_content(&[2, 5, 29, 19], vec![0x30, 0x00]);
    params.custom_extensions.push(second);
    let der = root.certify_der(&params, root.key.public_key());
    let error = Certificate::from_der(&der).unwrap_err().to_string();
    assert!(
        error.contains("extension 2.5.29.19 appears twice"),
        "{error}"
    );
}

#[test]
fn critical_policy_constraints_are_not_enforced_and_so_unknown() {
    let root = ForgedCa::root_with("root", forge::hours(start(), 1), |params| {
        // requireExplicitPolicy 0
        let content = vec![0x30, 0x03, 0x80, 0x01, 0x00];
        let mut extension = CustomExtension::from_oid_content(&[2, 5, 29, 36], content);
        extension.set_criticality(true);
        params.custom_extensions.push(extension);
    });
    assert_eq!(
        root.certificate.unknown_critical_extensions(),
        ["2.5.29.36"]
    );
}

#[test]
fn name_constraints_are_seen() {
    let validity = forge::hours(start(), 1);
    let constrained = ForgedCa::root_with("root", validity, |params| {
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![rcgen::GeneralSubtree::DnsName("gloo-mesh".to_owned())],
            excluded_subtrees: Vec::new(),
        });
    });
    assert!(constrained.certificate.has_name_constraints());
    assert!(
        !ForgedCa::root("root", validity)
            .certificate
            .has_name_constraints()
    );
}

#[test]
fn a_repeated_attribute_is_named_by_its_abbreviation() {
    let pem = include_bytes!("../../conformance/fixtures/repeated.pem");
    let certificate = Certificate::from_pem(pem).unwrap();
    assert_eq!(certificate.repeated_subject_attribute(), Some("DC"));
    let plain = ForgedCa::root("root", forge::hours(start(), 1)).certificate;
    assert_eq!(plain.repeated_subject_attribute(), None);
}

/// Found certificates have such serials; an audit has to be able to say so.
#[test]
fn bad_serials_parse_and_are_reported() {
    for (content, allowed) in [(vec![0], false), (vec![0x7f; 21], false), (vec![1], true)] {
        let root = ForgedCa::root_with("root", forge::hours(start(), 1), |params| {
            params.serial_number = Some(rcgen::SerialNumber::from_slice(&content));
        });
        assert_eq!(root.certificate.serial().is_ok(), allowed, "{content:?}");
    }
}

#[test]
fn a_thousand_serials_are_valid_and_differ() {
    let mut seen = std::collections::HashSet::new();
    for _ in 0..1000 {
        let serial = SerialNumber::random().unwrap();
        assert!(SerialNumber::from_der_content(serial.as_bytes()).is_ok());
        assert_eq!(serial.bits(), 159);
        assert!(seen.insert(serial));
    }
}

/// Signed as the algorithm outside says, but the one inside says otherwise.
#[test]
fn the_two_signature_algorithms_must_agree() {
    let root = ForgedCa::root("root", forge::hours(start(), 1));
    let der = root.certificate.der();
    // Four octets of header each: both are longer than 255 octets.
    let length = usize::from(u16::from_be_bytes([der[6], der[7]]));
    let mut signed = der[4..8 + length].to_vec();
    let resigned = |signed: &[u8]| {
        let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, root.key.pkcs8_der()).unwrap();
        let signature = pair.sign(&SystemRandom::new(), signed).unwrap();
        let mut rest = vec![0x30, 0x0a, 0x06, 0x08];
        rest.extend_from_slice(&ECDSA_WITH_SHA256);
        rest.extend_from_slice(&[0x03, signature.as_ref().len() as u8 + 1, 0x00]);
        rest.extend_from_slice(signature.as_ref());
        let length = (signed.len() + rest.len()) as u16;
        let mut der = vec![0x30, 0x82];
        der.extend_from_slice(&length.to_be_bytes());
        der.extend_from_slice(signed);
        der.extend_from_slice(&rest);
        Certificate::from_der(&der).unwrap()
    };
    assert!(resigned(&signed).is_self_signed());
    let at = signed
        .windows(ECDSA_WITH_SHA256.len())
        .position(|window| window == ECDSA_WITH_SHA256)
        .unwrap();
    // ecdsa-with-SHA384
    signed[at + ECDSA_WITH_SHA256.len() - 1] = 0x03;
    assert!(!resigned(&signed).is_self_signed());
}

const ECDSA_WITH_SHA256: [u8; 8] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
