//! `relay-pki crds`.

use super::error::CliError;
use super::exit::Exit;
use super::output::Output;
use crate::crd;

/// Prints the definitions as one stream for `kubectl apply -f -`.
pub(super) fn run(output: &Output) -> Result<Exit, CliError> {
    let unprintable = |error: &dyn std::fmt::Display| {
        CliError::failed(format!("cannot print the definitions: {error}"))
    };
    let mut documents = Vec::new();
    for definition in crd::definitions().map_err(|error| unprintable(&error))? {
        documents.push(definition.yaml().map_err(|error| unprintable(&error))?);
    }
    output.text(&documents.join("---\n"))?;
    Ok(Exit::Done)
}
