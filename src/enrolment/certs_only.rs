//! The CMC Simple PKI Response (RFC 5272 section 4.1): CMS SignedData with certificates and nothing
//! that is signed.

use relay_pki_authority::x509::Certificate;

use super::der::{CONTEXT_0, INTEGER, OID, SEQUENCE, SET, value};

/// id-signedData, 1.2.840.113549.1.7.2.
const SIGNED_DATA: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
/// id-data, 1.2.840.113549.1.7.1.
const DATA: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01];

/// The DER of a message that carries `certificates`.
pub fn certs_only<'a>(certificates: impl IntoIterator<Item = &'a Certificate>) -> Vec<u8> {
    let mut certificates: Vec<&[u8]> = certificates
        .into_iter()
        .map(|certificate| certificate.der().as_ref())
        .collect();
    // DER puts the members of a set in order.
    certificates.sort_unstable();
    let signed_data = value(
        SEQUENCE,
        &[
            &value(INTEGER, &[&[1]]),
            &value(SET, &[]),
            &value(SEQUENCE, &[&value(OID, &[&DATA])]),
            &value(CONTEXT_0, &certificates),
            &value(SET, &[]),
        ],
    );
    value(
        SEQUENCE,
        &[
            &value(OID, &[&SIGNED_DATA]),
            &value(CONTEXT_0, &[&signed_data]),
        ],
    )
}
