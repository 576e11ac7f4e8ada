//! Alerts, runbooks and the dashboard.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::helm::{of_kind, one, render, render_values, root};
use crate::support::tools::required;

/// Every metric that the controller exports.
const METRICS: [&str; 21] = [
    "relay_pki_certificate_not_before_timestamp_seconds",
    "relay_pki_certificate_not_after_timestamp_seconds",
    "relay_pki_certificate_renewal_timestamp_seconds",
    "relay_pki_bundle_current",
    "relay_pki_bundle_anchors",
    "relay_pki_cluster_reachable",
    "relay_pki_cluster_last_contact_timestamp_seconds",
    "relay_pki_clusters",
    "relay_pki_rotation_stage",
    "relay_pki_issuances_total",
    "relay_pki_authority_request_duration_seconds",
    "relay_pki_authority_requests_total",
    "relay_pki_drift_repairs_total",
    "relay_pki_secret_conflicts_total",
    "relay_pki_earliest_failure_timestamp_seconds",
    "relay_pki_audit_findings",
    "relay_pki_audit_last_run_timestamp_seconds",
    "relay_pki_reconcile_total",
    "relay_pki_reconcile_duration_seconds",
    "relay_pki_leader",
    "relay_pki_build_info",
];

#[test]
fn the_alerts_fire_when_they_should_and_only_then() {
    let output = Command::new("promtool")
        .current_dir(root())
        .args(["test", "rules", "tests/monitoring/alerts_test.yaml"])
        .output();
    let output = required(output, "promtool", "apt-get install prometheus");
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    let tests = read("tests/monitoring/alerts_test.yaml");
    for alert in alerts() {
        let fires = format!("alertname=\"{}\"", name(&alert));
        assert!(tests.contains(&fires), "{} never fires", name(&alert));
    }
}

#[test]
fn every_alert_says_how_bad_it_is_and_where_to_read_on() {
    for alert in alerts() {
        let name = name(&alert);
        let severity = alert["labels"]["severity"].as_str().unwrap();
        assert!(["warning", "critical"].contains(&severity), "{name}");
        let annotations = &alert["annotations"];
        for text in ["summary", "description"] {
            assert!(!annotations[text].as_str().unwrap().is_empty(), "{name}");
        }
        let runbook = format!("docs/runbooks.md#{}", name.to_lowercase());
        assert_eq!(annotations["runbook"], runbook, "{name}");
    }
}

#[test]
fn every_alert_has_a_runbook_and_every_runbook_an_alert() {
    let alerts: Vec<String> = alerts()
        .iter()
        .map(|alert| name(alert).to_owned())
        .collect();
    let text = read("docs/runbooks.md");
    let sections: BTreeMap<&str, &str> = text
        .split("\n## ")
        .skip(1)
        .map(|section| section.split_once('\n').unwrap())
        .collect();
    let titles: BTreeSet<&str> = sections.keys().copied().collect();
    assert_eq!(titles, alerts.iter().map(String::as_str).collect());
    for (title, section) in sections {
        for part in ["Meaning", "Impact", "Check", "Fix", "Verify"] {
            assert!(section.contains(&format!("**{part}.**")), "{title}: {part}");
        }
    }
}

#[test]
fn every_link_between_runbooks_leads_to_one() {
    let text = read("docs/runbooks.md").to_lowercase();
    let links: Vec<&str> = text
        .split("](#")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .collect();
    assert!(!links.is_empty());
    for link in links {
        assert!(text.contains(&format!("\n## {link}\n")), "{link}");
    }
}

#[test]
fn alerts_and_dashboard_use_metrics_that_exist_and_leave_none_unused() {
    let mut used = BTreeSet::new();
    let expressions: Vec<String> = alerts()
        .iter()
        .map(|alert| alert["expr"].as_str().unwrap().to_owned())
        .collect();
    used.extend(metrics(&expressions.join("\n")));
    assert!(used.len() > 10, "{used:?}");
    used.extend(metrics(&read("manifests/monitoring/dashboard.json")));
    let known: BTreeSet<String> = METRICS.iter().map(ToString::to_string).collect();
    assert_eq!(used, known);
}

