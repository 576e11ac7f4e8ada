//! Where a verb learns what should be: from a document, or from the objects of an API server.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::error::CliError;
use super::exit::Exit;
use super::output::Output;
use crate::cluster::{Access, KubernetesCluster, LockName};
use crate::clusters::{self, Opener};
use crate::config::{Problem, Relay};
use crate::crd::Stored;
use crate::engine::Fleet;

/// The document where none is named.
const DOCUMENT: &str = "relay.yaml";
/// Names the document where no argument does.
const DOCUMENT_VARIABLE: &str = "RELAY_PKI_FILE";

/// A Relay object in place of a document.
#[derive(Debug, clap::Args)]
pub(super) struct Source {
    /// Work on this Relay object of a management cluster, in place of a document
    #[arg(long, global = true, value_name = "NAME")]
    relay: Option<String>,
    /// With --relay: the context of the management cluster; by default the current one
    #[arg(long, global = true, requires = "relay", value_name = "CONTEXT")]
    context: Option<String>,
    /// With --relay: the kubeconfig; by default KUBECONFIG, or ~/.kube/config
    #[arg(long, global = true, requires = "relay", value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// With --relay: the namespace of the Relay; by default gloo-mesh
    #[arg(short, long, global = true, requires = "relay")]
    namespace: Option<String>,
}

/// A management cluster, and a namespace of it.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct ObjectSource {
    /// The context of the management cluster; by default the current one
    #[arg(long, value_name = "CONTEXT")]
    pub(super) context: Option<String>,
    /// The kubeconfig of the management cluster; by default KUBECONFIG, or ~/.kube/config
    #[arg(long, value_name = "FILE")]
    pub(super) kubeconfig: Option<PathBuf>,
    /// The namespace of the Relay
    #[arg(short, long, default_value = NAMESPACE)]
    pub(super) namespace: String,
}

/// Gloo's own.
const NAMESPACE: &str = "gloo-mesh";

impl ObjectSource {
    pub(super) fn access(&self) -> Access {
        Access::File {
            file: self.kubeconfig.clone(),
            context: self.context.clone(),
        }
    }

    /// The management cluster, to read objects from.
    pub(super) fn management(&self) -> KubernetesCluster {
        let lock = LockName {
            lease: "relay-pki-objects".to_owned(),
            identity: super::identity(),
        };
        KubernetesCluster::new("management", &self.namespace, self.access(), lock)
    }
}

/// What a verb works on.
pub(super) struct Opened {
    pub(super) fleet: Fleet,
    rejected: BTreeMap<String, Vec<Problem>>,
}

impl Source {
    /// Everything that the engine needs. `file` is the document that an argument names.
    pub(super) async fn open(
        &self,
        file: Option<&Path>,
        output: &Output,
    ) -> Result<Opened, CliError> {
        let Some(relay) = &self.relay else {
            let relay = document(file)?;
            let opener = Opener::by_hand(&super::identity());
            let clusters = clusters::open(&relay, &opener)?;
            return Ok(Opened {
                fleet: super::fleet(relay, clusters, &opener),
                rejected: BTreeMap::new(),
            });
        };
        if file.is_some() {
            return Err(CliError::usage(
                "--file and --relay exclude each other",
                "keep the one that says what should be",
            ));
        }
        let source = ObjectSource {
            context: self.context.clone(),
            kubeconfig: self.kubeconfig.clone(),
            namespace: self
                .namespace
                .clone()
                .unwrap_or_else(|| NAMESPACE.to_owned()),
        };
        let stored = Stored::read(&source.management(), &source.namespace, Some(relay)).await?;
        let assembled = stored.assemble()?;
        if stored.relay.spec.suspend {
            output.note("note: the Relay is suspended; only the controller obeys that");
        }
        for problem in assembled.rejected.values().flatten() {
            output.note(&format!("left out: {problem}"));
        }
        let opener = Opener {
            identity: super::identity(),
            in_cluster: source.access(),
        };
        let clusters = opener.open_all(&assembled.relay);
        Ok(Opened {
            fleet: super::fleet(assembled.relay, clusters, &opener),
            rejected: assembled.rejected,
        })
    }
}

impl Opened {
    /// How a verb ends that did its part: what was left out is not done.
    pub(super) fn exit(&self, exit: Exit) -> Exit {
        match exit {
            Exit::Done | Exit::Changes if !self.rejected.is_empty() => Exit::Incomplete,
            exit => exit,
        }
    }

    /// The clusters that were left out, with what is wrong with their objects.
    pub(super) fn left_out(&self) -> impl Iterator<Item = (&str, String)> {
        self.rejected.iter().map(|(cluster, problems)| {
            let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
            (cluster.as_str(), problems.join("; "))
        })
    }
}

/// Reads the document.
pub(super) fn document(file: Option<&Path>) -> Result<Relay, CliError> {
    let variable = || std::env::var_os(DOCUMENT_VARIABLE).map(PathBuf::from);
    let file = file.map(Path::to_owned).or_else(variable);
    let file = file.unwrap_or_else(|| PathBuf::from(DOCUMENT));
    Relay::load(&file).map_err(|error| CliError {
        exit: Exit::Usage,
        what: error.to_string(),
        fix: match file.exists() {
            true => Some("`relay-pki schema` prints what a document may contain".to_owned()),
            false => Some("name the document with --file FILE".to_owned()),
        },
    })
}
