//! A fleet in a directory of its own, and `relay-pki` run on it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::certificate::{Certificate, leaf};
use super::manifest::Manifest;
use super::tree::Tree;

pub(crate) const ROOT: &str = "relay-root-tls-secret";
pub(crate) const SIGNING: &str = "relay-tls-signing-secret";
pub(crate) const SERVER: &str = "relay-server-tls-secret";
pub(crate) const CLIENT: &str = "relay-client-tls-secret";
pub(crate) const IDENTITY: &str = "relay-identity-token-secret";
pub(crate) const FORWARDING: &str = "relay-forwarding-identity-token-secret";

/// A document and the clusters beside it.
pub(crate) struct Fleet {
    dir: TempDir,
}

impl Fleet {
    /// A fleet whose document has this `spec`: YAML, indented by two.
    pub(crate) fn new(spec: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("relay-pki-it-").tempdir();
        let fleet = Self { dir: dir.unwrap() };
        fleet.write_spec(spec);
        fleet
    }

    /// A management cluster `mgmt` and these workload clusters, everything else by default.
    pub(crate) fn pushed(workloads: &[&str]) -> Self {
        Self::new(&clusters(workloads))
    }

    /// A fleet that is bootstrapped.
    pub(crate) fn bootstrapped(spec: &str) -> Self {
        let fleet = Self::new(spec);
        fleet.done(&["bootstrap"]);
        fleet
    }

    /// Writes the document anew with another `spec`. Rotations do not wait, unless it says so.
    pub(crate) fn write_spec(&self, spec: &str) {
        let rotation = match spec.contains("rotation:") {
            true => "",
            false => "  rotation: { soak: 0s }\n",
        };
        let document = format!(
            "apiVersion: relay-pki.dev/v1alpha1\nkind: Relay\n\
             metadata: {{ name: gloo-mesh }}\nspec:\n{rotation}{spec}"
        );
        fs::write(self.path("relay.yaml"), document).unwrap();
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.dir.path().join(relative)
    }

    /// `relay-pki` with these arguments, not yet run, and with nothing from our own environment that
    /// would change what it does.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_relay-pki"));
        command
            .current_dir(self.dir())
            .args(arguments)
            .stdin(Stdio::null());
        for name in [
            "RELAY_PKI_FILE",
            "RELAY_PKI_LOG",
            "NO_COLOR",
            "CLICOLOR_FORCE",
        ] {
            command.env_remove(name);
        }
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        Run::of(self.command(arguments).output().unwrap())
    }

    /// Runs it; it has to end with `code`.
    pub(crate) fn ends(&self, arguments: &[&str], code: i32) -> Run {
        let run = self.run(arguments);
        assert_eq!(run.code, Some(code), "relay-pki {arguments:?}: {run:#?}");
        run
    }

    /// Runs it; it has to end with 0.
    pub(crate) fn done(&self, arguments: &[&str]) -> Run {
        self.ends(arguments, 0)
    }

    /// Everything in the directory.
    pub(crate) fn tree(&self) -> Tree {
        Tree::of(self.dir())
    }

    /// Where the Secret of a cluster lies: whatever the file is called.
    pub(crate) fn secret_path(&self, cluster: &str, name: &str) -> PathBuf {
        self.manifests(cluster)
            .into_iter()
            .find(|(_, manifest)| manifest.kind == "Secret" && manifest.name == name)
            .unwrap_or_else(|| panic!("cluster {cluster} has no Secret {name}"))
            .0
    }

    pub(crate) fn secret(&self, cluster: &str, name: &str) -> Manifest {
        Manifest::read(&self.secret_path(cluster, name))
    }

    pub(crate) fn has_secret(&self, cluster: &str, name: &str) -> bool {
        let manifests = self.manifests(cluster);
        let mut manifests = manifests.iter();
        manifests.any(|(_, found)| found.kind == "Secret" && found.name == name)
    }

    /// Changes a Secret in its file, as a person with an editor would.
    pub(crate) fn edit(&self, cluster: &str, name: &str, change: impl FnOnce(&mut Manifest)) {
        let path = self.secret_path(cluster, name);
        let mut manifest = Manifest::read(&path);
        change(&mut manifest);
        manifest.write_as_kubectl(&path);
    }

    /// Every sound manifest of a cluster with its file.
    pub(crate) fn manifests(&self, cluster: &str) -> Vec<(PathBuf, Manifest)> {
        let mut found = Vec::new();
        let entries = fs::read_dir(self.path(&format!("clusters/{cluster}")));
        for entry in entries.into_iter().flatten() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if name.ends_with(".yaml") && !name.starts_with('.') {
                let text = fs::read_to_string(&path).unwrap_or_default();
                found.extend(Manifest::parse(&text).map(|manifest| (path, manifest)));
            }
        }
        found.sort_by(|one, other| one.0.cmp(&other.0));
        found
    }

    /// The certificate in a Secret.
    pub(crate) fn leaf(&self, cluster: &str, name: &str) -> Certificate {
        leaf(self.secret(cluster, name).entry("tls.crt"))
    }

    /// The client certificates of these clusters.
    pub(crate) fn client_leaves(&self, clusters: &[&str]) -> BTreeMap<String, Certificate> {
        clusters
            .iter()
            .map(|cluster| ((*cluster).to_owned(), self.leaf(cluster, CLIENT)))
            .collect()
    }

    /// Status and number of every generation of a level, as the records say.
    pub(crate) fn generations(&self, level: &str) -> Vec<(u64, String)> {
        self.done(&["status", "--output", "json"])
            .generations(level)
    }
}

/// The `clusters` of a document: `mgmt` and these workload clusters.
pub(crate) fn clusters(workloads: &[&str]) -> String {
    let mut text = "  clusters:\n".to_owned();
    text.push_str("    - { name: mgmt, role: management, directory: clusters/mgmt }\n");
    for name in workloads {
        text.push_str(&workload(name));
    }
    text
}

/// One workload cluster of a document.
pub(crate) fn workload(name: &str) -> String {
    format!("    - {{ name: {name}, role: workload, directory: clusters/{name} }}\n")
}

/// What a run of `relay-pki` came to.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    pub(crate) fn of(output: Output) -> Self {
        let run = Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        };
        assert!(!run.stderr.contains("panicked"), "{run:#?}");
        for text in [&run.stdout, &run.stderr] {
            assert!(!text.contains("PRIVATE KEY"), "a key was printed: {run:#?}");
        }
        run
    }

    /// Standard output as one JSON document.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("standard output is no JSON ({error}): {self:#?}"))
    }

    /// Status and number of every generation of a level, where this is `status` as JSON.
    pub(crate) fn generations(&self, level: &str) -> Vec<(u64, String)> {
        let status = self.json();
        let generations = status["generations"].as_array().unwrap().clone();
        let of_level = generations.iter().filter(|found| found["level"] == level);
        of_level
            .map(|found| {
                let status = found["status"].as_str().unwrap().to_owned();
                (found["number"].as_u64().unwrap(), status)
            })
            .collect()
    }

    /// Fails unless results and messages together contain each of `wanted`.
    pub(crate) fn says(&self, wanted: &[&str]) -> &Self {
        let all = format!("{}{}", self.stdout, self.stderr);
        for text in wanted {
            assert!(all.contains(text), "it does not say {text:?}: {self:#?}");
        }
        self
    }
}
