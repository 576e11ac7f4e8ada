//! A relay from objects of the API instead of a document, by the same rules: one object for the
//! relay, one for each cluster. A cluster that is refused is left out, and blocks no other.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use serde_saphyr::Location as Place;

use super::super::document;
use super::super::error::{ConfigError, Problem};
use super::super::located::Located;
use super::super::names;
use super::super::schema::{ObjectSchemas, object_schemas};
use super::super::spec::{ClusterSpec, Relay, Role};
use super::super::structure;
use super::super::{parser_options, yaml_problem};
use super::clusters::Seen;
use super::source::Source;
use super::{Frame, Resolver};

/// Name of the management cluster that the objects lie in, if no object says another.
const MANAGEMENT: &str = "management";

/// A relay as an object of the API says it.
#[derive(Debug, Clone, Copy)]
pub struct RelayObject<'a> {
    /// The object's name.
    pub name: &'a str,
    /// The object's namespace: that of the relay secrets in the cluster that it lies in.
    pub namespace: &'a str,
    /// The `spec` of the document, without `clusters`.
    pub spec: &'a Map<String, Value>,
}

/// A cluster as an object of the API says it.
#[derive(Debug, Clone, Copy)]
pub struct ClusterObject<'a> {
    /// The object's name, which is the cluster's.
    pub name: &'a str,
    /// The fields of a cluster of the document, without `name`; `role` is `workload` by default.
    pub spec: &'a Map<String, Value>,
}

/// A relay from objects.
#[derive(Debug, Clone)]
pub struct Assembled {
    /// The relay. Its first cluster is the one that the objects lie in.
    pub relay: Relay,
    /// The clusters that are refused, with everything that is wrong with each.
    pub rejected: BTreeMap<String, Vec<Problem>>,
}

/// Resolves objects by the rules of the document.
///
/// Of two clusters that are one, the one that comes first in `clusters` is kept. The cluster that
/// the objects lie in belongs to the relay also where none of them says so: as a management cluster
/// without an agent, named `management`. An object with `role: management` and `inCluster: {}` says
/// more about it; while that is refused, the cluster stays under its name, without an agent.
///
/// # Errors
///
/// Everything that is wrong with the relay itself.
pub fn assemble(
    relay: RelayObject<'_>,
    clusters: &[ClusterObject<'_>],
) -> Result<Assembled, ConfigError> {
    let source = Source::Objects {
        namespace: relay.namespace,
    };
    let mut resolver = Resolver::new(format!("Relay {}", relay.name), source);
    let frame = resolver.relay_object(&relay);
    let frame = match frame {
        Some(frame) if resolver.problems.is_empty() => frame,
        _ => return Err(ConfigError::new(resolver.problems)),
    };
    let mut fleet = Fleet {
        source,
        frame: &frame,
        rejected: BTreeMap::new(),
    };
    let home_object = clusters
        .iter()
        .find(|cluster| is_home(cluster, relay.namespace));
    // What is written has to outlive what is seen of it.
    let home_written = home_object.and_then(|object| fleet.read(object));
    let stand_ins: Vec<_> = home_object
        .map(|object| object.name)
        .into_iter()
        .chain([MANAGEMENT])
        .filter_map(|name| fleet.stand_in(name))
        .collect();
    let written: Vec<_> = clusters
        .iter()
        .filter(|cluster| home_object.is_none_or(|home| home.name != cluster.name))
        .filter_map(|cluster| Some((cluster.name, fleet.read(cluster)?)))
        .collect();

    let mut seen = Seen::default();
    let mut home = match (&home_written, home_object) {
        (Some(written), Some(object)) => fleet.resolve(object.name, written, &mut seen),
        _ => None,
    };
    for stand_in in &stand_ins {
        if home.is_none() {
            seen = Seen::default();
            let name = stand_in.value.name.text.as_str();
            home = Resolver::new(subject(name), source).cluster(0, stand_in, &frame, &mut seen);
        }
    }
    let Some(home) = home else {
        // Its name is right, and so is its place: what is left is wrong with the relay.
        let message = "the cluster that the objects lie in cannot be part of this relay";
        resolver.report(None, message, "name it with a RelayCluster");
        return Err(ConfigError::new(resolver.problems));
    };
    let mut resolved = Vec::with_capacity(written.len() + 1);
    resolved.push(home.clone());
    for (name, written) in &written {
        if *name == home.name.as_str() {
            fleet.reject_namesake(name);
        } else {
            resolved.extend(fleet.resolve(name, written, &mut seen));
        }
    }
    let rejected = fleet.rejected;
    let Some(relay) = frame.relay(resolved, home) else {
        return Err(ConfigError::new(resolver.problems));
    };
    Ok(Assembled { relay, rejected })
}

/// Whether the object is about the cluster, and the namespace, that it lies in.
fn is_home(cluster: &ClusterObject<'_>, namespace: &str) -> bool {
    let text = |field: &str| cluster.spec.get(field).and_then(Value::as_str);
    text("role") == Some(Role::Management.as_str())
        && cluster.spec.get("inCluster").is_some_and(Value::is_object)
        && text("namespace").is_none_or(|own| own == namespace)
}

fn subject(cluster: &str) -> String {
    format!("RelayCluster {cluster}")
}

impl Resolver<'_> {
    fn relay_object(&mut self, relay: &RelayObject<'_>) -> Option<Frame> {
        let name = match names::label("name", relay.name) {
            Ok(name) => Some(name.to_owned()),
            Err(error) => {
                let message = format!("metadata.name: {}", error.message);
                self.report(None, message, error.hint);
                None
            }
        };
        let added = [("clusters", json!([]))];
        match read::<document::Spec>(relay.spec, &added, &self.subject, |all| &all.relay) {
            Ok(spec) => Some(self.frame(name, &spec.value, spec.at)),
            Err(problems) => {
                self.problems.extend(problems);
                None
            }
        }
    }
}

