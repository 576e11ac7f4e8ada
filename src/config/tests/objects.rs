//! Relays from objects of the API.

use std::time::Instant;

use serde_json::{Map, Value, json};

use super::*;

fn map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("{other}"),
    }
}

fn assembled(spec: Value, clusters: &[(&str, Value)]) -> Result<Assembled, ConfigError> {
    let spec = map(spec);
    let clusters: Vec<_> = clusters
        .iter()
        .map(|(name, spec)| (*name, map(spec.clone())))
        .collect();
    let clusters: Vec<_> = clusters
        .iter()
        .map(|(name, spec)| ClusterObject { name, spec })
        .collect();
    let relay = RelayObject {
        name: "prod",
        namespace: "mesh",
        spec: &spec,
    };
    assemble(relay, &clusters)
}

fn secret(name: &str) -> Value {
    json!({ "kubeconfig": { "secretRef": { "name": name } } })
}

/// A cluster's fields with some more.
fn with(mut fields: Value, more: Value) -> Value {
    fields.as_object_mut().unwrap().extend(map(more));
    fields
}

fn names(relay: &Relay) -> Vec<&str> {
    relay
        .clusters
        .iter()
        .map(|cluster| cluster.name.as_str())
        .collect()
}

fn rejections(assembled: &Assembled) -> Vec<String> {
    let problems = assembled.rejected.values().flatten();
    problems.map(Problem::to_string).collect()
}

#[test]
fn a_relay_and_its_clusters() {
    let spec = json!({
        "agents": { "validity": "20d", "renewAt": 0.5, "schedule": "@daily" },
        "server": { "extraDnsNames": ["relay.example.com"] },
        "tokens": { "identity": {} },
        "secrets": { "client": "agent-<cluster>-tls" },
    });
    let clusters = [
        (
            "eu",
            with(
                secret("eu"),
                json!({ "validity": "10d", "namespace": "relay" }),
            ),
        ),
        (
            "us",
            with(secret("us"), json!({ "role": "management", "agent": true })),
        ),
    ];
    let assembled = assembled(spec, &clusters).unwrap();
    assert_eq!(assembled.rejected, BTreeMap::new());
    let relay = assembled.relay;
    assert_eq!(
        (relay.name.as_str(), relay.namespace.as_str()),
        ("prod", "mesh")
    );
    assert_eq!(names(&relay), ["management", "eu", "us"]);
    let home = relay.home();
    assert_eq!(*home, relay.clusters[0]);
    assert_eq!(
        (
            home.role,
            &home.location,
            home.namespace.as_str(),
            &home.agent
        ),
        (Role::Management, &Location::InCluster, "mesh", &None)
    );
    let agents: Vec<_> = relay
        .agents()
        .map(|(cluster, agent)| {
            assert_eq!(agent.renewal.at.share(), 0.5);
            (
                cluster.namespace.as_str(),
                agent.validity.to_string(),
                agent.client_secret.as_str(),
            )
        })
        .collect();
    assert_eq!(
        agents,
        [
            ("relay", "10d".to_owned(), "agent-eu-tls"),
            ("mesh", "20d".to_owned(), "agent-us-tls"),
        ]
    );
    assert!(!relay.tokens.forwarding);
}

#[test]
fn it_is_what_the_same_document_says() {
    let text = with_clusters(
        "    - { name: mgmt, role: management, agent: true, inCluster: {} }\n    \
         - { name: eu, role: workload, kubeconfig: { secretRef: { name: eu } }, validity: 7d }\n",
    )
    .replace("name: relay", "name: prod")
    .replace(
        "spec:\n",
        "spec:\n  namespace: mesh\n  root: { validity: 5y }\n",
    );
    let clusters = [
        ("eu", with(secret("eu"), json!({ "validity": "7d" }))),
        (
            "mgmt",
            json!({ "role": "management", "agent": true, "inCluster": {} }),
        ),
    ];
    let assembled = assembled(json!({ "root": { "validity": "5y" } }), &clusters).unwrap();
    assert_eq!(assembled.relay, parse(&text).unwrap());
}

#[test]
fn what_is_wrong_with_the_relay() {
    let spec = json!({
        "root": { "validity": "1y" },
        "agents": { "renewAt": 7 },
        "secrets": { "root": "ROOT" },
    });
    let error = assembled(spec, &[("eu", secret("eu"))]).unwrap_err();
    let found: Vec<String> = error.problems().iter().map(Problem::to_string).collect();
    assert_eq!(found.len(), 3, "{found:?}");
    for (line, start) in found.iter().zip([
        "Relay prod: spec.agents.renewAt: 7 is no renewal point; write",
        "Relay prod: spec.secrets.root: \"ROOT\" is no valid secret name; use",
        "Relay prod: spec.signer.validity 1y (the default) is not shorter than spec.root.validity",
    ]) {
        assert!(line.starts_with(start), "{line}");
    }
    let error = assembled(json!({ "agents": { "lifetime": "1d" }, "root": [] }), &[]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Relay prod: spec.root must be a map, and is a list; write its fields below it, or {}\n\
         Relay prod: unknown field \"lifetime\" in spec.agents; allowed here: delivery, keyType, \
         renewAt, schedule, validity"
    );
    // The clusters are objects of their own.
    let error = assembled(json!({ "clusters": [] }), &[]).unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("Relay prod: unknown field \"clusters\" in spec; allowed here: agents, "),
        "{text}"
    );
}

