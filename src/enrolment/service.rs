//! What is answered to whom.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ALLOW, CONTENT_TYPE, ETAG, HeaderName, IF_NONE_MATCH, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use jiff::Timestamp;
use relay_pki_authority::x509::{CertificateChain, Fingerprint, KeyType, VerifiedCsr};
use relay_pki_authority::{AuthorityError, Level};
use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::sync::watch;

use super::connection::{Connection, Peer, enrolled, issued_at, serial_digits};
use super::credentials::Credentials;
use super::limits::{Limits, Rate, Rates};
use super::recorder::Recorder;
use super::route::{Operation, Route};
use super::snapshot::Snapshot;
use super::{
    BodyError, Redemption, Refusal, Registry, accept, csr_attributes, decode_body, encode_body,
    read_request, requested_name,
};
use crate::cluster::ClusterError;
use crate::config::{AgentSpec, ClusterSpec};
use crate::engine::{StepError, certify_agent};
use crate::journal::{Acknowledgement, Presented};
use crate::relay::CaTag;

/// When to come again after something failed that may work soon.
const SHORTLY: Duration = Duration::from_secs(5);
/// Tells an agent that its certificate is to be replaced now: not before, a certificate of the new signer
/// would do, but neither RFC 7030 nor an entity tag says so.
pub(crate) const RENEW: HeaderName = HeaderName::from_static("relay-pki-renew");
/// Certificates, as RFC 8951 has them.
const CERTIFICATES: HeaderValue =
    HeaderValue::from_static("application/pkcs7-mime; smime-type=certs-only");
const ATTRIBUTES: HeaderValue = HeaderValue::from_static("application/csrattrs");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const LIST: HeaderValue = HeaderValue::from_static("application/pkix-crl");
const PEM: HeaderValue = HeaderValue::from_static("application/x-pem-file");
const REQUEST: &str = "application/pkcs10";
/// Clients of the old RFC read base64 only with this header; those of the new one ignore it.
const TRANSFER_ENCODING: HeaderName = HeaderName::from_static("content-transfer-encoding");
const BASE64: HeaderValue = HeaderValue::from_static("base64");
const BASIC: HeaderValue = HeaderValue::from_static("Basic realm=\"relay-pki\"");

/// Why a request was refused, on its reply: for the metrics.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refused(pub(super) &'static str);

/// A reply.
pub(super) type Reply = Response<Full<Bytes>>;

/// Answers requests by the latest snapshot.
pub(super) struct Service {
    snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
    limits: Limits,
    recorder: Arc<Recorder>,
}

/// How somebody proved to be a cluster.
enum Proof<'a> {
    Token(Credentials),
    Certificate(&'a Peer),
}

/// What the audit log tells of a request for a certificate.
#[derive(Default)]
struct Facts {
    cluster: Option<String>,
    key: Option<Fingerprint>,
}

impl Service {
    pub(super) fn new(
        snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
        rates: Rates,
        recorder: Arc<Recorder>,
    ) -> Self {
        Self {
            snapshots,
            limits: Limits::new(rates),
            recorder,
        }
    }

    /// How often one address may be refused, as the document says.
    fn offences(&self) -> Rate {
        let snapshot = self.snapshots.borrow();
        let limits = snapshot
            .as_ref()
            .map(|one| one.fleet.relay.enrolment_limits);
        Rate::per_minute(limits.unwrap_or_default().refusals_per_minute)
    }

    /// Whether a body of the request is worth being read.
    pub(super) fn admits(&self, parts: &Parts, connection: &Connection) -> Result<(), Refusal> {
        if let Some(wait) = self.limits.barred(connection.source, self.offences()) {
            return Err(Refusal::TooMany(wait));
        }
        Route::of(&parts.method, parts.uri.path()).map(drop)
    }

    /// The reply to a request whose body was read.
    pub(super) async fn answer(
        &self,
        parts: &Parts,
        body: &[u8],
        connection: &Connection,
    ) -> Reply {
        let result = self.respond(parts, body, connection).await;
        result.unwrap_or_else(|refusal| self.refuse(&refusal, connection))
    }

