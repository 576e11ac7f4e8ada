//! A network that fails: TCP connections to a server, disturbed without looking into them.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use crate::kubeconfig::through;
use crate::listening::Listening;
use crate::runtime::{listen_on_loopback, runtime};
use crate::tls_records::ApplicationRecords;

/// A server that says nothing for so long has answered completely.
const ANSWERED: Duration = Duration::from_secs(2);

/// What happens to connections, the open ones too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Nothing.
    Pass,
    /// They are closed, new ones at once.
    Refuse,
    /// They are accepted and stay open, and nothing moves until the mode changes.
    Hang,
    /// Everything that is read is passed on this much later, in each direction.
    Slow(Duration),
    /// Requests reach the server; the answers are lost, and two seconds later the connection. For one
    /// certain request, [`Fault::lose_reply`](crate::Fault::lose_reply) is exact.
    LoseReplies,
}

/// A listener in front of one server. TLS goes through it untouched. It ends when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    server: String,
    address: SocketAddr,
    mode: watch::Sender<Mode>,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Begins to listen, in [`Mode::Pass`].
    pub fn before(server: impl Into<Listening>) -> Self {
        let server = server.into();
        let upstream = SocketAddr::from(([127, 0, 0, 1], server.port));
        let listener = listen_on_loopback();
        let (mode, watched) = watch::channel(Mode::Pass);
        let connections = Arc::new(AtomicUsize::new(0));
        Self {
            server: server.url(),
            address: listener.local_addr().unwrap(),
            mode,
            task: runtime().spawn(listen(
                listener,
                upstream,
                watched,
                Arc::clone(&connections),
            )),
            connections,
        }
    }

    /// Changes the mode.
    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// How many connections there have been.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// `https://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// A kubeconfig of the API server, through this proxy.
    ///
    /// # Panics
    ///
    /// If it is one of another server.
    pub fn kubeconfig(&self, kubeconfig: &str) -> String {
        through(kubeconfig, &self.server, &self.url())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(
    listener: TcpListener,
    upstream: SocketAddr,
    mode: watch::Receiver<Mode>,
    connections: Arc<AtomicUsize>,
) {
    // Aborted with this task.
    let mut open = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        connections.fetch_add(1, Ordering::SeqCst);
        open.spawn(connection(client, upstream, mode.clone()));
        while open.try_join_next().is_some() {}
    }
}

async fn connection(
    client: TcpStream,
    upstream: SocketAddr,
    mut mode: watch::Receiver<Mode>,
) -> io::Result<()> {
    let refused = {
        let mut mode = mode.clone();
        async move { mode.wait_for(|mode| *mode == Mode::Refuse).await.map(drop) }
    };
    let work = async move {
        moving(&mut mode).await;
        let server = TcpStream::connect(upstream).await?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        let sent = Arc::new(Mutex::new(ApplicationRecords::default()));
        // One side that ends, ends both: TLS has no half-closed connections.
        tokio::select! {
            ended = requests(from_client, to_server, mode.clone(), Arc::clone(&sent)) => ended,
            ended = replies(from_server, to_client, mode, sent) => ended,
        }
    };
    tokio::select! {
        biased;
        _ = refused => Ok(()),
        ended = work => ended,
    }
}

async fn requests(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut mode: watch::Receiver<Mode>,
    sent: Arc<Mutex<ApplicationRecords>>,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = from.read(&mut buffer).await?;
        moving(&mut mode).await;
        if read == 0 {
            return Ok(());
        }
        sent.lock().unwrap().read(&buffer[..read]);
        to.write_all(&buffer[..read]).await?;
    }
}

async fn replies(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut mode: watch::Receiver<Mode>,
    sent: Arc<Mutex<ApplicationRecords>>,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = from.read(&mut buffer).await?;
        moving(&mut mode).await;
        if read == 0 {
            return Ok(());
        }
        if *mode.borrow() == Mode::LoseReplies && sent.lock().unwrap().requests_begun() {
            // Closing on the first bytes could overtake the request: they may only settle the
            // connection. So the server is heard out.
            while matches!(timeout(ANSWERED, from.read(&mut buffer)).await, Ok(Ok(1..))) {}
            return Ok(());
        }
        to.write_all(&buffer[..read]).await?;
    }
}

/// Waits as long as the mode asks for.
async fn moving(mode: &mut watch::Receiver<Mode>) {
    // The sender lives as long as the listener's task, which ends this one.
    let _ = mode.wait_for(|mode| *mode != Mode::Hang).await;
    let delay = match *mode.borrow() {
        Mode::Slow(delay) => delay,
        _ => Duration::ZERO,
    };
    if !delay.is_zero() {
        sleep(delay).await;
    }
}
