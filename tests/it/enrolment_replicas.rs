//! Enrolment at controllers that are real processes, on a real API server.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use relay_pki_testbed::eventually;
use serde_json::{Value, json};

use crate::support::enrolment::curl;
use crate::support::replica::Replica;
use crate::support::stage::{SOON, Stage};
use crate::support::tools::openssl;

fn operation(port: u16, name: &str) -> String {
    format!("https://localhost:{port}/.well-known/est/{name}")
}

/// Where a replica says that it serves.
fn port(replica: &Replica) -> u16 {
    eventually("it serves", SOON, || {
        let said = replica.said();
        let line = said
            .lines()
            .find(|line| line.contains("agents enrol here"))?;
        let (_, port) = line.rsplit_once("127.0.0.1:")?;
        let digits: String = port.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    })
}

fn request(dir: &Path, key: &str, cluster: &str, out: &str) {
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
    let der = format!("{out}.der");
    openssl(
        dir,
        &[
            "req", "-new", "-key", key, "-subj", &subject, "-outform", "DER", "-out", &der,
        ],
    );
    openssl(dir, &["base64", "-in", &der, "-out", out]);
}

/// The status of a reply; 0 if there was none.
fn post(dir: &Path, url: &str, request: &str, reply: &str, options: &[&str]) -> u16 {
    let body = format!("@{request}");
    let mut arguments = vec![
        "-sk",
        "-H",
        "Content-Type: application/pkcs10",
        "--data-binary",
        &body,
        "-o",
        reply,
        "-w",
        "%{http_code}",
        url,
    ];
    arguments.extend(options);
    let output = curl(dir, &arguments);
    String::from_utf8(output.stdout)
        .unwrap()
        .parse()
        .unwrap_or(0)
}

fn certificate(dir: &Path, reply: &str, out: &str) {
    let message = format!("{reply}.p7");
    openssl(dir, &["base64", "-d", "-A", "-in", reply, "-out", &message]);
    openssl(
        dir,
        &[
            "pkcs7",
            "-inform",
            "DER",
            "-in",
            &message,
            "-print_certs",
            "-out",
            out,
        ],
    );
}

#[test]
fn every_replica_serves_and_one_may_die_under_load() {
    let stage = Stage::new("enrol");
    let names = ["edge-1", "edge-2", "edge-3", "edge-4"];
    stage.relay(json!({ "server": { "extraDnsNames": ["localhost"] } }));
    let first = stage.enrolling_replica("first");
    let second = stage.enrolling_replica("second");
    let ports = [port(&first), port(&second)];
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    eventually("both serve", SOON, || {
        let ready = ports.iter().all(|port| {
            let url = operation(*port, "cacerts");
            curl(dir, &["-skf", "-o", "cacerts", &url]).status.success()
        });
        ready.then_some(())
    });
    for name in names {
        let said = stage.administer(&["cluster", "register", name, "--delivery", "enroll"]);
        assert!(said.contains("relay-pki token create"), "{said}");
    }
    let mut tokens = Vec::new();
    for name in names {
        let key = format!("{name}.key");
        request(dir, &key, name, &format!("{name}.b64"));
        let token = stage.administer(&["token", "create", name]);
        tokens.push(format!("{name}:{}", token.trim()));
    }
    let user = ["--user", tokens[0].as_str()];
    // The replica that follows serves as the one that leads.
    eventually("the registration is known", SOON, || {
        let url = operation(ports[1], "simpleenroll");
        (post(dir, &url, "edge-1.b64", "edge-1.reply", &user) == 200).then_some(())
    });
    certificate(dir, "edge-1.reply", "edge-1.pem");
    // The same token for another key, on the other replica.
    request(dir, "thief.key", "edge-1", "thief.b64");
    let url = operation(ports[0], "simpleenroll");
    assert_eq!(post(dir, &url, "thief.b64", "none", &user), 403);

    // Agents renew at both, and one of the replicas is killed.
    let stop = AtomicBool::new(false);
    let (granted, lost) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let (stop, granted, lost) = (&stop, &granted, &lost);
            scope.spawn(move || {
                let (reply, out) = (format!("r{worker}"), format!("c{worker}.pem"));
                let mut turn = worker;
                while !stop.load(Ordering::SeqCst) {
                    turn += 1;
                    let url = operation(ports[turn % 2], "simplereenroll");
                    let presented = ["--cert", "edge-1.pem", "--key", "edge-1.key"];
                    match post(dir, &url, "edge-1.b64", &reply, &presented) {
                        200 => {
                            // What it was told to have, it has.
                            certificate(dir, &reply, &out);
                            granted.fetch_add(1, Ordering::SeqCst);
                        }
                        429 => std::thread::sleep(Duration::from_millis(50)),
                        0 => {
                            lost.fetch_add(1, Ordering::SeqCst);
                            std::thread::sleep(Duration::from_millis(20));
                        }
                        status => panic!("{status}"),
                    }
                }
            });
        }
        std::thread::sleep(Duration::from_millis(500));
        // As SIGKILL does it.
        drop(first);
        let after = granted.load(Ordering::SeqCst) + lost.load(Ordering::SeqCst);
        std::thread::sleep(Duration::from_secs(2));
        stop.store(true, Ordering::SeqCst);
        assert!(after > 0);
    });
    assert!(lost.load(Ordering::SeqCst) > 0, "the kill was not noticed");
    assert!(granted.load(Ordering::SeqCst) > 0);
    // Used tokens stay used, and unused ones work, whoever is left.
    let url = operation(ports[1], "simpleenroll");
    assert_eq!(post(dir, &url, "thief.b64", "none", &user), 403);
    let user = ["--user", tokens[1].as_str()];
    assert_eq!(post(dir, &url, "edge-2.b64", "edge-2.reply", &user), 200);
    let list = stage.administer(&["token", "list", "-o", "json"]);
    let list: Value = serde_json::from_str(&list).unwrap();
    let token = |name: &str| {
        let all = list["enrolments"].as_array().unwrap();
        let found = all.iter().find(|found| found["cluster"] == name).unwrap();
        found["token"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        (token("edge-1").as_str(), token("edge-3").as_str()),
        ("used", "unused")
    );
    // A revocation is heard of within seconds, and outlives the process.
    stage.administer(&["revoke", "edge-1", "--reason", "test"]);
    let renew = operation(ports[1], "simplereenroll");
    let presented = ["--cert", "edge-1.pem", "--key", "edge-1.key"];
    eventually("it is refused", Duration::from_secs(10), || {
        (post(dir, &renew, "edge-1.b64", "none", &presented) == 403).then_some(())
    });
    second.terminate();
    let third = stage.enrolling_replica("third");
    let port = port(&third);
    let renew = operation(port, "simplereenroll");
    eventually("the next one serves", SOON, || {
        (post(dir, &renew, "edge-1.b64", "none", &presented) == 403).then_some(())
    });
    let reason = fs::read_to_string(dir.join("none")).unwrap();
    assert!(reason.contains("is revoked"), "{reason}");
    // Clusters that nobody reaches are no reason to be alarmed.
    stage.wait("relaycluster/edge-2", "True", "Enrolls", SOON);
    third.terminate();
}