/// The metrics in a text; the series of a histogram count as the histogram.
fn metrics(text: &str) -> BTreeSet<String> {
    text.split(|character: char| !character.is_ascii_alphanumeric() && character != '_')
        .filter(|word| word.starts_with("relay_pki_"))
        .map(|word| {
            ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|suffix| word.strip_suffix(suffix))
                .unwrap_or(word)
                .to_owned()
        })
        .collect()
}

#[test]
fn the_dashboards_panels_have_numbers_and_queries_of_their_own() {
    let dashboard: Value =
        serde_json::from_str(&read("manifests/monitoring/dashboard.json")).unwrap();
    let mut seen = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        assert!(seen.insert(panel["id"].as_u64().unwrap()), "{title}");
        if panel["type"] == "row" {
            continue;
        }
        for target in panel["targets"].as_array().unwrap() {
            let expression = target["expr"].as_str().unwrap();
            parses(expression);
        }
    }
    assert!(seen.len() > 15);
}

/// Grafana's variables are not PromQL; whatever they stand for is.
fn parses(expression: &str) {
    let expression = expression
        .replace("$__rate_interval", "5m")
        .replace("$relay", ".*");
    let rules =
        json!({"groups": [{"name": "panel", "rules": [{"record": "panel", "expr": expression}]}]});
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, rules.to_string()).unwrap();
    let output = Command::new("promtool")
        .args(["check", "rules"])
        .arg(file.path())
        .output();
    let output = required(output, "promtool", "apt-get install prometheus");
    assert!(
        output.status.success(),
        "{expression}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn the_chart_carries_the_same_alerts_and_the_same_dashboard() {
    let enabled =
        "controller.metrics.prometheusRule.enabled=true,controller.metrics.dashboard.enabled=true";
    let objects = render(&["--set", enabled]);
    assert_eq!(one(&objects, "PrometheusRule")["spec"], alert_file());
    let dashboard = one(&objects, "ConfigMap");
    assert_eq!(dashboard["metadata"]["labels"]["grafana_dashboard"], "1");
    assert_eq!(
        dashboard["data"]["relay-pki.json"],
        read("manifests/monitoring/dashboard.json")
    );
}

#[test]
fn alerts_can_be_changed_and_left_out() {
    let objects = render_values(
        r#"
controller:
  metrics:
    prometheusRule:
      enabled: true
      labels: {release: prometheus}
      alertLabels: {team: mesh}
      disabled: [RelayAuditStale, RelayNoLeader, RelayTargetMissing, RelayReconcileFailing]
      exprOverrides: {RelayBundleStale: "vector(1)"}
      forOverrides: {RelayBundleStale: 2h}
      runbookUrl: https://docs.example.com/runbooks
"#,
    );
    let rule = one(&objects, "PrometheusRule");
    assert_eq!(rule["metadata"]["labels"]["release"], "prometheus");
    let groups = rule["spec"]["groups"].as_array().unwrap();
    // A group without rules is left out with them.
    assert!(
        groups
            .iter()
            .all(|group| group["name"] != "relay-pki-controller")
    );
    let rules: Vec<&Value> = groups
        .iter()
        .flat_map(|group| group["rules"].as_array().unwrap())
        .collect();
    assert_eq!(rules.len(), alerts().len() - 4);
    let stale = rules
        .iter()
        .find(|rule| rule["alert"] == "RelayBundleStale")
        .unwrap();
    assert_eq!(stale["expr"], "vector(1)");
    assert_eq!(stale["for"], "2h");
    assert_eq!(
        stale["labels"],
        json!({"severity": "warning", "team": "mesh"})
    );
    assert_eq!(
        stale["annotations"]["runbook_url"],
        "https://docs.example.com/runbooks#relaybundlestale"
    );
}

#[test]
fn nothing_for_the_prometheus_operator_is_made_unasked() {
    let objects = render(&[]);
    for kind in [
        "ServiceMonitor",
        "PodMonitor",
        "PrometheusRule",
        "ConfigMap",
        "NetworkPolicy",
    ] {
        assert!(of_kind(&objects, kind).is_empty(), "{kind}");
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn alert_file() -> Value {
    serde_saphyr::from_str(&read("manifests/monitoring/alerts.yaml")).unwrap()
}

fn alerts() -> Vec<Value> {
    alert_file()["groups"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|group| group["rules"].as_array().unwrap().clone())
        .collect()
}

fn name(alert: &Value) -> &str {
    alert["alert"].as_str().unwrap()
}
