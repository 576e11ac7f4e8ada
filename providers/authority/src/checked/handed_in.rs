//! Certificates that a person hands in, made by whatever means: the same rules as for a backend's.

use super::rules::{check_anchor, check_certificate, check_issuer};
use crate::x509::{Certificate, TrustBundle, walk};
use crate::{Dialect, SigningRequest};

/// Whether `root` can be the root of a relay; the reason if not. That it is valid, and what its key
/// is, the caller has to see.
pub fn check_root_handed_in(root: &Certificate) -> Result<(), String> {
    check_anchor(root)
}

/// Whether `signer` is what `request` asks for, issued by `root`, and good now and to its end.
pub fn check_signer_handed_in(
    signer: &Certificate,
    root: &Certificate,
    request: &SigningRequest,
) -> Result<(), String> {
    check_certificate(signer, request, Dialect::Full)?;
    check_issuer(signer, root, request)?;
    let anchors = TrustBundle::new([root.clone()]).map_err(|error| error.to_string())?;
    let walk = |at| walk(signer, &[], &anchors, Some(at), 1).map_err(|error| error.reason);
    walk(request.now)?;
    walk(signer.not_after())
        .map_err(|reason| format!("it is valid longer than its root: {reason}"))?;
    Ok(())
}
