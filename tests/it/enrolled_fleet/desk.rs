//! The administrator of the whole fleet.

use std::process::Command;

use relay_pki_testbed::program;
use serde_json::Value;

use crate::support::fleet::{Fleet, Run};
use crate::support::helm::root;
use crate::support::kube::Clusters;

/// An administrator with a context for each cluster, called like it. The current one is of a workload cluster.
pub(super) struct Desk<'a> {
    pub(super) clusters: &'a Clusters,
    pub(super) folder: Fleet,
    kubeconfigs: String,
}

impl<'a> Desk<'a> {
    pub(super) fn new(clusters: &'a Clusters) -> Self {
        let folder = clusters.desk("");
        let files = ["w1.yaml", "w2.yaml", "w3.yaml", "mgmt.yaml"];
        let files = files.map(|file| folder.path(file).display().to_string());
        Self {
            clusters,
            folder,
            kubeconfigs: files.join(":"),
        }
    }

    /// `cluster register NAME --delivery enroll`, which has to end with `code`.
    pub(super) fn register(&self, name: &str, code: i32) -> Run {
        let mut command = self.folder.command(&["cluster", "register", name]);
        command
            .args(["--delivery", "enroll", "--output", "json"])
            .args(["--namespace", self.clusters.namespace()])
            .args(["--management-context", self.clusters.management().name()])
            .env("KUBECONFIG", &self.kubeconfigs);
        let run = Run::of(command.output().unwrap());
        assert_eq!(run.code, Some(code), "{run:#?}");
        run
    }

    /// What is printed for a cluster that may be registered.
    pub(super) fn registered(&self, name: &str) -> Value {
        serde_json::from_str(&self.register(name, 0).stdout).unwrap()
    }

    /// Runs a command line that was printed, beside the chart.
    pub(super) fn run(&self, line: &str) {
        let folder = |program: &std::path::Path| program.parent().unwrap().display().to_string();
        let ours = folder(std::path::Path::new(env!("CARGO_BIN_EXE_relay-pki")));
        let tools = ["kubectl", "helm"].map(|name| folder(&program(name)));
        let path = std::env::var("PATH").unwrap();
        let output = Command::new("bash")
            .args(["-o", "pipefail", "-ec", line])
            .current_dir(root().join("manifests/helm"))
            .env("PATH", format!("{ours}:{}:{path}", tools.join(":")))
            .env("HOME", self.folder.dir())
            .env("KUBECONFIG", &self.kubeconfigs)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line}: {said}");
    }
}
