//! What was seen, as status fields.

use std::collections::{BTreeMap, HashSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::due;
use super::worker::Known;
use crate::cluster::Version;
use crate::config::{ClusterSpec, Relay};
use crate::crd::{
    BundleStatus, ClientStatus, ClusterCounts, EarliestFailure, GenerationStatus,
    RelayClusterStatus, RelayStatus,
};
use crate::engine::{ClusterState, Fleet, Held, Observed, leaves};
use crate::journal::{GenerationRecord, Status};
use crate::metrics::RelayFacts;
use crate::relay::SecretRole;

/// How many names of clusters a status lists: it must not grow with the fleet.
const NAMES: usize = 10;

/// The versions of everything that was seen in a cluster.
pub(super) fn versions(state: &ClusterState) -> HashSet<Version> {
    fn of<T>(slot: &Option<Held<T>>) -> Option<Version> {
        slot.as_ref().map(|held| held.version.clone())
    }
    let versions = [
        of(&state.trust),
        of(&state.identity_token),
        of(&state.forwarding_token),
        of(&state.signing),
        of(&state.server),
        of(&state.client),
    ];
    versions.into_iter().flatten().collect()
}

/// What was seen in a cluster.
pub(super) fn cluster(
    relay: Option<&Relay>,
    spec: Option<&ClusterSpec>,
    state: Option<&ClusterState>,
) -> RelayClusterStatus {
    let client = relay
        .zip(spec)
        .zip(state)
        .and_then(|((relay, spec), state)| {
            let leaf = leaves(relay, spec, state).find(|leaf| leaf.role == SecretRole::Client)?;
            let certificate = &leaf.content()?.leaf;
            Some(ClientStatus {
                fingerprint: certificate.fingerprint().to_string(),
                not_before: Time(certificate.not_before()),
                not_after: Time(certificate.not_after()),
                renew_at: leaf.due.map(whole_seconds),
            })
        });
    let trust = state.and_then(|state| state.trust.as_ref());
    let trust = trust.and_then(|held| held.content.as_ref().ok());
    RelayClusterStatus {
        bundle_digest: trust.map(|trust| trust.digest.to_string()),
        client,
        ..RelayClusterStatus::default()
    }
}

/// What was seen of a relay.
pub(super) fn relay(
    fleet: Option<&Fleet>,
    home: Option<&Observed>,
    known: &BTreeMap<String, Known>,
) -> RelayStatus {
    let (Some(fleet), Some(home)) = (fleet, home) else {
        return RelayStatus::default();
    };
    let journal = &home.journal;
    let bundle = journal.published_roots().ok();
    let generations = journal.roots.values().chain(journal.signers.values());
    let workloads = fleet.relay.clusters.iter().filter_map(|spec| {
        let state = known.get(spec.name.as_str())?.state.as_ref()?;
        due::of_cluster(&fleet.relay, spec, state)
    });
    let next = workloads.chain(due::of_home(&fleet.relay, home)).min();
    RelayStatus {
        bundle: bundle.map(|bundle| BundleStatus {
            digest: bundle.digest().to_string(),
            anchors: u32::try_from(bundle.anchors().len()).unwrap_or(u32::MAX),
        }),
        generations: generations
            .map(|kept| &kept.record)
            .filter(|record| record.status != Status::Retired)
            .map(generation)
            .collect(),
        next_renewal: next.map(whole_seconds),
        ..RelayStatus::default()
    }
}

fn generation(record: &GenerationRecord) -> GenerationStatus {
    let certificate = record.certificate.as_ref();
    GenerationStatus {
        level: record.level,
        number: record.number,
        status: record.status,
        fingerprint: certificate.map(|certificate| certificate.fingerprint().to_string()),
        not_after: certificate.map(|certificate| Time(certificate.not_after())),
    }
}

/// The API stores seconds; what it gives back has to compare equal.
pub(super) fn whole_seconds(at: jiff::Timestamp) -> Time {
    Time(jiff::Timestamp::from_second(at.as_second()).unwrap_or(at))
}

/// What fails first if nobody and nothing acts.
pub(super) fn earliest_failure(facts: &RelayFacts) -> Option<EarliestFailure> {
    let failures = facts.clusters.iter().filter_map(|cluster| {
        let at = cluster.failure.automation_stops?;
        Some((at, cluster.cluster.as_str()))
    });
    let (at, cluster) = failures.min()?;
    Some(EarliestFailure {
        at: whole_seconds(at),
        cluster: Some(cluster.to_owned()),
        what: None,
    })
}

/// How many clusters are ready.
pub(super) fn counts(ready: usize, total: usize, not_ready: &[&str]) -> ClusterCounts {
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    ClusterCounts {
        total: number(total),
        ready: number(ready),
        summary: format!("{ready}/{total}"),
        not_ready: not_ready
            .iter()
            .take(NAMES)
            .map(|name| (*name).to_owned())
            .collect(),
    }
}

/// Which clusters are not ready, for people.
pub(super) fn missing(ready: usize, total: usize, not_ready: &[&str]) -> String {
    let mut names = not_ready
        .iter()
        .take(NAMES)
        .copied()
        .collect::<Vec<_>>()
        .join(", ");
    if not_ready.len() > NAMES {
        names = format!("{names} and {} more", not_ready.len() - NAMES);
    }
    match names.is_empty() {
        // Those that were not looked at yet.
        true => format!("{ready} of {total} clusters are ready"),
        false => format!(
            "{ready} of {total} clusters are ready; not ready: {names}; see their RelayCluster objects"
        ),
    }
}
