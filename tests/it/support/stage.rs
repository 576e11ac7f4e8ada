//! A Relay with RelayClusters on real API servers, and what is said of them.

use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::Duration;

use relay_pki_testbed::{ApiServer, Testbed, eventually};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::fleet::{CLIENT, ROOT, SERVER};
use super::manifest::{Manifest, write_private};
use super::rbac;
use super::replica::Replica;
use super::verifiers::{AUTHORITY, Question, assert_accepted};

/// Far more than anything takes that need not wait for a timer of the controller.
pub(crate) const SOON: Duration = Duration::from_secs(40);

/// More than the longest pause of the controller in these tests: where somebody has to move
/// something, it looks again after a minute.
pub(crate) const PATIENCE: Duration = Duration::from_secs(100);

/// A namespace of the management cluster with the account of a controller.
pub(crate) struct Stage<'a> {
    management: &'a ApiServer,
    workloads: Vec<&'a ApiServer>,
    /// Of the account in each workload cluster.
    access: Vec<String>,
    namespace: String,
    folder: TempDir,
}

/// A workload cluster: a namespace of one of the API servers.
#[derive(Clone)]
pub(crate) struct Member<'a> {
    pub(crate) name: String,
    pub(crate) server: &'a ApiServer,
    pub(crate) namespace: String,
    /// Of an account that has all it needs.
    pub(crate) kubeconfig: String,
    /// Where that account lies.
    home: String,
}

impl Stage<'static> {
    /// A stage on the shared testbed.
    pub(crate) fn new(prefix: &str) -> Self {
        let testbed = Testbed::shared();
        let namespace = testbed.namespace(prefix);
        static CRDS: Once = Once::new();
        CRDS.call_once(|| testbed.management().install_crds(&crds()));
        Self::with(
            testbed.management(),
            testbed.workloads().iter().collect(),
            namespace,
        )
    }
}

impl<'a> Stage<'a> {
    /// A stage on an API server of one's own, which is management and workload cluster.
    pub(crate) fn on(server: &'a ApiServer) -> Self {
        server.install_crds(&crds());
        let namespace = server.namespace("own");
        Self::with(server, vec![server], namespace)
    }

