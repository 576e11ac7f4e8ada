//! `relay-pki revoke`: keeps a cluster out.

use std::fmt;
use std::path::PathBuf;

use jiff::Timestamp;
use relay_pki_authority::x509::Certificate;
use relay_pki_authority::{Level, Revocation};
use serde::Serialize;

use super::error::CliError;
use super::exit::Exit;
use super::output::{Format, Output};
use crate::engine::{Fleet, Observer, StepError};
use crate::enrolment::{
    Publication, Registry, Revoked, Told, Unable, publish_revocations, revocation, tell_backends,
};
use crate::journal::{EnrolledCertificate, EnrolmentRecord, Journal};
use crate::secret_file;

/// Arguments of `revoke`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The cluster
    cluster: String,
    /// Why, for whoever reads it later
    #[arg(long, value_name = "TEXT", conflicts_with = "lift")]
    reason: Option<String>,
    /// A certificate of the cluster that relay-pki may not know of, in PEM; may be repeated
    #[arg(long, value_name = "FILE", conflicts_with = "lift")]
    certificate: Vec<PathBuf>,
    /// Let the cluster enrol again, with a new token; its certificates from before stay revoked
    #[arg(long)]
    lift: bool,
    /// The form of the result
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct View {
    api_version: &'static str,
    kind: &'static str,
    cluster: String,
    /// Whether it is kept out now.
    revoked: bool,
    /// Whether that was so before.
    before: bool,
    /// Serial numbers of its certificates.
    certificates: Vec<String>,
    /// What is done about each of them.
    revocations: Vec<Fate>,
    /// What became of the revocation list.
    revocation_list: String,
    /// Signers that there is no list of, and why.
    without_list: Vec<String>,
}

/// What is done about a certificate.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Fate {
    serial: String,
    #[serde(flatten)]
    done: Done,
}

#[derive(Debug, Serialize)]
#[serde(
    tag = "done",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
enum Done {
    /// Its CA's backend has revoked it.
    Revoked { provider: String },
    /// Its CA's backend will be told again.
    Pending { provider: String, reason: String },
    /// It is on the list of its signer.
    Listed,
    /// Nobody can: it is good until it ends.
    Never {
        provider: Option<String>,
        not_after: Timestamp,
    },
}

pub(super) async fn run(
    arguments: &Arguments,
    fleet: &Fleet,
    output: &Output,
) -> Result<Exit, CliError> {
    let registry = Registry::of(fleet)?;
    let cluster = arguments.cluster.as_str();
    let now = fleet.clock.now();
    let mut view = View {
        api_version: "relay-pki/v1",
        kind: "Revocation",
        cluster: cluster.to_owned(),
        revoked: !arguments.lift,
        before: false,
        certificates: Vec::new(),
        revocations: Vec::new(),
        revocation_list: String::new(),
        without_list: Vec::new(),
    };
    let mut exit = Exit::Done;
    if arguments.lift {
        view.before = registry.lift(cluster, now).await?;
    } else {
        let observer = Observer::begin(fleet).await?;
        known(fleet, &registry, &observer, cluster).await?;
        let journal = observer.journal();
        let certificates = certificates(arguments, fleet, journal)?;
        let reason = arguments.reason.as_deref();
        let revoked = registry.revoke(cluster, reason, &certificates, now).await?;
        view.before = revoked.before;
        let serials = revoked.certificates.iter();
        view.certificates = serials
            .map(|certificate| certificate.serial.clone())
            .collect();
        let told = tell_backends(fleet, &mut Unable::default()).await;
        let fates = revoked.certificates.iter();
        let fates = fates.map(|certificate| Fate {
            serial: certificate.serial.clone(),
            done: done(fleet, journal, certificate, &revoked, &told),
        });
        view.revocations = fates.collect();
        let pending = |fate: &Fate| matches!(fate.done, Done::Pending { .. });
        if view.revocations.iter().any(pending) {
            exit = Exit::Incomplete;
        }
    }
    if !publish(fleet, &mut view).await {
        exit = Exit::Incomplete;
    }
    output.data(arguments.output, &view, View::table)?;
    Ok(exit)
}

/// Refuses a name that nobody has: a typing error would keep nobody out.
async fn known(
    fleet: &Fleet,
    registry: &Registry,
    observer: &Observer,
    cluster: &str,
) -> Result<(), CliError> {
    let mut clusters = fleet.relay.clusters.iter();
    let in_relay = clusters.any(|spec| spec.name.as_str() == cluster);
    let revoked = observer.journal().revocations.contains_key(cluster);
    if in_relay || revoked || registry.get(cluster).await? != EnrolmentRecord::default() {
        return Ok(());
    }
    Err(CliError::usage(
        format!("relay {} knows no cluster {cluster}", fleet.relay.name),
        "`relay-pki token list` shows those that enrolled, `relay-pki status` all others",
    ))
}

