//! When a certificate is due to be replaced.
//!
//! Everything here is reckoned from the validity that was *issued*: a CA may give less than it was
//! asked for, and a renewal point taken from the request then lies before the start of every new
//! certificate, which is a renewal loop.

#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{SHA256, digest};
use jiff::{SignedDuration, Timestamp};
use relay_pki_authority::x509::Validity;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::config::{
    AgentSpec, ClusterName, Lifetime, Schedule, ServerSpec, SignerSpec, ValueError,
};

/// By how much of the way to the renewal point an identity may be early.
const JITTER: f64 = 0.1;

/// The share of the lifetime at its end that a schedule may not eat into.
const RESERVE: f64 = 0.1;

/// The share of a lifetime after which its certificate is to be replaced: more than 0.1, at most
/// 0.95.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct RenewAt(f64);

impl RenewAt {
    /// Two thirds: a third of the lifetime is left for a CA, or a person, to come back.
    pub const DEFAULT: Self = Self(0.66);

    /// From a share of the lifetime.
    pub fn new(share: f64) -> Result<Self, ValueError> {
        // A comparison with NaN is false.
        if share > 0.1 && share <= 0.95 {
            Ok(Self(share))
        } else {
            Err(ValueError::new(
                format!("{share} is no renewal point"),
                "write a share of the lifetime above 0.1 and up to 0.95, for example 0.66",
            ))
        }
    }

    /// The share, above 0.1 and up to 0.95.
    pub fn share(self) -> f64 {
        self.0
    }
}

impl Default for RenewAt {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl FromStr for RenewAt {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            Ok(share) => Self::new(share),
            Err(_) => Err(ValueError::new(
                format!(
                    "{:?} is no number",
                    text.chars().take(40).collect::<String>()
                ),
                "write a share of the lifetime above 0.1 and up to 0.95, for example 0.66",
            )),
        }
    }
}

impl fmt::Display for RenewAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl JsonSchema for RenewAt {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "RenewAt".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "number", "exclusiveMinimum": 0.1, "maximum": 0.95 })
    }
}

/// When certificates of one kind are replaced.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Renewal {
    /// The share of the lifetime after which a certificate is due.
    pub at: RenewAt,
    /// The only times at which a certificate that is due is replaced; without one it is replaced at
    /// once.
    pub schedule: Option<Schedule>,
}

impl Renewal {
    /// When the certificate of `identity` that was issued for `validity` is due.
    ///
    /// That is at the share [`Renewal::at`] of the lifetime, up to a tenth of the way earlier. How
    /// much earlier follows from the identity alone, so that a fleet that was issued at once is not
    /// renewed at once, and the answer is the same whenever it is asked for. A schedule puts it off
    /// to its next firing, but never into the last tenth of the lifetime: there the schedule gives
    /// way.
    ///
    /// Always later than `not_before` and earlier than `not_after`, in whole seconds where there is
    /// one between them.
    pub fn due_at(&self, validity: &Validity, identity: &str) -> Timestamp {
        let share = self.at.share() * (1.0 - JITTER * position(identity));
        let point = after_share(validity, share);
        let Some(schedule) = &self.schedule else {
            return point;
        };
        let latest = after_share(validity, 1.0 - RESERVE).max(point);
        match schedule.next_from(point) {
            Some(firing) => firing.min(latest),
            None => latest,
        }
    }

    /// How long a schedule may keep a certificate of this lifetime waiting. A schedule with a
    /// longest gap above that cannot always be followed.
    pub fn slack(&self, lifetime: Lifetime) -> SignedDuration {
        let share = (1.0 - RESERVE - self.at.share()).max(0.0);
        part(lifetime.duration(), share)
    }
}

impl SignerSpec {
    /// When a signer that was issued for `validity` is due.
    pub fn due_at(&self, validity: &Validity) -> Timestamp {
        self.renewal.due_at(validity, "signer")
    }
}

impl ServerSpec {
    /// When the server certificate of a management cluster that was issued for `validity` is due.
    pub fn due_at(&self, cluster: &ClusterName, validity: &Validity) -> Timestamp {
        // An agent may run beside the server: they are two identities.
        self.renewal.due_at(validity, &format!("server-{cluster}"))
    }
}

impl AgentSpec {
    /// When the client certificate of a cluster's agent that was issued for `validity` is due.
    pub fn due_at(&self, cluster: &ClusterName, validity: &Validity) -> Timestamp {
        self.renewal.due_at(validity, cluster.as_str())
    }
}

/// The instant inside `validity` when `share` (above 0, below 1) of it has passed.
fn after_share(validity: &Validity, share: f64) -> Timestamp {
    let point = validity
        .not_before()
        .checked_add(part(validity.lifetime(), share))
        .unwrap_or(validity.not_after());
    // Certificates know whole seconds only, and so do the people who read the answer.
    match Timestamp::from_second(point.as_second()) {
        Ok(whole) if whole > validity.not_before() => whole,
        _ => point,
    }
}

fn part(lifetime: SignedDuration, share: f64) -> SignedDuration {
    SignedDuration::try_from_secs_f64(lifetime.as_secs_f64() * share).unwrap_or(lifetime)
}

/// A number from 0 up to, but not, 1 that is always the same for one identity. The names in a fleet
/// differ by a digit, so the hash has to be one that scatters those.
fn position(identity: &str) -> f64 {
    let hash = digest(&SHA256, identity.as_bytes());
    let head = hash.as_ref().iter().take(6);
    let number = head.fold(0u64, |number, byte| number << 8 | u64::from(*byte));
    // 48 bits fit a double exactly.
    number as f64 / (1u64 << 48) as f64
}
