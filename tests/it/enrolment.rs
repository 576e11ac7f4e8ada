//! EST clients that others have written, and the verbs around them.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::certificate::leaf;
use crate::support::enrolment::{Server, curl, pki, pki_done, spec};
use crate::support::fleet::{Fleet, ROOT};
use crate::support::tools::openssl;

const CLUSTERS: [&str; 2] = ["cluster-1", "cluster-2"];

fn enrolling() -> Fleet {
    let fleet = Fleet::bootstrapped(&spec(&CLUSTERS));
    let root = fleet.secret("mgmt", ROOT);
    fs::write(fleet.path("root.pem"), &root.data["ca.crt"]).unwrap();
    fleet
}

fn token(fleet: &Fleet, cluster: &str) -> String {
    let run = fleet.done(&["token", "create", cluster]);
    let token = run.stdout.trim().to_owned();
    assert_eq!(token.len(), 43, "{token:?}");
    token
}

/// A key and a request as a manual of OpenSSL makes them.
fn request(dir: &Path, key: &str, cluster: &str) {
    let curve = "ec_paramgen_curve:P-256";
    openssl(
        dir,
        &[
            "genpkey",
            "-algorithm",
            "EC",
            "-pkeyopt",
            curve,
            "-out",
            key,
        ],
    );
    let subject = format!("/CN={cluster}");
    let der = openssl(
        dir,
        &[
            "req", "-new", "-key", key, "-subj", &subject, "-outform", "DER",
        ],
    );
    fs::write(dir.join("request.der"), der).unwrap();
    openssl(
        dir,
        &["base64", "-in", "request.der", "-out", "request.b64"],
    );
}

/// Sends the request with these options; the status, and the certificate where there is one.
fn enroll(dir: &Path, url: &str, options: &[&str], out: &str) -> String {
    let mut arguments = vec![
        "-s",
        "--cacert",
        "root.pem",
        "-H",
        "Content-Type: application/pkcs10",
        "--data-binary",
        "@request.b64",
        "-o",
        "reply.b64",
        "-w",
        "%{http_code}",
        url,
    ];
    arguments.extend(options);
    let output = curl(dir, &arguments);
    let status = String::from_utf8(output.stdout).unwrap();
    if status == "200" {
        openssl(
            dir,
            &["base64", "-d", "-A", "-in", "reply.b64", "-out", "reply.p7"],
        );
        openssl(
            dir,
            &[
                "pkcs7",
                "-inform",
                "DER",
                "-in",
                "reply.p7",
                "-print_certs",
                "-out",
                out,
            ],
        );
    }
    status
}

/// Whether OpenSSL takes the certificate for a client's, from the root that was there before.
fn assert_verifies(dir: &Path, url: &str, certificate: &str) {
    let output = curl(dir, &["-s", "--cacert", "root.pem", "-o", "all.b64", url]);
    assert!(output.status.success());
    openssl(
        dir,
        &["base64", "-d", "-A", "-in", "all.b64", "-out", "all.p7"],
    );
    openssl(
        dir,
        &[
            "pkcs7",
            "-inform",
            "DER",
            "-in",
            "all.p7",
            "-print_certs",
            "-out",
            "all.pem",
        ],
    );
    openssl(
        dir,
        &[
            "verify",
            "-x509_strict",
            "-purpose",
            "sslclient",
            "-CAfile",
            "root.pem",
            "-untrusted",
            "all.pem",
            certificate,
        ],
    );
}

fn subject(dir: &Path, certificate: &str) -> String {
    let text = openssl(
        dir,
        &[
            "x509",
            "-in",
            certificate,
            "-noout",
            "-subject",
            "-ext",
            "subjectAltName",
        ],
    );
    String::from_utf8(text).unwrap()
}

