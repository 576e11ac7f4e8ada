//! A Vault server.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::authority::{Authority, Serving};
use crate::ports;
use crate::process::{Component, Process};
use crate::programs::program;
use crate::runtime::runtime;
use crate::server::unique;
use crate::workdir::{Workdir, write_private};

/// Long, because several test processes may share a small machine.
const START: Duration = Duration::from_secs(180);
/// Making an RSA key on a busy machine takes seconds.
const ANSWER: Duration = Duration::from_secs(60);

/// The real server, unsealed, with everything in memory, behind a certificate of a CA of its own.
pub struct Vault {
    port: u16,
    mutual_port: u16,
    plain_port: u16,
    authority: Arc<Authority>,
    keys: Mutex<Option<Keys>>,
    process: Mutex<Process>,
    // Last: fields are dropped in order, and the server reads there.
    workdir: Workdir,
}

struct Keys {
    unseal: String,
    root_token: String,
}

/// What the API answered.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The body; null if there is none.
    pub body: Value,
}

impl Vault {
    /// The server of this process. The first call starts it.
    ///
    /// # Panics
    ///
    /// If it is missing or does not start, in every test that asks.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Result<Vault, String>> = OnceLock::new();
        match SHARED.get_or_init(Self::start) {
            Ok(vault) => vault,
            Err(reason) => panic!("Vault does not start: {reason}"),
        }
    }

    /// Starts a server of one's own, for a test that seals or kills it.
    ///
    /// # Errors
    ///
    /// Why it does not start, and the end of its log.
    pub fn start() -> Result<Self, String> {
        let workdir = Workdir::new();
        let authority = Arc::new(Authority::new());
        let serving = authority.serving();
        let path = |file: &str| workdir.path().join(file);
        write_private(&path("serving.crt"), &serving.certificate);
        write_private(&path("serving.key"), &serving.key);
        write_private(&path("ca.crt"), authority.pem());
        let [port, mutual_port, plain_port] = [ports::free(), ports::free(), ports::free()];
        let ports = [port, mutual_port, plain_port];
        write_private(&path("vault.hcl"), &configuration(workdir.path(), ports));
        let config = format!("-config={}", path("vault.hcl").display());
        let component = Component::new(&unique("vault"), "vault", ["server", &config]);
        let vault = Self {
            port,
            mutual_port,
            plain_port,
            authority,
            keys: Mutex::new(None),
            process: Mutex::new(component.start()),
            workdir,
        };
        vault.wait_ready()?;
        vault.initialize();
        Ok(vault)
    }

    fn wait_ready(&self) -> Result<(), String> {
        let mut process = self.process.lock().unwrap();
        process.wait_ready(START, || {
            self.attempt("GET", "sys/seal-status", "", &Value::Null)
                .is_ok_and(|reply| reply.status == 200)
        })
    }

    fn initialize(&self) {
        let wanted = json!({ "secret_shares": 1, "secret_threshold": 1 });
        let made = self.call("PUT", "sys/init", "", &wanted).body;
        *self.keys.lock().unwrap() = Some(Keys {
            unseal: made["keys"][0].as_str().unwrap().to_owned(),
            root_token: made["root_token"].as_str().unwrap().to_owned(),
        });
        self.unseal();
    }

    /// Seals it: nothing is answered any more until [`unseal`](Self::unseal).
    pub fn seal(&self) {
        self.admin("PUT", "sys/seal", &Value::Null);
    }

    /// Unseals it, and waits until it answers.
    pub fn unseal(&self) {
        let keys = self.keys.lock().unwrap();
        let key = json!({ "key": keys.as_ref().unwrap().unseal });
        drop(keys);
        self.call("PUT", "sys/unseal", "", &key);
        let mut process = self.process.lock().unwrap();
        let ready = process.wait_ready(START, || {
            let health = self.attempt("GET", "sys/health", "", &Value::Null);
            health.is_ok_and(|reply| reply.status == 200)
        });
        ready.unwrap_or_else(|reason| panic!("{reason}"));
    }

    /// `https://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// The same server where it asks its clients for certificates of [its CA](Self::client).
    pub fn mutual_url(&self) -> String {
        format!("https://127.0.0.1:{}", self.mutual_port)
    }

    /// The same server without TLS.
    pub fn plain_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.plain_port)
    }

    /// The certificate of the CA that signed the server's certificate, PEM.
    pub fn certificate_authority(&self) -> &str {
        self.authority.pem()
    }

    /// A certificate for a client, and its key, both PEM.
    pub fn client(&self) -> (String, String) {
        let Serving { certificate, key } = self.authority.serving();
        (certificate, key)
    }

    /// The token that may do everything.
    pub fn root_token(&self) -> String {
        let keys = self.keys.lock().unwrap();
        keys.as_ref().unwrap().root_token.clone()
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn authority(&self) -> &Arc<Authority> {
        &self.authority
    }

    /// Calls the API, `/v1/PATH`; null sends no body.
    ///
    /// # Panics
    ///
    /// If there is no answer.
    pub fn call(&self, method: &str, path: &str, token: &str, body: &Value) -> Reply {
        let reply = self.attempt(method, path, token, body);
        reply.unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// Calls the API as somebody who may do everything; what it answers in `data`.
    ///
    /// # Panics
    ///
    /// If it does not succeed.
    pub fn admin(&self, method: &str, path: &str, body: &Value) -> Value {
        let reply = self.call(method, path, &self.root_token(), body);
        assert!(reply.status < 300, "{method} {path}: {reply:?}");
        reply.body["data"].clone()
    }

    /// Mounts a PKI engine of a new name, for certificates of up to ten years; its name.
    pub fn pki(&self, prefix: &str) -> String {
        let mount = unique(prefix);
        let config = json!({ "type": "pki", "config": { "max_lease_ttl": "87600h" } });
        self.admin("POST", &format!("sys/mounts/{mount}"), &config);
        mount
    }

    /// A token with these policies and settings.
    pub fn token(&self, settings: &Value) -> String {
        let made = self.call("POST", "auth/token/create", &self.root_token(), settings);
        let token = made.body["auth"]["client_token"].as_str();
        let token = token.unwrap_or_else(|| panic!("no token: {made:?}"));
        token.to_owned()
    }

    /// The serial numbers of all certificates that a mount has stored.
    pub fn issued(&self, mount: &str) -> Vec<String> {
        let path = format!("{mount}/certs");
        let reply = self.call("LIST", &path, &self.root_token(), &Value::Null);
        let serials = reply.body["data"]["keys"].as_array().cloned();
        let serials = serials.unwrap_or_default().into_iter();
        serials
            .map(|serial| serial.as_str().unwrap().to_owned())
            .collect()
    }

    /// A shell command with `vault` on its path, as somebody who may do everything.
    pub fn shell(&self, script: &str) -> Output {
        let vault = program("vault");
        let path = std::env::var("PATH").unwrap_or_default();
        Command::new("bash")
            .args(["-euo", "pipefail", "-c", script])
            .current_dir(self.workdir.path())
            .env(
                "PATH",
                format!("{}:{path}", vault.parent().unwrap().display()),
            )
            .env("HOME", self.workdir.path())
            .env("VAULT_ADDR", self.url())
            .env("VAULT_CACERT", self.workdir.path().join("ca.crt"))
            .env("VAULT_TOKEN", self.root_token())
            .output()
            .unwrap()
    }

    fn attempt(
        &self,
        method: &str,
        path: &str,
        token: &str,
        body: &Value,
    ) -> Result<Reply, String> {
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        let request = Request::builder()
            .method(method)
            .uri(format!("/v1/{path}"))
            .header("Host", "vault")
            .header("Content-Type", "application/json")
            .header("X-Vault-Token", token)
            .body(Full::new(Bytes::from(body)))
            .unwrap();
        let tls = TlsConnector::from(self.authority.client_tls());
        let call = exchange(self.port, tls, request);
        // A thread of its own: callers may be on a runtime, where nothing may block on another.
        thread::scope(|scope| {
            let call = scope.spawn(|| runtime().block_on(async { timeout(ANSWER, call).await }));
            match call.join().unwrap() {
                Ok(reply) => reply,
                Err(_) => Err(format!("no answer within {} s", ANSWER.as_secs())),
            }
        })
    }
}

async fn exchange(
    port: u16,
    tls: TlsConnector,
    request: Request<Full<Bytes>>,
) -> Result<Reply, String> {
    let words = |error: &dyn std::error::Error| error.to_string();
    let stream = TcpStream::connect(("127.0.0.1", port)).await;
    let stream = stream.map_err(|error| words(&error))?;
    let name = ServerName::try_from("localhost").unwrap();
    let stream = tls.connect(name, stream).await;
    let stream = stream.map_err(|error| words(&error))?;
    let connected = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = connected.map_err(|error| words(&error))?;
    let connection = tokio::spawn(connection);
    let response = sender.send_request(request).await;
    let response = response.map_err(|error| words(&error))?;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await;
    connection.abort();
    let body = body.map_err(|error| words(&error))?.to_bytes();
    Ok(Reply {
        status,
        body: serde_json::from_slice(&body).unwrap_or_default(),
    })
}

fn configuration(folder: &Path, [port, mutual, plain]: [u16; 3]) -> String {
    let folder = folder.display();
    let tls = format!(
        "tls_cert_file = \"{folder}/serving.crt\"\n  tls_key_file = \"{folder}/serving.key\""
    );
    format!(
        r#"
storage "inmem" {{}}
listener "tcp" {{
  address = "127.0.0.1:{port}"
  {tls}
}}
listener "tcp" {{
  address = "127.0.0.1:{mutual}"
  {tls}
  tls_require_and_verify_client_cert = true
  tls_client_ca_file = "{folder}/ca.crt"
}}
listener "tcp" {{
  address = "127.0.0.1:{plain}"
  tls_disable = true
}}
api_addr = "https://127.0.0.1:{port}"
disable_mlock = true
"#
    )
}
