//! Planning of the leaves: server and client certificates.

use jiff::Timestamp;
use relay_pki_authority::x509::Validity;

use super::super::observed::{Held, Provenance, TlsState};
use super::super::step::{Cause, Content};
use super::context::Context;
use super::put::{Reason, Row};
use super::{Goal, Plan};
use crate::config::{AgentSpec, ClusterSpec};
use crate::relay::{Owner, SecretRole};

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
        if !self.goal.converges() && !row.rotates {
            return Reason::Fine;
        }
        let due = |state: &TlsState| {
            let at = due_at(&state.leaf.validity().ok()?);
            (at <= self.now).then_some(Cause::Due(at))
        };
        let reason = self.reason(row.slot, |state| {
            if self.goal == &Goal::Due {
                return due(state).map(|cause| (cause, Content::Issue));
            }
            if let Some(cause) = self.rootless(state).or_else(|| misnamed(state)) {
                return Some((cause, Content::Issue));
            }
            if let Some(cause) = due(state).filter(|_| self.goal.renews()) {
                return Some((cause, Content::Issue));
            }
            self.bundle_cause(state.digest)
                .filter(|_| self.goal.converges())
                .map(|cause| (cause, Content::Keep))
        });
        reason.or_requested(row)
    }

    /// Why nobody accepts the leaf, whatever is in it.
    fn rootless(&self, state: &TlsState) -> Option<Cause> {
        match &state.provenance {
            Provenance::Unusable(reason) => Some(Cause::Broken(reason.clone())),
            // Whatever is there, no root that it could lead to will be in any bundle.
            _ if self.bundle.is_none() => Some(Cause::Follows("root")),
            Provenance::Foreign { anchor } if !self.anchors.contains(anchor) => {
                let text = "it leads to a root that is not published";
                Some(Cause::Broken(text.to_owned()))
            }
            _ => None,
        }
    }
}
