use std::collections::BTreeMap;

use serde_saphyr::Location as Place;

use super::super::document;
use super::super::error::ValueError;
use super::super::lifetimes::MIN_LEAF;
use super::super::located::{Located, Text};
use super::super::names::{self, ClusterName, SecretNames};
use super::super::spec::{AgentSpec, ClusterSpec, Delivery, Location, RelayServer, Role, Tokens};
use super::location::Taken;
use super::{Frame, Lifetime, Resolver, Setting};

/// What each cluster has for itself, as far as clusters were looked at.
#[derive(Default)]
pub(super) struct Seen<'a> {
    names: BTreeMap<&'a str, Place>,
    pub(super) taken: Taken<'a>,
}

impl Resolver<'_> {
    /// The clusters of a document and the first management cluster of them.
    pub(super) fn clusters(
        &mut self,
        written: &Located<Vec<Located<document::Cluster>>>,
        frame: &Frame,
    ) -> Option<(Vec<ClusterSpec>, ClusterSpec)> {
        if written.value.is_empty() {
            self.report(
                Some(written.at),
                "spec.clusters is empty",
                "write at least - { name: mgmt, role: management, directory: clusters/mgmt }",
            );
            return None;
        }
        let mut clusters = Vec::with_capacity(written.value.len());
        let mut seen = Seen::default();
        for (index, cluster) in written.value.iter().enumerate() {
            clusters.extend(self.cluster(index, cluster, frame, &mut seen));
        }
        self.nested(&seen.taken);
        let role = |cluster: &Located<document::Cluster>| cluster.value.role.text.parse::<Role>();
        let home = |cluster: &&Located<document::Cluster>| role(cluster) == Ok(Role::Management);
        match written.value.iter().find(home) {
            Some(home) => self.check_home(&home.value),
            // A wrong role may have been meant to be that of the management cluster.
            None if written.value.iter().any(|cluster| role(cluster).is_err()) => {}
            None => self.report(
                Some(written.at),
                "spec.clusters has no management cluster",
                "write role: management for the cluster that the relay server runs in",
            ),
        }
        let home = clusters
            .iter()
            .find(|cluster| cluster.role == Role::Management);
        let home = home?.clone();
        Some((clusters, home))
    }

    /// One cluster; none if something is wrong with it.
    pub(super) fn cluster<'w>(
        &mut self,
        index: usize,
        written: &'w Located<document::Cluster>,
        frame: &Frame,
        seen: &mut Seen<'w>,
    ) -> Option<ClusterSpec> {
        let path = self.source.cluster_path(index);
        let name_path = self.source.name_path(&path);
        let (at, cluster) = (written.at, &written.value);
        let name = self.value(&name_path, &cluster.name, str::parse::<ClusterName>);
        if let Some(earlier) = seen
            .names
            .insert(cluster.name.text.as_str(), cluster.name.at)
        {
            self.report(
                Some(cluster.name.at),
                format!(
                    "the cluster {:?} is already in line {}",
                    cluster.name.text,
                    earlier.line()
                ),
                "give each cluster its own name",
            );
        }
        let role = self.value(
            format_args!("{path}.role"),
            &cluster.role,
            str::parse::<Role>,
        );
        let enrolls = role == Some(Role::Workload) && self.enrolls(cluster, frame);
        let location = match enrolls {
            true => self.no_location(&path, cluster),
            false => self.location(&path, cluster, at),
        };
        let namespace = match (&cluster.namespace, &location) {
            (Some(text), _) => self.value(format_args!("{path}.namespace"), text, |text| {
                names::label("name", text).map(str::to_owned)
            }),
            // Beside the objects are the relay secrets of the cluster that they lie in.
            (None, Some(Location::InCluster)) if !self.source.has_places() => {
                Some(self.source.namespace().to_owned())
            }
            (None, _) => frame.namespace.clone(),
        };
        if let Some(location) = &location {
            let namespace = namespace.as_deref().unwrap_or_default();
            self.take(location, namespace, cluster, &mut seen.taken);
        }
        let agent = match (role, &name) {
            (Some(role), Some(name)) => self.agent(&path, cluster, at, role, name, frame),
            _ => None,
        };
        let relay_server = self.relay_server(&path, cluster.relay_server.as_ref(), role);
        Some(ClusterSpec {
            relay_server: relay_server?,
            name: name?,
            role: role?,
            agent: agent?,
            location: location?,
            namespace: namespace?,
        })
    }

    /// How a relay server can be reached. None if something is wrong with it.
    fn relay_server(
        &mut self,
        path: &str,
        written: Option<&Located<document::RelayServer>>,
        role: Option<Role>,
    ) -> Option<RelayServer> {
        let Some(Located { at, value }) = written else {
            return Some(RelayServer::default());
        };
        if role == Some(Role::Workload) {
            self.report(
                Some(*at),
                format!("{path}.relayServer: no relay server runs in a workload cluster"),
                "remove it, or write it for the management cluster that the server runs in",
            );
            return None;
        }
        let path = format!("{path}.relayServer");
        let address = self.optional(&path, "address", &value.address, str::parse);
        let metrics = self.optional(&path, "metrics", &value.metrics, str::parse);
        Some(RelayServer {
            address: address?,
            metrics: metrics?,
        })
    }

    /// Whether the agent of a workload cluster enrols. What cannot be read is reported elsewhere.
    fn enrolls(&self, cluster: &document::Cluster, frame: &Frame) -> bool {
        match &cluster.delivery {
            Some(text) => text.text.parse() == Ok(Delivery::Enroll),
            None => frame.agents.delivery == Some(Delivery::Enroll),
        }
    }

    /// The first management cluster has to be found without any other.
    fn check_home(&mut self, home: &document::Cluster) {
        let kubeconfig = home.kubeconfig.as_ref();
        let secret = kubeconfig.and_then(|kubeconfig| kubeconfig.value.secret_ref.as_ref());
        if let Some(secret) = secret {
            self.report(
                Some(secret.name.at),
                format!(
                    "the kubeconfig of {:?}, the first management cluster, cannot be in a Secret: \
                     that is where the Secrets are looked up",
                    home.name.text
                ),
                "write kubeconfig: { context: … }, inCluster: {} or directory: …",
            );
        }
    }

    /// The agent of a cluster, if it has one. None if something is wrong with it.
    fn agent(
        &mut self,
        path: &str,
        cluster: &document::Cluster,
        at: Place,
        role: Role,
        name: &ClusterName,
        frame: &Frame,
    ) -> Option<Option<AgentSpec>> {
        let present = match (role, &cluster.agent) {
            (Role::Management, Some(text)) => {
                self.value(format_args!("{path}.agent"), text, |word| {
                    word.parse().map_err(|_| {
                        let shown: String = word.chars().take(40).collect();
                        ValueError::new(
                            format!("{shown:?} is neither true nor false"),
                            "write true or false",
                        )
                    })
                })?
            }
            (Role::Management, None) => false,
            (Role::Workload, None) => true,
            (Role::Workload, Some(text)) => {
                self.report(
                    Some(text.at),
                    format!("{path}.agent: a workload cluster always has an agent"),
                    "remove it; agent is for management clusters",
                );
                true
            }
        };
        if !present {
            self.check_no_agent(path, cluster);
            return Some(None);
        }
        let delivery = match (&cluster.delivery, frame.agents.delivery, role) {
            (Some(text), ..) => self.value(format_args!("{path}.delivery"), text, str::parse),
            // The agent beside the server is in reach.
            (None, Some(Delivery::Enroll), Role::Management) => Some(Delivery::Push),
            (None, delivery, _) => delivery,
        };
        if let (Some(text), Some(Delivery::Enroll), Role::Management) =
            (&cluster.delivery, delivery, role)
        {
            self.report(
                Some(text.at),
                format!(
                    "{path}.delivery: the agent beside the server is in reach and need not enrol"
                ),
                "write delivery: push",
            );
        }
        let validity = match &cluster.validity {
            Some(text) => self.agent_validity(path, text, delivery, frame),
            None => frame.agents.validity,
        };
        let (template, template_at) = match (&cluster.client_secret, &frame.secrets) {
            (Some(text), _) => (text.text.as_str(), Some(text.at)),
            (None, Some(secrets)) => (secrets.client.as_str(), frame.client_at),
            (None, None) => return None,
        };
        let client_secret = match names::client_secret(template, name) {
            Ok(client_secret) => {
                let at = cluster.client_secret.as_ref().map(|text| text.at);
                if at.is_some() {
                    self.reserved(at, &format!("{path}.clientSecret"), &client_secret);
                }
                client_secret
            }
            Err(error) => {
                let message = format!("{path}: {}", error.message);
                self.report(template_at.or(Some(at)), message, error.hint);
                return None;
            }
        };
        if let Some(secrets) = &frame.secrets {
            let in_use = secrets_in(role, secrets, frame.tokens);
            let mut in_use = in_use.into_iter().flatten();
            if let Some((other, _)) = in_use.find(|(_, name)| *name == client_secret) {
                self.same_secret(template_at.or(Some(at)), "client", other, &client_secret);
            }
        }
        Some(Some(AgentSpec {
            delivery: delivery?,
            validity: validity?.value,
            key_type: frame.agents.key_type?,
            renewal: frame.agents.renewal.as_ref()?.renewal.clone(),
            client_secret,
        }))
    }

    fn agent_validity(
        &mut self,
        path: &str,
        text: &Text<Lifetime>,
        delivery: Option<Delivery>,
        frame: &Frame,
    ) -> Option<Setting<Lifetime>> {
        if delivery == Some(Delivery::ServerSigned) {
            self.report(
                Some(text.at),
                format!("{path}.validity has no effect: the relay server signs this agent itself"),
                "remove it, or write delivery: push",
            );
        }
        let validity = self.lifetime(path, Some(text), MIN_LEAF, MIN_LEAF)?;
        let otherwise = text.at;
        self.check_leaf(path, Some(validity), frame.above, otherwise);
        self.check_schedule(
            path,
            Some(validity),
            frame.agents.renewal.as_ref(),
            Some(text.at),
        );
        Some(validity)
    }

    /// Refuses what only an agent could have.
    fn check_no_agent(&mut self, path: &str, cluster: &document::Cluster) {
        let written = [
            ("delivery", cluster.delivery.as_ref().map(|text| text.at)),
            ("validity", cluster.validity.as_ref().map(|text| text.at)),
            (
                "clientSecret",
                cluster.client_secret.as_ref().map(|text| text.at),
            ),
        ];
        for (field, at) in written {
            if let Some(at) = at {
                self.report(
                    Some(at),
                    format!("{path}.{field} has no effect: no agent runs in this cluster"),
                    "remove it, or write agent: true",
                );
            }
        }
    }
}

/// The secrets in a cluster of this role beside the agent's.
fn secrets_in(
    role: Role,
    secrets: &SecretNames,
    tokens: Tokens,
) -> [Option<(&'static str, &str)>; 5] {
    let management = role == Role::Management;
    [
        Some(("root", secrets.root.as_str())),
        management.then_some(("signing", secrets.signing.as_str())),
        management.then_some(("server", secrets.server.as_str())),
        Some(("identityToken", secrets.identity_token.as_str())),
        tokens
            .forwarding
            .then_some(("forwardingToken", secrets.forwarding_token.as_str())),
    ]
}
