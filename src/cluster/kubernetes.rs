//! A cluster as a namespace of a Kubernetes API server.
//!
//! Reads are quorum reads (no `resourceVersion`, so never answered from a cache). Every change is a
//! JSON Patch that names `uid` and `resourceVersion`: the API server answers 409 if either is another.
//! The patch replaces `data`, `labels` and `annotations` as a whole and leaves everything else
//! (owner references, finalizers, `immutable`) as it is. Server-side apply could not do that: it
//! never takes out a key that another manager wrote, and that is what a private key in the wrong
//! place is.

mod access;
mod codec;
mod exchange;
mod kubeconfig;
mod kubeconfig_file;
mod lease;
mod typed;
mod watch;
mod workloads;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{DeleteParams, GetParams, ListParams, ObjectList, PostParams};
use kube::core::{Request, request};
use kube::{Client, Resource};
use serde::de::{DeserializeOwned, IgnoredAny};

use self::access::Connection;
use self::codec::Stores;
use self::exchange::{Failure, exchange};
use super::{
    Cluster, ClusterError, Expected, LockGuard, Object, ObjectKey, ObjectKind, Stored, Version,
    Workloads, rules,
};

pub use self::access::{Access, Endpoint};
pub use self::lease::{Lease, LeaseError, LeaseHold};
pub use self::typed::Namespaced;
pub use self::watch::Change;

/// Field manager of everything that relay-pki writes.
pub const FIELD_MANAGER: &str = "relay-pki";

/// Longest that one request to an API server may take, all its attempts together.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// How many objects one page of a list has.
const PAGE: u32 = 250;

/// How long the write lock lasts without being renewed.
const LOCK_DURATION: Duration = Duration::from_secs(10);

/// One namespace of one API server.
pub struct KubernetesCluster {
    name: String,
    namespace: String,
    connection: Connection,
    holds_records: bool,
    lock: LockName,
}

/// The Lease that keeps other writers out, and who we are in it.
#[derive(Debug, Clone)]
pub struct LockName {
    /// The Lease's name.
    pub lease: String,
    /// What other writers are told of us.
    pub identity: String,
}

impl KubernetesCluster {
    /// The cluster `name`, whose relay objects are in `namespace`. Nothing is connected yet.
    pub fn new(name: &str, namespace: &str, access: Access, lock: LockName) -> Self {
        Self {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            connection: Connection::new(name, access),
            holds_records: true,
            lock,
        }
    }

    /// A cluster in which only Secrets are: ConfigMaps are not listed, so that no right to do so is
    /// needed.
    #[must_use]
    pub fn without_records(mut self) -> Self {
        self.holds_records = false;
        self
    }

    /// A client of the API server.
    pub async fn client(&self) -> Result<Client, ClusterError> {
        self.connection.client().await
    }

    /// The API server refused the credentials: the next client reads them anew.
    pub fn forget_credentials(&self) {
        self.connection.forget();
    }

    /// Sends a request about objects of type `K`.
    async fn request<K: Resource<DynamicType = ()>, T: DeserializeOwned>(
        &self,
        operation: &str,
        key: Option<&ObjectKey>,
        build: impl FnOnce(&Request) -> Result<http::Request<Vec<u8>>, request::Error>,
    ) -> Result<T, ClusterError> {
        let requests = Request::new(K::url_path(&(), Some(&self.namespace)));
        let answer = self.send(operation, build(&requests)).await?;
        answer.map_err(|failure| self.error(operation, key, &failure))
    }

    /// Sends a request; without a connection there is no answer, not even a bad one.
    async fn send<T: DeserializeOwned>(
        &self,
        operation: &str,
        request: Result<http::Request<Vec<u8>>, request::Error>,
    ) -> Result<Result<T, Failure>, ClusterError> {
        let request = request.map_err(|error| {
            self.error(operation, None, &Failure::unreachable(error.to_string()))
        })?;
        let client = self.connection.client().await?;
        let answer = exchange(&client, request, REQUEST_TIMEOUT).await;
        Ok(answer.inspect_err(|failure| {
            if failure.is_about_credentials() {
                // The next call reads them anew: they may have been replaced.
                self.connection.forget();
            }
        }))
    }

    fn error(&self, operation: &str, key: Option<&ObjectKey>, failure: &Failure) -> ClusterError {
        failure.cluster_error(&self.name, &self.namespace, operation, key)
    }

    fn conflict(&self, key: &ObjectKey) -> ClusterError {
        ClusterError::Conflict {
            cluster: self.name.clone(),
            object: key.clone(),
        }
    }