    /// The reply to a request that is not granted.
    pub(super) fn refuse(&self, refusal: &Refusal, connection: &Connection) -> Reply {
        if refusal.is_offence() {
            self.limits.offended(connection.source, self.offences());
        }
        refused(refusal)
    }

    async fn respond(
        &self,
        parts: &Parts,
        body: &[u8],
        connection: &Connection,
    ) -> Result<Reply, Refusal> {
        let route = Route::of(&parts.method, parts.uri.path())?;
        let snapshot = self.snapshots.borrow().clone();
        let snapshot = snapshot.ok_or_else(|| unavailable("the relay is not ready"))?;
        if route
            .relay
            .is_some_and(|relay| relay != snapshot.fleet.relay.name)
        {
            return Err(Refusal::NotFound);
        }
        self.look_at(connection, &snapshot);
        let encoded = |der: &[u8]| encode_body(der, route.layout);
        match route.operation {
            Operation::CaCertificates => {
                Ok(self.ca_certificates(&parts.headers, connection, &snapshot, &encoded))
            }
            Operation::Attributes => {
                let key_type = self.key_type(&snapshot, connection);
                Ok(base64_reply(ATTRIBUTES, encoded(&csr_attributes(key_type))))
            }
            Operation::RevocationList | Operation::RevocationLists => {
                revocation_list(route.operation, &snapshot)
            }
            Operation::Enroll | Operation::Reenroll => {
                let mut facts = Facts::default();
                let result = self
                    .certificate(
                        route.operation,
                        parts,
                        body,
                        connection,
                        &snapshot,
                        &mut facts,
                    )
                    .await;
                audit(route.operation, connection, &facts, &result);
                let chain = result?;
                let leaf = super::certs_only([chain.leaf()]);
                Ok(base64_reply(CERTIFICATES, encoded(&leaf)))
            }
        }
    }

    /// The roots and signers. What an agent says that it holds already is its acknowledgement.
    fn ca_certificates(
        &self,
        headers: &HeaderMap,
        connection: &Connection,
        snapshot: &Snapshot,
        encoded: &dyn Fn(&[u8]) -> String,
    ) -> Reply {
        let tag = format!("\"{}\"", snapshot.tag);
        let held = headers
            .get(IF_NONE_MATCH)
            .and_then(|held| held.to_str().ok());
        let now = snapshot.fleet.clock.now();
        let peer = self.known_peer(connection, snapshot, now);
        if let (Some(held), Some((cluster, _))) = (held.and_then(acknowledged), peer) {
            self.recorder
                .acknowledged(cluster, Acknowledgement::new(&held, now));
        }
        let matches = held.is_some_and(|held| {
            let mut tags = held.split(',').map(str::trim);
            tags.any(|held| held.trim_start_matches("W/") == tag)
        });
        let mut reply = match matches {
            true => with_status(StatusCode::NOT_MODIFIED, String::new()),
            false => base64_reply(CERTIFICATES, encoded(&snapshot.ca_certificates)),
        };
        if let Ok(tag) = HeaderValue::from_str(&tag) {
            reply.headers_mut().insert(ETAG, tag);
        }
        let renews = |(cluster, peer): (&str, &Peer)| {
            let shown = peer.enrolled(snapshot);
            snapshot.renews(cluster, &shown)
        };
        if peer.is_some_and(renews) {
            reply
                .headers_mut()
                .insert(RENEW, HeaderValue::from_static("now"));
        }
        reply
    }

