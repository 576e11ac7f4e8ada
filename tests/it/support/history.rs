//! Every state that the Secrets of a relay have been in, as a watch of the API server tells.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use relay_pki_testbed::{ApiServer, program};
use serde_json::Value;
use tempfile::TempDir;

use super::certificate::{Certificate, leaf};
use super::manifest::Manifest;

/// A watch of the Secrets that carry the label of a relay, on one API server.
pub(crate) struct History {
    folder: TempDir,
    watch: Child,
}

impl History {
    /// Begins to watch all namespaces.
    pub(crate) fn begin(server: &ApiServer, relay: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = folder.path().join("kubeconfig");
        let admin = server.admin_kubeconfig();
        super::manifest::write_private(&kubeconfig, admin.as_bytes());
        let log = folder.path().join("log");
        let watch = Command::new("timeout")
            .args(["--kill-after=5", "1h"])
            .arg(program("kubectl"))
            .args(["get", "secrets", "--all-namespaces", "--output=json"])
            .args(["--watch", "--output-watch-events"])
            .arg(format!("--selector=relay-pki.dev/relay={relay}"))
            .env("KUBECONFIG", &kubeconfig)
            .env("KUBECACHEDIR", folder.path())
            .stdin(Stdio::null())
            .stdout(File::create(&log).unwrap())
            .spawn()
            .expect("timeout, of the coreutils");
        Self { folder, watch }
    }

    /// Every state since the beginning, in order.
    pub(crate) fn end(mut self) -> Vec<Manifest> {
        // What was written a moment ago arrives.
        std::thread::sleep(Duration::from_secs(1));
        assert!(
            self.watch.try_wait().unwrap().is_none(),
            "the watch has ended too early"
        );
        self.stop();
        let text = fs::read_to_string(self.folder.path().join("log")).unwrap();
        let events = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
        // The last one may be cut off.
        let events = events.map_while(Result::ok);
        events
            .filter(|event| event["type"] != "DELETED")
            .map(|event| Manifest::parse(&event["object"].to_string()).unwrap())
            .collect()
    }

    fn stop(&mut self) {
        let _ = self.watch.kill();
        let _ = self.watch.wait();
    }
}

impl Drop for History {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The different certificates that Secrets of this name have held, by namespace.
pub(crate) fn leaves(states: &[Manifest], name: &str) -> BTreeMap<String, BTreeSet<Vec<u8>>> {
    let mut found: BTreeMap<String, BTreeSet<Vec<u8>>> = BTreeMap::new();
    for state in states.iter().filter(|state| state.name == name) {
        let Some(pem) = state.data.get("tls.crt") else {
            continue;
        };
        if let Some(certificate) = readable(pem) {
            let of = found.entry(state.namespace.clone()).or_default();
            of.insert(certificate.serial);
        }
    }
    found
}

/// Tests write rubbish into Secrets.
fn readable(pem: &[u8]) -> Option<Certificate> {
    pem.starts_with(b"-----BEGIN CERTIFICATE-----")
        .then(|| leaf(pem))
}