    async fn get<K: Stores>(&self, name: &str) -> Result<Option<Stored>, ClusterError> {
        let key = K::key(name);
        let operation = format!("read {key}");
        let found = self
            .request::<K, K>(&operation, Some(&key), |requests| {
                requests.get(name, &GetParams::default())
            })
            .await;
        match found {
            Ok(found) => self.stored(found, name).map(Some),
            Err(ClusterError::Conflict { .. } | ClusterError::NoNamespace { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn page_through<K: Stores>(
        &self,
        selector: &str,
        found: &mut Vec<Stored>,
    ) -> Result<(), ClusterError> {
        let operation = format!("list {}s", K::KIND.as_str());
        let mut params = ListParams::default().labels(selector).limit(PAGE);
        loop {
            let page: ObjectList<K> = self
                .request::<K, _>(&operation, None, |requests| requests.list(&params))
                .await?;
            for item in page.items {
                found.push(self.stored(item, "?")?);
            }
            match page.metadata.continue_ {
                Some(token) if !token.is_empty() => params.continue_token = Some(token),
                _ => return Ok(()),
            }
        }
    }

    fn stored<K: Stores>(&self, found: K, name: &str) -> Result<Stored, ClusterError> {
        codec::decode(found, &self.namespace).map_err(|reason| ClusterError::Malformed {
            cluster: self.name.clone(),
            place: format!("{} {}/{name}", K::KIND.as_str(), self.namespace),
            reason,
        })
    }

    async fn create<K: Stores>(&self, object: &Object) -> Result<Version, ClusterError> {
        let params = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let operation = format!("create {}", object.key);
        let created: K = self
            .request::<K, _>(&operation, Some(&object.key), |requests| {
                requests.create(&params, codec::new_object::<K>(object)?)
            })
            .await?;
        Ok(codec::version(created.meta()))
    }

    async fn replace<K: Stores>(
        &self,
        object: &Object,
        version: &Version,
    ) -> Result<Version, ClusterError> {
        let Some(at) = codec::At::parse(version) else {
            // Not a version of an API server: certainly not the one that is there.
            return Err(self.conflict(&object.key));
        };
        let operation = format!("write {}", object.key);
        let path = K::url_path(&(), Some(&self.namespace));
        let patched: K = self
            .request::<K, _>(&operation, Some(&object.key), |_| {
                codec::patch_request::<K>(&path, object, &at)
            })
            .await?;
        Ok(codec::version(patched.meta()))
    }

    async fn remove<K: Stores>(&self, name: &str, version: &Version) -> Result<(), ClusterError> {
        let key = K::key(name);
        let Some(at) = codec::At::parse(version) else {
            return Err(self.conflict(&key));
        };
        let params = DeleteParams {
            preconditions: Some(at.into()),
            ..DeleteParams::default()
        };
        let operation = format!("delete {key}");
        // The answer is the object or a status: neither matters.
        self.request::<K, IgnoredAny>(&operation, Some(&key), |requests| {
            requests.delete(name, &params)
        })
        .await
        .map(|_| ())
    }
}

#[async_trait]
impl Cluster for KubernetesCluster {
    fn name(&self) -> &str {
        &self.name
    }

    fn location(&self) -> String {
        format!("{}, namespace {}", self.connection.place(), self.namespace)
    }

    async fn list(
        &self,
        selector: (&str, &str),
        wanted: &[ObjectKey],
    ) -> Result<Vec<Stored>, ClusterError> {
        let labels = format!("{}={}", selector.0, selector.1);
        let mut found = Vec::new();
        self.page_through::<Secret>(&labels, &mut found).await?;
        if self.holds_records {
            self.page_through::<ConfigMap>(&labels, &mut found).await?;
        }
        for key in wanted {
            if !found.iter().any(|stored| stored.object.key == *key) {
                found.extend(self.read(key).await?);
            }
        }
        Ok(found)
    }

    async fn read(&self, key: &ObjectKey) -> Result<Option<Stored>, ClusterError> {
        match key.kind {
            ObjectKind::Secret => self.get::<Secret>(&key.name).await,
            ObjectKind::ConfigMap => self.get::<ConfigMap>(&key.name).await,
        }
    }

    async fn write(&self, object: &Object, expected: &Expected) -> Result<Version, ClusterError> {
        rules::check_writable(&self.name, object)?;
        match (object.key.kind, expected) {
            (ObjectKind::Secret, Expected::Absent) => self.create::<Secret>(object).await,
            (ObjectKind::Secret, Expected::At(at)) => self.replace::<Secret>(object, at).await,
            (ObjectKind::ConfigMap, Expected::Absent) => self.create::<ConfigMap>(object).await,
            (ObjectKind::ConfigMap, Expected::At(at)) => {
                self.replace::<ConfigMap>(object, at).await
            }
        }
    }

    fn workloads(&self) -> Option<&dyn Workloads> {
        Some(self)
    }

    async fn delete(&self, key: &ObjectKey, expected: &Version) -> Result<(), ClusterError> {
        match key.kind {
            ObjectKind::Secret => self.remove::<Secret>(&key.name, expected).await,
            ObjectKind::ConfigMap => self.remove::<ConfigMap>(&key.name, expected).await,
        }
    }

    /// Takes the Lease. One that is held by somebody else is watched for as long as it lasts: a
    /// holder that was killed is outlived, one that goes on renewing is [`ClusterError::Locked`].
    async fn lock(&self) -> Result<LockGuard, ClusterError> {
        let client = self.connection.client().await?;
        let lease = Lease::new(
            client,
            &self.namespace,
            &self.lock.lease,
            &self.lock.identity,
            LOCK_DURATION,
        );
        let patience = LOCK_DURATION + LOCK_DURATION / 3;
        match Arc::new(lease).acquire_within(patience).await {
            Ok(hold) => Ok(LockGuard::releasing(hold)),
            Err(LeaseError::Held { holder }) => Err(ClusterError::Locked {
                cluster: self.name.clone(),
                holder,
            }),
            Err(LeaseError::Failed(failure)) => {
                Err(self.error("take the write lock", None, &failure))
            }
        }
    }
}
