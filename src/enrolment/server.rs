//! The listener: TLS, HTTP/1.1, and a bound on everything that a client can make us wait for or keep.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::Request;
use http::header::{CONNECTION, CONTENT_LENGTH};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ProtocolVersion;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::connection::{Connection, Peer};
use super::limits::Rates;
use super::policy::{BINDING_LENGTH, Binding};
use super::recorder::Recorder;
use super::route::Route;
use super::service::{Refused, Reply, Service};
use super::snapshot::Snapshot;
use super::{BODY_LIMIT, Refusal};
use crate::engine::{Cancel, Fleet};
use crate::metrics;

/// Longest that a handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest that a body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest that a reply may take: a CA may have to be asked.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest that a client may take to send a request's headers, and to come up with another request.
const STRANGER_TIMEOUT: Duration = Duration::from_secs(10);
const AGENT_TIMEOUT: Duration = Duration::from_secs(300);
/// Longest that a connection is used.
const STRANGER_LIFE: Duration = Duration::from_secs(120);
const AGENT_LIFE: Duration = Duration::from_secs(3600);
/// Longest that a request under way may take when its connection is to be closed.
const CLOSING_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest head of a request.
const HEAD_SIZE: usize = 16 * 1024;
/// Pause after the system could not give us a connection: it lacks something that takes a while.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often it is looked for what has changed.
const REFRESH: Duration = Duration::from_secs(2);
/// What was read so long ago is not acted on: a cluster may have been revoked since.
const STALE: Duration = Duration::from_secs(60);
/// How long one look may take.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// How much is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Connections at a time.
    pub connections: usize,
    /// Connections at a time that present no certificate, or none yet.
    pub strangers: usize,
    /// How often somebody may ask.
    pub rates: Rates,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections: 16_384,
            strangers: 4096,
            rates: Rates::default(),
        }
    }
}

/// Serves the relay of the latest `fleet` until `cancel`; then finishes what was asked for. Every
/// replica may do so at the same time.
pub async fn serve(
    listener: TcpListener,
    fleet: watch::Receiver<Option<Arc<Fleet>>>,
    bounds: Bounds,
    metrics: metrics::Enrolment,
    cancel: Cancel,
) {
    let (sender, snapshots) = watch::channel(None);
    let recorder = Arc::new(Recorder::default());
    let stop = Cancel::default();
    let shared = Arc::new(Shared {
        service: Service::new(snapshots.clone(), bounds.rates, recorder.clone()),
        snapshots: snapshots.clone(),
        connections: Arc::new(Semaphore::new(bounds.connections)),
        strangers: Arc::new(Semaphore::new(bounds.strangers)),
        sources: Arc::default(),
        metrics,
        cancel: cancel.clone(),
    });
    let refreshing = tokio::spawn(refresh(fleet, sender, stop.clone()));
    let recording = {
        let stop = stop.clone();
        tokio::spawn(async move { recorder.run(snapshots, stop).await })
    };
    accept(listener, &shared, &cancel).await;
    stop.cancel();
    let _ = tokio::join!(refreshing, recording);
}

async fn accept(listener: TcpListener, shared: &Arc<Shared>, cancel: &Cancel) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = cancel.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            accepted = next(&listener, shared) => accepted,
        };
        match accepted {
            Ok((stream, peer, permits)) => {
                let Some(source) = shared.sources.enter(peer.ip(), strangers_of_one(shared)) else {
                    shared.metrics.handshake("crowded");
                    // Others get their turn; this one may come again.
                    continue;
                };
                let admission = Admission {
                    permits,
                    _source: source,
                };
                connections.spawn(connection(stream, peer, shared.clone(), admission));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection of an agent");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// How many strangers there may be of one address, as the document says.
fn strangers_of_one(shared: &Shared) -> usize {
    let snapshot = shared.snapshots.borrow();
    let limits = snapshot
        .as_ref()
        .map(|one| one.fleet.relay.enrolment_limits);
    let most = limits.unwrap_or_default().connections_per_address;
    usize::try_from(most).unwrap_or(usize::MAX)
}

type Permits = (OwnedSemaphorePermit, OwnedSemaphorePermit);

/// The next connection, once there is room for it.
async fn next(
    listener: &TcpListener,
    shared: &Shared,
) -> std::io::Result<(TcpStream, SocketAddr, Permits)> {
    let any = shared.connections.clone().acquire_owned().await;
    let stranger = shared.strangers.clone().acquire_owned().await;
    let permits = (
        any.map_err(std::io::Error::other)?,
        stranger.map_err(std::io::Error::other)?,
    );
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, permits))
}

