//! R10: what proves how rotations went.

use data_encoding::HEXLOWER;
use jiff::Timestamp;
use relay_pki_authority::x509::PublicKey;

use super::code;
use super::finding::{Place, Sink};
use super::inventory::{ClusterFacts, Inventory};
use super::report::Report;
use crate::config::Relay;
use crate::journal::{Journal, RotationRecord};
use crate::transcript::{Transcript, key_name, verify};

/// The transcripts of all rotations on record, against the records and the key.
pub(super) fn check(sink: &mut Sink, relay: &Relay, inventory: &Inventory) {
    let home = relay.home().name.as_str();
    let facts = inventory.clusters.iter().find(|facts| facts.name() == home);
    let (Some(journal), Some(facts)) = (&inventory.journal, facts) else {
        return;
    };
    let wanted = !journal.transcripts.values().all(|it| it.lines.is_empty());
    let key = match wanted {
        true => key(sink, relay, facts),
        false => None,
    };
    for (number, transcript) in &journal.transcripts {
        rotation(sink, relay, journal, *number, transcript, key.as_ref());
    }
}

fn rotation(
    sink: &mut Sink,
    relay: &Relay,
    journal: &Journal,
    number: u32,
    transcript: &Transcript,
    key: Option<&PublicKey>,
) {
    let object = format!(
        "ConfigMap {}",
        RotationRecord::object_name(&relay.name, number)
    );
    let place = Place::new(relay.home().name.as_str(), &object);
    let told = sink.ensure(code::R1032, place, !transcript.lines.is_empty(), || {
        format!("rotation {number} has no transcript")
    });
    if !told {
        return;
    }
    let verified = verify(&transcript.lines, key);
    let changed = verified.as_ref().err().map(|fault| {
        let what = format!("the transcript of rotation {number} was changed");
        (what, fault.to_string())
    });
    sink.check(code::R1030, place, changed);
    let Ok(verified) = verified else {
        return;
    };
    let elsewhere = verified
        .lines
        .first()
        .is_some_and(|line| (&line.relay, line.rotation) != (&relay.name, number));
    let record = journal.rotations.get(&number).map(|kept| &kept.record);
    let phase = record.map(|record| record.phase);
    let disagreement = if elsewhere {
        Some("it is of another rotation".to_owned())
    } else if verified.record() != Some(&transcript.record) {
        Some(match (verified.phase(), phase) {
            (Some(told), Some(found)) if told != found => {
                format!("the record is {found}, the transcript ends with {told}")
            }
            _ => "the record is not the one that was written with the last line".to_owned(),
        })
    } else {
        None
    };
    sink.check(
        code::R1031,
        place,
        disagreement.map(|evidence| {
            let what = format!("the transcript of rotation {number} is not that of its record");
            (what, evidence)
        }),
    );
}

/// The key that has to have signed: what is published, and what the Secret says where it can be read.
fn key(sink: &mut Sink, relay: &Relay, facts: &ClusterFacts) -> Option<PublicKey> {
    let name = key_name(&relay.name);
    let object = format!("ConfigMap {name}");
    let place = Place::new(facts.name(), &object);
    let secret = facts.keys.iter().find(|secret| secret.about.name == name);
    let own = secret.and_then(|secret| secret.content.key.here());
    let objection = match (&facts.transcript_key, own) {
        (None, _) => Some("there is none".to_owned()),
        (Some(Err(reason)), _) => Some(reason.clone()),
        (Some(Ok(public)), Some(own)) if public != own => {
            Some("it is not the key of the Secret of the same name".to_owned())
        }
        _ => None,
    };
    sink.check(
        code::R1033,
        place,
        objection.map(|reason| {
            let what = "the public key of the transcripts is not published".to_owned();
            (what, reason)
        }),
    );
    let published = facts.transcript_key.as_ref();
    let published = published.and_then(|key| key.as_ref().ok());
    own.or(published).cloned()
}

/// Audits a transcript that was kept elsewhere. Without `trusted`, the key is taken that the transcript
/// names itself, which proves less.
pub fn audit_transcript(
    name: &str,
    text: &str,
    trusted: Option<&PublicKey>,
    now: Timestamp,
) -> Report {
    let mut sink = Sink::default();
    let place = Place::new("", name);
    let verified = verify(text, trusted);
    let changed = verified.as_ref().err().map(|fault| {
        let what = "the transcript was changed".to_owned();
        (what, fault.to_string())
    });
    sink.check(code::R1030, place, changed);
    if let Ok(verified) = &verified {
        sink.ensure(
            code::R1034,
            place,
            verified.is_complete(),
            || match verified.phase() {
                Some(phase) => format!("it ends while the rotation is {phase}"),
                None => "it ends before the rotation leaves its first phase".to_owned(),
            },
        );
        sink.check(
            code::R1035,
            place,
            trusted.is_none().then(|| {
                let digits = HEXLOWER.encode(&verified.key.digest());
                let what = "it is signed with the key that it names itself".to_owned();
                (what, format!("sha256:{digits}"))
            }),
        );
    }
    Report::new(None, now, (0, 1), sink, Vec::new(), None)
}
