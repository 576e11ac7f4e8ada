//! The controllers of cert-manager beside an API server.

use std::time::Duration;

use crate::process::{Component, Process};
use crate::programs::program;
use crate::server::ApiServer;

const START: Duration = Duration::from_secs(180);

/// Whether requests are approved without anybody looking at them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Approval {
    /// As in an installation that nobody changed.
    Everything,
    /// As where an approval policy decides: the test is the policy.
    Nothing,
}

/// A running cert-manager: its CRDs and its controllers, without its webhook.
#[derive(Debug)]
pub struct CertManager {
    _process: Process,
}

impl CertManager {
    /// Installs the CRDs in an API server and starts the controllers. They end with this value.
    ///
    /// # Errors
    ///
    /// What does not start, and the end of its log.
    pub fn start(server: &ApiServer, approval: Approval) -> Result<Self, String> {
        let name = "cert-manager";
        let crds = program(name).with_file_name("cert-manager-crds");
        server.install_crds(&crds);
        let approve = approval == Approval::Everything;
        let component = Component::new(
            &format!("{}-{name}", server.name()),
            name,
            [
                format!("--kubeconfig={}", server.kubeconfig_path().display()),
                format!("--approve={approve}"),
                format!("--cluster-resource-namespace={name}"),
            ],
        );
        let mut process = component.start();
        server.apply(&format!("{PROBE}{NAMESPACE}"));
        let probe = ["get", "clusterissuer", "testbed-probe", "--output=json"];
        process.wait_ready(START, || {
            let found = server.kubectl(&probe, "");
            String::from_utf8_lossy(&found.stdout).contains(r#""reason": "IsReady""#)
        })?;
        Ok(Self { _process: process })
    }
}

/// Ready as soon as the controllers look at it.
const PROBE: &str = "\
apiVersion: cert-manager.io/v1
kind: ClusterIssuer
metadata: { name: testbed-probe }
spec: { selfSigned: {} }
";

/// Where the Secrets of ClusterIssuers are.
const NAMESPACE: &str = "---
apiVersion: v1
kind: Namespace
metadata: { name: cert-manager }
";
