use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use rustls_pki_types::UnixTime;
use webpki::{EndEntityCert, KeyUsage as Purpose, anchor_from_trusted_cert};
use x509_parser::asn1_rs::{BitString, Oid};
use x509_parser::oid_registry::{
    OID_PKCS1_SHA256WITHRSA, OID_PKCS1_SHA384WITHRSA, OID_PKCS1_SHA512WITHRSA,
    OID_SIG_ECDSA_WITH_SHA256, OID_SIG_ECDSA_WITH_SHA384, OID_SIG_ED25519,
};
use x509_parser::prelude::{FromDer as _, SubjectPublicKeyInfo};
use x509_parser::x509::AlgorithmIdentifier;

use super::{CertificateChain, PublicKey, TrustBundle, X509Error};
use crate::profile::KeyUsage;

mod walk;

pub(crate) use walk::{Window, walk};

/// Signature algorithms that are accepted anywhere. No SHA-1, no MD5.
const ACCEPTED: [Oid<'static>; 6] = [
    OID_PKCS1_SHA256WITHRSA,
    OID_PKCS1_SHA384WITHRSA,
    OID_PKCS1_SHA512WITHRSA,
    OID_SIG_ECDSA_WITH_SHA256,
    OID_SIG_ECDSA_WITH_SHA384,
    OID_SIG_ED25519,
];

pub(super) fn verify_signature(
    key: &PublicKey,
    algorithm: &AlgorithmIdentifier<'_>,
    signature: &BitString<'_>,
    message: &[u8],
) -> Result<(), X509Error> {
    let unsupported = || X509Error::UnsupportedSignature {
        found: algorithm.algorithm.to_id_string(),
    };
    if !ACCEPTED.contains(&algorithm.algorithm) {
        return Err(unsupported());
    }
    let (_, spki) =
        SubjectPublicKeyInfo::from_der(key.spki_der()).map_err(|error| X509Error::Malformed {
            what: "public key",
            reason: error.to_string(),
        })?;
    x509_parser::verify::verify_signature(&spki, algorithm, signature, message).map_err(|error| {
        match error {
            x509_parser::error::X509Error::SignatureUnsupportedAlgorithm => unsupported(),
            _ => X509Error::BadSignature { what: "signature" },
        }
    })
}

/// Which side of the TLS handshake the certificate's holder is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerRole {
    /// The holder serves: the relay server.
    Server,
    /// The holder dials: an agent.
    Client,
}

/// Why no acceptable path leads from a chain to a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathError {
    /// Which of the two verifiers objected.
    pub verifier: &'static str,
    /// What is wrong, naming the certificate.
    pub reason: String,
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.reason, self.verifier)
    }
}

impl std::error::Error for PathError {}

/// Verifies `chain` against `bundle` at `at` twice: with rustls-webpki, and with our own walk, which
/// also looks at what webpki leaves out (expired anchors, keyUsage, key identifiers, the anchor's
/// path length) because OpenSSL and Go peers look at it. Both must accept.
pub fn verify_path(
    chain: &CertificateChain,
    bundle: &TrustBundle,
    role: PeerRole,
    at: Timestamp,
) -> Result<(), PathError> {
    let leaf = chain.leaf();
    if let Some(usage) = leaf.key_usage()
        && !usage.contains(KeyUsage::DIGITAL_SIGNATURE)
        && !(role == PeerRole::Server && usage.contains(KeyUsage::KEY_ENCIPHERMENT))
    {
        return Err(PathError {
            verifier: "own checks",
            reason: format!("{} may not sign handshakes (keyUsage)", leaf.subject()),
        });
    }
    walk(leaf, chain.intermediates(), bundle, Some(at), 0)?;
    webpki_verify(chain, bundle, role, at)
}

pub(crate) fn webpki_verify(
    chain: &CertificateChain,
    bundle: &TrustBundle,
    role: PeerRole,
    at: Timestamp,
) -> Result<(), PathError> {
    let refused = |error: webpki::Error| PathError {
        verifier: "webpki",
        reason: format!("{}: {error}", chain.leaf().subject()),
    };
    let leaf = EndEntityCert::try_from(chain.leaf().der()).map_err(refused)?;
    let intermediates: Vec<_> = chain
        .intermediates()
        .iter()
        .map(|certificate| certificate.der().clone())
        .collect();
    let anchors = bundle
        .anchors()
        .iter()
        .map(|anchor| anchor_from_trusted_cert(anchor.der()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(refused)?;
    let usage = match role {
        PeerRole::Server => Purpose::server_auth(),
        PeerRole::Client => Purpose::client_auth(),
    };
    let seconds = u64::try_from(at.as_second()).unwrap_or(0);
    leaf.verify_for_usage(
        webpki::ALL_VERIFICATION_ALGS,
        &anchors,
        &intermediates,
        UnixTime::since_unix_epoch(Duration::from_secs(seconds)),
        usage,
        None,
        None,
    )
    .map(|_| ())
    .map_err(refused)
}
