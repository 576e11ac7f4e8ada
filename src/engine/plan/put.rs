//! From "why" to a step: what is common to the writing of every relay Secret.

use super::super::observed::Held;
use super::super::step::{Action, Cause, Content, Put, Step};
use super::context::Context;
use super::{Plan, Problem, scopes_of_agent};
use crate::config::ClusterSpec;
use crate::journal::Scope;
use crate::relay::{Owner, SecretRole, secret_name};

/// One Secret of one cluster: a row of the table in the design.
pub(super) struct Row<'a, T> {
    pub(super) spec: &'a ClusterSpec,
    pub(super) role: SecretRole,
    /// What is there.
    pub(super) slot: &'a Option<Held<T>>,
    /// What goes into it when it is missing or useless.
    fresh: Content,
    /// The latest rotation request that concerns it.
    request: u64,
    /// Whether the goal is to rotate it.
    pub(super) rotates: bool,
    /// Whether a private key that does not belong there is taken out.
    pub(super) prune_key: bool,
}

impl<'a, T> Row<'a, T> {
    pub(super) fn new(
        context: &Context<'_>,
        spec: &'a ClusterSpec,
        role: SecretRole,
        slot: &'a Option<Held<T>>,
    ) -> Self {
        let home = spec.name == context.relay.home().name;
        let (fresh, scopes): (_, &[Scope]) = match role {
            SecretRole::Trust => (Content::Bundle, &[]),
            SecretRole::Signing => (Content::Signer, &[]),
            SecretRole::Server => (Content::Issue, &[Scope::Server]),
            SecretRole::Client => (Content::Issue, &scopes_of_agent(spec.name.as_str())),
            SecretRole::IdentityToken | SecretRole::ForwardingToken if home => {
                (Content::NewToken, &[Scope::Tokens])
            }
            SecretRole::IdentityToken | SecretRole::ForwardingToken => {
                (Content::CopyToken, &[Scope::Tokens])
            }
        };
        Self {
            spec,
            role,
            slot,
            fresh,
            request: context.journal.requested(scopes),
            rotates: context.goal.rotates(scopes),
            prune_key: false,
        }
    }
}

/// What speaks for writing a Secret.
pub(super) enum Reason {
    /// Nothing.
    Fine,
    /// It is not there.
    Missing,
    /// It is there, sound, and not ours.
    Adopt,
    /// What is there is useless; it gets what a missing one gets.
    Replace(Cause),
    /// Something about it.
    Write(Cause, Content),
}

impl Reason {
    /// Unless there is a stronger reason: somebody asked for it.
    pub(super) fn or_requested<T>(self, row: &Row<'_, T>) -> Self {
        let renews = matches!(
            self,
            Self::Fine | Self::Adopt | Self::Write(_, Content::Keep)
        );
        let satisfied = row.slot.as_ref().map_or(row.request, |held| held.request);
        match row.rotates && satisfied < row.request && renews {
            true => Self::Write(Cause::Requested(row.request), row.fresh),
            false => self,
        }
    }
}

impl Context<'_> {
    /// Adds the step that writes a Secret, or the problem that keeps it from being written. Returns
    /// what will be written.
    pub(super) fn put<T>(
        &self,
        plan: &mut Plan,
        row: Row<'_, T>,
        reason: Reason,
    ) -> Option<Content> {
        let (cause, content) = match reason {
            Reason::Fine => {
                plan.unchanged += usize::from(row.slot.is_some());
                return None;
            }
            Reason::Missing => (Cause::Missing, row.fresh),
            Reason::Adopt => (Cause::Adopted, Content::Keep),
            Reason::Replace(cause) => (cause, row.fresh),
            Reason::Write(cause, content) => (cause, content),
        };
        if let Some(problem) = self.objection(&row) {
            plan.problems.push(problem);
            return None;
        }
        plan.steps.push(Step {
            cluster: row.spec.name.to_string(),
            action: Action::Put(Put {
                role: row.role,
                name: secret_name(self.relay, row.spec, row.role),
                precondition: row.slot.as_ref().map(|held| held.version.clone()),
                content,
                // What stays as it is satisfies what it satisfied before; what was not ours was never
                // asked for.
                request: match (content, row.slot) {
                    (Content::Keep, Some(held)) if held.owner == Owner::Us => held.request,
                    _ => row.request,
                },
                prune_key: row.prune_key,
            }),
            cause,
        });
        Some(content)
    }

    /// Why an existing Secret must not be written.
    fn objection<T>(&self, row: &Row<'_, T>) -> Option<Problem> {
        let held = row.slot.as_ref()?;
        let (place, role) = (&held.place, row.role);
        let (what, remedy) = match &held.owner {
            Owner::OtherRelay(other) => (
                format!("{place} ({role}) belongs to relay {other}"),
                "use another namespace or another Secret name (spec.secrets)",
            ),
            Owner::Foreign if !self.goal.adopts() => (
                format!("{place} ({role}) exists and is not managed by relay-pki"),
                "take it over with `relay-pki bootstrap --adopt`, or move it away",
            ),
            _ if held.exposed => (
                format!("{place} ({role}) can be read by other users of this machine"),
                "chmod 600 it, and rotate what it holds if somebody may have read it",
            ),
            _ => return None,
        };
        Some(Problem::new(&row.spec.name, what, remedy))
    }
}
