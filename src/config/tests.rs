#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use std::path::PathBuf;

use relay_pki_authority::x509::KeyType;

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
    - { name: mgmt-2, role: management, directory: /srv/mgmt-2 }
    - { name: c1, role: workload, directory: ./clusters/../c1/, delivery: push, clientSecret: own }
    - { name: c2, role: workload, directory: ../c2 }
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
    assert_eq!(relay.providers["local"], ProviderConfig::SelfSigned);
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
    assert_eq!(relay.management().count(), 2);
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
        ]
    );
    let directories: Vec<_> = relay
        .clusters
        .iter()
        .map(|cluster| match &cluster.location {
            Location::Directory(directory) => directory.to_str().unwrap(),
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

#[test]
fn what_is_no_relay_document() {
    for text in [
        "",
        "\n",
        "# nothing\n",
        "---\n",
        "\u{feff}# nothing\n---\n...\n",
    ] {
        let found = refused(text);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].starts_with("relay.yaml: the document is empty; "),
            "{found:?}"
        );
    }
    assert_refused(
        "just text\n",
        &[(
            "1:1",
            &["the document must be a map, and is a single value"],
        )],
    );
    assert_refused(
        "- a\n",
        &[("1:1", &["the document must be a map, and is a list"])],
    );
    assert_refused("a: [\n", &[("1:4", &["unclosed bracket"])]);
    assert_refused("a: b: c\n", &[("1:5", &[])]);
    // Another kind of object is not measured against a relay.
    assert_refused(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: x }\nspec: { replicas: 1 }\n",
        &[
            (
                "1:13",
                &[
                    "apiVersion is \"apps/v1\"",
                    "write apiVersion: relay-pki.dev/v1alpha1",
                ],
            ),
            ("2:7", &["kind is \"Deployment\"", "write kind: Relay"]),
        ],
    );
    let later = minimal("").replace("v1alpha1", "v1beta1");
    assert_refused(
        &later,
        &[("1:13", &["relay-pki.dev/v1beta1", "write apiVersion"])],
    );
    assert_refused(
        "{}",
        &[
            ("1:1", &["has no \"apiVersion\""]),
            ("1:1", &["has no \"kind\""]),
            ("1:1", &["has no \"metadata\""]),
            ("1:1", &["has no \"spec\""]),
        ],
    );
}

#[test]
fn several_documents() {
    let two = format!("{}---\n{}", minimal(""), minimal(""));
    assert_refused(
        &two,
        &[("9:1", &["a second document", "one Relay in a file"])],
    );
    assert!(parse(&format!("---\n{}...\n", minimal(""))).is_ok());
}

