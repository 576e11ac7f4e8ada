use std::sync::Arc;

use relay_pki_authority::x509::{Certificate, TrustBundle};

use crate::client::{Again, Client};
use crate::endpoints::{IssuerReply, ReadIssuer};
use crate::failure::Failure;

/// The usage without which an issuer signs nothing.
pub(crate) const ISSUING: &str = "issuing-certificates";

/// An issuer of the PKI engine.
pub(crate) struct Issuer {
    /// Names may move to another issuer, ids do not.
    pub(crate) id: String,
    pub(crate) certificate: Certificate,
    /// What Vault thinks is above it, in whatever order, with or without the root.
    pub(crate) above: Vec<Certificate>,
    /// Whether it may sign.
    pub(crate) issues: bool,
}

impl Issuer {
    /// Reads an issuer by name or id; none if there is none.
    pub(crate) async fn read(client: &Arc<Client>, name: &str) -> Result<Option<Self>, Failure> {
        let read = ReadIssuer {
            mount: client.config().mount.clone(),
            issuer: name.to_owned(),
        };
        match client.ask::<IssuerReply>(&read, Again::Always).await {
            Ok(reply) => Self::from_reply(reply).map(Some),
            Err(failure) if failure.is_absence() => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    fn from_reply(reply: IssuerReply) -> Result<Self, Failure> {
        let broken = |error| {
            let id = &reply.issuer_id;
            Failure::Unreadable(format!("the certificate of issuer {id}: {error}"))
        };
        let certificate = Certificate::from_pem(reply.certificate.as_bytes()).map_err(broken)?;
        let above = reply.ca_chain.iter().flatten();
        // A certificate of somebody else that we cannot read is nothing that we need.
        let above = above.filter_map(|pem| Certificate::from_pem(pem.as_bytes()).ok());
        Ok(Self {
            certificate,
            above: above.collect(),
            issues: !reply.revoked
                && reply.usage.as_deref().is_none_or(|usage| {
                    usage.is_empty() || usage.split(',').any(|one| one.trim() == ISSUING)
                }),
            id: reply.issuer_id,
        })
    }

    /// The way up to `anchors`, this certificate first and without the root; as far as it leads.
    /// Vault lists the issuer itself, every certificate of its key and other roots as well, so that
    /// signatures decide.
    pub(crate) fn path(&self, anchors: &TrustBundle) -> Vec<Certificate> {
        let mut path = vec![self.certificate.clone()];
        loop {
            let Some(last) = path.last() else {
                return path;
            };
            let ends = |root: &Certificate| last == root || last.is_issued_by(root);
            if anchors.anchors().iter().any(ends) {
                return path;
            }
            let next = self.above.iter().find(|candidate| {
                !candidate.is_self_signed()
                    && !path.contains(candidate)
                    && last.is_issued_by(candidate)
            });
            match next {
                Some(next) => path.push(next.clone()),
                None => return path,
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use jiff::Timestamp;
    use relay_pki_authority::conformance::forge::{ForgedCa, hours};

    use super::*;

    #[test]
    fn the_way_up_is_found_in_any_disorder() {
        let validity = hours(Timestamp::now(), 24);
        let root = ForgedCa::root("root", validity);
        let other = ForgedCa::root("root", validity);
        let middle = root.signer_with("middle", validity, |params| {
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        });
        let signer = middle.signer("signer", validity);
        let issuer = Issuer {
            id: String::new(),
            certificate: signer.certificate.clone(),
            above: vec![
                other.certificate.clone(),
                root.certificate.clone(),
                middle.certificate.clone(),
                signer.certificate.clone(),
                middle.certificate.clone(),
            ],
            issues: true,
        };
        let expected = [signer.certificate.clone(), middle.certificate.clone()];
        assert_eq!(issuer.path(&root.anchors), expected);
        // Whether that is enough is not for us to say.
        assert_eq!(issuer.path(&other.anchors), expected);
        // Who trusts an intermediate needs nothing above it.
        let trusted = TrustBundle::new([middle.certificate]).unwrap();
        assert_eq!(issuer.path(&trusted), [signer.certificate]);
    }
}
