//! CAs that were there before relay-pki: a backend that is told to use one has no other to give, and it is not
//! relay-pki's to destroy.

use relay_pki_authority::x509::{Certificate, KeyType};
use relay_pki_authority::{Generation, Level, Progress, RootRequest, Roots};

use super::issue::{backdated, bounded, refused};
use super::{Apply, StepError};
use crate::journal::{RotationRecord, Status};
use crate::rotation::{Direction, Phase, Refusal};

impl Apply<'_> {
    /// Why the new CAs of a rotation cannot be had: their backend names one that exists, and that is the one
    /// which is to be replaced. Nothing where that is not so, or cannot be known now.
    pub async fn unobtainable(&self, rotation: &RotationRecord) -> Option<Refusal> {
        if (rotation.direction, rotation.phase) != (Direction::Forward, Phase::Preparing) {
            return None;
        }
        let relay = &self.fleet.relay;
        let root = (
            Level::Root,
            rotation.roots.to,
            (&relay.root.provider, relay.root.key_type),
        );
        let signer = (
            Level::Signer,
            rotation.signers.to,
            (&relay.signer.provider, relay.signer.key_type),
        );
        let root = (rotation.level == Level::Root).then_some(root);
        for (level, number, wanted) in [root, Some(signer)].into_iter().flatten() {
            let begun = self.journal.level(level).get(&number).map(|it| &it.record);
            if begun.is_some_and(|record| record.certificate.is_some()) {
                continue;
            }
            let holder = begun.and_then(|record| record.provider.as_ref());
            let provider = holder.unwrap_or(wanted.0);
            let key_type = begun.map_or(wanted.1, |record| record.key_type);
            let found = self.existing(level, number, provider, key_type).await;
            let found = found.ok().flatten();
            let known = found.and_then(|found| self.known_as(level, number, provider, &found));
            if known.is_some() {
                return known;
            }
        }
        None
    }

    /// The CA that a backend would use for a generation without making anything.
    async fn existing(
        &self,
        level: Level,
        number: u32,
        provider: &str,
        key_type: KeyType,
    ) -> Result<Option<Certificate>, StepError> {
        let existing = self.is_existing(provider);
        let Some(provider) = self.fleet.providers.get(provider) else {
            return Ok(None);
        };
        let generation = self.generation(level, number);
        match level {
            Level::Root if existing => {
                let lifetime = self.fleet.relay.root.validity.duration();
                let request = RootRequest {
                    subject: self.root_subject()?,
                    key_type,
                    validity: backdated(self.now(), lifetime).map_err(refused)?,
                    generation,
                };
                let found = provider.create_root(&request);
                match bounded(&request.generation, found).await? {
                    Progress::Done(root) => Ok(Some(root)),
                    Progress::Pending { .. } => Ok(None),
                }
            }
            Level::Root => Ok(None),
            Level::Signer => {
                let found = provider.existing_signer(&generation);
                let found = bounded(&generation, found).await?;
                Ok(found.map(|chain| chain.leaf().clone()))
            }
        }
    }

    /// Whether nothing was made for a generation, and nothing would have been: what its backend has for it is
    /// somebody else's.
    pub(super) async fn was_never_made(
        &self,
        level: Level,
        number: u32,
    ) -> Result<bool, StepError> {
        let kept = self.journal.level(level).get(&number).map(|it| &it.record);
        let Some(record) = kept.filter(|record| record.certificate.is_none()) else {
            return Ok(false);
        };
        let provider = self.provider(record)?;
        match level {
            Level::Root => Ok(self.is_existing(provider.name())),
            Level::Signer => {
                let found = self
                    .existing(level, number, provider.name(), record.key_type)
                    .await?;
                Ok(found.is_some())
            }
        }
    }

    /// The objection to a CA that is that of another generation already. To go on would be to retire, and in
    /// the end to destroy, the one that is in use. To a root of somebody else's that was given up, or that a
    /// rotation was taken back from, there is a way again.
    pub(super) fn known_as(
        &self,
        level: Level,
        number: u32,
        provider: &str,
        certificate: &Certificate,
    ) -> Option<Refusal> {
        let stays = level == Level::Root && self.is_existing(provider);
        let mut others = self.journal.level(level).values().map(|it| &it.record);
        let other = others.find(|other| {
            let given_up = stays && other.status == Status::Retired;
            other.number != number && other.certificate.as_ref() == Some(certificate) && !given_up
        });
        other.map(|other| Refusal {
            what: format!(
                "the {level} of provider {provider} is still {}, that of g{}",
                certificate.subject(),
                other.number
            ),
            remedy: "replace it there first, or name another provider in the document".to_owned(),
        })
    }

    /// Whether the roots of a provider were there before, and are not ours to destroy.
    fn is_existing(&self, provider: &str) -> bool {
        let provider = self.fleet.providers.get(provider);
        provider.is_some_and(|it| it.capabilities().roots == Roots::Existing)
    }

    fn generation(&self, level: Level, number: u32) -> Generation {
        Generation {
            relay: self.fleet.relay.name.clone(),
            level,
            number,
        }
    }
}
