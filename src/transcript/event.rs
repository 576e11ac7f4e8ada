use jiff::Timestamp;
use relay_pki_authority::Level;
use relay_pki_authority::x509::{Certificate, KeyType};
use serde::{Deserialize, Serialize};

use super::acknowledgements::Acknowledgements;
use super::hash;
use super::write::Deed;
use crate::config::Relay;
use crate::journal::{GenerationRecord, Journal, RotationRecord, Why};
use crate::rotation::{Direction, Fate, GivenUp, Phase};

/// Something that happened to a rotation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "kind",
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
pub enum Event {
    /// It was begun; or it was under way when this transcript began.
    Begun {
        /// Who asked for it.
        by: String,
        /// When.
        requested: Timestamp,
        /// Why.
        why: Why,
        /// What is rotated.
        level: Level,
        /// Whether the old root was said to be compromised.
        emergency: bool,
        /// The clusters that go first.
        canary: Names,
        /// From what to what, for each CA.
        plan: Vec<Planned>,
        /// The public key that the lines are signed with: a SubjectPublicKeyInfo in base64.
        public_key: String,
    },
    /// A new CA was made.
    Made {
        /// Root or signer.
        level: Level,
        /// Its generation.
        generation: u32,
        /// Who holds its key; nobody that we know for one whose key is out of reach.
        provider: Option<String>,
        /// Its key.
        key_type: KeyType,
        /// SHA-256 of its certificate.
        fingerprint: Option<String>,
        /// SHA-256 of its certificate under the old root, if there is one.
        cross: Option<String>,
    },
    /// A gate opened: one phase was left, the next one entered.
    Entered {
        /// The phase that was left.
        left: Phase,
        /// The phase that was entered.
        phase: Phase,
        /// Going which way.
        direction: Direction,
        /// What opened the gate; nothing where a person's word did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        acknowledged: Option<Acknowledgements>,
        /// The clusters that it was passed without.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        without: Vec<String>,
    },
    /// The clusters that go first were through; the phases begin again for all.
    Widened {
        /// What the clusters held.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        acknowledged: Option<Acknowledgements>,
    },
    /// The first soak time was over: chains no longer carry the certificate under the old root.
    ChainsCut {
        /// What the clusters held.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        acknowledged: Option<Acknowledgements>,
    },
    /// Somebody let it into a phase.
    Approved {
        /// Who.
        by: String,
        /// The phase.
        phase: Phase,
    },
    /// Somebody stopped it.
    Paused {
        /// Who.
        by: String,
    },
    /// Somebody let it go on.
    Resumed {
        /// Who.
        by: String,
    },
    /// A cluster is no longer waited for.
    Waived {
        /// Who said so.
        by: String,
        /// The cluster.
        cluster: String,
        /// Until when it is kept able to connect.
        until: Timestamp,
        /// Why.
        reason: String,
    },
    /// Somebody turned it back.
    TurnedBack {
        /// Who.
        by: String,
    },
    /// Somebody turned it into an emergency.
    Escalated {
        /// Who.
        by: String,
    },
    /// The private key of a CA was destroyed.
    Destroyed {
        /// Root or signer.
        level: Level,
        /// Its generation.
        generation: u32,
        /// Who held it.
        provider: Option<String>,
        /// SHA-256 of its certificate.
        fingerprint: Option<String>,
    },
    /// A CA was disabled: it signs nothing more, and its private key is still there.
    Disabled {
        /// Root or signer.
        level: Level,
        /// Its generation.
        generation: u32,
        /// Who holds it.
        provider: Option<String>,
        /// SHA-256 of its certificate.
        fingerprint: Option<String>,
    },
    /// The private key of a CA stays as it is, because it is not ours.
    LeftToOwner {
        /// Root or signer.
        level: Level,
        /// Its generation.
        generation: u32,
        /// Who holds it.
        provider: Option<String>,
        /// SHA-256 of its certificate.
        fingerprint: Option<String>,
    },
    /// The record was changed in a way that none of the others tells.
    Changed {
        /// Who.
        by: String,
    },
}

impl Event {
    /// Whether it is a decision that people can take again and again.
    pub(super) fn is_repeatable(&self) -> bool {
        matches!(
            self,
            Self::Approved { .. }
                | Self::Paused { .. }
                | Self::Resumed { .. }
                | Self::Waived { .. }
                | Self::Changed { .. }
        )
    }
}

/// Names of clusters, bounded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Names {
    /// How many there are.
    pub count: usize,
    /// The first of them.
    pub first: Vec<String>,
    /// SHA-256 of all of them, a line each.
    pub digest: String,
}

impl Names {
    /// How many are named.
    const SHOWN: usize = 16;

    fn of(names: &[String]) -> Self {
        Self {
            count: names.len(),
            first: names.iter().take(Self::SHOWN).cloned().collect(),
            digest: hash(names.join("\n").as_bytes()),
        }
    }
}

/// From which CA to which.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Planned {
    /// Root or signer.
    pub level: Level,
    /// The old generation.
    pub from: u32,
    /// The new one; the same for a root that stays.
    pub to: u32,
    /// Who holds the old one.
    pub from_provider: Option<String>,
    /// SHA-256 of the old one's certificate.
    pub from_fingerprint: Option<String>,
    /// Who is to hold the new one.
    pub provider: String,
    /// The new one's key.
    pub key_type: KeyType,
}

