//! The command line: arguments in, engine calls, results out.

mod agent;
mod audit;
mod bootstrap;
mod calls;
mod cluster;
mod controller;
mod crds;
mod error;
mod exit;
mod interrupt;
mod logging;
mod manifests;
mod output;
mod plan_view;
mod progress;
mod rehearse;
mod revoke;
mod root;
mod rotate;
mod rotation;
mod run;
mod signer;
mod source;
mod status;
mod token;
mod values;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use clap_complete::Shell;

use self::error::CliError;
use self::exit::Exit;
use self::logging::LogFormat;
use self::output::{Color, Format, Output};
use self::source::Source;
use crate::authorities::{self, Surroundings};
use crate::clock::{Clock, SystemClock};
use crate::cluster::Cluster;
use crate::clusters::Opener;
use crate::config::Relay;
use crate::engine::Fleet;

const AFTER_HELP: &str = "\
Exit codes: 0 done; 1 failed; 2 wrong usage or document; 3 audit found problems; 4 not permitted; \
5 changes pending (--exit-code); 6 waiting for a CA backend, or a rotation for its gate; 7 something could not be read; \
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
    /// The Relay document; by default RELAY_PKI_FILE, or relay.yaml
    // Not `env`: an argument that excludes this one has to win over the environment.
    #[arg(short, long, global = true, value_name = "FILE")]
    file: Option<PathBuf>,
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

