//! Agents that enrol, and the controller that they enrol at, as processes.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use relay_pki_testbed::{Component, Process, eventually};

use super::tools::openssl;

/// Far more than an agent takes for anything that it need not wait for.
pub(crate) const SOON: Duration = Duration::from_secs(90);

/// `relay-pki agent` with these arguments; `name` is that of its log.
pub(crate) fn agent(name: &str, arguments: Vec<String>) -> Process {
    let program = env!("CARGO_BIN_EXE_relay-pki");
    let arguments = std::iter::once("agent".to_owned()).chain(arguments);
    Component::new(name, program, arguments.collect::<Vec<_>>()).start()
}

/// `relay-pki controller` with an EST server, and with metrics at an address.
pub(crate) fn controller(namespace: &str, kubeconfig: &Path, listen: SocketAddr) -> Process {
    let arguments = [
        "controller".to_owned(),
        format!("--namespace={namespace}"),
        format!("--kubeconfig={}", kubeconfig.display()),
        format!("--listen={listen}"),
        "--enrolment-listen=127.0.0.1:0".to_owned(),
        "--log-format=text".to_owned(),
    ];
    let name = format!("{namespace}-controller");
    Component::new(&name, env!("CARGO_BIN_EXE_relay-pki"), arguments).start()
}

/// An address that nobody listens at.
pub(crate) fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// Where agents enrol at a controller, as soon as it says so.
pub(crate) fn enrolment_url(controller: &Process) -> String {
    eventually("agents may enrol", SOON, || {
        let said = controller.said();
        let mut lines = said.lines();
        let line = lines.find(|line| line.contains("agents enrol here"))?;
        let address = line.split_once("address=")?.1.split_whitespace().next()?;
        Some(format!("https://{address}"))
    })
}

/// Ends a process as Kubernetes does. It has to end well, and to have said no secret.
pub(crate) fn end(mut process: Process, secrets: &[&str]) {
    process.terminate();
    let ended = eventually("it ends", SOON, || process.ended());
    let said = process.said();
    assert_eq!(ended.code(), Some(0), "{said}");
    for secret in secrets.iter().chain(&["PRIVATE KEY", "panicked"]) {
        assert!(!said.contains(secret), "{secret}");
    }
}

/// SHA-256 of the root in a PEM file, as OpenSSL prints it.
pub(crate) fn fingerprint(dir: &Path, file: &str) -> String {
    let text = openssl(
        dir,
        &["x509", "-in", file, "-noout", "-fingerprint", "-sha256"],
    );
    let text = String::from_utf8(text).unwrap();
    format!("sha256:{}", text.trim().split_once('=').unwrap().1)
}
