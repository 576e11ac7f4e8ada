//! At which gates a rotation soaks, and for how long altogether.

use jiff::{SignedDuration, Timestamp};

use super::Phase;
use super::advance::following;
use super::gate::{is_strict, wants_cross};
use crate::config::Relay;
use crate::journal::{Cross, Journal, RotationRecord};

/// Whether the gate out of the phase that a rotation is in has a soak time. Where nothing stands in for a
/// step that is not in use yet, each of them has.
pub(super) fn soaks(record: &RotationRecord, strict: bool) -> bool {
    match record.phase {
        Phase::Preparing => false,
        Phase::Draining => true,
        _ => strict,
    }
}

/// The soak times behind the gate that a rotation stands at.
pub(super) fn soaking_ahead(
    relay: &Relay,
    record: &RotationRecord,
    strict: bool,
    now: Timestamp,
) -> SignedDuration {
    soaking(relay, ahead(record, strict, now), strict)
}

/// Those up to the last certificate that is replaced.
pub(super) fn soaking_until_reissued(
    relay: &Relay,
    record: &RotationRecord,
    strict: bool,
    now: Timestamp,
) -> SignedDuration {
    let mut phases: Vec<_> = ahead(record, strict, now).collect();
    let last = phases
        .iter()
        .rposition(|next| next.phase == Phase::Reissuing);
    phases.truncate(last.map_or(0, |last| last + 1));
    soaking(relay, phases.into_iter(), strict)
}

fn soaking(
    relay: &Relay,
    phases: impl Iterator<Item = RotationRecord>,
    strict: bool,
) -> SignedDuration {
    let times = phases.filter(|next| soaks(next, strict)).count();
    let times = i32::try_from(times).unwrap_or(i32::MAX);
    relay.rotation.soak.saturating_mul(times)
}

/// The rotation as it is in every phase to come.
fn ahead(
    record: &RotationRecord,
    strict: bool,
    now: Timestamp,
) -> impl Iterator<Item = RotationRecord> {
    let crossed = wants_cross(record) && !strict;
    let next = move |record: &RotationRecord| Some(following(record, crossed, now));
    std::iter::successors(next(record), next).take_while(|next| !next.phase.is_over())
}

/// Whether a rotation is strict, or will be as far as can be known before the old root is asked.
pub(super) fn is_foreseen_strict(
    relay: &Relay,
    journal: &Journal,
    record: &RotationRecord,
    now: Timestamp,
) -> bool {
    let signer = journal.signers.get(&record.signers.to);
    if let Some(Cross::Certificate(_)) = signer.and_then(|kept| kept.record.cross.as_ref()) {
        return false;
    }
    let old = journal.roots.get(&record.roots.from);
    let certifies = old.is_some_and(|old| {
        let holder = old.record.provider.as_deref();
        let certificate = old.record.certificate.as_ref();
        holder.is_some_and(|holder| !relay.is_offline(holder))
            && certificate.is_some_and(|root| root.is_valid_at(now))
    });
    is_strict(journal, record) || (wants_cross(record) && !certifies)
}
