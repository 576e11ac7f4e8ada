//! `relay-pki root`: an offline root, on a machine without a network. Neither document nor cluster is
//! needed there.

use std::io;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use data_encoding::HEXLOWER;
use jiff::Timestamp;
use relay_pki_authority::x509::{
    Certificate, CertificateChain, KeyType, PrivateKey, Subject, TrustBundle, VerifiedCsr,
    X509Error,
};
use relay_pki_authority::{
    AuthorityError, Generation, IssuanceId, Level, Outcome, Profile, Progress, RootRequest,
    SigningRequest,
};
use zeroize::Zeroizing;

use super::error::CliError;
use super::exit::Exit;
use super::output::Output;
use crate::authorities;
use crate::clock::{Clock as _, SystemClock};
use crate::config::Lifetime;
use crate::engine::backdated;
use crate::secret_file;

const KEY_FILE: &str = "root.key";
const CERTIFICATE_FILE: &str = "root.crt";
/// Shortest passphrase: the key may lie in a drawer for ten years.
const SHORTEST_PASSPHRASE: usize = 12;

/// Arguments of `root`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make an offline root: its encrypted key and its certificate
    Create {
        /// The relay that it is for: `metadata.name` of the document
        #[arg(long, value_name = "NAME")]
        relay: String,
        /// A new directory for root.key and root.crt
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// Type of its key: `root.keyType` of the document
        #[arg(long, value_name = "TYPE", default_value_t = KeyType::default())]
        key_type: KeyType,
        /// How long it is valid
        #[arg(long, value_name = "LIFETIME", default_value = "10y", value_parser = lifetime)]
        validity: Lifetime,
        #[command(flatten)]
        passphrase: Passphrase,
    },
    /// Sign the request of a signer with an offline root, and print the certificate
    Sign {
        /// The directory with root.key and root.crt
        #[arg(long, value_name = "DIR")]
        root: PathBuf,
        /// The request: what `relay-pki signer csr` printed
        #[arg(long, value_name = "FILE")]
        csr: PathBuf,
        /// How long the signer is valid: `signer.validity` of the document
        #[arg(long, value_name = "LIFETIME", default_value = "1y", value_parser = lifetime)]
        validity: Lifetime,
        #[command(flatten)]
        passphrase: Passphrase,
    },
}

#[derive(Debug, clap::Args)]
struct Passphrase {
    /// The file with the passphrase of the root's key; `-` for standard input
    #[arg(long, value_name = "FILE")]
    passphrase_file: PathBuf,
}

fn lifetime(text: &str) -> Result<Lifetime, String> {
    text.parse::<Lifetime>().map_err(|error| error.to_string())
}

pub(super) async fn run(arguments: &Arguments, output: &Output) -> Result<Exit, CliError> {
    let now = SystemClock.now();
    match &arguments.what {
        What::Create {
            relay,
            out,
            key_type,
            validity,
            passphrase,
        } => {
            let passphrase = passphrase.read()?;
            if passphrase.len() < SHORTEST_PASSPHRASE {
                return Err(CliError::usage(
                    format!("the passphrase has fewer than {SHORTEST_PASSPHRASE} characters"),
                    "take a longer one; `openssl rand -base64 24` makes one",
                ));
            }
            let (key, root) = create(relay, *key_type, *validity, now).await?;
            let key = key.to_encrypted_pem(&passphrase).map_err(failed)?;
            let files = [
                (KEY_FILE, key.as_bytes()),
                (CERTIFICATE_FILE, root.to_pem().as_bytes()),
            ]
            .map(|(name, content)| (name, content.to_vec()));
            let files = files
                .each_ref()
                .map(|(name, content)| (*name, content.as_slice()));
            secret_file::create_directory(out, &files).map_err(|error| {
                let fix = "name a directory that does not exist yet, where you may write";
                CliError::usage(format!("cannot make {}: {error}", out.display()), fix)
            })?;
            output.text(&format!(
                "{}\n{}\nvalid until {}\n",
                root.subject(),
                root.fingerprint(),
                root.not_after()
            ))?;
        }
        What::Sign {
            root,
            csr,
            validity,
            passphrase,
        } => {
            let (key, root) = open(root, &passphrase.read()?)?;
            let request = secret_file::read(csr).map_err(|error| unreadable(csr, &error))?;
            let request = VerifiedCsr::from_pem(&request)
                .map_err(|error| unusable(csr, error.to_string()))?;
            let signer = sign(&key, &root, csr, request, *validity, now).await?;
            let digest = format!("{:.16}", HEXLOWER.encode(&signer.public_key().digest()));
            output.text(&signer.to_pem())?;
            output.note(&format!(
                "certified {}, whose key is {digest}…, until {}; compare the key with what \
                 `relay-pki signer csr` said",
                signer.subject(),
                signer.not_after()
            ));
        }
    }
    Ok(Exit::Done)
}

