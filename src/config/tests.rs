#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

mod aws_private_ca;
mod cert_manager;
mod checks;
mod fleet;
mod gcp_cas;
mod locations;
mod objects;
mod structure;

use std::collections::BTreeMap;
use std::path::PathBuf;

use relay_pki_authority::x509::KeyType;
use serde_json::json;

use super::*;

/// Every field that there is.
pub(super) const FULL: &str = "\
apiVersion: relay-pki.dev/v1alpha1
kind: Relay
metadata: { name: production }
spec:
  namespace: relay
  providers:
    offline: { selfSigned: {} }
    local: { selfSigned: {} }
  root: { provider: offline, keyType: ecdsa-p384, validity: 20y }
  signer: { provider: local, keyType: rsa-4096, validity: 2y, renewAt: 0.5, schedule: '@monthly' }
  server:
    validity: 180d
    keyType: rsa-2048
    extraDnsNames: [relay.example.com, '*.relay', relay.example.com]
    renewAt: 0.6
    schedule: 0 3 * * SUN
  agents: { delivery: server-signed, validity: 60d, keyType: ed25519, renewAt: 0.7, schedule: '@daily' }
  tokens: { identity: {}, forwarding: {} }
  secrets:
    root: root
    signing: signing
    server: server
    client: agent-<cluster>-tls
    identityToken: identity
    forwardingToken: forwarding
  clusters:
    - { name: mgmt, role: management, directory: clusters/mgmt, agent: true, delivery: push, validity: 20d }
    - { name: mgmt-2, role: management, directory: /srv/mgmt-2, relayServer: { address: 'relay-2:9900', metrics: 'http://relay-2:9091/metrics' } }
    - { name: c1, role: workload, directory: ./clusters/../c1/, delivery: push, clientSecret: own }
    - { name: c2, role: workload, directory: ../c2 }
    - { name: c3, role: workload, kubeconfig: { file: kube/c3, context: c3 }, namespace: relay-3 }
    - { name: c4, role: workload, kubeconfig: { secretRef: { name: c4, key: value } } }
    - { name: c5, role: workload, inCluster: {} }
";

fn minimal(spec: &str) -> String {
    format!(
        "apiVersion: relay-pki.dev/v1alpha1\nkind: Relay\nmetadata: {{ name: relay }}\nspec:\n\
         {spec}  clusters:\n    - {{ name: mgmt, role: management, directory: mgmt }}\n    \
         - {{ name: c1, role: workload, directory: c1 }}\n"
    )
}

fn parse(text: &str) -> Result<Relay, ConfigError> {
    Relay::parse(text, "relay.yaml", Path::new("/fleet"))
}

fn refused(text: &str) -> Vec<String> {
    let error = parse(text).expect_err("the document was accepted");
    let lines: Vec<String> = error.problems().iter().map(Problem::to_string).collect();
    for line in &lines {
        assert!(line.starts_with("relay.yaml:"), "{line}");
    }
    lines
}

/// Checks that exactly these problems are found; each is `line:column`, then parts of the text.
#[track_caller]
fn assert_refused(text: &str, expected: &[(&str, &[&str])]) {
    let found = refused(text);
    let all = found.join("\n");
    assert_eq!(found.len(), expected.len(), "{all}\nin\n{text}");
    for (line, (place, parts)) in found.iter().zip(expected) {
        let start = format!("relay.yaml:{place}: ");
        assert!(line.starts_with(&start), "expected {start} in\n{all}");
        for part in *parts {
            assert!(line.contains(part), "expected {part:?} in\n{all}");
        }
    }
}

/// Reads a Relay of the API whose provider `corp` is this one.
fn of_objects(provider: serde_json::Value) -> Result<Relay, ConfigError> {
    let spec = json!({ "providers": { "corp": provider } });
    let cluster = json!({ "role": "management", "inCluster": {} });
    let relay = RelayObject {
        name: "prod",
        namespace: "mesh",
        spec: spec.as_object().unwrap(),
    };
    let clusters = [ClusterObject {
        name: "mgmt",
        spec: cluster.as_object().unwrap(),
    }];
    assemble(relay, &clusters).map(|assembled| assembled.relay)
}

fn lifetime(text: &str) -> Lifetime {
    text.parse().unwrap()
}

