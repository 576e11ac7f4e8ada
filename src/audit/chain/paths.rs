//! Verification of many chains against few bundles.
//!
//! Ten thousand agents have ten thousand leaves, but they come from a handful of signers and look
//! alike. The signature of each leaf was checked when it was read; what is left, the way from the
//! leaf's issuer to a root and what the verifiers think of leaves of that shape, is verified once
//! for each group of leaves in which it cannot differ.

use std::collections::HashMap;

use jiff::Timestamp;
use relay_pki_authority::x509::{
    BundleDigest, Certificate, CertificateChain, PeerRole, PublicKey, verify_path,
};

use super::super::authorities::Authorities;
use super::super::inventory::{Bundle, Chain};
use super::super::profile;
use crate::shape::shape;

/// What came of a verification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::audit) enum Verdict {
    /// Both verifiers accept it.
    Accepted,
    /// Not accepted, for a reason that is a finding of its own: something expired, or does not fit
    /// its use.
    ToldElsewhere,
    /// Not accepted.
    Refused(String),
}

/// Verifies chains, and remembers.
pub(in crate::audit) struct Paths<'a> {
    authorities: &'a Authorities,
    now: Timestamp,
    groups: HashMap<(String, BundleDigest), Verdict>,
    /// Full verifications so far, for tests.
    pub(in crate::audit) verifications: usize,
}

impl<'a> Paths<'a> {
    pub(in crate::audit) fn new(authorities: &'a Authorities, now: Timestamp) -> Self {
        Self {
            authorities,
            now,
            groups: HashMap::new(),
            verifications: 0,
        }
    }

    /// Whether a party that trusts `bundle` accepts `chain`. `issuer` is the leaf's.
    pub(in crate::audit) fn verify(
        &mut self,
        chain: &Chain,
        issuer: Option<usize>,
        role: PeerRole,
        bundle: &Bundle,
    ) -> Verdict {
        let leaf = &chain.leaf;
        if !leaf.is_valid_at(self.now) || profile::is_refused_alone(leaf, role) {
            return Verdict::ToldElsewhere;
        }
        let Some(key) = signer(chain, bundle) else {
            // Nobody whom this party knows signed it. That is not a thing to have in common.
            return self.full(chain, issuer, role, bundle);
        };
        let shape = shape(leaf, &chain.above, &key, role);
        let constrained = |certificate: &Certificate| profile::constrains_names(certificate);
        let all = chain.above.iter().chain(bundle.anchors.anchors());
        let shape = match all.clone().any(constrained) {
            // Names decide then, and they differ.
            true => format!("{shape} {}", leaf.fingerprint()),
            false => shape,
        };
        let group = (shape, bundle.digest);
        if let Some(verdict) = self.groups.get(&group) {
            return verdict.clone();
        }
        let verdict = self.full(chain, issuer, role, bundle);
        self.groups.insert(group, verdict.clone());
        verdict
    }

    fn full(
        &mut self,
        chain: &Chain,
        issuer: Option<usize>,
        role: PeerRole,
        bundle: &Bundle,
    ) -> Verdict {
        self.verifications += 1;
        let whole = std::iter::once(&chain.leaf).chain(chain.above.iter());
        let whole = match CertificateChain::new(whole.cloned().collect()) {
            Ok(whole) => whole,
            Err(error) => return Verdict::Refused(error.to_string()),
        };
        let verify = |at| verify_path(&whole, &bundle.anchors, role, at);
        let Err(error) = verify(self.now) else {
            return Verdict::Accepted;
        };
        // If it held at another time, something on the way has expired or is not valid yet.
        let all = whole.certificates().iter().chain(bundle.anchors.anchors());
        let out_of_time = all
            .filter(|certificate| !certificate.is_valid_at(self.now))
            .flat_map(|certificate| [certificate.not_after(), certificate.not_before()])
            .any(|at| verify(at).is_ok());
        if out_of_time || self.is_told_elsewhere(chain, issuer, bundle) {
            return Verdict::ToldElsewhere;
        }
        Verdict::Refused(error.to_string())
    }

    /// Whether a CA on the way is itself what is wrong, or a key identifier on the way.
    fn is_told_elsewhere(&self, chain: &Chain, issuer: Option<usize>, bundle: &Bundle) -> bool {
        let way: Vec<&Certificate> = self
            .authorities
            .way_up(issuer)
            .map(|authority| &authority.certificate)
            .collect();
        // The way has to be one that this party could go.
        let known = |certificate: &&&Certificate| {
            chain.above.contains(certificate) || bundle.anchors.contains(certificate)
        };
        let leads = way.iter().any(|found| bundle.anchors.contains(found));
        let mut steps = std::iter::once(&chain.leaf)
            .chain(way.iter().copied())
            .zip(&way);
        let broken = way
            .iter()
            .filter(known)
            .any(|found| profile::breaks_paths(found));
        leads && (broken || steps.any(|(lower, upper)| profile::mismatches(lower, upper)))
    }
}

/// The key that signed the leaf, as far as its holder and `bundle` know it.
fn signer(chain: &Chain, bundle: &Bundle) -> Option<PublicKey> {
    let known = chain.above.iter().chain(bundle.anchors.anchors());
    let mut known = known.filter(|issuer| issuer.raw_subject() == chain.leaf.raw_issuer());
    match &chain.signed_by {
        // Checked when it was read.
        Some(key) => known
            .any(|issuer| issuer.public_key() == key)
            .then(|| key.clone()),
        None => known
            .map(Certificate::public_key)
            .find(|key| chain.leaf.is_signed_by(key))
            .cloned(),
    }
}
