//! `relay-pki controller`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use super::error::CliError;
use super::exit::Exit;
use super::interrupt::interruptible;
use super::logging::LogFormat;
use crate::clock::SystemClock;
use crate::cluster::Access;
use crate::controller::{self, ControllerError, Enrolment, Options};
use crate::metrics::Metrics;

/// Arguments of `controller`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The namespace whose Relay and RelayCluster objects are kept; the Lease is there too
    #[arg(long, env = "POD_NAMESPACE", default_value = "gloo-mesh")]
    namespace: String,
    /// What Events and other replicas call this process; by default the host's name
    #[arg(long, value_name = "NAME", env = "POD_NAME")]
    identity: Option<String>,
    /// Where metrics (/metrics) and health (/healthz, /readyz) are served
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    listen: SocketAddr,
    /// Where agents enrol over EST; without it they cannot. Every replica serves
    #[arg(long, value_name = "ADDRESS")]
    enrolment_listen: Option<SocketAddr>,
    /// The Relay whose agents enrol; by default the only one of the namespace
    #[arg(long, value_name = "NAME", requires = "enrolment_listen")]
    enrolment_relay: Option<String>,
    /// Whether each workload cluster has metrics of its own; otherwise they are told as counts and minima
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    per_cluster_metrics: bool,
    /// The form of the logs
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = LogFormat::Json)]
    pub(super) log_format: LogFormat,
    /// A kubeconfig, where this does not run in a Pod
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The context in the kubeconfig
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
}

pub(super) async fn run(arguments: &Arguments) -> Result<Exit, CliError> {
    let (cancel, signalled) = interruptible()?;
    let access = access(&arguments.kubeconfig, &arguments.context);
    let options = Options {
        namespace: arguments.namespace.clone(),
        identity: arguments.identity.clone().unwrap_or_else(super::host),
        access,
        listen: arguments.listen,
        enrolment: arguments.enrolment_listen.map(|listen| Enrolment {
            listen,
            relay: arguments.enrolment_relay.clone(),
        }),
        clock: Arc::new(SystemClock),
        metrics: Arc::new(Metrics::new(arguments.per_cluster_metrics)),
    };
    match controller::run(options, cancel).await {
        // To be told to end is no failure of a service.
        Ok(()) => match signalled() {
            Exit::Terminated => Ok(Exit::Done),
            exit => Ok(exit),
        },
        Err(ControllerError::Cluster(error)) => Err(error.into()),
        Err(error) => Err(CliError::failed(error.to_string())),
    }
}

/// How a service reaches the cluster that it is for.
pub(super) fn access(kubeconfig: &Option<PathBuf>, context: &Option<String>) -> Access {
    let in_pod = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
    match (kubeconfig, context) {
        (None, None) if in_pod => Access::InCluster,
        (file, context) => Access::File {
            file: file.clone(),
            context: context.clone(),
        },
    }
}
