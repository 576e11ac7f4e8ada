use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use jiff::SignedDuration;
use relay_pki_authority::x509::{DnsName, KeyType};
use schemars::JsonSchema;

use super::error::ValueError;
use super::structure::suggestion;
use super::{Address, ClusterName, Lifetime, MetricsUrl, SecretNames};
use crate::renewal::Renewal;

/// Text forms of an enum whose values are words.
macro_rules! words {
    ($type:ident, $what:literal, $($word:literal => $value:ident),+) => {
        impl $type {
            /// The word in the document.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$value => $word,)+
                }
            }
        }

        impl FromStr for $type {
            type Err = ValueError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($word => Ok(Self::$value),)+
                    _ => {
                        let shown: String = text.chars().take(40).collect();
                        Err(ValueError::new(
                            format!("{shown:?} is no {}", $what),
                            suggestion(&shown, &[$($word),+]),
                        ))
                    }
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

mod aws_private_ca;
mod cert_manager;
mod gcp_cas;
mod vault;

pub use self::aws_private_ca::{AwsAuthority, AwsPrivateCaConfig, UsageMode};
pub use self::cert_manager::{CertManagerConfig, Certificates, ExistingCaConfig};
pub use self::gcp_cas::{GcpCasConfig, GcpPool};
pub use self::vault::{VaultAuth, VaultConfig};

/// What the certificates of one relay should be, resolved and checked: defaults are filled in, all
/// references lead somewhere, all lifetimes fit into each other.
#[derive(Debug, Clone, PartialEq)]
pub struct Relay {
    /// The relay's name.
    pub name: String,
    /// The namespace of the relay secrets in every cluster.
    pub namespace: String,
    /// The CA backends by name; never empty.
    pub providers: BTreeMap<String, ProviderConfig>,
    /// The root.
    pub root: RootSpec,
    /// The signer.
    pub signer: SignerSpec,
    /// The relay server's certificate.
    pub server: ServerSpec,
    /// The tokens.
    pub tokens: Tokens,
    /// What agents that enrol prove themselves with.
    pub enrolment_tokens: EnrolmentTokens,
    /// How much whoever serves agents that enrol takes from one address.
    pub enrolment_limits: EnrolmentLimits,
    /// The names of the secrets.
    pub secrets: SecretNames,
    /// How root and signer are rotated.
    pub rotation: RotationSpec,
    /// The clusters in the order of the document; at least one is a management cluster.
    pub clusters: Vec<ClusterSpec>,
    /// A copy of the first management cluster, so that there always is one to give out.
    pub(super) home: ClusterSpec,
}

impl Relay {
    /// The first management cluster, which holds relay-pki's own state.
    pub fn home(&self) -> &ClusterSpec {
        &self.home
    }

    /// Whether a provider is a person with a machine that has no network.
    pub fn is_offline(&self, provider: &str) -> bool {
        self.providers.get(provider) == Some(&ProviderConfig::Offline)
    }

    /// The management clusters.
    pub fn management(&self) -> impl Iterator<Item = &ClusterSpec> {
        self.clusters
            .iter()
            .filter(|cluster| cluster.role == Role::Management)
    }

    /// The clusters that relay-pki reads and writes.
    pub fn in_reach(&self) -> impl Iterator<Item = &ClusterSpec> {
        self.clusters.iter().filter(|spec| spec.is_in_reach())
    }

    /// Whether any agent enrols over EST.
    pub fn enrols(&self) -> bool {
        let mut agents = self.agents();
        agents.any(|(_, agent)| agent.delivery == Delivery::Enroll)
    }

    /// The agent of a cluster that enrols over EST.
    pub fn enrolling(&self, cluster: &str) -> Option<(&ClusterSpec, &AgentSpec)> {
        let mut agents = self.agents();
        agents.find(|(spec, agent)| {
            spec.name.as_str() == cluster && agent.delivery == Delivery::Enroll
        })
    }

    /// The clusters with an agent, and the agents.
    pub fn agents(&self) -> impl Iterator<Item = (&ClusterSpec, &AgentSpec)> {
        self.clusters
            .iter()
            .filter_map(|cluster| Some((cluster, cluster.agent.as_ref()?)))
    }
}

/// A CA backend.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProviderConfig {
    /// Keys made here and kept in the home cluster.
    SelfSigned {
        /// What encrypts them there.
        encryption_key: Option<CredentialSource>,
        /// What encrypted them before.
        previous_encryption_key: Option<CredentialSource>,
    },
    /// A root that a person keeps; it can hold nothing else.
    Offline,
    /// Keys in Google Certificate Authority Service.
    GcpCas(GcpCasConfig),
    /// cert-manager.
    CertManager(Box<CertManagerConfig>),
    /// Keys in AWS Private CA.
    AwsPrivateCa(Box<AwsPrivateCaConfig>),
    /// Keys made and kept by a Vault server.
    Vault(Box<VaultConfig>),
}

