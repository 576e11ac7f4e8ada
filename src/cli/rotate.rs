use std::collections::BTreeSet;

use clap::Subcommand;

use super::error::CliError;
use super::exit::Exit;
use super::output::Output;
use super::run::{self, Common};
use crate::config::Delivery;
use crate::engine::{Fleet, Goal};
use crate::journal::Scope;

/// Arguments of `rotate`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The client certificates of the named clusters
    Agent {
        /// Names of clusters
        #[arg(required = true, value_name = "CLUSTER")]
        clusters: Vec<String>,
        #[command(flatten)]
        common: Common,
    },
    /// Every agent's client certificate
    Agents(Common),
    /// The relay server's certificates
    Server(Common),
    /// The signer: a new key and certificate under the same root
    Signer(Common),
    /// The identity and forwarding tokens, in every cluster
    Tokens(Common),
    /// Whatever is due by renewal time and schedule; made for a crontab
    Due(Common),
}

pub(super) async fn run(
    arguments: &Arguments,
    fleet: &Fleet,
    output: &Output,
) -> Result<Exit, CliError> {
    let (scopes, common): (Vec<Scope>, _) = match &arguments.what {
        What::Agent { clusters, common } => {
            let mut scopes = Vec::new();
            for cluster in clusters {
                pushed_agent(fleet, cluster)?;
                scopes.push(Scope::Agent(cluster.clone()));
            }
            (scopes, common)
        }
        What::Agents(common) => (vec![Scope::Agents], common),
        What::Server(common) => (vec![Scope::Server], common),
        What::Signer(common) => (vec![Scope::Signer], common),
        What::Tokens(common) => (vec![Scope::Tokens], common),
        What::Due(common) => return run::run(fleet, Goal::Due, None, common, output).await,
    };
    let scopes: BTreeSet<Scope> = scopes.into_iter().collect();
    let goal = Goal::Rotate(scopes.clone());
    run::run(fleet, goal, Some(scopes), common, output).await
}

/// Whether `cluster` has an agent whose certificate we make.
fn pushed_agent(fleet: &Fleet, cluster: &str) -> Result<(), CliError> {
    let spec = fleet
        .relay
        .clusters
        .iter()
        .find(|spec| spec.name.as_str() == cluster);
    let Some(spec) = spec else {
        return Err(CliError::usage(
            format!("relay {} has no cluster {cluster}", fleet.relay.name),
            "`relay-pki status` lists the clusters",
        ));
    };
    match &spec.agent {
        None => Err(CliError::usage(
            format!("no agent runs in the management cluster {cluster}"),
            "write `agent: true` for it if one should",
        )),
        Some(agent) if agent.delivery == Delivery::ServerSigned => Err(CliError::usage(
            format!("the relay server signs the certificate of {cluster} itself"),
            format!(
                "delete {} there and restart the agent, or `relay-pki rotate signer` to change \
                 what the server signs with",
                agent.client_secret
            ),
        )),
        Some(agent) if agent.delivery == Delivery::Enroll => Err(CliError::usage(
            format!("the agent of {cluster} keeps its own key and renews its certificate itself"),
            "`relay-pki revoke` keeps it out",
        )),
        Some(_) => Ok(()),
    }
}
