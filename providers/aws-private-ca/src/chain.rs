//! Chains as they should be, from certificates as they come.

use relay_pki_authority::x509::{Certificate, TrustBundle};

/// `first` and the certificates of `pool` that lead from it to one of `anchors`, by signature: in
/// order, each once, without the root. It ends early where a link is missing.
pub(crate) fn towards(
    first: &Certificate,
    pool: &[Certificate],
    anchors: &TrustBundle,
) -> Vec<Certificate> {
    let mut chain = vec![first.clone()];
    let mut current = first;
    while root_of(current, anchors).is_none() {
        let next = pool.iter().find(|candidate| {
            !candidate.is_self_signed()
                && !chain.contains(candidate)
                && current.is_issued_by(candidate)
        });
        let Some(next) = next else {
            break;
        };
        chain.push(next.clone());
        current = next;
    }
    chain
}

/// The anchor that issued `certificate`.
pub(crate) fn root_of<'a>(
    certificate: &Certificate,
    anchors: &'a TrustBundle,
) -> Option<&'a Certificate> {
    let mut anchors = anchors.anchors().iter();
    anchors.find(|anchor| certificate.is_issued_by(anchor))
}
