//! The real `helm` on the chart, and what it renders.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use super::tools::required;

/// The version that is rendered for: a `helm` that is built from source knows none.
const KUBERNETES: &str = "1.36.3";

/// The project's folder.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The chart's folder.
pub(crate) fn chart() -> PathBuf {
    root().join("manifests/helm/relay-pki")
}

/// Runs `helm` in the project's folder, whatever comes of it.
pub(crate) fn helm(arguments: &[&str]) -> Output {
    let binary = Path::new(env!("CARGO_BIN_EXE_relay-pki"));
    // target/<profile>/relay-pki
    let built = binary.ancestors().nth(2).unwrap().join("testbed/bin/helm");
    let program = if built.exists() { built } else { "helm".into() };
    let mut command = Command::new(program);
    command
        .current_dir(root())
        .args(arguments)
        .args(["--kube-version", KUBERNETES]);
    required(command.output(), "helm", "tests/testbed/install")
}

/// What the chart renders in the namespace `gloo-mesh` with these arguments, as text.
pub(crate) fn render_text(arguments: &[&str]) -> String {
    let output = template(arguments);
    assert!(
        output.status.success(),
        "helm template {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// The objects that the chart renders with these arguments.
pub(crate) fn render(arguments: &[&str]) -> Vec<Value> {
    objects(&render_text(arguments))
}

/// The objects that the chart renders with these values, which are YAML.
pub(crate) fn render_values(values: &str) -> Vec<Value> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, values).unwrap();
    render(&["--values", file.path().to_str().unwrap()])
}

/// What `helm` says when it refuses these values, which are YAML.
pub(crate) fn refusal(values: &str) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, values).unwrap();
    let output = template(&["--values", file.path().to_str().unwrap()]);
    assert!(!output.status.success(), "{values}\nwas not refused");
    String::from_utf8(output.stderr).unwrap()
}

fn template(arguments: &[&str]) -> Output {
    let chart = chart();
    let mut all = vec!["template", "relay-pki", chart.to_str().unwrap()];
    all.extend(["--namespace", "gloo-mesh"]);
    all.extend(arguments);
    helm(&all)
}

/// The documents of a YAML stream. A key that is there twice fails.
pub(crate) fn objects(text: &str) -> Vec<Value> {
    text.split("\n---\n")
        .map(|document| document.trim_start_matches("---\n"))
        .filter(|document| has_content(document))
        .map(|document| {
            serde_saphyr::from_str(document).unwrap_or_else(|error| panic!("{error}\n{document}"))
        })
        .collect()
}

fn has_content(document: &str) -> bool {
    document
        .lines()
        .any(|line| !line.trim().is_empty() && !line.starts_with('#'))
}

/// The one object of a kind.
pub(crate) fn one<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    let found: Vec<&Value> = of_kind(objects, kind);
    assert_eq!(found.len(), 1, "{kind} objects: {found:?}");
    found[0]
}

/// The objects of a kind.
pub(crate) fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects
        .iter()
        .filter(|object| object["kind"] == kind)
        .collect()
}
