//! What a certificate has to be like before anybody gets to use it.

use jiff::Timestamp;
use relay_pki_authority::x509::{
    Certificate, CertificateChain, PeerRole, PublicKey, TrustBundle, verify_path,
};

use super::anchors::CaCertificates;
use crate::config::ClusterName;

/// The chain of `leaf`, if it is a certificate for `key` and `cluster` that verifies with `trust`.
///
/// # Errors
///
/// What is wrong with it.
pub(super) fn checked(
    leaf: Certificate,
    (cluster, key): (&ClusterName, &PublicKey),
    (known, trust): (&CaCertificates, &TrustBundle),
    now: Timestamp,
) -> Result<CertificateChain, String> {
    if leaf.public_key() != key {
        return Err("it is for another key".to_owned());
    }
    let name = cluster.as_str();
    let named = leaf.dns_names() == [name]
        && leaf.other_names().is_empty()
        && leaf.common_name() == Some(name);
    if !named {
        return Err(format!("it is not for {name} alone: {}", leaf.subject()));
    }
    if leaf.is_ca() {
        return Err("it is a CA".to_owned());
    }
    // If our clock is behind, the certificate is good all the same: it is others who look at it.
    let at = now.max(leaf.not_before());
    let chain = known.chain(leaf).map_err(|error| error.to_string())?;
    verify_path(&chain, trust, PeerRole::Client, at).map_err(|error| error.to_string())?;
    Ok(chain)
}
