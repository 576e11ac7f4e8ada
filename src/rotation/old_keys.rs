//! What becomes of the private keys of CAs that a rotation leaves behind.

use relay_pki_authority::{Level, Roots};

use super::{Phase, Refusal};
use crate::config::{OldKeys, Relay};
use crate::engine::Observed;
use crate::journal::{GenerationRecord, Passage, RotationRecord, Status};

/// A generation whose certificate is in no bundle and no chain any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GivenUp {
    /// Root or signer.
    pub level: Level,
    /// Which of them.
    pub number: u32,
    /// What becomes of its private key.
    pub fate: Fate,
}

/// What becomes of a private key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is destroyed.
    Destroyed,
    /// It signs nothing more; a person can have it back from its provider.
    Disabled,
    /// It stays as it is, because it is not ours.
    LeftToOwner,
}

/// The generations that a rotation leaves behind with the phase that it is in, as far as their keys are with a
/// provider.
pub(super) fn given_up(
    relay: &Relay,
    observed: &Observed,
    record: &RotationRecord,
) -> Vec<GivenUp> {
    let side = match record.phase {
        Phase::Done => |passage: &Passage| passage.from,
        Phase::Rolledback => |passage: &Passage| passage.to,
        _ => return Vec::new(),
    };
    left_behind(observed, record, side)
        .filter(|(kept, _)| matches!(kept.status, Status::Retired | Status::Tainted))
        .map(|(kept, provider)| GivenUp {
            level: kept.level,
            number: kept.number,
            fate: fate(relay, observed, record, kept.level, provider),
        })
        .collect()
}

/// Refuses a rotation whose old CAs are to be disabled, and whose provider can only destroy them.
pub(super) fn check_old_keys(
    relay: &Relay,
    observed: &Observed,
    record: &RotationRecord,
) -> Result<(), Refusal> {
    for (old, provider) in left_behind(observed, record, |passage| passage.from) {
        let known = observed.providers.get(provider);
        let able = known.is_some_and(|capabilities| capabilities.disables);
        let (level, number) = (old.level, old.number);
        if !able && fate(relay, observed, record, level, provider) == Fate::Disabled {
            return Err(Refusal::new(
                format!(
                    "rotation.oldKeys is disable, and provider {provider}, which holds the key of {level} \
                     g{number}, can only destroy it"
                ),
                "write rotation.oldKeys: destroy until this rotation is over",
            ));
        }
    }
    Ok(())
}

/// The CAs on one side of a rotation whose keys are with a provider, and which: the signer first.
fn left_behind<'a>(
    observed: &'a Observed,
    record: &RotationRecord,
    side: impl Fn(&Passage) -> u32,
) -> impl Iterator<Item = (&'a GenerationRecord, &'a str)> {
    let root = (record.level == Level::Root).then(|| (Level::Root, side(&record.roots)));
    let signer = Some((Level::Signer, side(&record.signers)));
    let both = [signer, root].into_iter().flatten();
    both.filter_map(|(level, number)| {
        let kept = &observed.journal.level(level).get(&number)?.record;
        Some((kept, kept.provider.as_deref()?))
    })
}

/// Whoever rotates because of a compromise, or takes back what nobody relies on, wants nothing back.
fn fate(
    relay: &Relay,
    observed: &Observed,
    record: &RotationRecord,
    level: Level,
    provider: &str,
) -> Fate {
    let known = observed.providers.get(provider);
    let existed = known.is_some_and(|capabilities| capabilities.roots == Roots::Existing);
    if level == Level::Root && (existed || relay.is_offline(provider)) {
        return Fate::LeftToOwner;
    }
    let kept = relay.rotation.old_keys == OldKeys::Disable;
    match kept && !record.emergency && record.phase != Phase::Rolledback {
        true => Fate::Disabled,
        false => Fate::Destroyed,
    }
}
