//! Certificates for keys that are not ours: what an agent enrols with.

use std::borrow::Cow;
use std::sync::Arc;

use relay_pki_authority::x509::{Certificate, CertificateChain, VerifiedCsr};
use relay_pki_authority::{Authority, Metering};
use tokio::sync::OnceCell;

use super::super::{Fleet, limited};
use super::issue::LeafRequest;
use super::{Apply, StepError};
use crate::cluster::ObjectKey;
use crate::config::{AgentSpec, ClusterName};
use crate::journal::{GenerationRecord, IssuanceRecord, Journal, Kept, issuance_name};
use crate::relay::{Owner, owner_of};

/// Opens the active signer, for [`certify_agent`].
///
/// # Errors
///
/// If there is none, or if its provider has another certificate for it than our records: whoever keeps
/// the CAs puts that right.
pub(crate) async fn open_signer(
    fleet: &Fleet,
    journal: &Journal,
) -> Result<Arc<dyn Authority>, StepError> {
    let apply = Apply::by(fleet, Cow::Borrowed(journal));
    let record = apply.active_signer()?;
    let authority = apply.open(record).await?;
    match &record.certificate {
        Some(certificate) if authority.certificate() != certificate => Err(StepError::Refused {
            reason: format!(
                "the provider of signer g{} has another certificate for it",
                record.number
            ),
        }),
        _ => Ok(authority),
    }
}

/// Opens the CA of any signer generation.
pub(crate) async fn open_generation(
    fleet: &Fleet,
    journal: &Journal,
    record: &GenerationRecord,
) -> Result<Arc<dyn Authority>, StepError> {
    Apply::by(fleet, Cow::Borrowed(journal)).open(record).await
}

/// A certificate for the key of `csr` that names `cluster` and nothing else. `held` is the one that the
/// agent has now.
///
/// Asked again for the same key after a lost reply, a backend where certificates count is not asked
/// for another one; compare-and-swap on the record of the issuance keeps replicas apart.
pub(crate) async fn certify_agent(
    fleet: &Fleet,
    journal: &Journal,
    signer: &Arc<dyn Authority>,
    (cluster, agent): (&ClusterName, &AgentSpec),
    csr: VerifiedCsr,
    held: Option<&Certificate>,
) -> Result<CertificateChain, StepError> {
    let mut apply = Apply::by(fleet, Cow::Borrowed(journal));
    apply.signer = OnceCell::new_with(Some(signer.clone()));
    let wanted = LeafRequest::agent(cluster, agent, 0)?;
    let issuer = apply.active_signer()?;
    match apply.metering(issuer)? {
        Metering::Free => {
            apply
                .certify_leaf(signer.as_ref(), issuer.number, &wanted, csr)
                .await
        }
        Metering::Counted => {
            apply
                .buy_for(signer.as_ref(), issuer.number, &wanted, csr, held)
                .await
        }
    }
}

/// Removes the record of an issuance once its agent was seen with the certificate, whose serial number is
/// `shown` in hexadecimal digits: no reply can have been lost any more.
pub(crate) async fn settle_agent(
    fleet: &Fleet,
    journal: &Journal,
    (cluster, agent): (&ClusterName, &AgentSpec),
    shown: &str,
) -> Result<(), StepError> {
    let apply = Apply::by(fleet, Cow::Borrowed(journal));
    if apply.metering(apply.active_signer()?)? == Metering::Free {
        return Ok(());
    }
    let subject = LeafRequest::agent(cluster, agent, 0)?.name;
    let chain = apply.recorded(&subject).await?;
    let chain = chain.and_then(|kept| kept.record.chain);
    let serial = chain.and_then(|chain| chain.leaf().serial().ok());
    match serial {
        Some(serial) if serial.to_string() == shown => apply.settle(&subject).await,
        _ => Ok(()),
    }
}

impl Apply<'_> {
    /// As `buy`, for a key that somebody else has.
    async fn buy_for(
        &self,
        authority: &dyn Authority,
        issuer: u32,
        wanted: &LeafRequest,
        csr: VerifiedCsr,
        held: Option<&Certificate>,
    ) -> Result<CertificateChain, StepError> {
        let kept = self.recorded(&wanted.name).await?;
        let goes_on = |record: &IssuanceRecord| {
            let names = wanted.names.iter().map(|name| name.as_str());
            let chain = record.chain.as_ref();
            record.csr.public_key() == csr.public_key()
                && record.issuer == issuer
                && record.names.iter().map(String::as_str).eq(names)
                && record.validity.contains(self.now())
                // It was delivered, and now another one is wanted.
                && chain.is_none_or(|chain| Some(chain.leaf()) != held)
        };
        let kept = match kept {
            Some(kept) if goes_on(&kept.record) => kept,
            kept => {
                let record = IssuanceRecord {
                    issuer,
                    request: wanted.request,
                    names: wanted.names.iter().map(ToString::to_string).collect(),
                    validity: self.leaf_validity(authority, wanted)?,
                    csr,
                    ticket: None,
                    chain: None,
                };
                let version = kept.and_then(|kept| kept.version);
                self.record(&wanted.name, Kept { record, version }).await?
            }
        };
        let (csr, validity) = (kept.record.csr.clone(), kept.record.validity);
        let request = self.signing_request(wanted, issuer, csr, validity);
        self.obtain(authority, &wanted.name, kept, &request).await
    }

    /// The record of an issuance, read afresh: another replica may have written it.
    async fn recorded(&self, subject: &str) -> Result<Option<Kept<IssuanceRecord>>, StepError> {
        let relay = &self.fleet.relay.name;
        let home = self.fleet.home()?;
        let key = ObjectKey::config_map(issuance_name(relay, subject));
        let stored = limited(home.name(), "read an issuance", home.read(&key)).await?;
        let Some(stored) = stored else {
            return Ok(None);
        };
        let unusable = |reason: &str| StepError::Refused {
            reason: format!("{} in cluster {} {reason}", stored.place, home.name()),
        };
        if owner_of(&stored.object, relay) != Owner::Us {
            return Err(unusable(
                "is in the way: it is not managed by this relay; delete it or rename it",
            ));
        }
        let record = IssuanceRecord::decode(&stored.object)
            .map_err(|reason| unusable(&format!("is broken ({reason}); delete it")))?;
        Ok(Some(Kept {
            record,
            version: Some(stored.version),
        }))
    }
}
