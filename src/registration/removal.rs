use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::ResourceExt as _;

use super::account::{ACCOUNT, TOKEN_SECRET};
use super::administered;
use super::error::{RegistrationError, refused};
use super::marks;
use super::steps::{Change, Step, Steps};
use crate::cluster::{Access, Cluster, ClusterError, KubernetesCluster, Namespaced, ObjectKey};
use crate::config::{ClusterName, ClusterSpec, Location};
use crate::crd::{DeletionPolicy, RelayCluster, Stored};

/// A cluster that somebody wants to take out of its relay.
#[derive(Clone)]
pub struct Removal {
    /// Its name.
    pub name: ClusterName,
    /// The administrator's way to the workload cluster.
    pub workload: Access,
    /// The administrator's way to the management cluster.
    pub management: Access,
    /// The namespace of the Relay in the management cluster.
    pub namespace: String,
    /// The Relay; the only one of the namespace if none is named.
    pub relay: Option<String>,
    /// Whether to show only what would be deleted.
    pub dry_run: bool,
    /// Who we are.
    pub identity: String,
}

/// What was deleted, and what could not be.
#[derive(Debug, Clone)]
pub struct Removed {
    /// What was deleted, or would be.
    pub steps: Vec<Step>,
    /// Why the workload cluster still has the service account, if it could not be reached.
    pub left: Option<ClusterError>,
    /// The namespace of the service account.
    pub namespace: String,
}

/// Takes back what a registration made: RelayCluster, credentials, service account. The relay Secrets
/// stay, in both clusters.
///
/// # Errors
///
/// What stands in the way. A workload cluster that cannot be reached is none: it may be gone.
pub async fn unregister(removal: &Removal) -> Result<Removed, RegistrationError> {
    let name = removal.name.as_str();
    let cluster = |name: &str, access: &Access, namespace: &str| {
        administered(name, access, namespace, &removal.identity)
    };
    let management = cluster("management", &removal.management, &removal.namespace);
    let relay = removal.relay.as_deref();
    let stored = Stored::read(&management, &removal.namespace, relay).await?;
    let assembled = stored.assemble()?.relay;
    let object = stored.cluster(name);
    if let Some(object) = object {
        refuse_to_lose_secrets(object)?;
    }
    let spec = assembled.clusters.iter();
    let spec = spec.clone().find(|spec| spec.name.as_str() == name);
    let secret = match spec.map(|spec| &spec.location) {
        Some(Location::KubeconfigSecret { name, .. }) => name.clone(),
        _ => format!("{name}-kubeconfig"),
    };
    let home = cluster(
        "management",
        &removal.management,
        &assembled.home().namespace,
    );
    let kubeconfig = home.read(&ObjectKey::secret(&secret)).await?;
    let kubeconfig = kubeconfig.filter(|kubeconfig| marks::is_ours(&kubeconfig.object.labels));
    // A registration that was not finished has no RelayCluster.
    let noted = kubeconfig.as_ref();
    let noted = noted.and_then(|secret| secret.object.annotations.get(marks::NAMESPACE));
    let namespace = spec.map(|spec| &spec.namespace).or(noted);
    let namespace = namespace.unwrap_or(&assembled.namespace).clone();
    let workload = cluster(name, &removal.workload, &namespace);
    let mut left = None;
    // Nothing was made where the agent enrols.
    let mut reached = spec.is_none_or(ClusterSpec::is_in_reach);
    let uid = match reached {
        true => Some(workload.uid().await),
        false => None,
    };
    match (uid, &kubeconfig) {
        (Some(Ok(uid)), Some(kubeconfig)) => {
            let registered = kubeconfig.object.annotations.get(marks::UID);
            if registered.is_some_and(|registered| *registered != uid) {
                return Err(refused(
                    format!("the workload cluster is not the one that is registered as {name}"),
                    "name that one with --context or --kubeconfig; if it is gone for good, name one \
                     that cannot be reached",
                ));
            }
        }
        (None, _) | (Some(Ok(_)), None) => {}
        (Some(Err(error)), _) => {
            reached = false;
            left = Some(error);
        }
    }

    let mut steps = Steps::new(removal.dry_run);
    // What says where the rest is goes last: whoever is interrupted begins anew.
    if reached {
        discard_account(&workload, &namespace, name, &mut steps).await?;
    }
    if let Some(object) = object
        && steps.begin("management", format!("RelayCluster {name}"), Change::Delete)
    {
        management.discard(object).await?;
    }
    if let Some(kubeconfig) = kubeconfig
        && steps.begin("management", format!("Secret {secret}"), Change::Delete)
    {
        let key = &kubeconfig.object.key;
        home.delete(key, &kubeconfig.version).await?;
    }
    Ok(Removed {
        steps: steps.done,
        left,
        namespace,
    })
}

/// With `deletionPolicy: Delete` the relay Secrets would go with the object.
fn refuse_to_lose_secrets(object: &RelayCluster) -> Result<(), RegistrationError> {
    let name = object.name_any();
    match object.spec.deletion_policy {
        DeletionPolicy::Retain => Ok(()),
        DeletionPolicy::Delete => Err(refused(
            format!(
                "RelayCluster {name} says deletionPolicy: Delete: its relay Secrets would go too"
            ),
            format!(
                "set it to Retain to keep them; to delete them, kubectl delete relaycluster {name} \
                 first and wait until it is gone"
            ),
        )),
    }
}

async fn discard_account(
    workload: &KubernetesCluster,
    namespace: &str,
    name: &str,
    steps: &mut Steps,
) -> Result<(), ClusterError> {
    // The token first: it is what opens doors.
    let token = workload.read(&ObjectKey::secret(TOKEN_SECRET)).await?;
    if let Some(token) = token
        && is_of(&token.object.labels, &token.object.annotations, name)
        && steps.begin(
            name,
            format!("Secret {namespace}/{TOKEN_SECRET}"),
            Change::Delete,
        )
    {
        workload.delete(&token.object.key, &token.version).await?;
    }
    discard::<RoleBinding>(workload, namespace, name, steps).await?;
    discard::<Role>(workload, namespace, name, steps).await?;
    discard::<ServiceAccount>(workload, namespace, name, steps).await
}

async fn discard<K: Namespaced>(
    workload: &KubernetesCluster,
    namespace: &str,
    name: &str,
    steps: &mut Steps,
) -> Result<(), ClusterError> {
    let Some(found) = workload.find::<K>(ACCOUNT).await? else {
        return Ok(());
    };
    let object = format!("{} {namespace}/{ACCOUNT}", K::kind(&()));
    if is_of(found.labels(), found.annotations(), name) && steps.begin(name, object, Change::Delete)
    {
        workload.discard(&found).await?;
    }
    Ok(())
}

/// Whether an object is of the registration of a cluster.
fn is_of(labels: &marks::Texts, annotations: &marks::Texts, cluster: &str) -> bool {
    let registered = annotations.get(marks::CLUSTER);
    marks::is_ours(labels) && registered.is_some_and(|registered| registered == cluster)
}