#[test]
fn curl_and_openssl_enrol_and_renew() {
    let fleet = enrolling();
    let server = Server::start(&fleet);
    let dir = fleet.dir();
    request(dir, "one.key", "cluster-1");
    let (enroll_url, renew_url) = (server.url("simpleenroll"), server.url("simplereenroll"));
    assert_eq!(enroll(dir, &enroll_url, &[], "none"), "401");
    let user = format!("cluster-1:{}", token(&fleet, "cluster-1"));
    let authenticated = ["--basic", "--user", user.as_str()];
    assert_eq!(enroll(dir, &enroll_url, &authenticated, "one.pem"), "200");
    assert_verifies(dir, &server.url("cacerts"), "one.pem");
    let text = subject(dir, "one.pem");
    assert!(
        text.contains("CN = cluster-1") || text.contains("CN=cluster-1"),
        "{text}"
    );
    assert!(text.contains("DNS:cluster-1"), "{text}");
    // Another key, with the certificate in its place; TLS 1.2 does it too.
    request(dir, "two.key", "cluster-1");
    for version in ["1.2", "1.3"] {
        let presented = [
            "--cert",
            "one.pem",
            "--key",
            "one.key",
            "--tls-max",
            version,
        ];
        assert_eq!(
            enroll(dir, &renew_url, &presented, "two.pem"),
            "200",
            "{version}"
        );
        assert_verifies(dir, &server.url("cacerts"), "two.pem");
    }
    // Somebody else's name, with a certificate and with a token.
    request(dir, "three.key", "cluster-2");
    let presented = ["--cert", "two.pem", "--key", "two.key"];
    assert_eq!(enroll(dir, &renew_url, &presented, "none"), "403");
    assert_eq!(enroll(dir, &enroll_url, &authenticated, "none"), "403");
}

#[test]
fn strongswan_enrols_and_renews() {
    let fleet = enrolling();
    let server = Server::start(&fleet);
    let dir = fleet.dir();
    let origin = server.origin();
    // The root, from whoever serves it.
    let estca = ["--estca", "--url", &origin, "--cacert", "root.pem"];
    pki_done(
        dir,
        &[&estca[..], &["--caout", "ca.crt", "--outform", "pem"]].concat(),
    );
    let written: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("ca") && name.ends_with(".crt"))
        .collect();
    assert_eq!(written.len(), 2, "root and signer: {written:?}");
    let signer = written.iter().find(|name| {
        let text = openssl(dir, &["x509", "-in", name, "-noout", "-subject"]);
        String::from_utf8(text).unwrap().contains("relay signer")
    });
    let signer = signer.unwrap();
    for (kind, size) in [("ecdsa", "256"), ("rsa", "2048")] {
        let key = pki_done(
            dir,
            &["--gen", "--type", kind, "--size", size, "--outform", "pem"],
        );
        fs::write(dir.join("swan.key"), key).unwrap();
        let make = [
            "--req",
            "--in",
            "swan.key",
            "--type",
            kind,
            "--dn",
            "CN=cluster-1",
            "--san",
            "cluster-1",
        ];
        fs::write(dir.join("swan.req"), pki_done(dir, &make)).unwrap();
        let user = format!("cluster-1:{}", token(&fleet, "cluster-1"));
        let ask = [
            "--est", "--url", &origin, "--in", "swan.req", "--cacert", "root.pem", "--cacert",
            signer,
        ];
        let form = ["--outform", "pem"];
        let certificate = pki_done(dir, &[&ask[..], &form, &["--userpass", &user]].concat());
        fs::write(dir.join("swan.pem"), certificate).unwrap();
        assert_verifies(dir, &server.url("cacerts"), "swan.pem");
        // The certificate is all that a renewal takes.
        let proof = ["--cert", "swan.pem", "--key", "swan.key"];
        let renewed = pki_done(dir, &[&ask[..], &form, &proof].concat());
        fs::write(dir.join("renewed.pem"), renewed).unwrap();
        assert_verifies(dir, &server.url("cacerts"), "renewed.pem");
        let serial = |name| openssl(dir, &["x509", "-in", name, "-noout", "-serial"]);
        assert_ne!(serial("swan.pem"), serial("renewed.pem"));
        // A wrong token is of no use.
        let wrong = [&ask[..], &["--userpass", "cluster-1:wrong"]].concat();
        assert!(!pki(dir, &wrong).status.success());
    }
}

