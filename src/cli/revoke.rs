//! `relay-pki revoke`: keeps a cluster out.

use std::path::PathBuf;

use relay_pki_authority::x509::Certificate;
use relay_pki_authority::{AuthorityError, Level};
use serde::Serialize;

use super::error::CliError;
use super::exit::Exit;
use super::output::{Format, Output};
use crate::engine::{Fleet, Observer, StepError};
use crate::enrolment::{Publication, Registry, publish_revocations};
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
    /// Serial numbers of its certificates on the revocation list.
    certificates: Vec<String>,
    /// What became of the revocation list.
    revocation_list: String,
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
        revocation_list: String::new(),
    };
    if arguments.lift {
        view.before = registry.lift(cluster, now).await?;
    } else {
        let observer = Observer::begin(fleet).await?;
        known(fleet, &registry, &observer, cluster).await?;
        let certificates = certificates(arguments, observer.journal())?;
        let reason = arguments.reason.as_deref();
        let revoked = registry.revoke(cluster, reason, &certificates, now).await?;
        view.before = revoked.before;
        let serials = revoked.certificates.into_iter();
        view.certificates = serials.map(|certificate| certificate.serial).collect();
    }
    let (published, exit) = publish(fleet).await?;
    view.revocation_list = published;
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
        let Some((signer, _)) = issuer else {
            return Err(wrong("no signer of this relay issued it".to_owned()));
        };
        named.push(EnrolledCertificate {
            serial: serial.to_string(),
            signer: *signer,
            not_before: certificate.not_before(),
            not_after: certificate.not_after(),
        });
    }
    Ok(named)
}

/// The decision stands, whatever becomes of the list.
async fn publish(fleet: &Fleet) -> Result<(String, Exit), CliError> {
    Ok(match publish_revocations(fleet).await {
        Ok(Publication::Written { certificates, .. }) => (
            format!("published with {certificates} certificates"),
            Exit::Done,
        ),
        Ok(Publication::Current) => ("up to date".to_owned(), Exit::Done),
        Ok(Publication::Unneeded) => ("not needed".to_owned(), Exit::Done),
        Err(StepError::Authority(error @ AuthorityError::Unsupported { .. })) => (
            format!("none: {error}; renewals are refused all the same"),
            Exit::Done,
        ),
        Err(error) => (
            format!("not published: {error}; the controller publishes it as soon as it can"),
            Exit::Incomplete,
        ),
    })
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
        for serial in &self.certificates {
            text.push_str(&format!("certificate {serial}\n"));
        }
        text.push_str(&format!("revocation list: {}\n", self.revocation_list));
        text
    }
}
