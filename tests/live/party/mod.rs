//! One party of the relay, a server or an agent, as a process of its own with rustls.
//!
//! `tests/testbed/party` is the same with Go, `tests/live/party.py` with OpenSSL. All three take their
//! orders as one argument, write a line for each handshake, and end in order when they get SIGTERM.

mod agent;
mod credentials;
mod records;
mod server;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

pub(crate) use self::records::Record;

/// Far more than any exchange takes; only there so that a hanging one is a failure.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a party is and does.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Orders {
    pub(crate) role: Role,
    /// The agent's cluster, or what the server is called.
    pub(crate) name: String,
    /// The name that agents dial the server by.
    pub(crate) authority: String,
    /// The servers that an agent dials in turn: their names and addresses.
    pub(crate) servers: BTreeMap<String, String>,
    /// The volume with `tls.crt` and `tls.key`.
    pub(crate) credentials: PathBuf,
    /// The volume with the `ca.crt` that it believes.
    pub(crate) trust: PathBuf,
    /// Whether it reads its certificate again for each connection.
    pub(crate) rereads_certificate: bool,
    /// Whether it reads its trust bundle again for each connection.
    pub(crate) rereads_trust: bool,
    /// How long an agent holds a connection after the first exchange, in milliseconds.
    pub(crate) hold: u64,
    /// The pause of an agent between two connections, in milliseconds.
    pub(crate) pause: u64,
    /// Whether an agent speaks TLS 1.2 instead of 1.3.
    pub(crate) tls12: bool,
    /// Where each handshake is written down.
    pub(crate) records: PathBuf,
}

/// The two sides of a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// Is dialled; its listener is its standard input.
    Server,
    /// Dials.
    Agent,
}

/// Runs one until it is told to end.
pub(crate) fn run(orders: &str) {
    let orders: Orders = serde_json::from_str(orders).expect("orders");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (tell, told) = watch::channel(false);
        let mut terminate = signal(SignalKind::terminate()).unwrap();
        tokio::spawn(async move {
            terminate.recv().await;
            let _ = tell.send(true);
        });
        match orders.role {
            Role::Server => server::run(orders, told).await,
            Role::Agent => agent::run(orders, told).await,
        }
    });
}

/// Waits until the party is told to end.
async fn end(mut told: watch::Receiver<bool>) {
    // The sender waits for a signal and goes only after it.
    let _ = told.wait_for(|told| *told).await;
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
