//! The certificate revocation lists: what they have to say follows from the records, whoever publishes them.

use jiff::{SignedDuration, Timestamp};
use relay_pki_authority::x509::{Fingerprint, Validity};
use relay_pki_authority::{Revocation, RevocationListRequest, RevokedCertificate};

use super::backend::{revocation, serial};
use crate::cluster::{ClusterError, Expected, Stored};
use crate::engine::{Fleet, StepError, bounded, limited, open_generation};
use crate::journal::{GenerationRecord, Journal, RevocationListRecord, Status};
use crate::relay::{self, Owner, owner_of};

/// How long a list holds. It is replaced when half of that is over.
const VALIDITY: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Lists are dated back: clocks of clusters differ.
const BACKDATING: SignedDuration = SignedDuration::from_mins(5);

/// What became of the lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Publication {
    /// Nothing was ever revoked.
    Unneeded,
    /// They are as they have to be.
    Current,
    /// They were written.
    Written {
        /// How many certificates they have.
        certificates: usize,
        /// Signers that there is no list of, and why.
        without: Vec<String>,
    },
}

/// Publishes the lists of all signers in use in the management cluster, unless what is there will do.
///
/// What a backend keeps is on its list once the backend was told ([`super::tell_backends`]).
///
/// # Errors
///
/// If the records cannot be read or written, or a signer does not give the list that it should.
pub async fn publish_revocations(fleet: &Fleet) -> Result<Publication, StepError> {
    let (home, relay) = (fleet.home()?, &fleet.relay.name);
    let key = RevocationListRecord::key(relay);
    let call = home.list(relay::selector(relay), std::slice::from_ref(&key));
    let stored = limited(home.name(), "list the records", call).await?;
    let malformed = |place: &str, reason: String| {
        StepError::Cluster(ClusterError::Malformed {
            cluster: home.name().to_owned(),
            place: place.to_owned(),
            reason,
        })
    };
    let journal = Journal::from_objects(relay, &stored)
        .map_err(|reason| malformed("a record of relay-pki", reason))?;
    let existing = stored.iter().find(|found| found.object.key == key);
    if let Some(foreign) = existing.filter(|found| owner_of(&found.object, relay) != Owner::Us) {
        return Err(StepError::Cluster(ClusterError::Occupied {
            cluster: home.name().to_owned(),
            place: foreign.place.clone(),
            reason: "it is not managed by this relay".to_owned(),
        }));
    }
    let now = fleet.clock.now();
    match (
        existing,
        outdated(fleet, &journal, published(existing).as_ref(), now),
    ) {
        (None, false) => return Ok(Publication::Unneeded),
        (Some(_), false) => return Ok(Publication::Current),
        _ => {}
    }
    let Lists {
        text,
        certificates,
        next_update,
        without,
    } = lists(fleet, &journal, now).await?;
    let record = RevocationListRecord {
        covers: covers(fleet, &journal, now),
        made: now,
        next_update,
        lists: text,
    };
    let expected = existing.map_or(Expected::Absent, |found| {
        Expected::At(found.version.clone())
    });
    let object = record.encode(relay);
    let call = home.write(&object, &expected);
    match limited(home.name(), "publish the revocation lists", call).await {
        Ok(_) => Ok(Publication::Written {
            certificates,
            without,
        }),
        // Another replica was faster.
        Err(ClusterError::Conflict { .. }) => Ok(Publication::Current),
        Err(error) => Err(error.into()),
    }
}

/// What is published, if it can be read: what is broken is made anew.
pub(super) fn published(stored: Option<&Stored>) -> Option<RevocationListRecord> {
    RevocationListRecord::decode(&stored?.object).ok()
}

/// Whether the published lists have to be replaced, or made.
fn outdated(
    fleet: &Fleet,
    journal: &Journal,
    published: Option<&RevocationListRecord>,
    now: Timestamp,
) -> bool {
    match published {
        None => !journal.revocations.is_empty(),
        Some(published) => {
            let half = published.next_update.duration_since(published.made) / 2;
            now.duration_since(published.made) >= half
                || published.covers != covers(fleet, journal, now)
        }
    }
}

/// The lists of all signers.
struct Lists {
    /// PEM sections, that of the signer in use first.
    text: String,
    /// How many certificates are on them.
    certificates: usize,
    /// When the first of them ends.
    next_update: Timestamp,
    /// Signers that there is no list of, and why.
    without: Vec<String>,
}

