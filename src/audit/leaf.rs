//! The certificates that are presented in handshakes.

use relay_pki_authority::x509::{Certificate, PeerRole};

use super::authorities::Authorities;
use super::finding::{Place, Renewal};
use super::inventory::{About, Chain, ClusterFacts, Inventory};
use super::report::TreeLeaf;
use crate::config::{Delivery, Role};
use crate::relay::SecretRole;

/// A server's or an agent's certificate, and where it is.
pub(super) struct Leaf<'a> {
    pub(super) facts: &'a ClusterFacts,
    pub(super) about: &'a About,
    pub(super) role: PeerRole,
    pub(super) chain: &'a Chain,
    /// Its issuer, if its certificate is anywhere in the fleet.
    pub(super) issuer: Option<usize>,
}

impl<'a> Leaf<'a> {
    pub(super) fn certificate(&self) -> &'a Certificate {
        &self.chain.leaf
    }

    pub(super) fn place(&self) -> Place<'a> {
        let agent = self.facts.spec.agent.as_ref();
        let delivery = agent.map(|agent| agent.delivery);
        Place {
            renewal: match (self.role, delivery) {
                (PeerRole::Server, _) => Renewal::Server,
                (PeerRole::Client, Some(Delivery::ServerSigned)) => Renewal::ServerSigned,
                (PeerRole::Client, _) => Renewal::Agent,
            },
            ..Place::new(self.facts.name(), &self.about.place)
        }
    }

    pub(super) fn in_tree(&self) -> TreeLeaf<'_> {
        let cluster = self.facts.name();
        TreeLeaf {
            name: match self.role {
                PeerRole::Server => format!("server ({cluster})"),
                PeerRole::Client => format!("agent {cluster}"),
            },
            place: self.place(),
            certificate: self.certificate(),
            issuer: self.issuer,
        }
    }

    /// For messages: the same in every cluster.
    pub(super) fn name(&self) -> String {
        format!("{} in {}", role_name(self.role), self.about.name)
    }
}

/// For messages.
pub(super) fn role_name(role: PeerRole) -> &'static str {
    match role {
        PeerRole::Server => "the server certificate",
        PeerRole::Client => "the client certificate",
    }
}

/// Every leaf of the fleet. A Secret in a place where it does not belong is not presented to
/// anybody.
pub(super) fn leaves<'a>(inventory: &'a Inventory, authorities: &Authorities) -> Vec<Leaf<'a>> {
    let mut leaves = Vec::with_capacity(inventory.clusters.len());
    for facts in &inventory.clusters {
        for (role, secret) in facts.tls() {
            let role = match role {
                SecretRole::Server if facts.spec.role == Role::Management => PeerRole::Server,
                SecretRole::Client if facts.spec.agent.is_some() => PeerRole::Client,
                _ => continue,
            };
            if let Some(chain) = secret.content.chain.here() {
                let hint = chain.signed_by.as_ref();
                leaves.push(Leaf {
                    facts,
                    about: &secret.about,
                    role,
                    chain,
                    issuer: authorities.issuer_of(&chain.leaf, hint),
                });
            }
        }
    }
    leaves
}
