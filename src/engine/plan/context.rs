//! What the planning of every Secret looks at.

use std::collections::BTreeSet;

use jiff::Timestamp;
use relay_pki_authority::x509::{BundleDigest, Certificate, Fingerprint};

use super::super::observed::{ClusterState, Held};
use super::super::step::{Cause, Content};
use super::authority::Authorities;
use super::put::Reason;
use super::token::Tokens;
use super::{Goal, Plan};
use crate::config::{ClusterSpec, Delivery, Relay, Role};
use crate::journal::{Journal, RotationRecord};
use crate::relay::Owner;
use crate::rotation::bundle_before;

/// Everything that the planning of one Secret looks at.
pub(super) struct Context<'a> {
    pub(super) relay: &'a Relay,
    pub(super) goal: &'a Goal,
    pub(super) journal: &'a Journal,
    pub(super) now: Timestamp,
    /// The bundle that every Secret should hold; `None` while a root is still to be made.
    pub(super) bundle: Option<BundleDigest>,
    /// The anchors in it.
    pub(super) anchors: BTreeSet<Fingerprint>,
    /// The signer that leaves and copies should come from; `None` while it is still to be made.
    pub(super) signer: Option<Certificate>,
    /// Whether anybody accepts what that signer signs now. In a rotation it may not.
    pub(super) signs: bool,
    /// Whether a relay server signs agents by itself.
    pub(super) server_signs: bool,
    /// The rotation under way.
    pub(super) rotation: Option<&'a RotationRecord>,
    /// The bundle that clusters may still hold whose turn in the rotation comes later.
    before: Option<BundleDigest>,
}

impl<'a> Context<'a> {
    pub(super) fn new(
        relay: &'a Relay,
        goal: &'a Goal,
        journal: &'a Journal,
        authorities: Authorities,
        now: Timestamp,
    ) -> Self {
        let bundle = authorities.bundle;
        Self {
            relay,
            goal,
            journal,
            now,
            anchors: bundle
                .iter()
                .flat_map(|bundle| bundle.anchors())
                .map(|anchor| anchor.fingerprint())
                .collect(),
            bundle: bundle.map(|bundle| bundle.digest()),
            signs: authorities
                .signer
                .as_ref()
                .is_none_or(|signer| signer.is_valid_at(now)),
            signer: authorities.signer,
            server_signs: relay
                .agents()
                .any(|(_, agent)| agent.delivery == Delivery::ServerSigned),
            rotation: journal.rotation(),
            before: journal
                .rotation()
                .and_then(|rotation| bundle_before(journal, rotation))
                .map(|bundle| bundle.digest()),
        }
    }

    /// Whether bundles and chains are brought to where they should be: always, or because a rotation
    /// is taken on.
    pub(super) fn moves(&self) -> bool {
        self.goal.converges() || (self.rotation.is_some() && self.goal.advances())
    }

    /// Plans the Secrets of one cluster, but for the tokens of the one that holds the records.
    pub(super) fn cluster(
        &self,
        plan: &mut Plan,
        spec: &ClusterSpec,
        state: &ClusterState,
        tokens: &Tokens,
    ) {
        self.trust(plan, spec, &state.trust);
        if spec.name != self.relay.home().name {
            self.token_copies(plan, spec, state, tokens);
        }
        if spec.role == Role::Management {
            self.signing(plan, spec, &state.signing);
            self.server(plan, spec, &state.server);
        }
        if let Some(agent) = &spec.agent
            && agent.delivery == Delivery::Push
        {
            self.client(plan, spec, agent, &state.client);
        }
    }

    /// Why a bundle has to be written again.
    pub(super) fn bundle_cause(&self, spec: &ClusterSpec, found: BundleDigest) -> Option<Cause> {
        let later = |rotation: &RotationRecord| !rotation.concerns(spec);
        match self.bundle {
            None => Some(Cause::Follows("root")),
            Some(_) if self.rotation.is_some_and(later) && self.before == Some(found) => None,
            Some(wanted) if wanted != found && self.rotation.is_some() => {
                self.rotation.map(super::rotation::cause)
            }
            Some(wanted) if wanted != found => {
                let text = "its trust bundle is not the published one";
                Some(Cause::Drifted(text.to_owned()))
            }
            Some(_) => None,
        }
    }

    /// What speaks for writing a Secret, by what is there.
    pub(super) fn reason<T>(
        &self,
        slot: &Option<Held<T>>,
        inspect: impl FnOnce(&T) -> Option<(Cause, Content)>,
    ) -> Reason {
        let Some(held) = slot else {
            return match self.goal {
                Goal::Due => Reason::Fine,
                _ => Reason::Missing,
            };
        };
        match &held.content {
            Err(_) if self.goal == &Goal::Due => Reason::Fine,
            Err(reason) => Reason::Replace(Cause::Broken(reason.clone())),
            Ok(content) => match inspect(content) {
                Some((cause, content)) => Reason::Write(cause, content),
                None if held.owner != Owner::Us && self.goal.converges() => Reason::Adopt,
                None => Reason::Fine,
            },
        }
    }
}
