use kube::ResourceExt as _;
use serde::Serialize;

use super::super::error::CliError;
use super::super::exit::Exit;
use super::super::output::{Format, Output, columns};
use super::super::source::ObjectSource;
use crate::config::{Assembled, ClusterSpec};
use crate::crd::Stored;

/// Arguments of `cluster list`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    source: ObjectSource,
    /// The Relay; by default the only one of the namespace
    #[arg(long, value_name = "NAME")]
    relay: Option<String>,
    /// The form of the result
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ListView {
    api_version: &'static str,
    kind: &'static str,
    relay: String,
    clusters: Vec<ClusterView>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ClusterView {
    name: String,
    role: Option<String>,
    namespace: Option<String>,
    location: Option<String>,
    /// Status of the condition `Ready`.
    ready: Option<String>,
    /// What is wrong with the object.
    problems: Vec<String>,
}

pub(super) async fn run(arguments: &Arguments, output: &Output) -> Result<Exit, CliError> {
    let management = arguments.source.management();
    let namespace = &arguments.source.namespace;
    let stored = Stored::read(&management, namespace, arguments.relay.as_deref()).await?;
    let assembled = stored.assemble()?;
    let view = ListView::new(&stored, &assembled);
    output.data(arguments.output, &view, ListView::table)?;
    Ok(match assembled.rejected.is_empty() {
        true => Exit::Done,
        false => Exit::Incomplete,
    })
}

impl ListView {
    fn new(stored: &Stored, assembled: &Assembled) -> Self {
        let good = assembled.relay.clusters.iter();
        let mut clusters: Vec<ClusterView> =
            good.map(|spec| ClusterView::of(stored, spec)).collect();
        for (name, problems) in &assembled.rejected {
            let problems = problems.iter().map(ToString::to_string).collect();
            let known = clusters.iter_mut().find(|cluster| cluster.name == *name);
            match known {
                Some(cluster) => cluster.problems = problems,
                None => clusters.push(ClusterView {
                    name: name.clone(),
                    role: None,
                    namespace: None,
                    location: None,
                    ready: ready(stored, name),
                    problems,
                }),
            }
        }
        Self {
            api_version: "relay-pki/v1",
            kind: "ClusterList",
            relay: stored.relay.name_any(),
            clusters,
        }
    }

    fn table(&self) -> String {
        let shown = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let rows: Vec<Vec<String>> = self
            .clusters
            .iter()
            .map(|cluster| {
                vec![
                    cluster.name.clone(),
                    shown(&cluster.ready),
                    shown(&cluster.role),
                    shown(&cluster.namespace),
                    shown(&cluster.location),
                ]
            })
            .collect();
        let header = ["CLUSTER", "READY", "ROLE", "NAMESPACE", "WHERE"];
        let mut text = columns(&header, &rows);
        for problem in self.clusters.iter().flat_map(|cluster| &cluster.problems) {
            text.push_str(problem);
            text.push('\n');
        }
        text
    }
}

impl ClusterView {
    fn of(stored: &Stored, spec: &ClusterSpec) -> Self {
        Self {
            name: spec.name.to_string(),
            role: Some(spec.role.to_string()),
            namespace: Some(spec.namespace.clone()),
            location: Some(spec.location.to_string()),
            ready: ready(stored, spec.name.as_str()),
            problems: Vec::new(),
        }
    }
}

fn ready(stored: &Stored, name: &str) -> Option<String> {
    let status = stored.cluster(name)?.status.as_ref()?;
    let mut conditions = status.conditions.iter();
    let ready = conditions.find(|condition| condition.type_ == "Ready")?;
    Some(ready.status.clone())
}
