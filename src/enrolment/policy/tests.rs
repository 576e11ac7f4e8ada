#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use std::io::Write as _;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use relay_pki_authority::x509::KeyType;

use super::*;

/// A request made by OpenSSL: by somebody else's encoder, with whatever a configuration can say.
fn openssl(key: &[&str], hash: &str, config: &str) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    std::fs::write(path("config"), config).unwrap();
    let key_file = path("key");
    let mut arguments = vec!["genpkey", "-out", &key_file];
    arguments.extend(key);
    run(&arguments, b"");
    let config = path("config");
    let mut arguments = vec!["req", "-new", "-key", &key_file, "-config", &config];
    arguments.extend(["-outform", "DER"]);
    if !hash.is_empty() {
        arguments.push(hash);
    }
    run(&arguments, b"")
}

fn run(arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new("openssl")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl is part of this test");
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    output.stdout
}

const P256: &[&str] = &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];

fn config(subject: &str, extensions: &str, attributes: &str) -> String {
    let wanted = if extensions.is_empty() {
        ""
    } else {
        "req_extensions = extensions\n"
    };
    format!(
        "[req]\nprompt = no\ndistinguished_name = dn\nattributes = attributes\n{wanted}\
         [dn]\n{subject}\n[attributes]\n{attributes}\n[extensions]\n{extensions}\n"
    )
}

fn asked(der: &[u8]) -> Result<(), Refusal> {
    asked_over(der, &Binding::Unknown)
}

fn asked_over(der: &[u8], binding: &Binding) -> Result<(), Refusal> {
    accept(&read_request(der)?, "cluster-1", &KeyType::ALL, binding)
}

#[test]
fn a_request_for_the_cluster_itself_is_granted_however_it_is_put() {
    for (subject, extensions) in [
        ("CN = cluster-1", ""),
        ("CN = cluster-1", "subjectAltName = DNS:cluster-1"),
        ("CN = cluster-1", "extendedKeyUsage = clientAuth"),
        ("CN = cluster-1", "basicConstraints = CA:FALSE"),
        ("CN = cluster-1", "subjectKeyIdentifier = hash"),
        ("CN = cluster-1", "tlsfeature = status_request"),
    ] {
        let der = openssl(P256, "-sha256", &config(subject, extensions, ""));
        assert_eq!(asked(&der), Ok(()), "{subject} {extensions}");
    }
}

#[test]
fn a_request_for_more_than_the_cluster_itself_is_refused() {
    for (subject, extensions, reason) in [
        ("CN = cluster-2", "", "CN=cluster-1"),
        ("CN = cluster-1\nO = acme", "", "CN=cluster-1"),
        ("0.CN = cluster-1\n1.CN = cluster-2", "", "CN=cluster-1"),
        ("O = acme", "", "CN=cluster-1"),
        (
            "CN = cluster-1",
            "subjectAltName = DNS:cluster-1,DNS:cluster-2",
            "cluster-2",
        ),
        ("CN = cluster-1", "subjectAltName = DNS:*.mesh", "*.mesh"),
        (
            "CN = cluster-1",
            "subjectAltName = DNS:cluster-1,URI:spiffe://a/b",
            "URI",
        ),
        ("CN = cluster-1", "subjectAltName = IP:10.0.0.1", "IP"),
        ("CN = cluster-1", "subjectAltName = email:a@b.c", "e-mail"),
        (
            "CN = cluster-1",
            "subjectAltName = otherName:1.2.3.4;UTF8:x",
            "other name",
        ),
    ] {
        let der = openssl(P256, "-sha256", &config(subject, extensions, ""));
        match asked(&der) {
            Err(Refusal::Forbidden(text)) => assert!(text.contains(reason), "{text}"),
            other => panic!("{subject} {extensions}: {other:?}"),
        }
    }
    let ca = config("CN = cluster-1", "basicConstraints = CA:TRUE", "");
    let error = asked(&openssl(P256, "-sha256", &ca)).unwrap_err();
    assert!(error.to_string().contains("CA"), "{error}");
}

