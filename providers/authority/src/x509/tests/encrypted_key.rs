use crate::x509::{KeyType, PrivateKey, X509Error};

/// `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -aes256`, OpenSSL 3.0.
const BY_OPENSSL: &[u8] = include_bytes!("fixtures/encrypted-by-openssl.key.pem");

#[test]
fn comes_back_with_its_passphrase_only() {
    for key_type in [KeyType::EcdsaP256, KeyType::Rsa2048, KeyType::Ed25519] {
        let key = PrivateKey::generate(key_type).unwrap();
        let text = key.to_encrypted_pem(b"correct horse").unwrap();
        let back = PrivateKey::from_encrypted_pem(text.as_bytes(), b"correct horse").unwrap();
        assert_eq!(back.pkcs8_der(), key.pkcs8_der());
        assert!(text.contains("BEGIN ENCRYPTED PRIVATE KEY"));
    }
    let key = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
    let text = key.to_encrypted_pem(b"correct horse").unwrap();
    let wrong = PrivateKey::from_encrypted_pem(text.as_bytes(), b"correct hors");
    assert_eq!(wrong, Err(X509Error::WrongPassphrase));
    let plain = key.to_pem();
    let error = PrivateKey::from_encrypted_pem(plain.as_bytes(), b"correct horse");
    assert!(matches!(error, Err(X509Error::PemMissing { .. })));
}

#[test]
fn reads_what_openssl_writes() {
    let key = PrivateKey::from_encrypted_pem(BY_OPENSSL, b"correct horse").unwrap();
    assert_eq!(key.key_type(), Ok(KeyType::EcdsaP256));
}

#[test]
fn broken_files_are_refused_and_never_loop() {
    let text = String::from_utf8(BY_OPENSSL.to_vec()).unwrap();
    for (at, _) in text.char_indices().skip(40).step_by(7) {
        let mut changed = text.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        // One changed letter may be in the salt, the text or the structure: never a panic.
        let result = PrivateKey::from_encrypted_pem(&changed, b"correct horse");
        assert!(result.is_err(), "letter {at}");
    }
}