/// The clusters, one at a time.
struct Fleet<'a> {
    source: Source<'a>,
    frame: &'a Frame,
    rejected: BTreeMap<String, Vec<Problem>>,
}

impl Fleet<'_> {
    fn read(&mut self, cluster: &ClusterObject<'_>) -> Option<Located<document::Cluster>> {
        let mut added = vec![("name", Value::from(cluster.name))];
        if !cluster.spec.contains_key("role") {
            added.push(("role", Role::Workload.as_str().into()));
        }
        match read(cluster.spec, &added, &subject(cluster.name), |all| {
            &all.cluster
        }) {
            Ok(written) => Some(written),
            Err(problems) => {
                self.reject(cluster.name, problems);
                None
            }
        }
    }

    /// The cluster that the objects lie in, if nothing can be read about it.
    fn stand_in(&self, name: &str) -> Option<Located<document::Cluster>> {
        let added = [
            ("name", Value::from(name)),
            ("role", Role::Management.as_str().into()),
            ("inCluster", json!({})),
        ];
        read(&Map::new(), &added, &subject(name), |all| &all.cluster).ok()
    }

    fn resolve<'w>(
        &mut self,
        name: &str,
        written: &'w Located<document::Cluster>,
        seen: &mut Seen<'w>,
    ) -> Option<ClusterSpec> {
        let mut resolver = Resolver::new(subject(name), self.source);
        let cluster = resolver.cluster(0, written, self.frame, seen);
        match cluster {
            Some(cluster) if resolver.problems.is_empty() => Some(cluster),
            _ => {
                self.reject(name, resolver.problems);
                None
            }
        }
    }

    fn reject(&mut self, name: &str, problems: Vec<Problem>) {
        let problems = ConfigError::new(problems).problems().to_vec();
        self.rejected
            .entry(name.to_owned())
            .or_default()
            .extend(problems);
    }

    fn reject_namesake(&mut self, name: &str) {
        let mut resolver = Resolver::new(subject(name), self.source);
        resolver.report(
            None,
            format!("{name:?} is the name of the cluster that the objects lie in"),
            "give this cluster another name, or write role: management and inCluster: {} if it is \
             that one",
        );
        self.reject(name, resolver.problems);
    }
}

/// Reads `fields` with `added` ones as a part of a document. As text, because the document's types
/// read scalars as they are written, not as what a format takes them for.
fn read<T: DeserializeOwned>(
    fields: &Map<String, Value>,
    added: &[(&str, Value)],
    subject: &str,
    schema: fn(&ObjectSchemas) -> &Value,
) -> Result<Located<T>, Vec<Problem>> {
    let mut whole = fields.clone();
    // What has its own place in an object is no field of its spec.
    let mut misplaced = false;
    for (field, value) in added {
        misplaced |= whole.insert((*field).to_owned(), value.clone()).is_some();
    }
    let text = Value::Object(whole).to_string();
    let error = match serde_saphyr::from_str_with_options(&text, parser_options()) {
        Ok(value) if !misplaced => {
            return Ok(Located {
                value,
                at: Place::UNKNOWN,
            });
        }
        Ok(_) => None,
        Err(error) => Some(error),
    };
    // A fleet of broken objects asks for them once each.
    static SCHEMAS: LazyLock<ObjectSchemas> =
        LazyLock::new(|| object_schemas(SchemaSettings::draft2020_12()));
    let text = Value::Object(fields.clone()).to_string();
    let problems = match structure::problems_of_part(&text, subject, "spec", schema(&SCHEMAS)) {
        Ok(problems) if !problems.is_empty() => problems,
        _ => error
            .iter()
            .map(|error| yaml_problem(error, subject))
            .collect(),
    };
    // The text is ours: nobody knows its lines.
    Err(problems
        .into_iter()
        .map(|problem| Problem {
            line: None,
            column: None,
            ..problem
        })
        .collect())
}
