//! The audit: observe, and check. It needs write access to nothing, and says what it could not
//! check.
//!
//! Everything is read once and decoded into facts (`inventory`); the checks are functions of the
//! facts and the time, a module for each topic; `code` holds the table of everything that they can
//! say.

mod authorities;
mod chain;
mod code;
mod finding;
mod identity;
mod inventory;
mod leaf;
mod ownership;
mod pem;
mod placement;
mod profile;
mod report;
mod rotation;
#[cfg(test)]
mod tests;
mod text;
mod tokens;
mod transcript;
mod validity;

use jiff::Timestamp;

use self::authorities::Authorities;
use self::chain::Paths;
use self::finding::Sink;
use self::inventory::Inventory;
use self::leaf::Leaf;
use crate::config::Relay;
use crate::engine::Fleet;

pub use self::code::{Check, Code, Severity, checks, explain, findings_markdown};
pub use self::finding::{Finding, NotChecked};
pub use self::pem::audit_pem;
pub use self::report::{API_VERSION, ChainNode, Counts, EarliestFailure, KIND, Report};
pub use self::text::{Style, render};
pub use self::transcript::audit_transcript;

/// Audits a fleet: every relay Secret of every cluster, the records and the CA backends, as they are
/// at `now`. Whatever cannot be read is in [`Report::not_checked`] and costs nothing else.
pub async fn audit(fleet: &Fleet, now: Timestamp) -> Report {
    let inventory = inventory::gather(fleet).await;
    let relay = fleet.relay.clone();
    // Signatures are verified here: not between the reads of others.
    let checked = tokio::task::spawn_blocking(move || check(&relay, inventory, now)).await;
    checked.unwrap_or_else(|error| {
        let mut sink = Sink::default();
        let what = format!("the checks failed: {error}");
        sink.not_checked
            .push(NotChecked::new(code::R0405, "", what));
        let name = Some(fleet.relay.name.clone());
        Report::new(name, now, (0, 0), sink, Vec::new(), None)
    })
}

/// All checks on what was read.
fn check(relay: &Relay, mut inventory: Inventory, now: Timestamp) -> Report {
    let home = relay.home().name.as_str();
    let mut sink = Sink {
        not_checked: std::mem::take(&mut inventory.not_checked),
        ..Sink::default()
    };
    let mut authorities = Authorities::of(&inventory, home);
    let leaves = leaf::leaves(&inventory, &authorities);
    for leaf in &leaves {
        if let Some(issuer) = leaf.issuer {
            authorities.mark_used(issuer);
        }
    }
    placement::check(&mut sink, &inventory, &authorities, home);
    chain::contents(&mut sink, &inventory, &authorities);
    let mut paths = Paths::new(&authorities, now);
    chain::handshakes(&mut sink, &inventory, &leaves, &mut paths);
    validity::leaves(&mut sink, relay, &leaves, &authorities, now);
    validity::authorities(&mut sink, relay, &leaves, &authorities, now);
    identity::leaves(&mut sink, relay, &leaves);
    tokens::check(&mut sink, relay, &inventory, now);
    profile::leaves(&mut sink, &leaves, &authorities);
    profile::authorities(&mut sink, &authorities);
    profile::serials(&mut sink, &leaves, &authorities);
    ownership::check(&mut sink, relay, &inventory);
    rotation::check(&mut sink, relay, &inventory, now);
    transcript::check(&mut sink, relay, &inventory);
    let tree = report::tree(
        leaves.iter().map(Leaf::in_tree),
        &authorities,
        &sink.findings,
        now,
    );
    let earliest = report::earliest_failure(&leaves, &authorities);
    let size = (inventory.clusters.len(), inventory.objects);
    Report::new(Some(relay.name.clone()), now, size, sink, tree, earliest)
}
