//! `relay-pki token`: what agents enrol with for the first time.

use clap::Subcommand;
use jiff::Timestamp;
use serde::Serialize;

use super::error::CliError;
use super::exit::Exit;
use super::output::{Format, Output, columns};
use crate::config::Lifetime;
use crate::engine::{Fleet, Observer};
use crate::enrolment::Registry;
use crate::journal::EnrolmentRecord;

/// How long a token may be used if nothing is said.
const LIFETIME: &str = "24h";

/// Arguments of `token`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make a token for one cluster and print it: it is shown this once
    Create {
        /// The cluster
        cluster: String,
        /// How long it may be used
        #[arg(long, value_name = "LIFETIME", default_value = LIFETIME)]
        ttl: String,
        /// The form of the result; `table` is the token alone
        #[arg(short, long, value_enum, default_value_t = Format::Table)]
        output: Format,
    },
    /// Show which clusters have a token, and what they enrolled with
    List {
        /// The form of the result
        #[arg(short, long, value_enum, default_value_t = Format::Table)]
        output: Format,
    },
    /// Take a cluster's token away; its certificate stays good
    Revoke {
        /// The cluster
        cluster: String,
    },
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct TokenView<'a> {
    api_version: &'static str,
    kind: &'static str,
    cluster: &'a str,
    expires: Timestamp,
    token: &'a str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ListView {
    api_version: &'static str,
    kind: &'static str,
    relay: String,
    enrolments: Vec<EnrolmentView>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct EnrolmentView {
    cluster: String,
    /// `unused`, `used`, `expired` or `none`.
    token: &'static str,
    expires: Option<Timestamp>,
    /// When its latest certificate ends.
    not_after: Option<Timestamp>,
    /// The bundle that its agent said it holds.
    bundle: Option<String>,
    revoked: bool,
}

pub(super) async fn run(
    arguments: &Arguments,
    fleet: &Fleet,
    output: &Output,
) -> Result<Exit, CliError> {
    let registry = Registry::of(fleet)?;
    match &arguments.what {
        What::Create {
            cluster,
            ttl,
            output: format,
        } => create(fleet, &registry, (cluster, ttl), *format, output).await,
        What::List { output: format } => {
            let view = list(fleet, &registry).await?;
            output.data(*format, &view, ListView::table)?;
            Ok(Exit::Done)
        }
        What::Revoke { cluster } => {
            match registry.revoke_token(cluster).await? {
                true => output.note(&format!("the token of {cluster} is of no more use")),
                false => output.note(&format!("{cluster} has no token")),
            }
            Ok(Exit::Done)
        }
    }
}

async fn create(
    fleet: &Fleet,
    registry: &Registry,
    (cluster, ttl): (&str, &str),
    format: Format,
    output: &Output,
) -> Result<Exit, CliError> {
    let ttl: Lifetime = ttl
        .parse()
        .map_err(|error: crate::config::ValueError| CliError::usage(error.message, error.hint))?;
    if fleet.relay.enrolling(cluster).is_none() {
        return Err(CliError::usage(
            format!(
                "relay {} has no cluster {cluster} whose agent enrols",
                fleet.relay.name
            ),
            format!(
                "`relay-pki cluster register {cluster} --delivery enroll`, or write delivery: enroll"
            ),
        ));
    }
    let observer = Observer::begin(fleet).await?;
    if observer.journal().is_revoked(cluster) {
        return Err(CliError {
            exit: Exit::Refused,
            what: format!("{cluster} is revoked: a token would be of no use"),
            fix: Some(format!(
                "`relay-pki revoke {cluster} --lift` lets it enrol again"
            )),
        });
    }
    let now = fleet.clock.now();
    let token = registry.create_token(cluster, ttl.duration(), now).await?;
    let expires = now.checked_add(ttl.duration()).unwrap_or(Timestamp::MAX);
    let view = TokenView {
        api_version: "relay-pki/v1",
        kind: "Token",
        cluster,
        expires,
        token: &token,
    };
    output.data(format, &view, |view| format!("{}\n", view.token))?;
    output.note(&format!(
        "it is good for one key of {cluster}, until {expires:.0}; it is not shown again"
    ));
    Ok(Exit::Done)
}

async fn list(fleet: &Fleet, registry: &Registry) -> Result<ListView, CliError> {
    let now = fleet.clock.now();
    let observer = Observer::begin(fleet).await?;
    let mut records = registry.list().await?;
    records.sort_by(|(one, _), (other, _)| one.cmp(other));
    let enrolments = records.into_iter().map(|(cluster, record)| EnrolmentView {
        revoked: observer.journal().is_revoked(&cluster),
        token: state(&record, now),
        expires: record.token.as_ref().map(|token| token.expires),
        not_after: record
            .certificates
            .iter()
            .map(|known| known.not_after)
            .max(),
        bundle: record.acknowledged.map(|acknowledged| acknowledged.bundle),
        cluster,
    });
    Ok(ListView {
        api_version: "relay-pki/v1",
        kind: "EnrolmentList",
        relay: fleet.relay.name.clone(),
        enrolments: enrolments.collect(),
    })
}

fn state(record: &EnrolmentRecord, now: Timestamp) -> &'static str {
    match &record.token {
        None => "none",
        Some(token) if token.used.is_some() => "used",
        Some(token) if token.expires <= now => "expired",
        Some(_) => "unused",
    }
}

impl ListView {
    fn table(&self) -> String {
        let shown = |at: &Option<Timestamp>| at.map_or_else(|| "-".to_owned(), |at| at.to_string());
        let rows: Vec<Vec<String>> = self
            .enrolments
            .iter()
            .map(|enrolment| {
                vec![
                    enrolment.cluster.clone(),
                    enrolment.token.to_owned(),
                    shown(&enrolment.expires),
                    shown(&enrolment.not_after),
                    enrolment.bundle.clone().unwrap_or_else(|| "-".to_owned()),
                    if enrolment.revoked { "yes" } else { "no" }.to_owned(),
                ]
            })
            .collect();
        let header = [
            "CLUSTER",
            "TOKEN",
            "EXPIRES",
            "CERTIFICATE ENDS",
            "BUNDLE",
            "REVOKED",
        ];
        columns(&header, &rows)
    }
}