    /// The cluster at the other end, if its certificate is good and it is part of the relay.
    fn known_peer<'a>(
        &self,
        connection: &'a Connection,
        snapshot: &Snapshot,
        now: Timestamp,
    ) -> Option<(&'a str, &'a Peer)> {
        let peer = connection.peer.as_ref()?;
        let cluster = peer.cluster.as_deref()?;
        let known = peer.is_valid(snapshot, now)
            && snapshot.agent(cluster).is_some()
            && !is_revoked(peer, cluster, snapshot);
        known.then_some((cluster, peer))
    }

    /// Notes the certificate that an agent of ours presents.
    fn look_at(&self, connection: &Connection, snapshot: &Snapshot) {
        if let Some(peer) = &connection.peer
            && let Some(cluster) = &peer.cluster
            && snapshot.agent(cluster).is_some()
        {
            self.recorder.shown(cluster, &peer.serial, || Presented {
                certificate: peer.enrolled(snapshot),
                at: snapshot.fleet.clock.now(),
            });
        }
    }

    /// The type of key that the document wants.
    fn key_type(&self, snapshot: &Snapshot, connection: &Connection) -> KeyType {
        let peer = connection.peer.as_ref();
        let cluster = peer.and_then(|peer| peer.cluster.as_deref());
        let agent = cluster.and_then(|cluster| snapshot.agent(cluster));
        let mut all = snapshot.fleet.relay.agents();
        let agent = agent.or_else(|| all.next());
        agent.map_or(KeyType::default(), |(_, agent)| agent.key_type)
    }

    /// The one way to a certificate: what is asked for, who asks, whether they may.
    async fn certificate(
        &self,
        operation: Operation,
        parts: &Parts,
        body: &[u8],
        connection: &Connection,
        snapshot: &Snapshot,
        facts: &mut Facts,
    ) -> Result<CertificateChain, Refusal> {
        let now = snapshot.fleet.clock.now();
        let proof = match operation {
            Operation::Reenroll => Proof::Certificate(renewing(connection, snapshot, now)?),
            // RFC 7030 section 3.2.3: the header, or a challenge.
            _ => Proof::Token(Credentials::of(&parts.headers).ok_or(Refusal::Unauthenticated)?),
        };
        let csr = request(&parts.headers, body)?;
        let key = Fingerprint::of(csr.public_key().spki_der());
        facts.key = Some(key);
        let cluster = match &proof {
            Proof::Certificate(peer) => peer.cluster.clone(),
            Proof::Token(credentials) if credentials.user.is_empty() => {
                requested_name(&csr).map(str::to_owned)
            }
            Proof::Token(credentials) => Some(credentials.user.clone()),
        };
        let cluster = cluster.ok_or_else(|| {
            Refusal::Malformed("the request does not name a cluster; write CN=<cluster>".to_owned())
        })?;
        facts.cluster = Some(cluster.clone());
        let stranger = match &proof {
            Proof::Certificate(_) => Refusal::Forbidden(format!(
                "{cluster} does not enrol in relay {}; register it with delivery: enroll",
                snapshot.fleet.relay.name
            )),
            Proof::Token(_) => Refusal::Unauthenticated,
        };
        // What is wrong with the request is told first: who has no token learns no names from it.
        accept(&csr, &cluster, &snapshot.key_types, &connection.binding)?;
        let (spec, agent) = snapshot.agent(&cluster).ok_or(stranger)?;
        let held = match &proof {
            Proof::Certificate(peer) => {
                if is_revoked(peer, &cluster, snapshot) {
                    return Err(revoked(&cluster));
                }
                Some(&peer.certificate)
            }
            Proof::Token(credentials) => {
                redeem(snapshot, &cluster, credentials, &key, now).await?;
                if snapshot.journal.is_revoked(&cluster) {
                    return Err(revoked(&cluster));
                }
                None
            }
        };
        self.limits
            .certificate(&cluster)
            .map_err(Refusal::TooMany)?;
        self.issue(snapshot, (spec, agent), csr, held).await
    }

    async fn issue(
        &self,
        snapshot: &Snapshot,
        (spec, agent): (&ClusterSpec, &AgentSpec),
        csr: VerifiedCsr,
        held: Option<&relay_pki_authority::x509::Certificate>,
    ) -> Result<CertificateChain, Refusal> {
        let signer = snapshot.signer.as_ref();
        let signer = signer.map_err(|_| unavailable("the signer cannot be reached"))?;
        let (fleet, journal) = (&snapshot.fleet, &snapshot.journal);
        let certified = certify_agent(fleet, journal, signer, (&spec.name, agent), csr, held);
        let chain = certified
            .await
            .map_err(|error| of_step(&spec.name, &error))?;
        let number = journal
            .active(Level::Signer)
            .map_or(0, |record| record.number);
        let certificate = enrolled(chain.leaf(), number, snapshot.keeps_whole(number));
        self.recorder.issued(spec.name.as_str(), certificate);
        Ok(chain)
    }
}

