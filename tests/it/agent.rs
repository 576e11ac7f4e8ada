//! `relay-pki agent` as a process that keeps files, against a server for directories.

use std::fs;
use std::path::Path;

use relay_pki_testbed::eventually;
use serde_json::Value;

use crate::support::agents::{SOON, agent, end, fingerprint};
use crate::support::enrolment::{Server, spec};
use crate::support::fleet::{Fleet, ROOT};
use crate::support::manifest::write_private;
use crate::support::tools::openssl;

#[test]
fn a_plain_process_keeps_files() {
    let spec = spec(&["cluster-1"]) + "  agents: { validity: 10m }\n";
    let fleet = Fleet::bootstrapped(&spec);
    let root = fleet.secret("mgmt", ROOT);
    fs::write(fleet.path("root.pem"), &root.data["ca.crt"]).unwrap();
    let server = Server::start(&fleet);
    let token = fleet.done(&["token", "create", "cluster-1"]).stdout;
    write_private(&fleet.path("token"), token.as_bytes());
    let directory = fleet.path("agent");
    let process = agent(
        "agent-files",
        vec![
            "--cluster=cluster-1".to_owned(),
            format!("--server={}", server.origin()),
            format!(
                "--trust-fingerprint={}",
                fingerprint(fleet.dir(), "root.pem")
            ),
            format!("--token-file={}", fleet.path("token").display()),
            format!("--directory={}", directory.display()),
            "--poll=5s".to_owned(),
            // Ten minutes are the shortest life; this is part of the first one of them.
            "--renew-at=0.11".to_owned(),
            "--log-format=text".to_owned(),
        ],
    );
    let certificate = || fs::read(directory.join("tls.crt")).ok();
    let first = eventually("a certificate", SOON, certificate);
    assert_eq!(
        fs::read(directory.join("ca.crt")).unwrap(),
        root.data["ca.crt"]
    );
    // Its own chain is enough for OpenSSL.
    let verify = |dir: &Path| {
        fs::copy(directory.join("tls.crt"), dir.join("tls.crt")).unwrap();
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
                "tls.crt",
                "tls.crt",
            ],
        );
    };
    verify(fleet.dir());
    let renewed = || certificate().filter(|now| *now != first);
    eventually("another certificate", SOON, renewed);
    verify(fleet.dir());
    // What it holds is known.
    let list = || -> Value {
        serde_json::from_str(&fleet.done(&["token", "list", "-o", "json"]).stdout).unwrap()
    };
    let bundle = eventually("it has acknowledged", SOON, || {
        list()["enrolments"][0]["bundle"]
            .as_str()
            .map(str::to_owned)
    });
    assert!(bundle.starts_with("sha256:"), "{bundle}");
    assert_eq!(list()["enrolments"][0]["token"], "used");
    // Revoked, it keeps what it has and says so; let in again, it takes a new token.
    fleet.done(&["revoke", "cluster-1"]);
    eventually("it is refused", SOON, || {
        let said = process.said();
        said.contains("the server does not take the certificate any more")
            .then_some(())
    });
    let kept = certificate().unwrap();
    fleet.done(&["revoke", "cluster-1", "--lift"]);
    let second = fleet.done(&["token", "create", "cluster-1"]).stdout;
    write_private(&fleet.path("token"), second.as_bytes());
    let enrolled = || certificate().filter(|now| *now != kept);
    eventually("it is back", SOON, enrolled);
    verify(fleet.dir());
    end(process, &[token.trim(), second.trim()]);
}

#[test]
fn what_makes_no_sense_is_refused_at_once() {
    let fleet = Fleet::new(&spec(&[]));
    let server = "--server=https://relay.example.com:9443";
    for (arguments, words) in [
        (
            vec!["--cluster=cluster-1", "--server=http://relay.example.com"],
            "https://",
        ),
        (
            vec![
                "--cluster=cluster-1",
                "--server=https://relay.example.com/est",
            ],
            "behind the host",
        ),
        (vec!["--cluster=7", server], "ends like an IP address"),
        (
            vec!["--cluster=a", server, "--poll=1s"],
            "--poll is shorter than 5s",
        ),
        (
            vec!["--cluster=a", server, "--trust-fingerprint=abc"],
            "no fingerprint of a root",
        ),
        (
            vec!["--cluster=a", server, "--restart=pod/a"],
            "no workload",
        ),
        (
            vec!["--cluster=a", server, "--renew-at=2"],
            "no renewal point",
        ),
        (
            vec![
                "--cluster=a",
                server,
                "--directory=a",
                "--restart=deployment/a",
            ],
            "cannot be used with",
        ),
    ] {
        let all: Vec<&str> = std::iter::once("agent").chain(arguments).collect();
        let run = fleet.ends(&all, 2);
        assert!(run.stderr.contains(words), "{all:?}: {}", run.stderr);
    }
}
