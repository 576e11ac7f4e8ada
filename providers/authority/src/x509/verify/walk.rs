use jiff::Timestamp;

use super::PathError;
use crate::profile::KeyUsage;
use crate::x509::{Certificate, TrustBundle};

/// Signatures that one search may check. Certificates that all carry one name and one key would
/// otherwise cost the factorial of their number (webpki has the same bound).
const SIGNATURES: u32 = 100;

/// The time in which a path is valid: what the certificates above its start have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) from: Timestamp,
    pub(crate) to: Timestamp,
}

impl Window {
    pub(crate) fn contains(&self, at: Timestamp) -> bool {
        self.from <= at && at <= self.to
    }

    fn of(certificate: &Certificate) -> Self {
        Self {
            from: certificate.not_before(),
            to: certificate.not_after(),
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            from: self.from.max(other.from),
            to: self.to.min(other.to),
        }
    }
}

/// Searches a path from `certificate` to an anchor, depth first, and answers with the time in which
/// the certificates of the path are all valid. With `at`, only certificates valid then are used.
/// `cas_below` counts the CA certificates between `certificate`'s issuer and the leaf. Self-issued
/// ones count too: RFC 5280 exempts them, Go does not.
///
/// Depth and fan-out are bounded by the number of candidates; a signature is only checked where
/// name and key identifier fit.
pub(crate) fn walk(
    certificate: &Certificate,
    candidates: &[Certificate],
    bundle: &TrustBundle,
    at: Option<Timestamp>,
    cas_below: u32,
) -> Result<Window, PathError> {
    let mut search = Search {
        bundle,
        at,
        signatures_left: SIGNATURES,
    };
    let candidates: Vec<&Certificate> = candidates.iter().collect();
    let found = search.from(certificate, &candidates, cas_below);
    found.map_err(|reason| PathError {
        verifier: "own checks",
        reason: match search.signatures_left {
            // Then the search is not over, and what it met first is not why it failed.
            0 => format!(
                "the chain of {} offers too many paths",
                certificate.subject()
            ),
            _ => reason,
        },
    })
}

struct Search<'a> {
    bundle: &'a TrustBundle,
    at: Option<Timestamp>,
    signatures_left: u32,
}

impl Search<'_> {
    fn from(
        &mut self,
        certificate: &Certificate,
        candidates: &[&Certificate],
        cas_below: u32,
    ) -> Result<Window, String> {
        let subject = certificate.subject();
        if let Some(objection) = self.time_objection("", certificate) {
            return Err(objection);
        }
        if let Some(oid) = certificate.unknown_critical_extensions().first() {
            return Err(format!(
                "{subject} has the unknown critical extension {oid}"
            ));
        }
        let window = Window::of(certificate);
        let mut objection = None;
        for anchor in self.bundle.anchors() {
            if certificate == anchor {
                return Ok(window);
            }
            if certificate.names_as_issuer(anchor) {
                match self.issuer_objection("root ", certificate, anchor, cas_below) {
                    None => return Ok(window.and(Window::of(anchor))),
                    Some(reason) => objection = objection.or(Some(reason)),
                }
            }
        }
        let mut deeper = None;
        for (index, candidate) in candidates.iter().enumerate() {
            if !certificate.names_as_issuer(candidate) {
                continue;
            }
            if let Some(reason) =
                self.issuer_objection("issuer ", certificate, candidate, cas_below)
            {
                objection = objection.or(Some(reason));
                continue;
            }
            let mut rest = candidates.to_vec();
            rest.remove(index);
            match self.from(candidate, &rest, cas_below + 1) {
                Ok(above) => return Ok(window.and(above)),
                Err(reason) => deeper = deeper.or(Some(reason)),
            }
        }
        Err(deeper.or(objection).unwrap_or_else(|| {
            format!(
                "{subject} was issued by {}, which is neither in the chain nor in the bundle",
                certificate.issuer()
            )
        }))
    }

    fn time_objection(&self, role: &str, certificate: &Certificate) -> Option<String> {
        let at = self.at.filter(|at| !certificate.is_valid_at(*at))?;
        let (from, to) = (certificate.not_before(), certificate.not_after());
        let name = certificate.subject();
        let the = if role.is_empty() { "" } else { "the " };
        Some(format!(
            "{the}{role}{name} is valid from {from} to {to}, not at {at}"
        ))
    }

    /// What speaks against `issuer` having issued `certificate`. `None` when nothing does.
    fn issuer_objection(
        &mut self,
        role: &str,
        certificate: &Certificate,
        issuer: &Certificate,
        cas_below: u32,
    ) -> Option<String> {
        let name = issuer.subject();
        if let Some(objection) = self.time_objection(role, issuer) {
            return Some(objection);
        }
        if !issuer.is_ca() {
            return Some(format!("the issuer {name} is not a CA"));
        }
        if issuer
            .key_usage()
            .is_some_and(|usage| !usage.contains(KeyUsage::KEY_CERT_SIGN))
        {
            return Some(format!(
                "the issuer {name} may not sign certificates (keyUsage)"
            ));
        }
        if let Some(limit) = issuer.basic_constraints().and_then(|found| found.path_len)
            && cas_below > limit
        {
            return Some(format!(
                "the issuer {name} allows {limit} CA certificates below it, the chain has \
                 {cas_below} (path length)"
            ));
        }
        if self.signatures_left == 0 {
            return Some("too many signatures were checked".to_owned());
        }
        self.signatures_left -= 1;
        if !certificate.is_signed_by(issuer.public_key()) {
            return Some(format!(
                "{} names {name} as its issuer, but that key did not sign it",
                certificate.subject()
            ));
        }
        None
    }
}
