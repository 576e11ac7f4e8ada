//! The document exactly as it is written. Its types are where the JSON schema comes from: the doc
//! comments are what users read there.

use std::collections::BTreeMap;

use relay_pki_authority::x509::KeyType;
use schemars::JsonSchema;
use serde::Deserialize;

use super::lifetime::Lifetime;
use super::lifetimes;
use super::located::{Located, Text};
use super::names::ClusterName;
use super::schedule::Schedule;
use super::spec;
use super::{Approval, Delivery, EnrolmentTokens, OldKeys, Role, WorkloadKind};
use crate::renewal::RenewAt;

/// Declares what a string has to look like that is checked, and typed, when it is resolved.
macro_rules! string_schema {
    ($name:ident, $max:literal, $pattern:literal) => {
        #[derive(Debug)]
        #[doc = concat!("A string that matches `", $pattern, "`.")]
        pub(in crate::config) enum $name {}

        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "string", "minLength": 1, "maxLength": $max, "pattern": $pattern,
                })
            }
        }
    };
}

mod aws_private_ca;
mod cert_manager;
mod gcp_cas;
mod vault;

pub(super) use self::aws_private_ca::AwsPrivateCa;
pub(super) use self::cert_manager::{CertManager, DEADLINE, ExistingCa};
pub(super) use self::gcp_cas::GcpCas;
pub(super) use self::vault::*;

/// `apiVersion` of the document.
pub const API_VERSION: &str = "relay-pki.dev/v1alpha1";
/// `kind` of the document.
pub const KIND: &str = "Relay";

pub(super) const NAMESPACE: &str = "gloo-mesh";
pub(super) const KUBECONFIG_KEY: &str = "kubeconfig";

/// What the certificates of one relay should be: its CAs, its server, its agents and the clusters
/// that they run in.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Relay {
    /// Version of the document's format: `relay-pki.dev/v1alpha1`.
    #[schemars(extend("const" = API_VERSION))]
    pub(super) api_version: Text<String>,
    /// Kind of document: `Relay`.
    #[schemars(extend("const" = KIND))]
    pub(super) kind: Text<String>,
    /// What identifies the relay.
    pub(super) metadata: Metadata,
    /// What the relay should be.
    pub(super) spec: Located<Spec>,
}

/// What identifies the relay.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Metadata {
    /// Name of the relay: lower-case letters, digits and `-`, up to 63 characters.
    pub(super) name: Text<Label>,
}

/// What the relay should be.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Spec {
    /// Namespace of the relay secrets, the same in every cluster.
    #[schemars(extend("default" = NAMESPACE))]
    pub(super) namespace: Option<Text<Label>>,
    /// The CA backends, by the names that the other parts use for them. Without it there is one,
    /// `local`, that is self-signed.
    pub(super) providers: Option<Located<BTreeMap<String, Located<Provider>>>>,
    /// The root: the trust anchor of the relay.
    pub(super) root: Option<Located<Root>>,
    /// The signer: the intermediate CA under the root that signs server and agents.
    pub(super) signer: Option<Located<Signer>>,
    /// The certificate of the relay server.
    pub(super) server: Option<Located<Server>>,
    /// The client certificates of the agents.
    pub(super) agents: Option<Located<Agents>>,
    /// The tokens that agents introduce themselves with. Without it there are both.
    pub(super) tokens: Option<Tokens>,
    /// How agents enrol that keep their own keys (`delivery: enroll`).
    pub(super) enrolment: Option<Enrolment>,
    /// Names of the secrets, where they are not the usual ones.
    pub(super) secrets: Option<Secrets>,
    /// How root and signer are rotated.
    pub(super) rotation: Option<Located<Rotation>>,
    /// The clusters of the fleet: at least one of them a management cluster.
    pub(super) clusters: Located<Vec<Located<Cluster>>>,
}

/// How root and signer are rotated: phase by phase, each with a gate.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Rotation {
    /// Whether no gate is passed while a cluster is missing.
    #[schemars(extend("default" = true))]
    pub(super) safe_mode: Option<Text<bool>>,
    /// Without `safeMode`: how long each gate waits for clusters that are missing before it goes on
    /// without them.
    #[schemars(extend("default" = lifetimes::SAFE_START_WINDOW))]
    pub(super) safe_start_window: Option<Text<Pause>>,
    /// How long everything is on new certificates before the old ones are given up.
    #[schemars(extend("default" = lifetimes::SOAK))]
    pub(super) soak: Option<Text<Pause>>,
    /// Who lets a rotation into its next phase, once the gate is open.
    #[schemars(extend("default" = "automatic"))]
    pub(super) approval: Option<Text<Approval>>,
    /// What becomes of the old CAs once nobody needs them any more: `disable` only where their provider can
    /// disable a CA. Those given up with `--emergency`, and new ones that are taken back, are destroyed.
    #[schemars(extend("default" = "destroy"))]
    pub(super) old_keys: Option<Text<OldKeys>>,
    /// Whether a rotation starts by itself when root or signer near their end, or when others are asked
    /// for.
    #[schemars(extend("default" = false))]
    pub(super) automatic: Option<Text<bool>>,
    /// Workloads that are restarted when certificates or trust bundles change, in this order, each
    /// once the one before it is rolled out.
    pub(super) restart: Option<Vec<Located<Workload>>>,
}

