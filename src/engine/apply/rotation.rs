//! Running the steps of a rotation.

use relay_pki_authority::x509::Validity;
use relay_pki_authority::{Generation, Level};

use super::super::limited;
use super::authority::Use;
use super::issue::{bounded, refused};
use super::{Apply, StepError};
use crate::cluster::{ClusterError, Expected, ObjectKey};
use crate::journal::{Cross, GenerationRecord, Kept, RotationRecord, Status};

impl Apply<'_> {
    /// Writes down where a rotation is, if nobody else has taken it anywhere meanwhile.
    pub(super) async fn advance(&mut self, record: &RotationRecord) -> Result<(), StepError> {
        let home = self.fleet.home()?;
        let kept = self.journal.rotations.get(&record.number);
        let version = kept.and_then(|kept| kept.version.clone());
        let expected = version.map_or(Expected::Absent, Expected::At);
        let object = record.encode(&self.fleet.relay.name);
        let call = home.write(&object, &expected);
        let version = Some(limited(home.name(), "record a rotation", call).await?);
        tracing::info!(
            target: "relay_pki::rotation",
            relay = self.fleet.relay.name,
            number = record.number,
            level = %record.level,
            phase = %record.phase,
            direction = %record.direction,
            "rotation"
        );
        let record = record.clone();
        let rotations = &mut self.journal.to_mut().rotations;
        rotations.insert(record.number, Kept { record, version });
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
                Cross::Certificate(chain.leaf().clone())
            }
            Err(reason) => Cross::Impossible(reason),
        };
        record.cross = Some(cross);
        self.save(record).await
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
