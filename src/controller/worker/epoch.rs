//! What workload clusters depend on.

use relay_pki_authority::Level;

use crate::config::Relay;
use crate::engine::{Held, Observed, TokenState};
use crate::journal::{RotationRecord, Scope};
use crate::relay::TokenDigest;

/// What workload clusters depend on: while it is the same, they have no reason to be looked at.
#[derive(Debug, PartialEq)]
pub(super) struct Epoch {
    bundle: Option<String>,
    signer: Option<u32>,
    requests: Vec<(Scope, u64)>,
    tokens: [Option<TokenDigest>; 2],
    rotation: Option<RotationRecord>,
}

impl Epoch {
    pub(super) fn of(relay: &Relay, observed: &Observed) -> Self {
        let journal = &observed.journal;
        let home = observed.clusters.get(relay.home().name.as_str());
        let home = home.and_then(|state| state.as_ref().ok());
        let token = |slot: Option<&Held<TokenState>>| Some(slot?.content.as_ref().ok()?.digest);
        Self {
            bundle: journal
                .published_roots()
                .ok()
                .map(|bundle| bundle.digest().to_string()),
            signer: journal.active(Level::Signer).map(|record| record.number),
            requests: journal
                .requests
                .iter()
                .map(|(scope, kept)| (scope.clone(), kept.record.number))
                .collect(),
            tokens: [
                token(home.and_then(|home| home.identity_token.as_ref())),
                token(home.and_then(|home| home.forwarding_token.as_ref())),
            ],
            rotation: journal.rotation().cloned(),
        }
    }
}
