//! RelayClusters for the clusters that Gloo knows: one for each `KubernetesCluster`, which is only read.

use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, ListParams, PostParams};
use kube::{Resource as _, ResourceExt as _};
use serde_json::{Map, json};

use super::TIMEOUT;
use super::context::Context;
use super::objects::Objects;
use crate::cluster::FIELD_MANAGER;
use crate::crd::{DeletionPolicy, RelayCluster, RelayClusterSpec, RelayRef};

/// On RelayClusters that were not written by a person.
const DISCOVERED: &str = "relay-pki.dev/discovered";

/// Makes the RelayClusters that are missing. One that a person wrote is left alone, and so is one whose
/// KubernetesCluster is gone: it is owned by it, and the API server deletes it.
pub(super) async fn run(context: &Context, objects: &Objects) {
    let relays = objects.relays();
    let mut wanting = relays.iter().filter(|relay| {
        let discovery = relay.spec.discovery.as_ref();
        discovery.is_some_and(|discovery| discovery.kubernetes_clusters.is_some())
            && relay.metadata.deletion_timestamp.is_none()
    });
    let Some(relay) = wanting.next() else {
        return;
    };
    for other in wanting {
        let note = format!(
            "spec.discovery has no effect: the KubernetesClusters of this namespace belong to \
             Relay {}; remove it from one of the two",
            relay.name_any()
        );
        context
            .events
            .warn(&other.object_ref(&()), "DiscoveryRefused", &note);
    }
    let found = match list(context).await {
        Ok(found) => found,
        Err(reason) => {
            let note = format!("cannot list the KubernetesClusters: {reason}");
            context
                .events
                .warn(&relay.object_ref(&()), "DiscoveryFailed", &note);
            return;
        }
    };
    let existing = objects.clusters();
    for cluster in found {
        let name = cluster.name_any();
        let is_there = existing.iter().any(|known| known.name_any() == name);
        if is_there || cluster.metadata.deletion_timestamp.is_some() {
            continue;
        }
        let object = relay_cluster(&cluster, &name, &relay.name_any());
        let api: Api<RelayCluster> = Api::namespaced(context.client.clone(), &context.namespace);
        let params = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let create = api.create(&params, &object);
        let note = match tokio::time::timeout(TIMEOUT, create).await {
            Ok(Ok(_)) => {
                let note = format!("found KubernetesCluster {name} and made its RelayCluster");
                context
                    .events
                    .tell(&relay.object_ref(&()), "Discovered", &note);
                continue;
            }
            // We have not heard of it yet.
            Ok(Err(kube::Error::Api(status))) if status.code == 409 => continue,
            Ok(Err(kube::Error::Api(status))) => status.message.clone(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer".to_owned(),
        };
        let note = format!("cannot make RelayCluster {name}: {note}");
        context
            .events
            .warn(&relay.object_ref(&()), "DiscoveryFailed", &note);
    }
}

async fn list(context: &Context) -> Result<Vec<DynamicObject>, String> {
    let kind = GroupVersionKind::gvk("admin.gloo.solo.io", "v2", "KubernetesCluster");
    let resource = ApiResource::from_gvk(&kind);
    let api: Api<DynamicObject> =
        Api::namespaced_with(context.client.clone(), &context.namespace, &resource);
    let all = ListParams::default();
    let list = api.list(&all);
    match tokio::time::timeout(TIMEOUT, list).await {
        Ok(Ok(found)) => Ok(found.items),
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => {
            Err("the API server does not know admin.gloo.solo.io/v2".to_owned())
        }
        Ok(Err(kube::Error::Api(status))) => Err(status.message.clone()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("no answer".to_owned()),
    }
}

fn relay_cluster(found: &DynamicObject, name: &str, relay: &str) -> RelayCluster {
    let secret = json!({ "secretRef": { "name": format!("{name}-kubeconfig") } });
    let spec = RelayClusterSpec {
        relay_ref: RelayRef {
            name: relay.to_owned(),
        },
        deletion_policy: DeletionPolicy::Retain,
        document: Map::from_iter([("kubeconfig".to_owned(), secret)]),
    };
    let mut object = RelayCluster::new(name, spec);
    object
        .labels_mut()
        .insert(DISCOVERED.to_owned(), "true".to_owned());
    let types = found.types.clone().unwrap_or_default();
    object.metadata.owner_references = Some(vec![
        k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference {
            api_version: match types.api_version.is_empty() {
                true => "admin.gloo.solo.io/v2".to_owned(),
                false => types.api_version,
            },
            kind: "KubernetesCluster".to_owned(),
            name: name.to_owned(),
            uid: found.uid().unwrap_or_default(),
            ..Default::default()
        },
    ]);
    object
}
