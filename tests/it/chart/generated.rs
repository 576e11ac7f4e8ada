//! Files that are made from the chart, and what the chart is made of.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use crate::support::helm::{chart, of_kind, render, render_text, root};

const HINT: &str = "run: RELAY_PKI_WRITE_DOCS=1 cargo test --test it chart::";

/// The file holds this text, or is written so on request.
fn up_to_date(path: &str, wanted: &str) {
    let file = root().join(path);
    if std::env::var_os("RELAY_PKI_WRITE_DOCS").is_some() {
        fs::write(&file, wanted).unwrap();
    }
    let found = fs::read_to_string(&file).unwrap_or_default();
    assert!(found == wanted, "{path} is out of date; {HINT}");
}

#[test]
fn the_plain_manifests_are_the_rendered_chart() {
    let header = |what: &str| {
        format!(
            "# {what}\n# Made from the chart in manifests/helm/relay-pki; docs/install.md says how to use it. Do not delete with it:\n\
             # it contains the namespace, and with that every Secret of the relay.\n"
        )
    };
    let install = render_text(&["--set", "createNamespace=true"]);
    up_to_date(
        "manifests/install.yaml",
        &(header("relay-pki in the management cluster.") + &install),
    );
    let access = render_text(&[
        "--set",
        "createNamespace=true,controller.enabled=false,agent.enabled=true",
    ]);
    up_to_date(
        "manifests/workload-access.yaml",
        &(header("What relay-pki needs in a workload cluster.") + &access),
    );
}

#[test]
fn the_charts_version_is_the_programs() {
    let text = fs::read_to_string(chart().join("Chart.yaml")).unwrap();
    let metadata: Value = serde_saphyr::from_str(&text).unwrap();
    assert_eq!(metadata["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(metadata["appVersion"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn the_chart_brings_the_crds_as_they_are() {
    let files: Vec<Value> = fs::read_dir(root().join("manifests/crds"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .map(|path| serde_saphyr::from_str(&fs::read_to_string(path).unwrap()).unwrap())
        .collect();
    let names: BTreeSet<&str> = files.iter().map(name).collect();
    assert_eq!(
        names,
        BTreeSet::from([
            "relayclusters.relay-pki.dev",
            "relayrotations.relay-pki.dev",
            "relays.relay-pki.dev"
        ]),
        "manifests/crds is written by `relay-pki crds`"
    );
    let set = |values: &str| render(&["--set", values]);
    for keep in [true, false] {
        let objects = set(&format!("crds.keep={keep}"));
        let rendered = of_kind(&objects, "CustomResourceDefinition");
        assert_eq!(rendered.len(), files.len());
        for file in &files {
            let mut wanted = file.clone();
            if keep {
                wanted["metadata"]["annotations"]["helm.sh/resource-policy"] = "keep".into();
            }
            let found = rendered.iter().find(|crd| name(crd) == name(file)).unwrap();
            assert_same(found, &wanted, name(file));
        }
    }
    for without in [
        "crds.enabled=false",
        "controller.enabled=false,agent.enabled=true",
    ] {
        assert!(of_kind(&set(without), "CustomResourceDefinition").is_empty());
    }
}

/// Equal, where 1 and 1.0 are the same: Helm knows one kind of number.
fn assert_same(found: &Value, wanted: &Value, path: &str) {
    match (found, wanted) {
        (Value::Object(one), Value::Object(other)) => {
            let keys = |map: &serde_json::Map<String, Value>| -> BTreeSet<String> {
                map.keys().cloned().collect()
            };
            assert_eq!(keys(one), keys(other), "{path}");
            for (key, value) in one {
                assert_same(value, &other[key], &format!("{path}.{key}"));
            }
        }
        (Value::Array(one), Value::Array(other)) => {
            assert_eq!(one.len(), other.len(), "{path}");
            for (index, (one, other)) in one.iter().zip(other).enumerate() {
                assert_same(one, other, &format!("{path}[{index}]"));
            }
        }
        (Value::Number(one), Value::Number(other)) => {
            assert_eq!(one.as_f64(), other.as_f64(), "{path}")
        }
        _ => assert_eq!(found, wanted, "{path}"),
    }
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap()
}

#[test]
fn the_readme_has_a_table_of_all_values() {
    let path = "manifests/helm/relay-pki/README.md";
    let marker = "<!-- values -->\n";
    let readme = fs::read_to_string(root().join(path)).unwrap();
    let (text, _) = readme.split_once(marker).unwrap();
    let values = fs::read_to_string(chart().join("values.yaml")).unwrap();
    up_to_date(path, &format!("{text}{marker}{}", table(&values)));
}

/// One row for every value with a comment and no commented value below it.
fn table(values: &str) -> String {
    let tree: Value = serde_saphyr::from_str(values).unwrap();
    let comments = comments(values);
    let mut rows = String::from("\n| value | default | meaning |\n|---|---|---|\n");
    for (path, comment) in &comments {
        let inside = format!("{path}.");
        if comments.iter().any(|(other, _)| other.starts_with(&inside)) {
            continue;
        }
        let default = tree.pointer(&format!("/{}", path.replace('.', "/")));
        let default = serde_json::to_string(default.unwrap()).unwrap();
        rows.push_str(&format!(
            "| `{path}` | `{default}` | {} |\n",
            comment.replace('|', "\\|")
        ));
    }
    for leaf in leaves(&tree, "") {
        let covered =
            |(path, _): &(String, String)| leaf == *path || leaf.starts_with(&format!("{path}."));
        let described = comments
            .iter()
            .any(|comment| covered(comment) && rows.contains(&format!("| `{}` |", comment.0)));
        assert!(described, "values.yaml says nothing about {leaf}");
    }
    rows
}

/// The keys with the comment above each, in order.
fn comments(values: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut path: Vec<&str> = Vec::new();
    let mut comment: Vec<&str> = Vec::new();
    for line in values.lines() {
        let text = line.trim_start();
        let depth = (line.len() - text.len()) / 2;
        if let Some(words) = text.strip_prefix("# ") {
            comment.push(words);
        } else if let Some((key, _)) = text.split_once(':') {
            path.truncate(depth);
            path.push(key);
            if !comment.is_empty() {
                found.push((path.join("."), comment.join(" ")));
            }
            comment.clear();
        } else {
            comment.clear();
        }
    }
    found
}

fn leaves(value: &Value, path: &str) -> Vec<String> {
    match value.as_object() {
        Some(map) if !map.is_empty() => map
            .iter()
            .flat_map(|(key, value)| leaves(value, format!("{path}.{key}").trim_start_matches('.')))
            .collect(),
        _ => vec![path.to_owned()],
    }
}
