//! The Kubernetes controllers beside an API server.

use std::path::Path;

use crate::process::Component;

/// Those whose work tests see: default service accounts, tokens in Secrets, deletion of namespaces and
/// of what belongs to something deleted, and the pods of a Deployment (which nothing runs).
const CONTROLLERS: &str = "serviceaccount-controller,serviceaccount-token-controller,\
    namespace-controller,garbage-collector-controller,deployment-controller,replicaset-controller";

/// A `kube-controller-manager` for the API server of a kubeconfig.
pub(crate) fn controllers(server: &str, kubeconfig: &Path, key: &Path, ca: &Path) -> Component {
    Component::new(
        &format!("{server}-controllers"),
        "kube-controller-manager",
        [
            format!("--kubeconfig={}", kubeconfig.display()),
            format!("--service-account-private-key-file={}", key.display()),
            format!("--root-ca-file={}", ca.display()),
            format!("--controllers={CONTROLLERS}"),
            "--leader-elect=false".to_owned(),
            "--secure-port=0".to_owned(),
        ],
    )
}
