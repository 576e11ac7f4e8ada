//! The provider of Vault, with what it needs of us.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use relay_pki_authority::Credential;
use relay_pki_vault::{Auth, ClientCertificate, Lifetimes, Roles, Uses, Vault, VaultConfig};

use super::Surroundings;
use crate::config::{self, CredentialSource, Relay};
use crate::credential;

/// Longest that one call may take: three of them fit into the time that a step has.
const TIMEOUT: Duration = Duration::from_secs(9);

pub(super) fn open(
    name: &str,
    config: &config::VaultConfig,
    surroundings: &Surroundings<'_>,
) -> Vault {
    let Surroundings { relay, home, .. } = *surroundings;
    let kept =
        |source: &CredentialSource| -> Arc<dyn Credential> { credential::open(source, home) };
    let client_certificate = config.client_certificate.as_ref();
    Vault::new(
        name,
        VaultConfig {
            address: config.address.clone(),
            namespace: config.namespace.clone(),
            mount: config.mount.clone(),
            root_issuer: config.root_issuer.clone(),
            roles: Roles {
                server: config.server_role.clone(),
                agent: config.agent_role.clone(),
            },
            auth: match &config.auth {
                config::VaultAuth::Token(token) => Auth::Token(kept(token)),
                config::VaultAuth::AppRole {
                    mount,
                    role_id,
                    secret_id,
                } => Auth::AppRole {
                    mount: mount.clone(),
                    role_id: role_id.clone(),
                    secret_id: kept(secret_id),
                },
                config::VaultAuth::Kubernetes { mount, role, token } => Auth::Kubernetes {
                    mount: mount.clone(),
                    role: role.clone(),
                    token: kept(token),
                },
            },
            ca_bundle: config.ca_bundle.as_ref().map(kept),
            client_certificate: client_certificate.map(|(certificate, key)| ClientCertificate {
                certificate: kept(certificate),
                key: kept(key),
            }),
            uses: uses(relay, name),
            timeout: TIMEOUT,
        },
    )
}

fn uses(relay: &Relay, name: &str) -> Uses {
    let seconds = |lifetime: SignedDuration| lifetime.unsigned_abs();
    let agents = relay.agents();
    let agents = agents.map(|(_, agent)| seconds(agent.validity.duration()));
    Uses {
        relay: relay.name.clone(),
        root: relay.root.provider == name,
        signer: (relay.signer.provider == name).then(|| Lifetimes {
            server: seconds(relay.server.validity.duration()),
            agent: agents.max(),
        }),
    }
}
