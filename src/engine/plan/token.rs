//! Planning of the tokens: one of each kind, made in the cluster that holds the records, copied from
//! there to every other cluster.

use super::super::observed::{ClusterState, Held, TokenState};
use super::super::step::{Cause, Content};
use super::Plan;
use super::context::Context;
use super::put::Row;
use crate::config::ClusterSpec;
use crate::relay::{Owner, SecretRole};

/// The tokens that every other cluster gets a copy of.
pub(super) struct Tokens {
    identity: Token,
    /// `None` where the document wants none.
    forwarding: Option<Token>,
}

enum Token {
    /// It stays.
    Kept(TokenState),
    /// It is made anew.
    New,
    /// There is none that could be copied.
    Unusable,
}

impl Context<'_> {
    /// Plans the tokens of the cluster that holds the records.
    pub(super) fn home_tokens(&self, plan: &mut Plan, state: &ClusterState) -> Tokens {
        let identity = SecretRole::IdentityToken;
        let forwarding = SecretRole::ForwardingToken;
        Tokens {
            identity: self.home_token(plan, identity, &state.identity_token),
            forwarding: self
                .relay
                .tokens
                .forwarding
                .then(|| self.home_token(plan, forwarding, &state.forwarding_token)),
        }
    }

    fn home_token(
        &self,
        plan: &mut Plan,
        role: SecretRole,
        slot: &Option<Held<TokenState>>,
    ) -> Token {
        let row = Row::new(self, self.relay.home(), role, slot);
        if self.goal.converges() || row.rotates {
            let reason = self.reason(slot, |_| None).or_requested(&row);
            if self.put(plan, row, reason) == Some(Content::NewToken) {
                return Token::New;
            }
        }
        match slot {
            Some(Held {
                content: Ok(token),
                owner: Owner::Us,
                ..
            }) => Token::Kept(token.clone()),
            // Taken over in this very plan.
            Some(Held {
                content: Ok(token),
                owner: Owner::Foreign,
                ..
            }) if self.goal.adopts() => Token::Kept(token.clone()),
            _ => Token::Unusable,
        }
    }

    /// Plans the tokens of another cluster.
    pub(super) fn token_copies(
        &self,
        plan: &mut Plan,
        spec: &ClusterSpec,
        state: &ClusterState,
        tokens: &Tokens,
    ) {
        let role = SecretRole::IdentityToken;
        self.token_copy(plan, spec, role, &state.identity_token, &tokens.identity);
        if let Some(token) = &tokens.forwarding {
            let role = SecretRole::ForwardingToken;
            self.token_copy(plan, spec, role, &state.forwarding_token, token);
        }
    }

    fn token_copy(
        &self,
        plan: &mut Plan,
        spec: &ClusterSpec,
        role: SecretRole,
        slot: &Option<Held<TokenState>>,
        source: &Token,
    ) {
        let row = Row::new(self, spec, role, slot);
        if !self.goal.converges() && !row.rotates {
            return;
        }
        let reason = match source {
            Token::Unusable => return,
            Token::New => self.reason(slot, |_| {
                Some((Cause::Follows("token"), Content::CopyToken))
            }),
            Token::Kept(kept) => self.reason(slot, |found| {
                let text = "it differs from the management cluster's token";
                (kept != found).then(|| (Cause::Drifted(text.to_owned()), Content::CopyToken))
            }),
        };
        self.put(plan, row, reason);
    }
}
