//! What is done at random, so that it can be done again.

use std::time::Duration;

/// A generator of the splitmix family: all that is wanted of it is that it can be replayed.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % u64::try_from(limit).unwrap()).unwrap()
    }

    /// A time below `limit`, in whole milliseconds.
    pub(crate) fn within(&mut self, limit: Duration) -> Duration {
        let limit = usize::try_from(limit.as_millis()).unwrap();
        Duration::from_millis(u64::try_from(self.below(limit)).unwrap())
    }

    /// Two of them whose numbers have nothing to do with each other.
    pub(crate) fn split(&mut self) -> Self {
        Self(u64::try_from(self.below(usize::MAX)).unwrap())
    }
}

/// The number in an environment variable, if it is set.
pub(crate) fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is no number: {text}")),
    )
}
