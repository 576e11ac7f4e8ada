use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde_saphyr::Location as Place;

use super::super::document::{self, KUBECONFIG_KEY};
use super::super::error::ValueError;
use super::super::located::Located;
use super::super::names;
use super::super::spec::Location;
use super::Resolver;
use super::source::Source;

/// A cluster and where it is written.
type Owner<'a> = (Place, &'a str);

/// The places that clusters have.
#[derive(Default)]
pub(super) struct Taken<'a> {
    directories: BTreeMap<PathBuf, Owner<'a>>,
    /// Those in Kubernetes, with the namespace.
    namespaces: BTreeMap<(Location, String), Owner<'a>>,
}

impl Resolver<'_> {
    /// Where a cluster is: exactly one of the ways to say it.
    pub(super) fn location(
        &mut self,
        path: &str,
        cluster: &document::Cluster,
        at: Place,
    ) -> Option<Location> {
        let written = [
            ("directory", cluster.directory.as_ref().map(|text| text.at)),
            (
                "kubeconfig",
                cluster.kubeconfig.as_ref().map(|part| part.at),
            ),
            ("inCluster", cluster.in_cluster.as_ref().map(|part| part.at)),
        ];
        let written: Vec<(&str, Place)> = written
            .into_iter()
            .filter_map(|(field, at)| Some((field, at?)))
            .collect();
        match (written.as_slice(), self.source) {
            ([], source) => {
                self.report(
                    Some(at),
                    format!("{path} does not say where the cluster is"),
                    format!("write {}", source.accesses()),
                );
                None
            }
            ([(one, _), (other, at), ..], _) => {
                self.report(
                    Some(*at),
                    format!("{path} says twice where the cluster is: {one} and {other}"),
                    "keep one of them",
                );
                None
            }
            (_, source) => match (&cluster.directory, &cluster.kubeconfig, source) {
                (Some(text), _, Source::Document { base }) => {
                    let read =
                        |text: &str| usable_path("directory", text).map(|()| base.join(text));
                    let directory = self.value(format_args!("{path}.directory"), text, read)?;
                    Some(Location::Directory(directory))
                }
                (Some(text), _, Source::Objects { .. }) => {
                    self.only_in_documents(text.at, &format!("{path}.directory"))
                }
                (None, Some(kubeconfig), _) => {
                    self.kubeconfig(&format!("{path}.kubeconfig"), kubeconfig)
                }
                (None, None, _) => Some(Location::InCluster),
            },
        }
    }

    /// Nowhere that relay-pki would have to reach: the cluster's agent enrols.
    pub(super) fn no_location(
        &mut self,
        path: &str,
        cluster: &document::Cluster,
    ) -> Option<Location> {
        let written = [
            ("directory", cluster.directory.as_ref().map(|text| text.at)),
            (
                "kubeconfig",
                cluster.kubeconfig.as_ref().map(|part| part.at),
            ),
            ("inCluster", cluster.in_cluster.as_ref().map(|part| part.at)),
        ];
        for (field, at) in written {
            if let Some(at) = at {
                self.report(
                    Some(at),
                    format!(
                        "{path}.{field} has no effect: the agent of this cluster enrols, and \
                         relay-pki does not reach for the cluster"
                    ),
                    "remove it, or write delivery: push",
                );
                return None;
            }
        }
        Some(Location::Enrolled)
    }

    pub(super) fn kubeconfig(
        &mut self,
        path: &str,
        written: &Located<document::Kubeconfig>,
    ) -> Option<Location> {
        let document::Kubeconfig {
            file,
            context,
            secret_ref,
        } = &written.value;
        let context_at = context.as_ref().map(|text| text.at);
        let local_at = file.as_ref().map(|text| text.at).or(context_at);
        match (secret_ref, local_at, self.source) {
            (Some(secret), Some(_), Source::Document { .. }) => {
                self.report(
                    Some(secret.name.at),
                    format!("{path} is both a Secret and a kubeconfig of yours"),
                    "write either secretRef, or file and context",
                );
                None
            }
            (_, Some(at), Source::Objects { .. }) => {
                let field = if file.is_some() { "file" } else { "context" };
                self.only_in_documents(at, &format!("{path}.{field}"))
            }
            (Some(secret), None, _) => self.kubeconfig_secret(path, secret),
            (None, None, Source::Objects { .. }) => {
                self.report(
                    Some(written.at),
                    format!("{path} names no Secret"),
                    "write secretRef: { name: … }",
                );
                None
            }
            (None, _, Source::Document { base }) => {
                let file = match file {
                    Some(text) => Some(self.value(format_args!("{path}.file"), text, |text| {
                        usable_path("file", text).map(|()| base.join(text))
                    })?),
                    None => None,
                };
                let context = match context {
                    Some(text) => {
                        Some(self.value(format_args!("{path}.context"), text, context_name)?)
                    }
                    None => None,
                };
                Some(Location::Kubeconfig { file, context })
            }
        }
    }

    fn kubeconfig_secret(&mut self, path: &str, secret: &document::SecretRef) -> Option<Location> {
        let path = format!("{path}.secretRef");
        let name = self.value(format_args!("{path}.name"), &secret.name, names::secret);
        let key = match &secret.key {
            Some(text) => self.value(format_args!("{path}.key"), text, names::data_key),
            None => Some(KUBECONFIG_KEY.to_owned()),
        };
        Some(Location::KubeconfigSecret {
            name: name?,
            key: key?,
        })
    }

    fn only_in_documents<T>(&mut self, at: Place, field: &str) -> Option<T> {
        let message = format!("{field} is for documents only");
        self.report(
            Some(at),
            message,
            format!("write {}", self.source.accesses()),
        );
        None
    }

    /// Notes that a cluster is at `location`, and reports it if another one is there already: each
    /// would take the other's certificate for a foreign one, for ever.
    pub(super) fn take<'w>(
        &mut self,
        location: &Location,
        namespace: &str,
        cluster: &'w document::Cluster,
        taken: &mut Taken<'w>,
    ) {
        let written = [
            cluster.directory.as_ref().map(|text| text.at),
            cluster.kubeconfig.as_ref().map(|part| part.at),
            cluster.in_cluster.as_ref().map(|part| part.at),
        ];
        let at = written.into_iter().flatten().next();
        let at = at.unwrap_or(cluster.name.at);
        let owner = (at, cluster.name.text.as_str());
        let earlier = match location {
            // Out of reach, nobody can be taken for somebody else.
            Location::Enrolled => None,
            Location::Directory(directory) => taken.directories.insert(normal(directory), owner),
            location => {
                let location = match location.clone() {
                    Location::Kubeconfig { file, context } => Location::Kubeconfig {
                        file: file.map(|file| normal(&file)),
                        context,
                    },
                    location => location,
                };
                let place = (location, namespace.to_owned());
                taken.namespaces.insert(place, owner)
            }
        };
        let Some((earlier, other)) = earlier else {
            return;
        };
        let (what, hint) = match (location, &cluster.directory) {
            (Location::Directory(_), Some(text)) => (
                format!("the directory {:?}", text.text),
                "give each cluster its own directory",
            ),
            (location, _) => (
                format!("namespace {namespace:?} of {location}"),
                "name another cluster, or another namespace in it",
            ),
        };
        let line = match self.source {
            Source::Document { .. } => format!(" in line {}", earlier.line()),
            Source::Objects { .. } => String::new(),
        };
        self.report(
            Some(at),
            format!("{what} is already that of cluster {other:?}{line}"),
            hint,
        );
    }

    /// Reports directories inside one another: reading one cluster would find the other's objects.
    pub(super) fn nested(&mut self, taken: &Taken<'_>) {
        // Paths are ordered part by part: what is inside a directory follows it at once.
        let mut outer: Option<(&PathBuf, &str)> = None;
        for (path, (at, name)) in &taken.directories {
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
}

pub(super) fn usable_path(what: &str, text: &str) -> Result<(), ValueError> {
    if text.is_empty() || text.contains('\0') {
        return Err(ValueError::new(
            format!("the {what} has no usable name"),
            match what {
                "directory" => {
                    "write the directory of the cluster's manifests, for example clusters/mgmt"
                }
                _ => "write the kubeconfig file, for example kubeconfigs/mgmt.yaml",
            },
        ));
    }
    if what == "file" && (text == "~" || text.starts_with("~/")) {
        return Err(ValueError::new(
            format!("{text:?} starts with ~, which means nothing here"),
            "write the whole path",
        ));
    }
    Ok(())
}

fn context_name(text: &str) -> Result<String, ValueError> {
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err(ValueError::new(
            "the context has no usable name",
            "write one that `kubectl config get-contexts` shows, or leave context out",
        ));
    }
    Ok(text.to_owned())
}

/// A path as it is compared with others. That is not how it is opened: `a/../b` is not `b` if `a` is
/// a symbolic link, so only the comparison leaves `a/..` out.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
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
    normal
}