#[test]
fn a_broken_cluster_blocks_no_other() {
    let clusters = [
        ("a", secret("shared")),
        ("b", secret("shared")),
        ("c", with(secret("c"), json!({ "validity": "2y" }))),
        ("d", with(secret("d"), json!({ "agent": true }))),
        ("e", json!({ "directory": "e" })),
        ("f", json!({ "kubeconfig": { "file": "f" } })),
        ("g", json!({})),
        ("h", with(secret("h"), json!({ "color": "red" }))),
        ("10.0.0.1", secret("i")),
        ("j", json!({ "kubeconfig": "j" })),
        ("k", with(secret("k"), json!({ "inCluster": {} }))),
        ("l", json!({ "kubeconfig": {} })),
        ("m", json!({ "inCluster": {} })),
        ("management", secret("n")),
        ("n", with(secret("o"), json!({ "name": "n" }))),
        ("z", secret("z")),
    ];
    let assembled = assembled(json!({}), &clusters).unwrap();
    assert_eq!(names(&assembled.relay), ["management", "a", "z"]);
    let found = rejections(&assembled);
    let expected = [
        "RelayCluster 10.0.0.1: metadata.name: the cluster name \"10.0.0.1\" ends like an IP",
        "RelayCluster b: namespace \"mesh\" of the kubeconfig \"kubeconfig\" in Secret \"shared\" is \
         already that of cluster \"a\"; name another cluster",
        "RelayCluster c: spec.validity 2y is not shorter than the Relay's spec.signer.validity 1y",
        "RelayCluster d: spec.agent: a workload cluster always has an agent; remove it",
        "RelayCluster e: spec.directory is for documents only; write kubeconfig",
        "RelayCluster f: spec.kubeconfig.file is for documents only; write",
        "RelayCluster g: spec does not say where the cluster is; write kubeconfig: { secretRef",
        "RelayCluster h: unknown field \"color\" in spec; allowed here: agent, clientSecret, delivery, \
         inCluster, kubeconfig, namespace, relayServer, role, validity",
        "RelayCluster j: spec.kubeconfig must be a map, and is a single value",
        "RelayCluster k: spec says twice where the cluster is: kubeconfig and inCluster",
        "RelayCluster l: spec.kubeconfig names no Secret; write secretRef",
        "RelayCluster m: namespace \"mesh\" of the cluster that relay-pki runs in is already that of \
         cluster \"management\"",
        "RelayCluster management: \"management\" is the name of the cluster that the objects lie in",
        "RelayCluster n: unknown field \"name\" in spec",
    ];
    assert_eq!(found.len(), expected.len(), "{}", found.join("\n"));
    for (line, start) in found.iter().zip(expected) {
        assert!(line.starts_with(start), "{line}\nis not\n{start}");
    }
}

#[test]
fn the_cluster_around_the_objects() {
    let here = json!({ "role": "management", "inCluster": {}, "agent": true });
    let clusters = [
        ("a", secret("a")),
        ("management", secret("b")),
        ("mgmt", here.clone()),
        ("twin", here.clone()),
        ("apart", with(here.clone(), json!({ "namespace": "other" }))),
    ];
    let assembled_here = assembled(json!({ "namespace": "far" }), &clusters).unwrap();
    let relay = &assembled_here.relay;
    // It comes first, wherever its object stands; then any name is free.
    assert_eq!(names(relay), ["mgmt", "a", "management", "apart"]);
    let namespaces: Vec<&str> = relay
        .clusters
        .iter()
        .map(|c| c.namespace.as_str())
        .collect();
    assert_eq!(namespaces, ["mesh", "far", "far", "other"]);
    assert!(relay.home().agent.is_some());
    assert!(
        relay
            .server
            .names
            .iter()
            .any(|name| name.as_str() == "*.mesh")
    );
    let found = rejections(&assembled_here);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with("RelayCluster twin: namespace \"mesh\" of the cluster that relay-pki"),
        "{found:?}"
    );
    // While its object is wrong, it keeps its name: labels and records carry it.
    for broken in [json!({ "validity": "2y" }), json!({ "color": "red" })] {
        let clusters = [("mgmt", with(here.clone(), broken)), ("a", secret("a"))];
        let assembled = assembled(json!({}), &clusters).unwrap();
        assert_eq!(names(&assembled.relay), ["mgmt", "a"]);
        assert_eq!(assembled.relay.home().agent, None);
        assert_eq!(assembled.rejected.keys().collect::<Vec<_>>(), ["mgmt"]);
    }
}

#[test]
fn ten_thousand_clusters() {
    let clusters: Vec<_> = (0..10_000)
        .map(|n| {
            (
                format!("cluster-{n}"),
                map(secret(&format!("kubeconfig-{n}"))),
            )
        })
        .collect();
    let broken = map(json!({ "kubeconfig": [] }));
    let spec = map(json!({ "agents": { "schedule": "0 3 * * SUN" } }));
    let relay = RelayObject {
        name: "prod",
        namespace: "mesh",
        spec: &spec,
    };
    let time = |count: usize, spec: Option<&Map<String, Value>>| {
        let objects: Vec<_> = clusters[..count]
            .iter()
            .map(|(name, own)| ClusterObject {
                name,
                spec: spec.unwrap_or(own),
            })
            .collect();
        let start = Instant::now();
        let assembled = assemble(relay, &objects).unwrap();
        let (accepted, refused) = (assembled.relay.clusters.len() - 1, assembled.rejected.len());
        assert_eq!(accepted + refused, count);
        assert_eq!(refused > 0, spec.is_some());
        start.elapsed()
    };
    for spec in [None, Some(&broken)] {
        let (tenth, whole) = (time(1_000, spec), time(10_000, spec));
        // Far from linear is what this is about; the machine may be busy.
        assert!(whole < tenth * 40, "{tenth:?} became {whole:?}");
        assert!(whole.as_secs() < 30, "{whole:?}");
    }
}
