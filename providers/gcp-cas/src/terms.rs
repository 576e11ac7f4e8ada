//! What the pool's tier and issuance policy mean for a certificate's dates.

use std::time::Duration;

use google_cloud_security_privateca_v1::model;
use google_cloud_security_privateca_v1::model::ca_pool::Tier;
use google_cloud_wkt as wkt;
use jiff::{SignedDuration, Timestamp};
use relay_pki_authority::x509::Validity;

/// How far from each other clocks may be, and how long a call may take, before a certificate that the
/// service dates would end after the time that was asked for.
pub(crate) const MARGIN: SignedDuration = SignedDuration::from_secs(60);
/// Furthest that a pool may date back what relay-pki accepts.
const LONGEST_BACKDATING: SignedDuration = SignedDuration::from_hours(1);
/// Least that a pool has to date back: clocks differ, and a certificate must be valid at once.
const SHORTEST_BACKDATING: SignedDuration = SignedDuration::from_secs(30);

/// The terms of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) devops: bool,
    start: Start,
}

/// When certificates start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    /// When we say.
    Asked,
    /// So long before they are issued.
    Backdated(SignedDuration),
}

/// What the service is asked for: a length, and a start if we may choose it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dates {
    pub(crate) start: Option<Timestamp>,
    pub(crate) lifetime: SignedDuration,
}

impl Terms {
    /// From the pool; else what is wrong with it and what to change.
    pub(crate) fn of(pool: &model::CaPool) -> Result<Self, (String, String)> {
        let policy = pool.issuance_policy.clone().unwrap_or_default();
        if let Some(modes) = &policy.allowed_issuance_modes
            && !modes.allow_config_based_issuance
        {
            return Err((
                "the pool's issuance policy does not allow config-based issuance".to_owned(),
                "set allowedIssuanceModes.allowConfigBasedIssuance: true in it".to_owned(),
            ));
        }
        let backdating = policy.backdate_duration.unwrap_or_default();
        let backdating = SignedDuration::from_secs(backdating.seconds());
        let start = match policy.allow_requester_specified_not_before_time {
            true => Start::Asked,
            false if backdating > LONGEST_BACKDATING => {
                return Err((
                    format!("the pool dates certificates back by {}", text(backdating)),
                    format!(
                        "set backdateDuration to at most {} in its issuance policy",
                        text(LONGEST_BACKDATING)
                    ),
                ));
            }
            false if backdating < SHORTEST_BACKDATING => {
                return Err((
                    "the pool's certificates start when they are issued, and clocks differ"
                        .to_owned(),
                    "set allowRequesterSpecifiedNotBeforeTime: true, or backdateDuration: 300s, in \
                     its issuance policy (gcloud privateca pools update --issuance-policy)"
                        .to_owned(),
                ));
            }
            false => Start::Backdated(backdating),
        };
        Ok(Self {
            devops: pool.tier == Tier::Devops,
            start,
        })
    }

    /// Time from one certificate to the next: nine tenths of the quota of one CA, 7 a second in the
    /// Enterprise tier and 25 in the DevOps tier.
    pub(crate) fn interval(self) -> Duration {
        Duration::from_secs_f64(if self.devops { 1.0 / 22.5 } else { 1.0 / 6.3 })
    }

    /// What to ask for at `now`, to get what of `asked` lies inside `limits`. `None` if nothing does.
    pub(crate) fn dates(
        self,
        asked: &Validity,
        limits: &Validity,
        now: Timestamp,
    ) -> Option<Dates> {
        let wanted = asked.clamped_to(limits).ok()?;
        let dates = match self.start {
            Start::Asked => Dates {
                start: Some(wanted.not_before()),
                lifetime: wanted.lifetime(),
            },
            Start::Backdated(by) => Dates {
                start: None,
                lifetime: wanted.not_after().duration_since(now - by) - MARGIN,
            },
        };
        (dates.lifetime > SignedDuration::ZERO).then_some(dates)
    }
}

pub(crate) fn duration(length: SignedDuration) -> wkt::Duration {
    wkt::Duration::clamp(length.as_secs(), 0)
}

pub(crate) fn timestamp(at: Timestamp) -> wkt::Timestamp {
    wkt::Timestamp::clamp(at.as_second(), 0)
}

fn text(length: SignedDuration) -> String {
    format!("{} s", length.as_secs())
}
