use super::error::CliError;
use super::exit::Exit;
use super::output::Output;
use super::run::{self, Common, Order};
use super::source::Opened;
use crate::engine::Goal;

/// Arguments of `bootstrap`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    common: Common,
    /// Take over Secrets that exist already, without changing what live agents rely on
    #[arg(long)]
    adopt: bool,
    /// Take private keys out of the trust Secrets of workload clusters
    #[arg(long, conflicts_with = "adopt")]
    prune_keys: bool,
}

pub(super) async fn run(
    arguments: &Arguments,
    opened: &Opened,
    output: &Output,
) -> Result<Exit, CliError> {
    let goal = Goal::Bootstrap {
        adopt: arguments.adopt,
        prune_keys: arguments.prune_keys,
    };
    run::run(opened, goal, Order::Nothing, &arguments.common, output).await
}
