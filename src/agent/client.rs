//! An EST client (RFC 7030, RFC 8951): one connection, kept for as long as it is good.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{
    ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, DATE, HOST, HeaderMap, HeaderName,
    HeaderValue, IF_NONE_MATCH, RETRY_AFTER,
};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use jiff::fmt::rfc2822::DateTimeParser;
use jiff::{SignedDuration, Timestamp};
use relay_pki_authority::x509::{
    BundleDigest, Certificate, CertificateChain, Fingerprint, KeyType, TrustBundle, VerifiedCsr,
};
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use super::anchors::{CaCertificates, Pin};
use super::failure::Failure;
use super::server::Server;
use super::{message, tls};
use crate::clock::Clock;
use crate::enrolment::{Layout, RENEW, csr_attributes, decode_body, encode_body};
use crate::relay::{CaTag, TlsContent};

/// Longest that a connection may take to be made, and its handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest that an answer may take: the server may have to ask a CA, which it gives a minute.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(75);
/// Largest answer that is read.
const ANSWER_SIZE: usize = 64 * 1024;
/// Most that is passed on of what a server says.
const TEXT_SIZE: usize = 500;
/// Clocks that differ by less are as good as the same.
const TOLERANCE: SignedDuration = SignedDuration::from_mins(2);
const PREFIX: &str = "/.well-known/est/";
/// Clients of the old RFC send it, and some servers still want it.
const TRANSFER_ENCODING: HeaderName = HeaderName::from_static("content-transfer-encoding");
const BASE64: HeaderValue = HeaderValue::from_static("base64");
const REQUEST: HeaderValue = HeaderValue::from_static("application/pkcs10");

/// What was asked for, or where that is.
#[derive(Debug)]
pub(super) enum Issued {
    Certificate(Certificate),
    /// Not yet: the same request goes on.
    Pending(Duration),
}

/// What a server says about CA certificates.
#[derive(Debug)]
pub(super) struct News {
    /// The roots and signers; none if they are those that are held.
    pub(super) certificates: Option<CaCertificates>,
    /// Whether the certificate that was shown is to be replaced now.
    pub(super) renew: bool,
}

/// How somebody proves to be the cluster.
pub(super) enum Proof<'a> {
    Token {
        cluster: &'a str,
        token: &'a [u8],
    },
    /// The certificate that the connection is made with.
    Certificate,
}

/// Whom to trust, and what to show.
#[derive(Clone, Copy)]
pub(super) struct Terms<'a> {
    pub(super) trust: &'a TrustBundle,
    pub(super) identity: Option<&'a TlsContent>,
}

/// A client of one server.
pub(super) struct Client {
    server: Server,
    clock: Arc<dyn Clock>,
    session: Option<Session>,
    /// By how much the server's clock is ahead of ours.
    ahead: SignedDuration,
}

/// What a connection was made with: with anything else, it has to be another one.
type Key = (BundleDigest, Option<Fingerprint>);

