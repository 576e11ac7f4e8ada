//! Workloads of an API server.

use async_trait::async_trait;
use http::StatusCode;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use kube::Resource as _;
use kube::api::{GetParams, Patch, PatchParams};
use kube::core::Request;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::super::workload::{Rollout, Workloads, field, unfinished};
use super::super::{ClusterError, Version};
use super::codec::At;
use super::{FIELD_MANAGER, KubernetesCluster};
use crate::config::{Workload, WorkloadKind};

#[async_trait]
impl Workloads for KubernetesCluster {
    async fn rollout(&self, workload: &Workload) -> Result<Option<Rollout>, ClusterError> {
        let request = self
            .workload(workload)
            .get(&workload.name, &GetParams::default());
        let found: Option<Value> = self.optional(&format!("read {workload}"), request).await?;
        Ok(found.map(|found| {
            let text = |path: &str| field(&found, path).as_str().unwrap_or_default();
            let annotations = field(&found, "/spec/template/metadata/annotations").clone();
            Rollout {
                version: Version(format!(
                    "{}/{}",
                    text("/metadata/uid"),
                    text("/metadata/resourceVersion")
                )),
                annotations: serde_json::from_value(annotations).unwrap_or_default(),
                open: unfinished(workload.kind, &found),
            }
        }))
    }

    async fn restart(
        &self,
        workload: &Workload,
        annotation: (&str, &str),
        expected: &Version,
    ) -> Result<bool, ClusterError> {
        let Some(at) = At::parse(expected) else {
            return Ok(false);
        };
        let (key, value) = annotation;
        let patch = json!({
            "metadata": { "uid": at.uid, "resourceVersion": at.resource_version },
            "spec": { "template": { "metadata": { "annotations": { key: value } } } },
        });
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let request = self
            .workload(workload)
            .patch(&workload.name, &params, &Patch::Merge(&patch));
        let operation = format!("restart {workload}");
        match self.send::<IgnoredAny>(&operation, request).await? {
            Ok(_) => Ok(true),
            Err(failure)
                if failure.is(StatusCode::CONFLICT) || failure.is(StatusCode::NOT_FOUND) =>
            {
                Ok(false)
            }
            Err(failure) => Err(self.error(&operation, None, &failure)),
        }
    }
}

impl KubernetesCluster {
    /// Requests about workloads of a kind, in the namespace of this one.
    fn workload(&self, workload: &Workload) -> Request {
        let namespace = workload.namespace.as_ref().unwrap_or(&self.namespace);
        let namespace = Some(namespace.as_str());
        Request::new(match workload.kind {
            WorkloadKind::Deployment => Deployment::url_path(&(), namespace),
            WorkloadKind::StatefulSet => StatefulSet::url_path(&(), namespace),
            WorkloadKind::DaemonSet => DaemonSet::url_path(&(), namespace),
        })
    }
}