#[test]
fn keys_and_hashes_are_judged_apart() {
    let config = config("CN = cluster-1", "", "");
    let p384 = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"];
    let rsa = |bits| ["-algorithm", "RSA", "-pkeyopt", bits];
    for (key, hash) in [
        (P256, "-sha256"),
        (P256, "-sha384"),
        (&p384, "-sha384"),
        (&p384, "-sha256"),
        (&rsa("rsa_keygen_bits:2048"), "-sha256"),
        (&["-algorithm", "ED25519"], ""),
    ] {
        let der = openssl(key, hash, &config);
        assert_eq!(asked(&der), Ok(()), "{key:?} {hash}");
        // The key is the one that was asked for, whatever the signature says about itself.
        let spki = run(&["req", "-inform", "DER", "-noout", "-pubkey"], &der);
        let spki = run(&["pkey", "-pubin", "-outform", "DER"], &spki);
        assert_eq!(read_request(&der).unwrap().public_key().spki_der(), spki);
    }
    for (key, hash) in [
        (&rsa("rsa_keygen_bits:1024")[..], "-sha256"),
        (&rsa("rsa_keygen_bits:2048"), "-sha1"),
        (
            &[
                "-algorithm",
                "EC",
                "-pkeyopt",
                "ec_paramgen_curve:secp224r1",
            ],
            "-sha256",
        ),
    ] {
        let error = asked(&openssl(key, hash, &config)).unwrap_err();
        assert!(matches!(error, Refusal::Malformed(_)), "{key:?}: {error}");
    }
    let der = openssl(&rsa("rsa_keygen_bits:2048"), "-sha256", &config);
    let only = [KeyType::EcdsaP256];
    let csr = read_request(&der).unwrap();
    let error = accept(&csr, "cluster-1", &only, &Binding::Unknown).unwrap_err();
    assert!(error.to_string().contains("ecdsa-p256"), "{error}");
}

#[test]
fn possession_has_to_be_proved() {
    let mut der = openssl(P256, "-sha256", &config("CN = cluster-1", "", ""));
    let last = der.len() - 1;
    der[last] ^= 1;
    let error = asked(&der).unwrap_err();
    assert_eq!(error.status().as_u16(), 400);
    assert!(error.to_string().contains("signature"), "{error}");
}

#[test]
fn a_channel_binding_has_to_be_right_and_anything_else_is_none() {
    let bound = |password: &str| {
        let attributes = format!("challengePassword = {password}");
        openssl(P256, "-sha256", &config("CN = cluster-1", "", &attributes))
    };
    let ours = Binding::Exporter([7; BINDING_LENGTH]);
    let right = bound(&STANDARD.encode([7; BINDING_LENGTH]));
    let wrong = bound(&STANDARD.encode([8; BINDING_LENGTH]));
    let unique = bound(&STANDARD.encode([9; TLS_UNIQUE_LENGTH]));
    let habit = bound("swordfish!");
    assert_eq!(asked_over(&right, &ours), Ok(()));
    assert_eq!(
        asked_over(&wrong, &ours).unwrap_err().status().as_u16(),
        403
    );
    assert_eq!(asked(&unique).unwrap_err().status().as_u16(), 403);
    assert_eq!(asked(&habit), Ok(()));
    let csr = read_request(&habit).unwrap();
    assert!(!format!("{csr:?}").contains("swordfish"));
}

proptest! {
    #[test]
    fn no_bytes_are_too_much(der in proptest::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(read_request(&der).is_err());
    }

    /// What the signature covers cannot be changed; around it is some slack, such as the unused bits of
    /// the signature itself.
    #[test]
    fn no_damaged_request_means_something_else(at in 0usize..400, bit in 0u8..8) {
        let mut der = WHOLE.clone();
        let at = at % der.len();
        der[at] ^= 1 << bit;
        if let Ok(csr) = read_request(&der) {
            let whole = read_request(&WHOLE).unwrap();
            prop_assert_eq!(csr.public_key(), whole.public_key());
            prop_assert_eq!(csr.requested_subject(), whole.requested_subject());
            prop_assert_eq!(csr.requested_dns_names(), whole.requested_dns_names());
        }
    }
}

static WHOLE: std::sync::LazyLock<Vec<u8>> =
    std::sync::LazyLock::new(|| openssl(P256, "-sha256", &config("CN = cluster-1", "", "")));
