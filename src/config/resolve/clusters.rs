use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde_saphyr::Location as Place;

use super::super::document;
use super::super::error::ValueError;
use super::super::located::{Located, Text};
use super::super::names::{self, ClusterName, SecretNames};
use super::super::spec::{AgentSpec, ClusterSpec, Delivery, Location, Role, Tokens};
use super::leaves::AgentDefaults;
use super::{Lifetime, MIN_LEAF, Resolver, Setting};

/// What the clusters are resolved with; none what could not be read.
pub(super) struct Fleet<'a> {
    /// Relative directories start here.
    pub(super) base: &'a Path,
    /// The relay's namespace.
    pub(super) namespace: &'a str,
    pub(super) agents: AgentDefaults,
    pub(super) signer_validity: Option<Setting<Lifetime>>,
    pub(super) secrets: Option<&'a SecretNames>,
    /// Where the client secret is named.
    pub(super) client_at: Option<Place>,
    pub(super) tokens: Tokens,
}

impl Resolver<'_> {
    /// The clusters and the first management cluster of them.
    pub(super) fn clusters(
        &mut self,
        written: &Located<Vec<Located<document::Cluster>>>,
        fleet: &Fleet<'_>,
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
        let mut roles_known = true;
        let mut names = BTreeMap::new();
        let mut directories = BTreeMap::new();
        for (index, cluster) in written.value.iter().enumerate() {
            let path = format!("spec.clusters[{index}]");
            let (at, cluster) = (cluster.at, &cluster.value);
            let name = self.value(
                format_args!("{path}.name"),
                &cluster.name,
                str::parse::<ClusterName>,
            );
            if let Some(earlier) = names.insert(cluster.name.text.as_str(), cluster.name.at) {
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
            roles_known &= role.is_some();
            let directory = self.value(format_args!("{path}.directory"), &cluster.directory, |d| {
                directory(fleet.base, d)
            });
            if let Some((_, normal)) = &directory {
                let place = (cluster.directory.at, cluster.name.text.as_str());
                if let Some((earlier, other)) = directories.insert(normal.clone(), place) {
                    self.report(
                        Some(cluster.directory.at),
                        format!(
                            "the directory {:?} is already that of cluster {other:?} in line {}",
                            cluster.directory.text,
                            earlier.line()
                        ),
                        "give each cluster its own directory",
                    );
                }
            }
            let agent = match (role, &name) {
                (Some(role), Some(name)) => self.agent(&path, cluster, at, role, name, fleet),
                _ => None,
            };
            if let (Some(name), Some(role), Some((directory, _)), Some(agent)) =
                (name, role, directory, agent)
            {
                clusters.push(ClusterSpec {
                    name,
                    role,
                    agent,
                    location: Location::Directory(directory),
                    namespace: fleet.namespace.to_owned(),
                });
            }
        }
        self.nested(&directories);
        let home = clusters
            .iter()
            .find(|cluster| cluster.role == Role::Management);
        let managed = written
            .value
            .iter()
            .any(|cluster| cluster.value.role.text.parse() == Ok(Role::Management));
        if roles_known && !managed {
            self.report(
                Some(written.at),
                "spec.clusters has no management cluster",
                "write role: management for the cluster that the relay server runs in",
            );
        }
        let home = home?.clone();
        Some((clusters, home))
    }

    /// Reports directories inside one another: reading one cluster would find the other's objects.
    fn nested(&mut self, directories: &BTreeMap<PathBuf, (Place, &str)>) {
        // Paths are ordered part by part: what is inside a directory follows it at once.
        let mut outer: Option<(&PathBuf, &str)> = None;
        for (path, (at, name)) in directories {
            match outer {
                Some((parent, other)) if path.starts_with(parent) => self.report(
                    Some(*at),
                    format!("the directory of cluster {name:?} is inside that of {other:?}"),
                    "put the directories beside each other",
                ),
                _ => outer = Some((path, name)),
            }
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
        fleet: &Fleet<'_>,
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
        let delivery = match &cluster.delivery {
            Some(text) => self.value(format_args!("{path}.delivery"), text, str::parse),
            None => fleet.agents.delivery,
        };
        let validity = match &cluster.validity {
            Some(text) => self.agent_validity(path, text, delivery, fleet),
            None => fleet.agents.validity,
        };
        let (template, template_at) = match (&cluster.client_secret, fleet.secrets) {
            (Some(text), _) => (text.text.as_str(), Some(text.at)),
            (None, Some(secrets)) => (secrets.client.as_str(), fleet.client_at),
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
        if let Some(secrets) = fleet.secrets {
            let in_use = secrets_in(role, secrets, fleet.tokens);
            let mut in_use = in_use.into_iter().flatten();
            if let Some((other, _)) = in_use.find(|(_, name)| *name == client_secret) {
                self.same_secret(template_at.or(Some(at)), "client", other, &client_secret);
            }
        }
        Some(Some(AgentSpec {
            delivery: delivery?,
            validity: validity?.value,
            key_type: fleet.agents.key_type?,
            renewal: fleet.agents.renewal.as_ref()?.renewal.clone(),
            client_secret,
        }))
    }

    fn agent_validity(
        &mut self,
        path: &str,
        text: &Text<Lifetime>,
        delivery: Option<Delivery>,
        fleet: &Fleet<'_>,
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
        let issuer = fleet.signer_validity;
        self.check_inside(path, Some(validity), "spec.signer", issuer, otherwise);
        self.check_schedule(
            path,
            Some(validity),
            fleet.agents.renewal.as_ref(),
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

/// The directory as it is opened, and as it is compared with others. The two differ: `a/../b` is
/// not `b` if `a` is a symbolic link, so only the comparison leaves `a/..` out.
fn directory(base: &Path, text: &str) -> Result<(PathBuf, PathBuf), ValueError> {
    if text.is_empty() || text.contains('\0') {
        return Err(ValueError::new(
            "the directory has no usable name",
            "write the directory of the cluster's manifests, for example clusters/mgmt",
        ));
    }
    let opened = base.join(text);
    let mut normal = PathBuf::new();
    for component in opened.components() {
        let below = matches!(normal.components().next_back(), Some(Component::Normal(_)));
        match component {
            Component::CurDir => {}
            Component::ParentDir if below => {
                normal.pop();
            }
            Component::ParentDir if normal.has_root() => {}
            component => normal.push(component),
        }
    }
    Ok((opened, normal))
}
