//! What speaks against a registration. Nothing here writes.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::ResourceExt as _;
use kube::api::{ApiResource, GroupVersionKind};
use relay_pki_authority::x509::CertificateChain;
use serde_json::{Map, json};

use super::Request;
use super::account::{ACCOUNT, Account, TOKEN_SECRET, TOKEN_TYPE};
use super::error::{RegistrationError, refused};
use super::marks;
use super::steps::{Change, Steps};
use crate::cluster::{Cluster, KubernetesCluster, Namespaced, ObjectKey, Stored as StoredSecret};
use crate::config::{Assembled, ClusterSpec, Delivery, Location, Problem, Relay, did_you_mean};
use crate::crd::{DeletionPolicy, RelayCluster, RelayClusterSpec, RelayRef, Stored, assemble};
use crate::relay::{SecretRole, TLS_CERT, secret_name};

/// Most names that a message has.
const NAMES: usize = 20;

/// Refuses a name that Gloo does not know, where it knows clusters.
pub(super) async fn known_to_gloo(
    management: &KubernetesCluster,
    name: &str,
) -> Result<(), RegistrationError> {
    let kind = GroupVersionKind::gvk("admin.gloo.solo.io", "v2", "KubernetesCluster");
    let found = management
        .find_foreign(&ApiResource::from_gvk(&kind))
        .await?;
    let names: Vec<String> = found.iter().map(|found| found.name_any()).collect();
    if names.is_empty() || names.iter().any(|known| known == name) {
        return Ok(());
    }
    let near = did_you_mean(name, names.iter().map(String::as_str));
    let near = near.map_or_else(String::new, |near| format!("did you mean {near}? "));
    let mut shown = names.clone();
    shown.sort();
    shown.truncate(NAMES);
    Err(refused(
        format!("there is no KubernetesCluster {name}, and the agent's name has to be that of one"),
        format!(
            "{near}KubernetesClusters of the namespace: {}{}",
            shown.join(", "),
            if names.len() > NAMES { ", …" } else { "" }
        ),
    ))
}

/// The RelayCluster of a registration.
pub(super) struct Wanted {
    object: RelayCluster,
    exists: bool,
}

/// The RelayCluster that is there, or the one to make: of a cluster whose agent `enrolls`, or of one that
/// is reached with a kubeconfig.
pub(super) fn relay_cluster(
    stored: &Stored,
    request: &Request,
    enrolls: bool,
) -> Result<Wanted, RegistrationError> {
    let (name, relay) = (request.name.as_str(), stored.relay.name_any());
    if let Some(found) = stored.cluster(name) {
        let other = &found.spec.relay_ref.name;
        if *other != relay {
            return Err(refused(
                format!("RelayCluster {name} belongs to Relay {other}, not to {relay}"),
                format!("register it with --relay {other}, or choose another name"),
            ));
        }
        if found.metadata.deletion_timestamp.is_some() {
            return Err(refused(
                format!("RelayCluster {name} is being deleted"),
                "wait until it is gone, then run the same command again",
            ));
        }
        return Ok(Wanted {
            object: found.clone(),
            exists: true,
        });
    }
    let mut document = match enrolls {
        true => Map::from_iter([("delivery".to_owned(), json!(Delivery::Enroll.as_str()))]),
        false => {
            let secret = json!({ "secretRef": { "name": format!("{name}-kubeconfig") } });
            Map::from_iter([("kubeconfig".to_owned(), secret)])
        }
    };
    if let Some(namespace) = &request.workload_namespace {
        document.insert("namespace".to_owned(), json!(namespace));
    }
    let spec = RelayClusterSpec {
        relay_ref: RelayRef { name: relay },
        deletion_policy: DeletionPolicy::Retain,
        document,
    };
    let mut object = RelayCluster::new(name, spec);
    object.metadata.namespace = stored.relay.metadata.namespace.clone();
    object.metadata.labels = Some(marks::labels());
    Ok(Wanted {
        object,
        exists: false,
    })
}

impl Wanted {
    /// The relay with the cluster in it.
    pub(super) fn assembled(&self, stored: &Stored) -> Result<Assembled, RegistrationError> {
        let clusters = stored.clusters.iter();
        let staying = clusters.filter(|cluster| cluster.metadata.deletion_timestamp.is_none());
        let new = (!self.exists).then_some(&self.object);
        Ok(assemble(&stored.relay, staying.chain(new))?)
    }

