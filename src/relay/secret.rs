//! What is in a relay Secret, decoded once.

use std::collections::BTreeMap;
use std::fmt;

use aws_lc_rs::{constant_time, digest};
use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use relay_pki_authority::x509::{CertificateChain, PrivateKey, TrustBundle};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::cluster::{Object, ObjectKey, SecretBytes};

/// Data key of a trust bundle.
pub const CA_CERT: &str = "ca.crt";
/// Data key of a certificate with its chain.
pub const TLS_CERT: &str = "tls.crt";
/// Data key of a private key.
pub const TLS_KEY: &str = "tls.key";
/// Data key of a token.
pub const TOKEN: &str = "token";

/// The type of a Secret with a certificate and its key.
pub const TLS_TYPE: &str = "kubernetes.io/tls";

/// The six Secrets of a relay, by what they are for.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum SecretRole {
    /// The trust bundle (`relay-root-tls-secret`).
    Trust,
    /// The token for an agent's first contact (`relay-identity-token-secret`).
    IdentityToken,
    /// The dashboard's token (`relay-forwarding-identity-token-secret`).
    ForwardingToken,
    /// The signer, for a relay server that signs agents itself (`relay-tls-signing-secret`).
    Signing,
    /// The relay server's certificate (`relay-server-tls-secret`).
    Server,
    /// An agent's client certificate (`relay-client-tls-secret`).
    Client,
}

impl SecretRole {
    /// Whether what is in it changes with root or signer.
    pub fn is_rotated(self) -> bool {
        !matches!(self, Self::IdentityToken | Self::ForwardingToken)
    }
}

impl fmt::Display for SecretRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Trust => "trust bundle",
            Self::IdentityToken => "identity token",
            Self::ForwardingToken => "forwarding token",
            Self::Signing => "signer",
            Self::Server => "server certificate",
            Self::Client => "client certificate",
        })
    }
}

/// A trust bundle Secret.
#[derive(Debug, Clone)]
pub struct TrustContent {
    /// The anchors in `ca.crt`.
    pub bundle: TrustBundle,
    /// A private key that lies beside them, and the error if it does not parse.
    pub key: Option<Result<PrivateKey, String>>,
}

/// A Secret with a certificate in it.
#[derive(Debug, Clone)]
pub struct TlsContent {
    /// `tls.crt`.
    pub chain: CertificateChain,
    /// `tls.key`; it belongs to the chain's first certificate.
    pub key: PrivateKey,
    /// `ca.crt`.
    pub bundle: TrustBundle,
}

/// A token's SHA-256: enough to compare tokens over clusters without carrying them around.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenDigest([u8; 32]);

/// A Secret with `role` that nothing is in yet.
pub fn new_secret(key: ObjectKey, role: SecretRole) -> Object {
    let tls = matches!(
        role,
        SecretRole::Signing | SecretRole::Server | SecretRole::Client
    );
    Object {
        key,
        secret_type: Some(if tls { TLS_TYPE } else { "Opaque" }.to_owned()),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        data: BTreeMap::new(),
    }
}

/// Reads a trust bundle Secret.
pub fn decode_trust(object: &Object) -> Result<TrustContent, String> {
    let bundle = TrustBundle::from_pem(entry(&object.data, CA_CERT)?)
        .map_err(|error| format!("{CA_CERT}: {error}"))?;
    let key = object.data.get(TLS_KEY).map(|bytes| {
        PrivateKey::from_pem(bytes.expose()).map_err(|error| format!("{TLS_KEY}: {error}"))
    });
    Ok(TrustContent { bundle, key })
}

/// Reads a Secret with a certificate, and checks that key and certificate belong together.
pub fn decode_tls(object: &Object) -> Result<TlsContent, String> {
    let of = |key: &str| entry(&object.data, key);
    TlsContent::from_pem(of(TLS_CERT)?, of(TLS_KEY)?, of(CA_CERT)?)
}

/// Reads a token Secret.
pub fn decode_token(object: &Object) -> Result<TokenDigest, String> {
    let token = entry(&object.data, TOKEN)?;
    if token.iter().any(u8::is_ascii_whitespace) {
        return Err(format!(
            "{TOKEN} contains white space, so it will not compare equal"
        ));
    }
    Ok(TokenDigest::of(token))
}

impl TlsContent {
    /// From the three entries, and checks that key and certificate belong together.
    ///
    /// # Errors
    ///
    /// Which of them is wrong, and what is.
    pub fn from_pem(certificate: &[u8], key: &[u8], bundle: &[u8]) -> Result<Self, String> {
        let chain = CertificateChain::from_pem(certificate)
            .map_err(|error| format!("{TLS_CERT}: {error}"))?;
        let key = PrivateKey::from_pem(key).map_err(|error| format!("{TLS_KEY}: {error}"))?;
        let bundle =
            TrustBundle::from_pem(bundle).map_err(|error| format!("{CA_CERT}: {error}"))?;
        if key.public_key() != chain.leaf().public_key() {
            return Err(format!(
                "{TLS_KEY} does not belong to the certificate in {TLS_CERT}"
            ));
        }
        Ok(Self { chain, key, bundle })
    }
}

impl TokenDigest {
    /// The digest of `token`.
    pub fn of(token: &[u8]) -> Self {
        let mut out = [0u8; 32];
        out.copy_from_slice(digest::digest(&digest::SHA256, token).as_ref());
        Self(out)
    }

    /// Whether `token` is the one. It takes the same time however much of it is right.
    pub fn matches(&self, token: &[u8]) -> bool {
        constant_time::verify_slices_are_equal(&self.0, &Self::of(token).0).is_ok()
    }
}

impl fmt::Display for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl Serialize for TokenDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TokenDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok();
        let bytes = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        bytes
            .map(Self)
            .ok_or_else(|| D::Error::custom("a digest of a token has 64 hexadecimal digits"))
    }
}

fn entry<'a>(data: &'a BTreeMap<String, SecretBytes>, key: &str) -> Result<&'a [u8], String> {
    match data.get(key).map(SecretBytes::expose) {
        None => Err(format!("it has no {key}")),
        Some([]) => Err(format!("its {key} is empty")),
        Some(bytes) => Ok(bytes),
    }
}
