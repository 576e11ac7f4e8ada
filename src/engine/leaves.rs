//! The leaves of a cluster and when they are due: the same for everything that tells of them.

use jiff::Timestamp;
use relay_pki_authority::x509::Validity;

use super::observed::{ClusterState, Held, TlsState};
use crate::config::{ClusterSpec, Delivery, Relay, Role};
use crate::relay::SecretRole;

/// A certificate that a cluster presents in handshakes, or should.
#[derive(Debug, Clone)]
pub struct LeafSlot<'a> {
    /// Which one.
    pub role: SecretRole,
    /// What is there.
    pub held: Option<&'a Held<TlsState>>,
    /// Whether relay-pki makes and renews it; otherwise the relay server and the agent do.
    pub pushed: bool,
    /// When it is due, if it is there and relay-pki renews it.
    pub due: Option<Timestamp>,
}

impl<'a> LeafSlot<'a> {
    fn new(
        role: SecretRole,
        slot: &'a Option<Held<TlsState>>,
        due_at: Option<impl FnOnce(&Validity) -> Timestamp>,
    ) -> Self {
        let mut slot = Self {
            role,
            held: slot.as_ref(),
            pushed: due_at.is_some(),
            due: None,
        };
        slot.due = due_at
            .zip(slot.validity())
            .map(|(due, issued)| due(&issued));
        slot
    }

    /// What is there, if it can be read.
    pub fn content(&self) -> Option<&'a TlsState> {
        self.held?.content.as_ref().ok()
    }

    /// The validity of what is there.
    pub fn validity(&self) -> Option<Validity> {
        self.content()?.leaf.validity().ok()
    }
}

/// The leaves that belong into a cluster.
pub fn leaves<'a>(
    relay: &Relay,
    spec: &ClusterSpec,
    state: &'a ClusterState,
) -> impl Iterator<Item = LeafSlot<'a>> {
    let server = (spec.role == Role::Management).then(|| {
        let due = |validity: &Validity| relay.server.due_at(&spec.name, validity);
        LeafSlot::new(SecretRole::Server, &state.server, Some(due))
    });
    let client = spec.agent.as_ref().map(|agent| {
        let due = |validity: &Validity| agent.due_at(&spec.name, validity);
        let due = (agent.delivery == Delivery::Push).then_some(due);
        LeafSlot::new(SecretRole::Client, &state.client, due)
    });
    server.into_iter().chain(client)
}
