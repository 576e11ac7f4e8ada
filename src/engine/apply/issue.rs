//! Obtaining one leaf certificate.

use jiff::{SignedDuration, Timestamp};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use relay_pki_authority::x509::{
    CertificateChain, DnsName, KeyType, PrivateKey, Subject, Validity, VerifiedCsr, X509Error,
};
use relay_pki_authority::{
    Authority, AuthorityError, Generation, Issuance, IssuanceId, Level, Metering, Outcome, Profile,
    SigningRequest,
};

use super::super::{CALL_TIMEOUT, limited};
use super::{Apply, StepError};
use crate::cluster::{Expected, ObjectKey};
use crate::journal::{IssuanceRecord, Kept, issuance_name};
use crate::relay::TLS_KEY;

/// How far certificates are dated back: clocks of clusters differ.
const BACKDATING: SignedDuration = SignedDuration::from_mins(5);
/// A leaf that would live shorter than this is not worth issuing: its signer is at its end.
const SHORTEST_LEAF: SignedDuration = SignedDuration::from_mins(10);

/// A leaf that is wanted.
pub(super) struct LeafRequest {
    /// `server-mgmt`, `agent-cluster-1`.
    pub(super) name: String,
    pub(super) profile: Profile,
    pub(super) subject: Subject,
    pub(super) names: Vec<DnsName>,
    pub(super) key_type: KeyType,
    pub(super) lifetime: SignedDuration,
}

/// A key and the certificate for it.
pub(super) struct Leaf {
    pub(super) key: PrivateKey,
    pub(super) chain: CertificateChain,
}

