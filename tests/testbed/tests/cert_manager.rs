//! cert-manager: the real controllers, at work.

use std::time::Duration;

use relay_pki_testbed::{Testbed, eventually};

const ISSUERS: &str = r#"
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: { name: ca }
spec:
  isCA: true
  commonName: testbed CA
  secretName: ca
  privateKey: { algorithm: ECDSA, rotationPolicy: Always }
  issuerRef: { name: testbed-probe, kind: ClusterIssuer }
---
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: { name: ca }
spec: { ca: { secretName: ca } }
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: { name: leaf }
spec:
  commonName: leaf
  dnsNames: [leaf]
  secretName: leaf
  privateKey: { algorithm: ECDSA, rotationPolicy: Always }
  issuerRef: { name: ca }
"#;

#[test]
fn a_self_signed_ca_issues_a_leaf() {
    let server = Testbed::shared().with_cert_manager();
    let namespace = server.namespace("cert-manager");
    server.must(&["apply", "-n", &namespace, "-f", "-"], ISSUERS);
    eventually("the leaf is there", Duration::from_secs(60), || {
        let leaf = server.json(&["get", "certificate", "leaf", "-n", &namespace]);
        (leaf["status"]["conditions"][0]["type"] == "Ready"
            && leaf["status"]["conditions"][0]["status"] == "True")
            .then_some(())
    });
    let secret = server.json(&["get", "secret", "leaf", "-n", &namespace]);
    assert!(secret["data"]["tls.crt"].is_string());
}

#[test]
fn without_an_approver_a_request_waits() {
    let server = Testbed::shared().with_unapproving_cert_manager();
    let namespace = server.namespace("cert-manager");
    server.must(&["apply", "-n", &namespace, "-f", "-"], ISSUERS);
    let conditions = || {
        let list = ["get", "certificaterequests", "-n", &namespace];
        let found = server.json(&list)["items"][0].clone();
        found
            .is_object()
            .then(|| found["status"]["conditions"].clone())
    };
    let found = eventually("the request", Duration::from_secs(60), conditions);
    std::thread::sleep(Duration::from_secs(2));
    assert!(found.is_null(), "{found}");
    assert!(conditions().unwrap().is_null());
}
