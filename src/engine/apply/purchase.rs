//! Certificates that cost or count. Key and request are written down before the backend is asked, its
//! answer before it is used: no crash and no lost reply makes us buy a second one. What is written
//! down goes when the certificate is delivered, the key first: a record without a key is of no more
//! use, while a key without a record was never shown to anybody.

use relay_pki_authority::x509::{CertificateChain, PrivateKey};
use relay_pki_authority::{Authority, AuthorityError, Outcome, SigningRequest};

use super::super::limited;
use super::issue::{Leaf, LeafRequest, audited, bounded_by, csr, refused};
use super::{Apply, StepError};
use crate::cluster::{Expected, ObjectKey, Stored, Version};
use crate::journal::{IssuanceRecord, Kept, issuance_name};
use crate::relay::{Owner, TLS_KEY, owner_of};

impl Apply<'_> {
    /// Obtains a leaf that costs or counts from the signer generation `issuer`.
    pub(super) async fn buy(
        &self,
        authority: &dyn Authority,
        issuer: u32,
        wanted: &LeafRequest,
    ) -> Result<Leaf, StepError> {
        let (key, kept) = self.begin(authority, issuer, wanted).await?;
        let (csr, validity) = (kept.record.csr.clone(), kept.record.validity);
        let request = self.signing_request(wanted, issuer, csr, validity);
        let chain = self.obtain(authority, &wanted.name, kept, &request).await?;
        Ok(Leaf {
            key,
            chain,
            recorded: true,
        })
    }

    /// Goes on with a recorded issuance until there is a certificate.
    pub(super) async fn obtain(
        &self,
        authority: &dyn Authority,
        subject: &str,
        mut kept: Kept<IssuanceRecord>,
        request: &SigningRequest,
    ) -> Result<CertificateChain, StepError> {
        if let Some(chain) = kept.record.chain {
            return Ok(chain);
        }
        let answer = match &kept.record.ticket {
            Some(ticket) => {
                let call = authority.collect(request, ticket);
                bounded_by(authority.id(), call).await
            }
            None => self.sign(authority, request).await,
        };
        let outcome = match answer {
            Ok(outcome) => outcome,
            Err(error) => {
                if is_final(&error) {
                    // As good as it goes: what is left over is not gone on with either way, since the
                    // backend's answer will be the same.
                    let _ = self.settle(subject).await;
                }
                return Err(error);
            }
        };
        match outcome {
            Outcome::Issued(issuance) => {
                let chain = audited(authority, request, issuance);
                kept.record.chain = Some(chain.clone());
                self.record(subject, kept).await?;
                Ok(chain)
            }
            Outcome::Pending { ticket, poll_after } => {
                if kept.record.ticket.as_ref() != Some(&ticket) {
                    kept.record.ticket = Some(ticket);
                    self.record(subject, kept).await?;
                }
                Err(StepError::Pending {
                    authority: authority.id().to_owned(),
                    poll_after,
                })
            }
        }
    }

    /// Writes the record of an issuance.
    pub(super) async fn record(
        &self,
        subject: &str,
        kept: Kept<IssuanceRecord>,
    ) -> Result<Kept<IssuanceRecord>, StepError> {
        let home = self.fleet.home()?;
        let object = kept.record.encode(&self.fleet.relay.name, subject);
        let expected = kept.version.map_or(Expected::Absent, Expected::At);
        let call = home.write(&object, &expected);
        let version = limited(home.name(), "record an issuance", call).await?;
        Ok(Kept {
            record: kept.record,
            version: Some(version),
        })
    }

    /// The record of an issuance and its key: what an interrupted run left, or new ones.
    async fn begin(
        &self,
        authority: &dyn Authority,
        issuer: u32,
        wanted: &LeafRequest,
    ) -> Result<(PrivateKey, Kept<IssuanceRecord>), StepError> {
        let name = issuance_name(&self.fleet.relay.name, &wanted.name);
        let kept = self.journal.issuances.get(&name);
        let stored = self.issuance_key(&name).await?;
        let key = match stored {
            Some((_, key)) if self.goes_on(kept, &key, issuer, wanted) => key,
            stored => {
                let version = stored.map(|(stored, _)| stored.version);
                self.new_issuance_key(wanted, version).await?
            }
        };
        if let Some(kept) = kept.filter(|kept| kept.record.csr.public_key() == key.public_key()) {
            return Ok((key, kept.clone()));
        }
        let record = IssuanceRecord {
            issuer,
            request: wanted.request,
            names: wanted.names.iter().map(ToString::to_string).collect(),
            csr: csr(&key, &wanted.subject, &wanted.names, wanted.profile).map_err(refused)?,
            validity: self.leaf_validity(authority, wanted)?,
            ticket: None,
            chain: None,
        };
        let version = kept.and_then(|kept| kept.version.clone());
        let kept = self.record(&wanted.name, Kept { record, version }).await?;
        Ok((key, kept))
    }

    /// Whether the key that was kept, and the record if it is the key's, are for what is wanted now.
    fn goes_on(
        &self,
        kept: Option<&Kept<IssuanceRecord>>,
        key: &PrivateKey,
        issuer: u32,
        wanted: &LeafRequest,
    ) -> bool {
        let fits = key.key_type() == Ok(wanted.key_type)
            // It was delivered, and now another one is wanted.
            && wanted.replaces.as_ref() != Some(key.public_key());
        let record = kept.map(|kept| &kept.record);
        match record.filter(|record| record.csr.public_key() == key.public_key()) {
            Some(record) => {
                let names = wanted.names.iter().map(|name| name.as_str());
                fits && record.issuer == issuer
                    && record.request >= wanted.request
                    && record.names.iter().map(String::as_str).eq(names)
                    && record.validity.contains(self.now())
            }
            // Nobody was asked yet.
            None => fits,
        }
    }

    async fn issuance_key(&self, name: &str) -> Result<Option<(Stored, PrivateKey)>, StepError> {
        let home = self.fleet.home()?;
        let key = ObjectKey::secret(name);
        let call = home.read(&key);
        let Some(stored) = limited(home.name(), "read the key of an issuance", call).await? else {
            return Ok(None);
        };
        let unusable = |reason: &str| StepError::Refused {
            reason: format!("{} in cluster {} {reason}", stored.place, home.name()),
        };
        if owner_of(&stored.object, &self.fleet.relay.name) != Owner::Us {
            return Err(unusable("is in the way: it is not managed by this relay"));
        }
        if stored.exposed {
            return Err(unusable(
                "can be read by other users of this machine; delete it and try again",
            ));
        }
        let pem = stored.object.data.get(TLS_KEY);
        let pem = pem.ok_or_else(|| unusable("has no tls.key; delete it and try again"))?;
        let key = PrivateKey::from_pem(pem.expose())
            .map_err(|_| unusable("has a broken tls.key; delete it and try again"))?;
        Ok(Some((stored, key)))
    }

    async fn new_issuance_key(
        &self,
        wanted: &LeafRequest,
        replaces: Option<Version>,
    ) -> Result<PrivateKey, StepError> {
        let home = self.fleet.home()?;
        let key = PrivateKey::generate(wanted.key_type).map_err(refused)?;
        let object = IssuanceRecord::encode_key(&self.fleet.relay.name, &wanted.name, &key);
        let expected = replaces.map_or(Expected::Absent, Expected::At);
        let call = home.write(&object, &expected);
        limited(home.name(), "keep the key of an issuance", call).await?;
        Ok(key)
    }

    /// Removes key and record of an issuance whose certificate was delivered, or will never be.
    pub(super) async fn settle(&self, subject: &str) -> Result<(), StepError> {
        self.forget(&issuance_name(&self.fleet.relay.name, subject))
            .await
    }

    /// Removes key and record of an issuance by their name.
    pub(super) async fn forget(&self, name: &str) -> Result<(), StepError> {
        let home = self.fleet.home()?;
        for key in [ObjectKey::secret(name), ObjectKey::config_map(name)] {
            let stored = limited(home.name(), "read an issuance", home.read(&key)).await?;
            if let Some(stored) = stored
                && owner_of(&stored.object, &self.fleet.relay.name) == Owner::Us
            {
                let call = home.delete(&key, &stored.version);
                limited(home.name(), "delete a settled issuance", call).await?;
            }
        }
        Ok(())
    }
}

/// Whether asking again for the same certificate is pointless: then the next run asks for another.
fn is_final(error: &StepError) -> bool {
    matches!(
        error,
        StepError::Authority(AuthorityError::Rejected { .. } | AuthorityError::Misissued { .. })
    )
}
