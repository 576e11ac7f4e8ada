//! What live relay servers present and say, while a rotation waits for it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustls::{ServerConfig, ServerConnection, SupportedProtocolVersion};

use crate::support::fleet::{Fleet, SERVER, workload};
use crate::support::handshake::server_config;
use crate::support::manifest::Manifest;

/// Longest that a server in these tests waits for who is connected.
const PATIENCE: Duration = Duration::from_secs(5);

/// A document in which the relay server can be reached.
fn spec(server: &str) -> String {
    format!(
        "  clusters:\n    - {{ name: mgmt, role: management, directory: clusters/mgmt, relayServer: {server} }}\n{}{}",
        workload("c1"),
        workload("c2")
    )
}

/// A server on its own thread, for as long as the test runs.
fn serve(answer: impl Fn(TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.set_write_timeout(Some(PATIENCE)).unwrap();
            answer(stream);
        }
    });
    address
}

/// A relay server that wants client certificates, and presents what it read last.
struct RelayServer {
    config: Arc<Mutex<Arc<ServerConfig>>>,
    version: &'static SupportedProtocolVersion,
    address: SocketAddr,
}

impl RelayServer {
    fn start(secret: &Manifest, version: &'static SupportedProtocolVersion) -> Self {
        let config = Arc::new(Mutex::new(server_config(secret, &[version])));
        let current = config.clone();
        let address = serve(move |mut stream| {
            let config = current.lock().unwrap().clone();
            let mut connection = ServerConnection::new(config).unwrap();
            // Whoever has no certificate is refused.
            while connection.is_handshaking() {
                if connection.complete_io(&mut stream).is_err() {
                    break;
                }
            }
        });
        Self {
            config,
            version,
            address,
        }
    }

    fn read(&self, secret: &Manifest) {
        *self.config.lock().unwrap() = server_config(secret, &[self.version]);
    }
}

/// A root is rotated past a server that reads its Secret only when it is told to.
fn a_root_waits_for_the_server(version: &'static SupportedProtocolVersion) {
    let fleet = Fleet::bootstrapped(&spec("{}"));
    let server = RelayServer::start(&fleet.secret("mgmt", SERVER), version);
    fleet.write_spec(&spec(&format!("{{ address: \"{}\" }}", server.address)));
    let read = || server.read(&fleet.secret("mgmt", SERVER));
    fleet.ends(&["rotate", "root", "--yes"], 6).says(&[
        "the root: activating",
        "mgmt: its relay server at 127.0.0.1:",
        "presents a certificate of signer g1, not of signer g2 yet",
    ]);
    read();
    fleet.ends(&["rotation", "advance"], 6).says(&[
        "the root: draining",
        "does not present the right certificates of signer g2 yet",
    ]);
    read();
    fleet.done(&["rotation", "advance"]).says(&["done"]);
}

#[test]
fn a_root_waits_for_a_server_of_tls_1_3() {
    a_root_waits_for_the_server(&rustls::version::TLS13);
}

#[test]
fn a_root_waits_for_a_server_of_tls_1_2() {
    a_root_waits_for_the_server(&rustls::version::TLS12);
}

#[test]
fn a_server_that_a_holder_of_a_bundle_would_refuse_keeps_the_gate_shut() {
    let fleet = Fleet::bootstrapped(&spec("{}"));
    let other = Fleet::bootstrapped(&spec("{}"));
    let version = &rustls::version::TLS13;
    let server = RelayServer::start(&other.secret("mgmt", SERVER), version);
    fleet.write_spec(&spec(&format!("{{ address: \"{}\" }}", server.address)));
    fleet.ends(&["rotate", "root", "--yes"], 6).says(&[
        "the root: publishing",
        "presents a chain that c1 and 2 more would refuse: invalid peer certificate: ",
    ]);
    // A way back asks the same.
    fleet
        .ends(&["rotation", "rollback"], 6)
        .says(&["presents a certificate that is not of signer g1"]);
    server.read(&fleet.secret("mgmt", SERVER));
    fleet.done(&["rotation", "advance"]).says(&["rolledback"]);
}

#[test]
fn a_server_that_says_nothing_costs_its_own_time_only() {
    let fleet = Fleet::bootstrapped(&spec("{}"));
    let silent = serve(|mut stream| {
        let mut kept = Vec::new();
        let _ = stream.set_read_timeout(Some(4 * PATIENCE));
        let _ = stream.read_to_end(&mut kept);
    });
    // Closed again at once.
    let gone = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    fleet.write_spec(&spec(&format!(
        "{{ address: \"{silent}\", metrics: \"http://{gone}/metrics\" }}"
    )));
    let begun = Instant::now();
    let run = fleet.ends(&["rotate", "signer"], 6);
    run.says(&["the signer: publishing", "mgmt: its relay server at"]);
    let run = fleet.ends(&["rotation", "status", "--output", "json"], 6);
    run.says(&["cannot be probed: no answer within 10 s"]);
    assert!(
        begun.elapsed() < Duration::from_secs(60),
        "{:?}",
        begun.elapsed()
    );
    fleet.write_spec(&spec(&format!("{{ metrics: \"http://{gone}/metrics\" }}")));
    let run = fleet.ends(&["rotation", "status"], 6);
    run.says(&["cannot be read: ", "no connection"]);
}

/// Answers whatever is asked for with `text` as it is then.
fn metrics(status: &'static str, text: Arc<Mutex<String>>) -> SocketAddr {
    serve(move |mut stream| {
        let mut request = [0; 4096];
        let length = stream.read(&mut request).unwrap();
        assert!(request[..length].starts_with(b"GET /metrics HTTP/1.1\r\n"));
        let text = text.lock().unwrap();
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n",
            text.len()
        );
        // Whoever has read enough may be gone.
        let _ = stream.write_all(format!("{head}{text}").as_bytes());
    })
}

#[test]
fn every_agent_has_to_be_connected() {
    let fleet = Fleet::bootstrapped(&spec("{}"));
    let sample = |name: &str, value: u8| {
        format!("relay_push_clients_connected{{cluster=\"{name}\"}} {value}\n")
    };
    let text = Arc::new(Mutex::new(sample("c1", 1) + &sample("c2", 0)));
    let address = metrics("200 OK", text.clone());
    let with = |address: SocketAddr| {
        fleet.write_spec(&spec(&format!(
            "{{ metrics: \"http://{address}/metrics\" }}"
        )));
    };
    with(address);
    let run = fleet.ends(&["rotate", "signer"], 6);
    run.says(&[
        "the signer: publishing",
        "c2: no relay server says that its agent is connected",
    ]);
    assert!(!run.stdout.contains("c1: no relay server"), "{run:#?}");
    // A way back is open all the same, and so is a rotation in which everybody is connected.
    fleet.done(&["rotation", "rollback"]).says(&["rolledback"]);
    *text.lock().unwrap() = sample("c1", 1) + &sample("c2", 3);
    fleet.done(&["rotate", "signer"]).says(&["done"]);

    with(metrics("500 Oops", text.clone()));
    fleet.ends(&["rotate", "signer"], 6).says(&[
        "mgmt: the metrics of its relay server",
        "cannot be read",
        "it answered 500",
    ]);
    *text.lock().unwrap() = "#".repeat(17 << 20);
    with(address);
    fleet
        .ends(&["rotation", "status"], 6)
        .says(&["cannot be read", "larger than 16777216 bytes"]);
}
