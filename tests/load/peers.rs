//! The CAs that we are compared with, as their own programs, each with the settings that make it do our work
//! and no more: P-256, mutual TLS, a line of audit for every certificate, nothing stored unless it says so.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{Method, Request};
use http_body_util::Full;
use rustls::ClientConfig;
use serde_json::{Value, json};

use crate::identity::{Pki, SERVER};
use crate::process::{Server, free_port};
use crate::target::{Client, Dialect, Target};
use crate::transport::{ask, client_config, connect};

/// Longest that a server may take to answer for the first time.
const START: Duration = Duration::from_secs(120);
/// Thirty days, as our agents have them.
const LIFETIME: &str = "720h";

/// A server that others wrote, and what load is put on.
pub(crate) struct Peer {
    pub(crate) target: Arc<Target>,
    _server: Server,
}

/// A folder with everything that the servers read.
pub(crate) struct Peers {
    folder: tempfile::TempDir,
    pki: Pki,
}

impl Peers {
    pub(crate) fn new() -> Self {
        let (folder, pki) = (tempfile::tempdir().unwrap(), Pki::new());
        let write = |name: &str, text: &str| {
            std::fs::write(folder.path().join(name), text).unwrap();
        };
        write("root.pem", &pki.root_pem);
        write("intermediate.pem", &pki.intermediate_pem);
        write("intermediate.key", &pki.intermediate_key_pem);
        write("server.pem", &pki.server_pem);
        write("server.key", &pki.server_key_pem);
        Self { folder, pki }
    }

    /// cfssl: the request carries an HMAC.
    pub(crate) async fn cfssl(&self, names: &[String], requests: usize) -> Peer {
        let key = [0x42; 16];
        let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        let config = json!({
            "signing": { "default": {
                "usages": ["digital signature", "client auth"],
                "expiry": LIFETIME,
                "auth_key": "load",
            } },
            "auth_keys": { "load": { "type": "standard", "key": hex } },
        });
        self.write("cfssl.json", &config);
        let port = free_port();
        let arguments = [
            "serve",
            "-address=127.0.0.1",
            &format!("-port={port}"),
            "-ca=intermediate.pem",
            "-ca-key=intermediate.key",
            "-config=cfssl.json",
            "-tls-cert=server.pem",
            "-tls-key=server.key",
            "-mutual-tls-ca=root.pem",
        ];
        let server = self.start("cfssl", &arguments, "cfssl");
        let dialect = Dialect::AuthSign(key);
        self.peer(
            "cfssl authsign",
            "none",
            server,
            port,
            dialect,
            names,
            requests,
        )
        .await
    }

    /// step-ca, without a database or with one.
    pub(crate) async fn step_ca(&self, database: bool, names: &[String], requests: usize) -> Peer {
        let (label, durability) = match database {
            true => ("step-ca rekey, badger", "local database"),
            false => ("step-ca rekey", "none"),
        };
        let (port, file) = (free_port(), format!("step-{database}.json"));
        let mut config = json!({
            "root": "root.pem",
            "crt": "intermediate.pem",
            "key": "intermediate.key",
            "address": format!("127.0.0.1:{port}"),
            "dnsNames": [SERVER],
            "logger": { "format": "json" },
            "authority": { "provisioners": [], "claims": {
                "maxTLSCertDuration": LIFETIME,
                "defaultTLSCertDuration": LIFETIME,
            } },
            "tls": { "minVersion": 1.3, "maxVersion": 1.3, "renegotiation": false },
        });
        if database {
            config["db"] = json!({ "type": "badgerv2", "dataSource": "badger" });
        }
        self.write(&file, &config);
        let server = self.start("step-ca", &[file.as_str()], &file);
        self.peer(
            label,
            durability,
            server,
            port,
            Dialect::Rekey,
            names,
            requests,
        )
        .await
    }

