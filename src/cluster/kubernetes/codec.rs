//! Between [`Object`] and what an API server speaks.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::{ByteString, NamespaceResourceScope};
use kube::Resource;
use kube::api::Preconditions;
use kube::core::request;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::super::rules;
use super::super::{Object, ObjectKey, ObjectKind, SecretBytes, Stored, Version};
use super::FIELD_MANAGER;

/// A type of Kubernetes object that [`Object`]s are stored as.
pub(super) trait Stores:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + fmt::Debug
    + DeserializeOwned
    + Serialize
    + Send
    + Sync
{
    const KIND: ObjectKind;

    fn key(name: &str) -> ObjectKey {
        ObjectKey {
            kind: Self::KIND,
            name: name.to_owned(),
        }
    }

    /// The object to create.
    fn encode(object: &Object) -> Self;

    /// `type` and `data`.
    fn take(self) -> (Option<String>, BTreeMap<String, SecretBytes>);

    /// The fields of the data in a patch, each with its new value.
    fn data_fields(object: &Object) -> Vec<(&'static str, Value)>;
}

impl Stores for Secret {
    const KIND: ObjectKind = ObjectKind::Secret;

    fn encode(object: &Object) -> Self {
        Self {
            metadata: meta(object),
            type_: rules::effective_type(object).map(str::to_owned),
            data: Some(
                object
                    .data
                    .iter()
                    .map(|(key, value)| (key.clone(), ByteString(value.expose().to_vec())))
                    .collect(),
            ),
            ..Self::default()
        }
    }

    fn take(self) -> (Option<String>, BTreeMap<String, SecretBytes>) {
        let data = self.data.unwrap_or_default().into_iter();
        let data = data.map(|(key, value)| (key, SecretBytes::new(value.0)));
        (self.type_, data.collect())
    }

    fn data_fields(object: &Object) -> Vec<(&'static str, Value)> {
        vec![
            ("/data", encoded(&object.data)),
            ("/type", json!(rules::effective_type(object))),
        ]
    }
}

impl Stores for ConfigMap {
    const KIND: ObjectKind = ObjectKind::ConfigMap;

    fn encode(object: &Object) -> Self {
        let (text, binary) = split(&object.data);
        Self {
            metadata: meta(object),
            data: Some(text),
            binary_data: Some(
                binary
                    .into_iter()
                    .map(|(key, value)| (key, ByteString(value.expose().to_vec())))
                    .collect(),
            ),
            ..Self::default()
        }
    }

    fn take(self) -> (Option<String>, BTreeMap<String, SecretBytes>) {
        let text = self.data.unwrap_or_default().into_iter();
        let binary = self.binary_data.unwrap_or_default().into_iter();
        let data = text
            .map(|(key, value)| (key, SecretBytes::new(value)))
            .chain(binary.map(|(key, value)| (key, SecretBytes::new(value.0))));
        (None, data.collect())
    }

    fn data_fields(object: &Object) -> Vec<(&'static str, Value)> {
        let (text, binary) = split(&object.data);
        vec![("/data", json!(text)), ("/binaryData", encoded(&binary))]
    }
}

fn meta(object: &Object) -> ObjectMeta {
    ObjectMeta {
        name: Some(object.key.name.clone()),
        labels: Some(object.labels.clone()),
        annotations: Some(object.annotations.clone()),
        ..ObjectMeta::default()
    }
}

fn encoded(data: &BTreeMap<String, SecretBytes>) -> Value {
    let encode = |value: &SecretBytes| STANDARD.encode(value.expose());
    let data = data.iter();
    data.map(|(key, value)| (key.clone(), Value::from(encode(value))))
        .collect()
}

/// What is text, and what is not: a ConfigMap keeps the two apart.
fn split(
    data: &BTreeMap<String, SecretBytes>,
) -> (BTreeMap<String, String>, BTreeMap<String, SecretBytes>) {
    let (mut text, mut binary) = (BTreeMap::new(), BTreeMap::new());
    for (key, value) in data {
        match std::str::from_utf8(value.expose()) {
            Ok(value) => text.insert(key.clone(), value.to_owned()).map(|_| ()),
            Err(_) => binary.insert(key.clone(), value.clone()).map(|_| ()),
        };
    }
    (text, binary)
}

/// What is there, with its version; or what is missing in it.
pub(super) fn decode<K: Stores>(mut found: K, namespace: &str) -> Result<Stored, String> {
    let version = version(found.meta());
    let meta = std::mem::take(found.meta_mut());
    let name = meta.name.ok_or("it has no name")?;
    let (secret_type, data) = found.take();
    Ok(Stored {
        place: format!("{} {namespace}/{name}", K::KIND.as_str()),
        object: Object {
            key: K::key(&name),
            secret_type,
            labels: meta.labels.unwrap_or_default(),
            annotations: meta.annotations.unwrap_or_default(),
            data,
        },
        version,
        exposed: false,
    })
}

/// `uid/resourceVersion`: an object that was deleted and made anew has another one, whatever its
/// `resourceVersion`.
pub(super) fn version(meta: &ObjectMeta) -> Version {
    let uid = meta.uid.as_deref().unwrap_or_default();
    let version = meta.resource_version.as_deref().unwrap_or_default();
    Version(format!("{uid}/{version}"))
}

/// One state of one object.
pub(super) struct At<'a> {
    pub(super) uid: &'a str,
    pub(super) resource_version: &'a str,
}