struct Session {
    key: Option<Key>,
    sender: SendRequest<Full<Bytes>>,
    presented: Vec<CertificateDer<'static>>,
    task: AbortHandle,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Client {
    pub(super) fn new(server: Server, clock: Arc<dyn Clock>) -> Self {
        Self {
            server,
            clock,
            session: None,
            ahead: SignedDuration::ZERO,
        }
    }

    /// By how much the server's clock is ahead of ours, if that matters.
    pub(super) fn ahead(&self) -> SignedDuration {
        match self.ahead.abs() > TOLERANCE {
            true => self.ahead,
            false => SignedDuration::ZERO,
        }
    }

    /// The roots and signers. Whoever shows a certificate acknowledges with `held` what it goes by.
    pub(super) async fn ca_certificates(
        &mut self,
        terms: Terms<'_>,
        held: Option<&CaTag>,
    ) -> Result<News, Failure> {
        let mut request = self.request(Method::GET, "cacerts");
        if let Some(held) = held {
            request = request.header(IF_NONE_MATCH, format!("\"{held}\""));
        }
        let answer = self.send(terms, request, Bytes::new()).await?;
        Ok(News {
            renew: answer.headers.contains_key(RENEW),
            certificates: match answer.status {
                StatusCode::NOT_MODIFIED if held.is_some() => None,
                _ => Some(read_ca_certificates(&answer)?),
            },
        })
    }

    /// The roots and signers from a server that only a pinned root vouches for. Nothing secret is sent.
    pub(super) async fn pinned_ca_certificates(
        &mut self,
        pins: &[Pin],
    ) -> Result<CaCertificates, Failure> {
        let untrusted = |reason: String| Failure::Untrusted(reason);
        let mut session = self
            .connect(tls::unverified().map_err(untrusted)?, None)
            .await?;
        let request = self.request(Method::GET, "cacerts");
        let request = with_body(request, Bytes::new())?;
        let found = read_ca_certificates(&exchange(&mut session, request).await?)?;
        let root = found.pinned(pins).ok_or_else(|| {
            let known: Vec<String> = pins.iter().map(ToString::to_string).collect();
            let known = known.join(", ");
            Failure::Untrusted(format!("the server does not give out the root {known}"))
        })?;
        // The root that is pinned has to vouch for the server, and not another that came with it.
        let root =
            TrustBundle::new([root.clone()]).map_err(|error| untrusted(error.to_string()))?;
        let others: Vec<CertificateDer<'_>> = found
            .others
            .iter()
            .map(|other| other.der().clone())
            .collect();
        tls::vouches(&root, &session.presented, &others, &self.server.name).map_err(|error| {
            untrusted(format!(
                "the pinned root does not vouch for the server: {error}"
            ))
        })?;
        Ok(found)
    }

    /// The type of key that the server wants; the usual one if it does not say.
    pub(super) async fn key_type(&mut self, terms: Terms<'_>) -> Result<KeyType, Failure> {
        let request = self.request(Method::GET, "csrattrs");
        let answer = self.send(terms, request, Bytes::new()).await?;
        if !answer.status.is_success() || answer.body.is_empty() {
            return Ok(KeyType::default());
        }
        let wanted = decode_body(&answer.body).unwrap_or_default();
        let mut all = KeyType::ALL.into_iter();
        let known = all.find(|key_type| csr_attributes(*key_type) == wanted);
        Ok(known.unwrap_or_default())
    }

    /// Asks for a certificate.
    pub(super) async fn certificate(
        &mut self,
        terms: Terms<'_>,
        csr: &VerifiedCsr,
        proof: Proof<'_>,
    ) -> Result<Issued, Failure> {
        let operation = match proof {
            Proof::Token { .. } => "simpleenroll",
            Proof::Certificate => "simplereenroll",
        };
        let mut request = self
            .request(Method::POST, operation)
            .header(CONTENT_TYPE, REQUEST)
            .header(TRANSFER_ENCODING, BASE64);
        if let Proof::Token { cluster, token } = proof {
            request = request.header(AUTHORIZATION, basic(cluster, token)?);
        }
        let body = encode_body(csr.der(), Layout::OneLine);
        let answer = self.send(terms, request, Bytes::from(body)).await?;
        match answer.status {
            StatusCode::ACCEPTED => {
                let soon = Duration::from_secs(10);
                Ok(Issued::Pending(
                    retry_after(&answer.headers).unwrap_or(soon),
                ))
            }
            StatusCode::OK => {
                let found = message::certificates(&answer.body).map_err(Failure::Senseless)?;
                match <[Certificate; 1]>::try_from(found) {
                    Ok([certificate]) => Ok(Issued::Certificate(certificate)),
                    Err(found) => Err(Failure::Senseless(format!(
                        "it has {} certificates instead of one",
                        found.len()
                    ))),
                }
            }
            _ => Err(refused(&answer)),
        }
    }

    /// The chain that the server showed on the connection that is open.
    pub(super) fn presented(&self) -> Result<CertificateChain, String> {
        let presented = self.session.iter().flat_map(|session| &session.presented);
        let chain: Result<Vec<_>, _> = presented
            .map(|certificate| Certificate::from_der(certificate))
            .collect();
        let chain = chain.and_then(CertificateChain::new);
        chain.map_err(|error| error.to_string())
    }

    /// The next request makes a new connection.
    pub(super) fn disconnect(&mut self) {
        self.session = None;
    }

    fn request(&self, method: Method, operation: &str) -> http::request::Builder {
        let name = self.server.name.to_str();
        Request::builder()
            .method(method)
            .uri(format!("{PREFIX}{operation}"))
            .header(HOST, format!("{name}:{}", self.server.port))
            .header(ACCEPT, "*/*")
    }

    /// Sends a request on the connection there is, or on a new one. A server may close a connection that
    /// nobody has used for a while just when it is used again: then the request is sent once more. All of
    /// them can be repeated: for the same key, the server answers the same.
    async fn send(
        &mut self,
        terms: Terms<'_>,
        request: http::request::Builder,
        body: Bytes,
    ) -> Result<Answer, Failure> {
        let request = with_body(request, body)?;
        let identity = terms
            .identity
            .map(|identity| identity.chain.leaf().fingerprint());
        let key = Some((terms.trust.digest(), identity));
        let kept = self.session.take();
        if let Some(mut session) = kept.filter(|kept| kept.key == key && !kept.sender.is_closed()) {
            match exchange(&mut session, request.clone()).await {
                Err(Failure::HungUp(_)) => {}
                result => return self.finish(session, result),
            }
        }
        let config = tls::verified(terms.trust, terms.identity).map_err(Failure::Untrusted)?;
        let mut session = self.connect(config, key).await?;
        let result = exchange(&mut session, request).await;
        self.finish(session, result)
    }

    /// Keeps the connection if it is still good, and notes what time it is there.
    fn finish(
        &mut self,
        session: Session,
        result: Result<Answer, Failure>,
    ) -> Result<Answer, Failure> {
        let answer = result?;
        if let Some(theirs) = date(&answer.headers) {
            self.ahead = theirs.duration_since(self.clock.now());
        }
        self.session = Some(session);
        Ok(answer)
    }

    async fn connect(
        &self,
        config: Arc<ClientConfig>,
        key: Option<Key>,
    ) -> Result<Session, Failure> {
        let server = &self.server;
        let late = |_| {
            let seconds = CONNECT_TIMEOUT.as_secs();
            Failure::Unreachable(format!("{server} does not answer within {seconds} s"))
        };
        let stream = TcpStream::connect((server.host.as_str(), server.port));
        let stream = tokio::time::timeout(CONNECT_TIMEOUT, stream).await;
        let stream = stream
            .map_err(late)?
            .map_err(|error| Failure::Unreachable(format!("{server}: {error}")))?;
        // Requests are one write each.
        let _ = stream.set_nodelay(true);
        let handshake = TlsConnector::from(config).connect(server.name.clone(), stream);
        let stream = tokio::time::timeout(CONNECT_TIMEOUT, handshake).await;
        let stream = stream
            .map_err(late)?
            .map_err(|error| Failure::of_handshake(&error))?;
        let presented = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let presented = presented.to_vec();
        let connection = http1::handshake(TokioIo::new(stream));
        let connection = tokio::time::timeout(CONNECT_TIMEOUT, connection).await;
        let (sender, connection) = connection
            .map_err(late)?
            .map_err(|error| Failure::of_exchange(&error))?;
        // What goes wrong with it shows where it is used.
        let task = tokio::spawn(async move { drop(connection.await) }).abort_handle();
        Ok(Session {
            key,
            sender,
            presented,
            task,
        })
    }
}

async fn exchange(session: &mut Session, request: Request<Full<Bytes>>) -> Result<Answer, Failure> {
    let sender = &mut session.sender;
    let answer = async {
        let gone = |error: hyper::Error| Failure::of_exchange(&error);
        sender.ready().await.map_err(gone)?;
        let (parts, body) = sender
            .send_request(request)
            .await
            .map_err(gone)?
            .into_parts();
        let body = Limited::new(body, ANSWER_SIZE).collect().await;
        let body = body.map_err(|error| Failure::Senseless(error.to_string()))?;
        Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            body: body.to_bytes(),
        })
    };
    let answer = tokio::time::timeout(ANSWER_TIMEOUT, answer).await;
    answer.unwrap_or_else(|_| {
        let seconds = ANSWER_TIMEOUT.as_secs();
        Err(Failure::Unreachable(format!(
            "no answer within {seconds} s"
        )))
    })
}

