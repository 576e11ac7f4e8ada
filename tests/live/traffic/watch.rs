//! What the kubelets of a cluster see: a watch of its Secrets, with `kubectl`.

use std::io::BufReader;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use relay_pki_testbed::{ApiServer, program};
use serde_json::Value;

use crate::support::manifest::{Manifest, write_private};

/// A Secret of one of the clusters, as it is now.
pub(super) struct Seen {
    pub(super) cluster: String,
    pub(super) secret: Manifest,
}

/// A watch of the Secrets that carry the label of a relay. It goes on until it is dropped.
pub(super) struct Watch {
    client: Arc<Mutex<Option<Child>>>,
    reader: Option<JoinHandle<()>>,
}

impl Watch {
    pub(super) fn begin(
        server: &ApiServer,
        relay: &str,
        tell: Sender<Seen>,
        over: &Arc<AtomicBool>,
    ) -> Self {
        let client = Arc::new(Mutex::new(None));
        let slot = Arc::clone(&client);
        let (cluster, admin) = (server.name().to_owned(), server.admin_kubeconfig());
        let (relay, over) = (relay.to_owned(), Arc::clone(over));
        let reader = std::thread::spawn(move || {
            let folder = tempfile::tempdir().unwrap();
            let kubeconfig = folder.path().join("kubeconfig");
            write_private(&kubeconfig, admin.as_bytes());
            // An API server ends each watch after a while.
            while !over.load(Ordering::SeqCst) {
                let mut command = Command::new("setpriv");
                command
                    .args(["--pdeathsig", "KILL"])
                    .arg(program("kubectl"))
                    .args(["get", "secrets", "--all-namespaces", "--output=json"])
                    .args(["--watch", "--output-watch-events"])
                    .arg(format!("--selector=relay-pki.dev/relay={relay}"))
                    .env("KUBECONFIG", &kubeconfig)
                    .env("KUBECACHEDIR", folder.path())
                    .stdin(Stdio::null())
                    .stdout(Stdio::piped())
                    .stderr(Stdio::null());
                let mut started = command.spawn().expect("setpriv, of util-linux");
                let output = BufReader::new(started.stdout.take().unwrap());
                *slot.lock().unwrap() = Some(started);
                // A stop between the question and the start finds nobody to kill.
                if over.load(Ordering::SeqCst) {
                    stop(&slot);
                }
                for event in serde_json::Deserializer::from_reader(output).into_iter::<Value>() {
                    let Ok(event) = event else { break };
                    if event["type"] == "DELETED" {
                        continue;
                    }
                    let seen = Seen {
                        cluster: cluster.clone(),
                        secret: Manifest::parse(&event["object"].to_string()).unwrap(),
                    };
                    if tell.send(seen).is_err() {
                        break;
                    }
                }
                stop(&slot);
                std::thread::sleep(Duration::from_millis(200));
            }
        });
        Self {
            client,
            reader: Some(reader),
        }
    }
}

fn stop(client: &Mutex<Option<Child>>) {
    if let Some(mut child) = client.lock().unwrap().take() {
        let _ = child.kill();
        let _ = child.wait();
    }
}

impl Drop for Watch {
    /// Whoever drops it has said before that it is over.
    fn drop(&mut self) {
        stop(&self.client);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}
