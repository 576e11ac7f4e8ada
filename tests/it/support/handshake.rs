//! Live mutual TLS from what is in the Secrets, with rustls and with OpenSSL on either side.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::certificate::{certificates, leaf, private_key};
use super::manifest::Manifest;
use super::tools::{openssl_command, required};
use super::verifiers::AUTHORITY;

/// Far more than any handshake takes; only there so that a hanging one fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// A relay server and an agent of rustls shake hands; the identity that the server saw.
pub(crate) fn rustls_to_rustls(server: &Manifest, client: &Manifest) -> Result<String, String> {
    let (acceptor, connector) = (acceptor(server), connector(client));
    within_patience(async {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let (served, answer) = tokio::join!(serve(acceptor, far), ask(connector, near));
        // A refused client certificate shows on the server; the client of TLS 1.3 only reads it.
        let (seen, said) = (served?, answer?);
        assert_eq!(said, format!("welcome {seen}\n"));
        Ok(seen)
    })
}

/// `openssl s_client` before a relay server of rustls; the identity that the server saw.
pub(crate) fn openssl_to_rustls(server: &Manifest, client: &Manifest) -> Result<String, String> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let files = Files::of(client);
    let mut command = openssl_command();
    command
        .current_dir(files.path())
        .args(["s_client", "-quiet", "-connect", &address]);
    command.args(["-servername", AUTHORITY, "-verify_hostname", AUTHORITY]);
    command
        .args(["-verify_return_error", "-verify_quiet"])
        .args(IDENTITY);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let started = required(command.spawn(), "openssl", "apt-get install openssl");
    let mut child = Killed(started);
    let acceptor = acceptor(server);
    let served = within_patience(async {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        serve(acceptor, stream).await
    });
    let mut said = String::new();
    child
        .0
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    let mut complaint = String::new();
    child
        .0
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut complaint)
        .unwrap();
    let seen = served.map_err(|reason| format!("{reason}; s_client: {complaint}"))?;
    match said == format!("welcome {seen}\n") {
        true => Ok(seen),
        false => Err(format!("s_client read {said:?} and said {complaint}")),
    }
}

/// An agent of rustls before `openssl s_server`.
pub(crate) fn rustls_to_openssl(server: &Manifest, client: &Manifest) -> Result<(), String> {
    let server = OpensslServer::start(server);
    let connector = connector(client);
    within_patience(async {
        let stream = tokio::net::TcpStream::connect(&server.address).await;
        let mut stream = connect(&connector, stream.unwrap()).await?;
        stream.write_all(b"ping\n").await.map_err(text)?;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).await.map_err(text)?;
        assert_eq!(&answer, b"gnip\n");
        Ok(())
    })
}

/// `openssl s_client` before `openssl s_server`.
pub(crate) fn openssl_to_openssl(server: &Manifest, client: &Manifest) -> Result<(), String> {
    let server = OpensslServer::start(server);
    let files = Files::of(client);
    let mut command = openssl_command();
    command
        .current_dir(files.path())
        .args(["s_client", "-quiet", "-connect", &server.address]);
    command.args(["-servername", AUTHORITY, "-verify_hostname", AUTHORITY]);
    command
        .args(["-verify_return_error", "-verify_quiet"])
        .args(IDENTITY);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let started = required(command.spawn(), "openssl", "apt-get install openssl");
    let mut child = Killed(started);
    // It may be gone already; then there is no answer either.
    let _ = child.0.stdin.as_mut().unwrap().write_all(b"ping\n");
    let mut answer = String::new();
    let mut lines = BufReader::new(child.0.stdout.take().unwrap());
    lines.read_line(&mut answer).unwrap();
    match answer.as_str() {
        "gnip\n" => Ok(()),
        other => Err(format!("s_client read {other:?}")),
    }
}

/// What both OpenSSL programs present and trust.
const IDENTITY: [&str; 10] = [
    "-cert",
    "leaf.pem",
    "-cert_chain",
    "chain.pem",
    "-key",
    "key.pem",
    "-CAfile",
    "ca.pem",
    "-no-CApath",
    "-no-CAstore",
];

/// A Secret as the files that OpenSSL's programs want.
struct Files(TempDir);

