//! The agent: makes and keeps the key of a cluster, and gets certificates for it over EST.
//!
//! What is done next is a pure function (`decision`) of what is held (`holdings`), what is remembered and
//! what time it is; what is believed is pure too (`anchors`, `delivery`). Around that are the EST `client`,
//! the `store` with its two kinds (`secrets`, `files`), the `workloads` that are restarted when trust
//! changes, and the `worker` that goes round.
//!
//! Two rules hold everywhere: nothing that works is replaced by anything that was not checked, and nothing
//! makes the agent give up.

mod anchors;
mod client;
mod decision;
mod delivery;
mod failure;
mod files;
mod holdings;
mod message;
mod retry;
mod secrets;
mod server;
mod status;
mod store;
#[cfg(test)]
mod tests;
mod tls;
mod token;
mod worker;
mod workloads;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use relay_pki_authority::x509::KeyType;

pub use self::anchors::Pin;
pub use self::files::Files;
pub use self::holdings::Holdings;
pub use self::secrets::Secrets;
pub use self::server::Server;
pub use self::status::Status;
pub use self::store::{Store, StoreError};
pub use self::token::Tokens;
pub use self::workloads::{Workload, Workloads};

use self::worker::Worker;
use crate::clock::Clock;
use crate::config::ClusterName;
use crate::controller::http::serve_router;
use crate::engine::Cancel;
use crate::renewal::RenewAt;

/// Where everything that an agent does is logged.
const LOG: &str = "relay_pki::agent";

/// What an agent is started with.
pub struct Options {
    /// The cluster that it is the agent of: the name in its certificate.
    pub cluster: ClusterName,
    /// Where certificates are to be had.
    pub server: Server,
    /// Where what it gets is kept.
    pub store: Arc<dyn Store>,
    /// What it enrols with for the first time.
    pub tokens: Tokens,
    /// Roots that are trusted whoever hands them over.
    pub pins: Vec<Pin>,
    /// The share of a certificate's lifetime after which it is renewed.
    pub renew_at: RenewAt,
    /// How often the roots are asked for.
    pub poll: Duration,
    /// The type of its keys; what the server wants if there is none.
    pub key_type: Option<KeyType>,
    /// What is restarted when trust changes.
    pub workloads: Option<Workloads>,
    /// Where metrics and health are served, if they are.
    pub listen: Option<SocketAddr>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// How it is.
    pub status: Status,
}

/// Why an agent does not start. Once it has, nothing ends it but being told to.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {reason}")]
pub struct ListenError {
    /// Where.
    pub address: SocketAddr,
    /// The system's words.
    pub reason: String,
}

/// Runs until it is cancelled. What was being written then is written.
///
/// # Errors
///
/// If metrics and health cannot be served.
pub async fn run(options: Options, cancel: Cancel) -> Result<(), ListenError> {
    let serving = Cancel::default();
    let server = match options.listen {
        None => None,
        Some(address) => {
            let listener = tokio::net::TcpListener::bind(address).await;
            let listener = listener.map_err(|error| ListenError {
                address,
                reason: error.to_string(),
            })?;
            let router = options.status.router();
            Some(tokio::spawn(serve_router(
                listener,
                router,
                serving.clone(),
            )))
        }
    };
    Worker::new(options, cancel).run().await;
    serving.cancel();
    if let Some(server) = server {
        let _ = server.await;
    }
    Ok(())
}