async fn create(
    relay: &str,
    key_type: KeyType,
    validity: Lifetime,
    now: Timestamp,
) -> Result<(PrivateKey, Certificate), CliError> {
    let request = RootRequest {
        generation: generation(relay),
        subject: Subject {
            organization: Some(relay.parse().map_err(failed)?),
            common_name: "relay root".parse().map_err(failed)?,
        },
        key_type,
        validity: backdated(now, validity.duration()).map_err(failed)?,
    };
    let provider = authorities::in_memory();
    let root = match provider.create_root(&request).await? {
        Progress::Done(root) => root,
        Progress::Pending { .. } => return Err(CliError::failed("the root was not made")),
    };
    let key = provider.export_key(&request.generation).await?;
    Ok((key, root))
}

/// Key and certificate in the directory of a root, whoever made them.
fn open(directory: &Path, passphrase: &[u8]) -> Result<(PrivateKey, Certificate), CliError> {
    let file = |name: &str| {
        let path = directory.join(name);
        let content = secret_file::read(&path).map_err(|error| unreadable(&path, &error))?;
        Ok::<_, CliError>((path, content))
    };
    let (path, text) = file(KEY_FILE)?;
    let key = PrivateKey::from_encrypted_pem(&text, passphrase)
        .map_err(|error| unusable(&path, error.to_string()))?;
    let (path, text) = file(CERTIFICATE_FILE)?;
    let root = Certificate::from_pem(&text).map_err(|error| unusable(&path, error.to_string()))?;
    Ok((key, root))
}

async fn sign(
    key: &PrivateKey,
    root: &Certificate,
    file: &Path,
    csr: VerifiedCsr,
    validity: Lifetime,
    now: Timestamp,
) -> Result<Certificate, CliError> {
    let name = csr.requested_common_name().unwrap_or_default();
    if !name.starts_with("relay signer ") {
        let what = format!("it asks for {}, not for a signer", csr.requested_subject());
        return Err(unusable(file, what));
    }
    let subject = Subject {
        organization: organization(csr.requested_subject())
            .map(str::parse)
            .transpose()
            .map_err(failed)?,
        common_name: name.parse().map_err(failed)?,
    };
    let generation = generation("offline");
    let provider = authorities::in_memory();
    let chain = CertificateChain::new(vec![root.clone()]).map_err(failed)?;
    provider.import(&generation, key, &chain).await?;
    let anchors = TrustBundle::new([root.clone()]).map_err(failed)?;
    let authority = provider.open(&generation, &anchors).await?;
    let request = SigningRequest {
        id: IssuanceId::derive(&[csr.public_key().spki_der()]),
        csr,
        profile: Profile::Signer,
        subject,
        names: Vec::new(),
        validity: backdated(now, validity.duration()).map_err(failed)?,
        now,
    };
    match authority.sign(&request).await? {
        Outcome::Issued(issuance) => Ok(issuance.chain.leaf().clone()),
        Outcome::Pending { .. } => Err(CliError::failed("the signer was not certified")),
    }
}

/// The organisation in a subject as it is printed. Names of relays need no quoting.
fn organization(subject: &str) -> Option<&str> {
    let mut parts = subject.split(", ");
    parts.find_map(|part| part.strip_prefix("O="))
}

fn generation(relay: &str) -> Generation {
    Generation {
        relay: relay.to_owned(),
        level: Level::Root,
        number: 1,
    }
}

impl Passphrase {
    /// The first line; what an editor puts behind it does not count.
    fn read(&self) -> Result<Zeroizing<Vec<u8>>, CliError> {
        let path = &self.passphrase_file;
        let mut text = secret_file::read(path).map_err(|error| unreadable(path, &error))?;
        while matches!(text.last(), Some(b'\n' | b'\r')) {
            text.pop();
        }
        Ok(text)
    }
}

fn unreadable(path: &Path, error: &io::Error) -> CliError {
    CliError::usage(
        format!("cannot read {}: {error}", path.display()),
        "name a file that is there and that you may read",
    )
}

fn unusable(path: &Path, reason: String) -> CliError {
    CliError {
        exit: Exit::Refused,
        what: format!("{}: {reason}", path.display()),
        fix: None,
    }
}

fn failed(error: X509Error) -> CliError {
    CliError::failed(error.to_string())
}

impl From<AuthorityError> for CliError {
    fn from(error: AuthorityError) -> Self {
        Self::failed(error.to_string())
    }
}
