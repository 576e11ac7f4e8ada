//! An agent that dials the relay servers in turn.

use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::credentials::{Identity, Trust};
use super::records::Records;
use super::{Orders, PATIENCE, end, text};

/// The time between two exchanges on a connection that is held.
const BEAT: Duration = Duration::from_millis(500);

type Stream = BufReader<TlsStream<TcpStream>>;

pub(super) async fn run(orders: Orders, told: watch::Receiver<bool>) {
    let records = Records::open(&orders.records);
    let mut identity = Identity::read(&orders.credentials);
    let mut trust = Trust::read(&orders.trust);
    for (server, address) in orders.servers.iter().cycle() {
        if orders.rereads_certificate {
            identity = Identity::read(&orders.credentials);
        }
        if orders.rereads_trust {
            trust = Trust::read(&orders.trust);
        }
        let (had, mut port) = (identity.as_ref().ok().zip(trust.as_ref().ok()), 0);
        let met = match (&identity, &trust) {
            (Ok(identity), Ok(trust)) => {
                let meeting = meet(&orders, identity, trust, address, &mut port);
                let met = timeout(PATIENCE, meeting).await;
                met.unwrap_or_else(|_| Err("it hangs".to_owned()))
            }
            (Err(reason), _) | (_, Err(reason)) => Err(reason.clone()),
        };
        let (outcome, stream) = match met {
            Ok(stream) => (Ok(()), Some(stream)),
            Err(reason) => (Err(reason), None),
        };
        records.write(server, port, outcome, had);
        let rest = async {
            if let Some(stream) = stream {
                hold(&orders, stream).await;
            }
            sleep(Duration::from_millis(orders.pause)).await;
        };
        tokio::select! {
            () = rest => (),
            () = end(told.clone()) => return,
        }
    }
}

/// A handshake and an exchange: only the answer proves that the server accepted our certificate.
async fn meet(
    orders: &Orders,
    identity: &Identity,
    trust: &Trust,
    address: &str,
    port: &mut u16,
) -> Result<Stream, String> {
    let version = if orders.tls12 { &TLS12 } else { &TLS13 };
    let mut config = ClientConfig::builder_with_protocol_versions(&[version])
        .with_root_certificates(Arc::clone(&trust.store))
        .with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())
        .map_err(text)?;
    config.resumption = Resumption::disabled();
    let stream = TcpStream::connect(address).await.map_err(text)?;
    *port = stream.local_addr().map_err(text)?.port();
    let name = ServerName::try_from(orders.authority.clone()).map_err(text)?;
    let connector = TlsConnector::from(Arc::new(config));
    let stream = connector.connect(name, stream).await.map_err(text)?;
    let mut stream = BufReader::new(stream);
    exchange(&orders.name, &mut stream).await?;
    Ok(stream)
}

async fn exchange(name: &str, stream: &mut Stream) -> Result<(), String> {
    let hello = format!("hello {name}\n");
    stream.write_all(hello.as_bytes()).await.map_err(text)?;
    stream.flush().await.map_err(text)?;
    let mut answer = String::new();
    stream.read_line(&mut answer).await.map_err(text)?;
    match answer == format!("welcome {name}\n") {
        true => Ok(()),
        false => Err(format!("the server answers {answer:?}")),
    }
}

/// Goes on talking. The server may end that when it is restarted, which is no failed handshake.
async fn hold(orders: &Orders, mut stream: Stream) {
    let until = Instant::now() + Duration::from_millis(orders.hold);
    while Instant::now() < until {
        sleep(BEAT).await;
        if exchange(&orders.name, &mut stream).await.is_err() {
            return;
        }
    }
    let _ = stream.shutdown().await;
}
