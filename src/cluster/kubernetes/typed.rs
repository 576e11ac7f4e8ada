//! Objects that are neither Secrets nor ConfigMaps: what a cluster is registered with, and what the
//! verbs read in place of a document. Nothing secret is in them.

use http::StatusCode;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use k8s_openapi::api::core::v1::Namespace;
use kube::Resource;
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, GetParams, ListParams, ObjectList, Patch,
    PatchParams, PostParams, Preconditions,
};
use kube::core::{Request, request};
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::super::ClusterError;
use super::exchange::Failure;
use super::{FIELD_MANAGER, KubernetesCluster, PAGE};

/// A kind of object that lies in a namespace.
pub trait Namespaced:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Serialize + DeserializeOwned
{
}

impl<K> Namespaced for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Serialize
        + DeserializeOwned
{
}

/// The system namespace that is never deleted: its uid tells one cluster from every other.
const SYSTEM_NAMESPACE: &str = "kube-system";

impl KubernetesCluster {
    /// The object `name`, if there is one.
    pub async fn find<K: Namespaced>(&self, name: &str) -> Result<Option<K>, ClusterError> {
        let operation = format!("read {} {name}", K::kind(&()));
        let request = self.requests::<K>().get(name, &GetParams::default());
        self.optional(&operation, request).await
    }

    /// Every object of a kind that a CustomResourceDefinition defines.
    pub async fn find_all<K: Namespaced>(&self) -> Result<Vec<K>, ClusterError> {
        let operation = format!("list the {} objects", K::kind(&()));
        let requests = self.requests::<K>();
        let found = self.pages(&operation, &requests).await?;
        found.ok_or_else(|| self.unknown::<K>(&operation))
    }

    /// Fails, with what to do, unless the API server knows a kind that a CustomResourceDefinition
    /// defines and lets us list it.
    pub async fn require<K: Namespaced>(&self) -> Result<(), ClusterError> {
        let operation = format!("list the {} objects", K::kind(&()));
        let request = self.requests::<K>().list(&ListParams::default().limit(1));
        let found: Option<IgnoredAny> = self.optional(&operation, request).await?;
        found.map_or_else(|| Err(self.unknown::<K>(&operation)), |_| Ok(()))
    }

    fn unknown<K: Namespaced>(&self, operation: &str) -> ClusterError {
        let unknown = format!(
            "the API server does not know {}.{}; install the CustomResourceDefinitions: \
             relay-pki crds | kubectl apply --server-side -f -",
            K::plural(&()),
            K::group(&())
        );
        self.error(operation, None, &Failure::unreachable(unknown))
    }

    /// The objects of a kind that somebody else defines; none if the API server does not know it.
    pub async fn find_foreign(
        &self,
        kind: &ApiResource,
    ) -> Result<Vec<DynamicObject>, ClusterError> {
        let operation = format!("list the {} objects", kind.kind);
        let requests = Request::new(DynamicObject::url_path(kind, Some(&self.namespace)));
        let found = self.pages(&operation, &requests).await?;
        Ok(found.unwrap_or_default())
    }

    /// Writes the fields of `object`, on the server's side. `force` takes fields over from others.
    pub async fn apply<K: Namespaced>(&self, object: &K, force: bool) -> Result<K, ClusterError> {
        let name = object.meta().name.as_deref().unwrap_or_default();
        let operation = format!("write {} {name}", K::kind(&()));
        let params = PatchParams {
            force,
            ..PatchParams::apply(FIELD_MANAGER)
        };
        let request = self
            .requests::<K>()
            .patch(name, &params, &Patch::Apply(object));
        self.required(&operation, request).await
    }

    /// Deletes `object` as it was read; whether it was still there.
    pub async fn discard<K: Namespaced>(&self, object: &K) -> Result<bool, ClusterError> {
        let name = object.meta().name.as_deref().unwrap_or_default();
        let operation = format!("delete {} {name}", K::kind(&()));
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                uid: object.meta().uid.clone(),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        let request = self.requests::<K>().delete(name, &params);
        let deleted: Option<IgnoredAny> = self.optional(&operation, request).await?;
        Ok(deleted.is_some())
    }

