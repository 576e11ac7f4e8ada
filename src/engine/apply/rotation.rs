//! Running the steps of a rotation.

use relay_pki_authority::{Generation, Level};

use super::super::limited;
use super::super::plan::ITSELF;
use super::issue::bounded;
use super::{Apply, StepError};
use crate::cluster::{ClusterError, ObjectKey};
use crate::journal::{GenerationRecord, RotationRecord, Status};
use crate::rotation::{Fate, GivenUp};
use crate::transcript::{self, Deed, TranscriptError};

impl Apply<'_> {
    /// Writes down where a rotation is, if nobody else has taken it anywhere meanwhile.
    pub(super) async fn advance(&mut self, record: &RotationRecord) -> Result<(), StepError> {
        let deed = Deed {
            by: ITSELF,
            acknowledged: self.acknowledged.as_ref(),
            given_up: &self.given_up,
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

    /// Gives up the private key of a generation. Gone or disabled already is success.
    pub(super) async fn give_up(&mut self, key: GivenUp) -> Result<(), StepError> {
        let GivenUp {
            level,
            number,
            fate,
        } = key;
        let Some(kept) = self.journal.level(level).get(&number) else {
            return Ok(());
        };
        if self.was_never_made(level, number).await? {
            return Ok(());
        }
        let generation: Generation = kept.record.generation(&self.fleet.relay.name);
        let provider = self.provider(&kept.record)?;
        let done = match fate {
            Fate::Destroyed => {
                bounded(&generation, provider.destroy(&generation)).await?;
                "its private key is destroyed"
            }
            Fate::Disabled => {
                bounded(&generation, provider.disable(&generation)).await?;
                "its private key is disabled"
            }
            Fate::LeftToOwner => "its private key stays: it is not ours",
        };
        tracing::info!(target: "relay_pki::rotation", %generation, "{done}");
        self.given_up.push(key);
        Ok(())
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
