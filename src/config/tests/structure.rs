//! Documents that are written wrongly.

use super::*;

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
  rotations: { safeMode: true }
  providers:
    corp: { vualt: { address: https://vault } }
    corp: {}
  server: [a]
  root: 10y
  clusters:
    - { role: management, kubeconfig: { contxt: a } }
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
                    "unknown field \"rotations\" in spec",
                    "did you mean \"rotation\"?",
                ],
            ),
            (
                "11:13",
                &[
                    "unknown field \"vualt\" in spec.providers.corp",
                    "allowed here: awsPrivateCa, certManager, gcpCas, offline, selfSigned, vault",
                ],
            ),
            ("12:5", &["spec.providers.corp is written twice"]),
            ("13:11", &["spec.server must be a map, and is a list"]),
            ("14:9", &["spec.root must be a map, and is a single value"]),
            (
                "16:7",
                &["spec.clusters[0] has no \"name\"", "write name: "],
            ),
            (
                "16:41",
                &[
                    "unknown field \"contxt\" in spec.clusters[0].kubeconfig",
                    "did you mean \"context\"?",
                ],
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
fn nothing_written_is_the_default_also_in_a_broken_document() {
    let nothing: String = [
        "namespace",
        "providers",
        "root",
        "signer",
        "server",
        "agents",
        "tokens",
        "secrets",
    ]
    .iter()
    .map(|field| format!("  {field}:\n"))
    .collect();
    assert_eq!(
        parse(&minimal(&nothing)).unwrap(),
        parse(&minimal("")).unwrap()
    );
    let broken = minimal(&format!(
        "{nothing}  server: {{ extraDnsNames: null, name: x }}\n"
    ));
    let broken = broken.replace("  server:\n", "");
    assert_refused(
        &broken,
        &[("12:34", &["unknown field \"name\" in spec.server"])],
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
    - { name: c, role: management, directory: c, relayServer: { address: relay, metrics: 'https://relay' } }
    - { name: d, role: workload, directory: d, relayServer: {} }
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
            (
                "15:74",
                &[
                    "spec.clusters[2].relayServer.address: \"relay\" is no address with a port",
                    "gloo-mesh-mgmt-server.gloo-mesh:9900",
                ],
            ),
            (
                "15:90",
                &["spec.clusters[2].relayServer.metrics: \"https://relay\" is no URL with http://"],
            ),
            (
                "16:61",
                &["spec.clusters[3].relayServer: no relay server runs in a workload cluster"],
            ),
        ],
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
