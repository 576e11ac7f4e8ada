//! The service account in the workload cluster, and its token.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;
use tokio::time::Instant;

use super::error::RegistrationError;
use super::guards::Found;
use super::marks;
use super::steps::{Change, Steps};
use crate::cluster::{
    Cluster as _, Expected, KubernetesCluster, Namespaced, Object, ObjectKey, SecretBytes,
};
use crate::config::{Workload, WorkloadKind};

/// The service account, its Role and its RoleBinding.
pub(super) const ACCOUNT: &str = "relay-pki";
/// The Secret with its token.
pub(super) const TOKEN_SECRET: &str = "relay-pki-token";
/// Type of a Secret that Kubernetes writes a token into which never ends.
pub(super) const TOKEN_TYPE: &str = "kubernetes.io/service-account-token";
/// Names the service account whose token it is.
const TOKEN_OF: &str = "kubernetes.io/service-account.name";
/// Where Kubernetes writes the token to.
const TOKEN_KEY: &str = "token";

/// What relay-pki does with Secrets in a workload cluster.
pub(super) const VERBS: [&str; 5] = ["get", "list", "watch", "create", "patch"];
/// What it does with the workloads that it restarts.
const RESTART_VERBS: [&str; 2] = ["get", "patch"];
/// What it does on request only.
pub(super) const DELETE: &str = "delete";

/// How long Kubernetes may take to write the token.
const TOKEN_PATIENCE: Duration = Duration::from_secs(30);
/// How often it is looked for.
const TOKEN_POLL: Duration = Duration::from_millis(250);

/// The objects as they should be.
pub(super) struct Account {
    pub(super) cluster: String,
    pub(super) relay: String,
    namespace: String,
    account: ServiceAccount,
    role: Role,
    binding: RoleBinding,
    token: Object,
}

impl Account {
    /// For a cluster of `relay` whose Secrets are in `namespace`, where relay-pki restarts `workloads`.
    pub(super) fn new(
        cluster: &str,
        relay: &str,
        namespace: &str,
        allow_delete: bool,
        workloads: &[Workload],
    ) -> Self {
        let meta = ObjectMeta {
            name: Some(ACCOUNT.to_owned()),
            namespace: Some(namespace.to_owned()),
            labels: Some(marks::labels()),
            annotations: Some(marks::annotations(cluster, relay)),
            ..ObjectMeta::default()
        };
        let verbs = VERBS.into_iter().chain(allow_delete.then_some(DELETE));
        let mut annotations = marks::annotations(cluster, relay);
        annotations.insert(TOKEN_OF.to_owned(), ACCOUNT.to_owned());
        Self {
            cluster: cluster.to_owned(),
            relay: relay.to_owned(),
            namespace: namespace.to_owned(),
            account: ServiceAccount {
                metadata: meta.clone(),
                // No Pod of the workload cluster is meant to have it.
                automount_service_account_token: Some(false),
                ..ServiceAccount::default()
            },
            role: Role {
                metadata: meta.clone(),
                rules: Some(
                    std::iter::once(PolicyRule {
                        api_groups: Some(vec![String::new()]),
                        resources: Some(vec!["secrets".to_owned()]),
                        verbs: verbs.map(str::to_owned).collect(),
                        ..PolicyRule::default()
                    })
                    .chain(restarts(workloads))
                    .collect(),
                ),
            },
            binding: RoleBinding {
                metadata: meta,
                role_ref: RoleRef {
                    api_group: Some("rbac.authorization.k8s.io".to_owned()),
                    kind: "Role".to_owned(),
                    name: ACCOUNT.to_owned(),
                },
                subjects: Some(vec![Subject {
                    kind: "ServiceAccount".to_owned(),
                    name: ACCOUNT.to_owned(),
                    namespace: Some(namespace.to_owned()),
                    ..Subject::default()
                }]),
            },
            token: Object {
                key: ObjectKey::secret(TOKEN_SECRET),
                secret_type: Some(TOKEN_TYPE.to_owned()),
                labels: marks::labels(),
                annotations,
                data: BTreeMap::new(),
            },
        }
    }

    /// Makes what is missing and corrects what is different. The token, if there is one already or
    /// this is no dry run.
    pub(super) async fn establish(
        &self,
        workload: &KubernetesCluster,
        found: Found,
        steps: &mut Steps,
    ) -> Result<Option<SecretBytes>, RegistrationError> {
        let change = match found.namespace {
            true => Change::Keep,
            false => Change::Create,
        };
        if steps.begin(
            &self.cluster,
            format!("Namespace {}", self.namespace),
            change,
        ) {
            workload.create_namespace().await?;
        }
        self.ensure(workload, &self.account, found.account.as_ref(), steps)
            .await?;
        self.ensure(workload, &self.role, found.role.as_ref(), steps)
            .await?;
        self.ensure(workload, &self.binding, found.binding.as_ref(), steps)
            .await?;
        let change = match &found.token {
            Some(_) => Change::Keep,
            None => Change::Create,
        };
        let object = format!("Secret {}/{TOKEN_SECRET}", self.namespace);
        if steps.begin(&self.cluster, object, change) {
            workload.write(&self.token, &Expected::Absent).await?;
        }
        match steps.dry_run {
            true => Ok(found.token.and_then(|stored| token(stored.object))),
            false => self.wait_for_token(workload).await.map(Some),
        }
    }

