use super::super::error::CliError;
use super::super::exit::Exit;
use super::super::output::{Format, Output};
use super::view::{Kind, View};
use super::{Management, Workload, enroll, name};
use crate::config::Delivery;
use crate::registration::{self, Request};

/// Arguments of `cluster register`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The name of the cluster, of its agent and of its RelayCluster
    name: String,
    #[command(flatten)]
    workload: Workload,
    #[command(flatten)]
    management: Management,
    /// How the agent gets its certificate: `enroll` needs no access to the workload cluster, and prints
    /// what to run there
    #[arg(long, value_name = "DELIVERY", default_value = "push", value_parser = ["push", "enroll"])]
    delivery: String,
    /// The namespace of the relay Secrets in the workload cluster; by default that of the relay
    #[arg(long, value_name = "NAMESPACE")]
    workload_namespace: Option<String>,
    /// The URL of the workload cluster's API server as the management cluster reaches it
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// Allow relay-pki to delete Secrets in the workload cluster (for deletionPolicy: Delete)
    #[arg(long)]
    allow_delete: bool,
    /// Show what would be made and write nothing
    #[arg(long)]
    dry_run: bool,
    /// The form of the result
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

pub(super) async fn run(arguments: &Arguments, output: &Output) -> Result<Exit, CliError> {
    let request = Request {
        name: name(&arguments.name)?,
        workload: arguments.workload.access(),
        management: arguments.management.access(),
        namespace: arguments.management.namespace.clone(),
        workload_namespace: arguments.workload_namespace.clone(),
        relay: arguments.management.relay.clone(),
        server: arguments.server.clone(),
        allow_delete: arguments.allow_delete,
        dry_run: arguments.dry_run,
        identity: super::super::identity(),
    };
    if arguments.delivery == Delivery::Enroll.as_str() {
        return enroll::run(&request, arguments.output, output).await;
    }
    let done = registration::register(&request).await?;
    for note in &done.notes {
        output.note(&format!("note: {note}"));
    }
    let view = View::new(
        Kind::Registration,
        &arguments.name,
        request.dry_run,
        &done.steps,
    )
    .registered(&done);
    output.data(arguments.output, &view, |view| view.table(output))?;
    if done.is_proved() {
        return Ok(Exit::Done);
    }
    let unreachable = done.checks.iter().any(|check| check.unreachable);
    Err(match unreachable {
        true => CliError {
            exit: Exit::Incomplete,
            what: format!(
                "the API server at {} does not answer from here: {} is not part of the relay yet",
                done.server, arguments.name
            ),
            fix: Some(
                "run the same command where the address can be reached, or with the right --server"
                    .to_owned(),
            ),
        },
        false => CliError {
            exit: Exit::Failed,
            what: format!(
                "the new credentials do not do what they should: {} is not part of the relay yet",
                arguments.name
            ),
            fix: Some(format!(
                "see who else gives or takes rights in namespace {} (kubectl get rolebindings), \
                 then run the same command again",
                done.namespace
            )),
        },
    })
}
