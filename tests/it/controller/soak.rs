//! Secrets are deleted and corrupted at random while replicas come and go.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::support::dice::{Dice, number};
use crate::support::fleet::{CLIENT, IDENTITY, ROOT};
use crate::support::history::{History, leaves};
use crate::support::replica::Replica;
use crate::support::stage::{Member, PATIENCE, SOON, Stage};

/// How long it goes on, in seconds.
const LENGTH: &str = "RELAY_PKI_SOAK_SECONDS";

/// What is done when: the same number, the same order.
const SEED: &str = "RELAY_PKI_SOAK_SEED";

/// Harms a Secret; whether that asks for a new certificate.
fn harm(dice: &mut Dice, member: &Member<'_>) -> (String, bool) {
    let name = [CLIENT, CLIENT, ROOT, IDENTITY][dice.below(4)];
    let what = dice.below(3);
    let rubbish = STANDARD.encode(format!("rubbish {}", dice.below(1000)));
    match what {
        0 => member.delete_secret(name),
        1 => {
            let key = match name {
                CLIENT => "tls.crt",
                ROOT => "ca.crt",
                _ => "token",
            };
            member.patch_secret(name, json!({ "data": { key: rubbish } }));
        }
        _ => {
            let key = match name {
                IDENTITY => "token",
                _ => "ca.crt",
            };
            member.patch_secret(name, json!({ "data": { key: null } }));
        }
    }
    let what = ["deleted", "corrupted", "cut"][what];
    let text = format!("{}: {name} {what}", member.name);
    (text, name == CLIENT)
}

/// What is printed is there to replay it, and to read a long run.
#[allow(clippy::print_stdout)]
#[test]
fn it_converges_whatever_is_done_to_the_secrets_and_to_the_leader() {
    let length = Duration::from_secs(number(LENGTH).unwrap_or(60));
    let seed = number(SEED).unwrap_or_else(|| u64::from(std::process::id()));
    println!("{SEED}={seed} {LENGTH}={}", length.as_secs());
    let mut dice = Dice(seed);
    let stage = Stage::new("soak");
    let members = stage.members(&["c1", "c2", "c3"]);
    let histories: Vec<History> = std::iter::once(&stage.management())
        .chain(stage.workloads())
        .map(|server| History::begin(server, stage.namespace()))
        .collect();
    let mut started = 2;
    let mut replicas = [stage.replica("r1"), stage.replica("r2")];
    stage.relay(json!({}));
    stage.join(&members);
    stage.wait_ready(&members, SOON);

    let begun = Instant::now();
    let mut causes: BTreeMap<String, usize> = BTreeMap::new();
    let mut rounds = 0;
    while begun.elapsed() < length {
        let kill = dice.below(5) == 0;
        let victim = dice.below(2);
        let mut done = Vec::new();
        for member in &members {
            if dice.below(3) == 0 {
                continue;
            }
            let (what, renews) = harm(&mut dice, member);
            *causes.entry(member.namespace.clone()).or_default() += usize::from(renews);
            done.push(what);
        }
        if kill {
            started += 1;
            replicas[victim] = stage.replica(&format!("r{started}"));
            done.push(format!("replica {victim} killed"));
        }
        println!("{:>4} s: {}", begun.elapsed().as_secs(), done.join(", "));
        // The next harm comes when this one is repaired, so that causes can be counted.
        for member in &members {
            for name in [CLIENT, ROOT, IDENTITY] {
                member.wait_secret(name, PATIENCE, |found| {
                    let entry = |key: &str| found.data.get(key).map(Vec::as_slice);
                    match name {
                        IDENTITY => entry("token").is_some_and(|t| !t.starts_with(b"rubbish")),
                        ROOT => is_pem(entry("ca.crt")),
                        _ => is_pem(entry("ca.crt")) && is_pem(entry("tls.crt")),
                    }
                });
            }
        }
        rounds += 1;
    }
    assert!(rounds > 1, "nothing was done");
    stage.wait_ready(&members, PATIENCE);
    stage.assert_chains(&members);
    assert!(
        replicas
            .iter_mut()
            .any(|replica| !Replica::has_ended(replica))
    );

    let states: Vec<_> = histories.into_iter().flat_map(History::end).collect();
    for level in ["root", "signer"] {
        let second = format!("relay-pki-{}-{level}-g2", stage.namespace());
        assert!(states.iter().all(|state| state.name != second), "{second}");
    }
    for (namespace, leaves) in leaves(&states, CLIENT) {
        // One for the beginning, at most one for each harm: `ca.crt` alone needs none.
        let most = 1 + causes.get(&namespace).copied().unwrap_or(0);
        assert!(
            leaves.len() <= most,
            "{} certificates in {namespace} for {most} causes",
            leaves.len()
        );
        println!("{namespace}: {} certificates, {most} causes", leaves.len());
    }
}

fn is_pem(entry: Option<&[u8]>) -> bool {
    entry.is_some_and(|pem| pem.starts_with(b"-----BEGIN CERTIFICATE-----"))
}
