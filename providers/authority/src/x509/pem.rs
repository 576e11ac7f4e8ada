//! PEM in and out, bounded before anything is decoded.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::{Error, PemObject, SectionKind};
use zeroize::Zeroizing;

use super::X509Error;

/// Largest PEM text that is decoded. An honest trust bundle of fifty RSA-4096 roots has 100 kB;
/// decoders have been made to burn seconds on megabytes (CVE-2024-12401).
pub(super) const PEM_LIMIT: usize = 256 * 1024;

pub(super) fn bounded<'a>(what: &'static str, pem: &'a [u8]) -> Result<&'a [u8], X509Error> {
    if pem.len() > PEM_LIMIT {
        return Err(X509Error::TooLarge {
            what,
            size: pem.len(),
            limit: PEM_LIMIT,
        });
    }
    Ok(pem)
}

/// Every certificate section in `pem`, in order; sections of other kinds are passed over.
pub(super) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, X509Error> {
    let found = CertificateDer::pem_slice_iter(bounded("PEM text", pem)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(malformed)?;
    if found.is_empty() {
        return Err(X509Error::PemMissing {
            wanted: "CERTIFICATE",
        });
    }
    Ok(found)
}

/// A section's kind and content, which may be secret and is erased when dropped.
type Section = (SectionKind, Zeroizing<Vec<u8>>);

/// Every section in `pem`.
pub(super) fn sections(pem: &[u8]) -> Result<Vec<Section>, X509Error> {
    <(SectionKind, Vec<u8>)>::pem_slice_iter(bounded("PEM text", pem)?)
        .map(|section| section.map(|(kind, der)| (kind, Zeroizing::new(der))))
        .collect::<Result<Vec<_>, _>>()
        .map_err(malformed)
}

pub(super) fn malformed(error: Error) -> X509Error {
    // The library's text may quote the offending line, and that line may be key material.
    let reason = match error {
        Error::MissingSectionEnd { .. } => "a section has no END line",
        Error::IllegalSectionStart { .. } => "a BEGIN line is broken",
        Error::Base64Decode(_) => "a section is not valid base64",
        _ => "the text is not PEM",
    };
    X509Error::PemMalformed {
        reason: reason.to_owned(),
    }
}

/// One PEM section with 64-column lines and a final newline (RFC 7468).
pub(super) fn encode(label: &str, der: &[u8]) -> String {
    let body = Zeroizing::new(STANDARD.encode(der));
    // Sized once: growing would leave copies of key material behind.
    let mut out = String::with_capacity(body.len() + body.len() / 64 + 2 * label.len() + 40);
    out.push_str("-----BEGIN ");
    out.push_str(label);
    out.push_str("-----\n");
    for line in body.as_bytes().chunks(64) {
        out.extend(line.iter().copied().map(char::from));
        out.push('\n');
    }
    out.push_str("-----END ");
    out.push_str(label);
    out.push_str("-----\n");
    out
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]
mod tests {
    use super::*;

    #[test]
    fn encodes_what_the_decoder_reads_back() {
        for length in [1usize, 2, 3, 47, 48, 49, 500] {
            let der: Vec<u8> = (0..length).map(|i| i as u8).collect();
            let text = encode("CERTIFICATE", &der);
            assert!(text.lines().all(|line| line.len() <= 64), "{text}");
            let back = certificates(text.as_bytes()).unwrap();
            assert_eq!(back.first().unwrap().as_ref(), der, "length {length}");
        }
    }

    #[test]
    fn refuses_nothing_too_much_and_garbage() {
        assert!(matches!(
            certificates(b"hello"),
            Err(X509Error::PemMissing { .. })
        ));
        assert!(matches!(
            certificates(&vec![b'a'; PEM_LIMIT + 1]),
            Err(X509Error::TooLarge { .. })
        ));
        let text = "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n";
        assert!(matches!(
            certificates(text.as_bytes()),
            Err(X509Error::PemMalformed { .. })
        ));
        let text = "-----BEGIN CERTIFICATE-----\nAAAA\n";
        assert!(matches!(
            certificates(text.as_bytes()),
            Err(X509Error::PemMalformed { .. })
        ));
    }
}