#[test]
fn defaults() {
    let relay = parse(&minimal("")).unwrap();
    assert_eq!(
        (relay.name.as_str(), relay.namespace.as_str()),
        ("relay", "gloo-mesh")
    );
    assert_eq!(relay.providers.keys().collect::<Vec<_>>(), ["local"]);
    let local = ProviderConfig::SelfSigned {
        encryption_key: None,
        previous_encryption_key: None,
    };
    assert_eq!(relay.providers["local"], local);
    assert_eq!(
        relay.root,
        RootSpec {
            provider: "local".to_owned(),
            key_type: KeyType::EcdsaP256,
            validity: lifetime("10y"),
        }
    );
    assert_eq!(
        (relay.signer.provider.as_str(), relay.signer.validity),
        ("local", lifetime("1y"))
    );
    assert_eq!(relay.signer.renewal.at.share(), 0.66);
    assert_eq!(relay.server.validity, lifetime("90d"));
    let names: Vec<&str> = relay
        .server
        .names
        .iter()
        .map(|name| name.as_str())
        .collect();
    assert_eq!(names, ["gloo-mesh-mgmt-server.gloo-mesh", "*.gloo-mesh"]);
    assert!(relay.tokens.forwarding);
    assert_eq!(relay.secrets, SecretNames::default());
    assert_eq!(relay.home().name.as_str(), "mgmt");
    assert_eq!(relay.home().agent, None);
    let agents: Vec<_> = relay.agents().collect();
    assert_eq!(agents.len(), 1);
    let (cluster, agent) = agents[0];
    assert_eq!(
        (cluster.name.as_str(), cluster.role),
        ("c1", Role::Workload)
    );
    assert_eq!(
        cluster.location,
        Location::Directory(PathBuf::from("/fleet/c1"))
    );
    assert_eq!(
        *agent,
        AgentSpec {
            delivery: Delivery::Push,
            validity: lifetime("30d"),
            key_type: KeyType::EcdsaP256,
            renewal: crate::renewal::Renewal::default(),
            client_secret: "relay-client-tls-secret".to_owned(),
        }
    );
}

#[test]
fn every_field_is_taken_over() {
    let relay = parse(FULL).unwrap();
    assert_eq!(
        (relay.name.as_str(), relay.namespace.as_str()),
        ("production", "relay")
    );
    assert_eq!(
        relay.providers.keys().collect::<Vec<_>>(),
        ["local", "offline"]
    );
    assert_eq!(
        (relay.root.provider.as_str(), relay.root.key_type),
        ("offline", KeyType::EcdsaP384)
    );
    assert_eq!(relay.root.validity, lifetime("20y"));
    assert_eq!(
        (relay.signer.provider.as_str(), relay.signer.key_type),
        ("local", KeyType::Rsa4096)
    );
    assert_eq!(relay.signer.validity, lifetime("2y"));
    assert_eq!(relay.signer.renewal.at.share(), 0.5);
    assert_eq!(
        relay.signer.renewal.schedule.as_ref().unwrap().as_str(),
        "@monthly"
    );
    assert_eq!(
        (relay.server.validity, relay.server.key_type),
        (lifetime("180d"), KeyType::Rsa2048)
    );
    let names: Vec<&str> = relay
        .server
        .names
        .iter()
        .map(|name| name.as_str())
        .collect();
    assert_eq!(
        names,
        [
            "gloo-mesh-mgmt-server.relay",
            "*.relay",
            "relay.example.com"
        ]
    );
    assert_eq!(relay.server.renewal.at.share(), 0.6);
    assert_eq!(
        relay.server.renewal.schedule.as_ref().unwrap().as_str(),
        "0 3 * * SUN"
    );
    let secrets = &relay.secrets;
    assert_eq!(
        [
            &secrets.root,
            &secrets.signing,
            &secrets.server,
            &secrets.client,
            &secrets.identity_token,
            &secrets.forwarding_token
        ],
        [
            "root",
            "signing",
            "server",
            "agent-<cluster>-tls",
            "identity",
            "forwarding"
        ]
    );
    let servers: Vec<_> = relay.management().map(|spec| &spec.relay_server).collect();
    assert_eq!(*servers[0], RelayServer::default());
    let address = servers[1].address.as_ref().map(ToString::to_string);
    assert_eq!(address.as_deref(), Some("relay-2:9900"));
    let metrics = servers[1].metrics.as_ref().map(ToString::to_string);
    assert_eq!(metrics.as_deref(), Some("http://relay-2:9091/metrics"));
    let agents: Vec<_> = relay
        .agents()
        .map(|(cluster, agent)| {
            assert_eq!(agent.key_type, KeyType::Ed25519);
            assert_eq!(agent.renewal.at.share(), 0.7);
            assert_eq!(agent.renewal.schedule.as_ref().unwrap().as_str(), "@daily");
            let secret = agent.client_secret.as_str();
            (
                cluster.name.as_str(),
                agent.delivery,
                agent.validity.to_string(),
                secret,
            )
        })
        .collect();
    assert_eq!(
        agents,
        [
            ("mgmt", Delivery::Push, "20d".to_owned(), "agent-mgmt-tls"),
            ("c1", Delivery::Push, "60d".to_owned(), "own"),
            (
                "c2",
                Delivery::ServerSigned,
                "60d".to_owned(),
                "agent-c2-tls"
            ),
            (
                "c3",
                Delivery::ServerSigned,
                "60d".to_owned(),
                "agent-c3-tls"
            ),
            (
                "c4",
                Delivery::ServerSigned,
                "60d".to_owned(),
                "agent-c4-tls"
            ),
            (
                "c5",
                Delivery::ServerSigned,
                "60d".to_owned(),
                "agent-c5-tls"
            ),
        ]
    );
    let directories: Vec<_> = relay
        .clusters
        .iter()
        .filter_map(|cluster| match &cluster.location {
            Location::Directory(directory) => directory.to_str(),
            _ => None,
        })
        .collect();
    assert_eq!(
        directories,
        [
            "/fleet/clusters/mgmt",
            "/srv/mgmt-2",
            "/fleet/./clusters/../c1/",
            "/fleet/../c2"
        ]
    );
}

