//! The objects of the API, as `fixtures/crd` has them: `valid` ones that are accepted, and `invalid`
//! ones with the words in their first line that the API server refuses them with.
//!
//! What the API server lets through is judged once more when objects are put together. The two must
//! not disagree: what is said here is checked against [`assemble`].

use std::fs;
use std::path::Path;
use std::process::Command;

use relay_pki::config;
use relay_pki::crd::{Relay, RelayCluster, assemble, definitions};
use serde_json::{Value, json};

/// One file of fixtures.
pub(crate) struct Fixture {
    pub(crate) name: String,
    /// What is in its first line: for invalid ones, what the API server's answer holds.
    pub(crate) expected: String,
    /// Whether only the API server can refuse it: values of fields that documents do not have, and
    /// changes from the first object to the second.
    server_only: bool,
    pub(crate) objects: Vec<Value>,
}

pub(crate) fn fixtures(kind: &str) -> Vec<Fixture> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/it/fixtures/crd")
        .join(kind);
    let mut files: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let read = |file: &Path| {
        let text = fs::read_to_string(file).unwrap();
        let mut comments = text.lines().map_while(|line| line.strip_prefix("# "));
        Fixture {
            name: file.file_stem().unwrap().to_str().unwrap().to_owned(),
            expected: comments.next().unwrap().to_owned(),
            server_only: comments.next() == Some("Only the API server refuses this."),
            objects: serde_saphyr::from_multiple(&text).unwrap(),
        }
    };
    files.iter().map(|file| read(file)).collect()
}

/// What is wrong with the objects, one problem a line. Clusters without their relay are put into
/// one that says nothing.
fn problems(objects: &[Value]) -> Vec<String> {
    let of_kind = |kind: &str| -> Vec<Value> {
        let objects = objects.iter().filter(|object| object["kind"] == kind);
        objects.cloned().collect()
    };
    let relay = of_kind("Relay").pop().unwrap_or_else(|| {
        json!({
            "apiVersion": "relay-pki.dev/v1alpha1",
            "kind": "Relay",
            "metadata": { "name": "prod", "namespace": "gloo-mesh" },
            "spec": {},
        })
    });
    let relay: Relay = serde_json::from_value(relay).unwrap();
    let clusters: Vec<RelayCluster> = of_kind("RelayCluster")
        .into_iter()
        .map(|cluster| serde_json::from_value(cluster).unwrap())
        .collect();
    match assemble(&relay, &clusters) {
        Ok(assembled) => {
            let rejected = assembled.rejected.values().flatten();
            let problems: Vec<String> = rejected.map(ToString::to_string).collect();
            if problems.is_empty() {
                for cluster in &clusters {
                    let name = cluster.metadata.name.as_deref().unwrap();
                    let found = assembled.relay.clusters.iter();
                    assert!(
                        found.clone().any(|found| found.name.as_str() == name),
                        "{name} is lost"
                    );
                }
            }
            problems
        }
        Err(error) => error.problems().iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn what_the_api_server_accepts_is_accepted() {
    let fixtures = fixtures("valid");
    assert!(fixtures.len() > 5);
    for fixture in fixtures {
        let none: [&str; 0] = [];
        assert_eq!(problems(&fixture.objects), none, "{}", fixture.name);
    }
}

#[test]
fn what_the_api_server_refuses_is_refused() {
    let fixtures = fixtures("invalid");
    assert!(fixtures.len() > 30);
    for fixture in fixtures {
        assert!(!fixture.expected.is_empty(), "{}", fixture.name);
        if !fixture.server_only {
            let problems = problems(&fixture.objects);
            assert!(!problems.is_empty(), "{} is accepted", fixture.name);
            for problem in problems {
                assert!(
                    problem.starts_with("Relay prod: ")
                        || problem.starts_with("RelayCluster ")
                        || problem.contains(": metadata.name: "),
                    "{problem}"
                );
            }
        }
    }
}

#[test]
fn the_examples_of_the_documentation_work() {
    let blocks = crate::docs::blocks("docs/kubernetes.md");
    let yaml = blocks.iter().filter(|(language, _)| language == "yaml");
    let mut yaml = yaml.map(|(_, body)| body.as_str());
    let document = yaml.next().unwrap();
    let relay = config::Relay::parse(document, "relay.yaml", Path::new("")).unwrap();
    assert_eq!(relay.clusters.len(), 3);
    let objects: Vec<Value> = yaml
        .map(|body| serde_saphyr::from_str(body).unwrap())
        .collect();
    assert_eq!(objects.len(), 3);
    let none: [&str; 0] = [];
    assert_eq!(problems(&objects), none);
}

#[test]
fn the_verb_prints_the_manifests() {
    let output = Command::new(env!("CARGO_BIN_EXE_relay-pki"))
        .arg("crds")
        .output()
        .unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let printed: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    // What a reader makes of the YAML is what was meant: long rules are folded in it.
    let meant = definitions().unwrap().map(|definition| definition.object);
    assert_eq!(printed, meant);
    for definition in definitions().unwrap() {
        let file = format!("manifests/crds/{}.yaml", definition.plural);
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        assert!(text.contains(&fs::read_to_string(file).unwrap()));
    }
}
