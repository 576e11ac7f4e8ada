//! The emulator of Google Certificate Authority Service, and what tests tell it.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::{Value, json};

use crate::ports;
use crate::process::{Component, Process};

const START: Duration = Duration::from_secs(60);
/// Longest that the emulator is waited for: it may be making an RSA key.
const ANSWER: Duration = Duration::from_secs(30);

/// A running emulator.
#[derive(Debug)]
pub struct GoogleCas {
    address: SocketAddr,
    _process: Process,
}

/// A project of the emulated service, of which tests have one each.
#[derive(Debug, Clone)]
pub struct GoogleProject {
    address: SocketAddr,
    id: String,
    pools: Vec<String>,
    key: String,
}

impl GoogleCas {
    /// The emulator of this test process, started when it is first asked for.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<GoogleCas> = OnceLock::new();
        SHARED.get_or_init(|| Self::start().unwrap_or_else(|reason| panic!("{reason}")))
    }

    /// Starts an emulator and waits for it.
    pub fn start() -> Result<Self, String> {
        let port = ports::free();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let program = folder().join("server.py");
        // -B: nothing is written beside the program.
        let arguments = [
            "-B".into(),
            program.into_os_string(),
            port.to_string().into(),
        ];
        let mut process = Component::new("google-cas", "python", arguments).start();
        process.wait_ready(START, || {
            http(address, "GET", "/control/health", "").is_ok()
        })?;
        Ok(Self {
            address,
            _process: process,
        })
    }

    /// A new project with one Enterprise pool, whose certificates start when the client says.
    pub fn project(&self) -> GoogleProject {
        self.project_with(&json!({}))
    }

    /// A new project. `wanted` may have `pools` (messages `CaPool`), `permissions`, `quotas`,
    /// `operationSeconds`, and `workload`: whether the metadata server is this project's.
    pub fn project_with(&self, wanted: &Value) -> GoogleProject {
        let policy = json!({ "allowRequesterSpecifiedNotBeforeTime": true });
        let mut whole = json!({ "pools": [{ "issuancePolicy": policy }] });
        for (field, value) in wanted.as_object().unwrap() {
            whole[field] = value.clone();
        }
        let made = control(self.address, "POST", "projects", &whole);
        let pools = made["pools"].as_array().unwrap().iter();
        GoogleProject {
            address: self.address,
            id: made["project"].as_str().unwrap().to_owned(),
            pools: pools
                .map(|pool| pool.as_str().unwrap().to_owned())
                .collect(),
            key: made["key"].to_string(),
        }
    }
}

impl GoogleProject {
    /// The service's address.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The metadata server, as `GCE_METADATA_HOST` names it.
    pub fn metadata_host(&self) -> String {
        self.address.to_string()
    }

    /// The resource name of the first pool.
    pub fn pool(&self) -> &str {
        &self.pools[0]
    }

    /// The resource names of all pools.
    pub fn pools(&self) -> &[String] {
        &self.pools
    }

    /// The key file of the project's service account.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Makes the service account's keys invalid, and another one.
    pub fn replace_key(&self) -> String {
        self.tell("POST", "key", &json!({})).to_string()
    }

    /// Whether the service account is accepted.
    pub fn accept_credential(&self, accept: bool) {
        self.tell("POST", "credential", &json!({ "valid": accept }));
    }

    /// What the service account may do from now on: `privateca.…`.
    pub fn permit(&self, permissions: &[&str]) {
        self.tell(
            "POST",
            "permissions",
            &json!({ "permissions": permissions }),
        );
    }

    /// Makes calls go wrong; `fault` as in `tests/testbed/gcp/faults.py`.
    pub fn disturb(&self, fault: &Value) {
        self.tell("POST", "faults", fault);
    }

    /// Ends every fault.
    pub fn calm(&self) {
        self.tell("DELETE", "faults", &json!({}));
    }

    /// Has the service forget the ids of requests, as it does after an hour.
    pub fn forget_requests(&self) {
        self.tell("POST", "hour", &json!({}));
    }

    /// Certificates that were issued, roots included.
    pub fn issued(&self) -> usize {
        let counts = self.tell("GET", "counts", &json!({}));
        usize::try_from(counts["issued"].as_u64().unwrap()).unwrap()
    }

    /// How often a method was called, for example `certificates.create`.
    pub fn calls(&self, method: &str) -> u64 {
        let counts = self.tell("GET", "counts", &json!({}));
        counts["calls"][method].as_u64().unwrap_or(0)
    }

    /// Every request so far, oldest first: `method`, `query` and `body`.
    pub fn requests(&self) -> Vec<Value> {
        let trace = self.tell("GET", "trace", &json!({}));
        trace["requests"].as_array().unwrap().clone()
    }

    fn tell(&self, method: &str, what: &str, body: &Value) -> Value {
        let path = format!("projects/{}/{what}", self.id);
        control(self.address, method, &path, body)
    }
}

/// Where the emulator's program is.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("gcp")
}

fn control(address: SocketAddr, method: &str, path: &str, body: &Value) -> Value {
    let answer = http(
        address,
        method,
        &format!("/control/{path}"),
        &body.to_string(),
    );
    let answer = answer.unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::from_str(&answer).unwrap()
}

/// The body of a successful answer.
fn http(address: SocketAddr, method: &str, path: &str, body: &str) -> Result<String, String> {
    let ask = || {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
        stream.set_read_timeout(Some(ANSWER))?;
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(body.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        std::io::Result::Ok(answer)
    };
    let answer = ask().map_err(|error| error.to_string())?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200 ") => Ok(body.to_owned()),
        _ => Err(answer),
    }
}
