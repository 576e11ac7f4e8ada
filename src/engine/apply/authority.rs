//! Running the steps on roots and signers.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use relay_pki_authority::x509::{
    Certificate, CertificateChain, KeyType, PrivateKey, Subject, TrustBundle, Validity,
};
use relay_pki_authority::{
    Authority, Generation, IssuanceId, Level, Outcome, Profile, Progress, Provider, RootRequest,
    SignerRequest, SigningRequest,
};

use super::super::limited;
use super::super::step::{Action, KeySource, Step};
use super::issue::{backdated, bounded, refused};
use super::{Apply, StepError};
use crate::cluster::{Expected, ObjectKey};
use crate::journal::{GenerationRecord, Kept, Status};
use crate::relay::{TLS_KEY, decode_tls};

impl Apply<'_> {
    pub(super) async fn authority_step(&mut self, step: &Step) -> Result<(), StepError> {
        match &step.action {
            Action::EstablishRoot {
                number,
                provider,
                key_type,
            } => {
                let record = self.intent(Level::Root, *number, provider, *key_type, None, 0);
                self.establish_root(record).await
            }
            Action::EstablishSigner {
                number,
                root,
                provider,
                key_type,
                request,
            } => {
                let root = Some(*root);
                let level = Level::Signer;
                let record = self.intent(level, *number, provider, *key_type, root, *request);
                self.establish_signer(record).await
            }
            Action::AdoptRoot {
                number,
                certificate,
                key,
                status,
            } => {
                let level = Level::Root;
                self.adopt(level, *number, None, certificate, key.as_ref(), *status)
                    .await
            }
            Action::AdoptSigner {
                number,
                root,
                certificate,
                key,
            } => {
                let (level, root) = (Level::Signer, Some(*root));
                self.adopt(level, *number, root, certificate, Some(key), Status::Active)
                    .await
            }
            Action::Put(_) => Ok(()),
        }
    }

    /// The record of a generation that is to be made: the one that was begun, or a new one.
    fn intent(
        &self,
        level: Level,
        number: u32,
        provider: &str,
        key_type: KeyType,
        root: Option<u32>,
        request: u64,
    ) -> GenerationRecord {
        match self.journal.level(level).get(&number) {
            Some(kept) => kept.record.clone(),
            None => GenerationRecord {
                level,
                number,
                status: Status::Prepared,
                provider: Some(provider.to_owned()),
                key_type,
                root,
                request,
                since: self.now(),
                certificate: None,
            },
        }
    }

    async fn establish_root(&mut self, mut record: GenerationRecord) -> Result<(), StepError> {
        self.save(&record).await?;
        if record.certificate.is_none() {
            let provider = self.provider(&record)?.clone();
            let generation = record.generation(&self.fleet.relay.name);
            let request = RootRequest {
                subject: self.subject("relay root")?,
                key_type: record.key_type,
                validity: self.validity(self.fleet.relay.root.validity.duration())?,
                generation,
            };
            let call = provider.create_root(&request);
            let root = done(
                &request.generation,
                bounded(&request.generation, call).await?,
            )?;
            record.certificate = Some(root);
            record.status = Status::Published;
            self.save(&record).await?;
        }
        self.activate(record).await
    }

    async fn establish_signer(&mut self, mut record: GenerationRecord) -> Result<(), StepError> {
        self.save(&record).await?;
        if record.certificate.is_none() {
            let certificate = self.certify_signer(&record).await?;
            record.certificate = Some(certificate);
            record.status = Status::Published;
            self.save(&record).await?;
        }
        self.activate(record).await
    }

    async fn certify_signer(&self, record: &GenerationRecord) -> Result<Certificate, StepError> {
        let relay = &self.fleet.relay;
        let generation = record.generation(&relay.name);
        let provider = self.provider(record)?;
        let subject = self.subject(&format!("relay signer {}", record.number))?;
        let request = SignerRequest {
            generation: generation.clone(),
            subject: subject.clone(),
            key_type: record.key_type,
        };
        let prepared = bounded(&generation, provider.prepare_signer(&request)).await?;
        let csr = done(&generation, prepared)?;
        let root = record
            .root
            .and_then(|number| self.journal.roots.get(&number))
            .ok_or_else(|| StepError::Refused {
                reason: format!("{generation} has no root to certify it"),
            })?;
        let authority = self.open(&root.record).await?;
        let above = authority.certificate().validity().map_err(refused)?;
        let validity = self
            .validity(relay.signer.validity.duration())?
            .clamped_to(&above)
            .map_err(refused)?;
        let request = SigningRequest {
            id: IssuanceId::derive(&[
                generation.to_string().as_bytes(),
                csr.public_key().spki_der(),
            ]),
            csr,
            profile: Profile::Signer,
            subject,
            names: Vec::new(),
            validity,
            now: self.now(),
        };
        let issuance = match bounded(&generation, authority.sign(&request)).await? {
            Outcome::Issued(issuance) => issuance,
            Outcome::Pending { poll_after, .. } => {
                return Err(StepError::Pending {
                    authority: authority.id().to_owned(),
                    poll_after,
                });
            }
        };
        tracing::info!(
            target: "relay_pki::issuance",
            id = %request.id,
            authority = authority.id(),
            profile = %request.profile,
            subject = %request.subject,
            not_after = %issuance.chain.leaf().not_after(),
            "issued"
        );
        let install = provider.install_signer(&generation, &issuance.chain);
        bounded(&generation, install).await?;
        Ok(issuance.chain.leaf().clone())
    }

    async fn adopt(
        &mut self,
        level: Level,
        number: u32,
        root: Option<u32>,
        certificate: &Certificate,
        key: Option<&KeySource>,
        status: Status,
    ) -> Result<(), StepError> {
        let mut record = GenerationRecord {
            level,
            number,
            status,
            provider: key.map(|source| source.provider.clone()),
            key_type: certificate.public_key().key_type().map_err(refused)?,
            root,
            request: 0,
            since: self.now(),
            certificate: Some(certificate.clone()),
        };
        if let Some(source) = key {
            let (key, chain) = self.key_to_adopt(level, certificate, source).await?;
            let provider = self.provider(&record)?.clone();
            let generation = record.generation(&self.fleet.relay.name);
            bounded(&generation, provider.import(&generation, &key, &chain)).await?;
        }
        if let Some(kept) = self.journal.level(level).get(&number) {
            record.since = kept.record.since;
        }
        self.save(&record).await
    }

    async fn key_to_adopt(
        &self,
        level: Level,
        certificate: &Certificate,
        source: &KeySource,
    ) -> Result<(PrivateKey, CertificateChain), StepError> {
        let home = self.fleet.home()?;
        let key = ObjectKey::secret(source.secret.clone());
        let stored = limited(home.name(), "read the CA key", home.read(&key)).await?;
        let unusable = |reason: String| StepError::Refused {
            reason: format!("{key} in cluster {}: {reason}", home.name()),
        };
        let stored = stored.ok_or_else(|| unusable("it is gone".to_owned()))?;
        if stored.exposed {
            return Err(unusable(
                "other users of this machine can read it; chmod 600 it first".to_owned(),
            ));
        }
        match level {
            Level::Root => {
                let pem = stored.object.data.get(TLS_KEY);
                let pem = pem.ok_or_else(|| unusable(format!("it has no {TLS_KEY}")))?;
                let key = PrivateKey::from_pem(pem.expose())
                    .map_err(|error| unusable(error.to_string()))?;
                let chain = CertificateChain::new(vec![certificate.clone()]).map_err(refused)?;
                Ok((key, chain))
            }
            Level::Signer => {
                let content = decode_tls(&stored.object).map_err(unusable)?;
                let chain = CertificateChain::new(vec![certificate.clone()]).map_err(refused)?;
                Ok((content.key, chain))
            }
        }
    }

    /// Puts a generation into use. The old one steps back first: there is never more than one.
    async fn activate(&mut self, mut record: GenerationRecord) -> Result<(), StepError> {
        let previous: Vec<GenerationRecord> = self
            .journal
            .level(record.level)
            .values()
            .map(|kept| kept.record.clone())
            .filter(|other| other.status == Status::Active && other.number != record.number)
            .collect();
        for mut other in previous {
            other.status = Status::Retiring;
            other.since = self.now();
            self.save(&other).await?;
        }
        record.status = Status::Active;
        record.since = self.now();
        self.save(&record).await
    }

    /// Writes a record, unless it stands there already, and remembers its version.
    async fn save(&mut self, record: &GenerationRecord) -> Result<(), StepError> {
        let home = self.fleet.home()?;
        let kept = self.journal.level(record.level).get(&record.number);
        let expected = match kept {
            Some(kept) if &kept.record == record => return Ok(()),
            Some(Kept {
                version: Some(version),
                ..
            }) => Expected::At(version.clone()),
            _ => Expected::Absent,
        };
        let object = record.encode(&self.fleet.relay.name);
        let call = home.write(&object, &expected);
        let version = Some(limited(home.name(), "write a record", call).await?);
        let record = record.clone();
        self.journal
            .level_mut(record.level)
            .insert(record.number, Kept { record, version });
        Ok(())
    }

    /// Opens the CA of a generation.
    pub(super) async fn open(
        &self,
        record: &GenerationRecord,
    ) -> Result<Arc<dyn Authority>, StepError> {
        let generation = record.generation(&self.fleet.relay.name);
        let anchors = match (record.level, &record.certificate) {
            (Level::Root, Some(root)) => TrustBundle::new([root.clone()]).map_err(refused)?,
            _ => self.journal.published_roots().map_err(refused)?,
        };
        let provider = self.provider(record)?;
        bounded(&generation, provider.open(&generation, &anchors)).await
    }

    fn provider(&self, record: &GenerationRecord) -> Result<&Arc<dyn Provider>, StepError> {
        let generation = record.generation(&self.fleet.relay.name);
        let name = record.provider.as_ref().ok_or_else(|| StepError::Refused {
            reason: format!("the key of {generation} is not in reach of relay-pki"),
        })?;
        self.fleet
            .providers
            .get(name)
            .ok_or_else(|| StepError::Refused {
                reason: format!(
                    "{generation} is held by provider {name}, which spec.providers does not have"
                ),
            })
    }

    pub(super) fn now(&self) -> Timestamp {
        self.fleet.clock.now()
    }

    fn validity(&self, lifetime: SignedDuration) -> Result<Validity, StepError> {
        backdated(self.now(), lifetime).map_err(refused)
    }

    /// CAs carry the relay's name as their organisation.
    fn subject(&self, common_name: &str) -> Result<Subject, StepError> {
        Ok(Subject {
            organization: Some(self.fleet.relay.name.parse().map_err(refused)?),
            common_name: common_name.parse().map_err(refused)?,
        })
    }
}

/// The result of a call that a backend may take its time for.
fn done<T>(generation: &Generation, progress: Progress<T>) -> Result<T, StepError> {
    match progress {
        Progress::Done(result) => Ok(result),
        Progress::Pending { poll_after } => Err(StepError::Pending {
            authority: generation.to_string(),
            poll_after,
        }),
    }
}
