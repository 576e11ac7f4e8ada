//! The cert-manager backend.

use serde_json::json;

use super::*;

const CERTIFICATES: &str = "certificates: { secretRef: { name: company, key: ca.crt } }";

fn with(settings: &str) -> String {
    minimal(&format!(
        "  providers: {{ corp: {{ certManager: {{ {settings} }} }} }}\n"
    ))
    .replace("directory: mgmt", "kubeconfig: {}")
}

fn config(document: &str) -> CertManagerConfig {
    match parse(document).unwrap().providers.remove("corp") {
        Some(ProviderConfig::CertManager(config)) => *config,
        other => panic!("{other:?}"),
    }
}

fn refused(document: &str, words: &[&str]) {
    let error = parse(document).unwrap_err().to_string();
    for word in words {
        assert!(error.contains(word), "{word:?} is not in {error}");
    }
}

#[test]
fn issuers_with_and_without_everything() {
    let least = config(&with(""));
    assert_eq!((least.root, least.signer), (None, None));
    assert_eq!(least.deadline.to_string(), "1d");

    let found = config(&with(&format!(
        "root: {{ issuerRef: {{ name: a.b }}, {CERTIFICATES} }}, deadline: 2h, namespace: pki, \
         kubeconfig: {{ context: other }}, signer: {{ issuerRef: {{ name: relay, kind: \
         AWSPCAClusterIssuer, group: awspca.cert-manager.io }}, certificates: {{ file: ca.pem }} }}"
    )));
    let root = found.root.unwrap();
    assert_eq!(
        [root.group.as_str(), root.kind.as_str(), root.name.as_str()],
        ["cert-manager.io", "Issuer", "a.b"]
    );
    assert!(matches!(root.certificates, Certificates::Kept(_)));
    let signer = found.signer.unwrap();
    assert_eq!(
        [signer.group.as_str(), signer.kind.as_str()],
        ["awspca.cert-manager.io", "AWSPCAClusterIssuer"]
    );
    assert_eq!(found.deadline.to_string(), "2h");
    assert_eq!(found.namespace.as_deref(), Some("pki"));
    assert!(matches!(
        found.location,
        Some(Location::Kubeconfig {
            context: Some(_),
            ..
        })
    ));
}

#[test]
fn what_cannot_work_is_refused_with_what_to_write() {
    let root = |fields: &str| with(&format!("root: {{ issuerRef: {{ name: a }}, {fields} }}"));
    refused(&root(""), &["which CA is behind the issuer", "secretRef"]);
    refused(
        &root("pem: hello"),
        &["corp.certManager.root.pem", "pem: |"],
    );
    refused(
        &root(&format!("{CERTIFICATES}, pem: hello")),
        &["both certificates and pem"],
    );
    for (reference, words) in [
        ("name: A_b", "issuer name"),
        ("name: a, kind: issuer", "no kind of an issuer"),
        ("name: a, group: 'a b'", "API group"),
    ] {
        let document = with(&format!(
            "root: {{ issuerRef: {{ {reference} }}, {CERTIFICATES} }}"
        ));
        refused(&document, &[words]);
    }
    refused(&with("deadline: 5s"), &["nobody approves"]);
}

#[test]
fn a_directory_has_no_cert_manager() {
    let there = with("").replace("kubeconfig: {}", "directory: mgmt");
    refused(
        &there,
        &[
            "spec.providers.corp",
            "is a directory",
            "certManager.kubeconfig",
        ],
    );
    let elsewhere = with("kubeconfig: {}").replacen(
        "role: management, kubeconfig: {}",
        "role: management, directory: mgmt",
        1,
    );
    assert!(config(&elsewhere).location.is_some());
}

#[test]
fn objects_name_secrets_only() {
    let object = |certificates: serde_json::Value| {
        let corp = json!({ "certManager": { "root": {
            "issuerRef": { "name": "a" },
            "certificates": certificates,
        } } });
        let spec = json!({ "providers": { "corp": corp } });
        let relay = RelayObject {
            name: "prod",
            namespace: "mesh",
            spec: spec.as_object().unwrap(),
        };
        assemble(relay, &[]).map(drop)
    };
    object(json!({ "secretRef": { "name": "company", "key": "ca.crt" } })).unwrap();
    let error = object(json!({ "file": "/etc/shadow" })).unwrap_err();
    assert!(error.to_string().contains("for documents only"), "{error}");
}