/// Where a token, a password or a key is kept that a backend asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialSource {
    /// A file of the person who runs relay-pki.
    File(PathBuf),
    /// A variable in the environment of relay-pki.
    Environment(String),
    /// A Secret of the first management cluster.
    Secret {
        /// The Secret's name.
        name: String,
        /// The key of its data.
        key: String,
    },
}

impl ProviderConfig {
    /// The longest leaf that the backend issues, if it has a limit of its own.
    pub(super) fn longest_leaf(&self) -> Option<Lifetime> {
        match self {
            Self::AwsPrivateCa(config) => config.usage_mode.longest_leaf(),
            _ => None,
        }
    }

    /// The word for this kind of backend in the document.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::SelfSigned { .. } => "selfSigned",
            Self::Offline => "offline",
            Self::AwsPrivateCa(_) => "awsPrivateCa",
            Self::GcpCas(_) => "gcpCas",
            Self::CertManager(_) => "certManager",
            Self::Vault(_) => "vault",
        }
    }
}

/// The root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootSpec {
    /// The provider that holds it: a key of [`Relay::providers`].
    pub provider: String,
    /// Type of its key.
    pub key_type: KeyType,
    /// How long it is valid.
    pub validity: Lifetime,
}

/// The signer.
#[derive(Debug, Clone, PartialEq)]
pub struct SignerSpec {
    /// The provider that holds it: a key of [`Relay::providers`].
    pub provider: String,
    /// Type of its key.
    pub key_type: KeyType,
    /// How long it is valid: less than the root.
    pub validity: Lifetime,
    /// When it is replaced.
    pub renewal: Renewal,
}

/// The relay server's certificate.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerSpec {
    /// How long it is valid: less than the signer.
    pub validity: Lifetime,
    /// Type of its key.
    pub key_type: KeyType,
    /// Its DNS names, each once: the relay authority first, which is also the common name.
    pub names: Vec<DnsName>,
    /// When it is replaced.
    pub renewal: Renewal,
}

/// The tokens that agents introduce themselves with. There always is an identity token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tokens {
    /// Whether there is a forwarding token too.
    pub forwarding: bool,
}

/// How root and signer are rotated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RotationSpec {
    /// Whether no gate is passed while a cluster is missing.
    pub safe_mode: bool,
    /// Without safe mode: how long each gate waits for missing clusters.
    pub safe_start_window: SignedDuration,
    /// How long everything is on new certificates before the old ones are given up.
    pub soak: SignedDuration,
    /// Who lets a rotation into its next phase.
    pub approval: Approval,
    /// What becomes of the old CAs.
    pub old_keys: OldKeys,
    /// Whether a rotation that is due starts by itself.
    pub automatic: bool,
    /// What is restarted, in order.
    pub restart: Vec<Workload>,
}

/// Who lets a rotation into its next phase, once its gate is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Approval {
    /// Nobody: an open gate is passed.
    Automatic,
    /// A person, who names the phase.
    Manual,
}

/// What becomes of the CAs that a rotation has replaced, once nobody needs them any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OldKeys {
    /// Their private keys are destroyed.
    Destroy,
    /// They sign nothing more, and a person can undo that in their backend.
    Disable,
}

/// A workload that is restarted after certificates or trust bundles changed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Workload {
    /// What it is.
    pub kind: WorkloadKind,
    /// Its name.
    pub name: String,
    /// Its namespace; that of the relay secrets in its cluster if there is none.
    pub namespace: Option<String>,
    /// In which clusters it runs.
    pub role: Role,
}

impl Workload {
    /// Whether it runs in this namespace, if that is the one of the relay secrets.
    pub fn is_in(&self, namespace: &str) -> bool {
        let own = self.namespace.as_deref();
        own.is_none_or(|own| own == namespace)
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)?;
        match &self.namespace {
            Some(namespace) => write!(f, " of namespace {namespace}"),
            None => Ok(()),
        }
    }
}

/// Kinds of workloads (`apps/v1`) that can be restarted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, JsonSchema)]
pub enum WorkloadKind {
    /// `Deployment`.
    Deployment,
    /// `StatefulSet`.
    StatefulSet,
    /// `DaemonSet`.
    DaemonSet,
}

