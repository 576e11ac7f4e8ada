//! `relay-pki cluster`.

mod enroll;
mod list;
mod register;
mod unregister;
mod view;

use std::path::PathBuf;

use clap::Subcommand;

use super::error::CliError;
use super::exit::Exit;
use super::output::Output;
use crate::cluster::Access;
use crate::config::ClusterName;

/// Arguments of `cluster`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Give the controller access to a workload cluster, with the least rights
    Register(register::Arguments),
    /// Take back what `register` made; the relay Secrets stay
    Unregister(unregister::Arguments),
    /// Show the RelayClusters of a Relay
    List(list::Arguments),
}

pub(super) async fn run(arguments: &Arguments, output: &Output) -> Result<Exit, CliError> {
    match &arguments.what {
        What::Register(verb) => register::run(verb, output).await,
        What::Unregister(verb) => unregister::run(verb, output).await,
        What::List(verb) => list::run(verb, output).await,
    }
}

/// The management cluster and the Relay in it.
#[derive(Debug, clap::Args)]
struct Management {
    /// The context of the management cluster; by default the current one
    #[arg(long, value_name = "CONTEXT")]
    management_context: Option<String>,
    /// The kubeconfig of the management cluster; by default KUBECONFIG, or ~/.kube/config
    #[arg(long, value_name = "FILE")]
    management_kubeconfig: Option<PathBuf>,
    /// The namespace of the Relay in the management cluster
    #[arg(short, long, default_value = "gloo-mesh")]
    namespace: String,
    /// The Relay; by default the only one of the namespace
    #[arg(long, value_name = "NAME")]
    relay: Option<String>,
}

impl Management {
    fn access(&self) -> Access {
        Access::File {
            file: self.management_kubeconfig.clone(),
            context: self.management_context.clone(),
        }
    }
}

/// The workload cluster.
#[derive(Debug, clap::Args)]
struct Workload {
    /// The context of the workload cluster; by default the current one
    #[arg(long, value_name = "CONTEXT")]
    context: Option<String>,
    /// The kubeconfig of the workload cluster; by default KUBECONFIG, or ~/.kube/config
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
}

impl Workload {
    fn access(&self) -> Access {
        Access::File {
            file: self.kubeconfig.clone(),
            context: self.context.clone(),
        }
    }
}

fn name(text: &str) -> Result<ClusterName, CliError> {
    text.parse()
        .map_err(|error: crate::config::ValueError| CliError::usage(error.message, error.hint))
}
