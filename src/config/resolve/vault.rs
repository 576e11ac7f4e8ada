use std::net::IpAddr;

use serde_saphyr::Location as Place;

use super::super::document::{
    self, AGENT_ROLE, APP_ROLE_MOUNT, KUBERNETES_MOUNT, MOUNT, SERVER_ROLE,
};
use super::super::error::ValueError;
use super::super::located::{Located, Text};
use super::super::spec::{CredentialSource, VaultAuth, VaultConfig};
use super::Resolver;
use super::source::Source;

/// Where a Pod finds the token of its service account.
const POD_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

impl Resolver<'_> {
    pub(super) fn vault(&mut self, path: &str, written: &document::Vault) -> Option<VaultConfig> {
        let address = self.value(format_args!("{path}.address"), &written.address, address);
        let mount = self.or_default(path, "mount", written.mount.as_ref(), MOUNT, mount_path);
        let namespace = self.optional(path, "namespace", written.namespace.as_ref(), mount_path);
        let root_issuer = self.optional(
            path,
            "rootIssuer",
            written.root_issuer.as_ref(),
            object_name,
        );
        let empty = document::VaultRoles::default();
        let roles = written.roles.as_ref().unwrap_or(&empty);
        let below = format!("{path}.roles");
        let (server, agent) = (roles.server.as_ref(), roles.agent.as_ref());
        let server_role = self.or_default(&below, "server", server, SERVER_ROLE, object_name);
        let agent_role = self.or_default(&below, "agent", agent, AGENT_ROLE, object_name);
        let auth = self.vault_auth(&format!("{path}.auth"), &written.auth);
        let ca_bundle = match &written.ca_bundle {
            Some(bundle) => self
                .credential(&format!("{path}.caBundle"), bundle)
                .map(Some),
            None => Some(None),
        };
        let client_certificate = match &written.client_certificate {
            Some(ours) => {
                let path = format!("{path}.clientCertificate");
                let certificate =
                    self.credential(&format!("{path}.certificate"), &ours.certificate);
                let key = self.credential(&format!("{path}.key"), &ours.key);
                certificate.zip(key).map(Some)
            }
            None => Some(None),
        };
        Some(VaultConfig {
            address: address?,
            namespace: namespace?,
            mount: mount?,
            root_issuer: root_issuer?,
            server_role: server_role?,
            agent_role: agent_role?,
            auth: auth?,
            ca_bundle: ca_bundle?,
            client_certificate: client_certificate?,
        })
    }

    fn vault_auth(
        &mut self,
        path: &str,
        written: &Located<document::VaultAuth>,
    ) -> Option<VaultAuth> {
        let document::VaultAuth {
            token,
            app_role,
            kubernetes,
        } = &written.value;
        match (token, app_role, kubernetes) {
            (Some(token), None, None) => {
                let token = self.credential(&format!("{path}.token"), token);
                token.map(VaultAuth::Token)
            }
            (None, Some(login), None) => {
                let path = format!("{path}.appRole");
                let mount = login.mount.as_ref();
                let mount = self.or_default(&path, "mount", mount, APP_ROLE_MOUNT, mount_path);
                let role_id = format!("{path}.roleId");
                let role_id = self.value(role_id, &login.role_id, object_name);
                let secret_id = self.credential(&format!("{path}.secretId"), &login.secret_id);
                Some(VaultAuth::AppRole {
                    mount: mount?,
                    role_id: role_id?,
                    secret_id: secret_id?,
                })
            }
            (None, None, Some(login)) => {
                let path = format!("{path}.kubernetes");
                let mount = login.value.mount.as_ref();
                let mount = self.or_default(&path, "mount", mount, KUBERNETES_MOUNT, mount_path);
                let role = self.value(format!("{path}.role"), &login.value.role, object_name);
                let token = match &login.value.token {
                    Some(token) => self.credential(&format!("{path}.token"), token),
                    None => self.pod_token(&path, login.at),
                };
                Some(VaultAuth::Kubernetes {
                    mount: mount?,
                    role: role?,
                    token: token?,
                })
            }
            (None, None, None) => {
                self.report(
                    Some(written.at),
                    format!("{path} does not say how to log in"),
                    "write token: …, appRole: … or kubernetes: …",
                );
                None
            }
            _ => {
                self.report(
                    Some(written.at),
                    format!("{path} says more than one way to log in"),
                    "keep one of token, appRole and kubernetes",
                );
                None
            }
        }
    }

    /// The controller's own token opens its clusters: whoever may write an object must not have it
    /// sent to a server of theirs.
    fn pod_token(&mut self, path: &str, at: Place) -> Option<CredentialSource> {
        match self.source {
            Source::Document { .. } => Some(CredentialSource::File(POD_TOKEN.into())),
            Source::Objects { .. } => {
                self.report(
                    Some(at),
                    format!("{path} names no token"),
                    "write token: { secretRef: { name: …, key: … } }",
                );
                None
            }
        }
    }

    fn or_default<K>(
        &mut self,
        path: &str,
        field: &str,
        text: Option<&Text<K>>,
        default: &str,
        read: fn(&str) -> Result<String, ValueError>,
    ) -> Option<String> {
        match text {
            Some(text) => self.value(format_args!("{path}.{field}"), text, read),
            None => Some(default.to_owned()),
        }
    }

    /// A field that may be left out; the outer option is none if it is wrong.
    fn optional<K>(
        &mut self,
        path: &str,
        field: &str,
        text: Option<&Text<K>>,
        read: fn(&str) -> Result<String, ValueError>,
    ) -> Option<Option<String>> {
        match text {
            Some(text) => self
                .value(format_args!("{path}.{field}"), text, read)
                .map(Some),
            None => Some(None),
        }
    }
}

