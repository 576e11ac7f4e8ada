//! Root, signer or both in Google Certificate Authority Service, as far as the emulator goes.

use std::fs;

use relay_pki_testbed::{GoogleCas, GoogleProject};
use serde_json::json;

use crate::docs::blocks;
use crate::support::fleet::{CLIENT, Fleet, Run, clusters};
use crate::support::verifiers::{Naming, assert_accepted, questions};

const PAGE: &str = "docs/providers/gcp-cas.md";
const AGENTS: [&str; 2] = ["cluster-1", "cluster-2"];

/// A project with a pool for roots and one for signers, and nothing allowed that the page does not
/// say.
pub(crate) fn project(more: serde_json::Value) -> GoogleProject {
    let policy = json!({ "allowRequesterSpecifiedNotBeforeTime": true });
    let mut wanted = json!({
        "pools": [{ "issuancePolicy": policy }, { "issuancePolicy": policy }],
        "permissions": permissions(),
        "operationSeconds": 0.2,
    });
    for (field, value) in more.as_object().unwrap() {
        wanted[field] = value.clone();
    }
    GoogleCas::shared().project_with(&wanted)
}

/// The permissions of the role on the page.
fn permissions() -> Vec<String> {
    let blocks = blocks(PAGE);
    let role = blocks
        .iter()
        .find(|(_, body)| body.contains("includedPermissions"));
    let lines = role.unwrap().1.lines();
    let found: Vec<String> = lines
        .filter_map(|line| line.trim().strip_prefix("- privateca."))
        .map(|permission| format!("privateca.{permission}"))
        .collect();
    assert_eq!(found.len(), 8, "{found:?}");
    found
}

/// The provider in one line, for a document beside `key.json`.
pub(crate) fn provider(project: &GoogleProject, pool: &str) -> String {
    format!(
        "{{ gcpCas: {{ pool: {pool}, endpoint: '{}', credentials: {{ file: key.json }} }} }}",
        project.endpoint()
    )
}

/// A fleet of two agents with root and signer in Google.
fn fleet(project: &GoogleProject) -> Fleet {
    let [roots, signers] = project.pools() else {
        panic!("two pools");
    };
    let fleet = Fleet::new(&format!(
        "  providers:\n    google-root: {}\n    google-signer: {}\n  \
         root: {{ provider: google-root }}\n  signer: {{ provider: google-signer }}\n{}",
        provider(project, roots),
        provider(project, signers),
        clusters(&AGENTS)
    ));
    fs::write(fleet.path("key.json"), project.key()).unwrap();
    fleet
}

fn assert_verifies(fleet: &Fleet) {
    assert_accepted(&questions(fleet, &Naming::default(), &["mgmt"], &AGENTS));
}

/// The service goes away after it acted, at every certificate: the next run buys none again.
#[test]
fn an_interrupted_bootstrap_buys_nothing_twice() {
    let project = project(json!({}));
    let fleet = fleet(&project);
    let fault = json!({ "method": "certificates.create", "effect": "cut", "when": "after" });
    project.disturb(&fault);
    let run = fleet.run(&["bootstrap"]);
    assert_ne!(run.code, Some(0), "{run:#?}");
    run.says(&["google-root: gloo-mesh root g1 is unavailable"]);
    assert_eq!(
        project.issued(),
        2,
        "the root, and the signer's certificate"
    );
    project.calm();
    fleet.done(&["bootstrap"]);
    assert_verifies(&fleet);
    assert_eq!(project.issued(), 5);
}

/// Nobody wrote a credential anywhere: the metadata server says who we are.
#[test]
fn by_the_identity_of_the_workload() {
    let project = project(json!({ "workload": true }));
    let document = fleet(&project);
    let text = fs::read_to_string(document.path("relay.yaml")).unwrap();
    let text = text.replace(", credentials: { file: key.json }", "");
    assert!(!text.contains("credentials"));
    fs::write(document.path("relay.yaml"), text).unwrap();
    fs::remove_file(document.path("key.json")).unwrap();
    let mut command = document.command(&["bootstrap"]);
    command
        .env("GCE_METADATA_HOST", project.metadata_host())
        .env("HOME", document.dir())
        .env_remove("GOOGLE_APPLICATION_CREDENTIALS");
    let run = Run::of(command.output().unwrap());
    assert_eq!(run.code, Some(0), "{run:#?}");
    assert_verifies(&document);
    assert_eq!(document.leaf("cluster-1", CLIENT).common_name, "cluster-1");
}

/// The first snippet of the page, with the emulator in Google's place.
#[test]
fn the_page_works_as_it_is_written() {
    let project = project(json!({}));
    let blocks = blocks(PAGE);
    let (_, snippet) = blocks
        .iter()
        .find(|(language, _)| language == "yaml")
        .unwrap();
    let spec = snippet.strip_prefix("spec:\n").unwrap();
    let mut spec = spec.to_owned();
    for (name, pool) in ["relay-root", "relay-signer"].iter().zip(project.pools()) {
        let written = format!("projects/corp-pki/locations/europe-west1/caPools/{name}");
        let here = format!(
            "{pool}, endpoint: '{}', credentials: {{ file: key.json }}",
            project.endpoint()
        );
        assert!(spec.contains(&written), "{spec}");
        spec = spec.replace(&written, &here);
    }
    let fleet = Fleet::new(&format!("{spec}{}", clusters(&AGENTS)));
    fs::write(fleet.path("key.json"), project.key()).unwrap();
    fleet.done(&["bootstrap"]);
    assert_verifies(&fleet);
}
