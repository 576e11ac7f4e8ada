//! Whether the agents are connected, by what the relay servers say of themselves.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::future::{BoxFuture, FutureExt as _};
use http::header::{ACCEPT, HOST};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::{ASIDE, Found, PATIENCE, address, exposition, open};
use crate::config::MetricsUrl;
use crate::engine::Fleet;
use crate::journal::RotationRecord;
use crate::rotation::Direction;

/// How many agents of a cluster push to a relay server.
const METRIC: &str = "relay_push_clients_connected";
/// Names the cluster.
const LABEL: &str = "cluster";
/// Largest answer that is read.
const MOST_BYTES: usize = 16 * 1024 * 1024;

/// Asks every relay server that the document says the metrics of, side by side: each agent has to be connected
/// to one of them.
///
/// A way back is not kept shut by agents that the new certificates have cut off.
pub(super) async fn gather(fleet: &Fleet, record: &RotationRecord) -> Found {
    let relay = &fleet.relay;
    if record.direction == Direction::Rollback {
        return Found::new();
    }
    let mut asked: Vec<BoxFuture<'_, _>> = Vec::new();
    for spec in relay.management() {
        if let Some(url) = spec.relay_server.metrics.as_ref() {
            asked.push(async move { (spec.name.as_str(), url, ask(url).await) }.boxed());
        }
    }
    if asked.is_empty() {
        return Found::new();
    }
    let mut answers = futures::stream::iter(asked).buffer_unordered(ASIDE);
    let mut connected = BTreeSet::new();
    let mut found = Found::new();
    while let Some((cluster, url, answer)) = answers.next().await {
        match answer {
            Ok(clusters) => connected.extend(clusters),
            Err(reason) => {
                let text =
                    format!("the metrics of its relay server at {url} cannot be read: {reason}");
                found.push(open(cluster, text));
            }
        }
    }
    if !found.is_empty() {
        // Whoever is missing may be connected to the server that does not answer.
        return found;
    }
    let agents = relay.agents().filter(|(spec, _)| record.concerns(spec));
    agents
        .map(|(spec, _)| spec.name.as_str())
        .filter(|name| !connected.contains(*name))
        .map(|name| {
            open(
                name,
                "no relay server says that its agent is connected".to_owned(),
            )
        })
        .collect()
}

/// The clusters whose agents are connected to any machine behind a URL.
async fn ask(url: &MetricsUrl) -> Result<Vec<String>, String> {
    let late = |_| format!("no answer within {} s", PATIENCE.as_secs());
    let machines = tokio::time::timeout(PATIENCE, address::resolve(&url.address)).await;
    let machines = machines.map_err(late)??;
    let answers = machines.into_iter().map(|machine| async move {
        let answer = tokio::time::timeout(PATIENCE, fetch(machine, url)).await;
        let text = answer.map_err(late).and_then(|it| it);
        text.map_err(|reason| format!("{machine}: {reason}"))
    });
    let mut connected = Vec::new();
    for text in futures::future::try_join_all(answers).await? {
        let samples = exposition::samples(&text, METRIC, LABEL);
        let up = samples.filter(|(_, clients)| *clients > 0.0);
        connected.extend(up.map(|(cluster, _)| cluster));
    }
    Ok(connected)
}

async fn fetch(machine: SocketAddr, url: &MetricsUrl) -> Result<String, String> {
    let stream = TcpStream::connect(machine).await;
    let stream = stream.map_err(|error| format!("no connection: {error}"))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    let request = Request::get(&url.path)
        .header(HOST, url.address.to_string())
        .header(ACCEPT, "text/plain;version=0.0.4")
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let answer = async {
        let answer = sender.send_request(request).await;
        let answer = answer.map_err(|error| format!("no answer: {error}"))?;
        if answer.status() != StatusCode::OK {
            return Err(format!("it answered {}", answer.status()));
        }
        let body = Limited::new(answer.into_body(), MOST_BYTES).collect().await;
        let body = body.map_err(|error| match error.downcast_ref::<LengthLimitError>() {
            Some(_) => format!("the answer is larger than {MOST_BYTES} bytes"),
            None => format!("the answer broke off: {error}"),
        })?;
        String::from_utf8(body.to_bytes().to_vec()).map_err(|_| "the answer is no text".to_owned())
    };
    let mut answer = std::pin::pin!(answer);
    // The connection works only while somebody waits for it, and ends with whoever does.
    tokio::select! {
        answer = &mut answer => answer,
        _ = connection => answer.await,
    }
}