    fn with(management: &'a ApiServer, workloads: Vec<&'a ApiServer>, namespace: String) -> Self {
        management.apply(&rbac::controller(&namespace));
        let access = workloads.iter().map(|server| {
            server.apply(&rbac::account(&namespace, rbac::AGENT));
            server.kubeconfig_for_service_account(&namespace, rbac::AGENT)
        });
        let stage = Self {
            access: access.collect(),
            management,
            workloads,
            namespace,
            folder: tempfile::tempdir().unwrap(),
        };
        let own = management.kubeconfig_for_service_account(&stage.namespace, rbac::CONTROLLER);
        stage.write_kubeconfig(&own);
        stage
    }

    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    pub(crate) fn management(&self) -> &'a ApiServer {
        self.management
    }

    pub(crate) fn workloads(&self) -> &[&'a ApiServer] {
        &self.workloads
    }

    /// The kubeconfig of the controller's account.
    pub(crate) fn kubeconfig(&self) -> String {
        std::fs::read_to_string(self.kubeconfig_path()).unwrap()
    }

    /// Has controllers that start from now on use another kubeconfig.
    pub(crate) fn write_kubeconfig(&self, text: &str) {
        write_private(&self.kubeconfig_path(), text.as_bytes());
    }

    fn kubeconfig_path(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// Starts a replica of the controller.
    pub(crate) fn replica(&self, identity: &str) -> Replica {
        Replica::start(&self.namespace, identity, &self.kubeconfig_path(), &[])
    }

    /// Starts a replica that agents can enrol at.
    pub(crate) fn enrolling_replica(&self, identity: &str) -> Replica {
        let more = ["--enrolment-listen=127.0.0.1:0"];
        Replica::start(&self.namespace, identity, &self.kubeconfig_path(), &more)
    }

    /// Runs `relay-pki` on the Relay as the administrator; it has to succeed.
    pub(crate) fn administer(&self, arguments: &[&str]) -> String {
        let path = self.folder.path().join("admin");
        write_private(&path, self.management.admin_kubeconfig().as_bytes());
        let path = path.display().to_string();
        let place = match arguments {
            ["cluster", ..] => "--management-kubeconfig",
            _ => "--kubeconfig",
        };
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_relay-pki"))
            .args(arguments)
            .args([place, &path, "--namespace", &self.namespace])
            .args(["--relay", &self.namespace])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs `kubectl` in the namespace as the administrator.
    pub(crate) fn must(&self, arguments: &[&str]) -> String {
        let namespace = format!("--namespace={}", self.namespace);
        self.management
            .must(&[arguments, &[&namespace]].concat(), "")
    }

    /// Writes the Relay, which is called like the namespace, with these fields in its spec.
    pub(crate) fn relay(&self, fields: Value) {
        let mut spec = json!({ "server": { "extraDnsNames": [AUTHORITY] } });
        spec.as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        let relay = json!({
            "apiVersion": "relay-pki.dev/v1alpha1", "kind": "Relay",
            "metadata": { "name": self.namespace, "namespace": self.namespace },
            "spec": spec,
        });
        self.management.apply(&relay.to_string());
    }

    /// Makes workload clusters, spread over the API servers, each with a namespace and rights in it.
    pub(crate) fn members(&self, names: &[&str]) -> Vec<Member<'a>> {
        let members: Vec<Member<'a>> = names
            .iter()
            .enumerate()
            .map(|(number, name)| {
                let number = number % self.workloads.len();
                Member {
                    name: (*name).to_owned(),
                    server: self.workloads[number],
                    namespace: format!("{}-{name}", self.namespace),
                    kubeconfig: self.access[number].clone(),
                    home: self.namespace.clone(),
                }
            })
            .collect();
        for server in &self.workloads {
            let here = members.iter().filter(|m| m.server.name() == server.name());
            let manifests: Vec<String> =
                here.map(|member| member.manifests(rbac::WRITES)).collect();
            if !manifests.is_empty() {
                server.apply(&manifests.join("---\n"));
            }
        }
        members
    }

    /// Writes the kubeconfig Secrets and the RelayClusters of workload clusters.
    pub(crate) fn join(&self, members: &[Member<'_>]) {
        let mut objects = Vec::new();
        for member in members {
            objects.push(self.kubeconfig_secret(&member.name, &member.kubeconfig));
            objects.push(self.relay_cluster(member, json!({})));
        }
        self.apply(&objects);
    }

    pub(crate) fn apply(&self, objects: &[Value]) {
        let texts: Vec<String> = objects.iter().map(Value::to_string).collect();
        self.management.apply(&texts.join("\n---\n"));
    }

    /// The Secret with the kubeconfig of a cluster.
    pub(crate) fn kubeconfig_secret(&self, cluster: &str, kubeconfig: &str) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": { "name": format!("{cluster}-kubeconfig"), "namespace": self.namespace },
            "stringData": { "kubeconfig": kubeconfig },
        })
    }

    /// The RelayCluster of a workload cluster, with more fields in its spec.
    pub(crate) fn relay_cluster(&self, member: &Member<'_>, fields: Value) -> Value {
        let mut spec = json!({
            "relayRef": { "name": self.namespace },
            "kubeconfig": { "secretRef": { "name": format!("{}-kubeconfig", member.name) } },
            "namespace": member.namespace,
        });
        spec.as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        json!({
            "apiVersion": "relay-pki.dev/v1alpha1", "kind": "RelayCluster",
            "metadata": { "name": member.name, "namespace": self.namespace },
            "spec": spec,
        })
    }

    /// `relay/NAME` of the Relay.
    pub(crate) fn relay_path(&self) -> String {
        format!("relay/{}", self.namespace)
    }

    /// Waits until these clusters, and the Relay with all of its clusters, are ready.
    pub(crate) fn wait_ready(&self, members: &[Member<'_>], limit: Duration) {
        for member in members {
            self.wait(&member.path(), "True", "UpToDate", limit);
        }
        self.wait(&self.relay_path(), "True", "UpToDate", limit);
    }

    /// Waits until `kubectl wait` sees a condition, as people do.
    pub(crate) fn kubectl_wait(&self, object: &str, condition: &str) {
        let condition = format!("--for=condition={condition}");
        let timeout = format!("--timeout={}s", SOON.as_secs());
        self.must(&["wait", object, &condition, &timeout]);
    }

    /// Waits until the condition `Ready` of an object has this status and reason, about what is
    /// written now; its message.
    pub(crate) fn wait(&self, object: &str, status: &str, reason: &str, limit: Duration) -> String {
        let begun = std::time::Instant::now();
        loop {
            let found = self.object(object);
            let ready = condition(&found, "Ready");
            if ready["status"] == status
                && ready["reason"] == reason
                && found["status"]["observedGeneration"] == found["metadata"]["generation"]
            {
                return ready["message"].as_str().unwrap().to_owned();
            }
            assert!(
                begun.elapsed() < limit,
                "{object} is not Ready={status} ({reason}) within {} s but {:#}; Events: {:#?}",
                limit.as_secs(),
                found["status"],
                self.events()
            );
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// An object of the namespace.
    pub(crate) fn object(&self, object: &str) -> Value {
        let text = self.must(&["get", object, "--output=json"]);
        serde_json::from_str(&text).unwrap()
    }

    /// Whether an object of the namespace is there.
    pub(crate) fn exists(&self, object: &str) -> bool {
        let found = self.must(&["get", object, "--ignore-not-found", "--output=name"]);
        !found.trim().is_empty()
    }

    /// Waits until an object of the namespace is gone.
    pub(crate) fn wait_gone(&self, object: &str, limit: Duration) {
        let what = format!("{object} is gone");
        eventually(&what, limit, || (!self.exists(object)).then_some(()));
    }

    /// Reason, object and note of every Event of the namespace.
    pub(crate) fn events(&self) -> Vec<(String, String, String)> {
        let text = self.must(&["get", "events.events.k8s.io", "--output=json"]);
        let list: Value = serde_json::from_str(&text).unwrap();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let events = list["items"].as_array().unwrap().iter();
        events
            .map(|event| {
                let about = text(&event["regarding"]["name"]);
                (text(&event["reason"]), about, text(&event["note"]))
            })
            .collect()
    }

    /// Waits for an Event about an object whose note holds all of `words`.
    pub(crate) fn event(&self, name: &str, reason: &str, words: &[&str]) {
        let begun = std::time::Instant::now();
        loop {
            let events = self.events();
            let found = events.iter().any(|(r, about, note)| {
                r == reason && about == name && words.iter().all(|word| note.contains(word))
            });
            if found {
                return;
            }
            assert!(
                begun.elapsed() < SOON,
                "no Event {reason} about {name} that says {words:?}: {events:#?}"
            );
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Fails unless everybody in the relay accepts everybody, with three verifiers.
    pub(crate) fn assert_chains(&self, members: &[Member<'_>]) {
        let server = secret(self.management, &self.namespace, SERVER);
        let mut questions = Vec::new();
        for member in members {
            let (client, root) = (member.secret(CLIENT), member.secret(ROOT));
            questions.push(Question::client(&member.name, &client, &server));
            questions.push(Question::server(AUTHORITY, &server, &client));
            questions.push(Question::server(AUTHORITY, &server, &root));
        }
        assert_accepted(&questions);
    }
}

impl Member<'_> {
    /// Its RelayCluster.
    pub(crate) fn path(&self) -> String {
        format!("relaycluster/{}", self.name)
    }

    /// What the controller may do with its Secrets from now on.
    pub(crate) fn permit(&self, verbs: &str) {
        self.server.apply(&self.manifests(verbs));
    }

    fn manifests(&self, verbs: &str) -> String {
        let namespace = format!(
            "apiVersion: v1\nkind: Namespace\nmetadata: {{ name: {} }}\n",
            self.namespace
        );
        let rights = rbac::agent(&self.namespace, verbs, &self.home);
        format!("{namespace}---\n{rights}")
    }

    /// One of its Secrets.
    pub(crate) fn secret(&self, name: &str) -> Manifest {
        secret(self.server, &self.namespace, name)
    }

    /// One of its Secrets, if it is there.
    pub(crate) fn find_secret(&self, name: &str) -> Option<Manifest> {
        let text = self.must(&["get", "secret", name, "--ignore-not-found", "--output=json"]);
        (!text.trim().is_empty()).then(|| Manifest::parse(&text).unwrap())
    }

    /// Runs `kubectl` in its namespace as the administrator.
    pub(crate) fn must(&self, arguments: &[&str]) -> String {
        let namespace = format!("--namespace={}", self.namespace);
        self.server.must(&[arguments, &[&namespace]].concat(), "")
    }

    /// Deletes a Secret.
    pub(crate) fn delete_secret(&self, name: &str) {
        self.must(&["delete", "secret", name, "--wait=false"]);
    }

    /// Patches a Secret.
    pub(crate) fn patch_secret(&self, name: &str, patch: Value) {
        let patch = patch.to_string();
        self.must(&["patch", "secret", name, "--type=merge", "--patch", &patch]);
    }

    /// Waits until a Secret is as `holds` says.
    pub(crate) fn wait_secret(
        &self,
        name: &str,
        limit: Duration,
        holds: impl Fn(&Manifest) -> bool,
    ) -> Manifest {
        let what = format!("Secret {}/{name} is as it should be", self.namespace);
        eventually(&what, limit, || self.find_secret(name).filter(&holds))
    }
}

/// A Secret as the API server has it.
pub(crate) fn secret(server: &ApiServer, namespace: &str, name: &str) -> Manifest {
    let namespace = format!("--namespace={namespace}");
    let text = server.must(&["get", "secret", name, &namespace, "--output=json"], "");
    Manifest::parse(&text).unwrap()
}

/// A condition in the status of an object.
pub(crate) fn condition(object: &Value, type_: &str) -> Value {
    let conditions = object["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    let found = conditions.find(|condition| condition["type"] == type_);
    found.cloned().unwrap_or_default()
}

fn crds() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/crds")
}
