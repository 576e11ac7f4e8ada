//! How the objects of a registration are told from everybody else's. They do not carry the label of
//! the relay's Secrets: nobody must take them for a part of the relay, or delete them with it.

use std::collections::BTreeMap;

use super::error::{RegistrationError, refused};

const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
const PRODUCT: &str = "relay-pki";
const COMPONENT: &str = "app.kubernetes.io/component";
const REGISTRATION: &str = "registration";

/// Annotation with the name that the cluster is registered under.
pub(super) const CLUSTER: &str = "relay-pki.dev/cluster";
/// Annotation with the Relay that it is registered for.
pub(super) const RELAY: &str = "relay-pki.dev/registered-for";
/// Annotation with what tells the Kubernetes cluster from every other.
pub(super) const UID: &str = "relay-pki.dev/cluster-uid";

/// Annotation with the namespace of the relay Secrets in the cluster.
pub(super) const NAMESPACE: &str = "relay-pki.dev/cluster-namespace";

pub(super) type Texts = BTreeMap<String, String>;

/// The labels of the objects of a registration.
pub(super) fn labels() -> Texts {
    Texts::from([
        (MANAGED_BY.to_owned(), PRODUCT.to_owned()),
        (COMPONENT.to_owned(), REGISTRATION.to_owned()),
    ])
}

/// The annotations of the objects of a registration.
pub(super) fn annotations(cluster: &str, relay: &str) -> Texts {
    Texts::from([
        (CLUSTER.to_owned(), cluster.to_owned()),
        (RELAY.to_owned(), relay.to_owned()),
    ])
}

/// Refuses an object that is not of a registration of this cluster for this relay.
pub(super) fn check(
    place: &str,
    labels: &Texts,
    annotations: &Texts,
    cluster: &str,
    relay: &str,
) -> Result<(), RegistrationError> {
    if !is_ours(labels) {
        return Err(refused(
            format!("{place} exists and was not made by a registration"),
            "delete or rename it if nothing needs it; or choose another --workload-namespace",
        ));
    }
    for (annotation, what, ours) in [(CLUSTER, "name", cluster), (RELAY, "Relay", relay)] {
        if let Some(other) = annotations.get(annotation)
            && other != ours
        {
            return Err(refused(
                format!("{place} says that the cluster is registered with the {what} {other}"),
                format!(
                    "register it as it was, or take that out first: relay-pki cluster unregister {}",
                    annotations.get(CLUSTER).map_or(cluster, String::as_str)
                ),
            ));
        }
    }
    Ok(())
}

/// Whether an object was made by a registration.
pub(super) fn is_ours(found: &Texts) -> bool {
    let labels = labels();
    labels
        .iter()
        .all(|(label, value)| found.get(label) == Some(value))
}