/// The published revocation lists: that of the signer in use as DER, or all of them as PEM.
fn revocation_list(operation: Operation, snapshot: &Snapshot) -> Result<Reply, Refusal> {
    let published = snapshot.revocation_lists.as_ref();
    // Of backends that publish theirs themselves there is none.
    let published = published.filter(|published| !published.lists.is_empty());
    let published = published.ok_or(Refusal::NotFound)?;
    let (kind, body) = match operation {
        Operation::RevocationList => {
            let first = CertificateRevocationListDer::from_pem_slice(published.lists.as_bytes());
            let first = first.map_err(|_| unavailable("the revocation list is broken"))?;
            (LIST, Bytes::from(first.to_vec()))
        }
        _ => (PEM, Bytes::from(published.lists.clone())),
    };
    let mut reply = Response::new(Full::new(body));
    reply.headers_mut().insert(CONTENT_TYPE, kind);
    Ok(reply)
}

/// The agent that wants another certificate in place of the one that it presents.
fn renewing<'a>(
    connection: &'a Connection,
    snapshot: &Snapshot,
    now: Timestamp,
) -> Result<&'a Peer, Refusal> {
    let forbidden = |reason: &str| Err(Refusal::Forbidden(reason.to_owned()));
    match &connection.peer {
        None => forbidden(
            "a renewal needs the current certificate in the TLS handshake; enrol with a token where \
             there is none",
        ),
        Some(peer) if peer.cluster.is_none() => {
            forbidden("the certificate of this connection is no agent's")
        }
        Some(peer) if !peer.is_valid(snapshot, now) => forbidden(
            "the certificate of this connection is not valid any more; enrol with a token",
        ),
        Some(peer) => Ok(peer),
    }
}

