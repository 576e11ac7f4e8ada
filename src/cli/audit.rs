use std::path::PathBuf;

use jiff::Timestamp;
use relay_pki_authority::x509::PublicKey;

use super::error::CliError;
use super::exit::Exit;
use super::output::{Format, Output, Style};
use super::source::Opened;
use crate::audit::{self, Report, Severity};
use crate::transcript;

/// Largest file that is read.
const FILE_LIMIT: u64 = 16 * 1024 * 1024;

/// Arguments of `audit`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The form of the result
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
    /// Show every finding by itself and every certificate
    #[arg(long)]
    wide: bool,
    /// Audit bare PEM files instead of the fleet
    #[arg(long, value_name = "PATH", num_args = 1..)]
    pem: Vec<PathBuf>,
    /// Audit the transcript of a rotation, as `rotation log --output json` prints it, instead of the fleet
    #[arg(long, value_name = "FILE", conflicts_with = "pem")]
    transcript: Option<PathBuf>,
    /// With --transcript: the public key that has to have signed it, in PEM
    #[arg(long, value_name = "FILE", requires = "transcript")]
    transcript_key: Option<PathBuf>,
    /// What ends with exit code 3
    #[arg(long, value_enum, default_value_t = FailOn::Warning)]
    fail_on: FailOn,
    /// Judge everything as of this time (RFC 3339)
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
}

/// From which severity on the audit fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum FailOn {
    /// Errors.
    Error,
    /// Errors and warnings.
    Warning,
    /// Nothing.
    Never,
}

/// Arguments of `explain`.
#[derive(Debug, clap::Args)]
pub(super) struct ExplainArguments {
    /// A code such as R0103
    code: String,
}

impl Arguments {
    /// Whether files are audited, and no fleet is needed.
    pub(super) fn is_about_files(&self) -> bool {
        !self.pem.is_empty() || self.transcript.is_some()
    }
}

pub(super) fn run_on_files(arguments: &Arguments, output: &Output) -> Result<Exit, CliError> {
    let at = arguments.at.unwrap_or_else(Timestamp::now);
    if let Some(path) = &arguments.transcript {
        let (name, text) = read_one(path, "name a file that `relay-pki rotation log` made")?;
        let key = arguments
            .transcript_key
            .as_ref()
            .map(public_key)
            .transpose()?;
        let text = String::from_utf8_lossy(&text);
        let report = audit::audit_transcript(&name, &text, key.as_ref(), at);
        return show(arguments, &report, output);
    }
    let files = read(&arguments.pem)?;
    show(arguments, &audit::audit_pem(&files, at), output)
}

pub(super) async fn run(
    arguments: &Arguments,
    opened: &Opened,
    output: &Output,
) -> Result<Exit, CliError> {
    let fleet = &opened.fleet;
    let now = arguments.at.unwrap_or_else(|| fleet.clock.now());
    let mut report = audit::audit(fleet, now).await;
    for (cluster, reason) in opened.left_out() {
        report.leave_out(cluster, reason);
    }
    show(arguments, &report, output)
}

fn show(arguments: &Arguments, report: &Report, output: &Output) -> Result<Exit, CliError> {
    let paint = |style: audit::Style, text: &str| {
        let style = match style {
            audit::Style::Good => Style::Good,
            audit::Style::Warning => Style::Warning,
            audit::Style::Bad => Style::Bad,
            audit::Style::Faint => Style::Faint,
        };
        output.paint(style, text)
    };
    let exit = exit(report, arguments.fail_on);
    output.data(arguments.output, report, |report| {
        let mut text = audit::render(report, arguments.wide, &paint);
        if !text.ends_with('\n') {
            text.push('\n');
        }
        text
    })?;
    Ok(exit)
}

/// The code depends on what was found, never on the form it is shown in.
fn exit(report: &Report, fail_on: FailOn) -> Exit {
    let bar = match fail_on {
        FailOn::Error => Some(Severity::Error),
        FailOn::Warning => Some(Severity::Warning),
        FailOn::Never => None,
    };
    match (bar, report.worst()) {
        (Some(bar), Some(worst)) if worst <= bar => Exit::Findings,
        _ if report.incomplete => Exit::Incomplete,
        _ => Exit::Done,
    }
}

fn read(paths: &[PathBuf]) -> Result<Vec<(String, Vec<u8>)>, CliError> {
    let read = |path| read_one(path, "name a PEM file");
    paths.iter().map(read).collect()
}

fn read_one(path: &PathBuf, fix: &str) -> Result<(String, Vec<u8>), CliError> {
    let name = path.display().to_string();
    let unreadable = |reason: String| CliError::usage(format!("cannot read {name}: {reason}"), fix);
    let size = std::fs::metadata(path)
        .map_err(|error| unreadable(error.to_string()))?
        .len();
    if size > FILE_LIMIT {
        return Err(unreadable(format!("it has {size} bytes")));
    }
    let bytes = std::fs::read(path).map_err(|error| unreadable(error.to_string()))?;
    Ok((name.clone(), bytes))
}

fn public_key(path: &PathBuf) -> Result<PublicKey, CliError> {
    let fix = "name a file with public.pem of the ConfigMap relay-pki-RELAY-transcript-key";
    let (name, text) = read_one(path, fix)?;
    transcript::public_key_from_pem(&text)
        .map_err(|reason| CliError::usage(format!("{name}: {reason}"), fix))
}

pub(super) fn explain(arguments: &ExplainArguments, output: &Output) -> Result<Exit, CliError> {
    match audit::explain(&arguments.code) {
        Some(text) => {
            output.text(&text)?;
            Ok(Exit::Done)
        }
        None => {
            let shown: String = arguments.code.chars().take(20).collect();
            Err(CliError::usage(
                format!("there is no finding {shown:?}"),
                "`relay-pki audit` names the codes of what it finds; docs/findings.md has them all",
            ))
        }
    }
}
