//! The API server, as far as it is asked here.
//!
//! `kube::Client::request` writes answers that it cannot read into the log. So requests are built
//! with `kube`, sent through its middleware, and read here.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use kube::Client;
use kube::client::Body;
use kube::core::params::{DeleteParams, GetParams, ListParams, PostParams, Preconditions};
use kube::core::request;
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::json;
use tokio::time::Instant;

use crate::access::{Access, AccessError};
use crate::failure::Failure;
use crate::objects::{AccessReview, Metadata, Page};
use crate::settings::IssuerRef;

/// Longest that one thing may take, all its attempts together: what has to be done for one signature
/// then takes less than callers allow for it.
const LIMIT: Duration = Duration::from_secs(8);
/// How often something is tried.
const ATTEMPTS: u32 = 4;
/// First pause before something is tried again; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The largest answer that is read.
const MAX_ANSWER: usize = 16 * 1024 * 1024;
/// How many objects one page of a list has.
const PAGE: u32 = 500;

/// A collection of cert-manager's objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    CertificateRequests,
    Issuers,
}

impl Kind {
    pub(crate) fn plural(self) -> &'static str {
        match self {
            Self::CertificateRequests => "certificaterequests",
            Self::Issuers => "issuers",
        }
    }
}

/// One namespace of one API server.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) access: Arc<dyn Access>,
    pub(crate) namespace: String,
}

impl Api {
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        kind: Kind,
        name: &str,
    ) -> Result<Option<T>, Failure> {
        let request = self.requests(kind).get(name, &GetParams::default());
        match self.exchange(request).await {
            Ok(found) => Ok(Some(found)),
            // Without the CRDs there is no such collection, which is another thing.
            Err(failure) if failure.is(StatusCode::NOT_FOUND) && failure.names(name) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Creates an object; nothing if there is one of that name.
    pub(crate) async fn create<T: Serialize + DeserializeOwned>(
        &self,
        kind: Kind,
        object: &T,
    ) -> Result<Option<T>, Failure> {
        let body = serde_json::to_vec(object).map_err(unspeakable)?;
        let parameters = PostParams {
            field_manager: Some("relay-pki".to_owned()),
            ..PostParams::default()
        };
        let request = self.requests(kind).create(&parameters, body);
        match self.exchange(request).await {
            Ok(created) => Ok(Some(created)),
            Err(failure) if failure.is(StatusCode::CONFLICT) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Deletes an object, if it is still as it was read. Whether it was.
    pub(crate) async fn delete(&self, kind: Kind, object: &Metadata) -> Result<bool, Failure> {
        let parameters = DeleteParams {
            preconditions: Some(Preconditions {
                uid: Some(object.uid.clone()),
                resource_version: Some(object.resource_version.clone()),
            }),
            ..DeleteParams::default()
        };
        let request = self.requests(kind).delete(&object.name, &parameters);
        match self.exchange::<IgnoredAny>(request).await {
            Ok(_) => Ok(true),
            Err(failure) if failure.is(StatusCode::NOT_FOUND) => Ok(true),
            Err(failure) if failure.is(StatusCode::CONFLICT) => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    /// The objects of ours that were made for a relay, without their content.
    pub(crate) async fn list(&self, kind: Kind, selector: &str) -> Result<Vec<Metadata>, Failure> {
        let mut found = Vec::new();
        let mut parameters = ListParams::default().labels(selector).limit(PAGE);
        loop {
            let request = self.requests(kind).list_metadata(&parameters);
            let page: Page = self.exchange(request).await?;
            found.extend(page.items.into_iter().map(|item| item.metadata));
            match page.metadata.next.filter(|token| !token.is_empty()) {
                Some(token) => parameters.continue_token = Some(token),
                None => return Ok(found),
            }
        }
    }

    /// Whether we may do `verb`.
    pub(crate) async fn may(&self, verb: &str, kind: Kind) -> Result<bool, Failure> {
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": { "resourceAttributes": {
                "namespace": self.namespace,
                "group": IssuerRef::GROUP,
                "resource": kind.plural(),
                "verb": verb,
            } },
        });
        let reviews = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        let body = serde_json::to_vec(&review).map_err(unspeakable)?;
        let request = kube::core::Request::new(reviews).create(&PostParams::default(), body);
        let answer: AccessReview = self.exchange(request).await?;
        Ok(answer.status.allowed)
    }

    fn requests(&self, kind: Kind) -> kube::core::Request {
        let (namespace, plural) = (&self.namespace, kind.plural());
        kube::core::Request::new(format!(
            "/apis/cert-manager.io/v1/namespaces/{namespace}/{plural}"
        ))
    }

    /// Sends a request and reads the answer. What passes is waited for, as long as the API server
    /// asks for it, as far as the time limit goes.
    async fn exchange<T: DeserializeOwned>(
        &self,
        request: Result<Request<Vec<u8>>, request::Error>,
    ) -> Result<T, Failure> {
        let request = request.map_err(unspeakable)?;
        let deadline = Instant::now() + LIMIT;
        let mut pause = FIRST_PAUSE;
        for attempt in 1.. {
            let answer = tokio::time::timeout_at(deadline, self.once(request.clone()));
            let failure = match answer.await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(failure)) => failure,
                Err(_) => {
                    let text = format!("no answer within {} s", LIMIT.as_secs());
                    return Err(Failure::Unreachable(text));
                }
            };
            if failure.is(StatusCode::UNAUTHORIZED) {
                self.access.forget();
            }
            let wake = Instant::now() + failure.retry_after().unwrap_or(pause).max(pause);
            if !failure.is_passing() || attempt >= ATTEMPTS || wake > deadline {
                return Err(failure);
            }
            tokio::time::sleep_until(wake).await;
            pause *= 2;
        }
        Err(Failure::Unreachable("nobody answered".to_owned()))
    }

    async fn once<T: DeserializeOwned>(&self, request: Request<Vec<u8>>) -> Result<T, Failure> {
        let client = self.access.client().await.map_err(|error| match error {
            AccessError::Unavailable(reason) => Failure::Unreachable(reason),
            AccessError::Unusable(reason) => Failure::NoAccess(reason),
        })?;
        send(&client, request).await
    }
}

async fn send<T: DeserializeOwned>(
    client: &Client,
    request: Request<Vec<u8>>,
) -> Result<T, Failure> {
    let sent = client.send(request.map(Body::from)).await;
    let answer = sent.map_err(|error| Failure::Unreachable(causes(&error)))?;
    let status = answer.status();
    let seconds = answer.headers().get(header::RETRY_AFTER);
    let seconds = seconds.and_then(|value| value.to_str().ok()?.parse().ok());
    let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
    let body = body.map_err(|error| {
        Failure::Unreachable(match error.downcast_ref::<LengthLimitError>() {
            Some(_) => format!("the answer is larger than {MAX_ANSWER} bytes"),
            None => format!("the answer broke off: {error}"),
        })
    })?;
    let body = body.to_bytes();
    if !status.is_success() {
        return Err(Failure::refused(status, seconds, &body));
    }
    serde_json::from_slice(&body)
        .map_err(|error| Failure::Unreachable(format!("the answer cannot be read: {error}")))
}

/// An error with everything that caused it: "client error (Connect)" alone helps nobody.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = cause.source();
    }
    text
}

/// A request that cannot even be written down.
fn unspeakable(error: impl std::fmt::Display) -> Failure {
    Failure::NoAccess(error.to_string())
}