impl Files {
    fn of(secret: &Manifest) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &[u8]| fs::write(dir.path().join(name), content).unwrap();
        write("leaf.pem", secret.entry("tls.crt"));
        write("chain.pem", secret.entry("tls.crt"));
        write("key.pem", secret.entry("tls.key"));
        write("ca.pem", secret.entry("ca.crt"));
        Self(dir)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

/// A child that does not outlive its test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `openssl s_server` that asks for client certificates and answers lines backwards.
struct OpensslServer {
    address: String,
    _files: Files,
    _output: BufReader<ChildStdout>,
    _child: Killed,
}

impl OpensslServer {
    fn start(server: &Manifest) -> Self {
        let files = Files::of(server);
        let mut command = openssl_command();
        command.current_dir(files.path()).args(["s_server", "-rev"]);
        command.args(["-accept", "127.0.0.1:0", "-Verify", "4"]);
        command
            .args(["-verify_return_error", "-verify_quiet"])
            .args(IDENTITY);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let started = required(command.spawn(), "openssl", "apt-get install openssl");
        let mut child = Killed(started);
        let mut output = BufReader::new(child.0.stdout.take().unwrap());
        let address = loop {
            let mut line = String::new();
            let read = output.read_line(&mut line).unwrap();
            assert!(read > 0, "openssl s_server ended before it accepted");
            if let Some(address) = line.strip_prefix("ACCEPT ") {
                break address.trim().to_owned();
            }
        };
        Self {
            address,
            _files: files,
            _output: output,
            _child: child,
        }
    }
}

async fn serve(
    acceptor: TlsAcceptor,
    stream: impl AsyncRead + AsyncWrite + Unpin,
) -> Result<String, String> {
    let mut stream = acceptor.accept(stream).await.map_err(text)?;
    let (_, session) = stream.get_ref();
    assert_eq!(
        session.server_name(),
        Some(AUTHORITY),
        "the name that the agent asked for"
    );
    let seen = identity(&session.peer_certificates().unwrap()[0]);
    let welcome = format!("welcome {seen}\n");
    stream.write_all(welcome.as_bytes()).await.map_err(text)?;
    stream.shutdown().await.map_err(text)?;
    Ok(seen)
}

async fn ask(
    connector: TlsConnector,
    stream: impl AsyncRead + AsyncWrite + Unpin,
) -> Result<String, String> {
    let mut stream = connect(&connector, stream).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.map_err(text)?;
    Ok(answer)
}

async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
    connector: &TlsConnector,
    stream: S,
) -> Result<tokio_rustls::client::TlsStream<S>, String> {
    let name = ServerName::try_from(AUTHORITY).unwrap();
    connector.connect(name, stream).await.map_err(text)
}

/// As the relay server derives it: the one DNS name.
fn identity(certificate: &CertificateDer<'_>) -> String {
    let parsed = leaf(&pem(certificate));
    assert_eq!(parsed.dns_names.len(), 1, "{parsed:?}");
    parsed.dns_names[0].clone()
}

fn pem(certificate: &CertificateDer<'_>) -> Vec<u8> {
    use base64::Engine as _;
    let body = base64::engine::general_purpose::STANDARD.encode(certificate);
    format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n").into_bytes()
}

fn acceptor(server: &Manifest) -> TlsAcceptor {
    TlsAcceptor::from(server_config(server, rustls::DEFAULT_VERSIONS))
}

/// A relay server that wants client certificates.
pub(crate) fn server_config(
    server: &Manifest,
    versions: &[&'static SupportedProtocolVersion],
) -> Arc<ServerConfig> {
    let verifier = WebPkiClientVerifier::builder(roots(server))
        .build()
        .unwrap();
    let config = ServerConfig::builder_with_protocol_versions(versions)
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain(server), private_key(server.entry("tls.key")));
    Arc::new(config.unwrap())
}

fn connector(client: &Manifest) -> TlsConnector {
    let config = ClientConfig::builder()
        .with_root_certificates(roots(client))
        .with_client_auth_cert(chain(client), private_key(client.entry("tls.key")))
        .unwrap();
    TlsConnector::from(Arc::new(config))
}

fn chain(secret: &Manifest) -> Vec<CertificateDer<'static>> {
    certificates(secret.entry("tls.crt"))
        .into_iter()
        .map(|c| c.der)
        .collect()
}

fn roots(secret: &Manifest) -> Arc<RootCertStore> {
    let mut store = RootCertStore::empty();
    for root in certificates(secret.entry("ca.crt")) {
        store.add(root.der).unwrap();
    }
    Arc::new(store)
}

fn within_patience<T>(work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime
        .block_on(async { tokio::time::timeout(PATIENCE, work).await })
        .expect("the handshake hangs")
}

fn text(error: std::io::Error) -> String {
    error.to_string()
}
