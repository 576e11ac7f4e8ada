//! One request and its answer.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use http_body_util::{Either, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::rules::{Effect, Request, Rules};

type Stream = TokioIo<TlsStream<TcpStream>>;
type Body = Either<Incoming, Full<Bytes>>;

/// The way to the server.
#[derive(Clone)]
pub(super) struct Upstream {
    pub(super) address: SocketAddr,
    pub(super) tls: TlsConnector,
}

impl Upstream {
    /// A new connection: what sends on it, and what has to be polled for it.
    pub(super) async fn connect(
        &self,
    ) -> io::Result<(SendRequest<Incoming>, Connection<Stream, Incoming>)> {
        let stream = TcpStream::connect(self.address).await?;
        let name = ServerName::from(self.address.ip());
        let stream = self.tls.connect(name, stream).await?;
        let connected = http1::handshake(TokioIo::new(stream)).await;
        connected.map_err(io::Error::other)
    }
}

/// Passes a request on, or does what the rules say. An error ends the client's connection.
pub(super) async fn exchange(
    request: hyper::Request<Incoming>,
    upstream: Arc<tokio::sync::Mutex<SendRequest<Incoming>>>,
    rules: Arc<Mutex<Rules>>,
) -> io::Result<Response<Body>> {
    let arrived = Request {
        method: request.method().to_string(),
        path: request.uri().to_string(),
    };
    let effect = rules.lock().unwrap().arrived(arrived);
    match &effect {
        Some(Effect::Answer(status)) => return Ok(refusal(*status)),
        Some(Effect::Pretend(body)) => return Ok(answer(StatusCode::OK, body.clone())),
        Some(Effect::Delay(delay)) => sleep(*delay).await,
        Some(Effect::LoseReply) | None => {}
    }
    let mut upstream = upstream.lock().await;
    upstream.ready().await.map_err(io::Error::other)?;
    let response = upstream.send_request(request).await;
    let response = response.map_err(io::Error::other)?;
    if effect == Some(Effect::LoseReply) {
        // The head of an answer to a write follows the write.
        return Err(io::Error::other("the reply is lost"));
    }
    Ok(response.map(Either::Left))
}

/// A status code as an API server says it.
fn refusal(status: u16) -> Response<Body> {
    let reason = match status {
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "NotFound",
        409 => "Conflict",
        429 => "TooManyRequests",
        500 => "InternalError",
        503 => "ServiceUnavailable",
        504 => "Timeout",
        _ => "",
    };
    let body = json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "injected by the testbed",
        "reason": reason,
        "code": status,
    });
    let code = StatusCode::from_u16(status).expect("a status code");
    let mut response = answer(code, body.to_string());
    if status == 429 {
        let headers = response.headers_mut();
        headers.insert("retry-after", "1".parse().unwrap());
    }
    response
}

fn answer(status: StatusCode, body: String) -> Response<Body> {
    let mut response = Response::new(Either::Right(Full::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert("content-type", "application/json".parse().unwrap());
    response
}
