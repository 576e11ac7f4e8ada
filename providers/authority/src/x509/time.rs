use std::fmt;

use jiff::{SignedDuration, Timestamp};

use super::X509Error;

/// A validity period, whole seconds, both ends included (RFC 5280 section 4.1.2.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Validity {
    not_before: Timestamp,
    not_after: Timestamp,
}

impl Validity {
    /// From `not_before` to `not_after`; fractions of a second are cut off, because X.509 has none.
    pub fn new(not_before: Timestamp, not_after: Timestamp) -> Result<Self, X509Error> {
        let (not_before, not_after) = (whole_seconds(not_before), whole_seconds(not_after));
        if not_before >= not_after {
            return Err(X509Error::InvalidValidity {
                not_before,
                not_after,
            });
        }
        Ok(Self {
            not_before,
            not_after,
        })
    }

    /// First instant.
    pub fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// Last instant.
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// Length.
    pub fn lifetime(&self) -> SignedDuration {
        self.not_after.duration_since(self.not_before)
    }

    /// Whether `at` lies inside.
    pub fn contains(&self, at: Timestamp) -> bool {
        self.not_before <= at && at <= self.not_after
    }

    /// Whether `other` lies wholly inside.
    pub fn encloses(&self, other: &Self) -> bool {
        self.not_before <= other.not_before && other.not_after <= self.not_after
    }

    /// The part of `self` that lies inside `issuer`; an error if nothing does.
    pub fn clamped_to(&self, issuer: &Self) -> Result<Self, X509Error> {
        Self::new(
            self.not_before.max(issuer.not_before),
            self.not_after.min(issuer.not_after),
        )
    }

    /// Share of the lifetime that is left at `at`, 0.0 to 1.0.
    pub fn fraction_left(&self, at: Timestamp) -> f64 {
        let left = self.not_after.duration_since(at).as_secs_f64();
        (left / self.lifetime().as_secs_f64()).clamp(0.0, 1.0)
    }
}

impl fmt::Display for Validity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.not_before, self.not_after)
    }
}

fn whole_seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn cuts_fractions_and_refuses_reversed_ends() {
        let half = at(10) + SignedDuration::from_millis(500);
        let validity = Validity::new(half, at(20)).unwrap();
        assert_eq!(validity.not_before(), at(10));
        assert!(Validity::new(at(20), at(20)).is_err());
        assert!(Validity::new(at(21), at(20)).is_err());
    }

    #[test]
    fn clamps_into_the_issuer() {
        let issuer = Validity::new(at(10), at(20)).unwrap();
        let asked = Validity::new(at(5), at(30)).unwrap();
        let clamped = asked.clamped_to(&issuer).unwrap();
        assert_eq!(clamped, issuer);
        assert!(issuer.encloses(&clamped));
        assert!(
            Validity::new(at(30), at(40))
                .unwrap()
                .clamped_to(&issuer)
                .is_err()
        );
    }

    #[test]
    fn fraction_left_stays_between_zero_and_one() {
        let validity = Validity::new(at(0), at(100)).unwrap();
        assert_eq!(validity.fraction_left(at(25)), 0.75);
        assert_eq!(validity.fraction_left(at(-50)), 1.0);
        assert_eq!(validity.fraction_left(at(500)), 0.0);
    }
}
