//! AWS Private CA: our emulator, which is as strict as the documented service, and moto, which is
//! somebody else's and signs whatever it is asked for.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::{Value, json};

use crate::ports;
use crate::process::{Component, Process};

const START: Duration = Duration::from_secs(60);
const ANSWER: Duration = Duration::from_secs(60);

/// A running server that speaks AWS Private CA's protocol on the loopback interface.
#[derive(Debug)]
pub struct AwsServer {
    address: SocketAddr,
    _process: Process,
}

/// An account of the emulator. It shares nothing with other accounts, its quotas and its faults
/// included.
#[derive(Debug, Clone)]
pub struct AwsAccount {
    server: &'static AwsServer,
    /// The access key.
    pub access_key: String,
    /// The secret key.
    pub secret_key: String,
    /// The account's number.
    pub number: String,
}

impl AwsServer {
    /// The emulator of this process. The first call starts it.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn emulator() -> &'static Self {
        static SHARED: OnceLock<Result<AwsServer, String>> = OnceLock::new();
        let started = SHARED.get_or_init(|| {
            let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("aws/emulator.py");
            Self::start("aws-emulator", |port| {
                vec![program.display().to_string(), format!("--port={port}")]
            })
        });
        match started {
            Ok(server) => server,
            Err(reason) => panic!("{reason}"),
        }
    }

    /// A moto server of one's own.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn moto() -> Self {
        let started = Self::start("moto", |port| {
            let port = port.to_string();
            ["-m", "moto.server", "-p", &port]
                .map(str::to_owned)
                .to_vec()
        });
        started.unwrap_or_else(|reason| panic!("{reason}"))
    }

    fn start(name: &str, arguments: impl Fn(u16) -> Vec<String>) -> Result<Self, String> {
        let port = ports::free();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut process = Component::new(name, "python", arguments(port)).start();
        process.wait_ready(START, || {
            TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
        })?;
        Ok(Self {
            address,
            _process: process,
        })
    }

    /// Where it is.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A new account; `order` says how it is different (see `tests/testbed/aws/control.py`).
    pub fn account(&'static self, order: &Value) -> AwsAccount {
        let made = self.control("account", order);
        let text = |key: &str| made[key].as_str().unwrap().to_owned();
        AwsAccount {
            access_key: text("accessKey"),
            secret_key: text("secretKey"),
            number: text("number"),
            server: self,
        }
    }

    fn control(&self, verb: &str, order: &Value) -> Value {
        let body = order.to_string();
        let ask = || {
            let mut stream = TcpStream::connect_timeout(&self.address, ANSWER)?;
            stream.set_read_timeout(Some(ANSWER))?;
            write!(
                stream,
                "POST /_control/{verb} HTTP/1.0\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            )?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            std::io::Result::Ok(answer)
        };
        let answer = ask().unwrap_or_else(|error| panic!("emulator, {verb}: {error}"));
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        serde_json::from_str(body)
            .unwrap_or_else(|error| panic!("emulator, {verb} {order}: {error}: {answer}"))
    }
}

impl AwsAccount {
    /// Where its service is.
    pub fn endpoint(&self) -> String {
        self.server.endpoint()
    }

    /// What the environment of a client of this account has.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ACCESS_KEY_ID", self.access_key.clone()),
            ("AWS_SECRET_ACCESS_KEY", self.secret_key.clone()),
            ("AWS_ENDPOINT_URL", self.endpoint()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ]
    }

    /// Changes how the account behaves.
    pub fn change(&self, order: Value) {
        self.control("change", order);
    }

    /// Orders a fault.
    pub fn fault(&self, order: Value) {
        self.control("fault", order);
    }

    /// Ends all faults.
    pub fn heal(&self) {
        self.control("heal", json!({}));
    }

    /// Shares a CA of another account with this one.
    pub fn share(&self, authority: &str, grants: &[&str]) {
        self.control("share", json!({ "authority": authority, "grants": grants }));
    }

    /// What the account holds, and the calls so far.
    pub fn state(&self) -> Value {
        self.control("state", json!({}))
    }

    /// Certificates that were issued so far.
    pub fn issued(&self) -> usize {
        usize::try_from(self.state()["issued"].as_u64().unwrap()).unwrap()
    }

    /// Calls of an operation so far.
    pub fn calls(&self, operation: &str) -> u64 {
        self.state()["calls"][operation].as_u64().unwrap_or(0)
    }

    /// All calls so far.
    pub fn all_calls(&self) -> usize {
        let state = self.state();
        let operations = state["calls"].as_object().unwrap().values();
        let calls = operations.map(|calls| calls.as_u64().unwrap()).sum::<u64>();
        usize::try_from(calls).unwrap()
    }

    fn control(&self, verb: &str, mut order: Value) -> Value {
        order["accessKey"] = self.access_key.clone().into();
        self.server.control(verb, &order)
    }
}
