//! Planning of the Secrets with CA certificates: the trust bundle, and the signer of a relay server
//! that signs agents by itself.

use super::super::observed::{Held, Provenance, TlsState, TrustState};
use super::super::step::{Cause, Content};
use super::context::Context;
use super::put::Row;
use super::{Goal, Plan, Problem};
use crate::config::{ClusterSpec, Role};
use crate::relay::{Owner, SecretRole};
use crate::rotation::certificates;

impl Context<'_> {
    pub(super) fn trust(
        &self,
        plan: &mut Plan,
        spec: &ClusterSpec,
        slot: &Option<Held<TrustState>>,
    ) {
        if !self.moves() {
            return;
        }
        let misplaced = |state: &TrustState| {
            self.goal.prunes() && spec.role == Role::Workload && state.key.is_some()
        };
        let reason = self.reason(slot, |state| {
            if misplaced(state) {
                let text = "a private key is taken out of it";
                return Some((Cause::Drifted(text.to_owned()), Content::Bundle));
            }
            self.bundle_cause(spec, state.digest)
                .map(|cause| (cause, Content::Bundle))
        });
        if let Some(held) = slot
            && let Ok(state) = &held.content
            && misplaced(state)
            && self.is_only_copy(state)
        {
            plan.problems.push(Problem::new(
                &spec.name,
                format!("{} holds the only known copy of a root's key", held.place),
                "move it to a safe place outside the clusters first, then take it out by hand",
            ));
            return;
        }
        if let Some(held) = slot
            && let Ok(state) = &held.content
            && self.goal == &Goal::Reconcile
            && spec.role == Role::Workload
            && state.key.is_some()
        {
            // Whether the key is anywhere else is known to nobody but a person.
            plan.problems.push(Problem::new(
                &spec.name,
                format!("{} holds a private key, which nobody needs there", held.place),
                "take it out with `relay-pki bootstrap --prune-keys`, and replace the CA that it is of",
            ));
        }
        let content = slot.as_ref().map(|held| &held.content);
        let mut row = Row::new(self, spec, SecretRole::Trust, slot);
        row.prune_key = content.is_some_and(|content| content.as_ref().is_ok_and(misplaced));
        self.put(plan, row, reason);
    }

    /// Whether a key belongs to a root of ours whose key is nowhere else in reach.
    fn is_only_copy(&self, state: &TrustState) -> bool {
        let mut roots = self.journal.roots.values().map(|kept| &kept.record);
        roots.any(|root| {
            let certified = root.certificate.as_ref().map(|root| root.public_key());
            root.provider.is_none() && certified.is_some() && certified == state.key.as_ref()
        })
    }

    pub(super) fn signing(
        &self,
        plan: &mut Plan,
        spec: &ClusterSpec,
        slot: &Option<Held<TlsState>>,
    ) {
        let rotates = self.signer.is_none() || self.moves();
        // An adopted one is kept in step even if no agent needs it: somebody's server may read it.
        if !(self.server_signs || slot.is_some()) || !rotates {
            return;
        }
        if let Some(held) = slot
            && held.owner == Owner::Foreign
            && self.goal.adopts()
            && let Ok(state) = &held.content
            && matches!(state.provenance, Provenance::Foreign { .. })
            && !self.is_active(state)
        {
            plan.problems.push(Problem::new(
                &spec.name,
                format!("{} holds another working CA with its key", held.place),
                "keep a copy of it, move it away, and adopt again",
            ));
            return;
        }
        let reason = self.reason(slot, |state| {
            let content = match self.is_active(state) && self.chain_cause(state).is_none() {
                true => Content::Keep,
                false => Content::Signer,
            };
            self.signing_cause(spec, state)
                .map(|cause| (cause, content))
        });
        self.put(
            plan,
            Row::new(self, spec, SecretRole::Signing, slot),
            reason,
        );
    }

    /// Whether it is the signer in use.
    fn is_active(&self, state: &TlsState) -> bool {
        let mut signers = self.journal.signers.values().map(|kept| &kept.record);
        let active = signers.find(|signer| signer.certificate == self.signer);
        self.signer.is_some() && self.signer.as_ref() == Some(&state.leaf)
            || active.is_some_and(|active| active.cross_certificate() == Some(&state.leaf))
    }

    fn signing_cause(&self, spec: &ClusterSpec, state: &TlsState) -> Option<Cause> {
        let was_ours = || {
            let mut signers = self.journal.signers.values();
            signers.any(|kept| certificates(&kept.record).any(|known| *known == state.leaf))
        };
        match &state.provenance {
            _ if self.signer.is_none() => Some(Cause::Follows("signer")),
            // Also one that is only now taken over: its bytes stay as they are.
            _ if self.is_active(state) => self
                .chain_cause(state)
                .or_else(|| self.bundle_cause(spec, state.digest)),
            _ if was_ours() => Some(Cause::Follows("signer")),
            // A rotation replaces what it made; everything else is for bootstrap to put right.
            _ if !self.goal.converges() => None,
            Provenance::Unusable(reason) => Some(Cause::Broken(reason.clone())),
            _ => {
                let text = "it is not the active signer";
                Some(Cause::Drifted(text.to_owned()))
            }
        }
    }
}