    /// Vault with a role that stores nothing, and its audit log in a file.
    pub(crate) async fn vault(&self, names: &[String], requests: usize) -> Peer {
        let port = free_port();
        let config = json!({
            "storage": { "inmem": {} },
            "disable_mlock": true,
            "api_addr": format!("https://{SERVER}:{port}"),
            "listener": { "tcp": {
                "address": format!("127.0.0.1:{port}"),
                "tls_cert_file": "server.pem",
                "tls_key_file": "server.key",
                "tls_client_ca_file": "root.pem",
                "tls_require_and_verify_client_cert": true,
            } },
        });
        self.write("vault.json", &config);
        let server = self.start("vault", &["server", "-config=vault.json"], "vault");
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let client = client_config(&self.pki.root, Some(&self.pki.client("admin")));
        let mut admin = Admin {
            address,
            client,
            token: String::new(),
        };
        admin.ready().await;
        let shares = json!({ "secret_shares": 1, "secret_threshold": 1 });
        let made = admin.put("sys/init", shares).await;
        let unseal = json!({ "key": made["keys"][0] });
        admin.put("sys/unseal", unseal).await;
        admin.token = made["root_token"].as_str().unwrap().to_owned();
        let log = json!({ "type": "file", "options": { "file_path": self.path("audit.log") } });
        admin.put("sys/audit/file", log).await;
        let mount = json!({ "type": "pki", "config": { "max_lease_ttl": "8760h" } });
        admin.put("sys/mounts/pki", mount).await;
        let bundle = self.pki.intermediate_key_pem.clone() + &self.pki.intermediate_pem;
        let bundle = json!({ "pem_bundle": bundle + &self.pki.root_pem });
        admin.put("pki/config/ca", bundle).await;
        let role = json!({
            "key_type": "ec",
            "key_bits": 256,
            "allow_any_name": true,
            "enforce_hostnames": false,
            "server_flag": false,
            "client_flag": true,
            "key_usage": ["DigitalSignature"],
            "no_store": true,
            "generate_lease": false,
            "ttl": LIFETIME,
            "max_ttl": LIFETIME,
        });
        admin.put("pki/roles/agent", role).await;
        let dialect = Dialect::Vault(admin.token.clone());
        self.peer(
            "Vault pki/sign",
            "none",
            server,
            port,
            dialect,
            names,
            requests,
        )
        .await
    }

    #[allow(clippy::too_many_arguments)]
    async fn peer(
        &self,
        label: &'static str,
        durability: &'static str,
        server: Server,
        port: u16,
        dialect: Dialect,
        names: &[String],
        requests: usize,
    ) -> Peer {
        let root = &self.pki.root;
        let clients: Vec<Client> = names
            .iter()
            .map(|name| Client::new(&self.pki.client(name), root, &dialect, requests))
            .collect();
        let target = Target {
            label,
            durability,
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            pid: server.pid(),
            dialect,
            root: root.clone(),
            intermediate: self.pki.intermediate(),
            clients,
        };
        answers(target.address, &target.clients[0].config, label).await;
        Peer {
            target: Arc::new(target),
            _server: server,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, config: &Value) {
        std::fs::write(self.path(name), config.to_string()).unwrap();
    }

    fn start(&self, program: &str, arguments: &[&str], log: &str) -> Server {
        let log = format!("{log}.log");
        Server::start(&installed(program), arguments, self.folder.path(), &log)
    }
}

/// A program that `tests/load/install` or `tests/testbed/install` built.
fn installed(program: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), PathBuf::from);
    let path = target.join("testbed/bin").join(program);
    assert!(path.is_file(), "{program} is missing: run tests/load/run");
    path
}

/// Waits until a server takes a connection.
async fn answers(address: SocketAddr, config: &Arc<ClientConfig>, label: &str) {
    let begun = std::time::Instant::now();
    while let Err(error) = connect(address, config).await {
        assert!(begun.elapsed() < START, "{label} does not start: {error}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Who sets Vault up.
struct Admin {
    address: SocketAddr,
    client: Arc<ClientConfig>,
    token: String,
}

impl Admin {
    async fn ready(&self) {
        answers(self.address, &self.client, "Vault").await;
    }

    async fn put(&self, path: &str, body: Value) -> Value {
        let request = Request::builder()
            .method(Method::PUT)
            .uri(format!("/v1/{path}"))
            .header(HOST, SERVER)
            .header("x-vault-token", &self.token)
            .body(Full::new(Bytes::from(body.to_string())))
            .unwrap();
        let mut connection = connect(self.address, &self.client).await.unwrap();
        let reply = ask(&mut connection, request).await.unwrap();
        let text = String::from_utf8_lossy(reply.body());
        assert!(reply.status().is_success(), "Vault {path}: {text}");
        serde_json::from_slice(reply.body()).unwrap_or_default()
    }
}
