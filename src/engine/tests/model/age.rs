//! The time of the model stands still and what is remembered grows old, up to an age from which on
//! nothing changes any more: so there are finitely many records.

use jiff::{SignedDuration, Timestamp};

use super::pool::now;
use crate::journal::{RotationRecord, Signature};
use crate::rotation::Phase;

/// The time passes in steps of half a soak time; `safeStartWindow` is one step.
pub(super) const STEP: SignedDuration = SignedDuration::from_mins(5);
/// The same in the words of a document.
pub(super) const SETTINGS: &str = "soak: 10m, safeStartWindow: 5m";
/// Steps after which nothing grows any older.
pub(super) const OLDEST: u8 = 2;

/// The same record, so many steps later.
pub(super) fn aged(record: &RotationRecord, steps: u8) -> RotationRecord {
    let mut record = record.clone();
    let by = STEP * i32::from(steps);
    for entry in &mut record.entered {
        entry.at -= by;
    }
    for approval in &mut record.approvals {
        approval.signature.at -= by;
    }
    for waiver in record.waivers.values_mut() {
        waiver.until -= by;
    }
    for at in moments(&mut record) {
        *at -= by;
    }
    settled(record)
}

/// Without what no decision depends on: who did something, what was before the current phase, and how
/// old exactly something old is.
pub(super) fn settled(mut record: RotationRecord) -> RotationRecord {
    let oldest = now() - STEP * i32::from(OLDEST);
    let since = record.since();
    record
        .approvals
        .retain(|it| !it.used && it.signature.at >= since);
    let last = record.entered.len().saturating_sub(1);
    record.entered.drain(..last);
    for entry in &mut record.entered {
        entry.at = entry.at.max(oldest);
    }
    for at in moments(&mut record) {
        *at = (*at).max(oldest);
    }
    let at = record.since();
    let by = |at| Signature {
        by: String::new(),
        at,
    };
    for approval in &mut record.approvals {
        approval.signature = by(at);
    }
    for waiver in record.waivers.values_mut() {
        waiver.until = waiver.until.max(oldest);
        waiver.signature = by(oldest);
    }
    for phase in record.passed.values_mut() {
        *phase = Phase::Preparing;
    }
    record.widened = record.widened.map(|_| oldest);
    record.paused = record.paused.map(|_| by(oldest));
    record.requested = by(oldest);
    record
}

/// Moments from which a time is reckoned.
fn moments(record: &mut RotationRecord) -> impl Iterator<Item = &mut Timestamp> {
    record.trimmed.iter_mut()
}