#[test]
fn the_schema_tells_the_defaults_that_hold() {
    let schema = json_schema();
    let default = |section: &str, field: &str| {
        let value = schema["$defs"][section]["properties"][field]["default"].clone();
        value
            .as_str()
            .map(str::to_owned)
            .unwrap_or(value.to_string())
    };
    let relay = parse(&minimal("")).unwrap();
    let (_, agent) = relay.agents().next().unwrap();
    for (section, validity, key_type) in [
        ("Root", relay.root.validity, relay.root.key_type),
        ("Signer", relay.signer.validity, relay.signer.key_type),
        ("Server", relay.server.validity, relay.server.key_type),
        ("Agents", agent.validity, agent.key_type),
    ] {
        assert_eq!(
            default(section, "validity"),
            validity.to_string(),
            "{section}"
        );
        assert_eq!(
            default(section, "keyType"),
            key_type.to_string(),
            "{section}"
        );
    }
    for section in ["Signer", "Server", "Agents"] {
        assert_eq!(default(section, "renewAt"), "0.66", "{section}");
    }
    assert_eq!(default("Agents", "delivery"), agent.delivery.to_string());
    assert_eq!(default("Spec", "namespace"), relay.namespace);
    for (field, name) in [
        ("root", &relay.secrets.root),
        ("signing", &relay.secrets.signing),
        ("server", &relay.secrets.server),
        ("client", &relay.secrets.client),
        ("identityToken", &relay.secrets.identity_token),
        ("forwardingToken", &relay.secrets.forwarding_token),
    ] {
        assert_eq!(default("Secrets", field), *name);
    }
}

#[test]
fn tokens() {
    for (spec, forwarding) in [
        ("", true),
        ("  tokens:\n", true),
        ("  tokens: { identity: {} }\n", false),
        ("  tokens: { identity: {}, forwarding: null }\n", false),
        ("  tokens: { identity: {}, forwarding: {} }\n", true),
    ] {
        assert_eq!(
            parse(&minimal(spec)).unwrap().tokens.forwarding,
            forwarding,
            "{spec}"
        );
    }
    let without = minimal("  tokens: { forwarding: {} }\n");
    assert_refused(
        &without,
        &[(
            "5:11",
            &["spec.tokens has no \"identity\"", "write identity"],
        )],
    );
}

fn with_clusters(clusters: &str) -> String {
    format!(
        "apiVersion: relay-pki.dev/v1alpha1\nkind: Relay\nmetadata: {{ name: relay }}\nspec:\n  \
         clusters:\n{clusters}"
    )
}

