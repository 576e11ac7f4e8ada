//! Kubeconfigs with a bearer token.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A kubeconfig with one context, called like its cluster.
pub(crate) fn kubeconfig(cluster: &str, server: &str, authority: &str, token: &str) -> String {
    let authority = STANDARD.encode(authority);
    format!(
        "\
apiVersion: v1
kind: Config
clusters:
  - name: {cluster}
    cluster:
      server: {server}
      certificate-authority-data: {authority}
users:
  - name: {cluster}
    user:
      token: {token}
contexts:
  - name: {cluster}
    context:
      cluster: {cluster}
      user: {cluster}
current-context: {cluster}
"
    )
}

/// The same kubeconfig with another server.
///
/// # Panics
///
/// If it is not one of the server `from`.
pub(crate) fn through(kubeconfig: &str, from: &str, to: &str) -> String {
    assert!(
        kubeconfig.contains(from),
        "not a kubeconfig of the API server {from}"
    );
    kubeconfig.replace(from, to)
}