#[test]
fn unknown_fields_twice_written_and_missing_ones_all_at_once() {
    let text = "\
apiVersion: relay-pki.dev/v1alpha1
kind: Relay
metadata: { name: relay, labels: {} }
spec:
  agents:
    renewat: 0.5
    validity: 30d
    validity: 31d
  rotation: { safeMode: true }
  providers:
    corp: { vault: { address: https://vault } }
    corp: {}
  server: [a]
  root: 10y
  clusters:
    - { name: mgmt, role: management, kubeconfig: {} }
    - c1
    - name:
      role: workload
      directory: c1
status: {}
";
    assert_refused(
        text,
        &[
            (
                "3:26",
                &["unknown field \"labels\" in metadata", "allowed here: name"],
            ),
            (
                "6:5",
                &[
                    "unknown field \"renewat\" in spec.agents",
                    "did you mean \"renewAt\"?",
                ],
            ),
            ("8:5", &["spec.agents.validity is written twice"]),
            (
                "9:3",
                &[
                    "unknown field \"rotation\" in spec",
                    "allowed here: agents, clusters, namespace, providers, root, secrets, server, signer, tokens",
                ],
            ),
            (
                "11:13",
                &[
                    "unknown field \"vault\" in spec.providers.corp",
                    "allowed here: selfSigned",
                ],
            ),
            ("12:5", &["spec.providers.corp is written twice"]),
            ("13:11", &["spec.server must be a map, and is a list"]),
            ("14:9", &["spec.root must be a map, and is a single value"]),
            (
                "16:7",
                &["spec.clusters[0] has no \"directory\"", "write directory: "],
            ),
            (
                "16:39",
                &["unknown field \"kubeconfig\" in spec.clusters[0]"],
            ),
            (
                "17:7",
                &["spec.clusters[1] must be a map, and is a single value"],
            ),
            (
                "18:11",
                &["spec.clusters[2].name must be a single value, and is empty"],
            ),
            ("21:1", &["unknown field \"status\" in the document"]),
        ],
    );
}

#[test]
fn every_bad_value_at_its_place() {
    let text = "\
apiVersion: relay-pki.dev/v1alpha1
kind: Relay
metadata: { name: My_Relay }
spec:
  namespace: a.b
  providers: { Local: { selfSigned: {} } }
  root: { keyType: ecdsa-p257, validity: 10 }
  signer: { renewAt: 1.5, schedule: '@reboot' }
  server: { extraDnsNames: [good.example, 'bad name'] }
  agents: { delivery: pull, renewAt: soon }
  secrets: { root: Root, client: agent-<name> }
  clusters:
    - { name: 10.0.0.1, role: managment, directory: a }
    - { name: b, role: management, directory: '', agent: yes }
";
    assert_refused(
        text,
        &[
            (
                "3:19",
                &["metadata.name: \"My_Relay\" is no valid name", "lower-case"],
            ),
            ("5:14", &["spec.namespace: the name \"a.b\" has a dot"]),
            (
                "6:23",
                &["spec.providers: \"Local\" is no valid provider name"],
            ),
            (
                "7:20",
                &[
                    "spec.root.keyType: \"ecdsa-p257\" is no key type",
                    "did you mean \"ecdsa-p256\"?",
                ],
            ),
            (
                "7:42",
                &[
                    "spec.root.validity: \"10\" is no lifetime: the unit",
                    "write for example 1y",
                ],
            ),
            ("8:22", &["spec.signer.renewAt: 1.5", "0.66"]),
            ("8:37", &["spec.signer.schedule: \"@reboot\"", "@daily"]),
            (
                "9:43",
                &["spec.server.extraDnsNames: \"bad name\" is no valid DNS name"],
            ),
            (
                "10:23",
                &["spec.agents.delivery: \"pull\"", "push, server-signed"],
            ),
            ("10:38", &["spec.agents.renewAt: \"soon\" is no number"]),
            (
                "11:20",
                &["spec.secrets.root: \"Root\" is no valid secret name"],
            ),
            (
                "11:34",
                &[
                    "spec.secrets.client: \"agent-<name>\"",
                    "<cluster> stands for",
                ],
            ),
            (
                "13:15",
                &["spec.clusters[0].name: the cluster name \"10.0.0.1\" ends like an IP"],
            ),
            (
                "13:31",
                &[
                    "spec.clusters[0].role: \"managment\"",
                    "did you mean \"management\"?",
                ],
            ),
            ("14:47", &["spec.clusters[1].directory"]),
            (
                "14:58",
                &["spec.clusters[1].agent: \"yes\" is neither true nor false"],
            ),
        ],
    );
}

#[test]
fn lifetimes_have_to_fit_into_each_other() {
    for (spec, place, parts) in [
        (
            "  root: { validity: 1y }\n",
            "5:21",
            [
                "spec.signer.validity 1y (the default)",
                "not shorter than spec.root.validity 1y",
            ],
        ),
        (
            "  signer: { validity: 90d }\n",
            "5:23",
            [
                "spec.server.validity 90d (the default)",
                "spec.signer.validity 90d",
            ],
        ),
        (
            "  server: { validity: 400d }\n",
            "5:23",
            ["spec.server.validity 400d", "1y (the default)"],
        ),
        (
            "  agents: { validity: 1y }\n",
            "5:23",
            ["spec.agents.validity 1y", "1y (the default)"],
        ),
        (
            "  agents: { validity: 9m59s }\n",
            "5:23",
            ["599s is too short", "write 10m or more"],
        ),
        (
            "  server: { validity: 1m }\n",
            "5:23",
            ["1m is too short", "write 10m or more"],
        ),
        (
            "  signer: { validity: 59m }\n",
            "5:23",
            ["59m is too short", "write 1h or more"],
        ),
        (
            "  root: { validity: 23h }\n",
            "5:21",
            ["23h is too short", "write 1d or more"],
        ),
    ] {
        assert_refused(&minimal(spec), &[(place, &parts)]);
    }
    let short = "  root: { validity: 1d }\n  signer: { validity: 1h }\n  server: { validity: 10m }\n  \
                 agents: { validity: 10m }\n";
    assert!(parse(&minimal(short)).is_ok());
    let cluster = minimal("").replace("directory: c1", "directory: c1, validity: 2y");
    assert_refused(
        &cluster,
        &[(
            "7:60",
            &["spec.clusters[1].validity 2y is not shorter than spec.signer.validity 1y"],
        )],
    );
    // Not said twice: what cannot be read is compared with nothing.
    let broken = minimal("  signer: { validity: 1 }\n  server: { validity: 50y }\n");
    assert_refused(&broken, &[("5:23", &["is no lifetime"])]);
}

#[test]
fn schedules_have_to_fire_in_time() {
    // The example of the design: 30 d × (0.9 − 0.66) = 7 d 4 h 48 m, and a week fits.
    let weekly = "  agents: { validity: 30d, renewAt: 0.66, schedule: 0 3 * * SUN }\n";
    assert!(parse(&minimal(weekly)).is_ok());
    // Exactly as long as there is time: 70 d × 0.1.
    let exact = "  agents: { validity: 70d, renewAt: 0.8, schedule: '@weekly' }\n";
    assert!(parse(&minimal(exact)).is_ok());
    for (spec, place, parts) in [
        (
            "  agents: { schedule: '@monthly' }\n",
            "5:23",
            [
                "\"@monthly\" leaves up to 31d",
                "renewAt 0.66 a certificate of 30d can wait 7d4h48m",
            ],
        ),
        (
            "  server: { renewAt: 0.95, schedule: '@daily' }\n",
            "5:38",
            ["leaves up to 1d", "of 90d can wait 0s"],
        ),
        (
            "  signer: { schedule: 0 0 29 2 * }\n",
            "5:23",
            ["leaves up to 4y1d", "of 1y can wait"],
        ),
    ] {
        assert_refused(&minimal(spec), &[(place, &parts)]);
    }
    let cluster = minimal(weekly).replace("directory: c1", "directory: c1, validity: 12h");
    assert_refused(
        &cluster,
        &[(
            "8:60",
            &[
                "spec.clusters[1]: the schedule",
                "leaves up to 7d",
                "of 12h can wait",
            ],
        )],
    );
}

#[test]
fn providers_are_referred_to_by_name() {
    let two = "  providers: { one: { selfSigned: {} }, two: { selfSigned: {} } }\n";
    let neither = format!("{two}  root: {{ validity: 10y }}\n");
    assert_refused(
        &minimal(&neither),
        &[
            (
                "5:3",
                &[
                    "spec.signer does not say which of 2 providers",
                    "one of one, two",
                ],
            ),
            (
                "6:9",
                &[
                    "spec.root does not say which of 2 providers",
                    "one of one, two",
                ],
            ),
        ],
    );
    let wrong = format!("{two}  root: {{ provider: twoo }}\n  signer: {{ provider: vault }}\n");
    assert_refused(
        &minimal(&wrong),
        &[
            (
                "6:21",
                &["there is no provider \"twoo\"", "did you mean \"two\"?"],
            ),
            (
                "7:23",
                &[
                    "there is no provider \"vault\"",
                    "spec.providers has one, two",
                ],
            ),
        ],
    );
    assert_refused(
        &minimal("  providers: {}\n"),
        &[("5:14", &["spec.providers is empty"])],
    );
    assert_refused(
        &minimal("  providers: { one: {} }\n"),
        &[(
            "5:21",
            &["spec.providers.one says nothing", "selfSigned: {}"],
        )],
    );
    assert_refused(
        &minimal("  providers: { one: }\n"),
        &[("5:19", &["spec.providers.one must be a map, and is empty"])],
    );
    let one = parse(&minimal("  providers: { mine: { selfSigned: {} } }\n")).unwrap();
    assert_eq!(
        (one.root.provider.as_str(), one.signer.provider.as_str()),
        ("mine", "mine")
    );
}

fn with_clusters(clusters: &str) -> String {
    format!(
        "apiVersion: relay-pki.dev/v1alpha1\nkind: Relay\nmetadata: {{ name: relay }}\nspec:\n  \
         clusters:\n{clusters}"
    )
}

#[test]
fn fleets_that_cannot_be() {
    let none = with_clusters("    []\n");
    assert_refused(
        &none,
        &[("6:5", &["spec.clusters is empty", "role: management"])],
    );
    let unmanaged = with_clusters("    - { name: c1, role: workload, directory: c1 }\n");
    assert_refused(
        &unmanaged,
        &[("6:5", &["has no management cluster", "role: management"])],
    );
    let same = with_clusters(
        "    - { name: a, role: management, directory: x/y }\n    \
         - { name: a, role: workload, directory: y }\n    \
         - { name: b, role: workload, directory: ./x/z/../y/ }\n    \
         - { name: c, role: workload, directory: /fleet/y }\n",
    );
    assert_refused(
        &same,
        &[
            ("7:15", &["the cluster \"a\" is already in line 6"]),
            (
                "8:45",
                &["\"./x/z/../y/\" is already that of cluster \"a\" in line 6"],
            ),
            (
                "9:45",
                &["\"/fleet/y\" is already that of cluster \"a\" in line 7"],
            ),
        ],
    );
}

#[test]
fn settings_of_agents_that_are_not_there_are_refused() {
    let text = with_clusters(
        "    - { name: a, role: management, directory: a, delivery: push, validity: 1d, clientSecret: x }\n    \
         - { name: b, role: management, directory: b, agent: false, validity: 1d }\n    \
         - { name: c, role: workload, directory: c, agent: true }\n    \
         - { name: d, role: workload, directory: d, delivery: server-signed, validity: 1d }\n",
    );
    assert_refused(
        &text,
        &[
            ("6:60", &["delivery has no effect", "agent: true"]),
            ("6:76", &["validity has no effect"]),
            ("6:94", &["clientSecret has no effect"]),
            ("7:74", &["validity has no effect"]),
            (
                "8:55",
                &["a workload cluster always has an agent", "remove it"],
            ),
            (
                "9:83",
                &["the relay server signs this agent itself", "delivery: push"],
            ),
        ],
    );
}

#[test]
fn secrets_of_one_cluster_have_different_names() {
    assert_refused(
        &minimal("  secrets: { signing: relay-root-tls-secret }\n"),
        &[(
            "5:23",
            &["\"root\" and \"signing\" would both be \"relay-root-tls-secret\""],
        )],
    );
    // Said once, not in every cluster.
    let client = minimal("  secrets: { client: relay-root-tls-secret }\n");
    let more = format!("{client}    - {{ name: c2, role: workload, directory: c2 }}\n");
    assert_refused(&more, &[("5:22", &["\"root\" and \"client\""])]);
    // The server's secret is not in a workload cluster.
    assert!(parse(&minimal("  secrets: { client: relay-server-tls-secret }\n")).is_ok());
    let beside = minimal("  secrets: { client: relay-server-tls-secret }\n")
        .replace("directory: mgmt", "directory: mgmt, agent: true");
    assert_refused(&beside, &[("5:22", &["\"server\" and \"client\""])]);
    let own = minimal("").replace(
        "directory: c1",
        "directory: c1, clientSecret: relay-identity-token-secret",
    );
    assert_refused(&own, &[("7:64", &["\"identityToken\" and \"client\""])]);
    let unused =
        "  tokens: { identity: {} }\n  secrets: { forwardingToken: relay-root-tls-secret }\n";
    assert_refused(
        &minimal(unused),
        &[("6:31", &["forwardingToken has no effect"])],
    );
    let long = minimal(&format!(
        "  secrets: {{ client: {}-<cluster> }}\n",
        "a".repeat(251)
    ));
    assert_refused(
        &long,
        &[(
            "5:22",
            &["spec.clusters[1]", "254 characters", "at most 253"],
        )],
    );
}

#[test]
fn shows_twenty_problems_and_counts_the_rest() {
    let clusters: String = (0..50)
        .map(|n| format!("    - {{ name: C{n}, role: management, directory: d{n} }}\n"))
        .collect();
    let error = parse(&with_clusters(&clusters)).unwrap_err();
    assert_eq!((error.problems().len(), error.omitted()), (20, 30));
    assert_eq!(error.problems()[0].line, Some(6));
    assert!(error.to_string().ends_with("\nand 30 more"));
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
    let Location::Directory(home) = &relay.home().location;
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

/// `cargo test --release -p relay-pki --lib -- --ignored --nocapture ten_thousand`
#[test]
#[ignore = "prints a time; tests do not depend on one"]
#[allow(clippy::print_stdout)]
fn ten_thousand_clusters() {
    let mut text = minimal("  agents: { schedule: '0 3 * * SUN' }\n");
    for n in 0..10_000 {
        text.push_str(&format!(
            "    - name: cluster-{n}\n      role: workload\n      directory: clusters/cluster-{n}\n      validity: 31d\n"
        ));
    }
    let start = std::time::Instant::now();
    let relay = parse(&text).unwrap();
    println!("{} clusters in {:?}", relay.clusters.len(), start.elapsed());
    let broken = text.replace("validity: 31d", "lifetime: 31d");
    let start = std::time::Instant::now();
    let error = parse(&broken).unwrap_err();
    println!(
        "{} problems in {:?}",
        error.problems().len() + error.omitted(),
        start.elapsed()
    );
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
