use super::super::error::CliError;
use super::super::exit::Exit;
use super::super::output::{Format, Output};
use super::view::{Kind, View};
use super::{Management, Workload, name};
use crate::registration::{self, Removal};

/// Arguments of `cluster unregister`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The name of the cluster
    name: String,
    #[command(flatten)]
    workload: Workload,
    #[command(flatten)]
    management: Management,
    /// Show what would be deleted and write nothing
    #[arg(long)]
    dry_run: bool,
    /// The form of the result
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

pub(super) async fn run(arguments: &Arguments, output: &Output) -> Result<Exit, CliError> {
    let removal = Removal {
        name: name(&arguments.name)?,
        workload: arguments.workload.access(),
        management: arguments.management.access(),
        namespace: arguments.management.namespace.clone(),
        relay: arguments.management.relay.clone(),
        dry_run: arguments.dry_run,
        identity: super::super::identity(),
    };
    let done = registration::unregister(&removal).await?;
    let view = View::new(Kind::Removal, &arguments.name, removal.dry_run, &done.steps);
    output.data(arguments.output, &view, |view| view.table(output))?;
    match done.left {
        None => Ok(Exit::Done),
        Some(error) => Err(CliError {
            exit: Exit::Incomplete,
            what: format!("the service account in {} is left: {error}", arguments.name),
            fix: Some(format!(
                "if the cluster still exists, run there: kubectl -n {} delete secret/relay-pki-token \
                 rolebinding/relay-pki role/relay-pki serviceaccount/relay-pki",
                done.namespace
            )),
        }),
    }
}
