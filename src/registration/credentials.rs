//! The kubeconfig of a workload cluster, in a Secret of the management cluster.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::endpoint::KubeconfigCluster;
use super::error::RegistrationError;
use super::guards::KubeconfigSecret;
use super::marks;
use super::steps::{Change, Steps};
use crate::cluster::{Cluster, Expected, Object, ObjectKey, SecretBytes, Stored};

/// What a kubeconfig is made of.
pub(super) struct Content<'a> {
    pub(super) cluster: &'a str,
    pub(super) relay: &'a str,
    pub(super) uid: &'a str,
    pub(super) namespace: &'a str,
    pub(super) target: &'a KubeconfigCluster,
    /// None in a dry run, where there is no token yet.
    pub(super) token: Option<&'a SecretBytes>,
}

/// Makes the Secret what it should be.
pub(super) async fn keep(
    home: &dyn Cluster,
    secret: &KubeconfigSecret,
    kept: Option<Stored>,
    content: &Content<'_>,
    steps: &mut Steps,
) -> Result<(), RegistrationError> {
    let (mut object, expected) = match kept {
        Some(stored) => (stored.object, Expected::At(stored.version)),
        None => (empty(&secret.name), Expected::Absent),
    };
    let before = object.clone();
    object.labels.extend(marks::labels());
    let mut annotations = marks::annotations(content.cluster, content.relay);
    annotations.insert(marks::UID.to_owned(), content.uid.to_owned());
    annotations.insert(marks::NAMESPACE.to_owned(), content.namespace.to_owned());
    object.annotations.extend(annotations);
    if let Some(token) = content.token {
        let kubeconfig = kubeconfig(content, token)?;
        object.data.insert(secret.key.clone(), kubeconfig);
    }
    let change = match &expected {
        Expected::Absent => Change::Create,
        Expected::At(_) if object == before && content.token.is_some() => Change::Keep,
        Expected::At(_) => Change::Change,
    };
    if steps.begin(home.name(), object.key.to_string(), change) {
        home.write(&object, &expected).await?;
    }
    Ok(())
}

fn empty(name: &str) -> Object {
    Object {
        key: ObjectKey::secret(name),
        secret_type: Some("Opaque".to_owned()),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        data: BTreeMap::new(),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Kubeconfig<'a> {
    api_version: &'static str,
    kind: &'static str,
    clusters: [Named<'a, Server<'a>>; 1],
    users: [Named<'a, User<'a>>; 1],
    contexts: [Named<'a, Context<'a>>; 1],
    #[serde(rename = "current-context")]
    current_context: &'a str,
}

/// An entry, under the field that its list calls it by.
struct Named<'a, T> {
    name: &'a str,
    field: &'static str,
    value: T,
}

impl<T: Serialize> Serialize for Named<'_, T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap as _;
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("name", self.name)?;
        map.serialize_entry(self.field, &self.value)?;
        map.end()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Server<'a> {
    server: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate_authority_data: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_server_name: Option<&'a str>,
}

#[derive(Serialize)]
struct User<'a> {
    token: &'a str,
}

#[derive(Serialize)]
struct Context<'a> {
    cluster: &'a str,
    user: &'a str,
}

/// More than any kubeconfig here has: a buffer that grows leaves copies of the token behind.
const LARGEST: usize = 64 * 1024;

fn kubeconfig(
    content: &Content<'_>,
    token: &SecretBytes,
) -> Result<SecretBytes, RegistrationError> {
    let unusable = |what: &str| RegistrationError::Unfinished {
        what: format!(
            "the token of cluster {} cannot be written down: {what}",
            content.cluster
        ),
        fix: "delete the Secret of the token and run the same command again".to_owned(),
    };
    let name = content.cluster;
    let kubeconfig = Kubeconfig {
        api_version: "v1",
        kind: "Config",
        clusters: [Named {
            name,
            field: "cluster",
            value: Server {
                server: content.target.server(),
                certificate_authority_data: content
                    .target
                    .authorities()
                    .map(|pem| STANDARD.encode(pem)),
                tls_server_name: content.target.server_name(),
            },
        }],
        users: [Named {
            name,
            field: "user",
            value: User {
                token: std::str::from_utf8(token.expose()).map_err(|_| unusable("not UTF-8"))?,
            },
        }],
        contexts: [Named {
            name,
            field: "context",
            value: Context {
                cluster: name,
                user: name,
            },
        }],
        current_context: name,
    };
    let mut text = Vec::with_capacity(LARGEST);
    // JSON is YAML, and can be written without a copy. What went wrong could quote it.
    serde_json::to_writer_pretty(&mut text, &kubeconfig).map_err(|_| unusable("no JSON"))?;
    Ok(SecretBytes::new(text))
}