/// Reads what there is, again and again.
async fn refresh(
    mut fleet: watch::Receiver<Option<Arc<Fleet>>>,
    sender: watch::Sender<Option<Arc<Snapshot>>>,
    cancel: Cancel,
) {
    let mut read_at: Option<Instant> = None;
    let mut said: Option<String> = None;
    loop {
        let current = fleet.borrow_and_update().clone();
        if let Some(current) = current {
            let before = sender.borrow().clone();
            let read = Snapshot::read(&current, before.as_ref());
            let read = tokio::time::timeout(READ_TIMEOUT, read).await;
            let wrong = match read {
                Ok(Ok(snapshot)) => {
                    read_at = Some(Instant::now());
                    sender.send_if_modified(|known| {
                        let same = known
                            .as_ref()
                            .is_some_and(|known| Arc::ptr_eq(known, &snapshot));
                        *known = Some(snapshot);
                        !same
                    });
                    None
                }
                Ok(Err(error)) => Some(error.to_string()),
                Err(_) => Some(format!("no answer within {} s", READ_TIMEOUT.as_secs())),
            };
            // Once, not every two seconds.
            if let Some(reason) = wrong.as_ref().filter(|_| wrong != said) {
                tracing::warn!(
                    target: "relay_pki::enrolment",
                    relay = %current.relay.name, %reason, "the relay cannot be read"
                );
            }
            said = wrong;
            if read_at.is_some_and(|at| at.elapsed() > STALE) {
                sender.send_replace(None);
            }
        } else {
            sender.send_replace(None);
        }
        tokio::select! {
            () = cancel.cancelled() => return,
            changed = fleet.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(REFRESH) => {}
        }
    }
}

/// What all connections share.
struct Shared {
    service: Service,
    snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
    connections: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
    sources: Arc<Sources>,
    metrics: metrics::Enrolment,
    cancel: Cancel,
}

/// How many strangers there are of each address.
#[derive(Default)]
struct Sources {
    counts: Mutex<HashMap<IpAddr, usize>>,
}

impl Sources {
    /// Counts one more, if there are not `most` of them.
    fn enter(self: &Arc<Self>, source: IpAddr, most: usize) -> Option<Entered> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(source).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Entered {
            sources: self.clone(),
            source,
        })
    }
}

/// One stranger, until this is dropped.
struct Entered {
    sources: Arc<Sources>,
    source: IpAddr,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let counts = self.sources.counts.lock();
        let mut counts = counts.unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.source);
            }
        }
    }
}

