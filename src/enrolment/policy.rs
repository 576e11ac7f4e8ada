//! Which requests are granted: pure, over the request and what is known of its sender.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use relay_pki_authority::x509::{KeyType, VerifiedCsr};

use super::Refusal;

/// Octets of a tls-exporter channel binding (RFC 9266).
pub const BINDING_LENGTH: usize = 32;
/// Octets of a tls-unique channel binding (RFC 5929) with the cipher suites of TLS 1.2.
const TLS_UNIQUE_LENGTH: usize = 12;

/// What the connection of a request has to bind it to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binding {
    /// TLS 1.3: `tls-exporter`.
    Exporter([u8; BINDING_LENGTH]),
    /// TLS 1.2: `tls-unique`, which our TLS library does not tell.
    Unknown,
}

/// Reads a request. Its signature, its key and its form are checked.
///
/// # Errors
///
/// [`Refusal::Malformed`], with what is wrong.
pub fn read_request(der: &[u8]) -> Result<VerifiedCsr, Refusal> {
    let csr = VerifiedCsr::from_der(der).map_err(malformed)?;
    csr.for_leaf().map_err(malformed)?;
    Ok(csr)
}

fn malformed(error: impl std::fmt::Display) -> Refusal {
    Refusal::Malformed(error.to_string())
}

/// The cluster that a request is for, as it says itself: its common name, or else its first DNS name.
pub fn requested_name(csr: &VerifiedCsr) -> Option<&str> {
    let first = csr.requested_dns_names().first().map(String::as_str);
    csr.requested_common_name().or(first)
}

/// Whether the cluster `name` may have what it asks for: a certificate for itself and nothing else, for
/// a key of a type that the signer certifies.
///
/// # Errors
///
/// The reason.
pub fn accept(
    csr: &VerifiedCsr,
    name: &str,
    key_types: &[KeyType],
    binding: &Binding,
) -> Result<(), Refusal> {
    let forbidden = |reason: String| Err(Refusal::Forbidden(reason));
    let subject = csr.requested_subject();
    let wanted = format!("CN={name}");
    if requested_name(csr).is_none() || !(subject.is_empty() || subject == wanted) {
        return forbidden(format!(
            "the request is for the subject {subject:?}; the one that this agent may have is {wanted:?}"
        ));
    }
    let others = csr.requested_dns_names().iter();
    if let Some(other) = others.into_iter().find(|other| *other != name) {
        return forbidden(format!(
            "the request is for the name {other:?}; the one that this agent may have is {name:?}"
        ));
    }
    if let Some(kind) = csr.requested_other_names().first() {
        return forbidden(format!(
            "the request asks for a subject alternative name of another kind ({kind}); ask for DNS \
             {name:?} or for none"
        ));
    }
    let key_type = csr.public_key().key_type().map_err(malformed)?;
    if !key_types.contains(&key_type) {
        let known: Vec<&str> = key_types.iter().map(|known| known.as_str()).collect();
        return forbidden(format!(
            "the signer does not certify {} keys; use one of {}",
            key_type.as_str(),
            known.join(", ")
        ));
    }
    bound(csr, binding)
}

/// A challengePassword is a channel binding if it looks like one (RFC 7030 section 3.5): then it has to
/// be right. Whatever else people put there has no meaning here.
fn bound(csr: &VerifiedCsr, binding: &Binding) -> Result<(), Refusal> {
    let Some(password) = csr.challenge_password() else {
        return Ok(());
    };
    let Ok(claimed) = STANDARD.decode(password.as_bytes()) else {
        return Ok(());
    };
    match (claimed.len(), binding) {
        (BINDING_LENGTH, Binding::Exporter(ours)) => verify_slices_are_equal(&claimed, ours)
            .map_err(|_| {
                Refusal::Forbidden(
                    "the request is bound to another TLS connection than this one".to_owned(),
                )
            }),
        (TLS_UNIQUE_LENGTH, Binding::Unknown) => Err(Refusal::Forbidden(
            "a binding to a TLS 1.2 connection cannot be verified here; use TLS 1.3, or leave the \
             challengePassword out"
                .to_owned(),
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