/// The request in the body.
fn request(headers: &HeaderMap, body: &[u8]) -> Result<VerifiedCsr, Refusal> {
    let kind = headers.get(CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case(REQUEST) {
        return Err(Refusal::WrongType);
    }
    let der = decode_body(body).map_err(|error| match error {
        BodyError::TooLarge { .. } => Refusal::TooLarge,
        other => Refusal::Malformed(other.to_string()),
    })?;
    read_request(&der)
}

/// Whether the token is the cluster's. A token of its own is used up by that.
async fn redeem(
    snapshot: &Snapshot,
    cluster: &str,
    credentials: &Credentials,
    key: &Fingerprint,
    now: Timestamp,
) -> Result<(), Refusal> {
    let shared = snapshot.shared_token.as_ref();
    if shared.is_some_and(|shared| shared.matches(&credentials.token)) {
        return Ok(());
    }
    let registry = Registry::of(&snapshot.fleet).map_err(|error| of_cluster(cluster, &error))?;
    let redeemed = registry.redeem(cluster, &credentials.token, key, now).await;
    match redeemed.map_err(|error| of_cluster(cluster, &error))? {
        Redemption::Granted => Ok(()),
        Redemption::Wrong => Err(Refusal::Unauthenticated),
        Redemption::UsedUp => Err(Refusal::Forbidden(
            "the token was used for another key; make a new one with `relay-pki token create`"
                .to_owned(),
        )),
    }
}

/// Whether a cluster, or the certificate that it presents, is revoked.
fn is_revoked(peer: &Peer, cluster: &str, snapshot: &Snapshot) -> bool {
    let Some(kept) = snapshot.journal.revocations.get(cluster) else {
        return false;
    };
    let mut listed = kept.record.certificates.iter();
    kept.record.is_in_force()
        || issued_at(&peer.certificate) <= kept.record.at
        || listed.any(|listed| listed.serial == peer.serial)
}

fn revoked(cluster: &str) -> Refusal {
    Refusal::Forbidden(format!(
        "{cluster} is revoked; `relay-pki revoke --lift {cluster}` lets it enrol again"
    ))
}

fn unavailable(reason: &str) -> Refusal {
    Refusal::Unavailable {
        reason: reason.to_owned(),
        retry_after: SHORTLY,
    }
}

/// What a client is told of a failure of ours; the log has the rest.
fn of_cluster(cluster: &str, error: &ClusterError) -> Refusal {
    tracing::warn!(target: "relay_pki::enrolment", %cluster, %error, "an enrolment failed");
    unavailable("the records of the relay cannot be reached")
}

fn of_step(cluster: &impl std::fmt::Display, error: &StepError) -> Refusal {
    if let StepError::Pending { poll_after, .. } = error {
        return Refusal::Pending(*poll_after);
    }
    tracing::warn!(target: "relay_pki::enrolment", %cluster, %error, "an enrolment failed");
    match error {
        StepError::Authority(AuthorityError::Rejected { .. }) => Refusal::Forbidden(
            "the CA rejects this request; the log of the controller says why".to_owned(),
        ),
        StepError::Authority(AuthorityError::Unavailable {
            retry_after: Some(retry_after),
            ..
        }) => Refusal::Unavailable {
            reason: "the CA is not available".to_owned(),
            retry_after: *retry_after,
        },
        _ => unavailable("the CA cannot issue now; the log of the controller says why"),
    }
}

/// What an agent says that it goes by.
fn acknowledged(tag: &str) -> Option<CaTag> {
    let tag = tag.trim().trim_start_matches("W/");
    let tag = tag.strip_prefix('"')?.strip_suffix('"')?;
    tag.parse().ok()
}

fn with_status(status: StatusCode, body: String) -> Reply {
    let mut reply = Response::new(Full::new(Bytes::from(body)));
    *reply.status_mut() = status;
    reply
}

fn base64_reply(kind: HeaderValue, body: String) -> Reply {
    let mut reply = with_status(StatusCode::OK, body);
    reply.headers_mut().insert(CONTENT_TYPE, kind);
    reply.headers_mut().insert(TRANSFER_ENCODING, BASE64);
    reply
}

fn refused(refusal: &Refusal) -> Reply {
    let mut reply = with_status(refusal.status(), format!("{refusal}\n"));
    reply.extensions_mut().insert(Refused(refusal.label()));
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, TEXT);
    if let Some(seconds) = refusal.retry_after() {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    match refusal {
        Refusal::Unauthenticated => drop(headers.insert(WWW_AUTHENTICATE, BASIC)),
        Refusal::WrongMethod(method) => {
            headers.insert(ALLOW, HeaderValue::from_static(method));
        }
        _ => {}
    }
    reply
}

/// One line for every request for a certificate, before its reply.
fn audit(
    operation: Operation,
    connection: &Connection,
    facts: &Facts,
    result: &Result<CertificateChain, Refusal>,
) {
    let cluster = facts.cluster.as_deref().unwrap_or_default();
    let key = facts.key.map(|key| key.to_string()).unwrap_or_default();
    let source = connection.source;
    match result {
        Ok(chain) => {
            let serial = serial_digits(chain.leaf());
            let not_after = chain.leaf().not_after();
            tracing::info!(
                target: "relay_pki::enrolment",
                %operation, %source, cluster, key, serial, %not_after, "granted"
            );
        }
        Err(refusal) => {
            // What a stranger sent as a name stays one line.
            let cluster = cluster.escape_debug().to_string();
            let status = refusal.status().as_u16();
            tracing::info!(
                target: "relay_pki::enrolment",
                %operation, %source, cluster, key, status, reason = %refusal, "refused"
            );
        }
    }
}