/// A workload that does not read changed certificates by itself.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Workload {
    /// What kind of object it is, in `apps/v1`.
    pub(super) kind: Text<WorkloadKind>,
    /// The name of the workload.
    pub(super) name: Text<SecretName>,
    /// Its namespace; without it that of the relay secrets in its cluster.
    pub(super) namespace: Option<Text<Label>>,
    /// In which clusters it runs.
    pub(super) role: Text<Role>,
}

/// A CA backend: exactly one of the kinds.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Provider {
    /// CA keys are made by relay-pki and kept in the management cluster.
    pub(super) self_signed: Option<SelfSigned>,
    /// The root is kept by a person, on a machine without a network: `relay-pki signer csr` prints what
    /// is to be signed, `relay-pki signer install` takes the certificates. For the root only.
    pub(super) offline: Option<Offline>,
    /// CA keys are made by Google Certificate Authority Service and never leave it.
    pub(super) gcp_cas: Option<GcpCas>,
    /// cert-manager issues, through its issuers or those of others.
    pub(super) cert_manager: Option<CertManager>,
    /// CA keys are made by AWS Private CA and never leave it.
    pub(super) aws_private_ca: Option<AwsPrivateCa>,
    /// CA keys are made by a Vault or OpenBao server and stay there.
    pub(super) vault: Option<Located<Vault>>,
}

/// Settings of an offline root: there are none.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Offline {}

/// Settings of the self-signed backend.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SelfSigned {
    /// What encrypts the CA keys where they are kept: 32 bytes, as 64 hexadecimal digits or in base64.
    /// Without it they are Secrets like any other.
    pub(super) encryption_key: Option<Located<Credential>>,
    /// What encrypted them before, while `bootstrap` changes it. Take it out afterwards.
    pub(super) previous_encryption_key: Option<Located<Credential>>,
}

/// The root: the trust anchor of the relay.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Root {
    /// Name of the provider that holds the root. May be left out if there is one provider only.
    pub(super) provider: Option<Text<Label>>,
    /// Type of the root's key.
    #[schemars(extend("default" = KeyType::default()))]
    pub(super) key_type: Option<Text<KeyType>>,
    /// How long the root is valid; longer than the signer, at least `1d`.
    #[schemars(extend("default" = lifetimes::ROOT))]
    pub(super) validity: Option<Text<Lifetime>>,
}

/// The signer: the intermediate CA under the root that signs server and agents.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Signer {
    /// Name of the provider that holds the signer. May be left out if there is one provider only.
    pub(super) provider: Option<Text<Label>>,
    /// Type of the signer's key.
    #[schemars(extend("default" = KeyType::default()))]
    pub(super) key_type: Option<Text<KeyType>>,
    /// How long the signer is valid; shorter than the root, longer than what it signs, at least
    /// `1h`.
    #[schemars(extend("default" = lifetimes::SIGNER))]
    pub(super) validity: Option<Text<Lifetime>>,
    /// Share of the issued lifetime after which the signer is replaced.
    #[schemars(extend("default" = RenewAt::DEFAULT.share()))]
    pub(super) renew_at: Option<Text<RenewAt>>,
    /// The only times at which it is replaced: a crontab expression, in UTC.
    pub(super) schedule: Option<Text<Schedule>>,
}

/// The certificate of the relay server.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Server {
    /// How long the certificate is valid; shorter than the signer, at least `10m`.
    #[schemars(extend("default" = lifetimes::SERVER))]
    pub(super) validity: Option<Text<Lifetime>>,
    /// Type of the server's key.
    #[schemars(extend("default" = KeyType::default()))]
    pub(super) key_type: Option<Text<KeyType>>,
    /// DNS names besides `gloo-mesh-mgmt-server.<namespace>` and `*.<namespace>`.
    pub(super) extra_dns_names: Option<Vec<Text<DnsNameText>>>,
    /// Share of the issued lifetime after which the certificate is replaced.
    #[schemars(extend("default" = RenewAt::DEFAULT.share()))]
    pub(super) renew_at: Option<Text<RenewAt>>,
    /// The only times at which it is replaced: a crontab expression, in UTC.
    pub(super) schedule: Option<Text<Schedule>>,
}

