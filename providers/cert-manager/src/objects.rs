//! The objects of cert-manager, as far as they are read or written here.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::settings::IssuerRef;

pub(crate) const API_VERSION: &str = "cert-manager.io/v1";

/// Labels of everything that is made here.
pub(crate) const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "relay-pki");
/// Label: the relay that it was made for.
pub(crate) const RELAY: &str = "relay-pki.dev/relay";
/// Annotation: when the certificate would have ended, and the request can go.
pub(crate) const ENDS: &str = "relay-pki.dev/ends";

/// What says which object it is.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Metadata {
    pub(crate) name: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
    #[serde(skip_serializing)]
    pub(crate) uid: String,
    #[serde(skip_serializing)]
    pub(crate) resource_version: String,
    #[serde(skip_serializing)]
    pub(crate) creation_timestamp: Option<jiff::Timestamp>,
}

impl Metadata {
    pub(crate) fn new(name: String, relay: &str) -> Self {
        let labels = [MANAGED_BY, (RELAY, relay)];
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
        Self {
            name,
            labels: labels.into(),
            ..Self::default()
        }
    }
}

/// A `CertificateRequest`. Its specification never changes.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CertificateRequest {
    #[serde(default)]
    pub(crate) api_version: String,
    #[serde(default)]
    pub(crate) kind: String,
    pub(crate) metadata: Metadata,
    pub(crate) spec: RequestSpec,
    #[serde(default, skip_serializing)]
    pub(crate) status: RequestStatus,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RequestSpec {
    /// PEM in base64.
    pub(crate) request: String,
    pub(crate) issuer_ref: IssuerRef,
    /// As Go writes durations.
    #[serde(default)]
    pub(crate) duration: String,
    #[serde(default, rename = "isCA")]
    pub(crate) is_ca: bool,
    #[serde(default)]
    pub(crate) usages: Vec<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct RequestStatus {
    pub(crate) conditions: Vec<Condition>,
    /// PEM in base64.
    pub(crate) certificate: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Condition {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) status: String,
    pub(crate) reason: String,
    pub(crate) message: String,
}

/// An `Issuer` that signs with the CA in a Secret.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Issuer {
    #[serde(default)]
    pub(crate) api_version: String,
    #[serde(default)]
    pub(crate) kind: String,
    pub(crate) metadata: Metadata,
    pub(crate) spec: IssuerSpec,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct IssuerSpec {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ca: Option<CaIssuer>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct CaIssuer {
    pub(crate) secret_name: String,
}

/// What a list says of its objects, and what is asked of a permission.
#[derive(Debug, Deserialize)]
pub(crate) struct Page {
    pub(crate) metadata: PageMetadata,
    pub(crate) items: Vec<Item>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct PageMetadata {
    #[serde(rename = "continue")]
    pub(crate) next: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Item {
    pub(crate) metadata: Metadata,
}

/// A `SelfSubjectAccessReview`, answered.
#[derive(Debug, Deserialize)]
pub(crate) struct AccessReview {
    pub(crate) status: AccessReviewStatus,
}

#[derive(Debug, Deserialize)]
pub(crate) struct AccessReviewStatus {
    pub(crate) allowed: bool,
}