/// What a connection takes up.
struct Admission {
    permits: Permits,
    _source: Entered,
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    shared: Arc<Shared>,
    admission: Admission,
) {
    let snapshot = shared.snapshots.borrow().clone();
    // Without a certificate of ours there is nothing to say.
    let Some(snapshot) = snapshot else {
        shared.metrics.handshake("unready");
        return;
    };
    // Replies are one write; nothing is gained by waiting for more.
    let _ = stream.set_nodelay(true);
    let handshake = TlsAcceptor::from(snapshot.tls.clone()).accept(stream);
    let stream = tokio::select! {
        stream = tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake) => stream,
        () = shared.cancel.cancelled() => return,
    };
    let stream = match stream {
        Ok(Ok(stream)) => {
            shared.metrics.handshake("success");
            stream
        }
        Ok(Err(error)) => {
            shared.metrics.handshake("failed");
            tracing::debug!(target: "relay_pki::enrolment", %peer, %error, "a handshake failed");
            return;
        }
        Err(_) => {
            shared.metrics.handshake("timeout");
            return;
        }
    };
    let connection = Arc::new(met(&stream, peer.ip(), &snapshot));
    drop(snapshot);
    let is_agent = connection.peer.is_some();
    let _connected = shared.metrics.connected(is_agent);
    let Admission {
        permits: (any, stranger),
        _source: source,
    } = admission;
    // Whoever has a certificate of ours takes no stranger's place.
    let stranger = (!is_agent).then_some((stranger, source));
    let (idle, life) = match is_agent {
        true => (AGENT_TIMEOUT, AGENT_LIFE),
        false => (STRANGER_TIMEOUT, STRANGER_LIFE),
    };
    let service = service_fn(|request| {
        let (shared, connection) = (shared.clone(), connection.clone());
        async move { Ok::<_, std::convert::Infallible>(answer(&shared, &connection, request).await) }
    });
    let http = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(idle)
        .max_buf_size(HEAD_SIZE)
        // Head and body in one write: strongSwan reads each with one read.
        .writev(false)
        .serve_connection(TokioIo::new(stream), service);
    let mut http = pin!(http);
    let result = tokio::select! {
        result = http.as_mut() => Some(result),
        () = shared.cancel.cancelled() => None,
        () = tokio::time::sleep(life) => None,
    };
    let result = match result {
        Some(result) => result,
        None => {
            http.as_mut().graceful_shutdown();
            let closing = tokio::time::timeout(CLOSING_TIMEOUT, http).await;
            closing.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = result {
        tracing::debug!(target: "relay_pki::enrolment", %peer, %error, "a connection failed");
    }
    drop((any, stranger));
}

/// Who is there.
fn met(stream: &TlsStream<TcpStream>, source: IpAddr, snapshot: &Snapshot) -> Connection {
    let (_, session) = stream.get_ref();
    let exported = (session.protocol_version() == Some(ProtocolVersion::TLSv1_3))
        .then(|| {
            let binding = [0; BINDING_LENGTH];
            session.export_keying_material(binding, b"EXPORTER-Channel-Binding", None)
        })
        .and_then(Result::ok);
    let leaf = session.peer_certificates().and_then(<[_]>::first);
    Connection {
        source,
        binding: exported.map_or(Binding::Unknown, Binding::Exporter),
        peer: leaf.and_then(|leaf| Peer::new(leaf, snapshot)),
    }
}

/// One request, counted.
async fn answer(shared: &Shared, connection: &Connection, request: Request<Incoming>) -> Reply {
    let began = Instant::now();
    let route = Route::of(request.method(), request.uri().path());
    let operation = route.map_or("other", |route| route.operation.label());
    let reply = exchange(shared, connection, request).await;
    let refused = reply.extensions().get::<Refused>();
    let outcome = refused.map_or("success", |refused| refused.0);
    let metrics = &shared.metrics;
    metrics.answered(operation, outcome, began.elapsed());
    reply
}

/// One request and its reply.
async fn exchange(shared: &Shared, connection: &Connection, request: Request<Incoming>) -> Reply {
    let (parts, body) = request.into_parts();
    let service = &shared.service;
    let body = match service.admits(&parts, connection) {
        Ok(()) => read(&parts, body).await,
        Err(refusal) => Err(refusal),
    };
    let body = match body {
        Ok(body) => body,
        Err(refusal) => {
            // What is left of the body is not read: the connection is of no more use.
            let mut reply = service.refuse(&refusal, connection);
            let close = http::HeaderValue::from_static("close");
            reply.headers_mut().insert(CONNECTION, close);
            return reply;
        }
    };
    let answer = service.answer(&parts, &body, connection);
    match tokio::time::timeout(ANSWER_TIMEOUT, answer).await {
        Ok(reply) => reply,
        Err(_) => {
            let refusal = Refusal::Unavailable {
                reason: "it took too long".to_owned(),
                retry_after: CLOSING_TIMEOUT,
            };
            service.refuse(&refusal, connection)
        }
    }
}

/// The body, if it is not too large and comes in time.
async fn read(parts: &http::request::Parts, body: Incoming) -> Result<bytes::Bytes, Refusal> {
    let said = parts.headers.get(CONTENT_LENGTH);
    let said = said.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if said.is_some_and(|length| length > BODY_LIMIT as u64) {
        return Err(Refusal::TooLarge);
    }
    let collected = Limited::new(body, BODY_LIMIT).collect();
    match tokio::time::timeout(BODY_TIMEOUT, collected).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Refusal::TooLarge),
        Ok(Err(error)) => Err(Refusal::Malformed(format!("the body is broken: {error}"))),
        Err(_) => Err(Refusal::TooSlow),
    }
}
