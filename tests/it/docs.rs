//! What the README and the quickstart say is run as it stands there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use relay_pki_testbed::eventually;
use tempfile::TempDir;

use crate::support::enrolment::{Server, spec};
use crate::support::fleet::{Fleet, ROOT};
use crate::support::helm::{of_kind, render_values};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The fenced blocks of a Markdown file, in order, with their language.
pub(crate) fn blocks(file: &str) -> Vec<(String, String)> {
    let text = fs::read_to_string(root().join(file)).unwrap();
    let mut found = Vec::new();
    let mut open: Option<(String, String)> = None;
    for line in text.lines() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(language), None) => open = Some((language.to_owned(), String::new())),
            (Some(_), Some(_)) => found.extend(open.take()),
            (None, Some((_, body))) => {
                body.push_str(line);
                body.push('\n');
            }
            (None, None) => {}
        }
    }
    found
}

/// Runs shell lines with the built program as `relay-pki`; any failing line fails the test.
fn run(script: &str, directory: &Path) {
    let binary = Path::new(env!("CARGO_BIN_EXE_relay-pki"));
    let path = std::env::var("PATH").unwrap();
    let path = format!("{}:{path}", binary.parent().unwrap().display());
    let script = format!("set -euo pipefail\nshopt -s expand_aliases\n{script}");
    let output = Command::new("bash")
        .args(["-c", &script])
        .current_dir(directory)
        .env("PATH", path)
        .env_remove("RELAY_PKI_FILE")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{script}\nfailed with {}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn the_quickstart_works_as_it_is_written() {
    let directory = TempDir::new().unwrap();
    let blocks = blocks("docs/quickstart.md");
    let document = blocks.iter().find(|(language, _)| language == "yaml");
    fs::write(directory.path().join("relay.yaml"), &document.unwrap().1).unwrap();
    let scripts = blocks.iter().filter(|(language, _)| language == "sh");
    let scripts: Vec<&str> = scripts.map(|(_, body)| body.as_str()).collect();
    assert!(scripts.len() >= 5, "the quickstart lost its commands");
    run(&scripts.concat(), directory.path());
    assert!(
        directory
            .path()
            .join("clusters/cluster-1/relay-client-tls-secret.yaml")
            .exists()
    );
}

#[test]
fn the_readme_works_as_it_is_written() {
    let directory = TempDir::new().unwrap();
    let example = "manifests/examples/quickstart";
    fs::create_dir_all(directory.path().join(example)).unwrap();
    fs::create_dir_all(directory.path().join("target/debug")).unwrap();
    fs::copy(
        root().join(example).join("relay.yaml"),
        directory.path().join(example).join("relay.yaml"),
    )
    .unwrap();
    std::os::unix::fs::symlink(
        env!("CARGO_BIN_EXE_relay-pki"),
        directory.path().join("target/debug/relay-pki"),
    )
    .unwrap();
    // Building is what the test run has just done; the second command is the test run itself.
    let script: String = blocks("README.md")
        .into_iter()
        .filter(|(language, body)| language == "sh" && !body.contains("tests/run"))
        .map(|(_, body)| body.replace("cargo run --", "target/debug/relay-pki"))
        .collect();
    assert!(script.contains("openssl verify"));
    run(&script, directory.path());
}

/// The shell blocks of a Markdown file with this word behind `sh`.
fn scripts(file: &str, word: &str) -> String {
    let blocks = blocks(file).into_iter();
    let named = blocks.filter(|(language, _)| language == word);
    let scripts: String = named.map(|(_, body)| body).collect();
    assert!(!scripts.is_empty(), "{file} has no {word}");
    scripts
}

#[test]
fn the_ceremony_of_an_offline_root_works_as_it_is_written() {
    let file = "docs/providers/offline-root.md";
    let (document, ceremony) = (scripts(file, "yaml"), scripts(file, "sh"));
    let openssl = scripts(file, "sh openssl");
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("relay.yaml"), &document).unwrap();
    run(&ceremony, directory.path());
    run(&scripts(file, "sh rotation"), directory.path());
    // The same with OpenSSL, in a relay of its own.
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("relay.yaml"), &document).unwrap();
    let (before, _) = ceremony.split_once("openssl rand").unwrap();
    let script = format!(
        "{before}openssl rand -base64 24 > passphrase\n{openssl}\
         relay-pki signer install signer.crt root.crt\nrelay-pki bootstrap\nrelay-pki audit\n"
    );
    run(&script, directory.path());
}

#[test]
fn encryption_works_as_it_is_written() {
    let file = "docs/providers/self-signed.md";
    let directory = TempDir::new().unwrap();
    let write = |word: &str| {
        let spec = scripts(file, word);
        let head =
            "apiVersion: relay-pki.dev/v1alpha1\nkind: Relay\nmetadata: { name: gloo-mesh }\n";
        let clusters = "  clusters:\n    - { name: mgmt, role: management, directory: mgmt }\n";
        let document = format!("{head}{spec}{clusters}");
        fs::write(directory.path().join("relay.yaml"), document).unwrap();
    };
    write("yaml");
    run("relay-pki bootstrap", directory.path());
    for word in ["encrypted", "changed"] {
        write(&format!("yaml {word}"));
        run(&scripts(file, &format!("sh {word}")), directory.path());
    }
    run(
        "relay-pki audit && ! grep -rq ' tls.key:' mgmt/relay-pki-gloo-mesh-*",
        directory.path(),
    );
}

#[test]
fn the_agent_works_as_it_is_written() {
    let file = "docs/agent.md";
    let values = render_values(&scripts(file, "yaml values"));
    assert_eq!(of_kind(&values, "Deployment").len(), 1);
    let fleet = Fleet::bootstrapped(&spec(&["cluster-1"]));
    let root = fleet.secret("mgmt", ROOT);
    fs::write(fleet.path("root.pem"), &root.data["ca.crt"]).unwrap();
    let server = Server::start(&fleet);
    let binary = Path::new(env!("CARGO_BIN_EXE_relay-pki"));
    let path = std::env::var("PATH").unwrap();
    // The shell becomes the agent, which goes on until it is told to end.
    let script = scripts(file, "sh files").replace("relay-pki agent", "exec relay-pki agent");
    let mut agent = Command::new("bash")
        .args(["-c", &format!("set -euo pipefail\n{script}")])
        .current_dir(fleet.dir())
        .env(
            "PATH",
            format!("{}:{path}", binary.parent().unwrap().display()),
        )
        .env("EST_SERVER", server.origin())
        .env_remove("RELAY_PKI_FILE")
        .spawn()
        .unwrap();
    let written = || fleet.path("agent/tls.key").exists().then_some(());
    eventually("the key is written", Duration::from_secs(30), written);
    agent.kill().unwrap();
    agent.wait().unwrap();
}

#[test]
fn every_metric_of_the_agent_is_explained() {
    let text = fs::read_to_string(root().join("docs/agent.md")).unwrap();
    let metrics = relay_pki::agent::Status::default().text().unwrap();
    let names = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "));
    let mut count = 0;
    for name in names {
        let name = name.split_whitespace().next().unwrap();
        assert!(text.contains(&format!("| `{name}")), "{name}");
        count += 1;
    }
    // Nothing was done yet, so there are no series of that.
    assert_eq!(count, 5);
    assert!(text.contains("| `relay_pki_agent_actions_total`"));
}