#[test]
fn a_revoked_cluster_stays_out_after_a_restart() {
    let fleet = enrolling();
    let server = Server::start(&fleet);
    let dir = fleet.dir();
    request(dir, "one.key", "cluster-1");
    let user = format!("cluster-1:{}", token(&fleet, "cluster-1"));
    let options = ["--user", user.as_str()];
    assert_eq!(
        enroll(dir, &server.url("simpleenroll"), &options, "one.pem"),
        "200"
    );
    until("the certificate is known", || {
        let list = listed(&fleet);
        list["enrolments"][0]["notAfter"].is_string()
    });
    assert_eq!(listed(&fleet)["enrolments"][0]["token"], "used");
    let spare = token(&fleet, "cluster-1");
    let run = fleet.done(&[
        "revoke",
        "cluster-1",
        "--reason",
        "the machine was stolen",
        "-o",
        "json",
    ]);
    let revoked: Value = serde_json::from_str(&run.stdout).unwrap();
    let serial = openssl(dir, &["x509", "-in", "one.pem", "-noout", "-serial"]);
    let serial = String::from_utf8(serial)
        .unwrap()
        .trim()
        .replace("serial=", "");
    assert_eq!(revoked["certificates"][0], serial.to_lowercase());
    assert_eq!(revoked["revocationList"], "published with 1 certificates");
    assert_eq!(fleet.done(&["revoke", "cluster-1"]).code, Some(0));
    fleet.ends(&["token", "create", "cluster-1"], 8);
    let audit = fleet.done(&["audit", "-o", "json"]);
    let audit: Value = serde_json::from_str(&audit.stdout).unwrap();
    let findings = audit["findings"].as_array().unwrap();
    let found = findings
        .iter()
        .find(|found| found["code"] == "R1020")
        .unwrap();
    assert_eq!(found["cluster"], "cluster-1");
    assert!(
        found["what"]
            .as_str()
            .unwrap()
            .contains("the machine was stolen"),
        "{found}"
    );
    drop(server);
    let server = Server::start(&fleet);
    let presented = ["--cert", "one.pem", "--key", "one.key"];
    assert_eq!(
        enroll(dir, &server.url("simplereenroll"), &presented, "none"),
        "403"
    );
    let user = format!("cluster-1:{spare}");
    let options = ["--user", user.as_str()];
    assert_eq!(
        enroll(dir, &server.url("simpleenroll"), &options, "none"),
        "401"
    );
    // The list is where the relay can use it, and OpenSSL refuses what is on it.
    let output = curl(
        dir,
        &[
            "-s",
            "--cacert",
            "root.pem",
            "-o",
            "crl.der",
            &format!("{}/crl", server.origin()),
        ],
    );
    assert!(output.status.success());
    openssl(
        dir,
        &["crl", "-inform", "DER", "-in", "crl.der", "-out", "crl.pem"],
    );
    let manifests = fleet.manifests("mgmt");
    let list = manifests
        .iter()
        .find(|(_, found)| found.name == "relay-pki-gloo-mesh-crl");
    let list = String::from_utf8(list.unwrap().1.data["ca.crl"].clone()).unwrap();
    assert_eq!(list, fs::read_to_string(dir.join("crl.pem")).unwrap());
    assert_verifies(dir, &server.url("cacerts"), "one.pem");
    let checked = crate::support::tools::openssl_output(
        dir,
        &[
            "verify",
            "-crl_check",
            "-CRLfile",
            "crl.pem",
            "-CAfile",
            "root.pem",
            "-untrusted",
            "all.pem",
            "one.pem",
        ],
    );
    let verdict = String::from_utf8_lossy(&checked.stderr);
    assert!(verdict.contains("certificate revoked"), "{verdict}");
    // Let in again, it enrols as anybody does.
    fleet.done(&["revoke", "cluster-1", "--lift"]);
    let user = format!("cluster-1:{}", token(&fleet, "cluster-1"));
    let options = ["--user", user.as_str()];
    until("it is let in", || {
        enroll(dir, &server.url("simpleenroll"), &options, "one.pem") == "200"
    });
}

