//! The lifetimes that hold where a document says nothing, and the shortest that work.

use super::lifetime::Lifetime;

pub(crate) use super::lifetime::UNITS;

pub(crate) const ROOT: Lifetime = Lifetime::days(3650);
pub(crate) const SIGNER: Lifetime = Lifetime::days(365);
pub(crate) const SERVER: Lifetime = Lifetime::days(90);
pub(crate) const AGENT: Lifetime = Lifetime::days(30);

// How long gates of a rotation wait.
pub(crate) const SAFE_START_WINDOW: Lifetime = Lifetime::seconds(90);
pub(crate) const SOAK: Lifetime = Lifetime::minutes(10);

// Below these there is no time to renew before a handshake fails.
pub(crate) const MIN_ROOT: Lifetime = Lifetime::minutes(24 * 60);
pub(crate) const MIN_SIGNER: Lifetime = Lifetime::minutes(60);
pub(crate) const MIN_LEAF: Lifetime = Lifetime::minutes(10);
