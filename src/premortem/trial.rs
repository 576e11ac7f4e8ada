//! Asking the verifiers at one time after the other.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use relay_pki_authority::x509::{
    BundleDigest, Certificate, CertificateChain, PeerRole, PublicKey, verify_path,
};

use super::{Bundle, after};
use crate::engine::{Provenance, TlsState};
use crate::journal::Journal;
use crate::shape::shape;

/// What one side of a handshake shows the other.
pub(super) struct Presented<'a> {
    content: &'a TlsState,
    /// Equal for chains that verify alike while their leaves are valid.
    shape: String,
}

impl<'a> Presented<'a> {
    pub(super) fn new(content: &'a TlsState, journal: &Journal, role: PeerRole) -> Self {
        let (leaf, above) = (&content.leaf, content.above.as_ref());
        Self {
            content,
            shape: match signer(content, journal) {
                Some(key) => shape(leaf, above, key, role),
                // Nobody has looked at the signature yet: it is not a thing to have in common.
                None => format!("{role:?} {}", leaf.fingerprint()),
            },
        }
    }

    fn all(&self) -> impl Iterator<Item = &'a Certificate> {
        std::iter::once(&self.content.leaf).chain(self.content.above.iter())
    }
}

/// The key that signed a leaf, as far as that was seen when it was read.
fn signer<'a>(content: &TlsState, journal: &'a Journal) -> Option<&'a PublicKey> {
    let Provenance::Signer(number) = content.provenance else {
        return None;
    };
    let record = &journal.signers.get(&number)?.record;
    record.certificate.as_ref().map(Certificate::public_key)
}

/// Verifications, each made once.
pub(super) struct Trials {
    now: Timestamp,
    verdicts: HashMap<(String, BundleDigest, Timestamp), bool>,
}

impl Trials {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            now,
            verdicts: HashMap::new(),
        }
    }

    /// The first second at which `chain` is refused by whoever accepts `bundle`: in the past if it is
    /// refused now because something has ended, now if it is refused for another reason.
    pub(super) fn end(
        &mut self,
        chain: &Presented<'_>,
        role: PeerRole,
        bundle: Bundle<'_>,
    ) -> Timestamp {
        let certificates = chain.all().chain(bundle.anchors.anchors());
        let mut ends: Vec<Timestamp> = certificates
            .map(|certificate| after(certificate.not_after()))
            .collect();
        ends.sort_unstable();
        ends.dedup();
        let now = self.now;
        if self.accepted(chain, role, bundle, now) {
            let mut ahead = ends.into_iter().filter(|end| *end > now);
            let first = ahead.find(|end| !self.accepted(chain, role, bundle, *end));
            // The end of the leaf is among them.
            return first.unwrap_or(now);
        }
        let mut behind = ends.into_iter().rev().filter(|end| *end <= now);
        let second = SignedDuration::from_secs(1);
        behind
            .find(|end| self.accepted(chain, role, bundle, *end - second))
            .unwrap_or(now)
    }

    #[cfg(test)]
    pub(super) fn verifications(&self) -> usize {
        self.verdicts.len()
    }

    fn accepted(
        &mut self,
        chain: &Presented<'_>,
        role: PeerRole,
        bundle: Bundle<'_>,
        at: Timestamp,
    ) -> bool {
        if !chain.content.leaf.is_valid_at(at) {
            return false;
        }
        let mut authorities = chain.content.above.iter().chain(bundle.anchors.anchors());
        let shape = match authorities.any(Certificate::has_name_constraints) {
            // Names decide then, and they differ.
            true => format!("{} {}", chain.shape, chain.content.leaf.fingerprint()),
            false => chain.shape.clone(),
        };
        let key = (shape, bundle.digest, at);
        *self.verdicts.entry(key).or_insert_with(|| {
            let whole = CertificateChain::new(chain.all().cloned().collect());
            whole.is_ok_and(|whole| verify_path(&whole, bundle.anchors, role, at).is_ok())
        })
    }
}
