//! Which Secret is called what in which cluster.

use super::SecretRole;
use crate::config::{ClusterSpec, Relay, Role};

/// The name of the Secret with `role` in a cluster.
pub fn secret_name(relay: &Relay, spec: &ClusterSpec, role: SecretRole) -> String {
    let names = &relay.secrets;
    match (role, &spec.agent) {
        (SecretRole::Trust, _) => names.root.clone(),
        (SecretRole::IdentityToken, _) => names.identity_token.clone(),
        (SecretRole::ForwardingToken, _) => names.forwarding_token.clone(),
        (SecretRole::Signing, _) => names.signing.clone(),
        (SecretRole::Server, _) => names.server.clone(),
        (SecretRole::Client, Some(agent)) => agent.client_secret.clone(),
        (SecretRole::Client, None) => names.client.clone(),
    }
}

/// The Secrets that can be in a cluster, with their names.
pub fn secret_names(relay: &Relay, spec: &ClusterSpec) -> Vec<(SecretRole, String)> {
    let mut roles = vec![
        SecretRole::Trust,
        SecretRole::IdentityToken,
        SecretRole::ForwardingToken,
    ];
    if spec.role == Role::Management {
        roles.extend([SecretRole::Signing, SecretRole::Server]);
    }
    if spec.agent.is_some() {
        roles.push(SecretRole::Client);
    }
    roles
        .into_iter()
        .map(|role| (role, secret_name(relay, spec, role)))
        .collect()
}