/// A cluster of the fleet.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterSpec {
    /// Its name and its agent's identity; unique in the fleet.
    pub name: ClusterName,
    /// What it does.
    pub role: Role,
    /// Its agent. A workload cluster always has one.
    pub agent: Option<AgentSpec>,
    /// Where its objects are.
    pub location: Location,
    /// The namespace of the relay secrets in it.
    pub namespace: String,
    /// Its relay server; nothing is known of one in a workload cluster.
    pub relay_server: RelayServer,
}

/// Where a relay server can be asked how it is, as far as somebody said it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RelayServer {
    /// Where agents connect to.
    pub address: Option<Address>,
    /// Where its metrics are.
    pub metrics: Option<MetricsUrl>,
}

impl ClusterSpec {
    /// Whether relay-pki reads and writes it. Otherwise its agent enrols.
    pub fn is_in_reach(&self) -> bool {
        self.location != Location::Enrolled
    }
}

/// What a cluster does in the relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// The relay server runs here.
    Management,
    /// Only an agent runs here.
    Workload,
}

/// How an agent gets its client certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Delivery {
    /// relay-pki makes key and certificate and writes the secret into the cluster.
    Push,
    /// The relay server signs what its agents ask for; relay-pki only rotates the signer.
    ServerSigned,
    /// The agent keeps its own key and enrols over EST; relay-pki needs no access to its cluster.
    Enroll,
}

/// What agents prove themselves with when they enrol for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum EnrolmentTokens {
    /// A token of its own for each cluster, for one key: `relay-pki token create`.
    #[default]
    PerCluster,
    /// The identity token of the relay does, too: whoever has it can enrol as any cluster.
    Shared,
}

/// How much whoever serves agents that enrol takes from one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EnrolmentLimits {
    /// Refused requests: as many at once, and as many in a minute.
    pub refusals_per_minute: u32,
    /// Connections at a time that present no certificate.
    pub connections_per_address: u32,
}

impl Default for EnrolmentLimits {
    fn default() -> Self {
        Self {
            refusals_per_minute: 20,
            connections_per_address: 256,
        }
    }
}

/// An agent and its client certificate.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentSpec {
    /// How it gets its certificate.
    pub delivery: Delivery,
    /// How long the certificate is valid: less than the signer.
    pub validity: Lifetime,
    /// Type of its key.
    pub key_type: KeyType,
    /// When it is replaced.
    pub renewal: Renewal,
    /// The name of its secret.
    pub client_secret: String,
}

/// Where a cluster's objects are.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Location {
    /// A directory of manifests.
    Directory(PathBuf),
    /// The Kubernetes cluster that relay-pki itself runs in.
    InCluster,
    /// A Kubernetes cluster by a kubeconfig of the person who runs relay-pki.
    Kubeconfig {
        /// The file; what `KUBECONFIG` says, or `~/.kube/config`, if there is none.
        file: Option<PathBuf>,
        /// The context in it; the current one if there is none.
        context: Option<String>,
    },
    /// A Kubernetes cluster by a kubeconfig in a Secret of the first management cluster.
    KubeconfigSecret {
        /// The Secret's name.
        name: String,
        /// The key of its data.
        key: String,
    },
    /// Out of reach: its agent dials in and enrols.
    Enrolled,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => write!(f, "the directory {}", path.display()),
            Self::InCluster => f.write_str("the cluster that relay-pki runs in"),
            Self::Kubeconfig { file, context } => {
                match context {
                    Some(context) => write!(f, "the context {context:?}")?,
                    None => f.write_str("the current context")?,
                }
                match file {
                    Some(file) => write!(f, " of {}", file.display()),
                    None => Ok(()),
                }
            }
            Self::KubeconfigSecret { name, key } => {
                write!(f, "the kubeconfig {key:?} in Secret {name:?}")
            }
            Self::Enrolled => f.write_str("out of reach (its agent enrols)"),
        }
    }
}

words!(Approval, "approval", "automatic" => Automatic, "manual" => Manual);
words!(OldKeys, "fate of old keys", "destroy" => Destroy, "disable" => Disable);
words!(
    WorkloadKind,
    "kind of workload",
    "Deployment" => Deployment,
    "StatefulSet" => StatefulSet,
    "DaemonSet" => DaemonSet
);
words!(Role, "role", "management" => Management, "workload" => Workload);
words!(Delivery, "delivery", "push" => Push, "server-signed" => ServerSigned, "enroll" => Enroll);
words!(EnrolmentTokens, "kind of enrolment token", "perCluster" => PerCluster, "shared" => Shared);
