//! A namespace on every cluster of the testbed, and what is in it, read with `kubectl`.

use std::path::Path;
use std::sync::Once;

use relay_pki_testbed::{ApiServer, Testbed};

use super::certificate::{Certificate, leaf};
use super::fleet::Fleet;
use super::manifest::{Manifest, write_private};

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

    /// The certificate in a Secret.
    pub(crate) fn leaf(&self, server: &ApiServer, name: &str) -> Certificate {
        leaf(self.secret(server, name).entry("tls.crt"))
    }

    /// Makes a Relay with this `spec` (YAML in one line) in the management cluster.
    pub(crate) fn relay(&self, spec: &str) {
        static CRDS: Once = Once::new();
        CRDS.call_once(|| {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/crds");
            self.management().install_crds(&folder);
        });
        self.management().apply(&format!(
            "apiVersion: relay-pki.dev/v1alpha1\nkind: Relay\n\
             metadata: {{ name: gloo-mesh, namespace: {} }}\nspec: {spec}\n",
            self.namespace
        ));
    }

    /// Makes a RelayCluster with this `spec` (YAML in one line), whatever is wrong with it.
    pub(crate) fn relay_cluster(&self, name: &str, spec: &str) {
        self.management().apply(&format!(
            "apiVersion: relay-pki.dev/v1alpha1\nkind: RelayCluster\n\
             metadata: {{ name: {name}, namespace: {} }}\nspec: {spec}\n",
            self.namespace
        ));
    }

    /// A directory with the kubeconfigs of everybody's administrator: `mgmt.yaml`, `w1.yaml`, ….
    pub(crate) fn desk(&self, spec: &str) -> Fleet {
        let desk = Fleet::new(spec);
        let write = |name: &str, server: &ApiServer| {
            let kubeconfig = server.admin_kubeconfig();
            write_private(&desk.path(name), kubeconfig.as_bytes());
        };
        write("mgmt.yaml", self.management());
        for (position, server) in self.workloads().iter().enumerate() {
            write(&format!("w{}.yaml", position + 1), server);
        }
        desk
    }
}