/// The client certificates of the agents.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Agents {
    /// How agents get their certificates, where their cluster does not say otherwise.
    #[schemars(extend("default" = "push"))]
    pub(super) delivery: Option<Text<Delivery>>,
    /// How long the certificates are valid; shorter than the signer, at least `10m`.
    #[schemars(extend("default" = lifetimes::AGENT))]
    pub(super) validity: Option<Text<Lifetime>>,
    /// Type of the agents' keys.
    #[schemars(extend("default" = KeyType::default()))]
    pub(super) key_type: Option<Text<KeyType>>,
    /// Share of the issued lifetime after which a certificate is replaced.
    #[schemars(extend("default" = RenewAt::DEFAULT.share()))]
    pub(super) renew_at: Option<Text<RenewAt>>,
    /// The only times at which they are replaced: a crontab expression, in UTC.
    pub(super) schedule: Option<Text<Schedule>>,
}

/// The tokens that agents introduce themselves with.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Tokens {
    /// The identity token. There always is one.
    #[expect(dead_code, reason = "it has no settings, but has to be written")]
    identity: Token,
    /// The forwarding token of 1.x relays. Leave it out where nothing uses it.
    pub(super) forwarding: Option<Token>,
}

/// How agents enrol that keep their own keys.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Enrolment {
    /// What an agent proves itself with the first time: a token of its own cluster, or the identity
    /// token that all clusters share.
    #[schemars(extend("default" = EnrolmentTokens::default().as_str()))]
    pub(super) tokens: Option<Text<EnrolmentTokens>>,
    /// How much is taken from one address: more, where a whole fleet comes from one.
    pub(super) limits: Option<EnrolmentLimits>,
}

/// How much is taken from one address.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct EnrolmentLimits {
    /// Requests that were refused, in a minute: as many at once, then one at a time. Those that are granted
    /// do not count.
    #[schemars(range(min = 1, max = 6000), extend("default" = spec::EnrolmentLimits::default().refusals_per_minute))]
    pub(super) refusals_per_minute: Option<Text<u32>>,
    /// Connections at a time that present no certificate.
    #[schemars(range(min = 1, max = 4096), extend("default" = spec::EnrolmentLimits::default().connections_per_address))]
    pub(super) connections_per_address: Option<Text<u32>>,
}

/// Settings of a token: none.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Token {}

/// Names of the secrets, where they are not the usual ones.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Secrets {
    /// The trust bundle, in every cluster.
    #[schemars(extend("default" = "relay-root-tls-secret"))]
    pub(super) root: Option<Text<SecretName>>,
    /// The signer, in management clusters.
    #[schemars(extend("default" = "relay-tls-signing-secret"))]
    pub(super) signing: Option<Text<SecretName>>,
    /// The relay server's certificate, in management clusters.
    #[schemars(extend("default" = "relay-server-tls-secret"))]
    pub(super) server: Option<Text<SecretName>>,
    /// An agent's certificate, where the agent is; `<cluster>` stands for the cluster's name, as in
    /// `gloo-mesh-agent-<cluster>-tls-cert`.
    #[schemars(extend("default" = "relay-client-tls-secret"))]
    pub(super) client: Option<Text<ClientSecretName>>,
    /// The identity token, in every cluster.
    #[schemars(extend("default" = "relay-identity-token-secret"))]
    pub(super) identity_token: Option<Text<SecretName>>,
    /// The forwarding token, in every cluster.
    #[schemars(extend("default" = "relay-forwarding-identity-token-secret"))]
    pub(super) forwarding_token: Option<Text<SecretName>>,
}

/// A cluster of the fleet.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Cluster {
    /// The cluster's name, which is its agent's identity: the same as in its `KubernetesCluster`
    /// object. Up to 63 lower-case letters, digits, `-` and `.`.
    pub(super) name: Text<ClusterName>,
    /// What the cluster does in the relay.
    pub(super) role: Text<Role>,
    /// Directory of the cluster's manifests; relative to this document. Exactly one of `directory`,
    /// `kubeconfig` and `inCluster` says where the cluster is; none where the agent enrols.
    pub(super) directory: Option<Text<FilePath>>,
    /// The kubeconfig of a Kubernetes cluster: a context of the person who runs relay-pki, or a
    /// Secret.
    pub(super) kubeconfig: Option<Located<Kubeconfig>>,
    /// The Kubernetes cluster that relay-pki itself runs in.
    pub(super) in_cluster: Option<Located<InCluster>>,
    /// Where the relay server of this cluster can be asked what it presents and who is connected, while root
    /// or signer are rotated. For management clusters only.
    pub(super) relay_server: Option<Located<RelayServer>>,
    /// Namespace of the relay secrets in this cluster, if not the relay's.
    pub(super) namespace: Option<Text<Label>>,
    /// Whether an agent runs beside the server. For management clusters only: a workload cluster
    /// always has an agent.
    pub(super) agent: Option<Text<bool>>,
    /// How this cluster's agent gets its certificate, if not as `agents.delivery` says.
    pub(super) delivery: Option<Text<Delivery>>,
    /// How long this agent's certificate is valid, if not as `agents.validity` says.
    pub(super) validity: Option<Text<Lifetime>>,
    /// Name of this agent's secret, if not as `secrets.client` says.
    pub(super) client_secret: Option<Text<ClientSecretName>>,
}

