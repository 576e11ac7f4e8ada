//! Workloads that are restarted when trust changes: components of the relay read their roots when they
//! start.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use relay_pki_authority::x509::BundleDigest;
use serde_json::{Value, json};

use crate::cluster::{ClusterError, KubernetesCluster, Namespaced};
use crate::config::ValueError;

/// On a pod template: the digest of the bundle that its pods were started with. Like kubectl's
/// `restartedAt` it is there to make the template another one; unlike it, it says when that is needed.
const ANNOTATION: &str = "relay-pki.dev/trust";
/// A workload of the namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    kind: Kind,
    name: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Deployment,
    StatefulSet,
    DaemonSet,
}

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
                "deployment" => Kind::Deployment,
                "statefulset" => Kind::StatefulSet,
                "daemonset" => Kind::DaemonSet,
                _ => return None,
            };
            let is_name = |byte: u8| {
                byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte)
            };
            let named = !name.is_empty() && name.len() <= 253 && name.bytes().all(is_name);
            named.then(|| Self {
                kind,
                name: name.to_owned(),
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
        let kind = match self.kind {
            Kind::Deployment => "deployment",
            Kind::StatefulSet => "statefulset",
            Kind::DaemonSet => "daemonset",
        };
        write!(f, "{kind}/{}", self.name)
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
            let state = match workload.kind {
                Kind::Deployment => self.roll::<Deployment>(workload, bundle).await?,
                Kind::StatefulSet => self.roll::<StatefulSet>(workload, bundle).await?,
                Kind::DaemonSet => self.roll::<DaemonSet>(workload, bundle).await?,
            };
            if let Some(state) = state {
                return Ok(Progress::Rolling {
                    workload: workload.clone(),
                    state,
                });
            }
        }
        Ok(Progress::Done)
    }

    /// How far the roll-out of a workload is, if it is not done; it is begun if it was not.
    async fn roll<K: Namespaced>(
        &self,
        workload: &Workload,
        bundle: &BundleDigest,
    ) -> Result<Option<String>, RestartError> {
        let wanted = bundle.to_string();
        let found = self.cluster.find::<K>(&workload.name).await?;
        let found = found.ok_or_else(|| RestartError::Missing(workload.clone()))?;
        let found = serde_json::to_value(found).unwrap_or_default();
        let template = field(&found, "/spec/template/metadata/annotations");
        if template.get(ANNOTATION).and_then(Value::as_str) == Some(&wanted) {
            return Ok(unfinished(workload.kind, &found));
        }
        let patch = json!({
            // Whoever changed it meanwhile is not overwritten.
            "metadata": { "resourceVersion": field(&found, "/metadata/resourceVersion") },
            "spec": { "template": { "metadata": { "annotations": { ANNOTATION: wanted } } } },
        });
        self.cluster.patch::<K>(&workload.name, &patch).await?;
        tracing::info!(target: super::LOG, %workload, bundle = wanted, "restarting");
        Ok(Some("begun".to_owned()))
    }
}

fn field<'a>(object: &'a Value, path: &str) -> &'a Value {
    object.pointer(path).unwrap_or(&Value::Null)
}

/// How far a roll-out is, if it is not done; by the rules of `kubectl rollout status`.
fn unfinished(kind: Kind, object: &Value) -> Option<String> {
    let number = |path: &str| field(object, path).as_i64().unwrap_or_default();
    let status = |name: &str| number(&format!("/status/{name}"));
    if status("observedGeneration") < number("/metadata/generation") {
        return Some("not looked at yet".to_owned());
    }
    let replicas = field(object, "/spec/replicas").as_i64().unwrap_or(1);
    let (wanted, updated, ready, all) = match kind {
        Kind::Deployment | Kind::StatefulSet => (
            replicas,
            status("updatedReplicas"),
            status("availableReplicas"),
            status("replicas"),
        ),
        Kind::DaemonSet => (
            status("desiredNumberScheduled"),
            status("updatedNumberScheduled"),
            status("numberAvailable"),
            status("desiredNumberScheduled"),
        ),
    };
    let done = updated >= wanted && ready >= wanted && all <= updated.max(wanted);
    (!done).then(|| format!("{updated} of {wanted} updated, {ready} ready"))
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

    #[test]
    fn a_roll_out_is_done_when_no_old_pod_is_left_and_every_new_one_works() {
        let deployment = |generation: i64, updated: i64, available: i64, all: i64| {
            json!({
                "metadata": { "generation": 2 }, "spec": { "replicas": 2 },
                "status": { "observedGeneration": generation, "updatedReplicas": updated,
                    "availableReplicas": available, "replicas": all },
            })
        };
        for (state, done) in [
            ((2, 2, 2, 2), true),
            ((1, 2, 2, 2), false),
            ((2, 1, 2, 2), false),
            ((2, 2, 1, 2), false),
            ((2, 2, 2, 3), false),
        ] {
            let object = deployment(state.0, state.1, state.2, state.3);
            assert_eq!(
                unfinished(Kind::Deployment, &object).is_none(),
                done,
                "{state:?}"
            );
        }
        let none = json!({ "metadata": { "generation": 1 }, "spec": { "replicas": 0 },
            "status": { "observedGeneration": 1 } });
        assert_eq!(unfinished(Kind::Deployment, &none), None);
        let set = json!({ "metadata": { "generation": 1 }, "spec": {},
            "status": { "observedGeneration": 1, "desiredNumberScheduled": 3,
                "updatedNumberScheduled": 3, "numberAvailable": 2 } });
        assert!(unfinished(Kind::DaemonSet, &set).is_some());
    }
}