fn with_body(
    request: http::request::Builder,
    body: Bytes,
) -> Result<Request<Full<Bytes>>, Failure> {
    let request = match body.is_empty() {
        true => request,
        false => request.header(CONTENT_LENGTH, body.len()),
    };
    let request = request.body(Full::new(body));
    request.map_err(|error| Failure::Senseless(error.to_string()))
}

fn basic(user: &str, token: &[u8]) -> Result<HeaderValue, Failure> {
    let mut pair = Zeroizing::new(Vec::with_capacity(user.len() + 1 + token.len()));
    pair.extend_from_slice(user.as_bytes());
    pair.push(b':');
    pair.extend_from_slice(token);
    // Growing would leave copies behind.
    let mut text = Zeroizing::new(String::with_capacity(16 + 2 * pair.len()));
    text.push_str("Basic ");
    STANDARD.encode_string(pair.as_slice(), &mut text);
    let value = HeaderValue::from_str(&text);
    let mut value = value.map_err(|_| Failure::Senseless("the token is too long".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

fn read_ca_certificates(answer: &Answer) -> Result<CaCertificates, Failure> {
    if answer.status != StatusCode::OK {
        return Err(refused(answer));
    }
    let found = message::certificates(&answer.body).map_err(Failure::Senseless)?;
    CaCertificates::new(found).map_err(|error| Failure::Senseless(error.to_string()))
}

/// What the server says, as one line that does no harm in a log.
fn refused(answer: &Answer) -> Failure {
    let text = String::from_utf8_lossy(&answer.body);
    let text: String = text.trim().chars().take(TEXT_SIZE).collect();
    Failure::Refused {
        status: answer.status,
        text: text.escape_debug().to_string(),
        retry_after: retry_after(&answer.headers),
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse();
    seconds.ok().map(Duration::from_secs)
}

fn date(headers: &HeaderMap) -> Option<Timestamp> {
    let text = headers.get(DATE)?.to_str().ok()?;
    DateTimeParser::new().parse_timestamp(text).ok()
}
