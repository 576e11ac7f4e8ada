use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use relay_pki_authority::{Credential, Generation};
use serde::{Deserialize, Serialize};

/// What the document says about the provider.
pub struct Settings {
    /// The namespace in which requests are made.
    pub namespace: String,
    /// The CA that certifies signers. Without it the provider has no root.
    pub root: Option<ExistingCa>,
    /// The CA that signs leaves. Without it signers are made in the key store.
    pub signer: Option<ExistingCa>,
    /// The Secret in `namespace` in which the key store keeps a generation; nothing if the key store
    /// is somewhere where cert-manager does not see it.
    pub secret: Option<fn(&Generation) -> String>,
    /// How long a request may wait to be approved and signed, before it is withdrawn.
    pub deadline: Duration,
}

/// A CA that exists behind an issuer.
pub struct ExistingCa {
    /// The issuer.
    pub issuer: IssuerRef,
    /// Its certificates as PEM: from the one that it signs with up to its root.
    pub certificates: Arc<dyn Credential>,
}

/// Names an issuer of cert-manager, or of anybody else who answers `CertificateRequest`s.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuerRef {
    /// `cert-manager.io`, `awspca.cert-manager.io`, ….
    #[serde(default = "IssuerRef::default_group")]
    pub group: String,
    /// `Issuer`, `ClusterIssuer`, `AWSPCAClusterIssuer`, ….
    #[serde(default = "IssuerRef::default_kind")]
    pub kind: String,
    /// Its name.
    pub name: String,
}

impl IssuerRef {
    /// The group of cert-manager's own issuers.
    pub const GROUP: &str = "cert-manager.io";
    /// The kind that is meant where none is named.
    pub const KIND: &str = "Issuer";

    fn default_group() -> String {
        Self::GROUP.to_owned()
    }

    fn default_kind() -> String {
        Self::KIND.to_owned()
    }

    /// An `Issuer` of cert-manager.
    pub(crate) fn ours(name: String) -> Self {
        Self {
            group: Self::default_group(),
            kind: Self::default_kind(),
            name,
        }
    }
}

impl fmt::Display for IssuerRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.group.as_str() {
            Self::GROUP => write!(f, "{} {}", self.kind, self.name),
            group => write!(f, "{}.{group} {}", self.kind, self.name),
        }
    }
}
