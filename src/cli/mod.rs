//! The command line: arguments in, engine calls, results out.

mod audit;
mod bootstrap;
mod controller;
mod crds;
mod error;
mod exit;
mod interrupt;
mod output;
mod plan_view;
mod progress;
mod rotate;
mod run;
mod status;
mod values;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;
use tracing_subscriber::EnvFilter;

use self::error::CliError;
use self::exit::Exit;
use self::output::{Color, Format, Output};
use crate::clock::{Clock, SystemClock};
use crate::config::Relay;
use crate::engine::Fleet;
use crate::journal::ClusterKeyStore;
use crate::{authorities, clusters};

const AFTER_HELP: &str = "\
Exit codes: 0 done; 1 failed; 2 wrong usage or document; 3 audit found problems; 4 not permitted; \
5 changes pending (--exit-code); 6 waiting for a CA backend; 7 something could not be read; \
8 refused as unsafe; 130/143 interrupted (run the same command again to go on).";

/// Bootstraps, rotates and audits the certificates of a multi-cluster relay.
#[derive(Debug, Parser)]
#[command(name = "relay-pki", version, after_help = AFTER_HELP, max_term_width = 100)]
struct Arguments {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Args)]
struct Global {
    /// The Relay document
    #[arg(
        short,
        long,
        global = true,
        value_name = "FILE",
        default_value = "relay.yaml",
        env = "RELAY_PKI_FILE"
    )]
    file: PathBuf,
    /// When to use colour
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto)]
    color: Color,
    /// Say less: results and errors only
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Say more: -v one line per issued certificate, -vv everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Create or complete the relay certificates of the whole fleet
    Bootstrap(bootstrap::Arguments),
    /// Replace certificates or tokens
    Rotate(rotate::Arguments),
    /// Show generations, expiries and what is due when
    Status(status::Arguments),
    /// Check every certificate, chain, token and key placement; writes nothing
    Audit(audit::Arguments),
    /// Keep relays as the Relay and RelayCluster objects of a namespace say
    Controller(controller::Arguments),
    /// Print the Gloo Helm values for a cluster
    Values(values::Arguments),
    /// Print the JSON schema of the Relay document
    Schema {
        /// The form of the result; `table` is JSON
        #[arg(short, long, value_enum, default_value_t = Format::Json)]
        output: Format,
    },
    /// Print the CustomResourceDefinitions of Relay and RelayCluster, as YAML
    Crds,
    /// Explain a finding of the audit
    Explain(audit::ExplainArguments),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// Runs the program.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let output = Output::new(arguments.global.color, arguments.global.quiet);
    logging(arguments.global.verbose);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let result = match runtime {
        Ok(runtime) => {
            let result = runtime.block_on(dispatch(&arguments, &output));
            // A read that hangs in the file system must not keep the process.
            runtime.shutdown_background();
            result
        }
        Err(error) => Err(CliError::failed(format!("cannot start: {error}"))),
    };
    match result {
        Ok(exit) => exit.into(),
        Err(error) => {
            output.error(&error);
            error.exit.into()
        }
    }
}

async fn dispatch(arguments: &Arguments, output: &Output) -> Result<Exit, CliError> {
    let load = || load(&arguments.global.file);
    match &arguments.verb {
        Verb::Bootstrap(verb) => bootstrap::run(verb, fleet(load()?)?, output).await,
        Verb::Rotate(verb) => rotate::run(verb, fleet(load()?)?, output).await,
        Verb::Status(verb) => status::run(verb, fleet(load()?)?, output).await,
        Verb::Audit(verb) => audit::run(verb, || load().and_then(fleet), output).await,
        Verb::Controller(verb) => controller::run(verb).await,
        Verb::Values(verb) => values::run(verb, &load()?, output),
        Verb::Explain(verb) => audit::explain(verb, output),
        Verb::Schema { output: format } => {
            let format = match format {
                Format::Yaml => Format::Yaml,
                Format::Table | Format::Json => Format::Json,
            };
            let schema = crate::config::json_schema();
            output.data(format, &schema, |_| String::new())?;
            Ok(Exit::Done)
        }
        Verb::Crds => crds::run(output),
        Verb::Completions { shell } => {
            let mut script = Vec::new();
            let mut command = Arguments::command();
            clap_complete::generate(*shell, &mut command, "relay-pki", &mut script);
            output.text(&String::from_utf8_lossy(&script))?;
            Ok(Exit::Done)
        }
    }
}

fn load(file: &std::path::Path) -> Result<Relay, CliError> {
    Relay::load(file).map_err(|error| CliError {
        exit: Exit::Usage,
        what: error.to_string(),
        fix: match file.exists() {
            true => Some("`relay-pki schema` prints what a document may contain".to_owned()),
            false => Some("name the document with --file FILE".to_owned()),
        },
    })
}

/// Everything that the engine needs, from the document.
fn fleet(relay: Relay) -> Result<Fleet, CliError> {
    let clusters = clusters::open(&relay, &identity())?;
    let home = clusters.get(relay.home().name.as_str()).cloned();
    let providers = home.map(|home| {
        let keys: Arc<dyn relay_pki_authority::KeyStore> =
            Arc::new(ClusterKeyStore::new(home.clone()));
        authorities::open(&relay, &home, &keys)
    });
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    Ok(Fleet {
        relay,
        clusters,
        providers: providers.unwrap_or_default(),
        clock,
    })
}

/// What other writers are told of us while we keep them out.
fn identity() -> String {
    format!("relay-pki-{}-{}", host(), std::process::id())
}

/// The name of this machine, or of the Pod.
fn host() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match host.trim() {
        "" => "some-host".to_owned(),
        host => host.to_owned(),
    }
}

/// Logs go to standard error; `RELAY_PKI_LOG` takes a filter in the syntax of `tracing`.
fn logging(verbose: u8) {
    let level = match verbose {
        0 => "warn",
        1 => "relay_pki=info,warn",
        _ => "relay_pki=trace,info",
    };
    let filter = std::env::var("RELAY_PKI_LOG").ok();
    let filter = filter.and_then(|text| EnvFilter::try_new(text).ok());
    tracing_subscriber::fmt()
        .with_env_filter(filter.unwrap_or_else(|| EnvFilter::new(level)))
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
}
