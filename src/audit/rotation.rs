//! R09 and R10: the records, the keys that they speak of, and the backends.

use std::collections::HashSet;

use jiff::{SignedDuration, Timestamp};
use relay_pki_authority::Level;

use super::code;
use super::finding::{Place, Sink};
use super::inventory::{About, ClusterFacts, Inventory, Part};
use crate::config::{Delivery, Relay};
use crate::engine::scopes_of_agent;
use crate::journal::{GenerationRecord, Journal, Scope, Status, issuance_name};
use crate::relay::{Owner, SecretRole};
use crate::transcript;

/// How long something may be under way before it counts as stuck.
const UNDER_WAY: SignedDuration = SignedDuration::from_hours(1);

/// Everything about the records.
pub(super) fn check(sink: &mut Sink, relay: &Relay, inventory: &Inventory, now: Timestamp) {
    backends(sink, relay, inventory);
    let Some(journal) = &inventory.journal else {
        return;
    };
    let home = relay.home().name.as_str();
    for level in [Level::Root, Level::Signer] {
        generations(sink, relay, journal, level, home, now);
    }
    let ours = inventory.clusters.iter().any(|facts| {
        let mut leaves = facts.tls();
        leaves.any(|(_, secret)| secret.about.owner == Owner::Us)
    });
    for level in [Level::Root, Level::Signer] {
        let known = !ours || !journal.level(level).is_empty();
        sink.ensure(code::R1008, records(home), known, || {
            format!("there is no record of a {level}")
        });
    }
    let published = journal
        .roots
        .values()
        .filter(|kept| kept.record.status.is_trusted());
    let published = published
        .filter(|kept| kept.record.certificate.is_some())
        .count();
    sink.ensure(code::R1006, records(home), published <= 2, || {
        format!("{published} roots are published at once")
    });
    for (name, kept) in &journal.issuances {
        let age = now.duration_since(kept.record.validity.not_before());
        sink.ensure(code::R1007, records(home), age <= UNDER_WAY, || {
            format!("the issuance {name} was begun and not finished")
        });
    }
    for (cluster, kept) in &journal.revocations {
        let record = &kept.record;
        let place = Place::new(cluster, "record");
        sink.ensure(code::R1020, place, !record.is_in_force(), || {
            let reason = record.reason.as_deref().unwrap_or("no reason was given");
            format!("{cluster} is revoked since {:.0}: {reason}", record.at)
        });
    }
    let facts = inventory.clusters.iter().find(|facts| facts.name() == home);
    if let Some(facts) = facts {
        keys(sink, relay, inventory, journal, facts);
    }
    requests(sink, inventory, journal, home);
}

fn backends(sink: &mut Sink, relay: &Relay, inventory: &Inventory) {
    let home = relay.home().name.as_str();
    for (name, backend) in &inventory.backends {
        sink.check(
            code::R0901,
            records(home),
            backend.objection.as_ref().map(|reason| {
                (
                    format!("the provider {name} does not answer"),
                    reason.clone(),
                )
            }),
        );
    }
}

fn generations(
    sink: &mut Sink,
    relay: &Relay,
    journal: &Journal,
    level: Level,
    home: &str,
    now: Timestamp,
) {
    let all = || journal.level(level).values().map(|kept| &kept.record);
    let active: Vec<&GenerationRecord> = all()
        .filter(|record| record.status == Status::Active)
        .collect();
    let numbers: Vec<String> = active
        .iter()
        .map(|record| format!("g{}", record.number))
        .collect();
    sink.check(
        code::R1005,
        records(home),
        (active.len() > 1).then(|| {
            (
                format!("more than one {level} is active"),
                numbers.join(", "),
            )
        }),
    );
    // Only the latest can be under way: an earlier one was given up.
    let begun =
        |record: &&GenerationRecord| matches!(record.status, Status::Prepared | Status::Published);
    if let Some(record) = all().next_back().filter(begun) {
        sink.check(
            code::R1004,
            records(home),
            (now.duration_since(record.since) > UNDER_WAY).then(|| {
                let what = format!("{level} g{} was begun and is not in use", record.number);
                (what, format!("since {}", record.since))
            }),
        );
    }
    let Some(active) = active.last() else {
        return;
    };
    let (provider, key_type) = match level {
        Level::Root => (&relay.root.provider, relay.root.key_type),
        Level::Signer => (&relay.signer.provider, relay.signer.key_type),
    };
    let Some(holder) = &active.provider else {
        // With an offline root that is as it should be.
        if level == Level::Root && !relay.is_offline(provider) {
            let what = format!("the key of root g{} is out of reach", active.number);
            sink.check(code::R0904, records(home), Some((what, String::new())));
        }
        return;
    };
    let known = sink.ensure(
        code::R0902,
        records(home),
        relay.providers.contains_key(holder),
        || {
            let number = active.number;
            format!(
                "{level} g{number} is held by the provider {holder}, which the relay does not have"
            )
        },
    );
    let found = format!("{} in {holder}", active.key_type);
    let wanted = format!("{key_type} in {provider}");
    sink.check(
        code::R0903,
        records(home),
        (known && found != wanted).then(|| {
            let what = format!("the {level} is not what is asked for");
            (what, format!("it is {found}, but should be {wanted}"))
        }),
    );
}

