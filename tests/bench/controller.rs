//! The controller with many clusters on real API servers: `cargo bench --bench controller -- [N]`.
//!
//! N RelayClusters (1,000 unless told) are namespaces of three API servers. Printed: how long it takes
//! until the Relay is ready, how many writes the API servers saw for each cluster, and what the
//! controller needs: its processor time, its memory at the most, and what it asks for when nothing
//! happens.

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::panic, missing_docs)]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use relay_pki_testbed::{ApiServer, Testbed};

const NAMESPACE: &str = "gloo-mesh";
const BATCH: usize = 100;
const IDLE: Duration = Duration::from_secs(60);

fn main() {
    let mut arguments = std::env::args().skip(1);
    let count = arguments.find_map(|text| text.parse().ok());
    let count: usize = count.unwrap_or(1000);
    let testbed = Testbed::shared();
    let folder = tempfile::tempdir().unwrap();
    prepare(testbed, folder.path(), count);
    let servers: Vec<&ApiServer> = std::iter::once(testbed.management())
        .chain(testbed.workloads())
        .collect();

    let before = requests(&servers);
    let begun = Instant::now();
    let mut controller = Controller::start(&folder.path().join("kubeconfig"));
    wait_ready(testbed.management(), count);
    let took = begun.elapsed();
    // What comes after the last status.
    std::thread::sleep(Duration::from_secs(5));
    let after = requests(&servers);
    let busy = controller.cpu();
    let each = |number: f64| number / count as f64;
    println!(
        "{count} clusters on {} API servers",
        testbed.workloads().len()
    );
    println!("  ready after          {:8.1} s", took.as_secs_f64());
    for (what, now, then) in [
        ("Secrets written", after.secrets, before.secrets),
        ("status written", after.status, before.status),
        ("Events written", after.events, before.events),
        ("other writes", after.other, before.other),
        ("reads", after.reads, before.reads),
    ] {
        let seen = now - then;
        println!("  {what:<20} {seen:8.0}   {:6.2} a cluster", each(seen));
    }
    println!(
        "  processor time       {:8.1} s  {:6.2} ms a cluster",
        busy,
        each(busy) * 1000.0
    );
    println!("  memory at the most   {:8} MiB", controller.peak_mib());

    std::thread::sleep(IDLE);
    let idle = requests(&servers);
    println!("in {} s in which nothing happened", IDLE.as_secs());
    println!(
        "  writes               {:8.0}",
        idle.writes() - after.writes()
    );
    println!("  reads                {:8.0}", idle.reads - after.reads);
    println!("  processor time       {:8.1} s", controller.cpu() - busy);
    controller.stop();
}

/// Namespaces, credentials and objects.
fn prepare(testbed: &Testbed, folder: &Path, count: usize) {
    let management = testbed.management();
    management.install_crds(&Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/crds"));
    management.apply(&namespace(NAMESPACE));
    std::fs::write(folder.join("kubeconfig"), management.admin_kubeconfig()).unwrap();
    for (number, server) in testbed.workloads().iter().enumerate() {
        let kubeconfig = indented(&server.admin_kubeconfig());
        management.apply(&format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{ name: server-{number}, namespace: {NAMESPACE} }}\n\
             stringData:\n  kubeconfig: |\n{kubeconfig}"
        ));
        let own = (0..count).filter(|index| index % testbed.workloads().len() == number);
        let names: Vec<String> = own.map(|index| namespace(&name(index))).collect();
        for batch in names.chunks(BATCH) {
            server.apply(&batch.join("---\n"));
        }
    }
    let clusters: Vec<String> = (0..count)
        .map(|index| {
            let (name, number) = (name(index), index % testbed.workloads().len());
            format!(
                "apiVersion: relay-pki.dev/v1alpha1\nkind: RelayCluster\n\
                 metadata: {{ name: {name}, namespace: {NAMESPACE} }}\n\
                 spec: {{ relayRef: {{ name: bench }}, namespace: {name}, \
                 kubeconfig: {{ secretRef: {{ name: server-{number} }} }} }}\n"
            )
        })
        .collect();
    for batch in clusters.chunks(BATCH) {
        management.apply(&batch.join("---\n"));
    }
    management.apply(&format!(
        "apiVersion: relay-pki.dev/v1alpha1\nkind: Relay\n\
         metadata: {{ name: bench, namespace: {NAMESPACE} }}\nspec: {{}}\n"
    ));
}

fn name(index: usize) -> String {
    format!("cluster-{index}")
}

fn namespace(name: &str) -> String {
    format!("apiVersion: v1\nkind: Namespace\nmetadata: {{ name: {name} }}\n")
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}

fn wait_ready(management: &ApiServer, count: usize) {
    let wanted = format!("{0}/{0}", count + 1);
    let limit = Instant::now() + Duration::from_secs(900);
    loop {
        let path = "-o=jsonpath={.status.clusters.summary}";
        let found = management.must(&["get", "relay", "bench", "-n", NAMESPACE, path], "");
        if found.trim() == wanted {
            return;
        }
        assert!(Instant::now() < limit, "only {found} are ready");
        std::thread::sleep(Duration::from_millis(250));
    }
}

/// What API servers were asked for, as they count it themselves.
#[derive(Default)]
struct Requests {
    secrets: f64,
    status: f64,
    events: f64,
    other: f64,
    reads: f64,
}

impl Requests {
    fn writes(&self) -> f64 {
        self.secrets + self.status + self.events + self.other
    }
}

fn requests(servers: &[&ApiServer]) -> Requests {
    let mut sum = Requests::default();
    for server in servers {
        let metrics = server.must(&["get", "--raw", "/metrics"], "");
        let lines = metrics.lines();
        for line in lines.filter(|line| line.starts_with("apiserver_request_total{")) {
            let label = |name: &str| {
                let from = line.find(&format!("{name}=\""))? + name.len() + 2;
                line.get(from..)?.split('"').next()
            };
            let (verb, resource) = (label("verb").unwrap(), label("resource").unwrap());
            let subresource = label("subresource").unwrap();
            let value: f64 = line.rsplit(' ').next().unwrap().parse().unwrap();
            let ours = matches!(
                resource,
                "secrets"
                    | "configmaps"
                    | "events"
                    | "relays"
                    | "relayclusters"
                    | "relayrotations"
                    | "leases"
            );
            match (verb, resource) {
                _ if !ours => {}
                // The API server's own leases, and its controllers'.
                (_, "leases") => {}
                ("GET" | "LIST" | "WATCH", _) => sum.reads += value,
                (_, "secrets") => sum.secrets += value,
                (_, "events") => sum.events += value,
                _ if subresource == "status" => sum.status += value,
                _ => sum.other += value,
            }
        }
    }
    sum
}

struct Controller(Child);

impl Controller {
    fn start(kubeconfig: &Path) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_relay-pki"))
            .args([
                "controller",
                "--listen=127.0.0.1:0",
                "--namespace",
                NAMESPACE,
            ])
            .arg("--kubeconfig")
            .arg(kubeconfig)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }

    /// Seconds of processor time so far.
    fn cpu(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap();
        // After the name, which may hold anything, the 12th and 13th fields: user and system.
        let fields: Vec<&str> = stat
            .rsplit(')')
            .next()
            .unwrap()
            .split_whitespace()
            .collect();
        let ticks = |index: usize| fields.get(index).unwrap().parse::<f64>().unwrap();
        (ticks(11) + ticks(12)) / 100.0
    }

    fn peak_mib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmHWM:"))
            .unwrap();
        let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kib / 1024
    }

    fn stop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        self.stop();
    }
}