/// How a relay server can be reached from where relay-pki runs. A name with several addresses, such as that of
/// a headless Service, stands for all of them.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RelayServer {
    /// Where agents connect to: host and port. The chain presented there is verified with every trust bundle
    /// in use.
    pub(super) address: Option<Text<AddressText>>,
    /// Where its metrics are: a URL with `http://`. By `relay_push_clients_connected`, every agent has to be
    /// connected.
    pub(super) metrics: Option<Text<MetricsText>>,
}

/// The kubeconfig of a Kubernetes cluster. Without anything in it: the current context.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Kubeconfig {
    /// The kubeconfig file; relative to this document, `~` is not expanded. Without it the one that
    /// `KUBECONFIG` names, or else `~/.kube/config`.
    pub(super) file: Option<Text<FilePath>>,
    /// The context in the file; without it the current one.
    pub(super) context: Option<Text<ContextName>>,
    /// A Secret in the relay's namespace of the first management cluster, instead of a file.
    pub(super) secret_ref: Option<SecretRef>,
}

/// A Secret that holds a kubeconfig.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SecretRef {
    /// Name of the Secret.
    pub(super) name: Text<SecretName>,
    /// Key of its data that holds the kubeconfig.
    #[schemars(extend("default" = KUBECONFIG_KEY))]
    pub(super) key: Option<Text<DataKey>>,
}

/// Where a token, a password or a key is kept: exactly one of the places. It is never written into a
/// document itself.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Credential {
    /// A file; relative to this document.
    pub(super) file: Option<Text<FilePath>>,
    /// A variable in the environment of relay-pki.
    pub(super) env: Option<Text<VariableName>>,
    /// A Secret in the relay's namespace of the first management cluster.
    pub(super) secret_ref: Option<Located<CredentialSecret>>,
}

/// A Secret that holds a credential.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct CredentialSecret {
    /// Name of the Secret.
    pub(super) name: Text<SecretName>,
    /// Key of its data that holds the credential.
    pub(super) key: Text<DataKey>,
}

/// The Kubernetes cluster that relay-pki itself runs in: no settings.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct InCluster {}

string_schema!(
    Pause,
    40,
    "^([0-9]+y)?([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$"
);
string_schema!(Label, 63, "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$");
string_schema!(SecretName, 253, "^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$");
string_schema!(
    ClientSecretName,
    253,
    "^([a-z0-9]|<cluster>)(([-.a-z0-9]|<cluster>)*([a-z0-9]|<cluster>))?$"
);
string_schema!(
    DnsNameText,
    253,
    r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
);
string_schema!(FilePath, 4096, ".");
string_schema!(AddressText, 261, r"^[^\s/?#@]+:[0-9]{1,5}$");
string_schema!(
    MetricsText,
    2048,
    r"^http://[^\s/?#@]+(/[-._~/a-zA-Z0-9]*)?$"
);
string_schema!(ContextName, 2048, ".");
string_schema!(DataKey, 253, "^[-._a-zA-Z0-9]+$");
string_schema!(VariableName, 255, "^[A-Za-z_][A-Za-z0-9_]*$");
string_schema!(
    GcpPoolName,
    230,
    "^projects/[-a-zA-Z0-9.:]{1,63}/locations/[-a-zA-Z0-9]{1,63}/caPools/[-_a-zA-Z0-9]{1,63}$"
);
string_schema!(GcpUrl, 253, "^https?://[^/?#@]+/?$");
string_schema!(AwsRegion, 32, "^[a-z0-9]+(-[a-z0-9]+)+$");
string_schema!(
    AwsAuthorityArn,
    250,
    "^arn:[-a-z0-9]+:acm-pca:[-a-z0-9]+:[0-9]{12}:certificate-authority/[-a-z0-9]+$"
);
string_schema!(AwsProfile, 128, "^[-A-Za-z0-9_+=,.@:/]+$");
string_schema!(
    AwsRoleArn,
    640,
    "^arn:[-a-z0-9]+:iam::[0-9]{12}:role/[-A-Za-z0-9_+=,.@:/]+$"
);
string_schema!(ExternalId, 1224, "^[-A-Za-z0-9_+=,.@:/]+$");
string_schema!(ServiceUrl, 2048, "^https?://[^?#]+$");
