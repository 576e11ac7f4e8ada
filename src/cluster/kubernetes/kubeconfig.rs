//! Kubeconfigs that somebody else wrote.
//!
//! A kubeconfig is code: it can name programs to run and files to read. One that comes from a Secret
//! may do neither (kube-rs/kube#908).

use kube::Config;
use kube::config::{AuthInfo, Cluster, KubeConfigOptions, Kubeconfig};

use super::super::SecretBytes;

/// How to get a kubeconfig that is accepted.
const REMEDY: &str = "make one with `relay-pki cluster register`";

/// The configuration that a kubeconfig from a Secret leads to, or why it is refused. What is wrong
/// with its YAML is not said: that would quote it.
pub(super) async fn config(text: &SecretBytes) -> Result<Config, String> {
    let text = std::str::from_utf8(text.expose()).map_err(|_| "it is not UTF-8".to_owned())?;
    let kubeconfig = Kubeconfig::from_yaml(text)
        .map_err(|_| format!("it is no kubeconfig (YAML or JSON of kind Config); {REMEDY}"))?;
    for cluster in &kubeconfig.clusters {
        if let Some(found) = &cluster.cluster {
            check_cluster(found).map_err(|what| refusal("cluster", &cluster.name, what))?;
        }
    }
    for user in &kubeconfig.auth_infos {
        if let Some(found) = &user.auth_info {
            check_user(found).map_err(|what| refusal("user", &user.name, what))?;
        }
    }
    let mut options = KubeConfigOptions::default();
    if kubeconfig.current_context.is_none()
        && let [only] = kubeconfig.contexts.as_slice()
    {
        options.context = Some(only.name.clone());
    }
    // These errors name contexts and fields, never values.
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
    config.map_err(|error| format!("{error}; {REMEDY}"))
}

fn refusal(what: &str, name: &str, reason: &str) -> String {
    format!("its {what} {name:?} {reason}; {REMEDY}")
}

fn check_cluster(cluster: &Cluster) -> Result<(), &'static str> {
    if cluster.certificate_authority.is_some() {
        return Err("names a file; write certificate-authority-data instead of \
                    certificate-authority");
    }
    if cluster.insecure_skip_tls_verify == Some(true) {
        return Err(
            "turns the check of the API server's certificate off; write \
                    certificate-authority-data instead",
        );
    }
    let server = cluster.server.as_deref().unwrap_or_default();
    if !server.starts_with("https://") {
        return Err("has no server that starts with https://");
    }
    Ok(())
}

fn check_user(user: &AuthInfo) -> Result<(), &'static str> {
    if user.exec.is_some() {
        return Err("runs a program to log in (exec)");
    }
    if user.auth_provider.is_some() {
        return Err("logs in with a plug-in (auth-provider)");
    }
    let files = [&user.token_file, &user.client_certificate, &user.client_key];
    if files.iter().any(|file| file.is_some()) {
        return Err(
            "names a file; write token, client-certificate-data and client-key-data \
                    instead of tokenFile, client-certificate and client-key",
        );
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const CA: &str = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCi0tLS0tRU5EIENFUlRJRklDQVRFLS0tLS0K";

    async fn read(cluster: &str, user: &str) -> Result<Config, String> {
        let text = format!(
            "apiVersion: v1\nkind: Config\ncontexts: [{{name: x, context: {{cluster: c, user: u}}}}]\n\
             clusters: [{{name: c, cluster: {{{cluster}}}}}]\nusers: [{{name: u, user: {{{user}}}}}]\n"
        );
        config(&SecretBytes::new(text)).await
    }

    fn sound() -> String {
        format!("server: \"https://10.0.0.1:6443\", certificate-authority-data: {CA}")
    }

    #[tokio::test]
    async fn a_kubeconfig_with_everything_in_it_is_taken() {
        let config = read(&sound(), "token: t0ps3cret").await.unwrap();
        assert_eq!(config.cluster_url.to_string(), "https://10.0.0.1:6443/");
    }

    #[tokio::test]
    async fn programs_plug_ins_and_files_are_refused() {
        for (cluster, user, word) in [
            (sound(), "exec: {command: id, apiVersion: v1}", "exec"),
            (sound(), "auth-provider: {name: gcp, config: {}}", "plug-in"),
            (sound(), "tokenFile: /etc/shadow", "names a file"),
            (sound(), "client-certificate: /a.pem", "names a file"),
            (sound(), "client-key: /a.pem", "names a file"),
            (
                "server: \"https://h\", certificate-authority: /ca.pem".to_owned(),
                "token: t0ps3cret",
                "names a file",
            ),
            (
                "server: \"https://h\", insecure-skip-tls-verify: true".to_owned(),
                "token: t0ps3cret",
                "check of the API server",
            ),
            (
                "server: \"http://h\"".to_owned(),
                "token: t0ps3cret",
                "https://",
            ),
        ] {
            let refused = read(&cluster, user).await.unwrap_err();
            assert!(refused.contains(word), "{cluster} {user}: {refused}");
            assert!(refused.contains("cluster register"), "{refused}");
            assert!(!refused.contains("t0ps3cret"), "{refused}");
        }
    }

    #[tokio::test]
    async fn what_is_no_kubeconfig_is_not_quoted() {
        for text in ["token: [t0ps3cret", "t0ps3cret", "users: t0ps3cret"] {
            let refused = config(&SecretBytes::new(text)).await.unwrap_err();
            assert!(!refused.contains("t0ps3cret"), "{refused}");
        }
        let refused = config(&SecretBytes::new(vec![0xff])).await.unwrap_err();
        assert!(refused.contains("UTF-8"), "{refused}");
    }
}
