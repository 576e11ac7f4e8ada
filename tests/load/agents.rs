//! Many agents on connections that stay open, with the records on a real API server: each asks every few
//! seconds whether the trust bundle is still the one that it has, and each renews its certificate once.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use http::header::{ETAG, HOST, IF_NONE_MATCH};
use http::{HeaderValue, Request, StatusCode};
use http_body_util::Full;
use hyper::client::conn::http1::SendRequest;
use relay_pki_testbed::Testbed;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use crate::identity::{Identity, SERVER};
use crate::load::{Answer, latency};
use crate::ours::{Ours, bootstrap, names, spec};
use crate::process;
use crate::serve::Records;
use crate::support::fleet::{Fleet, IDENTITY, ROOT};
use crate::target::{Client, Dialect, Target};
use crate::transport::{ask, connect};
use crate::verify::verify;

/// Handshakes at a time: fewer than the strangers that may come from one address.
const DIALLING: usize = 64;
/// How often each agent asks for the bundle.
const POLL: Duration = Duration::from_secs(10);

type Connection = SendRequest<Full<Bytes>>;

/// `count` agents for so long; what came of it.
pub(crate) async fn agents(count: usize, time: Duration) -> Value {
    let testbed = Testbed::start(0).unwrap();
    let management = testbed.management();
    let namespace = management.namespace("load");
    let names = names(count);
    let place = format!("namespace: {namespace}, kubeconfig: {{ file: mgmt }}");
    let fleet = Fleet::new(&spec(&place, &names));
    std::fs::write(fleet.path("mgmt"), management.admin_kubeconfig()).unwrap();
    bootstrap(&fleet);
    let secret = |name: &str, key: &str| -> Vec<u8> {
        use base64::Engine as _;
        let found = management.json(&["get", "secret", name, "-n", &namespace, "-o", "json"]);
        let text = found["data"][key].as_str().unwrap();
        let standard = base64::engine::general_purpose::STANDARD;
        standard.decode(text).unwrap()
    };
    let (root, token) = (secret(ROOT, "ca.crt"), secret(IDENTITY, "token"));
    let ours = Ours::serve(fleet, &root, token, Records::Kept).await;
    let pid = ours.server.pid();

    let (cpu, begun) = (process::cpu(pid), Instant::now());
    let enrolling = names.iter().map(|name| ours.enroll(name));
    let identities: Vec<Identity> = futures::stream::iter(enrolling)
        .buffered(DIALLING)
        .collect()
        .await;
    let enrolled = begun.elapsed();
    let each = |cpu: Duration, number: usize| cpu.as_secs_f64() * 1e6 / number as f64;
    let enrolment_cpu = each(process::cpu(pid) - cpu, count);
    // What was issued is written down behind the replies.
    settle(pid).await;

    let clients = identities.iter();
    let clients = clients.map(|it| Client::new(it, &ours.root, &Dialect::Est, 1));
    let target = Target {
        label: "relay-pki with many agents",
        durability: "none",
        address: ours.address,
        pid,
        dialect: Dialect::Est,
        root: ours.root.clone(),
        intermediate: ours.signer.clone(),
        clients: clients.collect(),
    };
    let (cpu, memory) = (process::cpu(pid), process::memory(pid));
    let dialling = target.clients.iter();
    let dialling = dialling.map(|client| connect(target.address, &client.config));
    let connections: Vec<Connection> = futures::stream::iter(dialling)
        .buffered(DIALLING)
        .map(|connection| connection.unwrap())
        .collect()
        .await;
    let handshake_cpu = each(process::cpu(pid) - cpu, count);
    let connected = process::memory(pid);

    let (cpu, begun) = (process::cpu(pid), Instant::now());
    let target = Arc::new(target);
    let tasks: Vec<_> = connections
        .into_iter()
        .enumerate()
        .map(|(index, connection)| {
            tokio::spawn(agent(target.clone(), index, connection, begun, time))
        })
        .collect();
    let (mut polls, mut renewals) = (Vec::new(), Vec::new());
    for task in tasks {
        let (own, renewal) = task.await.unwrap();
        polls.extend(own);
        renewals.extend(renewal);
    }
    let elapsed = begun.elapsed();
    let busy = process::cpu(pid) - cpu;
    verify(&target, &renewals);
    let renewal_times: Vec<Duration> = renewals.iter().map(|answer| answer.took).collect();
    json!({
        "agents": count,
        "first_enrolments_per_s": count as f64 / enrolled.as_secs_f64(),
        "first_enrolment_cpu_us": enrolment_cpu,
        "handshake_cpu_us": handshake_cpu,
        "memory_before_kib": memory / 1024,
        "memory_connected_kib": connected / 1024,
        "memory_end_kib": process::memory(pid) / 1024,
        "connection_bytes": connected.saturating_sub(memory) / count as u64,
        "seconds": elapsed.as_secs_f64(),
        "polls": polls.len(),
        "renewals": renewals.len(),
        "cpu_share_of_a_core": busy.as_secs_f64() / elapsed.as_secs_f64(),
        "poll_p50_ms": latency(&polls, 0.5),
        "poll_p99_ms": latency(&polls, 0.99),
        "renewal_p50_ms": latency(&renewal_times, 0.5),
        "renewal_p99_ms": latency(&renewal_times, 0.99),
    })
}

/// Waits until the server has nothing more to do.
async fn settle(pid: u32) {
    let mut before = process::cpu(pid);
    loop {
        tokio::time::sleep(Duration::from_secs(3)).await;
        let now = process::cpu(pid);
        if now - before < Duration::from_millis(150) {
            return;
        }
        before = now;
    }
}

/// One agent: how long its polls took, and its renewal.
async fn agent(
    target: Arc<Target>,
    index: usize,
    mut connection: Connection,
    begun: Instant,
    time: Duration,
) -> (Vec<Duration>, Option<Answer>) {
    let share = index as f64 / target.clients.len() as f64;
    let (first, renewal) = (begun + POLL.mul_f64(share), begun + time.mul_f64(share));
    let (mut polls, mut renewed, mut held) = (Vec::new(), None, None);
    for turn in 0.. {
        let at = first + POLL * turn;
        if at.duration_since(begun) >= time {
            break;
        }
        sleep_until(at).await;
        let reply = ask(&mut connection, poll(held.as_ref())).await.unwrap();
        polls.push(at.elapsed());
        match &held {
            None => held = reply.headers().get(ETAG).cloned(),
            Some(_) => assert_eq!(reply.status(), StatusCode::NOT_MODIFIED),
        }
        if renewed.is_none() && renewal <= at + POLL {
            let at = renewal.max(Instant::now());
            sleep_until(at).await;
            let order = &target.clients[index].orders[0];
            let reply = ask(&mut connection, order.request()).await.unwrap();
            renewed = Some(Answer {
                client: index,
                order: 0,
                status: reply.status(),
                body: reply.into_body(),
                took: at.elapsed(),
            });
        }
    }
    (polls, renewed)
}

fn poll(held: Option<&HeaderValue>) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::default());
    *request.uri_mut() = http::Uri::from_static("/.well-known/est/cacerts");
    let headers = request.headers_mut();
    headers.insert(HOST, HeaderValue::from_static(SERVER));
    if let Some(held) = held {
        headers.insert(IF_NONE_MATCH, held.clone());
    }
    request
}