impl<'a> At<'a> {
    /// None if `version` is not one of an API server.
    pub(super) fn parse(version: &'a Version) -> Option<Self> {
        let (uid, resource_version) = version.0.split_once('/')?;
        let complete = !uid.is_empty() && !resource_version.is_empty();
        complete.then_some(Self {
            uid,
            resource_version,
        })
    }
}

impl From<At<'_>> for Preconditions {
    fn from(at: At<'_>) -> Self {
        Self {
            uid: Some(at.uid.to_owned()),
            resource_version: Some(at.resource_version.to_owned()),
        }
    }
}

/// The body of a request that creates `object`.
pub(super) fn new_object<K: Stores>(object: &Object) -> Result<Vec<u8>, request::Error> {
    serde_json::to_vec(&K::encode(object)).map_err(request::Error::SerializeBody)
}

/// The request that makes what is at `at` into `object`. Naming `uid` and `resourceVersion` makes the
/// API server compare them.
pub(super) fn patch_request<K: Stores>(
    path: &str,
    object: &Object,
    at: &At<'_>,
) -> Result<http::Request<Vec<u8>>, request::Error> {
    let replaced = [
        ("/metadata/uid", json!(at.uid)),
        ("/metadata/resourceVersion", json!(at.resource_version)),
    ];
    // `add` puts a value there whether or not there is one.
    let added = [
        ("/metadata/labels", json!(object.labels)),
        ("/metadata/annotations", json!(object.annotations)),
    ];
    let operations: Vec<Operation> = replaced
        .into_iter()
        .map(Operation::of("replace"))
        .chain(added.into_iter().map(Operation::of("add")))
        .chain(K::data_fields(object).into_iter().map(Operation::of("add")))
        .collect();
    let body = serde_json::to_vec(&operations).map_err(request::Error::SerializeBody)?;
    let name = &object.key.name;
    http::Request::patch(format!("{path}/{name}?fieldManager={FIELD_MANAGER}"))
        .header(http::header::ACCEPT, "application/json")
        .header(http::header::CONTENT_TYPE, "application/json-patch+json")
        .body(body)
        .map_err(request::Error::BuildRequest)
}

/// One operation of a JSON Patch (RFC 6902).
#[derive(Serialize)]
struct Operation {
    op: &'static str,
    path: &'static str,
    value: Value,
}

impl Operation {
    fn of(op: &'static str) -> impl Fn((&'static str, Value)) -> Self {
        move |(path, value)| Self { op, path, value }
    }
}
