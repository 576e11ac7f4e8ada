//! Workloads that are restarted when trust changes: components of the relay read their roots when they
//! start.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use relay_pki_authority::x509::BundleDigest;

use crate::cluster::{self, ClusterError, KubernetesCluster, Workloads as _};
use crate::config::{self, Role, ValueError, WorkloadKind};

/// On a pod template: the digest of the bundle that its pods were started with. Like kubectl's
/// `restartedAt` it is there to make the template another one; unlike it, it says when that is needed.
const ANNOTATION: &str = "relay-pki.dev/trust";

/// A workload of the namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload(config::Workload);

/// The workloads of one cluster, in the order in which they are restarted.
pub struct Workloads {
    cluster: Arc<KubernetesCluster>,
    wanted: Vec<Workload>,
}

/// Why a workload does not run with the roots that it should.
#[derive(Debug, thiserror::Error)]
pub(super) enum RestartError {
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error("{0} is not there; correct --restart, or install it")]
    Missing(Workload),
}

/// How far a restart is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Done,
    Rolling { workload: Workload, state: String },
}

impl FromStr for Workload {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = text.split_once('/').and_then(|(kind, name)| {
            let kind = match kind.to_ascii_lowercase().as_str() {
                "deployment" => WorkloadKind::Deployment,
                "statefulset" => WorkloadKind::StatefulSet,
                "daemonset" => WorkloadKind::DaemonSet,
                _ => return None,
            };
            let is_name = |byte: u8| {
                byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte)
            };
            let named = !name.is_empty() && name.len() <= 253 && name.bytes().all(is_name);
            named.then(|| {
                Self(config::Workload {
                    kind,
                    name: name.to_owned(),
                    namespace: None,
                    role: Role::Workload,
                })
            })
        });
        found.ok_or_else(|| {
            ValueError::new(
                format!("{text:?} is no workload"),
                "write deployment/NAME, statefulset/NAME or daemonset/NAME",
            )
        })
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.0.kind.as_str().to_ascii_lowercase();
        write!(f, "{kind}/{}", self.0.name)
    }
}

impl Workloads {
    /// Those of the cluster.
    pub fn new(cluster: Arc<KubernetesCluster>, wanted: Vec<Workload>) -> Self {
        Self { cluster, wanted }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.wanted.is_empty()
    }

    /// One step towards every workload running with the roots that `bundle` names: one after the other, each
    /// awaited before the next. What was done before is not done again.
    pub(super) async fn restart(&self, bundle: &BundleDigest) -> Result<Progress, RestartError> {
        for workload in &self.wanted {
            if let Some(state) = self.roll(workload, bundle).await? {
                return Ok(Progress::Rolling {
                    workload: workload.clone(),
                    state,
                });
            }
        }
        Ok(Progress::Done)
    }

    /// How far the roll-out of a workload is, if it is not done; it is begun if it was not.
    async fn roll(
        &self,
        workload: &Workload,
        bundle: &BundleDigest,
    ) -> Result<Option<String>, RestartError> {
        let wanted = bundle.to_string();
        let found = self.cluster.rollout(&workload.0).await?;
        let missing = || RestartError::Missing(workload.clone());
        let cluster::Rollout {
            version,
            annotations,
            open,
        } = found.ok_or_else(missing)?;
        if annotations.get(ANNOTATION) == Some(&wanted) {
            return Ok(open);
        }
        let annotation = (ANNOTATION, wanted.as_str());
        // Whoever changed it meanwhile is not overwritten.
        if !self
            .cluster
            .restart(&workload.0, annotation, &version)
            .await?
        {
            return Ok(Some("changed by somebody else just now".to_owned()));
        }
        tracing::info!(target: super::LOG, %workload, bundle = wanted, "restarting");
        Ok(Some("begun".to_owned()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn workloads_are_named_with_their_kind() {
        for text in [
            "deployment/gloo-mesh-agent",
            "statefulset/a.b",
            "daemonset/c",
        ] {
            assert_eq!(text.parse::<Workload>().unwrap().to_string(), text);
        }
        for text in [
            "gloo-mesh-agent",
            "pod/a",
            "deployment/",
            "deployment/A",
            "deployment/a/b",
        ] {
            assert!(text.parse::<Workload>().is_err(), "{text}");
        }
    }
}
