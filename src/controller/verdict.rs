//! What is to be said about a part of the fleet after a look at it.

use crate::cluster::ClusterError;
use crate::config;
use crate::engine::{Applied, Problem, StepError};

use super::round::ClusterRound;

/// How a relay or a cluster is, in the words of its conditions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Whether everything is as it should be.
    pub(super) ready: bool,
    /// Whether the API server does what it is asked; unknown where that does not matter.
    pub(super) reachable: Option<bool>,
    /// One word for programs. They are listed in docs/kubernetes.md.
    pub(super) reason: &'static str,
    /// What is wrong, and what to do.
    pub(super) message: String,
}

impl Verdict {
    /// Everything is as it should be.
    pub(super) fn ready() -> Self {
        Self {
            ready: true,
            reachable: Some(true),
            reason: "UpToDate",
            message: "every relay Secret is as it should be".to_owned(),
        }
    }

    /// The cluster is out of reach by intent.
    pub(super) fn enrolls() -> Self {
        Self {
            ready: true,
            reachable: None,
            reason: "Enrolls",
            message: "its agent keeps its own key and enrols; nothing is written into the cluster"
                .to_owned(),
        }
    }

    pub(super) fn not_ready(reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            ready: false,
            reachable: Some(true),
            reason,
            message: message.into(),
        }
    }

    /// The object says something that cannot be.
    pub(super) fn invalid(problems: &[config::Problem]) -> Self {
        let texts: Vec<String> = problems.iter().map(problem_text).collect();
        Self {
            reachable: None,
            ..Self::not_ready("InvalidSpec", texts.join("; "))
        }
    }

    /// There is no Relay that the cluster could belong to.
    pub(super) fn no_relay(name: &str) -> Self {
        Self {
            reachable: None,
            ..Self::not_ready(
                "NoRelay",
                format!("there is no Relay {name} in this namespace; create it, or delete this"),
            )
        }
    }

    /// A look at a workload cluster.
    pub(super) fn of_cluster(outcome: &Result<ClusterRound, ClusterError>) -> Self {
        match outcome {
            Err(error) => Self::of_error(error),
            Ok(round) => match &round.blocked {
                Some(problem) => Self::not_ready(
                    "ManagementNotReady",
                    format!("waiting for the management cluster: {}", text(problem)),
                ),
                None => Self::of_round(&round.problems, &round.applied),
            },
        }
    }

    /// What was planned and done, of whatever part.
    pub(super) fn of_round(problems: &[Problem], applied: &Applied) -> Self {
        if let Some(failure) = applied.failed.first() {
            return match &failure.error {
                StepError::Cluster(error) => Self::of_error(error),
                StepError::Authority(error) => {
                    Self::not_ready("AuthorityFailed", format!("{error}; it is tried again"))
                }
                error @ StepError::Awaiting { .. } => {
                    Self::not_ready("WaitingForPerson", error.to_string())
                }
                error @ StepError::Pending { .. } => {
                    Self::not_ready("WaitingForAuthority", error.to_string())
                }
                error => Self::not_ready("Refused", error.to_string()),
            };
        }
        match problems.iter().find(|problem| !problem.unreachable) {
            Some(problem) => Self::not_ready("Blocked", text(problem)),
            None => match problems.first() {
                Some(problem) => Self {
                    reachable: Some(false),
                    ..Self::not_ready("Unreachable", text(problem))
                },
                None => Self::ready(),
            },
        }
    }

    /// What a cluster did not do.
    pub(super) fn of_error(error: &ClusterError) -> Self {
        let (reachable, reason, remedy) = match error {
            ClusterError::Unavailable { .. } => (
                false,
                "Unreachable",
                "check that its API server runs and can be reached from here; it is tried again",
            ),
            ClusterError::NoAccess { .. } | ClusterError::Denied { .. } => (
                false,
                "NotPermitted",
                "check that the credentials, the namespace and the Role of relay-pki in that \
                 cluster are as `relay-pki cluster register` makes them",
            ),
            ClusterError::NoNamespace { .. } => (
                true,
                "NoNamespace",
                "is the agent installed there? Create the namespace, or register the cluster with \
                 `relay-pki cluster register`",
            ),
            ClusterError::Occupied { .. } => (
                true,
                "Occupied",
                "move it away, or delete it and let it be made anew",
            ),
            ClusterError::TooLarge { .. } => (
                true,
                "TooLarge",
                "take what does not belong there out of the Secret",
            ),
            ClusterError::Conflict { .. } | ClusterError::Locked { .. } => {
                (true, "Conflict", "it is tried again")
            }
            ClusterError::Malformed { .. } => (true, "Malformed", "repair it, or restore a backup"),
        };
        Self {
            reachable: Some(reachable),
            ..Self::not_ready(reason, format!("{error}; {remedy}"))
        }
    }
}

fn text(problem: &Problem) -> String {
    format!("{}; {}", problem.what, problem.remedy)
}

fn problem_text(problem: &config::Problem) -> String {
    match &problem.hint {
        Some(hint) => format!("{}; {hint}", problem.message),
        None => problem.message.clone(),
    }
}
