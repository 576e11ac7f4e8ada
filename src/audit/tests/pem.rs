use rcgen::KeyPair;

use super::fixture::{Ca, client_params, codes, file, lives, now, server_params, sound};
use crate::audit::{Report, audit_pem};

fn audit(files: &[(&str, &str)]) -> Report {
    let files: Vec<(String, Vec<u8>)> = files
        .iter()
        .map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec()))
        .collect();
    audit_pem(&files, now())
}

fn fixture(name: &str) -> Vec<String> {
    codes(&audit_pem(&[(name.to_owned(), file(name))], now()))
}

#[test]
fn sound_files_have_no_findings() {
    let root = Ca::root(sound);
    let signer = root.signer(sound);
    let (server, client) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let server_chain = signer.sign(&server_params(), &server) + &signer.pem;
    let report = audit(&[
        ("ca.pem", &root.pem),
        ("server.pem", &(server_chain + &server.serialize_pem())),
        (
            "client.pem",
            &signer.sign(&client_params("cluster-1"), &client),
        ),
        ("client.key", &client.serialize_pem()),
    ]);
    assert_eq!(report.findings, []);
    assert_eq!(report.not_checked, []);
    assert_eq!(report.relay, None);
    assert_eq!((report.counts.clusters, report.counts.objects), (4, 6));
    assert_eq!(report.chain.len(), 1);
    assert_eq!(report.chain[0].issued[0].issued.len(), 2);
}

#[test]
fn r0203_a_key_beside_another_certificate() {
    let root = Ca::root(sound);
    let key = KeyPair::generate().unwrap();
    assert_eq!(
        codes(&audit(&[("both.pem", &(root.pem + &key.serialize_pem()))])),
        ["R0203"]
    );
}

#[test]
fn r0211_a_key_without_certificate() {
    let key = KeyPair::generate().unwrap();
    assert_eq!(
        codes(&audit(&[("some.key", &key.serialize_pem())])),
        ["R0211"]
    );
}

#[test]
fn r0201_a_forged_signature_is_found_among_files() {
    let root = Ca::root(sound);
    let other = Ca::root(sound);
    // Same name, same identifier, another key: the files look complete.
    let mut params = root.params.clone();
    params.key_identifier_method =
        rcgen::KeyIdMethod::PreSpecified(root.params.key_identifier(&root.key));
    let forger = Ca {
        key: other.key,
        params,
        pem: String::new(),
    };
    let leaf = forger.sign(&server_params(), &KeyPair::generate().unwrap());
    let report = audit(&[("root.pem", &root.pem), ("leaf.pem", &leaf)]);
    assert_eq!(codes(&report), ["R0405"]);
    assert!(report.incomplete);
}

#[test]
fn r0405_what_cannot_be_verified_is_said() {
    let root = Ca::root(sound);
    let signer = root.signer(sound);
    let leaf = signer.sign(&client_params("cluster-1"), &KeyPair::generate().unwrap());
    let report = audit(&[("leaf.pem", &leaf)]);
    assert_eq!(codes(&report), ["R0405"]);
    assert!(
        report.not_checked[0]
            .what
            .contains("is not among the files")
    );
    for junk in [
        "",
        "hello",
        "-----BEGIN CERTIFICATE-----\nAAAA",
        "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n",
    ] {
        let report = audit(&[("junk", junk), ("root.pem", &root.pem)]);
        assert_eq!(codes(&report), ["R0405"], "{junk:?}");
        assert_eq!(report.not_checked.len(), 1);
    }
}

#[test]
fn one_bad_section_does_not_hide_the_others() {
    let root = Ca::root(|params| lives(params, -10, -1));
    let text = format!(
        "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n{}",
        root.pem
    );
    assert_eq!(codes(&audit(&[("bundle.pem", &text)])), ["R0301", "R0405"]);
}

#[test]
fn der_is_read_too() {
    let root = Ca::root(sound);
    let der = relay_pki_authority::x509::Certificate::from_pem(root.pem.as_bytes()).unwrap();
    let report = audit_pem(&[("root.der".to_owned(), der.der().to_vec())], now());
    assert_eq!(
        (codes(&report), report.chain.len()),
        (Vec::<String>::new(), 1)
    );
}

#[test]
fn r0701_a_weak_root() {
    assert_eq!(fixture("rsa-1024-root.pem"), ["R0701"]);
}

#[test]
fn r0703_a_sha1_signature() {
    assert_eq!(fixture("sha1-leaf.pem"), ["R0703"]);
}

#[test]
fn r0704_a_root_with_sha1() {
    assert_eq!(fixture("sha1-root.pem"), ["R0704"]);
}

#[test]
fn r0721_a_repeated_attribute() {
    assert_eq!(fixture("repeated-attribute-root.pem"), ["R0721"]);
}

#[test]
fn keys_are_never_shown() {
    let key = KeyPair::generate().unwrap().serialize_pem();
    let broken = key.replace("-----END", "-----ENDE");
    let report = audit(&[("a.pem", &key), ("b.pem", &broken)]);
    let text = format!("{report:?}");
    let line = key.lines().nth(1).unwrap();
    assert!(!text.contains(line), "{text}");
}
