//! Certificates as the service lists them, in the order that their signatures say.

use relay_pki_authority::x509::{Certificate, CertificateChain, TrustBundle, X509Error};

/// Most certificates that are read from one answer.
const LIMIT: usize = 16;

/// A CA's own certificate, and what leads from it to its root, without the root.
pub(crate) struct Listed {
    pub(crate) own: Certificate,
    /// `own` first; empty if `own` is a root.
    pub(crate) path: Vec<Certificate>,
}

impl Listed {
    /// From the PEM texts of a CA's chain in any order, duplicates included. `None` if it has none.
    pub(crate) fn new(texts: &[String]) -> Result<Option<Self>, X509Error> {
        if texts.len() > LIMIT {
            return Err(X509Error::TooLarge {
                what: "certificate chain",
                size: texts.len(),
                limit: LIMIT,
            });
        }
        let mut found: Vec<Certificate> = Vec::new();
        for text in texts {
            let certificate = Certificate::from_pem(text.as_bytes())?;
            if !found.contains(&certificate) {
                found.push(certificate);
            }
        }
        // The CA itself issued none of the others.
        let issued_another = |one: &Certificate| {
            let mut others = found.iter().filter(|other| *other != one);
            others.any(|other| other.is_issued_by(one))
        };
        let Some(own) = found.iter().find(|one| !issued_another(one)).cloned() else {
            return Ok(None);
        };
        let mut path = Vec::new();
        let mut next = Some(own.clone());
        while let Some(certificate) = next.filter(|one| !one.is_self_signed()) {
            next = found
                .iter()
                .find(|one| !path.contains(*one) && certificate.is_issued_by(one))
                .cloned();
            path.push(certificate);
        }
        Ok(Some(Self { own, path }))
    }
}

/// The issuers of a signer up to its root, the root included, each followed by its own issuer: the
/// service wants it whole. `None` if the chain does not lead to one of the anchors.
pub(crate) fn issuers(chain: &CertificateChain, anchors: &TrustBundle) -> Option<Vec<Certificate>> {
    let mut issuers: Vec<Certificate> = Vec::new();
    let mut below = chain.leaf();
    loop {
        let mut roots = anchors.anchors().iter();
        if let Some(root) = roots.find(|root| below.is_issued_by(root)) {
            issuers.push(root.clone());
            return Some(issuers);
        }
        below = chain
            .intermediates()
            .iter()
            .find(|one| !issuers.contains(*one) && below.is_issued_by(one))?;
        issuers.push(below.clone());
    }
}
