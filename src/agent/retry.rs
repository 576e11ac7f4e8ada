//! When what failed is tried again.

use std::time::Duration;

/// First pause; each further one is twice as long.
const FIRST: Duration = Duration::from_secs(2);
/// Longest pause that nobody asked for.
const LONGEST: Duration = Duration::from_secs(300);
/// Longest pause that a server may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(3600);

/// Failures of one kind in a row, and when the next attempt is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Retry {
    failures: u32,
    /// Since the process began.
    pub(super) at: Duration,
}

impl Retry {
    /// After one more failure at `up`. `chance`, from 0 to 1, spreads a fleet that failed at once;
    /// `asked` is what the server wants.
    pub(super) fn after(self, up: Duration, chance: f64, asked: Option<Duration>) -> Self {
        let spread = 0.5 + chance.clamp(0.0, 1.0) / 2.0;
        let pause = doubled(FIRST, self.failures, LONGEST).mul_f64(spread);
        let asked = asked.map_or(Duration::ZERO, |asked| asked.min(LONGEST_ASKED));
        Self {
            failures: self.failures.saturating_add(1),
            at: up + pause.max(asked),
        }
    }
}

/// The pause after so many failures before: twice as long each time.
pub(super) fn doubled(first: Duration, failures: u32, longest: Duration) -> Duration {
    first.saturating_mul(1 << failures.min(16)).min(longest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pauses_grow_and_end(
            failures in 0u32..100, chance in 0.0f64..1.0, up in 0u64..1_000_000_000,
            asked in proptest::option::of(0u64..10_000),
        ) {
            let up = Duration::from_secs(up);
            let asked = asked.map(Duration::from_secs);
            let before = Retry { failures, at: Duration::ZERO };
            let pause = before.after(up, chance, asked).at - up;
            prop_assert!(pause >= FIRST / 2 && pause <= LONGEST_ASKED);
            prop_assert!(pause >= asked.unwrap_or_default().min(LONGEST_ASKED));
            prop_assert!(asked.is_some() || pause <= LONGEST);
            let longer = before.after(up, chance, None).after(up, chance, None).at - up;
            prop_assert!(longer >= before.after(up, chance, None).at - up);
        }
    }
}
