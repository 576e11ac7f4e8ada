//! Workloads of a cluster: how far a roll-out is, and restarting one.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde_json::Value;

use super::{ClusterError, Version};
use crate::config::{Workload, WorkloadKind};

/// The workloads of a cluster that runs some.
#[async_trait]
pub trait Workloads: Send + Sync {
    /// How a workload is now; nothing if there is none. Fresh, never from a cache.
    async fn rollout(&self, workload: &Workload) -> Result<Option<Rollout>, ClusterError>;

    /// Sets an annotation of the pod template, so that every pod is replaced as the workload's strategy
    /// wants it. Whether that was done: if the workload is not at `expected` any more, nothing changes.
    async fn restart(
        &self,
        workload: &Workload,
        annotation: (&str, &str),
        expected: &Version,
    ) -> Result<bool, ClusterError>;
}

/// A workload as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollout {
    /// What a restart has to expect.
    pub version: Version,
    /// The annotations of its pod template.
    pub annotations: BTreeMap<String, String>,
    /// What is left to be done until all of its pods are of this template, in words; `None` if they are.
    pub open: Option<String>,
}

/// How far a roll-out is, if it is not done; by the rules of `kubectl rollout status`, and until the last
/// old pod has ended where the API server tells that.
pub(super) fn unfinished(kind: WorkloadKind, object: &Value) -> Option<String> {
    let number = |path: &str| field(object, path).as_i64().unwrap_or_default();
    let status = |name: &str| number(&format!("/status/{name}"));
    if status("observedGeneration") < number("/metadata/generation") {
        return Some("not looked at yet".to_owned());
    }
    let replicas = field(object, "/spec/replicas").as_i64().unwrap_or(1);
    let (wanted, updated, ready, all) = match kind {
        WorkloadKind::Deployment | WorkloadKind::StatefulSet => (
            replicas,
            status("updatedReplicas"),
            status("availableReplicas"),
            status("replicas"),
        ),
        WorkloadKind::DaemonSet => (
            status("desiredNumberScheduled"),
            status("updatedNumberScheduled"),
            status("numberAvailable"),
            status("desiredNumberScheduled"),
        ),
    };
    let done = updated >= wanted && ready >= wanted && all <= updated.max(wanted);
    let ending = status("terminatingReplicas");
    if done && ending == 0 {
        return None;
    }
    let mut text = format!("{updated} of {wanted} updated, {ready} ready");
    for (count, what) in [
        (all.saturating_sub(updated), "old"),
        (ending, "still ending"),
    ] {
        if count > 0 {
            text.push_str(&format!(", {count} {what}"));
        }
    }
    if let Some(obstacle) = obstacle(object) {
        text.push_str(&format!("; {obstacle}"));
    }
    Some(text)
}

/// Why a roll-out does not go on by itself.
fn obstacle(object: &Value) -> Option<String> {
    if field(object, "/spec/paused").as_bool() == Some(true) {
        return Some("it is paused: `kubectl rollout resume` goes on".to_owned());
    }
    if field(object, "/spec/updateStrategy/type").as_str() == Some("OnDelete") {
        return Some("its strategy is OnDelete: delete its old pods".to_owned());
    }
    let conditions = field(object, "/status/conditions").as_array()?;
    let stuck = conditions.iter().find(|condition| {
        field(condition, "/type").as_str() == Some("Progressing")
            && field(condition, "/status").as_str() == Some("False")
    })?;
    let reason = field(stuck, "/reason").as_str().unwrap_or("no progress");
    Some(format!(
        "it is stuck ({reason}): see why its pods do not start"
    ))
}

pub(super) fn field<'a>(object: &'a Value, path: &str) -> &'a Value {
    object.pointer(path).unwrap_or(&Value::Null)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment(observed: i64, updated: i64, available: i64, all: i64) -> Value {
        json!({
            "metadata": { "generation": 2 }, "spec": { "replicas": 2 },
            "status": { "observedGeneration": observed, "updatedReplicas": updated,
                "availableReplicas": available, "replicas": all },
        })
    }

    #[test]
    fn a_roll_out_is_done_when_no_old_pod_is_left_and_every_new_one_works() {
        for (state, done) in [
            ((2, 2, 2, 2), true),
            ((1, 2, 2, 2), false),
            ((2, 1, 2, 2), false),
            ((2, 2, 1, 2), false),
            ((2, 2, 2, 3), false),
        ] {
            let object = deployment(state.0, state.1, state.2, state.3);
            let open = unfinished(WorkloadKind::Deployment, &object);
            assert_eq!(open.is_none(), done, "{state:?}");
        }
        let mut ending = deployment(2, 2, 2, 2);
        ending["status"]["terminatingReplicas"] = json!(1);
        let open = unfinished(WorkloadKind::Deployment, &ending).unwrap();
        assert!(open.contains("1 still ending"), "{open}");
        let none = json!({ "metadata": { "generation": 1 }, "spec": { "replicas": 0 },
            "status": { "observedGeneration": 1 } });
        assert_eq!(unfinished(WorkloadKind::StatefulSet, &none), None);
        let set = json!({ "metadata": { "generation": 1 }, "spec": {},
            "status": { "observedGeneration": 1, "desiredNumberScheduled": 3,
                "updatedNumberScheduled": 3, "numberAvailable": 2 } });
        assert!(unfinished(WorkloadKind::DaemonSet, &set).is_some());
    }

    #[test]
    fn what_does_not_go_on_by_itself_is_said() {
        let mut paused = deployment(2, 0, 2, 2);
        paused["spec"]["paused"] = json!(true);
        let mut manual = deployment(2, 0, 2, 2);
        manual["spec"]["updateStrategy"] = json!({ "type": "OnDelete" });
        let mut stuck = deployment(2, 1, 1, 3);
        stuck["status"]["conditions"] = json!([
            { "type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded" },
        ]);
        for (object, word) in [
            (paused, "rollout resume"),
            (manual, "OnDelete"),
            (stuck, "ProgressDeadlineExceeded"),
        ] {
            let open = unfinished(WorkloadKind::StatefulSet, &object).unwrap();
            assert!(open.contains(word), "{open}");
        }
        assert_eq!(obstacle(&deployment(2, 1, 1, 3)), None);
    }
}