async fn lists(fleet: &Fleet, journal: &Journal, now: Timestamp) -> Result<Lists, StepError> {
    let end = now.checked_add(VALIDITY).unwrap_or(Timestamp::MAX);
    let mut lists = Lists {
        text: String::new(),
        certificates: 0,
        next_update: end,
        without: Vec::new(),
    };
    for signer in signers(journal) {
        let refuse = |error: &dyn std::fmt::Display| StepError::Refused {
            reason: format!("the list of signer g{}: {error}", signer.number),
        };
        let begin = now.checked_sub(BACKDATING).unwrap_or(now);
        let request = RevocationListRequest {
            // Seconds grow; two lists of one second have the same content.
            number: u64::try_from(now.as_second()).unwrap_or(0),
            validity: Validity::new(begin, end).map_err(|error| refuse(&error))?,
            revoked: revoked(fleet, journal, signer, now),
        };
        let provider = signer.provider.as_deref().unwrap_or_default();
        let unlisted = match revocation(fleet, signer) {
            Revocation::Signs | Revocation::Keeps { lists: true, .. } => None,
            Revocation::Keeps { lists: false, .. } => Some("publishes its list itself"),
            Revocation::Never => Some("has no revocation"),
        };
        if let (Some(unlisted), true) = (unlisted, fleet.providers.contains_key(provider)) {
            let without = format!("signer g{}: provider {provider} {unlisted}", signer.number);
            lists.without.push(without);
            continue;
        }
        let authority = match open_generation(fleet, journal, signer).await {
            Ok(authority) => authority,
            // The key of an adopted or lost signer is out of reach; its certificates run out.
            Err(error) if signer.status != Status::Active => {
                lists
                    .without
                    .push(format!("signer g{}: {error}", signer.number));
                continue;
            }
            Err(error) => return Err(error),
        };
        let generation = signer.generation(&fleet.relay.name);
        let list = bounded(&generation, authority.revocation_list(&request)).await?;
        lists.certificates += list.serials().len();
        lists.next_update = lists.next_update.min(list.next_update());
        lists.text.push_str(&list.to_pem());
    }
    Ok(lists)
}

/// The signers whose certificates may be in use, the active one first.
fn signers(journal: &Journal) -> Vec<&GenerationRecord> {
    let mut signers: Vec<&GenerationRecord> = journal
        .signers
        .values()
        .map(|kept| &kept.record)
        .filter(|record| matches!(record.status, Status::Active | Status::Retiring))
        .filter(|record| record.certificate.is_some())
        .collect();
    signers.sort_by_key(|record| (record.status != Status::Active, record.number));
    signers
}

/// What a signer's list has to say. Certificates of which the signer is not known are on all lists that we
/// make; what a backend keeps is on its list once it was told.
fn revoked(
    fleet: &Fleet,
    journal: &Journal,
    signer: &GenerationRecord,
    now: Timestamp,
) -> Vec<RevokedCertificate> {
    let keeps = revocation(fleet, signer).keeps();
    let records = journal.revocations.values().map(|kept| &kept.record);
    let mut revoked: Vec<RevokedCertificate> = records
        .flat_map(|record| {
            let own = record.certificates.iter().filter(move |certificate| {
                let listed = match keeps {
                    true => {
                        certificate.signer == signer.number
                            && record.told.contains(&certificate.serial)
                    }
                    false => [0, signer.number].contains(&certificate.signer),
                };
                listed && certificate.not_after >= now
            });
            own.filter_map(|certificate| {
                Some(RevokedCertificate {
                    serial: serial(&certificate.serial)?,
                    at: record.at,
                })
            })
        })
        .collect();
    revoked.sort_by(|one, other| one.serial.cmp(&other.serial));
    revoked.dedup_by(|one, other| one.serial == other.serial);
    revoked
}

/// Names what the lists have to say now.
fn covers(fleet: &Fleet, journal: &Journal, now: Timestamp) -> String {
    let mut text = String::new();
    for signer in signers(journal) {
        text.push_str(&format!("g{}:", signer.number));
        for revoked in revoked(fleet, journal, signer, now) {
            text.push_str(&format!("{},", revoked.serial));
        }
    }
    Fingerprint::of(text.as_bytes()).to_string()
}
