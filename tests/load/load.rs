//! Load, and what came of it: as fast as replies come (closed loop), or at a fixed rate (open loop).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use tokio::time::{Instant, sleep_until};

use crate::process;
use crate::target::Target;
use crate::transport::{ask, connect};

/// How requests come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Pattern {
    /// One after the other on each of the connections.
    KeepAlive,
    /// Each on a connection of its own, with a full handshake.
    Connecting,
    /// So many a second over all of the connections, whether replies come or not.
    Rate(u32),
}

/// A reply, and which request it is for.
pub(crate) struct Answer {
    pub(crate) client: usize,
    pub(crate) order: usize,
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
    pub(crate) took: Duration,
}

/// What was seen from outside.
pub(crate) struct Seen {
    pub(crate) answers: Vec<Answer>,
    pub(crate) elapsed: Duration,
    /// Processor time of the server.
    pub(crate) cpu: Duration,
    /// Memory of the server at the end, in bytes.
    pub(crate) memory: u64,
}

impl Seen {
    pub(crate) fn each(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.answers.len() as f64
    }

    pub(crate) fn rate(&self) -> f64 {
        self.answers.len() as f64 / self.elapsed.as_secs_f64()
    }

    pub(crate) fn latency(&self, share: f64) -> f64 {
        let all: Vec<Duration> = self.answers.iter().map(|answer| answer.took).collect();
        latency(&all, share)
    }
}

/// The latency that this share of the replies had at most, in milliseconds.
pub(crate) fn latency(all: &[Duration], share: f64) -> f64 {
    let mut all = all.to_vec();
    all.sort_unstable();
    let index = (all.len() as f64 * share) as usize;
    all.get(index.min(all.len().saturating_sub(1)))
        .map_or(f64::NAN, |took| took.as_secs_f64() * 1e3)
}

/// Puts load on `target`, from all of its clients, for so long.
pub(crate) async fn load(target: &Arc<Target>, pattern: Pattern, time: Duration) -> Seen {
    let mut connections = Vec::new();
    for client in &target.clients {
        connections.push(match pattern {
            Pattern::Connecting => None,
            _ => Some(connect(target.address, &client.config).await.unwrap()),
        });
    }
    let before = process::cpu(target.pid);
    let begun = Instant::now();
    let tasks: Vec<_> = connections
        .into_iter()
        .enumerate()
        .map(|(client, connection)| {
            let target = target.clone();
            tokio::spawn(async move {
                let load = client_load(&target, client, connection, pattern, begun, time);
                load.await
                    .unwrap_or_else(|error| panic!("{}: a request failed: {error}", target.label))
            })
        })
        .collect();
    let mut answers = Vec::new();
    for task in tasks {
        answers.extend(task.await.unwrap());
    }
    Seen {
        answers,
        elapsed: begun.elapsed(),
        cpu: process::cpu(target.pid) - before,
        memory: process::memory(target.pid),
    }
}

async fn client_load(
    target: &Target,
    client: usize,
    mut connection: Option<hyper::client::conn::http1::SendRequest<http_body_util::Full<Bytes>>>,
    pattern: Pattern,
    begun: Instant,
    time: Duration,
) -> io::Result<Vec<Answer>> {
    let own = &target.clients[client];
    let mut answers = Vec::new();
    for turn in 0.. {
        // Of a rate, each client has every n-th instant.
        let from = match pattern {
            Pattern::Rate(rate) => {
                let slot = turn * target.clients.len() + client;
                let at = begun + Duration::from_secs_f64(slot as f64 / f64::from(rate));
                sleep_until(at).await;
                at
            }
            _ => Instant::now(),
        };
        if from.duration_since(begun) >= time {
            break;
        }
        let order = turn % own.orders.len();
        let request = own.orders[order].request();
        let reply = match &mut connection {
            Some(connection) => ask(connection, request).await?,
            None => {
                let mut fresh = connect(target.address, &own.config).await?;
                ask(&mut fresh, request).await?
            }
        };
        answers.push(Answer {
            client,
            order,
            status: reply.status(),
            body: reply.into_body(),
            took: from.elapsed(),
        });
    }
    Ok(answers)
}