    /// Makes the object. One that is there stays as somebody wrote it.
    pub(super) async fn write(
        &self,
        management: &KubernetesCluster,
        steps: &mut Steps,
    ) -> Result<(), RegistrationError> {
        let name = self.object.name_any();
        let change = match self.exists {
            true => Change::Keep,
            false => Change::Create,
        };
        if steps.begin(management.name(), format!("RelayCluster {name}"), change) {
            management.apply(&self.object, false).await?;
        }
        Ok(())
    }
}

/// The cluster as the relay has it.
pub(super) fn spec<'a>(
    relay: &'a Relay,
    rejected: &mut BTreeMap<String, Vec<Problem>>,
    name: &str,
) -> Result<&'a ClusterSpec, RegistrationError> {
    if let Some(problems) = rejected.remove(name) {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        return Err(refused(
            lines.join("\n"),
            "choose another name or namespace, or correct the RelayCluster",
        ));
    }
    let mut clusters = relay.clusters.iter();
    let found = clusters.find(|spec| spec.name.as_str() == name);
    found.ok_or_else(|| {
        refused(
            format!("Relay {} cannot have a cluster {name}", relay.name),
            "choose another name",
        )
    })
}

/// Refuses another namespace than the RelayCluster says.
pub(super) fn namespace(spec: &ClusterSpec, asked: Option<&str>) -> Result<(), RegistrationError> {
    match asked {
        Some(asked) if asked != spec.namespace => Err(refused(
            format!(
                "RelayCluster {} has its Secrets in namespace {}, not in {asked}",
                spec.name, spec.namespace
            ),
            format!(
                "leave --workload-namespace out, or change spec.namespace of the RelayCluster \
                     to {asked}"
            ),
        )),
        _ => Ok(()),
    }
}

/// Where the kubeconfig of a cluster is.
#[derive(Debug, Clone)]
pub(super) struct KubeconfigSecret {
    pub(super) name: String,
    pub(super) key: String,
}

/// The Secret that the RelayCluster names.
pub(super) fn kubeconfig_secret(spec: &ClusterSpec) -> Result<KubeconfigSecret, RegistrationError> {
    match &spec.location {
        Location::KubeconfigSecret { name, key } => Ok(KubeconfigSecret {
            name: name.clone(),
            key: key.clone(),
        }),
        other => Err(refused(
            format!(
                "RelayCluster {} is {other}: there is nothing to register",
                spec.name
            ),
            "choose another name",
        )),
    }
}

/// Refuses to register the management cluster as a workload cluster of itself. The uid of the
/// workload cluster.
pub(super) async fn two_clusters(
    management: &KubernetesCluster,
    workload: &KubernetesCluster,
    relay: &Relay,
    name: &str,
) -> Result<String, RegistrationError> {
    let (home, uid) = (management.uid().await?, workload.uid().await?);
    if home != uid {
        return Ok(uid);
    }
    Err(refused(
        format!(
            "{name} is the management cluster of Relay {} itself",
            relay.name
        ),
        format!(
            "name the workload cluster with --context or --kubeconfig; for an agent in the \
             management cluster write a RelayCluster {name} with role: management, inCluster: {{}} \
             and agent: true"
        ),
    ))
}

/// The kubeconfig Secret that is there, if it is ours and of this cluster.
pub(super) async fn kept_kubeconfig(
    home: &dyn Cluster,
    secret: &KubeconfigSecret,
    name: &str,
    uid: &str,
) -> Result<Option<StoredSecret>, RegistrationError> {
    let Some(stored) = home.read(&ObjectKey::secret(&secret.name)).await? else {
        return Ok(None);
    };
    let (place, annotations) = (&stored.place, &stored.object.annotations);
    if !marks::is_ours(&stored.object.labels) {
        return Err(refused(
            format!("{place} exists and was not made by a registration"),
            format!(
                "delete or rename it if nothing needs it; or write a RelayCluster {name} that names \
                 another Secret"
            ),
        ));
    }
    let other = |key: &str, ours: &str| {
        let found = annotations.get(key);
        found.filter(|found| *found != ours).cloned()
    };
    if let Some(other) = other(marks::CLUSTER, name) {
        return Err(refused(
            format!("{place} holds the kubeconfig of cluster {other}"),
            format!("relay-pki cluster unregister {other}, or choose another name"),
        ));
    }
    if other(marks::UID, uid).is_some() {
        return Err(refused(
            format!("{place} leads to another Kubernetes cluster that is registered as {name}"),
            format!(
                "choose another name; if that cluster is gone for good: relay-pki cluster \
                 unregister {name}"
            ),
        ));
    }
    Ok(Some(stored))
}

