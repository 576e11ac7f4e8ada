//! Owner labels: what carries ours may be changed, everything else is somebody's.

use std::collections::BTreeMap;

use crate::cluster::Object;

const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
const PRODUCT: &str = "relay-pki";
const RELAY: &str = "relay-pki.dev/relay";
const ENROLMENT: &str = "relay-pki.dev/enrolment";

/// Number of the latest rotation request that an object satisfies.
pub const REQUEST_ANNOTATION: &str = "relay-pki.dev/request";

/// When the trust bundle in an object, or what leads from its certificate to the roots, was replaced
/// last: until a soak time later somebody may use what was there before. Renewals do not count.
pub const ROTATED_ANNOTATION: &str = "relay-pki.dev/rotated-at";

/// Whose an object is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// This relay's: we may change it.
    Us,
    /// Managed by relay-pki for another relay; never touched.
    OtherRelay(String),
    /// Not managed by relay-pki; taken over only on request.
    Foreign,
}

/// The labels that make an object ours.
pub fn labels(relay: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        (MANAGED_BY.to_owned(), PRODUCT.to_owned()),
        (RELAY.to_owned(), relay.to_owned()),
    ])
}

/// The labels of a record of one cluster's enrolment. Not those of everything else, which is read
/// again and again: there are as many of these as clusters.
pub fn enrolment_labels(relay: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        (MANAGED_BY.to_owned(), PRODUCT.to_owned()),
        (ENROLMENT.to_owned(), relay.to_owned()),
    ])
}

/// The label that selects the records of enrolments of `relay`.
pub fn enrolment_selector(relay: &str) -> (&str, &str) {
    (ENROLMENT, relay)
}

/// The label that selects everything of `relay`.
pub fn selector(relay: &str) -> (&str, &str) {
    (RELAY, relay)
}

/// Whether `object` says that somebody keeps it, us included.
pub fn is_managed(object: &Object) -> bool {
    object.labels.contains_key(MANAGED_BY)
}

/// Whose `object` is, seen from `relay`.
pub fn owner_of(object: &Object, relay: &str) -> Owner {
    let managed = object.labels.get(MANAGED_BY).map(String::as_str) == Some(PRODUCT);
    match object.labels.get(RELAY) {
        Some(name) if managed && name == relay => Owner::Us,
        Some(name) if managed => Owner::OtherRelay(name.clone()),
        _ => Owner::Foreign,
    }
}
