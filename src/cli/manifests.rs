//! `relay-pki manifests`: objects for other programs that keep the certificates of a relay.

mod cert_manager;

use super::error::CliError;
use super::exit::Exit;
use super::output::Output;
use crate::config::Relay;

/// Arguments of `manifests`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    program: Program,
}

#[derive(Debug, clap::Subcommand)]
enum Program {
    /// Print Certificates, for who wants cert-manager to make and renew a cluster's certificates
    CertManager(cert_manager::Arguments),
}

pub(super) fn run(arguments: &Arguments, relay: &Relay, output: &Output) -> Result<Exit, CliError> {
    match &arguments.program {
        Program::CertManager(arguments) => cert_manager::run(arguments, relay, output),
    }
}
