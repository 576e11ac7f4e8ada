//! A relay server.

use std::os::fd::AsFd as _;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use super::credentials::{Identity, Trust};
use super::records::Records;
use super::{Orders, PATIENCE, end, text};

type Stream = BufReader<TlsStream<TcpStream>>;

/// What it has read.
#[derive(Clone)]
struct Read {
    identity: Arc<Result<Identity, String>>,
    trust: Arc<Result<Trust, String>>,
}

impl Read {
    fn new(orders: &Orders) -> Self {
        Self {
            identity: Arc::new(Identity::read(&orders.credentials)),
            trust: Arc::new(Trust::read(&orders.trust)),
        }
    }

    /// Reads again what it does not keep.
    fn refresh(&mut self, orders: &Orders) {
        if orders.rereads_certificate {
            self.identity = Arc::new(Identity::read(&orders.credentials));
        }
        if orders.rereads_trust {
            self.trust = Arc::new(Trust::read(&orders.trust));
        }
    }

    fn had(&self) -> Option<(&Identity, &Trust)> {
        let identity = self.identity.as_ref().as_ref().ok()?;
        Some((identity, self.trust.as_ref().as_ref().ok()?))
    }
}

/// The listener is whoever started us's: a successor accepts from the same queue, so that a restart
/// loses no connection.
fn listener() -> TcpListener {
    let listener = std::io::stdin().as_fd().try_clone_to_owned().unwrap();
    let listener = std::net::TcpListener::from(listener);
    listener.set_nonblocking(true).unwrap();
    TcpListener::from_std(listener).unwrap()
}

pub(super) async fn run(orders: Orders, told: watch::Receiver<bool>) {
    let records = Arc::new(Records::open(&orders.records));
    let listener = listener();
    let mut read = Read::new(&orders);
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = end(told.clone()) => break,
        };
        while connections.try_join_next().is_some() {}
        let (stream, peer) = accepted.unwrap();
        read.refresh(&orders);
        let (read, records, told) = (read.clone(), Arc::clone(&records), told.clone());
        connections.spawn(async move {
            let met = timeout(PATIENCE, meet(&read, stream)).await;
            let met = met.unwrap_or_else(|_| Err("it hangs".to_owned()));
            match met {
                Ok((agent, stream)) => {
                    records.write(&agent, peer.port(), Ok(()), None);
                    tokio::select! {
                        () = answer(&agent, stream) => (),
                        () = end(told) => (),
                    }
                }
                Err(reason) => records.write("", peer.port(), Err(reason), read.had()),
            }
        });
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// A handshake and an exchange; who the agent is.
async fn meet(read: &Read, stream: TcpStream) -> Result<(String, Stream), String> {
    let identity = read.identity.as_ref().as_ref()?;
    let trust = read.trust.as_ref().as_ref()?;
    let verifier = WebPkiClientVerifier::builder(Arc::clone(&trust.store));
    let mut config = ServerConfig::builder()
        .with_client_cert_verifier(verifier.build().map_err(text)?)
        .with_single_cert(identity.chain.clone(), identity.key.clone_key())
        .map_err(text)?;
    // Each handshake is a whole one.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let stream = acceptor.accept(stream).await.map_err(text)?;
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let agent = name(chain.first().ok_or("no certificate")?)?;
    let mut stream = BufReader::new(stream);
    match exchange(&agent, &mut stream).await? {
        true => Ok((agent, stream)),
        false => Err(format!("{agent} said nothing")),
    }
}

/// Answers a line; whether there was one.
async fn exchange(agent: &str, stream: &mut Stream) -> Result<bool, String> {
    let mut said = String::new();
    if stream.read_line(&mut said).await.map_err(text)? == 0 {
        return Ok(false);
    }
    if said != format!("hello {agent}\n") {
        return Err(format!("{agent} says {said:?}"));
    }
    let answer = format!("welcome {agent}\n");
    stream.write_all(answer.as_bytes()).await.map_err(text)?;
    stream.flush().await.map_err(text)?;
    Ok(true)
}

async fn answer(agent: &str, mut stream: Stream) {
    while let Ok(true) = exchange(agent, &mut stream).await {}
    let _ = stream.shutdown().await;
}

/// As the relay server derives it: the one DNS name.
fn name(certificate: &[u8]) -> Result<String, String> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(text)?;
    let names = parsed.subject_alternative_name().map_err(text)?;
    let names = names.map_or(&[][..], |names| &names.value.general_names);
    match names {
        [GeneralName::DNSName(name)] => Ok((*name).to_owned()),
        other => Err(format!("an agent is called {other:?}")),
    }
}