    async fn ensure<K: Namespaced>(
        &self,
        workload: &KubernetesCluster,
        wanted: &K,
        found: Option<&K>,
        steps: &mut Steps,
    ) -> Result<(), RegistrationError> {
        let change = match found {
            None => Change::Create,
            Some(found) if holds(found, wanted) => Change::Keep,
            Some(_) => Change::Change,
        };
        let object = format!("{} {}/{ACCOUNT}", K::kind(&()), self.namespace);
        if steps.begin(&self.cluster, object, change) {
            // What is ours is made right, whoever changed it.
            workload.apply(wanted, found.is_some()).await?;
        }
        Ok(())
    }

    async fn wait_for_token(
        &self,
        workload: &KubernetesCluster,
    ) -> Result<SecretBytes, RegistrationError> {
        let deadline = Instant::now() + TOKEN_PATIENCE;
        loop {
            let stored = workload.read(&self.token.key).await?;
            let Some(stored) = stored else {
                return Err(self.unfinished(
                    "was deleted while its token was waited for",
                    "run the same command again",
                ));
            };
            if let Some(token) = token(stored.object) {
                return Ok(token);
            }
            if Instant::now() + TOKEN_POLL > deadline {
                return Err(self.unfinished(
                    &format!("has no token after {} s", TOKEN_PATIENCE.as_secs()),
                    "Kubernetes writes it (the serviceaccount-token controller of \
                     kube-controller-manager): see that it runs, then run the same command again",
                ));
            }
            tokio::time::sleep(TOKEN_POLL).await;
        }
    }

    fn unfinished(&self, what: &str, fix: &str) -> RegistrationError {
        RegistrationError::Unfinished {
            what: format!(
                "Secret {}/{TOKEN_SECRET} in cluster {} {what}",
                self.namespace, self.cluster
            ),
            fix: fix.to_owned(),
        }
    }
}

/// The right to restart workloads, by their names.
fn restarts(workloads: &[Workload]) -> impl Iterator<Item = PolicyRule> {
    let mut names: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for workload in workloads {
        let resource = match workload.kind {
            WorkloadKind::Deployment => "deployments",
            WorkloadKind::StatefulSet => "statefulsets",
            WorkloadKind::DaemonSet => "daemonsets",
        };
        names
            .entry(resource)
            .or_default()
            .push(workload.name.clone());
    }
    names.into_iter().map(|(resource, names)| PolicyRule {
        api_groups: Some(vec!["apps".to_owned()]),
        resources: Some(vec![resource.to_owned()]),
        resource_names: Some(names),
        verbs: RESTART_VERBS.map(str::to_owned).to_vec(),
        ..PolicyRule::default()
    })
}

fn token(mut secret: Object) -> Option<SecretBytes> {
    let token = secret.data.remove(TOKEN_KEY)?;
    (!token.expose().is_empty()).then_some(token)
}

/// Whether everything that is `wanted` is there. An API server adds fields of its own.
fn holds<K: Namespaced>(found: &K, wanted: &K) -> bool {
    match (serde_json::to_value(found), serde_json::to_value(wanted)) {
        (Ok(found), Ok(wanted)) => covers(&found, &wanted),
        _ => false,
    }
}

fn covers(found: &Value, wanted: &Value) -> bool {
    match (found, wanted) {
        (Value::Object(found), Value::Object(wanted)) => wanted.iter().all(|(field, wanted)| {
            let found = found.get(field);
            found.is_some_and(|found| covers(found, wanted))
        }),
        (found, wanted) => found == wanted,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_those_and_no_others() {
        let role = |delete| {
            let account = Account::new("c1", "gloo-mesh", "gloo-mesh", delete, &[]);
            account.role.rules.unwrap()
        };
        let [rule] = role(false).try_into().unwrap();
        assert_eq!(rule.verbs, VERBS);
        assert_eq!(rule.resources.unwrap(), ["secrets"]);
        let [rule] = role(true).try_into().unwrap();
        assert_eq!(rule.verbs.last().unwrap(), DELETE);
        let workload = |kind, name: &str| Workload {
            kind,
            name: name.to_owned(),
            namespace: None,
            role: crate::config::Role::Workload,
        };
        let restarted = [
            workload(WorkloadKind::StatefulSet, "c"),
            workload(WorkloadKind::Deployment, "b"),
            workload(WorkloadKind::Deployment, "a"),
        ];
        let account = Account::new("c1", "gloo-mesh", "gloo-mesh", false, &restarted);
        let [_, deployments, sets] = account.role.rules.unwrap().try_into().unwrap();
        assert_eq!(deployments.resources.unwrap(), ["deployments"]);
        assert_eq!(deployments.resource_names.unwrap(), ["b", "a"]);
        assert_eq!(deployments.verbs, ["get", "patch"]);
        assert_eq!(sets.resource_names.unwrap(), ["c"]);
    }

    #[test]
    fn additions_of_the_api_server_are_no_difference() {
        let wanted = Account::new("c1", "gloo-mesh", "gloo-mesh", false, &[]).role;
        let mut found = wanted.clone();
        found.metadata.resource_version = Some("7".to_owned());
        assert!(holds(&found, &wanted));
        let wider = Account::new("c1", "gloo-mesh", "gloo-mesh", true, &[]).role;
        assert!(!holds(&wider, &wanted));
        found.metadata.annotations = None;
        assert!(!holds(&found, &wanted));
    }
}
