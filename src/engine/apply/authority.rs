//! Running the steps on roots and signers.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use relay_pki_authority::x509::{
    Certificate, CertificateChain, Subject, TrustBundle, Validity, VerifiedCsr,
};
use relay_pki_authority::{
    Authority, Generation, IssuanceId, KeyStoreError, Level, Metering, Outcome, Profile, Progress,
    Provider, RootRequest, SignerRequest, SigningRequest,
};

use super::super::observed::KeptKey;
use super::super::plan::{subject_of_cross, subject_of_predecessor, subject_of_signer};
use super::super::step::{Action, Step};
use super::super::{CALL_TIMEOUT, limited};
use super::issue::{audited, backdated, bounded, refused};
use super::{Apply, StepError};
use crate::cluster::Expected;
use crate::journal::{
    ClusterKeyStore, GenerationRecord, IssuanceRecord, Kept, Status, issuance_name,
};
use crate::transcript::{self, TranscriptError};

impl Apply<'_> {
    pub(super) async fn authority_step(&mut self, step: &Step) -> Result<(), StepError> {
        match &step.action {
            Action::EstablishRoot {
                number,
                provider,
                key_type,
                activate,
            } => {
                let lifetime = self.fleet.relay.root.validity.duration();
                let validity = match self.fleet.relay.is_offline(provider) {
                    true => None,
                    false => Some(self.root_validity(lifetime)?),
                };
                let record = self.intent(GenerationRecord {
                    level: Level::Root,
                    number: *number,
                    status: Status::Prepared,
                    provider: Some(provider.clone()),
                    key_type: *key_type,
                    root: None,
                    since: self.now(),
                    validity,
                    certificate: None,
                    cross: None,
                    predecessor: None,
                });
                self.establish_root(record, *activate).await
            }
            Action::EstablishSigner {
                number,
                root,
                provider,
                key_type,
                cross,
                activate,
            } => {
                // How long it lives is decided by whoever signs it.
                let validity = match self.is_offline(*root) {
                    true => None,
                    false => Some(self.signer_validity(*root)?),
                };
                let mut record = self.intent(GenerationRecord {
                    level: Level::Signer,
                    number: *number,
                    status: Status::Prepared,
                    provider: Some(provider.clone()),
                    key_type: *key_type,
                    root: Some(*root),
                    since: self.now(),
                    validity,
                    certificate: None,
                    cross: None,
                    predecessor: None,
                });
                if record.certificate.is_none() && record.root != Some(*root) {
                    // It waited for a root that never came.
                    (record.root, record.validity) = (Some(*root), validity);
                }
                self.establish_signer(record, *cross, *activate).await
            }
            Action::CertifyRoots { old, new } => self.certify_roots(*old, *new).await,
            Action::Advance(record) => self.advance(record).await,
            Action::Transition {
                level,
                number,
                status,
            } => self.transition(*level, *number, *status).await,
            Action::GiveUp(key) => self.give_up(*key).await,
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
            Action::RewriteKey(KeptKey::Authority { level, number }) => {
                self.rewrite_key(*level, *number).await
            }
            Action::RewriteKey(KeptKey::Transcript) => {
                let home = self.fleet.home()?;
                let rewritten = transcript::rewrite_key(&self.fleet.relay, home).await;
                Ok(rewritten.map_err(TranscriptError::from)?)
            }
            Action::Put(_) | Action::Restart { .. } => Ok(()),
        }
    }

    async fn rewrite_key(&self, level: Level, number: u32) -> Result<(), StepError> {
        let relay = &self.fleet.relay;
        let kept = self.journal.level(level).get(&number);
        let provider = kept.and_then(|kept| kept.record.provider.as_ref());
        let Some(provider) = provider.and_then(|name| relay.providers.get(name)) else {
            return Ok(());
        };
        let home = self.fleet.home()?;
        let generation = Generation {
            relay: relay.name.clone(),
            level,
            number,
        };
        let keys = ClusterKeyStore::of(provider, home);
        let failed = |reason: String| StepError::Refused {
            reason: format!("the key of {generation} is not rewritten: {reason}"),
        };
        match tokio::time::timeout(CALL_TIMEOUT, keys.rewrite(&generation)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(KeyStoreError::Locked { reason, remedy })) => {
                Err(failed(format!("{reason}; {remedy}")))
            }
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(_) => Err(failed(format!(
                "no answer within {} s",
                CALL_TIMEOUT.as_secs()
            ))),
        }
    }

    /// Whether a person signs with a root.
    pub(super) fn is_offline(&self, root: u32) -> bool {
        let record = self.journal.roots.get(&root).map(|kept| &kept.record);
        let provider = record.and_then(|record| record.provider.as_deref());
        let relay = &self.fleet.relay;
        relay.is_offline(provider.unwrap_or(&relay.root.provider))
    }

    /// The record of a generation that is to be made: the one that was begun, or this new one.
    fn intent(&self, new: GenerationRecord) -> GenerationRecord {
        match self.journal.level(new.level).get(&new.number) {
            Some(kept) => kept.record.clone(),
            None => new,
        }
    }

    /// As long as the document says; but two roots never end together: which one is newer shows in that (RFC
    /// 7030 section 4.1.3).
    fn root_validity(&self, lifetime: SignedDuration) -> Result<Validity, StepError> {
        let validity = backdated(self.now(), lifetime).map_err(refused)?;
        let second = SignedDuration::from_secs(1);
        let mut end = validity.not_after();
        let roots = self.journal.roots.values();
        let ends = roots.filter_map(|kept| Some(kept.record.certificate.as_ref()?.not_after()));
        let ends: BTreeSet<Timestamp> = ends.collect();
        while ends.contains(&end)
            && let Ok(later) = end.checked_add(second)
        {
            end = later;
        }
        Validity::new(validity.not_before(), end).map_err(refused)
    }

    /// As long as the document says, but no longer than the root.
    fn signer_validity(&self, root: u32) -> Result<Validity, StepError> {
        let record = self.journal.roots.get(&root);
        let root = record.and_then(|kept| kept.record.certificate.as_ref());
        let root = root.ok_or_else(|| StepError::Refused {
            reason: "there is no root to certify a signer".to_owned(),
        })?;
        let lifetime = self.fleet.relay.signer.validity.duration();
        backdated(self.now(), lifetime)
            .and_then(|validity| validity.clamped_to(&root.validity()?))
            .map_err(refused)
    }

    async fn establish_root(
        &mut self,
        mut record: GenerationRecord,
        activate: bool,
    ) -> Result<(), StepError> {
        self.save(&record).await?;
        if record.certificate.is_none() && self.is_offline(record.number) {
            return Err(StepError::Awaiting {
                what: format!("root g{} is made by a person", record.number),
                remedy: "`relay-pki root create` makes one on a machine without a network, \
                         `relay-pki signer install` takes its certificate together with the signer's"
                    .to_owned(),
            });
        }
        if record.certificate.is_none() {
            let provider = self.provider(&record)?.clone();
            let generation = record.generation(&self.fleet.relay.name);
            let request = RootRequest {
                subject: self.root_subject()?,
                key_type: record.key_type,
                validity: promised(&record)?,
                generation,
            };
            let call = provider.create_root(&request);
            let root = done(
                &request.generation,
                bounded(&request.generation, call).await?,
            )?;
            self.expect_another_ca(&record, &root)?;
            tracing::info!(
                target: "relay_pki::issuance",
                authority = %request.generation,
                profile = %Profile::Root,
                subject = %request.subject,
                not_after = %root.not_after(),
                "issued"
            );
            record.certificate = Some(root);
            if activate {
                record.status = Status::Published;
            }
            self.save(&record).await?;
        }
        match activate {
            true => self.activate(record).await,
            false => Ok(()),
        }
    }

    async fn establish_signer(
        &mut self,
        mut record: GenerationRecord,
        cross: Option<u32>,
        activate: bool,
    ) -> Result<(), StepError> {
        self.save(&record).await?;
        if record.certificate.is_none() {
            let certificate = self.certify_signer(&record).await?;
            record.certificate = Some(certificate);
            record.status = Status::Published;
            self.save(&record).await?;
        }
        let subject = subject_of_signer(record.number);
        let root = record.root.and_then(|root| self.journal.roots.get(&root));
        let metering = root
            .filter(|root| root.record.provider.is_some())
            .map(|root| self.metering(&root.record));
        if let Some(old) = cross {
            self.cross_certify(&mut record, old).await?;
        }
        if activate {
            self.activate(record).await?;
        }
        match metering {
            Some(Ok(Metering::Counted)) => self.settle(&subject).await,
            _ => Ok(()),
        }
    }

    /// The certificate of a signer: the one that its provider has from an interrupted run, or one
    /// from the root.
    async fn certify_signer(&self, record: &GenerationRecord) -> Result<Certificate, StepError> {
        let generation = record.generation(&self.fleet.relay.name);
        let provider = self.provider(record)?;
        let existing = bounded(&generation, provider.existing_signer(&generation)).await?;
        if let Some(chain) = existing {
            // Whether it leads to the root is looked at when it is opened.
            self.expect_another_ca(record, chain.leaf())?;
            self.open(record).await?;
            return Ok(chain.leaf().clone());
        }
        // Such a backend shows the request of a signer only until the signer has its certificate.
        if !provider.capabilities().recertifies_signers
            && let Ok(authority) = self.open(record).await
        {
            return Ok(authority.certificate().clone());
        }
        let csr = self.signer_csr(record).await?;
        let opened = self.open(record).await;
        if let Ok(authority) = &opened
            && authority.certificate().public_key() == csr.public_key()
        {
            return Ok(authority.certificate().clone());
        }
        if record.root.is_some_and(|root| self.is_offline(root)) {
            return Err(match opened {
                // It may be there, only not today.
                Err(StepError::Authority(error)) if error.is_transient() => error.into(),
                _ => awaiting_signer(record.number),
            });
        }
        let root = record
            .root
            .and_then(|number| self.journal.roots.get(&number))
            .ok_or_else(|| StepError::Refused {
                reason: format!("{generation} has no root to certify it"),
            })?;
        let chain = self
            .certify(record, &root.record, csr, promised(record)?, Use::Own)
            .await?;
        let anchors = self.anchors(record)?;
        let install = provider.install_signer(&generation, &chain, &anchors);
        bounded(&generation, install).await?;
        Ok(chain.leaf().clone())
    }

    /// Proof that the provider of a signer has its key.
    pub(super) async fn signer_csr(
        &self,
        record: &GenerationRecord,
    ) -> Result<VerifiedCsr, StepError> {
        let generation = record.generation(&self.fleet.relay.name);
        let request = SignerRequest {
            generation: generation.clone(),
            subject: self.signer_subject(record)?,
            key_type: record.key_type,
        };
        let provider = self.provider(record)?;
        let prepared = bounded(&generation, provider.prepare_signer(&request)).await?;
        done(&generation, prepared)
    }

    /// A signer's certificate from a root.
    pub(super) async fn certify(
        &self,
        record: &GenerationRecord,
        root: &GenerationRecord,
        csr: VerifiedCsr,
        validity: Validity,
        what_for: Use,
    ) -> Result<CertificateChain, StepError> {
        let generation = record.generation(&self.fleet.relay.name).to_string();
        let (profile, name) = match record.level {
            Level::Root => (Profile::Root, self.root_subject()?),
            Level::Signer => (Profile::Signer, self.signer_subject(record)?),
        };
        let (word, subject): (&[u8], _) = match what_for {
            Use::Own => (b"", subject_of_signer(record.number)),
            Use::Cross => (b"cross", subject_of_cross(record.level, record.number)),
            Use::Predecessor(new) => (b"predecessor", subject_of_predecessor(new)),
        };
        let authority = self.open(root).await?;
        let mut parts = vec![generation.as_bytes(), csr.public_key().spki_der()];
        parts.extend(Some(word).filter(|word| !word.is_empty()));
        let mut request = SigningRequest {
            id: IssuanceId::derive(&parts),
            csr: csr.clone(),
            profile,
            subject: name,
            names: Vec::new(),
            validity,
            now: self.now(),
        };
        match self.metering(root)? {
            Metering::Free => match self.sign(authority.as_ref(), &request).await? {
                Outcome::Issued(issuance) => Ok(audited(authority.as_ref(), &request, issuance)),
                Outcome::Pending { poll_after, .. } => Err(StepError::Pending {
                    authority: authority.id().to_owned(),
                    poll_after,
                }),
            },
            Metering::Counted => {
                let kept = self.begin_signer(&subject, root.number, &request).await?;
                request.csr = kept.record.csr.clone();
                request.validity = kept.record.validity;
                self.obtain(authority.as_ref(), &subject, kept, &request)
                    .await
            }
        }
    }

    /// The same for every generation: path candidates are told apart by key identifiers (RFC 9810 section
    /// 4.4).
    pub(super) fn root_subject(&self) -> Result<Subject, StepError> {
        self.subject("relay root")
    }

    fn signer_subject(&self, record: &GenerationRecord) -> Result<Subject, StepError> {
        self.subject(&format!("relay signer {}", record.number))
    }

    /// A generation is a CA. A provider that has one only has no other to give.
    fn expect_another_ca(
        &self,
        record: &GenerationRecord,
        certificate: &Certificate,
    ) -> Result<(), StepError> {
        let provider = record.provider.as_deref().unwrap_or_default();
        let known = self.known_as(record.level, record.number, provider, certificate);
        match known {
            None => Ok(()),
            Some(refusal) => Err(StepError::Refused {
                reason: refusal.to_string(),
            }),
        }
    }

    /// The record of the issuance of a signer's certificate, whose key is the provider's business.
    async fn begin_signer(
        &self,
        subject: &str,
        issuer: u32,
        request: &SigningRequest,
    ) -> Result<Kept<IssuanceRecord>, StepError> {
        let name = issuance_name(&self.fleet.relay.name, subject);
        let kept = self.journal.issuances.get(&name);
        let goes_on = |record: &IssuanceRecord| {
            record.issuer == issuer
                && record.csr.public_key() == request.csr.public_key()
                && record.validity.not_after() == request.validity.not_after()
        };
        if let Some(kept) = kept.filter(|kept| goes_on(&kept.record)) {
            return Ok(kept.clone());
        }
        let record = IssuanceRecord {
            issuer,
            request: 0,
            names: Vec::new(),
            csr: request.csr.clone(),
            validity: request.validity,
            ticket: None,
            chain: None,
        };
        let version = kept.and_then(|kept| kept.version.clone());
        self.record(subject, Kept { record, version }).await
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
        if record.status != Status::Active {
            record.status = Status::Active;
            record.since = self.now();
        }
        self.save(&record).await
    }

    /// Writes a record, unless it stands there already, and remembers its version.
    pub(super) async fn save(&mut self, record: &GenerationRecord) -> Result<(), StepError> {
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
            .to_mut()
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
        let anchors = self.anchors(record)?;
        let provider = self.provider(record)?;
        bounded(&generation, provider.open(&generation, &anchors)).await
    }

    /// The roots that the chain of a CA ends in.
    pub(super) fn anchors(&self, record: &GenerationRecord) -> Result<TrustBundle, StepError> {
        let above = record.root.and_then(|root| self.journal.roots.get(&root));
        let root = match record.level {
            Level::Root => record.certificate.as_ref(),
            // Its own root, which a rotation has not published yet.
            Level::Signer => above.and_then(|root| root.record.certificate.as_ref()),
        };
        match root {
            Some(root) => TrustBundle::new([root.clone()]),
            None => self.journal.published_roots(),
        }
        .map_err(refused)
    }

    pub(super) fn provider(
        &self,
        record: &GenerationRecord,
    ) -> Result<&Arc<dyn Provider>, StepError> {
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

    /// CAs carry the relay's name as their organisation.
    fn subject(&self, common_name: &str) -> Result<Subject, StepError> {
        Ok(Subject {
            organization: Some(self.fleet.relay.name.parse().map_err(refused)?),
            common_name: common_name.parse().map_err(refused)?,
        })
    }
}

/// Which of its certificates a CA gets.
#[derive(Clone, Copy)]
pub(super) enum Use {
    /// That of a signer under its own root.
    Own,
    /// The one under the root before.
    Cross,
    /// That of a root under its successor, which is this one.
    Predecessor(u32),
}

/// A signer of an offline root that has no certificate yet.
fn awaiting_signer(number: u32) -> StepError {
    StepError::Awaiting {
        what: format!("signer g{number} is certified by a person"),
        remedy: "`relay-pki signer csr` prints its request, the owner of the root signs it, \
                 `relay-pki signer install` takes the certificate"
            .to_owned(),
    }
}

/// The validity that a generation's record promises.
fn promised(record: &GenerationRecord) -> Result<Validity, StepError> {
    record.validity.ok_or_else(|| StepError::Refused {
        reason: format!(
            "the record of {} g{} has no validity",
            record.level, record.number
        ),
    })
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
