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
        let namespace = self.optional(path, "namespace", &written.namespace, mount_path);
        let root_issuer = self.optional(path, "rootIssuer", &written.root_issuer, object_name);
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
}

/// `https://HOST[:PORT][/PATH]`. Whoever reads along without TLS reads the token.
fn address(text: &str) -> Result<String, ValueError> {
    const EXAMPLE: &str = "write for example https://vault.example.com:8200";
    if text.contains(['@', '#', '?']) {
        // Not a word of it: there may be a password in it.
        let message = "the address has more than host, port and path";
        return Err(ValueError::new(message, EXAMPLE));
    }
    let wrong = |message: &str| {
        let shown: String = text.chars().take(80).collect();
        ValueError::new(format!("{shown:?} {message}"), EXAMPLE)
    };
    let url: http::Uri = text.parse().map_err(|_| wrong("is no address"))?;
    let host = url.host().unwrap_or_default();
    let plain = text.starts_with("http://");
    if !(plain || text.starts_with("https://")) || host.is_empty() {
        return Err(wrong("is no address with https://"));
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{ProviderConfig, Relay, RelayObject, assemble};

    fn parse(vault: &str) -> Result<VaultConfig, String> {
        let text = format!(
            "apiVersion: relay-pki.dev/v1alpha1\nkind: Relay\nmetadata: {{ name: prod }}\nspec:\n  \
             providers:\n    corp:\n      vault: {{ {vault} }}\n  clusters:\n    - {{ name: mgmt, role: \
             management, directory: mgmt }}\n"
        );
        let relay = Relay::parse(&text, "relay.yaml", Path::new("/fleet"));
        let relay = relay.map_err(|error| error.to_string())?;
        match relay.providers.into_values().next() {
            Some(ProviderConfig::Vault(config)) => Ok(*config),
            _ => Err("no Vault".to_owned()),
        }
    }

    #[test]
    fn what_is_left_out_has_a_default() {
        let config = parse("address: 'https://v/', auth: { token: { env: T } }").unwrap();
        let wanted = VaultConfig {
            address: "https://v".to_owned(),
            namespace: None,
            mount: "pki".to_owned(),
            root_issuer: None,
            server_role: "relay-server".to_owned(),
            agent_role: "relay-agent".to_owned(),
            auth: VaultAuth::Token(CredentialSource::Environment("T".to_owned())),
            ca_bundle: None,
            client_certificate: None,
        };
        assert_eq!(config, wanted);
    }

    #[test]
    fn everything_is_taken_over() {
        let config = parse(
            "address: 'http://127.0.0.1:8200/a', namespace: team/a, mount: team/pki, rootIssuer: corp, \
             roles: { server: s, agent: a }, caBundle: { file: ca.pem }, \
             clientCertificate: { certificate: { file: c }, key: { secretRef: { name: n, key: k } } }, \
             auth: { kubernetes: { mount: k8s, role: r } }",
        );
        let config = config.unwrap();
        assert_eq!(config.address, "http://127.0.0.1:8200/a");
        assert_eq!(config.namespace.as_deref(), Some("team/a"));
        assert_eq!(config.mount, "team/pki");
        assert_eq!(config.root_issuer.as_deref(), Some("corp"));
        assert_eq!((&*config.server_role, &*config.agent_role), ("s", "a"));
        let file = |path: &str| CredentialSource::File(path.into());
        assert_eq!(config.ca_bundle, Some(file("/fleet/ca.pem")));
        let key = CredentialSource::Secret {
            name: "n".to_owned(),
            key: "k".to_owned(),
        };
        assert_eq!(config.client_certificate, Some((file("/fleet/c"), key)));
        let login = VaultAuth::Kubernetes {
            mount: "k8s".to_owned(),
            role: "r".to_owned(),
            token: file(POD_TOKEN),
        };
        assert_eq!(config.auth, login);
    }

    /// Whoever may write an object must not get what lies beside the controller.
    #[test]
    fn objects_name_secrets_only() {
        let spec = |auth: serde_json::Value| {
            let vault = serde_json::json!({ "address": "https://v", "auth": auth });
            serde_json::json!({ "providers": { "corp": { "vault": vault } } })
        };
        let read = |auth: serde_json::Value| {
            let spec = spec(auth);
            let relay = RelayObject {
                name: "prod",
                namespace: "gloo-mesh",
                spec: spec.as_object().unwrap(),
            };
            let read = assemble(relay, &[]);
            read.map(|_| ()).map_err(|error| error.to_string())
        };
        let kept = serde_json::json!({ "secretRef": { "name": "n", "key": "k" } });
        read(serde_json::json!({ "token": kept })).unwrap();
        read(serde_json::json!({ "kubernetes": { "role": "r", "token": kept } })).unwrap();
        for auth in [
            serde_json::json!({ "token": { "file": "/etc/passwd" } }),
            serde_json::json!({ "token": { "env": "AWS_SECRET_ACCESS_KEY" } }),
            serde_json::json!({ "kubernetes": { "role": "r" } }),
        ] {
            let refused = read(auth.clone()).unwrap_err();
            assert!(refused.contains("secretRef"), "{auth}: {refused}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused_where_it_is_written() {
        let token = "auth: { token: { env: T } }";
        for (vault, wanted) in [
            (
                format!("address: 'http://vault:8200', {token}"),
                "without TLS",
            ),
            (format!("address: 'ftp://vault', {token}"), "no address"),
            (
                format!("address: 'https://u:p@vault', {token}"),
                "host, port and path",
            ),
            (
                format!("address: 'https://v?a=b', {token}"),
                "host, port and path",
            ),
            (
                format!("address: 'https://v', mount: '../sys', {token}"),
                "no path in Vault",
            ),
            (
                format!("address: 'https://v', mount: 'pki//x', {token}"),
                "no path in Vault",
            ),
            (
                format!("address: 'https://v', roles: {{ agent: 'a/../b' }}, {token}"),
                "no name in Vault",
            ),
            ("address: 'https://v', auth: {}".to_owned(), "how to log in"),
            (
                "address: 'https://v', auth: { token: { env: T }, kubernetes: { role: r } }"
                    .to_owned(),
                "more than one way",
            ),
        ] {
            let refused = parse(&vault).unwrap_err();
            assert!(refused.contains(wanted), "{vault}: {refused}");
            assert!(refused.contains("relay.yaml:"), "{refused}");
            assert!(!refused.contains("u:p@"), "{refused}");
        }
    }
}