/// What a workload cluster has of a registration.
pub(super) struct Found {
    pub(super) namespace: bool,
    pub(super) account: Option<ServiceAccount>,
    pub(super) role: Option<Role>,
    pub(super) binding: Option<RoleBinding>,
    pub(super) token: Option<StoredSecret>,
}

impl Found {
    /// Reads it; refused if something is somebody else's, or of another registration.
    pub(super) async fn read(
        workload: &KubernetesCluster,
        account: &Account,
    ) -> Result<Self, RegistrationError> {
        let found = Self {
            namespace: workload.has_namespace().await?,
            account: workload.find(ACCOUNT).await?,
            role: workload.find(ACCOUNT).await?,
            binding: workload.find(ACCOUNT).await?,
            token: workload.read(&ObjectKey::secret(TOKEN_SECRET)).await?,
        };
        check(found.account.as_ref(), account)?;
        check(found.role.as_ref(), account)?;
        check(found.binding.as_ref(), account)?;
        if let Some(token) = &found.token {
            let object = &token.object;
            let (cluster, relay) = (&account.cluster, &account.relay);
            marks::check(
                &token.place,
                &object.labels,
                &object.annotations,
                cluster,
                relay,
            )?;
            if object.secret_type.as_deref() != Some(TOKEN_TYPE) {
                return Err(refused(
                    format!("{} is not of type {TOKEN_TYPE}", token.place),
                    "delete it, then run the same command again",
                ));
            }
        }
        Ok(found)
    }
}

fn check<K: Namespaced>(found: Option<&K>, account: &Account) -> Result<(), RegistrationError> {
    let Some(found) = found else {
        return Ok(());
    };
    let place = format!(
        "{} {}/{}",
        K::kind(&()),
        found.namespace().unwrap_or_default(),
        found.name_any()
    );
    let (labels, annotations) = (found.labels(), found.annotations());
    marks::check(
        &place,
        labels,
        annotations,
        &account.cluster,
        &account.relay,
    )
}

/// Refuses a cluster whose agent has a certificate with another name: the relay knows it by that.
pub(super) async fn client_certificate(
    workload: &KubernetesCluster,
    relay: &Relay,
    spec: &ClusterSpec,
) -> Result<(), RegistrationError> {
    let secret = secret_name(relay, spec, SecretRole::Client);
    let Some(stored) = workload.read(&ObjectKey::secret(&secret)).await? else {
        return Ok(());
    };
    let pem = stored.object.data.get(TLS_CERT);
    // What is no certificate names no cluster; what becomes of it is the plan's business.
    let Some(Ok(chain)) = pem.map(|pem| CertificateChain::from_pem(pem.expose())) else {
        return Ok(());
    };
    let names = chain.leaf().dns_names();
    let name = spec.name.as_str();
    if names.is_empty() || names.iter().any(|known| known == name) {
        return Ok(());
    }
    Err(refused(
        format!(
            "the agent's certificate in {} names the cluster {}, not {name}",
            stored.place,
            names.join(", ")
        ),
        "register the cluster with that name; to rename it, delete that Secret first",
    ))
}

/// What to tell of other RelayClusters of the Relay that do not count.
pub(super) fn other_rejections(
    rejected: &BTreeMap<String, Vec<Problem>>,
    name: &str,
) -> Option<String> {
    let mut names: Vec<&str> = rejected.keys().map(String::as_str).collect();
    names.retain(|other| *other != name);
    names.truncate(NAMES);
    match names.is_empty() {
        true => None,
        false => Some(format!(
            "other RelayClusters of the Relay are wrong: {}; see relay-pki cluster list",
            names.join(", ")
        )),
    }
}
