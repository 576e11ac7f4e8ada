//! Running the steps of a rotation.

use relay_pki_authority::x509::{Certificate, Validity};
use relay_pki_authority::{Generation, Level};

use super::super::limited;
use super::super::plan::ITSELF;
use super::authority::Use;
use super::issue::{bounded, refused};
use super::{Apply, StepError};
use crate::cluster::{ClusterError, ObjectKey};
use crate::journal::{Cross, GenerationRecord, RotationRecord, Status};
use crate::transcript::{self, Deed, TranscriptError};

impl Apply<'_> {
    /// Writes down where a rotation is, if nobody else has taken it anywhere meanwhile.
    pub(super) async fn advance(&mut self, record: &RotationRecord) -> Result<(), StepError> {
        let deed = Deed {
            by: ITSELF,
            acknowledged: self.acknowledged.as_ref(),
            destroyed: &self.destroyed,
        };
        transcript::record(self.fleet, self.journal.to_mut(), record, &deed).await?;
        tracing::info!(
            target: "relay_pki::rotation",
            relay = self.fleet.relay.name,
            number = record.number,
            level = %record.level,
            phase = %record.phase,
            direction = %record.direction,
            "rotation"
        );
        Ok(())
    }

    /// Whether the rotation is where it was when the plan was made. Somebody who was away for a while
    /// would write what an earlier phase wanted, over what gates have seen since.
    pub(super) async fn rotation_stands(&self) -> Result<(), StepError> {
        let home = self.fleet.home()?;
        let last = self.journal.rotations.last_key_value();
        let (number, known) = match last.filter(|(_, kept)| !kept.record.phase.is_over()) {
            Some((number, kept)) => (*number, kept.version.as_ref()),
            None => (self.journal.next_rotation(), None),
        };
        let name = RotationRecord::object_name(&self.fleet.relay.name, number);
        let key = ObjectKey::config_map(name);
        let stored = limited(home.name(), "read the rotation", home.read(&key)).await?;
        match stored.as_ref().map(|stored| &stored.version) == known {
            true => Ok(()),
            false => Err(StepError::Cluster(ClusterError::Conflict {
                cluster: home.name().to_owned(),
                object: key,
            })),
        }
    }

    /// Gives a generation its status.
    pub(super) async fn transition(
        &mut self,
        level: Level,
        number: u32,
        status: Status,
    ) -> Result<(), StepError> {
        let Some(kept) = self.journal.level(level).get(&number) else {
            return Ok(());
        };
        let record = GenerationRecord {
            status,
            since: self.now(),
            ..kept.record.clone()
        };
        self.save(&record).await
    }

    /// Destroys the private key of a generation. Gone already is success.
    pub(super) async fn destroy(&mut self, level: Level, number: u32) -> Result<(), StepError> {
        let Some(kept) = self.journal.level(level).get(&number) else {
            return Ok(());
        };
        let generation: Generation = kept.record.generation(&self.fleet.relay.name);
        let provider = self.provider(&kept.record)?;
        bounded(&generation, provider.destroy(&generation)).await?;
        tracing::info!(
            target: "relay_pki::rotation",
            %generation,
            "its private key is destroyed"
        );
        self.destroyed.push((level, number));
        Ok(())
    }

    /// Has the old root certify a signer of the new one, too, or writes down why it cannot.
    pub(super) async fn cross_certify(
        &mut self,
        record: &mut GenerationRecord,
        old: u32,
    ) -> Result<(), StepError> {
        if record.cross.is_some() {
            return Ok(());
        }
        let cross = match self.crossing(record, old)? {
            Ok((root, validity)) => {
                let csr = self.signer_csr(record).await?;
                let chain = self
                    .certify(record, &root, csr, validity, Use::Cross)
                    .await?;
                stands_in(record, chain.leaf())
            }
            Err(reason) => Cross::Impossible(reason),
        };
        record.cross = Some(cross);
        self.save(record).await
    }

    /// Has the two roots of a rotation certify each other's keys, or writes down why they cannot.
    pub(super) async fn certify_roots(&mut self, old: u32, new: u32) -> Result<(), StepError> {
        let record = |number: u32| {
            let kept = self.journal.roots.get(&number);
            let record = kept.map(|kept| kept.record.clone());
            record.ok_or_else(|| StepError::Refused {
                reason: format!("there is no root g{number}"),
            })
        };
        let (before, mut root) = (record(old)?, record(new)?);
        if root.predecessor.is_none() {
            let what_for = Use::Predecessor(new);
            root.predecessor = Some(self.certified_root(&before, &root, what_for).await?);
            self.save(&root).await?;
        }
        if root.cross.is_none() {
            root.cross = Some(self.certified_root(&root, &before, Use::Cross).await?);
            self.save(&root).await?;
        }
        Ok(())
    }

    /// A root's key certified by another root, for as long as both are valid. It can be done without: what is
    /// refused is not asked for again.
    async fn certified_root(
        &self,
        root: &GenerationRecord,
        by: &GenerationRecord,
        what_for: Use,
    ) -> Result<Cross, StepError> {
        let (own, validity) = match self.certifiable(root, by)? {
            Ok(found) => found,
            Err(reason) => return Ok(Cross::Impossible(reason)),
        };
        let generation = root.generation(&self.fleet.relay.name);
        let subject = self.root_subject()?;
        let request = self.provider(root)?.request_root(&generation, &subject);
        let certified = match bounded(&generation, request).await {
            Ok(csr) if csr.public_key() != own.public_key() => {
                return Ok(Cross::Impossible(format!(
                    "the request of {generation} is for another key than its own"
                )));
            }
            Ok(csr) => self.certify(root, by, csr, validity, what_for).await,
            Err(error) => Err(error),
        };
        match certified {
            Ok(chain) => Ok(stands_in(root, chain.leaf())),
            Err(StepError::Authority(error)) if !error.is_transient() => {
                Ok(Cross::Impossible(error.to_string()))
            }
            Err(error) => Err(error),
        }
    }

    /// A root's own certificate, and how long another root can certify it; or what stands in the way.
    #[allow(
        clippy::type_complexity,
        reason = "a result of a result says just this"
    )]
    fn certifiable(
        &self,
        root: &GenerationRecord,
        by: &GenerationRecord,
    ) -> Result<Result<(Certificate, Validity), String>, StepError> {
        for record in [root, by] {
            let number = record.number;
            if self.is_offline(number) {
                return Ok(Err(format!("root g{number} is kept by a person")));
            }
            if record.provider.is_none() {
                return Ok(Err(format!(
                    "the private key of root g{number} is not in reach"
                )));
            }
        }
        let (requests, signs) = (self.provider(root)?, self.provider(by)?);
        if !requests.capabilities().requests_roots {
            let name = requests.name();
            return Ok(Err(format!("provider {name} shows no request of a root")));
        }
        if !signs.capabilities().cross_certificates {
            let name = signs.name();
            return Ok(Err(format!("provider {name} certifies no other root")));
        }
        let (Some(own), Some(other)) = (&root.certificate, &by.certificate) else {
            let reason = "the roots are not made yet".to_owned();
            return Err(StepError::Refused { reason });
        };
        let from = own.not_before().max(other.not_before());
        let to = own.not_after().min(other.not_after());
        Ok(match Validity::new(from, to) {
            Ok(validity) if validity.contains(self.now()) => Ok((own.clone(), validity)),
            _ => Err(format!(
                "root g{} and root g{} are not valid at the same time",
                root.number, by.number
            )),
        })
    }

    /// The root that certifies a signer once more and for how long, or what stands in the way.
    fn crossing(
        &self,
        record: &GenerationRecord,
        old: u32,
    ) -> Result<Result<(GenerationRecord, Validity), String>, StepError> {
        let root = self.journal.roots.get(&old).map(|kept| &kept.record);
        let Some((root, certificate)) =
            root.and_then(|root| Some((root, root.certificate.as_ref()?)))
        else {
            return Ok(Err(format!("there is no root g{old}")));
        };
        if self.is_offline(old) {
            return Ok(Err(format!("root g{old} is kept by a person")));
        }
        if root.provider.is_none() {
            return Ok(Err(format!(
                "the private key of root g{old} is not in reach"
            )));
        }
        if !certificate.is_valid_at(self.now()) {
            return Ok(Err(format!(
                "root g{old} ended at {}",
                certificate.not_after()
            )));
        }
        let provider = self.provider(record)?;
        if !provider.capabilities().recertifies_signers {
            return Ok(Err(format!(
                "provider {} has one certificate for a signer's key",
                provider.name()
            )));
        }
        let signer = record.certificate.as_ref();
        let own = signer.ok_or_else(|| StepError::Refused {
            reason: format!("signer g{} has no certificate yet", record.number),
        })?;
        // As long as its own, and no longer than the root: the same whenever it is asked for.
        let own = own.validity().map_err(refused)?;
        let above = certificate.validity().map_err(refused)?;
        let validity = own.clamped_to(&above).map_err(refused)?;
        Ok(Ok((root.clone(), validity)))
    }
}

impl From<TranscriptError> for StepError {
    fn from(error: TranscriptError) -> Self {
        match error {
            TranscriptError::Cluster(error) => Self::Cluster(error),
            error => Self::Refused {
                reason: error.to_string(),
            },
        }
    }
}

/// Another certificate of a CA, if whoever looks for the issuer of what that CA signed finds it: Go and webpki
/// look for the same name, byte for byte, and OpenSSL for the same key identifier. CAs differ in how they
/// write names and make identifiers.
fn stands_in(record: &GenerationRecord, other: &Certificate) -> Cross {
    let Some(own) = &record.certificate else {
        return Cross::Impossible("it has no certificate of its own".to_owned());
    };
    let differs = |what: &str| {
        let (level, number) = (record.level, record.number);
        Cross::Impossible(format!(
            "the two certificates of {level} g{number} do not stand in for each other: their {what} differ"
        ))
    };
    if own.raw_subject() != other.raw_subject() {
        return differs("names, as they are encoded,");
    }
    if own.subject_key_identifier() != other.subject_key_identifier() {
        return differs("key identifiers");
    }
    Cross::Certificate(other.clone())
}