#[test]
fn yaml_that_is_a_trap_elsewhere() {
    // "no" is a name and not false; a name that looks like a number is text too.
    let text = minimal("")
        .replace("name: c1", "name: no")
        .replace("name: relay", "name: 7e3");
    let relay = parse(&text).unwrap();
    assert_eq!(
        (relay.name.as_str(), relay.clusters[1].name.as_str()),
        ("7e3", "no")
    );
    // Anchors and merges work, and what comes out of them is reported where it is used.
    let anchored = with_clusters(
        "    - { name: a, role: management, directory: &d dir }\n    \
         - { name: b, role: workload, directory: *d }\n",
    );
    assert_refused(
        &anchored,
        &[(
            "7:45",
            &["\"dir\" is already that of cluster \"a\" in line 6"],
        )],
    );
    let windows = minimal("").replace('\n', "\r\n");
    assert!(parse(&windows).is_ok());
    assert!(parse(&format!("\u{feff}{}", minimal(""))).is_ok());
    let bomb = with_clusters(
        "    - &a [x, x, x, x, x, x, x, x, x]\n    - &b [*a, *a, *a, *a, *a, *a, *a, *a, *a]\n    \
         - &c [*b, *b, *b, *b, *b, *b, *b, *b, *b]\n    - &d [*c, *c, *c, *c, *c, *c, *c, *c, *c]\n    \
         - &e [*d, *d, *d, *d, *d, *d, *d, *d, *d]\n    - &f [*e, *e, *e, *e, *e, *e, *e, *e, *e]\n    \
         - &g [*f, *f, *f, *f, *f, *f, *f, *f, *f]\n    - &h [*g, *g, *g, *g, *g, *g, *g, *g, *g]\n",
    );
    assert!(parse(&bomb).is_err());
}

#[test]
fn loads_files() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("relay.yaml");
    std::fs::write(&path, minimal("")).unwrap();
    let relay = Relay::load(&path).unwrap();
    let Location::Directory(home) = &relay.home().location else {
        panic!("{:?}", relay.home().location)
    };
    assert_eq!(*home, directory.path().join("mgmt"));

    std::fs::write(&path, b"apiVersion: x\nkind: R\xe9lay\n").unwrap();
    let error = Relay::load(&path).unwrap_err();
    let problem = &error.problems()[0];
    assert_eq!((problem.line, problem.column), (Some(2), Some(8)));
    assert!(problem.message.contains("not UTF-8"), "{problem}");

    let mut large = minimal("").into_bytes();
    large.resize(MAX_SIZE + 1, b'#');
    std::fs::write(&path, &large).unwrap();
    let error = Relay::load(&path).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("larger than 16 MiB; split the fleet into several relays")
    );

    let error = Relay::load(&directory.path().join("absent.yaml")).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("absent.yaml: cannot read the document: "),
        "{error}"
    );
    let error = Relay::load(directory.path()).unwrap_err();
    assert!(
        error.to_string().contains("cannot read the document"),
        "{error}"
    );
}

#[test]
fn ten_thousand_clusters_are_read_and_their_problems_bounded() {
    let mut text = minimal("  agents: { schedule: '0 3 * * SUN' }\n");
    for n in 0..10_000 {
        text.push_str(&format!(
            "    - name: cluster-{n}\n      role: workload\n      directory: clusters/cluster-{n}\n      validity: 31d\n"
        ));
    }
    assert!(parse(&text).unwrap().clusters.len() > 10_000);
    let broken = text.replace("validity: 31d", "lifetime: 31d");
    let error = parse(&broken).unwrap_err();
    assert_eq!(error.problems().len(), 20);
    assert_eq!(error.problems().len() + error.omitted(), 10_000);
}

proptest::proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,200}") {
        let _ = parse(&text);
    }

    #[test]
    fn any_cut_or_mangled_document_is_read_or_refused(
        at in 0..FULL.len(), length in 0..40usize, put in "[ \\n{}\\[\\],:&*!|>'\"a0-]{0,4}",
    ) {
        let end = (at + length).min(FULL.len());
        let text = format!("{}{put}{}", &FULL[..at], &FULL[end..]);
        if let Err(error) = parse(&text) {
            proptest::prop_assert!(!error.problems().is_empty(), "{text}");
        }
    }
}
