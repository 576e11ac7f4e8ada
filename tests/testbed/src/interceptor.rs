//! A server that misbehaves: requests, counted, and answered wrongly where a test asks for it.

mod exchange;
mod rules;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::kubeconfig::through;
use crate::listening::Listening;
use crate::runtime::{listen_on_loopback, runtime};
use exchange::{Upstream, exchange};
use rules::Rules;
pub use rules::{Effect, Fault, Request};

/// A listener in front of one server that ends TLS, with a certificate of the same CA, and sees
/// every request. Answers stream through it. It ends when it is dropped.
pub struct Interceptor {
    server: String,
    address: SocketAddr,
    rules: Arc<Mutex<Rules>>,
    task: JoinHandle<()>,
}

impl Interceptor {
    /// Begins to listen, and passes everything on.
    pub fn before(server: impl Into<Listening>) -> Self {
        let server = server.into();
        let listener = listen_on_loopback();
        let address = listener.local_addr().unwrap();
        let acceptor = TlsAcceptor::from(server.authority.server_tls());
        let upstream = Upstream {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, server.port)),
            tls: TlsConnector::from(server.authority.client_tls()),
        };
        let rules = Arc::new(Mutex::new(Rules::default()));
        Self {
            server: server.url(),
            address,
            task: runtime().spawn(listen(listener, acceptor, upstream, Arc::clone(&rules))),
            rules,
        }
    }

    /// Has the next requests that fit disturbed. Of several faults the earliest goes first.
    pub fn inject(&self, fault: Fault) {
        self.rules.lock().unwrap().faults.push(fault);
    }

    /// Disturbs nothing any more.
    pub fn relent(&self) {
        self.rules.lock().unwrap().faults.clear();
    }

    /// Every request since the beginning or the last [`forget`](Self::forget).
    pub fn requests(&self) -> Vec<Request> {
        self.rules.lock().unwrap().seen.clone()
    }

    /// How many requests of a method have `path` in their path.
    pub fn count(&self, method: &str, path: &str) -> usize {
        let rules = self.rules.lock().unwrap();
        let fitting = rules.seen.iter();
        fitting
            .filter(|request| request.method == method && request.path.contains(path))
            .count()
    }

    /// How many requests were made to change something.
    pub fn writes(&self) -> usize {
        let rules = self.rules.lock().unwrap();
        rules.seen.iter().filter(|request| request.writes()).count()
    }

    /// Begins to count anew.
    pub fn forget(&self) {
        self.rules.lock().unwrap().seen.clear();
    }

    /// `https://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// A kubeconfig of the API server, through this interceptor.
    ///
    /// # Panics
    ///
    /// If it is one of another server.
    pub fn kubeconfig(&self, kubeconfig: &str) -> String {
        through(kubeconfig, &self.server, &self.url())
    }
}

impl Drop for Interceptor {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    upstream: Upstream,
    rules: Arc<Mutex<Rules>>,
) {
    // Aborted with this task.
    let mut open = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        open.spawn(connection(
            client,
            acceptor.clone(),
            upstream.clone(),
            Arc::clone(&rules),
        ));
        while open.try_join_next().is_some() {}
    }
}

/// One connection of a client and one to the API server, until either ends.
async fn connection(
    client: TcpStream,
    acceptor: TlsAcceptor,
    upstream: Upstream,
    rules: Arc<Mutex<Rules>>,
) {
    let Ok(client) = acceptor.accept(client).await else {
        return;
    };
    // A server that is down is one to the client, too: the connection just ends.
    let Ok((sender, upstream)) = upstream.connect().await else {
        return;
    };
    let sender = Arc::new(tokio::sync::Mutex::new(sender));
    let service = service_fn(|request| exchange(request, Arc::clone(&sender), Arc::clone(&rules)));
    let served = server::Builder::new().serve_connection(TokioIo::new(client), service);
    tokio::pin!(served);
    tokio::select! {
        _ = &mut served => {}
        _ = upstream => {
            // What was answered is still delivered.
            served.as_mut().graceful_shutdown();
            let _ = served.await;
        }
    }
}
