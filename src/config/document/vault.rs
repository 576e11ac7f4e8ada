use schemars::JsonSchema;
use serde::Deserialize;

use super::{Credential, Located, Text};

/// Where the PKI engine is mounted.
pub(in crate::config) const MOUNT: &str = "pki";
pub(in crate::config) const SERVER_ROLE: &str = "relay-server";
pub(in crate::config) const AGENT_ROLE: &str = "relay-agent";
pub(in crate::config) const APP_ROLE_MOUNT: &str = "approle";
pub(in crate::config) const KUBERNETES_MOUNT: &str = "kubernetes";

/// CAs in the PKI engine of a Vault or OpenBao server. Exactly one login in `auth`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::config) struct Vault {
    /// `https://` address of the server; `http://` on the loopback interface only.
    pub(in crate::config) address: Text<VaultAddress>,
    /// The Vault namespace, where the server has any.
    pub(in crate::config) namespace: Option<Text<VaultPath>>,
    /// Where the PKI engine is mounted.
    #[schemars(extend("default" = MOUNT))]
    pub(in crate::config) mount: Option<Text<VaultPath>>,
    /// An issuer of the mount, by name or id, that exists already and is the root. Without it the
    /// root is made.
    pub(in crate::config) root_issuer: Option<Text<VaultName>>,
    /// The roles of the mount that leaves are signed by.
    pub(in crate::config) roles: Option<VaultRoles>,
    /// How relay-pki logs in.
    pub(in crate::config) auth: Located<VaultAuth>,
    /// CA certificates in PEM: one of them has to have signed the server's certificate. Without it
    /// the system's CAs are trusted.
    pub(in crate::config) ca_bundle: Option<Located<Credential>>,
    /// The certificate that relay-pki presents to a server which asks for one.
    pub(in crate::config) client_certificate: Option<VaultClientCertificate>,
}

/// Roles of the PKI engine.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::config) struct VaultRoles {
    /// The role of the relay server's certificate.
    #[schemars(extend("default" = SERVER_ROLE))]
    pub(in crate::config) server: Option<Text<VaultName>>,
    /// The role of the agents' certificates.
    #[schemars(extend("default" = AGENT_ROLE))]
    pub(in crate::config) agent: Option<Text<VaultName>>,
}

/// How relay-pki logs in to Vault: exactly one of the ways.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::config) struct VaultAuth {
    /// A token. relay-pki renews it as long as Vault lets it.
    pub(in crate::config) token: Option<Located<Credential>>,
    /// An AppRole.
    pub(in crate::config) app_role: Option<VaultAppRole>,
    /// A token of a Kubernetes service account.
    pub(in crate::config) kubernetes: Option<Located<VaultKubernetes>>,
}

/// A login by AppRole.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::config) struct VaultAppRole {
    /// Where the method is mounted.
    #[schemars(extend("default" = APP_ROLE_MOUNT))]
    pub(in crate::config) mount: Option<Text<VaultPath>>,
    /// The role's id: no secret.
    pub(in crate::config) role_id: Text<VaultName>,
    /// The secret id.
    pub(in crate::config) secret_id: Located<Credential>,
}

/// A login by a service account.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::config) struct VaultKubernetes {
    /// Where the method is mounted.
    #[schemars(extend("default" = KUBERNETES_MOUNT))]
    pub(in crate::config) mount: Option<Text<VaultPath>>,
    /// The role of the method.
    pub(in crate::config) role: Text<VaultName>,
    /// The service account's token. It may be left out in a file, which then means that of the Pod
    /// which relay-pki runs in; an object has to name a Secret.
    pub(in crate::config) token: Option<Located<Credential>>,
}

/// A certificate for a server that asks its clients for one.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::config) struct VaultClientCertificate {
    /// The certificate in PEM, with what leads from it to a CA that the server knows.
    pub(in crate::config) certificate: Located<Credential>,
    /// Its private key in PEM.
    pub(in crate::config) key: Located<Credential>,
}

string_schema!(
    VaultAddress,
    2048,
    r"^https?://[^\s/?#@]+(/[-._~/a-zA-Z0-9]*)?$"
);
string_schema!(
    VaultPath,
    255,
    "^[a-zA-Z0-9_]([-._a-zA-Z0-9]*[a-zA-Z0-9_])?(/[a-zA-Z0-9_]([-._a-zA-Z0-9]*[a-zA-Z0-9_])?)*$"
);
string_schema!(
    VaultName,
    255,
    "^[a-zA-Z0-9_]([-._a-zA-Z0-9]*[a-zA-Z0-9_])?$"
);
