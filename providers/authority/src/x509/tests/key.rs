//! Private and public keys.

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
