//! A controller as a real process.

use std::path::Path;
use std::time::Duration;

use relay_pki_testbed::{Component, Process, eventually};

/// How long a process may take to come to an end.
const END: Duration = Duration::from_secs(30);

/// A replica of the controller. Dropped, it is killed with SIGKILL.
pub(crate) struct Replica {
    identity: String,
    process: Process,
}

impl Replica {
    /// Starts `relay-pki controller` for a namespace.
    pub(crate) fn start(namespace: &str, identity: &str, kubeconfig: &Path, more: &[&str]) -> Self {
        let more = more.iter().map(|argument| (*argument).to_owned());
        let component = Component::new(
            &format!("{namespace}-{identity}"),
            env!("CARGO_BIN_EXE_relay-pki"),
            [
                "controller".to_owned(),
                format!("--namespace={namespace}"),
                format!("--identity={identity}"),
                format!("--kubeconfig={}", kubeconfig.display()),
                "--listen=127.0.0.1:0".to_owned(),
                "--log-format=text".to_owned(),
            ]
            .into_iter()
            .chain(more),
        );
        Self {
            identity: identity.to_owned(),
            process: component.start(),
        }
    }

    /// Freezes it in the middle of whatever it does.
    pub(crate) fn freeze(&self) {
        self.process.suspend();
    }

    pub(crate) fn thaw(&self) {
        self.process.resume();
    }

    /// Asks it to end and waits until it has; it has to end with 0.
    pub(crate) fn terminate(mut self) {
        self.process.terminate();
        let code = self.end();
        assert_eq!(code, Some(0), "{}", self.process.tail());
    }

    /// Waits until it ends by itself; its exit code.
    pub(crate) fn end(&mut self) -> Option<i32> {
        let what = format!("{} ends", self.identity);
        let status = eventually(&what, END, || self.process.ended());
        status.code()
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.process.ended().is_some()
    }

    /// Its log.
    pub(crate) fn said(&self) -> String {
        self.process.said()
    }

    pub(crate) fn tail(&self) -> String {
        self.process.tail()
    }
}

impl Drop for Replica {
    /// Whatever happened: it never panics, and never says a secret.
    #[allow(clippy::print_stderr)]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.tail());
            return;
        }
        let said = self.said();
        for never in ["panicked", "PRIVATE KEY"] {
            assert!(!said.contains(never), "{}: {never}", self.identity);
        }
    }
}
