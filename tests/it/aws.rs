//! AWS Private CA end to end: the built program, the documents of `docs/providers/aws-private-ca.md`,
//! and the policy there, against the emulator.

use relay_pki_testbed::{AwsAccount, AwsServer};
use serde_json::{Value, json};

use crate::docs::blocks;
use crate::support::fleet::{CLIENT, Fleet, Run, clusters};
use crate::support::verifiers::{Naming, assert_accepted, questions};

const PAGE: &str = "docs/providers/aws-private-ca.md";
const AGENTS: [&str; 2] = ["c1", "c2"];

/// The `number`-th document of the page, with its clusters.
fn document(number: usize) -> String {
    let blocks = blocks(PAGE);
    let mut documents = blocks.iter().filter(|(language, _)| language == "yaml");
    let (_, spec) = documents.nth(number).unwrap();
    format!("{spec}{}", clusters(&AGENTS))
}

/// The policy of the page, for this account.
fn policy(account: &AwsAccount) -> Value {
    let blocks = blocks(PAGE);
    let (_, text) = blocks
        .iter()
        .find(|(language, _)| language == "json")
        .unwrap();
    let text = text.replace("111122223333", &account.number);
    serde_json::from_str(&text).unwrap()
}

/// An account that may do what the page says and nothing else.
pub(crate) fn account() -> AwsAccount {
    let account = AwsServer::emulator().account(&json!({ "issueDelay": 0.2, "createDelay": 0.2 }));
    account.change(json!({ "policy": policy(&account) }));
    account
}

fn run(fleet: &Fleet, account: &AwsAccount, arguments: &[&str]) -> Run {
    let mut command = fleet.command(arguments);
    command.envs(account.environment()).env("HOME", fleet.dir());
    Run::of(command.output().unwrap())
}

fn done(fleet: &Fleet, account: &AwsAccount, arguments: &[&str]) -> Run {
    let run = run(fleet, account, arguments);
    assert_eq!(run.code, Some(0), "relay-pki {arguments:?}: {run:#?}");
    assert!(!format!("{run:?}").contains(&account.secret_key));
    run
}

fn assert_verifies(fleet: &Fleet) {
    assert_accepted(&questions(fleet, &Naming::default(), &["mgmt"], &AGENTS));
}

#[test]
fn root_and_signer_as_the_page_has_them() {
    let (account, fleet) = (account(), Fleet::new(&document(0)));
    done(&fleet, &account, &["bootstrap"]);
    assert_verifies(&fleet);
    // Root, signer, server and two agents.
    assert_eq!(account.issued(), 5);
    done(&fleet, &account, &["bootstrap"]).says(&["Nothing to do"]);
    done(&fleet, &account, &["rotate", "agents"]);
    assert_eq!(account.issued(), 7);
    // The signer, and under it the server and two agents.
    done(&fleet, &account, &["rotate", "signer"]);
    assert_eq!(account.issued(), 11);
    assert_verifies(&fleet);
    done(&fleet, &account, &["audit"]);
}

#[test]
fn a_root_that_exists() {
    let (account, first) = (account(), Fleet::new(&document(1)));
    done(&first, &account, &["bootstrap"]);
    let state = account.state();
    let arn = state["authorities"][0]["Arn"].as_str().unwrap();
    let spec = document(2);
    let old = spec.split("certificateAuthority: ").nth(1).unwrap();
    let old = old.lines().next().unwrap();
    let fleet = Fleet::new(&spec.replace(old, arn));
    done(&fleet, &account, &["bootstrap"]);
    assert_verifies(&fleet);
    // Another root's fleet has the same root now, and AWS has still one CA.
    let state = account.state();
    assert_eq!(state["authorities"].as_array().unwrap().len(), 1);
    assert_eq!(account.issued(), 3);
}

#[test]
fn killed_between_two_polls_it_buys_nothing_twice() {
    let (account, fleet) = (account(), Fleet::new(&document(0)));
    account.change(json!({ "issueDelay": 4 }));
    for _ in 0..4 {
        let mut command = fleet.command(&["bootstrap"]);
        command.envs(account.environment()).env("HOME", fleet.dir());
        let mut child = command.spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(2500));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    account.change(json!({ "issueDelay": 0 }));
    done(&fleet, &account, &["bootstrap"]);
    assert_verifies(&fleet);
    assert_eq!(account.issued(), 5);
}

#[test]
fn what_is_missing_is_named_and_nothing_is_half_written() {
    let (account, fleet) = (account(), Fleet::new(&document(0)));
    done(&fleet, &account, &["bootstrap"]);
    let old = fleet.client_leaves(&AGENTS);
    account.change(json!({ "expired": true }));
    let failed = run(&fleet, &account, &["rotate", "agents"]);
    assert_ne!(failed.code, Some(0));
    failed.says(&["ExpiredTokenException", "sign in again"]);
    account.heal();
    account.fault(json!({ "operation": "GetCertificate", "effect": "wrong-ca" }));
    let failed = run(&fleet, &account, &["rotate", "agents"]);
    assert_ne!(failed.code, Some(0));
    failed.says(&["not what was asked for"]);
    assert_eq!(fleet.client_leaves(&AGENTS), old);
    account.heal();
    done(&fleet, &account, &["rotate", "agents"]);
    assert_ne!(fleet.leaf("c1", CLIENT), old["c1"]);
    assert_verifies(&fleet);
}

#[test]
fn a_role_of_another_account() {
    let (owner, fleet) = (account(), Fleet::new(""));
    let guest = AwsServer::emulator().account(&json!({}));
    let role = format!("roleArn: \"arn:aws:iam::{}:role/relay\"", owner.number);
    let spec = document(1).replace(
        "region: eu-central-1",
        &format!("region: eu-central-1, {role}"),
    );
    assert!(spec.contains("roleArn"));
    fleet.write_spec(&spec);
    done(&fleet, &guest, &["bootstrap"]);
    assert_verifies(&fleet);
    assert_eq!((owner.issued(), guest.issued()), (2, 0));
}