/// The certificates that were named.
fn certificates(
    arguments: &Arguments,
    fleet: &Fleet,
    journal: &Journal,
) -> Result<Vec<EnrolledCertificate>, CliError> {
    let mut named = Vec::new();
    for path in &arguments.certificate {
        let wrong = |what: String| {
            let what = format!("{}: {what}", path.display());
            CliError::usage(what, "name a certificate of the cluster, in PEM")
        };
        let pem = secret_file::read(path).map_err(|error| wrong(error.to_string()))?;
        let certificate = Certificate::from_pem(&pem).map_err(|error| wrong(error.to_string()))?;
        if !certificate.dns_names().contains(&arguments.cluster) {
            return Err(wrong(format!(
                "it is the certificate of {}, not of {}",
                certificate.subject(),
                arguments.cluster
            )));
        }
        let serial = certificate
            .serial()
            .map_err(|error| wrong(error.to_string()))?;
        let mut signers = journal.level(Level::Signer).iter();
        let issuer = signers.find(|(_, kept)| {
            let signer = kept.record.certificate.as_ref();
            signer.is_some_and(|signer| certificate.is_issued_by(signer))
        });
        let Some((signer, kept)) = issuer else {
            return Err(wrong("no signer of this relay issued it".to_owned()));
        };
        named.push(EnrolledCertificate {
            serial: serial.to_string(),
            signer: *signer,
            not_before: certificate.not_before(),
            not_after: certificate.not_after(),
            pem: revocation(fleet, &kept.record)
                .keeps()
                .then(|| certificate.to_pem()),
        });
    }
    Ok(named)
}

/// What is done about a certificate.
fn done(
    fleet: &Fleet,
    journal: &Journal,
    certificate: &EnrolledCertificate,
    revoked: &Revoked,
    told: &Result<Vec<Told>, StepError>,
) -> Done {
    let signer = journal.signers.get(&certificate.signer);
    let provider = signer.and_then(|kept| kept.record.provider.clone());
    let ability = signer.map_or(Revocation::Signs, |kept| revocation(fleet, &kept.record));
    let never = |provider| Done::Never {
        provider,
        not_after: certificate.not_after,
    };
    match (ability, provider) {
        (Revocation::Never, provider) => never(provider),
        // Of which the signer is not known, it is on all lists that we make.
        (Revocation::Signs, _) => Done::Listed,
        (Revocation::Keeps { .. }, None) => never(None),
        (Revocation::Keeps { .. }, Some(provider)) => {
            if revoked.told.contains(&certificate.serial) {
                return Done::Revoked { provider };
            }
            let reason = match told {
                Err(error) => error.to_string(),
                Ok(told) => {
                    let mut told = told.iter();
                    match told.find(|told| told.serial == certificate.serial) {
                        Some(told) if told.is_unable() => return never(Some(provider)),
                        Some(told) => match &told.result {
                            Ok(()) => return Done::Revoked { provider },
                            Err(error) => error.to_string(),
                        },
                        // Nobody trusts that signer any more.
                        None => return never(Some(provider)),
                    }
                }
            };
            Done::Pending { provider, reason }
        }
    }
}

/// Publishes the lists; whether they are as they have to be. The decision stands, whatever becomes of them.
async fn publish(fleet: &Fleet, view: &mut View) -> bool {
    let published = publish_revocations(fleet).await;
    view.revocation_list = match &published {
        Ok(Publication::Written {
            certificates,
            without,
        }) => {
            view.without_list.clone_from(without);
            match (certificates, without.is_empty()) {
                (0, false) => "none with a certificate on it".to_owned(),
                _ => format!("published with {certificates} certificates"),
            }
        }
        Ok(Publication::Current) => "up to date".to_owned(),
        Ok(Publication::Unneeded) => "not needed".to_owned(),
        Err(error) => {
            format!("not published: {error}; the controller publishes it as soon as it can")
        }
    };
    published.is_ok()
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Revoked { provider } => write!(f, "revoked by provider {provider}"),
            Self::Pending { provider, reason } => write!(
                f,
                "not yet revoked by provider {provider}: {reason}; the controller asks again, and so \
                 does this command"
            ),
            Self::Listed => f.write_str("for the list of its signer"),
            Self::Never {
                provider,
                not_after,
            } => {
                match provider {
                    Some(provider) => write!(f, "provider {provider} does not revoke it")?,
                    None => f.write_str("nobody can revoke it")?,
                }
                write!(f, ": it is not renewed, and good until {not_after}")
            }
        }
    }
}

impl View {
    fn table(&self) -> String {
        let cluster = &self.cluster;
        let mut text = match (self.revoked, self.before) {
            (true, false) => format!("{cluster} is revoked: it gets no certificate any more.\n"),
            (true, true) => format!("{cluster} was revoked before.\n"),
            (false, true) => format!(
                "{cluster} may enrol again: make a token with `relay-pki token create {cluster}`.\n"
            ),
            (false, false) => format!("{cluster} is not revoked.\n"),
        };
        for Fate { serial, done } in &self.revocations {
            text.push_str(&format!("certificate {serial}: {done}\n"));
        }
        text.push_str(&format!("revocation list: {}\n", self.revocation_list));
        for without in &self.without_list {
            text.push_str(&format!("no revocation list of {without}\n"));
        }
        text
    }
}