    /// What tells this Kubernetes cluster from every other, whatever its address.
    pub async fn uid(&self) -> Result<String, ClusterError> {
        let operation = format!("read namespace {SYSTEM_NAMESPACE}");
        let request = namespaces().get(SYSTEM_NAMESPACE, &GetParams::default());
        let found: Namespace = self.required(&operation, request).await?;
        found.metadata.uid.ok_or_else(|| {
            let reason = Failure::unreachable("it has no uid");
            self.error(&operation, None, &reason)
        })
    }

    /// Whether the namespace of the relay objects is there.
    pub async fn has_namespace(&self) -> Result<bool, ClusterError> {
        let operation = format!("read namespace {}", self.namespace);
        let request = namespaces().get(&self.namespace, &GetParams::default());
        let found: Option<Namespace> = self.optional(&operation, request).await?;
        Ok(found.is_some())
    }

    /// Makes the namespace of the relay objects.
    pub async fn create_namespace(&self) -> Result<(), ClusterError> {
        let operation = format!("create namespace {}", self.namespace);
        let mut namespace = Namespace::default();
        namespace.metadata.name = Some(self.namespace.clone());
        let params = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let body = serde_json::to_vec(&namespace).map_err(request::Error::SerializeBody);
        let request = body.and_then(|body| namespaces().create(&params, body));
        self.required::<IgnoredAny>(&operation, request).await?;
        Ok(())
    }

    /// Whether the API server lets us do `verb` with the Secrets of the namespace.
    pub async fn may(&self, verb: &str) -> Result<bool, ClusterError> {
        let operation = format!("ask whether {verb} is allowed");
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(ResourceAttributes {
                    namespace: Some(self.namespace.clone()),
                    verb: Some(verb.to_owned()),
                    resource: Some("secrets".to_owned()),
                    ..ResourceAttributes::default()
                }),
                ..SelfSubjectAccessReviewSpec::default()
            },
            ..SelfSubjectAccessReview::default()
        };
        let body = serde_json::to_vec(&review).map_err(request::Error::SerializeBody);
        let reviews = Request::new(SelfSubjectAccessReview::url_path(&(), None));
        let request = body.and_then(|body| reviews.create(&PostParams::default(), body));
        let answer: SelfSubjectAccessReview = self.required(&operation, request).await?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }

    fn requests<K: Namespaced>(&self) -> Request {
        Request::new(K::url_path(&(), Some(&self.namespace)))
    }

    /// All pages of a list; none if the API server does not know the kind.
    async fn pages<K: DeserializeOwned + Clone>(
        &self,
        operation: &str,
        requests: &Request,
    ) -> Result<Option<Vec<K>>, ClusterError> {
        let mut params = ListParams::default().limit(PAGE);
        let mut found = Vec::new();
        loop {
            let request = requests.list(&params);
            let Some(page) = self.optional::<ObjectList<K>>(operation, request).await? else {
                return Ok(None);
            };
            found.extend(page.items);
            match page.metadata.continue_ {
                Some(token) if !token.is_empty() => params.continue_token = Some(token),
                _ => return Ok(Some(found)),
            }
        }
    }

    async fn required<T: DeserializeOwned>(
        &self,
        operation: &str,
        request: Result<http::Request<Vec<u8>>, request::Error>,
    ) -> Result<T, ClusterError> {
        let answer = self.send(operation, request).await?;
        answer.map_err(|failure| self.error(operation, None, &failure))
    }

    pub(super) async fn optional<T: DeserializeOwned>(
        &self,
        operation: &str,
        request: Result<http::Request<Vec<u8>>, request::Error>,
    ) -> Result<Option<T>, ClusterError> {
        match self.send(operation, request).await? {
            Ok(answer) => Ok(Some(answer)),
            Err(failure) if failure.is(StatusCode::NOT_FOUND) => Ok(None),
            Err(failure) => Err(self.error(operation, None, &failure)),
        }
    }
}

fn namespaces() -> Request {
    Request::new(Namespace::url_path(&(), None))
}
