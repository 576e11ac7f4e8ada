//! Kubeconfig files of the person who runs us, and what is wrong with them in words of ours.

use std::path::Path;

use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError, LoadDataError};

/// The configuration that a context leads to: of `file`, or of what `KUBECONFIG` says.
pub(super) async fn config(file: Option<&Path>, context: Option<&str>) -> Result<Config, String> {
    let options = KubeConfigOptions {
        context: context.map(str::to_owned),
        ..KubeConfigOptions::default()
    };
    let kubeconfig = match file {
        Some(file) => Kubeconfig::read_from(file),
        None => Kubeconfig::read(),
    };
    let found = match kubeconfig {
        Ok(kubeconfig) => Config::from_custom_kubeconfig(kubeconfig, &options).await,
        Err(error) => Err(error),
    };
    found.map_err(|error| words(&error, file))
}

/// What is wrong with YAML is not said: that would quote it, and there are tokens in it.
fn words(error: &KubeconfigError, file: Option<&Path>) -> String {
    let place = match file {
        Some(file) => format!("kubeconfig {}", file.display()),
        None => "the kubeconfig".to_owned(),
    };
    match error {
        KubeconfigError::ReadConfig(error, file) => {
            format!("kubeconfig {} cannot be read: {error}", file.display())
        }
        KubeconfigError::Parse(_) => format!("{place} is no kubeconfig (YAML of kind Config)"),
        KubeconfigError::CurrentContextNotSet => {
            format!("{place} has no current context, and none is named")
        }
        KubeconfigError::LoadContext(context) => format!("{place} has no context {context}"),
        KubeconfigError::LoadClusterOfContext(cluster) => {
            format!("{place} has no cluster {cluster}, which the context names")
        }
        KubeconfigError::LoadCertificateAuthority(LoadDataError::ReadFile(error, named))
        | KubeconfigError::LoadClientCertificate(LoadDataError::ReadFile(error, named))
        | KubeconfigError::LoadClientKey(LoadDataError::ReadFile(error, named)) => {
            let named = named.display();
            format!("{place} names {named}, which cannot be read: {error}")
        }
        error => format!("{place} cannot be used: {error}"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const FILE: &str = "apiVersion: v1\nkind: Config\n\
        clusters: [{name: c, cluster: {server: \"https://10.0.0.1:6443\"}}, \
        {name: d, cluster: {server: \"https://10.0.0.2\", certificate-authority: /no/ca.pem}}]\n\
        users: [{name: u, user: {token: t0ps3cret}}]\n\
        contexts: [{name: good, context: {cluster: c, user: u}}, \
        {name: dangling, context: {cluster: gone, user: u}}, \
        {name: missing, context: {cluster: d, user: u}}]\n";

    async fn refused(text: &str, context: Option<&str>) -> String {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mine.yaml");
        std::fs::write(&file, text).unwrap();
        let words = config(Some(&file), context).await.unwrap_err();
        assert!(words.contains(file.to_str().unwrap()), "{words}");
        assert!(!words.contains("t0ps3cret"), "{words}");
        words
    }

    #[tokio::test]
    async fn what_is_wrong_is_named() {
        for (context, said) in [
            (None, "no current context"),
            (Some("nope"), "has no context nope"),
            (Some("dangling"), "has no cluster gone"),
            (Some("missing"), "names /no/ca.pem, which cannot be read"),
        ] {
            let words = refused(FILE, context).await;
            assert!(words.contains(said), "{words}");
        }
        let absent = Path::new("/nowhere/kubeconfig");
        let words = config(Some(absent), None).await.unwrap_err();
        let said = "kubeconfig /nowhere/kubeconfig cannot be read: No such file";
        assert!(words.starts_with(said), "{words}");
    }

    #[tokio::test]
    async fn what_is_no_kubeconfig_is_not_quoted() {
        for text in ["token: [t0ps3cret", "users: t0ps3cret", "t0ps3cret"] {
            let words = refused(text, None).await;
            assert!(words.contains("is no kubeconfig"), "{words}");
        }
    }
}