impl Apply<'_> {
    /// Obtains a certificate from the active signer.
    pub(super) async fn issue(&self, wanted: &LeafRequest) -> Result<Leaf, StepError> {
        let authority = self.signer().await?;
        let metering = self.signer_metering()?;
        match metering {
            Metering::Free => {
                let key = PrivateKey::generate(wanted.key_type).map_err(refused)?;
                let csr = csr(&key, &wanted.subject).map_err(refused)?;
                let validity = self.leaf_validity(authority.as_ref(), wanted)?;
                let request = self.signing_request(wanted, csr, validity);
                match self.sign(authority.as_ref(), &request).await? {
                    Outcome::Issued(issuance) => Ok(Leaf {
                        key,
                        chain: self.audited(authority.as_ref(), &request, issuance),
                    }),
                    Outcome::Pending { poll_after, .. } => Err(StepError::Pending {
                        authority: authority.id().to_owned(),
                        poll_after,
                    }),
                }
            }
            Metering::Counted => self.buy(authority.as_ref(), wanted).await,
        }
    }

    /// Obtains a certificate that costs or counts: key and request are written down before the call,
    /// the answer before it is used, so that no crash and no lost reply makes us buy a second one.
    async fn buy(
        &self,
        authority: &dyn Authority,
        wanted: &LeafRequest,
    ) -> Result<Leaf, StepError> {
        let relay = &self.fleet.relay.name;
        let home = self.fleet.home()?;
        let (key, mut kept) = self.begin(authority, wanted).await?;
        let leaf = |chain: &CertificateChain| Leaf {
            key: key.clone(),
            chain: chain.clone(),
        };
        if let Some(chain) = &kept.record.chain {
            return Ok(leaf(chain));
        }
        let request = self.signing_request(wanted, kept.record.csr.clone(), kept.record.validity);
        let outcome = match &kept.record.ticket {
            Some(ticket) => {
                let call = authority.collect(&request, ticket);
                bounded_by(authority.id(), call).await?
            }
            None => self.sign(authority, &request).await?,
        };
        let pending = match outcome {
            Outcome::Issued(issuance) => {
                kept.record.chain = Some(self.audited(authority, &request, issuance));
                None
            }
            Outcome::Pending { ticket, poll_after } => {
                kept.record.ticket = Some(ticket);
                Some(poll_after)
            }
        };
        let object = kept.record.encode(relay, &wanted.name);
        let expected = kept.version.map_or(Expected::Absent, Expected::At);
        let call = home.write(&object, &expected);
        limited(home.name(), "record the issuance", call).await?;
        match (pending, &kept.record.chain) {
            (None, Some(chain)) => Ok(leaf(chain)),
            (poll_after, _) => Err(StepError::Pending {
                authority: authority.id().to_owned(),
                poll_after: poll_after.unwrap_or_default(),
            }),
        }
    }

    /// The record of an issuance and its key: what an interrupted run left, or new ones.
    async fn begin(
        &self,
        authority: &dyn Authority,
        wanted: &LeafRequest,
    ) -> Result<(PrivateKey, Kept<IssuanceRecord>), StepError> {
        let relay = &self.fleet.relay.name;
        let home = self.fleet.home()?;
        let name = issuance_name(relay, &wanted.name);
        let key_at = ObjectKey::secret(name.clone());
        let stored = limited(home.name(), "read an issuance", home.read(&key_at)).await?;
        let key = match stored {
            Some(stored) => {
                let pem = stored.object.data.get(TLS_KEY);
                let pem = pem.ok_or_else(|| StepError::Refused {
                    reason: format!("{} has no {TLS_KEY}; delete it and try again", stored.place),
                })?;
                PrivateKey::from_pem(pem.expose()).map_err(refused)?
            }
            None => {
                let key = PrivateKey::generate(wanted.key_type).map_err(refused)?;
                let object = IssuanceRecord::encode_key(relay, &wanted.name, &key);
                let call = home.write(&object, &Expected::Absent);
                limited(home.name(), "keep the key of an issuance", call).await?;
                key
            }
        };
        let usable = self.journal.issuances.get(&name).filter(|kept| {
            kept.record.csr.public_key() == key.public_key()
                && kept.record.validity.not_after() > self.now()
        });
        if let Some(kept) = usable {
            return Ok((key, kept.clone()));
        }
        let record = IssuanceRecord {
            signer: self.active_signer()?,
            csr: csr(&key, &wanted.subject).map_err(refused)?,
            validity: self.leaf_validity(authority, wanted)?,
            ticket: None,
            chain: None,
        };
        let outdated = self.journal.issuances.get(&name);
        let expected = outdated
            .and_then(|kept| kept.version.clone())
            .map_or(Expected::Absent, Expected::At);
        let object = record.encode(relay, &wanted.name);
        let call = home.write(&object, &expected);
        let version = Some(limited(home.name(), "record an issuance", call).await?);
        Ok((key, Kept { record, version }))
    }

    /// Removes the record of an issuance whose certificate was delivered.
    pub(super) async fn settle(&self, name: &str) -> Result<(), StepError> {
        if self.signer_metering()? == Metering::Free {
            return Ok(());
        }
        let home = self.fleet.home()?;
        let name = issuance_name(&self.fleet.relay.name, name);
        // The record first: a key without a record is reused, a record without a key is replaced.
        for key in [ObjectKey::config_map(name.clone()), ObjectKey::secret(name)] {
            let stored = limited(home.name(), "read an issuance", home.read(&key)).await?;
            if let Some(stored) = stored {
                let call = home.delete(&key, &stored.version);
                limited(home.name(), "delete a settled issuance", call).await?;
            }
        }
        Ok(())
    }

    fn leaf_validity(
        &self,
        authority: &dyn Authority,
        wanted: &LeafRequest,
    ) -> Result<Validity, StepError> {
        let signer = authority.certificate().validity().map_err(refused)?;
        let asked = backdated(self.now(), wanted.lifetime).map_err(refused)?;
        let validity = asked.clamped_to(&signer).map_err(refused)?;
        let left = validity.not_after().duration_since(self.now());
        if validity.not_after() < asked.not_after() && left < SHORTEST_LEAF {
            return Err(StepError::Refused {
                reason: format!(
                    "the signer {} ends at {}; run `relay-pki rotate signer` first",
                    authority.certificate().subject(),
                    signer.not_after()
                ),
            });
        }
        Ok(validity)
    }

    fn signing_request(
        &self,
        wanted: &LeafRequest,
        csr: VerifiedCsr,
        validity: Validity,
    ) -> SigningRequest {
        SigningRequest {
            id: IssuanceId::derive(&[
                self.fleet.relay.name.as_bytes(),
                wanted.name.as_bytes(),
                csr.public_key().spki_der(),
            ]),
            csr,
            profile: wanted.profile,
            subject: wanted.subject.clone(),
            names: wanted.names.clone(),
            validity,
            now: self.now(),
        }
    }

    async fn sign(
        &self,
        authority: &dyn Authority,
        request: &SigningRequest,
    ) -> Result<Outcome, StepError> {
        bounded_by(authority.id(), authority.sign(request)).await
    }

    /// One audit line for each certificate, before anybody gets it.
    fn audited(
        &self,
        authority: &dyn Authority,
        request: &SigningRequest,
        issuance: Issuance,
    ) -> CertificateChain {
        let leaf = issuance.chain.leaf();
        let serial = leaf.serial().map(|serial| serial.to_string());
        tracing::info!(
            target: "relay_pki::issuance",
            id = %request.id,
            authority = authority.id(),
            profile = %request.profile,
            subject = %request.subject,
            serial = serial.unwrap_or_default(),
            not_after = %leaf.not_after(),
            "issued"
        );
        issuance.chain
    }

    fn active_signer(&self) -> Result<u32, StepError> {
        self.journal
            .active(Level::Signer)
            .map(|record| record.number)
            .ok_or_else(|| StepError::Refused {
                reason: "there is no active signer".to_owned(),
            })
    }

    fn signer_metering(&self) -> Result<Metering, StepError> {
        let record = self.journal.active(Level::Signer);
        let provider = record
            .and_then(|record| record.provider.as_ref())
            .and_then(|name| self.fleet.providers.get(name));
        provider
            .map(|provider| provider.capabilities().metering)
            .ok_or_else(|| StepError::Refused {
                reason: "the active signer is held by no provider of the document".to_owned(),
            })
    }
}

