use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use rustls_pki_types::UnixTime;
use webpki::{EndEntityCert, KeyUsage as Purpose, anchor_from_trusted_cert};
use x509_parser::asn1_rs::BitString;
use x509_parser::prelude::{FromDer as _, SubjectPublicKeyInfo};
use x509_parser::x509::AlgorithmIdentifier;

use super::{Certificate, CertificateChain, PublicKey, TrustBundle, X509Error};
use crate::profile::KeyUsage;

/// Signature algorithms that are accepted anywhere. No SHA-1, no MD5.
const ACCEPTED: [&str; 6] = [
    "1.2.840.113549.1.1.11", // sha256WithRSAEncryption
    "1.2.840.113549.1.1.12", // sha384WithRSAEncryption
    "1.2.840.113549.1.1.13", // sha512WithRSAEncryption
    "1.2.840.10045.4.3.2",   // ecdsa-with-SHA256
    "1.2.840.10045.4.3.3",   // ecdsa-with-SHA384
    "1.3.101.112",           // Ed25519
];

pub(super) fn verify_signature(
    key: &PublicKey,
    algorithm: &AlgorithmIdentifier<'_>,
    signature: &BitString<'_>,
    message: &[u8],
) -> Result<(), X509Error> {
    let oid = algorithm.algorithm.to_id_string();
    let unsupported = || X509Error::UnsupportedSignature { found: oid.clone() };
    if !ACCEPTED.contains(&oid.as_str()) {
        return Err(unsupported());
    }
    let (_, spki) = SubjectPublicKeyInfo::from_der(key.spki_der()).map_err(|error| {
        X509Error::Malformed {
            what: "public key",
            reason: error.to_string(),
        }
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
    /// Who objected.
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
    walk(chain.leaf(), chain.intermediates(), bundle, at, 0)?;
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

/// Depth-first search for a path from `certificate` to an anchor. Depth and fan-out are bounded by
/// the length of the chain; a signature is only checked where name and key identifier fit.
fn walk(
    certificate: &Certificate,
    candidates: &[Certificate],
    bundle: &TrustBundle,
    at: Timestamp,
    cas_below: u32,
) -> Result<(), PathError> {
    let refuse = |reason: String| PathError {
        verifier: "own checks",
        reason,
    };
    let subject = certificate.subject();
    if !certificate.is_valid_at(at) {
        let (from, to) = (certificate.not_before(), certificate.not_after());
        return Err(refuse(format!("{subject} is valid from {from} to {to}, not at {at}")));
    }
    if let Some(oid) = certificate.unknown_critical_extensions().first() {
        return Err(refuse(format!("{subject} has the unknown critical extension {oid}")));
    }
    let mut objection = None;
    let mut consider = |issuer: &Certificate, anchor: bool| -> bool {
        let outcome = issuer_objection(certificate, issuer, at, cas_below, anchor);
        match outcome {
            None => true,
            Some(reason) => {
                objection.get_or_insert(reason);
                false
            }
        }
    };
    for anchor in bundle.anchors() {
        if certificate == anchor {
            return Ok(());
        }
        if certificate.names_as_issuer(anchor) && consider(anchor, true) {
            return Ok(());
        }
    }
    let mut deeper = None;
    for (index, candidate) in candidates.iter().enumerate() {
        if certificate.names_as_issuer(candidate) && consider(candidate, false) {
            let rest: Vec<Certificate> = candidates
                .iter()
                .enumerate()
                .filter(|(other, _)| *other != index)
                .map(|(_, certificate)| certificate.clone())
                .collect();
            match walk(candidate, &rest, bundle, at, cas_below + 1) {
                Ok(()) => return Ok(()),
                Err(error) => deeper = deeper.or(Some(error)),
            }
        }
    }
    Err(deeper.unwrap_or_else(|| {
        refuse(objection.unwrap_or_else(|| {
            format!(
                "{subject} was issued by {}, which is neither in the chain nor in the bundle",
                certificate.issuer()
            )
        }))
    }))
}

/// What speaks against `issuer` having issued `certificate`, with `cas_below` CA certificates
/// between `issuer`'s child and the leaf. `None` when nothing does.
fn issuer_objection(
    certificate: &Certificate,
    issuer: &Certificate,
    at: Timestamp,
    cas_below: u32,
    anchor: bool,
) -> Option<String> {
    let name = issuer.subject();
    if !issuer.is_valid_at(at) {
        let what = if anchor { "root" } else { "issuer" };
        let (from, to) = (issuer.not_before(), issuer.not_after());
        return Some(format!("the {what} {name} is valid from {from} to {to}, not at {at}"));
    }
    if !issuer.is_ca() {
        return Some(format!("the issuer {name} is not a CA"));
    }
    if issuer
        .key_usage()
        .is_some_and(|usage| !usage.contains(KeyUsage::KEY_CERT_SIGN))
    {
        return Some(format!("the issuer {name} may not sign certificates (keyUsage)"));
    }
    if let Some(limit) = issuer.basic_constraints().and_then(|found| found.path_len)
        && cas_below > limit
    {
        return Some(format!(
            "the issuer {name} allows {limit} CA certificates below it, the chain has {cas_below}"
        ));
    }
    if !certificate.is_signed_by(issuer.public_key()) {
        return Some(format!(
            "{} names {name} as its issuer, but that key did not sign it",
            certificate.subject()
        ));
    }
    None
}
