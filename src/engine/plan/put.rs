//! From "why" to a step: what is common to the writing of every relay Secret.

use super::super::observed::{Held, TokenState};
use super::super::step::{Action, Cause, Content, Put, Step};
use super::{Context, Plan, Problem};
use crate::config::ClusterSpec;
use crate::relay::{Owner, SecretRole, secret_name};

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
    pub(super) fn or_requested(
        self,
        rotates: bool,
        satisfied: u64,
        requested: u64,
        content: Content,
    ) -> Self {
        let renews = matches!(
            self,
            Self::Fine | Self::Adopt | Self::Write(_, Content::Keep)
        );
        match rotates && satisfied < requested && renews {
            true => Self::Write(Cause::Requested(requested), content),
            false => self,
        }
    }
}

/// Adds the step that writes a Secret, or the problem that keeps it from being written. Returns what
/// will be written.
#[allow(clippy::too_many_arguments, reason = "one row of the table of Secrets")]
pub(super) fn put<T>(
    context: &Context<'_>,
    plan: &mut Plan,
    spec: &ClusterSpec,
    role: SecretRole,
    slot: &Option<Held<T>>,
    reason: Reason,
    missing: Content,
    request: u64,
    prune_key: bool,
) -> Option<Content> {
    let (cause, content) = match reason {
        Reason::Fine => {
            plan.unchanged += usize::from(slot.is_some());
            return None;
        }
        Reason::Missing => (Cause::Missing, missing),
        Reason::Adopt => (Cause::Adopted, Content::Keep),
        Reason::Replace(cause) => (cause, missing),
        Reason::Write(cause, content) => (cause, content),
    };
    if let Some(held) = slot
        && let Some(problem) = objection(context, spec, role, held)
    {
        plan.problems.push(problem);
        return None;
    }
    plan.steps.push(Step {
        cluster: spec.name.to_string(),
        action: Action::Put(Put {
            role,
            name: secret_name(context.relay, spec, role),
            precondition: slot.as_ref().map(|held| held.version.clone()),
            content,
            // What stays as it is satisfies what it satisfied before.
            request: match (content, slot) {
                (Content::Keep, Some(held)) => held.request,
                _ => request,
            },
            prune_key,
        }),
        cause,
    });
    Some(content)
}

/// Why an existing Secret must not be written.
fn objection<T>(
    context: &Context<'_>,
    spec: &ClusterSpec,
    role: SecretRole,
    held: &Held<T>,
) -> Option<Problem> {
    let problem = |what: String, remedy: &str| {
        Some(Problem {
            cluster: spec.name.to_string(),
            what,
            remedy: remedy.to_owned(),
            unreachable: false,
        })
    };
    let place = &held.place;
    match &held.owner {
        Owner::OtherRelay(other) => problem(
            format!("{place} ({role}) belongs to relay {other}"),
            "use another namespace or another Secret name (spec.secrets)",
        ),
        Owner::Foreign if !context.goal.adopts() => problem(
            format!("{place} ({role}) exists and is not managed by relay-pki"),
            "take it over with `relay-pki bootstrap --adopt`, or move it away",
        ),
        _ if held.exposed => problem(
            format!("{place} ({role}) can be read by other users of this machine"),
            "chmod 600 it, and rotate what it holds if somebody may have read it",
        ),
        _ => None,
    }
}

pub(super) fn same_token(one: &TokenState, other: &TokenState) -> bool {
    one.digest == other.digest
}
