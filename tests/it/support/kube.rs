//! A namespace on every cluster of the testbed, and what is in it, read with `kubectl`.

use std::path::Path;
use std::sync::Once;

use relay_pki_testbed::{ApiServer, Testbed};

use super::manifest::Manifest;

/// Installs the definitions of our objects where the controller runs, once.
fn install_crds(testbed: &Testbed) {
    static INSTALLED: Once = Once::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/crds");
    INSTALLED.call_once(|| testbed.management().install_crds(&folder));
}

/// The real clusters, as one test sees them.
pub(crate) struct Clusters {
    testbed: &'static Testbed,
    namespace: String,
}

impl Clusters {
    /// Makes a namespace that no other test has, in every cluster.
    pub(crate) fn new(prefix: &str) -> Self {
        let testbed = Testbed::shared();
        install_crds(testbed);
        let namespace = testbed.namespace(prefix);
        Self { testbed, namespace }
    }

    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    pub(crate) fn management(&self) -> &ApiServer {
        self.testbed.management()
    }

    pub(crate) fn workloads(&self) -> &[ApiServer] {
        self.testbed.workloads()
    }

    /// A Secret as the API server has it.
    pub(crate) fn secret(&self, server: &ApiServer, name: &str) -> Manifest {
        let arguments = ["get", "secret", name, "-n", &self.namespace, "-o", "json"];
        Manifest::parse(&server.must(&arguments, "")).unwrap()
    }

    /// Every Secret that a label selector picks.
    pub(crate) fn secrets(&self, server: &ApiServer, selector: &str) -> Vec<Manifest> {
        let arguments = ["get", "secrets", "-n", &self.namespace, "-l", selector];
        let list = server.json(&arguments);
        let items = list["items"].as_array().unwrap().iter();
        items
            .map(|item| Manifest::parse(&item.to_string()).unwrap())
            .collect()
    }
}