/// What happened between two records of one rotation; everything, if there is no earlier one.
pub(super) fn between(
    relay: &Relay,
    journal: &Journal,
    before: Option<&RotationRecord>,
    after: &RotationRecord,
    deed: &Deed<'_>,
    public_key: &str,
) -> Vec<Event> {
    let Some(before) = before else {
        return vec![begun(relay, journal, after, public_key)];
    };
    let by = || deed.by.to_owned();
    let acknowledged = || deed.acknowledged.cloned();
    let mut events = decisions(before, after, deed);
    let turned = before.direction != after.direction;
    let escalated = after.emergency && !before.emergency;
    if turned {
        events.push(Event::TurnedBack { by: by() });
    }
    if escalated {
        events.push(Event::Escalated { by: by() });
    }
    if after.trimmed.is_some() && before.trimmed.is_none() {
        events.push(Event::ChainsCut {
            acknowledged: acknowledged(),
        });
    }
    if after.widened.is_some() && before.widened.is_none() {
        events.push(Event::Widened {
            acknowledged: acknowledged(),
        });
    }
    if after.entered.len() > before.entered.len() {
        if before.phase == Phase::Preparing && after.direction == Direction::Forward {
            events.extend(made(journal, after));
        }
        let given_up = deed.given_up.iter();
        events.extend(given_up.map(|key| given_up_key(journal, key)));
        // Whom the gate was passed without is recorded with the phase that was left.
        let without = after.passed.iter();
        let without = without.filter(|(_, phase)| **phase == before.phase);
        events.push(Event::Entered {
            left: before.phase,
            phase: after.phase,
            direction: after.direction,
            acknowledged: match turned || escalated {
                true => None,
                false => acknowledged(),
            },
            without: without.map(|(name, _)| name.clone()).collect(),
        });
    }
    if events.is_empty() && before != after {
        events.push(Event::Changed { by: by() });
    }
    events
}

fn begun(relay: &Relay, journal: &Journal, record: &RotationRecord, public_key: &str) -> Event {
    let planned = |level: Level| {
        let (passage, wanted) = match level {
            Level::Root => (record.roots, (&relay.root.provider, relay.root.key_type)),
            Level::Signer => (
                record.signers,
                (&relay.signer.provider, relay.signer.key_type),
            ),
        };
        let generation = |number: u32| journal.level(level).get(&number).map(|it| &it.record);
        let (old, new) = (generation(passage.from), generation(passage.to));
        // What is there already goes where it was sent then.
        let holder = new.and_then(|new| new.provider.as_ref());
        Planned {
            level,
            from: passage.from,
            to: passage.to,
            from_provider: old.and_then(|old| old.provider.clone()),
            from_fingerprint: old.and_then(|old| fingerprint(old.certificate.as_ref())),
            provider: holder.unwrap_or(wanted.0).clone(),
            key_type: new.map_or(wanted.1, |new| new.key_type),
        }
    };
    Event::Begun {
        by: record.requested.by.clone(),
        requested: record.requested.at,
        why: record.why,
        level: record.level,
        emergency: record.emergency,
        canary: Names::of(&record.canary),
        plan: vec![planned(Level::Root), planned(Level::Signer)],
        public_key: public_key.to_owned(),
    }
}

/// What people decided.
fn decisions(before: &RotationRecord, after: &RotationRecord, deed: &Deed<'_>) -> Vec<Event> {
    let mut events = Vec::new();
    for approval in &after.approvals {
        let mut known = before.approvals.iter();
        let known =
            known.any(|it| (it.phase, &it.signature) == (approval.phase, &approval.signature));
        if !known {
            events.push(Event::Approved {
                by: approval.signature.by.clone(),
                phase: approval.phase,
            });
        }
    }
    for (cluster, waiver) in &after.waivers {
        if before.waivers.get(cluster) != Some(waiver) {
            events.push(Event::Waived {
                by: waiver.signature.by.clone(),
                cluster: cluster.clone(),
                until: waiver.until,
                reason: waiver.reason.clone(),
            });
        }
    }
    match (&before.paused, &after.paused) {
        (None, Some(by)) => events.push(Event::Paused { by: by.by.clone() }),
        (Some(_), None) => events.push(Event::Resumed {
            by: deed.by.to_owned(),
        }),
        _ => {}
    }
    events
}

/// The CAs that a rotation has made.
fn made(journal: &Journal, record: &RotationRecord) -> Vec<Event> {
    let root = (record.level == Level::Root).then_some((Level::Root, record.roots.to));
    let signer = Some((Level::Signer, record.signers.to));
    let made = [root, signer].into_iter().flatten();
    let made = made.filter_map(|(level, number)| journal.level(level).get(&number));
    made.map(|kept| {
        let record: &GenerationRecord = &kept.record;
        Event::Made {
            level: record.level,
            generation: record.number,
            provider: record.provider.clone(),
            key_type: record.key_type,
            fingerprint: fingerprint(record.certificate.as_ref()),
            cross: fingerprint(record.cross_certificate()),
        }
    })
    .collect()
}

/// What became of a private key.
fn given_up_key(journal: &Journal, key: &GivenUp) -> Event {
    let (level, generation) = (key.level, key.number);
    let kept = journal.level(level).get(&generation).map(|it| &it.record);
    let provider = kept.and_then(|record| record.provider.clone());
    let fingerprint = kept.and_then(|record| fingerprint(record.certificate.as_ref()));
    match key.fate {
        Fate::Destroyed => Event::Destroyed {
            level,
            generation,
            provider,
            fingerprint,
        },
        Fate::Disabled => Event::Disabled {
            level,
            generation,
            provider,
            fingerprint,
        },
        Fate::LeftToOwner => Event::LeftToOwner {
            level,
            generation,
            provider,
            fingerprint,
        },
    }
}

fn fingerprint(certificate: Option<&Certificate>) -> Option<String> {
    certificate.map(|certificate| certificate.fingerprint().to_string())
}
