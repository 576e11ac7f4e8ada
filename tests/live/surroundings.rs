//! What the controllers and the command line run in, where backends are emulated: objects name no
//! endpoints but the vendors' own, so the machine has to lead there.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio_rustls::TlsAcceptor;

/// Has a program find other names in `/etc/hosts`, and nobody else see that.
const HOSTS: &str = "mount --bind \"$1\" /etc/hosts && shift && exec env \"$@\"";

/// Arguments of `env`, before the program that is to run in them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Surroundings(Vec<String>);

impl Surroundings {
    /// An environment with these variables in which `host` is this machine, and believed to be that by
    /// whoever trusts what the machine trusts. What is said to its port, which is returned, is passed on
    /// to `target` in the clear.
    pub(crate) fn of(
        folder: &Path,
        variables: &[(&str, String)],
        host: &str,
        target: SocketAddr,
    ) -> (Self, u16) {
        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed([host.to_owned()]).unwrap();
        let (hosts, trusted) = (folder.join("hosts"), folder.join("trusted.pem"));
        fs::write(&hosts, format!("127.0.0.1 localhost {host}\n")).unwrap();
        fs::write(&trusted, cert.pem()).unwrap();
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        std::thread::spawn(move || pass_on(listener, &acceptor, target));

        let mut arguments: Vec<String> = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
            .map(str::to_owned)
            .into();
        arguments.extend([HOSTS, "sh"].map(str::to_owned));
        arguments.push(hosts.display().to_string());
        arguments.push(format!("SSL_CERT_FILE={}", trusted.display()));
        let variables = variables.iter();
        arguments.extend(variables.map(|(name, value)| format!("{name}={value}")));
        (Self(arguments), port)
    }

    /// The arguments.
    pub(crate) fn arguments(&self) -> &[String] {
        &self.0
    }
}

/// Goes on until the process ends.
fn pass_on(listener: TcpListener, acceptor: &TlsAcceptor, target: SocketAddr) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // Whoever does not get through says so; here nobody listens.
                let mut stream = acceptor.accept(stream).await?;
                let mut onward = tokio::net::TcpStream::connect(target).await?;
                tokio::io::copy_bidirectional(&mut stream, &mut onward).await
            });
        }
    });
}
