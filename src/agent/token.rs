//! The token of a first enrolment: read each time, because it may have been replaced.

use std::sync::Arc;

use relay_pki_authority::Credential;
use zeroize::Zeroizing;

use crate::relay::TokenDigest;

/// Where the token may be.
#[derive(Clone)]
pub struct Tokens(Vec<Arc<dyn Credential>>);

impl Tokens {
    /// These places, the best one first.
    pub fn new(places: Vec<Arc<dyn Credential>>) -> Self {
        Self(places)
    }

    /// The first token that is not `refused`, or else the first that there is.
    pub(super) async fn read(
        &self,
        refused: impl Fn(&TokenDigest) -> bool,
    ) -> Option<(TokenDigest, Zeroizing<Vec<u8>>)> {
        let mut fallback = None;
        for place in &self.0 {
            match place.read().await {
                Ok(token) => {
                    let digest = TokenDigest::of(&token);
                    if !refused(&digest) {
                        return Some((digest, token));
                    }
                    fallback = fallback.or(Some((digest, token)));
                }
                // There need not be any.
                Err(error) => tracing::debug!(target: super::LOG, %error, "no token"),
            }
        }
        fallback
    }

    /// Where a token has to be put, for people.
    pub(super) fn place(&self) -> String {
        let first = self.0.first().map(|place| place.place());
        first.unwrap_or_else(|| "--token-file".to_owned())
    }
}
