//! One request to an API server and its answer.
//!
//! `kube::Client::request` writes an answer that it cannot read into the log, and answers here are
//! Secrets. So requests are built with `kube`, sent through its middleware, and read here.

use std::fmt;
use std::time::Duration;

use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use kube::Client;
use kube::client::Body;
use kube::core::Status;
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::super::{ClusterError, MAX_DATA_BYTES, ObjectKey};

/// The largest answer that is read: a page of lists can be as large as all its objects together.
const MAX_ANSWER: usize = 128 * 1024 * 1024;

/// First pause before a request is repeated; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// Why a request was not done.
#[derive(Debug, Clone)]
pub struct Failure {
    kind: Kind,
    message: String,
    retry_after: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The API server answered with this status.
    Status(StatusCode),
    /// Nobody answered.
    Unreachable,
}

impl Failure {
    pub(super) fn unreachable(message: impl Into<String>) -> Self {
        Self {
            kind: Kind::Unreachable,
            message: message.into(),
            retry_after: None,
        }
    }

    fn status(code: StatusCode, status: Option<Status>) -> Self {
        let details = status.as_ref().and_then(|status| status.details.as_ref());
        let mut causes = details.iter().flat_map(|details| &details.causes);
        // The object was deleted and made anew: for a patch that names its uid, the API server takes
        // that for an attempt to change it.
        let code = match causes.any(|cause| cause.field == "metadata.uid") {
            true => StatusCode::CONFLICT,
            false => code,
        };
        let seconds = details
            .map(|details| details.retry_after_seconds)
            .filter(|seconds| *seconds > 0);
        let message = status.map(|status| status.message).unwrap_or_default();
        Self {
            kind: Kind::Status(code),
            message: match message.is_empty() {
                true => format!("the API server answered {code}"),
                false => message,
            },
            retry_after: seconds.map(|seconds| Duration::from_secs(u64::from(seconds))),
        }
    }

    pub(super) fn is(&self, code: StatusCode) -> bool {
        self.kind == Kind::Status(code)
    }

    /// Whether the credentials, or where they lead, may be the cause.
    pub(super) fn is_about_credentials(&self) -> bool {
        self.is(StatusCode::UNAUTHORIZED) || self.kind == Kind::Unreachable
    }

    /// Whether the request was certainly not carried out and may be later; a `read` may be repeated
    /// in any case.
    fn is_passing(&self, read: bool) -> bool {
        match self.kind {
            Kind::Status(StatusCode::TOO_MANY_REQUESTS) => true,
            Kind::Status(StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT) => read,
            _ => false,
        }
    }

    /// As the error of a cluster.
    pub(super) fn cluster_error(
        &self,
        cluster: &str,
        namespace: &str,
        operation: &str,
        key: Option<&ObjectKey>,
    ) -> ClusterError {
        let (cluster, operation) = (cluster.to_owned(), operation.to_owned());
        let reason = self.message.clone();
        match (self.kind, key) {
            (Kind::Status(StatusCode::CONFLICT), Some(key)) => ClusterError::Conflict {
                cluster,
                object: key.clone(),
            },
            (Kind::Status(StatusCode::NOT_FOUND), Some(key)) if !self.is_namespace(namespace) => {
                ClusterError::Conflict {
                    cluster,
                    object: key.clone(),
                }
            }
            (Kind::Status(StatusCode::NOT_FOUND), _) if self.is_namespace(namespace) => {
                ClusterError::NoNamespace {
                    cluster,
                    namespace: namespace.to_owned(),
                }
            }
            (Kind::Status(StatusCode::UNAUTHORIZED), _) => ClusterError::Denied {
                cluster,
                operation,
                reason: "the API server does not accept the credentials (401)".to_owned(),
            },
            (Kind::Status(StatusCode::FORBIDDEN), _) => ClusterError::Denied {
                cluster,
                operation,
                reason,
            },
            (Kind::Status(StatusCode::UNPROCESSABLE_ENTITY), Some(key)) => ClusterError::Occupied {
                cluster,
                place: format!("{} {namespace}/{}", key.kind.as_str(), key.name),
                reason,
            },
            (Kind::Status(StatusCode::PAYLOAD_TOO_LARGE), Some(key)) => ClusterError::TooLarge {
                cluster,
                object: key.clone(),
                size: MAX_DATA_BYTES,
                limit: MAX_DATA_BYTES,
            },
            _ => ClusterError::Unavailable {
                cluster,
                operation,
                reason,
            },
        }
    }

    fn is_namespace(&self, namespace: &str) -> bool {
        self.message
            .starts_with(&format!("namespaces \"{namespace}\" not found"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Sends a request and reads the answer, within `limit`. While the API server says that it is too
/// busy, the request is sent again as it asks for.
pub(super) async fn exchange<T: DeserializeOwned>(
    client: &Client,
    request: Request<Vec<u8>>,
    limit: Duration,
) -> Result<T, Failure> {
    let deadline = Instant::now() + limit;
    let read = request.method() == Method::GET;
    let mut pause = FIRST_PAUSE;
    loop {
        let attempt = tokio::time::timeout_at(deadline, once(client, request.clone()));
        let failure = match attempt.await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(failure)) => failure,
            Err(_) => {
                let text = format!("no answer within {} s", limit.as_secs());
                return Err(Failure::unreachable(text));
            }
        };
        let wake = Instant::now() + failure.retry_after.unwrap_or(pause).max(pause);
        if !failure.is_passing(read) || wake > deadline {
            return Err(failure);
        }
        tokio::time::sleep_until(wake).await;
        pause *= 2;
    }
}

async fn once<T: DeserializeOwned>(
    client: &Client,
    request: Request<Vec<u8>>,
) -> Result<T, Failure> {
    let sent = client.send(request.map(Body::from)).await;
    let answer = sent.map_err(|error| Failure::unreachable(causes(&error)))?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
    let body = body.map_err(|error| {
        Failure::unreachable(match error.downcast_ref::<LengthLimitError>() {
            Some(_) => format!("the answer is larger than {MAX_ANSWER} bytes"),
            None => format!("the answer broke off: {error}"),
        })
    })?;
    let body = Zeroizing::new(body.to_bytes().to_vec());
    if !status.is_success() {
        return Err(Failure::status(status, serde_json::from_slice(&body).ok()));
    }
    // What serde says could quote the answer.
    serde_json::from_slice(&body)
        .map_err(|_| Failure::unreachable("the answer is not what an API server answers"))
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
