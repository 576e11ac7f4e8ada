//! What `vaultrs` does not know, or knows wrongly: its path of `renew-self` begins with a tab, and it
//! cannot name an issuer that it makes, nor sign by a role with a certain issuer.

use std::collections::BTreeMap;

use rustify_derive::Endpoint;
use serde::Deserialize;

/// Renews the token that asks.
#[derive(Endpoint)]
#[endpoint(path = "auth/token/renew-self", method = "POST")]
pub(crate) struct RenewSelf {}

/// Asks what the token may do.
#[derive(Endpoint)]
#[endpoint(path = "sys/capabilities-self", method = "POST")]
pub(crate) struct CapabilitiesSelf {
    pub(crate) paths: Vec<String>,
}

/// Makes a root, its key new or, for `existing`, one that is there.
#[derive(Endpoint, Default)]
#[endpoint(
    path = "{self.mount}/issuers/generate/root/{self.key}",
    method = "POST"
)]
pub(crate) struct GenerateRoot {
    #[endpoint(skip)]
    pub(crate) mount: String,
    #[endpoint(skip)]
    pub(crate) key: &'static str,
    pub(crate) issuer_name: String,
    pub(crate) key_name: Option<String>,
    pub(crate) key_ref: Option<String>,
    pub(crate) key_type: Option<&'static str>,
    pub(crate) key_bits: Option<u64>,
    pub(crate) common_name: String,
    pub(crate) organization: Vec<String>,
    pub(crate) exclude_cn_from_sans: bool,
    pub(crate) not_before_duration: u64,
    pub(crate) not_after: String,
}

/// Reads an issuer with its settings.
#[derive(Endpoint)]
#[endpoint(path = "{self.mount}/issuer/{self.issuer}")]
pub(crate) struct ReadIssuer {
    #[endpoint(skip)]
    pub(crate) mount: String,
    #[endpoint(skip)]
    pub(crate) issuer: String,
}

/// Changes the given settings of an issuer and no other, as a POST would.
#[derive(Endpoint, Default)]
#[endpoint(path = "{self.mount}/issuer/{self.issuer}", method = "PATCH")]
pub(crate) struct PatchIssuer {
    #[endpoint(skip)]
    pub(crate) mount: String,
    #[endpoint(skip)]
    pub(crate) issuer: String,
    pub(crate) issuer_name: Option<String>,
    pub(crate) usage: Option<&'static str>,
}

/// Signs a leaf: the role says what is allowed, the path which issuer signs.
#[derive(Endpoint)]
#[endpoint(
    path = "{self.mount}/issuer/{self.issuer}/sign/{self.role}",
    method = "POST"
)]
pub(crate) struct SignLeaf {
    #[endpoint(skip)]
    pub(crate) mount: String,
    #[endpoint(skip)]
    pub(crate) issuer: String,
    #[endpoint(skip)]
    pub(crate) role: String,
    pub(crate) csr: String,
    pub(crate) common_name: String,
    pub(crate) alt_names: String,
    pub(crate) exclude_cn_from_sans: bool,
    pub(crate) not_after: String,
}

/// Revokes a certificate, whether or not Vault kept it.
#[derive(Endpoint)]
#[endpoint(path = "{self.mount}/revoke", method = "POST")]
pub(crate) struct Revoke {
    #[endpoint(skip)]
    pub(crate) mount: String,
    pub(crate) certificate: Option<String>,
    pub(crate) serial_number: Option<String>,
}

/// Reads the list of what an issuer revoked.
#[derive(Endpoint)]
#[endpoint(path = "{self.mount}/issuer/{self.issuer}/crl")]
pub(crate) struct ReadCrl {
    #[endpoint(skip)]
    pub(crate) mount: String,
    #[endpoint(skip)]
    pub(crate) issuer: String,
}

/// Has the lists of all issuers of a mount made anew.
#[derive(Endpoint)]
#[endpoint(path = "{self.mount}/crl/rotate")]
pub(crate) struct RotateCrl {
    #[endpoint(skip)]
    pub(crate) mount: String,
}

/// A revocation list, in PEM.
#[derive(Debug, Deserialize)]
pub(crate) struct CrlReply {
    pub(crate) crl: String,
}

/// An issuer as [`ReadIssuer`] shows it.
#[derive(Debug, Deserialize)]
pub(crate) struct IssuerReply {
    pub(crate) issuer_id: String,
    pub(crate) certificate: String,
    #[serde(default)]
    pub(crate) ca_chain: Option<Vec<String>>,
    /// Older servers do not know usages: everything is allowed there.
    #[serde(default)]
    pub(crate) usage: Option<String>,
    #[serde(default)]
    pub(crate) revoked: bool,
}

/// A certificate that was made.
#[derive(Debug, Deserialize)]
pub(crate) struct CertificateReply {
    pub(crate) certificate: String,
}

/// A certificate request that was made.
#[derive(Debug, Deserialize)]
pub(crate) struct CsrReply {
    pub(crate) csr: String,
}

/// Which issuers an import came to; their keys, where Vault has them.
#[derive(Debug, Deserialize)]
pub(crate) struct ImportReply {
    #[serde(default)]
    pub(crate) mapping: BTreeMap<String, String>,
}

/// The issuers of a mount.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct IssuersReply {
    #[serde(default)]
    pub(crate) keys: Vec<String>,
    #[serde(default)]
    pub(crate) key_info: BTreeMap<String, IssuerInfo>,
}

/// What a list says about an issuer.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct IssuerInfo {
    #[serde(default)]
    pub(crate) issuer_name: String,
}

/// What a token says about itself.
#[derive(Debug, Deserialize)]
pub(crate) struct TokenReply {
    /// In seconds; 0 is for ever.
    pub(crate) ttl: u64,
    #[serde(default)]
    pub(crate) renewable: bool,
}
