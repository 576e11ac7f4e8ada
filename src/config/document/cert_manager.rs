use relay_pki_authority::Level;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Credential, Kubeconfig, Label, SecretName};
use crate::config::Lifetime;
use crate::config::located::{Located, Text};

/// How long requests may wait, where nothing is said about it.
pub(in crate::config) const DEADLINE: Lifetime = Lifetime::days(1);

/// Settings of the cert-manager backend. cert-manager runs in the first management cluster, unless
/// `kubeconfig` says where.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::config) struct CertManager {
    /// The CA that is the root, and certifies signers.
    pub(in crate::config) root: Option<Located<ExistingCa>>,
    /// The CA that is the signer, and signs server and agents. Without it relay-pki makes signers: their
    /// keys are Secrets beside the relay's, with an Issuer in front of each.
    pub(in crate::config) signer: Option<Located<ExistingCa>>,
    /// How long a request may wait to be approved and signed before it is withdrawn.
    #[schemars(extend("default" = DEADLINE))]
    pub(in crate::config) deadline: Option<Text<Lifetime>>,
    /// The cluster that cert-manager runs in. Then signers have to be named.
    pub(in crate::config) kubeconfig: Option<Located<Kubeconfig>>,
    /// The namespace of the requests in that cluster, if not the relay's.
    pub(in crate::config) namespace: Option<Text<Label>>,
}

impl CertManager {
    /// What is said about a level.
    pub(in crate::config) fn existing(&self, level: Level) -> Option<&Located<ExistingCa>> {
        match level {
            Level::Root => self.root.as_ref(),
            Level::Signer => self.signer.as_ref(),
        }
    }
}

/// A CA behind an issuer.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::config) struct ExistingCa {
    /// The issuer that signs with the CA.
    pub(in crate::config) issuer_ref: IssuerRef,
    /// Where the CA's certificates are, PEM: from the one that it signs with up to its root. They
    /// decide what is trusted; what the issuer says about itself does not.
    pub(in crate::config) certificates: Option<Located<Credential>>,
    /// The certificates themselves, instead.
    pub(in crate::config) pem: Option<Text<Pem>>,
}

/// An issuer of cert-manager, or of anybody else who answers CertificateRequests.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::config) struct IssuerRef {
    /// The issuer's name.
    pub(in crate::config) name: Text<SecretName>,
    /// The issuer's kind: `Issuer`, `ClusterIssuer`, or what others call theirs.
    #[schemars(extend("default" = "Issuer"))]
    pub(in crate::config) kind: Option<Text<Kind>>,
    /// The issuer's API group.
    #[schemars(extend("default" = "cert-manager.io"))]
    pub(in crate::config) group: Option<Text<SecretName>>,
}

string_schema!(Kind, 63, "^[A-Z][A-Za-z0-9]*$");
string_schema!(Pem, 16384, "-----BEGIN CERTIFICATE-----");
