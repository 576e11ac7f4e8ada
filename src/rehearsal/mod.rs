//! A rotation of root or signer on copies, with a fast clock: the real engine, in-memory clusters with what
//! the real ones hold, and CAs that stand in for the real ones. Nothing is written anywhere, and no CA is
//! asked for anything.

mod agents;
mod copy;
mod handshakes;
mod report;
mod run;
mod stand_in;
#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]
mod tests;

use relay_pki_authority::AuthorityError;
use relay_pki_authority::x509::X509Error;

use crate::cluster::ClusterError;
use crate::rotation::Refusal;

pub use handshakes::{Handshake, Handshakes};
pub use report::{Failure, Outcome, Report, Round, Stretch};
pub use run::rehearse;

/// Why there is no rehearsal.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RehearsalError {
    /// The rotation would be refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The records cannot be read.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// A CA of the fleet cannot be stood in for.
    #[error("no CA can stand in for {authority}: {reason}")]
    StandIn {
        /// Which one.
        authority: String,
        /// What is in the way.
        reason: String,
    },
    /// Somebody stopped it.
    #[error("the rehearsal was interrupted; nothing was written")]
    Interrupted,
}

impl RehearsalError {
    fn stand_in(authority: impl ToString, reason: impl ToString) -> Self {
        Self::StandIn {
            authority: authority.to_string(),
            reason: reason.to_string(),
        }
    }
}

impl From<X509Error> for RehearsalError {
    fn from(error: X509Error) -> Self {
        Self::stand_in("a CA of the fleet", error)
    }
}

impl From<AuthorityError> for RehearsalError {
    fn from(error: AuthorityError) -> Self {
        Self::stand_in("a CA of the fleet", error)
    }
}
