//! The Helm values that go with the Secrets.

use serde_json::{Value, json};

use crate::support::fleet::Fleet;

const SPEC: &str = "  namespace: relay
  secrets: { client: 'agent-<cluster>-cert', server: my-server }
  clusters:
    - { name: mgmt, role: management, directory: clusters/mgmt }
    - { name: pushed, role: workload, directory: clusters/pushed }
    - { name: signed, role: workload, directory: clusters/signed, delivery: server-signed }
";

fn values(fleet: &Fleet, cluster: &str) -> Value {
    let run = fleet.done(&[
        "values",
        cluster,
        "--server-address",
        "relay.example.com:9900",
    ]);
    let yaml: Value = serde_saphyr::from_str(&run.stdout).unwrap();
    let run = fleet.done(&[
        "values",
        cluster,
        "--server-address",
        "relay.example.com:9900",
        "--output",
        "json",
    ]);
    assert_eq!(yaml, run.json(), "the same in both notations");
    yaml
}

#[test]
fn a_pushed_agent_uses_its_secret_and_no_token() {
    let fleet = Fleet::new(SPEC);
    let values = values(&fleet, "pushed");
    assert_eq!(values["common"]["cluster"], "pushed");
    assert_eq!(values["common"]["insecure"], false);
    assert!(values.get("glooMgmtServer").is_none());
    let relay = &values["glooAgent"]["relay"];
    assert_eq!(relay["serverAddress"], "relay.example.com:9900");
    assert_eq!(relay["authority"], "gloo-mesh-mgmt-server.relay");
    let expected = json!({ "name": "agent-pushed-cert", "namespace": "relay" });
    assert_eq!(relay["clientTlsSecret"], expected);
    let expected = json!({ "name": "relay-root-tls-secret", "namespace": "relay" });
    assert_eq!(relay["rootTlsSecret"], expected);
    // With nulls, or the chart's default comes back.
    let nothing = json!({ "name": null, "namespace": null, "key": null });
    assert_eq!(relay["tokenSecret"], nothing);
}

#[test]
fn a_server_signed_agent_introduces_itself_with_the_token() {
    let fleet = Fleet::new(SPEC);
    let values = values(&fleet, "signed");
    let expected = json!({
        "name": "relay-identity-token-secret", "namespace": "relay", "key": "token",
    });
    assert_eq!(values["glooAgent"]["relay"]["tokenSecret"], expected);
}

#[test]
fn a_server_that_signs_agents_keeps_its_ca_and_makes_nothing_itself() {
    let fleet = Fleet::new(SPEC);
    let values = values(&fleet, "mgmt");
    assert!(values.get("glooAgent").is_none());
    let server = &values["glooMgmtServer"];
    assert_eq!(server["registerCluster"], false);
    let relay = &server["relay"];
    assert_eq!(relay["disableCa"], false);
    assert_eq!(relay["disableCaCertGeneration"], true);
    assert_eq!(relay["disableTokenGeneration"], true);
    assert_eq!(relay["tlsSecret"]["name"], "my-server");
    assert_eq!(
        relay["signingTlsSecret"]["name"],
        "relay-tls-signing-secret"
    );
    assert_eq!(relay["tokenSecret"]["key"], "token");
}

#[test]
fn a_server_that_signs_nothing_has_no_ca() {
    let fleet = Fleet::new(
        "  clusters:\n    - { name: mgmt, role: management, directory: mgmt, agent: true }\n",
    );
    let values = values(&fleet, "mgmt");
    let server = &values["glooMgmtServer"];
    assert_eq!(server["registerCluster"], true);
    assert_eq!(server["relay"]["disableCa"], true);
    assert!(server["relay"].get("signingTlsSecret").is_none());
    assert_eq!(
        values["glooAgent"]["relay"]["clientTlsSecret"]["name"],
        "relay-client-tls-secret"
    );
}

#[test]
fn every_secret_that_the_values_name_is_there_after_bootstrap() {
    let fleet = Fleet::bootstrapped(SPEC);
    for cluster in ["mgmt", "pushed", "signed"] {
        let mut named = Vec::new();
        collect_names(&values(&fleet, cluster), &mut named);
        assert!(!named.is_empty());
        for name in named {
            // The one that the agent makes itself.
            if name != "agent-signed-cert" {
                assert!(fleet.has_secret(cluster, &name), "{cluster} has no {name}");
            }
        }
    }
}

fn collect_names(value: &Value, names: &mut Vec<String>) {
    for (key, inner) in value.as_object().into_iter().flatten() {
        match inner.as_str() {
            Some(name) if key == "name" => names.push(name.to_owned()),
            _ => collect_names(inner, names),
        }
    }
}

#[test]
fn a_cluster_with_a_namespace_of_its_own() {
    let spec = SPEC.replace("clusters/signed,", "clusters/signed, namespace: own,");
    let fleet = Fleet::new(&spec);
    let relay = &values(&fleet, "signed")["glooAgent"]["relay"];
    assert_eq!(relay["rootTlsSecret"]["namespace"], "own");
    assert_eq!(relay["tokenSecret"]["namespace"], "own");
    // The name that the server's certificate is checked for is that of the server's namespace.
    assert_eq!(relay["authority"], "gloo-mesh-mgmt-server.relay");
    // Its Secrets are there too, and the audit finds nothing wrong with that.
    fleet.done(&["bootstrap"]);
    let root = fleet.path("clusters/signed/relay-root-tls-secret.yaml");
    let root = std::fs::read_to_string(root).unwrap();
    assert!(root.contains("namespace: own"), "{root}");
    fleet.done(&["audit"]);
}
