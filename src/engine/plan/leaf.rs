//! Planning of the leaves: server and client certificates.

use jiff::Timestamp;
use relay_pki_authority::x509::Validity;

use super::super::observed::{Held, Provenance, TlsState};
use super::super::step::{Cause, Content};
use super::context::Context;
use super::put::{Reason, Row};
use super::{Goal, Plan};
use crate::config::{AgentSpec, ClusterSpec};
use crate::journal::Status;
use crate::relay::{Owner, SecretRole};
use crate::rotation::presented;

impl Context<'_> {
    pub(super) fn server(
        &self,
        plan: &mut Plan,
        spec: &ClusterSpec,
        slot: &Option<Held<TlsState>>,
    ) {
        let server = &self.relay.server;
        let due = |validity: &Validity| server.due_at(&spec.name, validity);
        let row = Row::new(self, spec, SecretRole::Server, slot);
        let reason = self.leaf(&row, due, |leaf| {
            let lacking = server.names.iter().find(|name| !leaf.leaf.covers(name));
            lacking.map(|name| Cause::Changed(format!("the certificate does not cover {name}")))
        });
        self.put(plan, row, reason);
    }

    pub(super) fn client(
        &self,
        plan: &mut Plan,
        spec: &ClusterSpec,
        agent: &AgentSpec,
        slot: &Option<Held<TlsState>>,
    ) {
        let name = spec.name.as_str();
        let due = |validity: &Validity| agent.due_at(&spec.name, validity);
        let row = Row::new(self, spec, SecretRole::Client, slot);
        // Taking over changes nothing that works; afterwards a certificate names its cluster and
        // nothing else, or it could pass for another one.
        let ours = slot.as_ref().is_some_and(|held| held.owner == Owner::Us);
        let reason = self.leaf(&row, due, |leaf| {
            let names = leaf.leaf.dns_names();
            let alone = names.len() == 1 && leaf.leaf.other_names().is_empty();
            if !names.iter().any(|found| found == name) {
                let text = format!("the certificate is not for {name}");
                return Some(Cause::Broken(text));
            }
            let text = || format!("the certificate names more than {name}");
            (ours && !alone).then(|| Cause::Drifted(text()))
        });
        self.put(plan, row, reason);
    }

    /// Why a leaf has to be replaced or touched. `due_at` tells when one of its validity is due.
    fn leaf(
        &self,
        row: &Row<'_, TlsState>,
        due_at: impl Fn(&Validity) -> Timestamp,
        misnamed: impl Fn(&TlsState) -> Option<Cause>,
    ) -> Reason {
        if !self.moves() && !row.rotates {
            return Reason::Fine;
        }
        if !self.signs {
            // To ask for a certificate would only cost. What is there goes on with the rotation, which
            // brings a signer that can.
            let reason = self.reason(row.slot, |state| self.kept(row, state));
            return match reason {
                Reason::Missing | Reason::Replace(_) => Reason::Fine,
                reason => reason,
            };
        }
        let due = |state: &TlsState| {
            let at = due_at(&state.leaf.validity().ok()?);
            (at <= self.now).then_some(Cause::Due(at))
        };
        let reason = self.reason(row.slot, |state| {
            if let Some(cause) = self.rotated(row, state).filter(|_| self.moves()) {
                return Some((cause, Content::Issue));
            }
            if self.goal == &Goal::Due {
                let due = due(state).map(|cause| (cause, Content::Issue));
                return due.or_else(|| self.kept(row, state));
            }
            if let Some(cause) = self.rootless(state).or_else(|| misnamed(state)) {
                return Some((cause, Content::Issue));
            }
            if let Some(cause) = due(state).filter(|_| self.goal.renews()) {
                return Some((cause, Content::Issue));
            }
            self.kept(row, state)
        });
        reason.or_requested(row)
    }

    /// Why a leaf is touched that stays.
    fn kept(&self, row: &Row<'_, TlsState>, state: &TlsState) -> Option<(Cause, Content)> {
        if !self.moves() {
            return None;
        }
        let chain = self.chain_cause(state);
        let chain = chain.map(|cause| (cause, Content::Chain));
        let bundle = || self.bundle_cause(row.spec, state.digest);
        chain.or_else(|| bundle().map(|cause| (cause, Content::Keep)))
    }

    /// Why a rotation wants another leaf in its place.
    fn rotated(&self, row: &Row<'_, TlsState>, state: &TlsState) -> Option<Cause> {
        let rotation = self.rotation?;
        let wanted = match row.role {
            SecretRole::Server => rotation.servers(),
            _ => rotation.agent(row.spec),
        };
        let wanted = wanted?;
        (state.provenance != Provenance::Signer(wanted)).then(|| super::rotation::cause(rotation))
    }

    /// Why what leads from a certificate to the root is not what it should be.
    pub(super) fn chain_cause(&self, state: &TlsState) -> Option<Cause> {
        let Provenance::Signer(number) = state.provenance else {
            return None;
        };
        let wanted = presented(self.journal, number, self.now)?;
        let own = std::iter::once(&state.leaf).filter(|leaf| leaf.is_ca());
        let found = own.chain(state.above.iter());
        let text = "it carries certificates that are not what leads to the root now";
        let cause = || match self.rotation {
            Some(rotation) => super::rotation::cause(rotation),
            None => Cause::Drifted(text.to_owned()),
        };
        (!found.eq(&wanted)).then(cause)
    }

    /// Why nobody accepts the leaf, whatever is in it.
    fn rootless(&self, state: &TlsState) -> Option<Cause> {
        match &state.provenance {
            Provenance::Unusable(reason) => Some(Cause::Broken(reason.clone())),
            // Whatever is there, no root that it could lead to will be in any bundle.
            _ if self.bundle.is_none() => Some(Cause::Follows("root")),
            Provenance::Signer(number) if self.is_given_up(*number) => {
                Some(Cause::Drifted(format!("signer g{number} is given up")))
            }
            Provenance::Foreign { anchor } if !self.anchors.contains(anchor) => {
                let text = "it leads to a root that is not published";
                Some(Cause::Broken(text.to_owned()))
            }
            _ => None,
        }
    }

    fn is_given_up(&self, signer: u32) -> bool {
        let kept = self.journal.signers.get(&signer);
        kept.is_some_and(|kept| matches!(kept.record.status, Status::Retired | Status::Tainted))
    }
}