/// The keys in our own Secrets against the records.
fn keys(
    sink: &mut Sink,
    relay: &Relay,
    inventory: &Inventory,
    journal: &Journal,
    facts: &ClusterFacts,
) {
    let home = facts.name();
    let mut claimed = HashSet::new();
    let generations = journal.roots.values().chain(journal.signers.values());
    for record in generations.map(|kept| &kept.record) {
        let generation = record.generation(&relay.name);
        let name = GenerationRecord::object_name(&generation);
        let secret = facts.keys.iter().find(|secret| secret.about.name == name);
        claimed.insert(name);
        let local = record.provider.as_ref().is_some_and(|provider| {
            let backend = inventory.backends.get(provider);
            backend.is_some_and(|backend| backend.keeps_keys_here(record.level))
        });
        let Some(secret) = secret else {
            let needed = local && record.status == Status::Active;
            sink.ensure(code::R1001, records(home), !needed, || {
                format!(
                    "the record of {} g{} has no key",
                    record.level, record.number
                )
            });
            continue;
        };
        let place = place(facts, &secret.about);
        if matches!(record.status, Status::Retired | Status::Tainted) {
            sink.ensure(code::R0107, place, false, || {
                format!(
                    "the key of the retired {} g{} is still kept",
                    record.level, record.number
                )
            });
        }
        let broken = match (&secret.content.key, &record.certificate) {
            (Part::Broken(reason), _) => Some(reason.clone()),
            (Part::Absent, _) if secret.content.encrypted => None,
            (Part::Absent, _) => Some("its tls.key is empty".to_owned()),
            (Part::Here(key), Some(certificate)) if key != certificate.public_key() => {
                Some(format!("it is not the key of {}", certificate.subject()))
            }
            _ => None,
        };
        sink.check(
            code::R1002,
            place,
            broken.map(|reason| {
                let what = format!(
                    "the key of {} g{} does not match",
                    record.level, record.number
                );
                (what, reason)
            }),
        );
    }
    claimed.extend(journal.issuances.keys().cloned());
    claimed.insert(transcript::key_name(&relay.name));
    let issuances = issuance_name(&relay.name, "");
    for secret in &facts.keys {
        let name = &secret.about.name;
        // The key of an issuance is written a moment before its record.
        let kind = match name.starts_with(&issuances) {
            true => "an issuance key",
            false => "a private key",
        };
        sink.ensure(
            code::R0108,
            place(facts, &secret.about),
            claimed.contains(name),
            || format!("{name} holds {kind} and belongs to no record"),
        );
    }
}

/// Whatever carries a smaller number than a request that concerns it is older than the request.
fn requests(sink: &mut Sink, inventory: &Inventory, journal: &Journal, home: &str) {
    for facts in &inventory.clusters {
        let agent = facts.spec.agent.as_ref();
        let pushed = agent.is_some_and(|agent| agent.delivery == Delivery::Push);
        for (role, secret) in facts.tls() {
            let requested = match role {
                SecretRole::Server => journal.requested(&[Scope::Server]),
                SecretRole::Client if pushed => journal.requested(&scopes_of_agent(facts.name())),
                _ => continue,
            };
            behind(sink, facts, &secret.about, requested);
        }
        // Copies satisfy nothing by themselves: they are right if they equal the original.
        for (_, secret) in facts.tokens().filter(|_| facts.name() == home) {
            let requested = journal.requested(&[Scope::Tokens]);
            behind(sink, facts, &secret.about, requested);
        }
    }
}

fn behind(sink: &mut Sink, facts: &ClusterFacts, about: &About, requested: u64) {
    let behind = about.owner == Owner::Us && about.request < requested;
    sink.check(
        code::R1003,
        place(facts, about),
        behind.then(|| {
            let what = format!("{} is older than a rotation that was asked for", about.name);
            (
                what,
                format!("request {requested}, it satisfies {}", about.request),
            )
        }),
    );
}

/// The records as a whole.
fn records(home: &str) -> Place<'_> {
    Place::new(home, "records of relay-pki")
}

fn place<'a>(facts: &'a ClusterFacts, about: &'a About) -> Place<'a> {
    Place::new(facts.name(), &about.place)
}