/// `https://HOST[:PORT][/PATH]`. Whoever reads along without TLS reads the token.
fn address(text: &str) -> Result<String, ValueError> {
    let wrong = |message: &str| {
        let shown: String = text.chars().take(80).collect();
        ValueError::new(
            format!("{shown:?} {message}"),
            "write for example https://vault.example.com:8200",
        )
    };
    let url: http::Uri = text.parse().map_err(|_| wrong("is no address"))?;
    let host = url.host().unwrap_or_default();
    let plain = text.starts_with("http://");
    if !(plain || text.starts_with("https://")) || host.is_empty() {
        return Err(wrong("is no address with https://"));
    }
    if url.query().is_some() || text.contains(['@', '#', '?']) {
        return Err(wrong("has more than host, port and path"));
    }
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let loopback = match bare.parse::<IpAddr>() {
        Ok(ip) => ip.is_loopback(),
        Err(_) => host == "localhost",
    };
    match plain && !loopback {
        true => Err(wrong("would send tokens over the network without TLS")),
        false => Ok(text.trim_end_matches('/').to_owned()),
    }
}

/// `pki` or `team/pki`.
fn mount_path(text: &str) -> Result<String, ValueError> {
    match text.len() <= 255 && text.split('/').all(is_name) {
        true => Ok(text.to_owned()),
        false => Err(not_a("path in Vault", text, "pki")),
    }
}

fn object_name(text: &str) -> Result<String, ValueError> {
    match text.len() <= 255 && is_name(text) {
        true => Ok(text.to_owned()),
        false => Err(not_a("name in Vault", text, "relay-agent")),
    }
}

fn is_name(text: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.starts_with(word)
        && text.ends_with(word)
        && text.chars().all(|c| word(c) || "-.".contains(c))
}

fn not_a(what: &str, text: &str, example: &str) -> ValueError {
    let shown: String = text.chars().take(80).collect();
    ValueError::new(
        format!("{shown:?} is no {what}"),
        format!("use letters, digits, '-', '_' and '.', for example {example}"),
    )
}