/// A validity of `lifetime` from now, dated back a little.
pub(super) fn backdated(now: Timestamp, lifetime: SignedDuration) -> Result<Validity, X509Error> {
    let end = now.checked_add(lifetime).unwrap_or(Timestamp::MAX);
    Validity::new(now.checked_sub(BACKDATING).unwrap_or(now), end)
}

pub(super) fn refused(error: X509Error) -> StepError {
    StepError::Refused {
        reason: error.to_string(),
    }
}

/// Runs a provider call with a time limit.
pub(super) async fn bounded<T>(
    generation: &Generation,
    call: impl Future<Output = Result<T, AuthorityError>>,
) -> Result<T, StepError> {
    bounded_by(&generation.to_string(), call).await
}

async fn bounded_by<T>(
    authority: &str,
    call: impl Future<Output = Result<T, AuthorityError>>,
) -> Result<T, StepError> {
    match tokio::time::timeout(CALL_TIMEOUT, call).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(StepError::Authority(AuthorityError::Unavailable {
            authority: authority.to_owned(),
            reason: format!("no answer within {} s", CALL_TIMEOUT.as_secs()),
            retry_after: None,
        })),
    }
}

/// Proof that we hold `key`. Names are policy's business; the subject is there for a human reader.
fn csr(key: &PrivateKey, subject: &Subject) -> Result<VerifiedCsr, X509Error> {
    let failed = |error: rcgen::Error| X509Error::Malformed {
        what: "certificate request",
        reason: error.to_string(),
    };
    let algorithm = match key.key_type()? {
        KeyType::EcdsaP256 => &rcgen::PKCS_ECDSA_P256_SHA256,
        KeyType::EcdsaP384 => &rcgen::PKCS_ECDSA_P384_SHA384,
        KeyType::Rsa2048 | KeyType::Rsa3072 | KeyType::Rsa4096 => &rcgen::PKCS_RSA_SHA256,
        KeyType::Ed25519 => &rcgen::PKCS_ED25519,
    };
    let der = rustls_pki_types::PrivatePkcs8KeyDer::from(key.pkcs8_der());
    let pair = KeyPair::from_pkcs8_der_and_sign_algo(&der, algorithm).map_err(failed)?;
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = DistinguishedName::new();
    let common_name = subject.common_name.as_str();
    parameters
        .distinguished_name
        .push(DnType::CommonName, common_name);
    let request = parameters.serialize_request(&pair).map_err(failed)?;
    VerifiedCsr::from_der(request.der())
}