/// Those that end first come first, those that never enrolled before them.
#[test]
fn status_shows_what_agents_showed() {
    let fleet = enrolling();
    let server = Server::start(&fleet);
    let dir = fleet.dir();
    let status = || fleet.done(&["status", "-o", "json"]).json();
    let never = |cluster: &str| {
        json!({
            "cluster": cluster, "issuedBy": null, "notAfter": null, "bundle": null, "acknowledged": null,
        })
    };
    assert_eq!(status()["enrolled"], json!(CLUSTERS.map(never)));
    let rows = |cluster: &str| -> Vec<String> {
        let text = fleet.done(&["status"]).stdout;
        let (_, table) = text.split_once("ENROLLED").unwrap();
        let mut rows = table.lines();
        let header: Vec<&str> = rows.next().unwrap().split_whitespace().collect();
        assert_eq!(header, ["SIGNER", "UNTIL", "BUNDLE", "SINCE"]);
        let rows = rows.map(|row| row.split_whitespace().collect::<Vec<_>>().join(" "));
        rows.filter(|row| row.starts_with(cluster)).collect()
    };
    assert_eq!(rows("cluster-1"), ["cluster-1 - not enrolled yet - -"]);

    request(dir, "one.key", "cluster-1");
    let user = format!("cluster-1:{}", token(&fleet, "cluster-1"));
    let options = ["--user", user.as_str()];
    let url = server.url("simpleenroll");
    assert_eq!(enroll(dir, &url, &options, "one.pem"), "200");
    until("the certificate is known", || {
        status()["enrolled"][1]["notAfter"].is_string()
    });
    let end = leaf(&fs::read(dir.join("one.pem")).unwrap()).not_after;
    let mut shown = status()["enrolled"].take();
    assert_eq!(shown[0], never("cluster-2"));
    let not_after: jiff::Timestamp = shown[1]["notAfter"].as_str().unwrap().parse().unwrap();
    assert_eq!(not_after.as_second(), end);
    let day = not_after.strftime("%Y-%m-%d");
    assert_eq!(rows("cluster-1"), [format!("cluster-1 g1 {day} - -")]);
    shown[1]["notAfter"] = Value::Null;
    shown[1]["issuedBy"] = Value::Null;
    assert_eq!(shown[1], never("cluster-1"));

    // What it says that it holds: something else, and then what is given out.
    let held = |tag: &str| {
        let header = format!("If-None-Match: \"{tag}\"");
        let url = server.url("cacerts");
        let shown = [
            "-s", "--cacert", "root.pem", "--cert", "one.pem", "--key", "one.key",
        ];
        let more = ["-H", &header, "-D", "headers", "-o", "none", &url];
        assert!(curl(dir, &[&shown[..], &more].concat()).status.success());
        let headers = fs::read_to_string(dir.join("headers")).unwrap();
        let headers = headers.to_lowercase();
        let (_, tag) = headers.split_once("etag: \"").unwrap();
        tag.split_once('"').unwrap().0.to_owned()
    };
    let another = format!("sha256:{0}.{0}", "0".repeat(64));
    let current = held(&another);
    for (tag, word) in [(&another, "another"), (&current, "current")] {
        held(tag);
        let bundle = tag.split_once('.').unwrap().0;
        until(word, || status()["enrolled"][1]["bundle"] == bundle);
        let at = &status()["enrolled"][1]["acknowledged"];
        assert!(at.as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
        let rows = rows("cluster-1");
        let wanted = format!("cluster-1 g1 {day} {word} ");
        assert!(
            rows[0].starts_with(&wanted) && rows[0].ends_with(" ago"),
            "{rows:?}"
        );
    }
}

#[test]
fn verbs_refuse_what_makes_no_sense() {
    let fleet = enrolling();
    let run = fleet.ends(&["token", "create", "mgmt"], 2);
    assert!(run.stderr.contains("whose agent enrols"), "{}", run.stderr);
    let run = fleet.ends(&["token", "create", "cluster-1", "--ttl", "soon"], 2);
    assert!(run.stderr.contains("lifetime"), "{}", run.stderr);
    let run = fleet.ends(&["revoke", "cluster-l"], 2);
    assert!(run.stderr.contains("knows no cluster"), "{}", run.stderr);
    let server = fleet.secret("mgmt", "relay-server-tls-secret");
    fs::write(fleet.path("server.pem"), &server.data["tls.crt"]).unwrap();
    let run = fleet.ends(&["revoke", "cluster-1", "--certificate", "server.pem"], 2);
    assert!(run.stderr.contains("not of cluster-1"), "{}", run.stderr);
    fleet.done(&["token", "revoke", "cluster-1"]);
    token(&fleet, "cluster-1");
    assert_eq!(listed(&fleet)["enrolments"][0]["token"], "unused");
    fleet.done(&["token", "revoke", "cluster-1"]);
    assert_eq!(listed(&fleet)["enrolments"][0]["token"], "none");
    // Neither reads nor writes go to the cluster that nobody reaches.
    fleet.done(&["status"]);
    fleet.done(&["audit"]);
    fleet.done(&["rotate", "due"]);
    fleet.ends(&["rotate", "agent", "cluster-1"], 2);
}

fn listed(fleet: &Fleet) -> Value {
    serde_json::from_str(&fleet.done(&["token", "list", "-o", "json"]).stdout).unwrap()
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "not in time: {what}"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}
