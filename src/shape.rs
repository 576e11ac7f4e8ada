//! Which leaves verify alike: ten thousand agents have ten thousand leaves, but they come from a
//! handful of signers, and verifying one of a kind says it of all.

use std::fmt::Write as _;

use data_encoding::HEXLOWER;
use relay_pki_authority::x509::{Certificate, PeerRole, PublicKey};

/// Everything about a leaf that verifiers look at, besides its names, its period and its signature,
/// as a text that is equal for leaves that verify alike. `above` is what the leaf carries along, and
/// `signer` the key that signed it.
pub(crate) fn shape(
    leaf: &Certificate,
    above: &[Certificate],
    signer: &PublicKey,
    role: PeerRole,
) -> String {
    let mut text = format!(
        "{role:?} {} {:?} {:?} {} {:?} {:?} {:?}",
        leaf.signature_algorithm(),
        leaf.basic_constraints(),
        leaf.key_usage(),
        leaf.extended_key_usage().join(","),
        leaf.authority_key_identifier(),
        leaf.other_names(),
        leaf.public_key().describe(),
    );
    let _ = write!(text, "{:.32}", HEXLOWER.encode(&signer.digest()));
    for above in above {
        let _ = write!(text, " {}", above.fingerprint().short());
    }
    text
}
