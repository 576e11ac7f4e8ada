//! `relay-pki signer`: a person certifies the signer, with a root that no program of ours can reach.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use data_encoding::HEXLOWER;
use relay_pki_authority::Level;
use relay_pki_authority::x509::Certificate;

use super::error::CliError;
use super::exit::Exit;
use super::output::Output;
use crate::engine::{AwaitedSigner, Fleet, HandInError, StepError, observe};
use crate::secret_file;

/// Arguments of `signer`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Print the request of the signer that waits for its certificate
    Csr,
    /// Take the certificate of the signer, the first time together with the root's
    Install {
        /// PEM files with the certificates, in any order
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
}

pub(super) async fn run(
    arguments: &Arguments,
    fleet: &Fleet,
    output: &Output,
) -> Result<Exit, CliError> {
    match &arguments.what {
        What::Csr => {
            let observed = observe(fleet).await?;
            let awaited = AwaitedSigner::find(fleet, &observed).await?;
            output.text(&awaited.csr.to_pem())?;
            output.note(&instructions(fleet, &awaited));
        }
        What::Install { files } => {
            let mut certificates = Vec::new();
            for file in files {
                certificates.extend(read(file)?);
            }
            let lock = fleet.home()?.lock().await?;
            let result = install(fleet, &certificates, output).await;
            lock.release().await;
            result?;
        }
    }
    Ok(Exit::Done)
}

async fn install(
    fleet: &Fleet,
    certificates: &[Certificate],
    output: &Output,
) -> Result<(), CliError> {
    let observed = observe(fleet).await?;
    let awaited = AwaitedSigner::find(fleet, &observed).await?;
    awaited.install(fleet, certificates).await?;
    let next = match observed.journal.active(Level::Signer) {
        None => "bootstrap",
        Some(_) => "rotate signer",
    };
    output.note(&format!(
        "signer g{} has its certificate; `relay-pki {next}` puts it into use",
        awaited.number()
    ));
    Ok(())
}

fn read(file: &Path) -> Result<Vec<Certificate>, CliError> {
    let wrong = |reason: String| {
        CliError::usage(
            format!("{}: {reason}", file.display()),
            "give PEM files with the certificates of signer and root",
        )
    };
    let text = secret_file::read(file).map_err(|error| wrong(error.to_string()))?;
    Certificate::list_from_pem(&text).map_err(|error| wrong(error.to_string()))
}

/// What the owner of the root does with the request.
fn instructions(fleet: &Fleet, awaited: &AwaitedSigner) -> String {
    let lifetime = fleet.relay.signer.validity;
    let days = lifetime.duration().as_hours() / 24;
    let key = HEXLOWER.encode(&awaited.csr.public_key().digest());
    let key = format!("{key:.16}");
    let root = match awaited.wants_root() {
        true => " root.crt",
        false => "",
    };
    format!(
        "signer g{} of relay {}; its key is {key}…\n\
         sign it where the root is, with\n  \
         relay-pki root sign --root DIR --csr signer.csr --validity {lifetime} \
         --passphrase-file FILE > signer.crt\n\
         or with\n  \
         printf '%s\\n' basicConstraints=critical,CA:TRUE,pathlen:0 \
         keyUsage=critical,keyCertSign,cRLSign subjectKeyIdentifier=hash \
         authorityKeyIdentifier=keyid > signer.ext\n  \
         openssl x509 -req -in signer.csr -CA root.crt -CAkey root.key -sha256 -days {days} \
         -extfile signer.ext -out signer.crt\n\
         then here\n  \
         relay-pki signer install signer.crt{root}",
        awaited.number(),
        fleet.relay.name,
    )
}

impl From<HandInError> for CliError {
    fn from(error: HandInError) -> Self {
        let (exit, fix) = match &error {
            HandInError::NotAwaited { .. } => (
                Exit::Refused,
                Some("`relay-pki bootstrap` or `relay-pki rotate signer` begins one"),
            ),
            HandInError::Refused { .. } => (
                Exit::Refused,
                Some("nothing was changed; give the right certificates"),
            ),
            HandInError::Failed(StepError::Cluster(error)) => return error.clone().into(),
            HandInError::Failed(StepError::Pending { .. }) => (Exit::Waiting, None),
            HandInError::Failed(_) => (Exit::Failed, None),
        };
        Self {
            exit,
            what: error.to_string(),
            fix: fix.map(str::to_owned),
        }
    }
}
