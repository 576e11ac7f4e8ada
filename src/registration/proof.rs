//! Whether the new credentials do what they are for, and nothing more.

use std::time::Duration;

use tokio::time::Instant;

use super::account::{DELETE, VERBS};
use crate::cluster::{Cluster as _, ClusterError, KubernetesCluster};
use crate::relay;

/// Rights that were just given take effect a moment later.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often is asked again in that time.
const POLL: Duration = Duration::from_millis(250);

/// Something that was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What.
    pub what: String,
    /// Whether it came out as it should.
    pub passed: bool,
    /// What came out.
    pub found: String,
    /// Whether nobody answered: it may be right all the same.
    pub unreachable: bool,
}

/// What the credentials are for.
pub(super) struct Expected<'a> {
    pub(super) relay: &'a str,
    pub(super) may_delete: bool,
}

/// Tries everything. Ends with the first thing that nobody answers.
pub(super) async fn prove(registered: &KubernetesCluster, expected: &Expected<'_>) -> Vec<Check> {
    let deadline = Instant::now() + PATIENCE;
    let rights = VERBS.map(|verb| (verb, true));
    let mut checks = Vec::new();
    for (verb, wanted) in rights.into_iter().chain([(DELETE, expected.may_delete)]) {
        let check = right(registered, verb, wanted, deadline).await;
        let lost = check.unreachable;
        checks.push(check);
        if lost {
            return checks;
        }
    }
    let selector = relay::selector(expected.relay);
    checks.push(match registered.list(selector, &[]).await {
        Ok(found) => Check {
            what: "read the relay Secrets".to_owned(),
            passed: true,
            found: format!("{} found", found.len()),
            unreachable: false,
        },
        Err(error) => failed("read the relay Secrets".to_owned(), &error),
    });
    checks
}

async fn right(
    registered: &KubernetesCluster,
    verb: &str,
    wanted: bool,
    deadline: Instant,
) -> Check {
    let what = match wanted {
        true => format!("may {verb} Secrets"),
        false => format!("may not {verb} Secrets"),
    };
    loop {
        let answer = registered.may(verb).await;
        let passed = matches!(&answer, Ok(allowed) if *allowed == wanted);
        let is_passing = match &answer {
            Ok(_) | Err(ClusterError::Denied { .. }) => true,
            Err(_) => false,
        };
        if !passed && is_passing && Instant::now() + POLL < deadline {
            tokio::time::sleep(POLL).await;
            continue;
        }
        return match answer {
            Ok(allowed) => Check {
                what,
                passed,
                found: if allowed { "allowed" } else { "forbidden" }.to_owned(),
                unreachable: false,
            },
            Err(error) => failed(what, &error),
        };
    }
}

fn failed(what: String, error: &ClusterError) -> Check {
    Check {
        what,
        passed: false,
        found: error.to_string(),
        unreachable: matches!(error, ClusterError::Unavailable { .. }),
    }
}
