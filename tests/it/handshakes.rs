//! Live mutual TLS while certificates are replaced.

use std::process::Stdio;

use crate::support::fleet::{CLIENT, Fleet, ROOT, SERVER, clusters};
use crate::support::handshake::{
    openssl_to_openssl, openssl_to_rustls, rustls_to_openssl, rustls_to_rustls,
};
use crate::support::manifest::Manifest;

/// Server and agent talk, whichever library either uses, and the server sees the agent's name.
fn assert_they_talk(when: &str, server: &Manifest, client: &Manifest, name: &str) {
    assert_eq!(
        rustls_to_rustls(server, client),
        Ok(name.to_owned()),
        "{when}"
    );
    assert_eq!(
        openssl_to_rustls(server, client),
        Ok(name.to_owned()),
        "{when}"
    );
    assert_eq!(rustls_to_openssl(server, client), Ok(()), "{when}");
    assert_eq!(openssl_to_openssl(server, client), Ok(()), "{when}");
}

/// Nobody lets anybody in.
fn assert_they_do_not_talk(server: &Manifest, client: &Manifest) {
    assert!(rustls_to_rustls(server, client).is_err());
    assert!(openssl_to_rustls(server, client).is_err());
    assert!(rustls_to_openssl(server, client).is_err());
    assert!(openssl_to_openssl(server, client).is_err());
}

#[test]
fn server_and_agents_shake_hands() {
    let fleet = Fleet::bootstrapped(&clusters(&["c1", "c2"]));
    let server = fleet.secret("mgmt", SERVER);
    for cluster in ["c1", "c2"] {
        assert_they_talk(
            "bootstrapped",
            &server,
            &fleet.secret(cluster, CLIENT),
            cluster,
        );
    }
}

#[test]
fn every_key_type_shakes_hands() {
    for key_type in ["ecdsa-p384", "ed25519", "rsa-2048"] {
        let spec = format!(
            "  root: {{ keyType: {key_type} }}\n  signer: {{ keyType: {key_type} }}\n  \
             server: {{ keyType: {key_type} }}\n  agents: {{ keyType: {key_type} }}\n{}",
            clusters(&["c1"])
        );
        let fleet = Fleet::bootstrapped(&spec);
        let (server, client) = (fleet.secret("mgmt", SERVER), fleet.secret("c1", CLIENT));
        assert_they_talk(key_type, &server, &client, "c1");
    }
}

#[test]
fn an_agent_of_another_fleet_is_refused() {
    let ours = Fleet::bootstrapped(&clusters(&["c1"]));
    let theirs = Fleet::bootstrapped(&clusters(&["c1"]));
    let (server, client) = (ours.secret("mgmt", SERVER), theirs.secret("c1", CLIENT));
    assert_they_do_not_talk(&server, &client);
    // Nor does the server let it in once it trusts our server: each side checks for itself.
    let mut trusting = client.clone();
    let our_roots = ours.secret("c1", ROOT).entry("ca.crt").to_vec();
    trusting.data.insert("ca.crt".to_owned(), our_roots);
    assert_they_do_not_talk(&server, &trusting);
    // Nor does our agent talk to a server of theirs that would let it in.
    let mut welcoming = theirs.secret("mgmt", SERVER);
    let our_roots = ours.secret("c1", ROOT).entry("ca.crt").to_vec();
    welcoming.data.insert("ca.crt".to_owned(), our_roots);
    assert_they_do_not_talk(&welcoming, &ours.secret("c1", CLIENT));
}

#[test]
fn old_and_new_certificates_shake_hands_through_every_rotation() {
    let fleet = Fleet::bootstrapped(&clusters(&["c1", "c2"]));
    // Every state that a server or an agent can have been started with.
    let mut servers = vec![("bootstrap".to_owned(), fleet.secret("mgmt", SERVER))];
    let mut clients = vec![("bootstrap".to_owned(), fleet.secret("c1", CLIENT))];
    for verb in ["agents", "server", "signer", "agents", "server"] {
        fleet.done(&["rotate", verb]);
        let newest_server = fleet.secret("mgmt", SERVER);
        let newest_client = fleet.secret("c1", CLIENT);
        for (of, client) in &clients {
            let when = format!("agent of {of} after rotate {verb}");
            assert_they_talk(&when, &newest_server, client, "c1");
        }
        for (of, server) in &servers {
            let when = format!("server of {of} after rotate {verb}");
            assert_they_talk(&when, server, &newest_client, "c1");
        }
        servers.push((verb.to_owned(), newest_server));
        clients.push((verb.to_owned(), newest_client));
    }
    // The rotations did replace something.
    clients.dedup_by(|one, other| one.1.entry("tls.crt") == other.1.entry("tls.crt"));
    servers.dedup_by(|one, other| one.1.entry("tls.crt") == other.1.entry("tls.crt"));
    assert_eq!((clients.len(), servers.len()), (4, 4));
}

#[test]
fn handshakes_never_fail_while_a_rotation_runs() {
    let names: Vec<String> = (1..=12).map(|number| format!("c{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let fleet = Fleet::bootstrapped(&clusters(&names));
    for verb in ["agents", "server", "signer", "agents"] {
        let mut rotation = fleet.command(&["rotate", verb, "--quiet"]);
        let mut rotation = rotation.stdout(Stdio::null()).spawn().unwrap();
        let mut handshakes = 0;
        loop {
            let over = rotation.try_wait().unwrap();
            let name = names[handshakes % names.len()];
            let (server, client) = (fleet.secret("mgmt", SERVER), fleet.secret(name, CLIENT));
            assert_eq!(
                rustls_to_rustls(&server, &client),
                Ok(name.to_owned()),
                "rotate {verb}"
            );
            handshakes += 1;
            if let Some(status) = over {
                assert!(status.success(), "rotate {verb}");
                break;
            }
        }
        assert!(
            handshakes > 1,
            "rotate {verb} was over before the first handshake"
        );
    }
}
