//! The Relay document: what the user wants, read from YAML and checked as a whole.
//!
//! Reading has three stages. `document` is the YAML as it is written; if it cannot be read as
//! that, `structure` finds everything that differs from the schema. `resolve` then turns it into
//! a [`Relay`], which holds only what can work. Both report all that is wrong, with its place.
//! [`assemble`] takes objects of the API the same way.

mod address;
mod document;
mod error;
mod lifetime;
pub(crate) mod lifetimes;
mod located;
mod names;
mod resolve;
mod schedule;
mod schema;
mod spec;
mod structure;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_saphyr::{Error as YamlError, MessageFormatter, UserMessageFormatter};

pub use self::address::{Address, MetricsUrl};
pub use self::document::{API_VERSION, KIND};
pub(crate) use self::error::did_you_mean;
pub use self::error::{ConfigError, Problem, ValueError};
pub use self::lifetime::Lifetime;
pub use self::names::{ClusterName, SecretNames};
pub use self::resolve::{Assembled, ClusterObject, RelayObject, assemble};
pub use self::schedule::Schedule;
pub use self::schema::json_schema;
pub(crate) use self::schema::object_schemas;
pub use self::spec::{
    AgentSpec, Approval, AwsAuthority, AwsPrivateCaConfig, CertManagerConfig, Certificates,
    ClusterSpec, CredentialSource, Delivery, EnrolmentLimits, EnrolmentTokens, ExistingCaConfig,
    GcpCasConfig, GcpPool, Location, OldKeys, ProviderConfig, Relay, RelayServer, Role, RootSpec,
    RotationSpec, ServerSpec, SignerSpec, Tokens, UsageMode, VaultAuth, VaultConfig, Workload,
    WorkloadKind,
};

/// The largest document that is read.
const MAX_SIZE: usize = 16 * 1024 * 1024;

const EXAMPLE: &str =
    "a document starts with `apiVersion: relay-pki.dev/v1alpha1` and `kind: Relay`";

impl Relay {
    /// Reads the document at `path`. Relative directories in it are relative to where it lies.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let file = path.display().to_string();
        let unreadable = |error: std::io::Error| {
            let message = format!("cannot read the document: {error}");
            ConfigError::new(vec![problem(&file, message, None)])
        };
        let limit = u64::try_from(MAX_SIZE)
            .unwrap_or(u64::MAX)
            .saturating_add(1);
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(limit).read_to_end(&mut bytes))
            .map_err(unreadable)?;
        let base = path.parent().unwrap_or_else(|| Path::new(""));
        match std::str::from_utf8(&bytes) {
            Ok(text) => Self::parse(text, &file, base),
            Err(_) if bytes.len() > MAX_SIZE => Err(too_large(&file)),
            Err(error) => {
                let valid = bytes.get(..error.valid_up_to()).unwrap_or_default();
                Err(not_utf8(&file, &String::from_utf8_lossy(valid)))
            }
        }
    }

    /// Reads a document. `file` names it in messages; relative directories in it are relative to
    /// `base_dir`.
    pub fn parse(text: &str, file: &str, base_dir: &Path) -> Result<Self, ConfigError> {
        if text.len() > MAX_SIZE {
            return Err(too_large(file));
        }
        if is_empty(text) {
            let message = "the document is empty".to_owned();
            return Err(ConfigError::new(vec![problem(
                file,
                message,
                Some(EXAMPLE.to_owned()),
            )]));
        }
        match serde_saphyr::from_str_with_options(text, parser_options()) {
            Ok(document) => resolve::resolve(document, file, base_dir),
            Err(error) => {
                let problems = match structure::problems(text, file) {
                    Ok(problems) if problems.is_empty() => vec![yaml_problem(&error, file)],
                    Ok(problems) => problems,
                    // It is no YAML at all: what deserialization met before that does not matter.
                    Err(error) => vec![yaml_problem(&error, file)],
                };
                Err(ConfigError::new(problems))
            }
        }
    }
}

fn parser_options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        with_snippet: false,
        emit_comments: false,
    }
}

/// Whether there is nothing but comments and document markers.
fn is_empty(text: &str) -> bool {
    text.trim_start_matches('\u{feff}').lines().all(|line| {
        let line = line.trim();
        line.is_empty() || line.starts_with('#') || line == "---" || line == "..."
    })
}

fn too_large(file: &str) -> ConfigError {
    let message = "the document is larger than 16 MiB".to_owned();
    let hint = "split the fleet into several relays".to_owned();
    ConfigError::new(vec![problem(file, message, Some(hint))])
}

fn not_utf8(file: &str, valid: &str) -> ConfigError {
    let line = valid.matches('\n').count() + 1;
    let column = valid.chars().rev().take_while(|c| *c != '\n').count() + 1;
    ConfigError::new(vec![Problem {
        line: u32::try_from(line).ok(),
        column: u32::try_from(column).ok(),
        ..problem(
            file,
            "the document is not UTF-8 here".to_owned(),
            Some("save it as UTF-8".to_owned()),
        )
    }])
}

/// What the YAML parser refused.
fn yaml_problem(error: &YamlError, file: &str) -> Problem {
    let error = error.without_snippet();
    let (message, hint) = match error {
        YamlError::MultipleDocuments { .. } => (
            "a second document starts here".to_owned(),
            Some("write one Relay in a file".to_owned()),
        ),
        error => (
            UserMessageFormatter.format_message(error).into_owned(),
            None,
        ),
    };
    match error.location() {
        Some(at) => problem_at(file, at, message, hint),
        None => problem(file, message, hint),
    }
}

fn problem(file: &str, message: String, hint: Option<String>) -> Problem {
    Problem {
        file: file.to_owned(),
        line: None,
        column: None,
        message,
        hint,
    }
}

fn problem_at(
    file: &str,
    at: serde_saphyr::Location,
    message: String,
    hint: Option<String>,
) -> Problem {
    // The parser counts from 1; 0 stands for an unknown place.
    let known = |number: u64| u32::try_from(number).ok().filter(|number| *number > 0);
    Problem {
        line: known(at.line()),
        column: known(at.column()),
        ..problem(file, message, hint)
    }
}
