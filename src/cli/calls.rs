//! What a plan costs the CA backends.

use std::collections::BTreeMap;
use std::fmt;

use relay_pki_authority::Metering;
use serde::Serialize;

use crate::engine::{Action, Content, Fleet, Step};

/// What one provider is asked for.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Calls {
    /// Roots that it makes.
    roots: usize,
    /// Signers that it makes.
    signers: usize,
    /// Certificates that it signs for others: leaves, and signers of its roots.
    certificates: usize,
    /// Fewest calls that its backend gets: to log in, to look at what is there and to ask again what
    /// was not ready are not counted.
    at_least: usize,
    /// Whether certificates cost money, quota or storage there.
    counted: bool,
}

/// By provider.
pub(super) fn calls(fleet: &Fleet, steps: &[Step]) -> BTreeMap<String, Calls> {
    let mut all: BTreeMap<String, Calls> = BTreeMap::new();
    let relay = &fleet.relay;
    for step in steps {
        match &step.action {
            Action::EstablishRoot { provider, .. } => {
                all.entry(provider.clone()).or_default().roots += 1;
            }
            Action::EstablishSigner { provider, .. } => {
                all.entry(provider.clone()).or_default().signers += 1;
                let root = relay.root.provider.clone();
                all.entry(root).or_default().certificates += 1;
            }
            Action::Put(put) if put.content == Content::Issue => {
                let signer = relay.signer.provider.clone();
                all.entry(signer).or_default().certificates += 1;
            }
            _ => {}
        }
    }
    for (name, asked) in &mut all {
        if let Some(provider) = fleet.providers.get(name) {
            let capabilities = provider.capabilities();
            let each = capabilities.calls;
            asked.at_least = asked.roots * each.root
                + asked.signers * each.signer
                + asked.certificates * each.certificate;
            asked.counted = capabilities.metering == Metering::Counted;
        }
    }
    all
}

impl fmt::Display for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            (self.roots, "root", "roots"),
            (self.signers, "signer", "signers"),
            (self.certificates, "certificate", "certificates"),
        ];
        let mut separator = "";
        for (count, one, several) in parts {
            if count > 0 {
                let word = if count == 1 { one } else { several };
                write!(f, "{separator}{count} {word}")?;
                separator = ", ";
            }
        }
        match self.at_least {
            0 => f.write_str("; no calls"),
            calls => write!(f, "; {calls} calls or more"),
        }?;
        match self.counted {
            true => f.write_str(", and certificates cost or count"),
            false => Ok(()),
        }
    }
}
