//! A namespace with somebody in it who may do what the documentation says, and nothing else.

use std::sync::Arc;

use async_trait::async_trait;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use relay_pki_authority::conformance::forge::ForgedCa;
use relay_pki_authority::{Credential, CredentialError};
use relay_pki_testbed::{ApiServer, Interceptor, Testbed};
use tokio::task::block_in_place;

use crate::access::{Access, AccessError};
use crate::settings::{ExistingCa, IssuerRef};

const DOCUMENTATION: &str = include_str!("../../../../docs/providers/cert-manager.md");
/// The namespace in the documentation.
const DOCUMENTED: &str = "gloo-mesh";

/// A namespace of an API server with cert-manager.
pub(super) struct Place {
    pub(super) server: &'static ApiServer,
    pub(super) namespace: String,
    /// Between relay-pki and the API server.
    pub(super) interceptor: Interceptor,
    pub(super) client: Client,
}

impl Place {
    /// Where every request is approved.
    pub(super) async fn approving() -> Arc<Self> {
        Self::on(block_in_place(|| Testbed::shared().with_cert_manager())).await
    }

    /// Where requests wait for the test to approve them.
    pub(super) async fn unapproving() -> Arc<Self> {
        let server = block_in_place(|| Testbed::shared().with_unapproving_cert_manager());
        Self::on(server).await
    }

    async fn on(server: &'static ApiServer) -> Arc<Self> {
        let (namespace, interceptor, kubeconfig) = block_in_place(|| {
            let namespace = server.namespace("relay-pki");
            let account = ["create", "serviceaccount", "relay-pki", "-n", &namespace];
            server.must(&account, "");
            server.apply(&role().replace(DOCUMENTED, &namespace));
            let kubeconfig = server.kubeconfig_for_service_account(&namespace, "relay-pki");
            let interceptor = Interceptor::before(server);
            let kubeconfig = interceptor.kubeconfig(&kubeconfig);
            (namespace, interceptor, kubeconfig)
        });
        let kubeconfig = Kubeconfig::from_yaml(&kubeconfig).unwrap();
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(kubeconfig, &options);
        let mut config = config.await.unwrap();
        config.default_retry = false;
        Arc::new(Self {
            server,
            namespace,
            interceptor,
            client: Client::try_from(config).unwrap(),
        })
    }

    /// Runs `kubectl` in the namespace, as the administrator.
    pub(super) fn kubectl(&self, arguments: &[&str], input: &str) -> String {
        let arguments = [arguments, &["-n", &self.namespace]].concat();
        block_in_place(|| self.server.must(&arguments, input))
    }

    pub(super) fn apply(&self, manifests: &str) {
        let apply = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
        self.kubectl(&apply, manifests);
    }

    /// Puts a CA into a Secret, and an Issuer of the same name in front of it.
    pub(super) fn issuer(&self, name: &str, ca: &ForgedCa) -> IssuerRef {
        self.ca_secret(name, ca);
        self.apply(&format!(
            "apiVersion: cert-manager.io/v1\nkind: Issuer\nmetadata: {{ name: {name} }}\n\
             spec: {{ ca: {{ secretName: {name} }} }}\n"
        ));
        IssuerRef::ours(name.to_owned())
    }

    /// Puts a CA into a Secret.
    pub(super) fn ca_secret(&self, name: &str, ca: &ForgedCa) {
        let mut chain = vec![&ca.certificate];
        chain.extend(ca.path.iter().filter(|above| **above != ca.certificate));
        let chain: String = chain.into_iter().map(|above| above.to_pem()).collect();
        self.secret(name, &chain, &ca.key.to_pem());
    }

    pub(super) fn secret(&self, name: &str, certificates: &str, key: &str) {
        self.apply(
            &serde_json::json!({
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": { "name": name },
                "stringData": { "tls.crt": certificates, "tls.key": key },
            })
            .to_string(),
        );
    }

    /// The requests in the namespace.
    pub(super) fn requests(&self) -> Vec<serde_json::Value> {
        let list = ["get", "certificaterequests", "--output=json"];
        let list: serde_json::Value = serde_json::from_str(&self.kubectl(&list, "")).unwrap();
        list["items"].as_array().unwrap().clone()
    }

    /// Certificates that were issued in the namespace.
    pub(super) fn issued(&self) -> usize {
        let requests = self.requests().into_iter();
        requests
            .filter(|request| request["status"]["certificate"].is_string())
            .count()
    }

    /// Writes the status of a request, as cert-manager and approvers do.
    pub(super) fn say(&self, request: &str, status: &serde_json::Value) {
        let patch = serde_json::json!({ "status": status }).to_string();
        let arguments = [
            "patch",
            "certificaterequest",
            request,
            "--subresource=status",
            "--type=merge",
            "--patch",
            &patch,
        ];
        self.kubectl(&arguments, "");
    }
}

#[async_trait]
impl Access for Place {
    async fn client(&self) -> Result<Client, AccessError> {
        Ok(self.client.clone())
    }

    fn forget(&self) {}
}

/// The role of the documentation.
fn role() -> String {
    let blocks = DOCUMENTATION.split("```yaml\n").skip(1);
    let mut blocks = blocks.filter_map(|block| Some(block.split_once("```")?.0));
    blocks
        .find(|block| block.contains("kind: RoleBinding"))
        .unwrap()
        .to_owned()
}

/// Certificates that the user wrote down somewhere.
pub(super) struct Written(pub(super) String);

#[async_trait]
impl Credential for Written {
    fn place(&self) -> String {
        "Secret company-ca, key ca.crt".to_owned()
    }

    async fn read(&self) -> Result<zeroize::Zeroizing<Vec<u8>>, CredentialError> {
        Ok(self.0.clone().into_bytes().into())
    }
}

/// What the document says about a CA behind an issuer.
pub(super) fn existing(issuer: IssuerRef, ca: &ForgedCa) -> ExistingCa {
    let roots = ca.anchors.anchors().iter();
    let certificates = [&ca.certificate].into_iter().chain(&ca.path).chain(roots);
    let certificates = certificates.map(|certificate| certificate.to_pem());
    ExistingCa {
        issuer,
        certificates: Arc::new(Written(certificates.collect())),
    }
}
