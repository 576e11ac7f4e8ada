use super::error::CliError;
use super::exit::Exit;
use super::output::{Format, Output};
use crate::engine::Fleet;

/// Arguments of `audit`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The form of the result
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

/// Arguments of `explain`.
#[derive(Debug, clap::Args)]
pub(super) struct ExplainArguments {
    /// A code such as R0103
    code: String,
}

pub(super) async fn run(
    _arguments: &Arguments,
    _load: impl FnOnce() -> Result<Fleet, CliError>,
    _output: &Output,
) -> Result<Exit, CliError> {
    Ok(Exit::Done)
}

pub(super) fn explain(_arguments: &ExplainArguments, _output: &Output) -> Result<Exit, CliError> {
    Ok(Exit::Done)
}