/// A verb, and what it works on.
#[derive(Debug, clap::Args)]
struct On<V: clap::Args> {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    verb: V,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Create or complete the relay certificates of the whole fleet
    Bootstrap(On<bootstrap::Arguments>),
    /// Replace certificates or tokens
    Rotate(On<rotate::Arguments>),
    /// Try a rotation of root or signer on copies, with a fast clock; writes nothing, asks no CA
    Rehearse(On<rehearse::Arguments>),
    /// Watch and lead the rotation of root or signer that is under way
    Rotation(On<rotation::Arguments>),
    /// Have a person certify the signer, with an offline root
    Signer(On<signer::Arguments>),
    /// Make an offline root and sign with it, on a machine without a network
    Root(root::Arguments),
    /// Show generations, expiries and what is due when
    Status(On<status::Arguments>),
    /// Check every certificate, chain, token and key placement; writes nothing
    Audit(On<audit::Arguments>),
    /// Keep relays as the Relay and RelayCluster objects of a namespace say
    Controller(controller::Arguments),
    /// Keep the key of a workload cluster, and its certificate up to date
    Agent(Box<agent::Arguments>),
    /// Register workload clusters for the controller
    Cluster(cluster::Arguments),
    /// Make, show and take away the tokens that agents enrol with
    Token(On<token::Arguments>),
    /// Keep a cluster out: its token, its name and its certificates
    Revoke(On<revoke::Arguments>),
    /// Print the Gloo Helm values for a cluster
    Values(values::Arguments),
    /// Print objects for other programs that keep a cluster's certificates
    Manifests(manifests::Arguments),
    /// Print the JSON schema of the Relay document
    Schema {
        /// The form of the result; `table` is JSON
        #[arg(short, long, value_enum, default_value_t = Format::Json)]
        output: Format,
    },
    /// Print the CustomResourceDefinitions of Relay, RelayCluster and RelayRotation, as YAML
    Crds,
    /// Explain a finding of the audit
    Explain(audit::ExplainArguments),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// The verbs to which the document means nothing: their help does not offer it.
const WITHOUT_DOCUMENT: [&str; 7] = [
    "root",
    "controller",
    "cluster",
    "schema",
    "crds",
    "explain",
    "completions",
];

/// The whole command line.
fn command() -> clap::Command {
    fn hide_document(verb: clap::Command) -> clap::Command {
        let verb = verb.mut_args(|argument| match argument.get_id() == "file" {
            true => argument.hide(true),
            false => argument,
        });
        verb.mut_subcommands(hide_document)
    }
    let mut command = Arguments::command();
    // Only now has every verb what is global.
    command.build();
    WITHOUT_DOCUMENT.into_iter().fold(command, |command, verb| {
        command.mut_subcommand(verb, hide_document)
    })
}

/// What was asked for. Ends the process where that is wrong, or help.
fn parse() -> Arguments {
    let mut command = command();
    let matches = command.get_matches_mut();
    let parsed = Arguments::from_arg_matches(&matches).map_err(|error| error.format(&mut command));
    let arguments = parsed.unwrap_or_else(|error| error.exit());
    let verb = matches.subcommand_name().unwrap_or_default();
    if arguments.global.file.is_some() && WITHOUT_DOCUMENT.contains(&verb) {
        let text = format!("--file means nothing to `{verb}`: it reads no document");
        command.error(ErrorKind::ArgumentConflict, text).exit();
    }
    arguments
}

/// Runs the program.
pub fn main() -> ExitCode {
    let arguments = parse();
    let output = Output::new(arguments.global.color, arguments.global.quiet);
    match &arguments.verb {
        // Nobody watches a service: what it does has to be in its log.
        Verb::Controller(verb) => {
            logging::start(arguments.global.verbose.max(1), verb.log_format);
        }
        Verb::Agent(verb) => {
            logging::start(arguments.global.verbose.max(1), verb.log_format);
        }
        _ => logging::start(arguments.global.verbose, LogFormat::Text),
    }
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
    let file = arguments.global.file.as_deref();
    match &arguments.verb {
        Verb::Bootstrap(on) => {
            let opened = on.source.open(file, output).await?;
            let exit = bootstrap::run(&on.verb, &opened, output).await?;
            Ok(opened.exit(exit))
        }
        Verb::Rotate(on) => {
            let opened = on.source.open(file, output).await?;
            let exit = rotate::run(&on.verb, &opened, output).await?;
            Ok(opened.exit(exit))
        }
        Verb::Rehearse(on) => {
            let opened = on.source.open(file, output).await?;
            let exit = rehearse::run(&on.verb, &opened, output).await?;
            Ok(opened.exit(exit))
        }
        Verb::Rotation(on) => {
            let opened = on.source.open(file, output).await?;
            rotation::run(&on.verb, &opened, output).await
        }
        Verb::Status(on) => {
            let opened = on.source.open(file, output).await?;
            let exit = status::run(&on.verb, &opened, output).await?;
            Ok(opened.exit(exit))
        }
        Verb::Audit(on) if on.verb.is_about_files() => audit::run_on_files(&on.verb, output),
        Verb::Audit(on) => {
            let opened = on.source.open(file, output).await?;
            let exit = audit::run(&on.verb, &opened, output).await?;
            Ok(opened.exit(exit))
        }
        Verb::Cluster(verb) => cluster::run(verb, output).await,
        Verb::Signer(on) => {
            let opened = on.source.open(file, output).await?;
            let exit = signer::run(&on.verb, &opened.fleet, output).await?;
            Ok(opened.exit(exit))
        }
        Verb::Token(on) => {
            let opened = on.source.open(file, output).await?;
            token::run(&on.verb, &opened.fleet, output).await
        }
        Verb::Revoke(on) => {
            let opened = on.source.open(file, output).await?;
            revoke::run(&on.verb, &opened.fleet, output).await
        }
        Verb::Root(verb) => root::run(verb, output).await,
        Verb::Controller(verb) => controller::run(verb).await,
        Verb::Agent(verb) => agent::run(verb).await,
        Verb::Values(verb) => values::run(verb, &source::document(file)?, output),
        Verb::Manifests(verb) => manifests::run(verb, &source::document(file)?, output),
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
            clap_complete::generate(*shell, &mut command(), "relay-pki", &mut script);
            output.text(&String::from_utf8_lossy(&script))?;
            Ok(Exit::Done)
        }
    }
}

/// Everything that the engine needs.
fn fleet(relay: Relay, clusters: BTreeMap<String, Arc<dyn Cluster>>, opener: &Opener) -> Fleet {
    let home = clusters.get(relay.home().name.as_str());
    let providers = home.map(|home| {
        authorities::open(&Surroundings {
            relay: &relay,
            home,
            opener,
        })
    });
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    Fleet {
        relay,
        clusters,
        providers: providers.unwrap_or_default(),
        clock,
    }
}

/// What other writers are told of us while we keep them out.
fn identity() -> String {
    format!("relay-pki-{}-{}", host(), std::process::id())
}

/// Who runs this, for records that people read later.
fn person() -> String {
    let user = ["USER", "LOGNAME"].into_iter().find_map(|name| {
        let user = std::env::var(name).ok()?;
        (!user.is_empty()).then_some(user)
    });
    format!("{}@{}", user.as_deref().unwrap_or("somebody"), host())
}

/// The name of this machine, or of the Pod.
fn host() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match host.trim() {
        "" => "some-host".to_owned(),
        host => host.to_owned(),
    }
}
