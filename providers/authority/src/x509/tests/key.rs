//! Private and public keys.

use super::fixture;
use crate::x509::{KeyType, PrivateKey, PublicKey, X509Error};

#[test]
fn every_key_type_survives_pem() {
    // RSA-4096 takes seconds to make and goes the same way as RSA-2048.
    for key_type in [
        KeyType::EcdsaP256,
        KeyType::EcdsaP384,
        KeyType::Ed25519,
        KeyType::Rsa2048,
    ] {
        let key = PrivateKey::generate(key_type).unwrap();
        assert_eq!(key.key_type().unwrap(), key_type);
        let back = PrivateKey::from_pem(key.to_pem().as_bytes()).unwrap();
        assert_eq!(back, key);
        assert_eq!(back.pkcs8_der(), key.pkcs8_der());
    }
}

#[test]
fn names_round_trip() {
    for key_type in KeyType::ALL {
        assert_eq!(key_type.as_str().parse::<KeyType>().unwrap(), key_type);
    }
    assert!("rsa-1024".parse::<KeyType>().is_err());
}

#[test]
fn debug_shows_no_key_bytes() {
    let key = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
    assert_eq!(format!("{key:?}"), "PrivateKey(ecdsa-p256, redacted)");
}

#[test]
fn errors_never_quote_key_material() {
    let key = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
    let pem = key.to_pem();
    let body: String = pem.lines().skip(1).take(1).collect();
    let truncated = pem.replace("-----END", "!----END");
    let error = PrivateKey::from_pem(truncated.as_bytes()).unwrap_err();
    assert!(!error.to_string().contains(&body), "{error}");
}

#[test]
fn encrypted_and_foreign_keys_say_what_to_do() {
    let text =
        b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    assert_eq!(
        PrivateKey::from_pem(text).unwrap_err(),
        X509Error::EncryptedKey
    );
    assert!(matches!(
        PrivateKey::from_der(&[0x30, 0x03, 0x02, 0x01, 0x00]),
        Err(X509Error::UnsupportedKey { .. })
    ));
}

#[test]
fn a_point_of_another_curve_is_refused() {
    let p256 = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
    let p384 = PrivateKey::generate(KeyType::EcdsaP384).unwrap();
    // P-384's SPKI with the P-256 curve identifier spliced in.
    let mut spliced = Vec::new();
    let (a, b) = (p256.public_key().spki_der(), p384.public_key().spki_der());
    let point = b.get(b.len() - 97..).unwrap();
    let algorithm = a.get(2..2 + 21).unwrap();
    spliced.extend_from_slice(&[0x30, 0x79]);
    spliced.extend_from_slice(algorithm);
    spliced.extend_from_slice(&[0x03, 0x62, 0x00]);
    spliced.extend_from_slice(point);
    let error = PublicKey::from_spki_der(&spliced).unwrap_err();
    assert!(error.to_string().contains("does not fit"), "{error}");
}

#[test]
fn keys_that_openssl_writes_are_read() {
    for (pem, key_type) in [
        (fixture!("sec1-with-parameters.key.pem"), KeyType::EcdsaP256),
        (fixture!("sec1-p384.key.pem"), KeyType::EcdsaP384),
        (fixture!("pkcs1.key.pem"), KeyType::Rsa2048),
    ] {
        let key = PrivateKey::from_pem(pem).unwrap();
        assert_eq!(key.key_type(), Ok(key_type));
        assert!(key.to_pem().starts_with("-----BEGIN PRIVATE KEY-----\n"));
    }
}

#[test]
fn keys_that_nobody_should_use_are_refused() {
    for pem in [
        fixture!("encrypted.key.pem"),
        fixture!("encrypted-sec1.key.pem"),
    ] {
        assert_eq!(
            PrivateKey::from_pem(pem).unwrap_err(),
            X509Error::EncryptedKey
        );
    }
    for pem in [fixture!("p521.key.pem"), fixture!("rsa1024.key.pem")] {
        let error = PrivateKey::from_pem(pem).unwrap_err();
        assert!(matches!(error, X509Error::UnsupportedKey { .. }), "{error}");
    }
}

/// A pair whose public half is somebody else's would pass for that somebody's key.
#[test]
fn a_private_key_with_a_foreign_public_half_is_refused() {
    for (key_type, length) in [(KeyType::EcdsaP256, 65), (KeyType::EcdsaP384, 97)] {
        let (mine, theirs) = (
            PrivateKey::generate(key_type).unwrap(),
            PrivateKey::generate(key_type).unwrap(),
        );
        let point = |key: &PrivateKey| {
            let spki = key.public_key().spki_der();
            spki[spki.len() - length..].to_vec()
        };
        let mut der = mine.pkcs8_der().to_vec();
        let at = der
            .windows(length)
            .position(|window| window == point(&mine))
            .expect("the public half is in there");
        der[at..at + length].copy_from_slice(&point(&theirs));
        assert!(PrivateKey::from_der(&der).is_err());
    }
    // Ed25519 with its public half (RFC 5958 version 2): seed of one, public key of another.
    let (mine, theirs) = (
        PrivateKey::generate(KeyType::Ed25519).unwrap(),
        PrivateKey::generate(KeyType::Ed25519).unwrap(),
    );
    let spki = |key: &PrivateKey| key.public_key().spki_der()[12..].to_vec();
    let seed = &mine.pkcs8_der()[16..48];
    for (public, accepted) in [(spki(&mine), true), (spki(&theirs), false)] {
        let mut der = vec![
            0x30, 0x51, 0x02, 0x01, 0x01, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70,
        ];
        der.extend_from_slice(&[0x04, 0x22, 0x04, 0x20]);
        der.extend_from_slice(seed);
        der.extend_from_slice(&[0x81, 0x21, 0x00]);
        der.extend_from_slice(&public);
        assert_eq!(PrivateKey::from_der(&der).is_ok(), accepted);
    }
}

#[test]
fn malformed_public_keys_are_refused() {
    let spki = PrivateKey::generate(KeyType::Ed25519)
        .unwrap()
        .public_key()
        .spki_der()
        .to_vec();
    let mut short = spki.clone();
    short.pop();
    (short[1], short[8 + 2]) = (spki[1] - 1, spki[8 + 2] - 1);
    let error = PublicKey::from_spki_der(&short).unwrap_err();
    assert!(error.to_string().contains("31 bytes"), "{error}");
    let mut trailing = spki.clone();
    trailing.push(0);
    assert!(PublicKey::from_spki_der(&trailing).is_err());
    let mut unused_bits = spki;
    unused_bits[11] = 1;
    assert!(PublicKey::from_spki_der(&unused_bits).is_err());
    // A hybrid point (first octet 6 or 7) is a form that nobody else reads.
    let p256 = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
    let mut hybrid = p256.public_key().spki_der().to_vec();
    let at = hybrid.len() - 65;
    hybrid[at] = 6;
    assert!(PublicKey::from_spki_der(&hybrid).is_err());
}
