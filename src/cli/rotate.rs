use std::collections::BTreeSet;

use clap::Subcommand;
use relay_pki_authority::Level;

use super::error::CliError;
use super::exit::Exit;
use super::output::Output;
use super::run::{self, Common, Order};
use super::source::Opened;
use crate::config::Delivery;
use crate::engine::{Fleet, Goal};
use crate::journal::{Scope, Why};
use crate::rotation::Request;

/// Arguments of `rotate`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    what: What,
}

/// A rotation in phases.
#[derive(Debug, clap::Args)]
struct Staged {
    /// Begin without asking
    #[arg(long)]
    yes: bool,
    /// Clusters that go through all phases before the others are touched
    #[arg(long, value_name = "CLUSTER", num_args = 1..)]
    canary: Vec<String>,
    /// The old root is compromised: give it up at once. With --yes and --accept-outage
    #[arg(long, requires = "yes", requires = "accept_outage")]
    emergency: bool,
    /// With --emergency: agents that do not follow at once cannot connect
    #[arg(long, requires = "emergency")]
    accept_outage: bool,
    #[command(flatten)]
    common: Common,
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
    /// The root, with a new signer under it: phase by phase, with nobody noticing
    Root(Staged),
    /// The signer: a new key and certificate under the same root, phase by phase
    Signer(Staged),
    /// The identity and forwarding tokens, in every cluster
    Tokens(Common),
    /// Whatever is due by renewal time and schedule; made for a crontab
    Due(Common),
}

pub(super) async fn run(
    arguments: &Arguments,
    opened: &Opened,
    output: &Output,
) -> Result<Exit, CliError> {
    let fleet = &opened.fleet;
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
        What::Tokens(common) => (vec![Scope::Tokens], common),
        What::Due(common) => {
            return run::run(opened, Goal::Due, Order::Nothing, common, output).await;
        }
        What::Root(staged) => return stage(opened, Level::Root, staged, output).await,
        What::Signer(staged) => return stage(opened, Level::Signer, staged, output).await,
    };
    let scopes: BTreeSet<Scope> = scopes.into_iter().collect();
    let goal = Goal::Rotate(scopes.clone());
    run::run(opened, goal, Order::Scopes(scopes), common, output).await
}

/// Begins a rotation in phases, or goes on with it.
async fn stage(
    opened: &Opened,
    level: Level,
    staged: &Staged,
    output: &Output,
) -> Result<Exit, CliError> {
    if level == Level::Root && !staged.yes && !staged.common.dry_run {
        return Err(CliError {
            exit: Exit::Refused,
            what: "a rotation of the root touches every cluster".to_owned(),
            fix: Some(
                "look at it with `relay-pki rotate root --dry-run`, then say --yes".to_owned(),
            ),
        });
    }
    let request = Request {
        level,
        by: super::person(),
        why: Why::Requested,
        canary: staged.canary.clone(),
        emergency: staged.emergency,
    };
    run::run(
        opened,
        Goal::Rotation,
        Order::Begin(request),
        &staged.common,
        output,
    )
    .await
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
