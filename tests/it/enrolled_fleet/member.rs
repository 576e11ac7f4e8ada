//! One workload cluster.

use std::collections::BTreeSet;

use relay_pki_testbed::{ApiServer, Process, eventually};
use serde_json::{Value, json};

use super::desk::Desk;
use crate::support::agents::{SOON, agent, end};
use crate::support::fleet::{CLIENT, ROOT};
use crate::support::manifest::{Manifest, write_private};
use crate::support::verifiers::AUTHORITY;

/// A workload cluster with its agent.
pub(super) struct Member<'a> {
    pub(super) server: &'a ApiServer,
    namespace: &'a str,
    /// What its pod runs.
    arguments: Vec<String>,
    process: Option<Process>,
    /// Every private key that was seen there.
    pub(super) keys: BTreeSet<Vec<u8>>,
}

impl<'a> Member<'a> {
    /// Registers it and runs what is printed for it, with more `values` of the chart.
    pub(super) fn install(desk: &Desk<'a>, server: &'a ApiServer, values: &str) -> Self {
        let (name, namespace) = (server.name(), desk.clusters.namespace());
        server.apply(&gloo_agent(namespace).to_string());
        let registered = desk.registered(name);
        let commands: Vec<&str> = registered["commands"]
            .as_array()
            .unwrap()
            .iter()
            .map(|command| command.as_str().unwrap())
            .collect();
        let [token, chart] = commands[..] else {
            panic!("{commands:#?}");
        };
        desk.run(token);
        desk.run(&format!(
            "{chart} --set agent.serverName={AUTHORITY} --set agent.poll=5s \
             --set 'agent.restart={{deployment/gloo-mesh-agent}}' {values}"
        ));
        let mut member = Self {
            server,
            namespace,
            arguments: Vec::new(),
            process: None,
            keys: BTreeSet::new(),
        };
        member.is_deployed(desk);
        member
    }

    /// The documented way back for one that knows old roots alone and whose certificate has ended: a token, and
    /// the fingerprint of the new root.
    pub(super) fn brought_back(&mut self, desk: &Desk<'a>) {
        let registered = desk.registered(self.name());
        assert_eq!(registered["created"], false);
        desk.run(registered["commands"][0].as_str().unwrap());
        desk.run(registered["trustCommand"].as_str().unwrap());
        self.sleeps();
        self.is_deployed(desk);
        self.wakes();
    }

    /// Takes over what the Deployment says now.
    fn is_deployed(&mut self, desk: &Desk<'a>) {
        let (server, namespace) = (self.server, self.namespace);
        let found = server.json(&["get", "deployments", "-n", namespace]);
        let all = found["items"].as_array().unwrap();
        let pods = all.iter().map(|found| &found["spec"]["template"]["spec"]);
        let mut pods = pods.filter(|pod| pod["containers"][0]["args"][0] == "agent");
        let pod = pods.next().unwrap();
        let account = pod["serviceAccountName"].as_str().unwrap();
        let access = desk.folder.path(&format!("{}.account", server.name()));
        let kubeconfig = server.kubeconfig_for_service_account(namespace, account);
        write_private(&access, kubeconfig.as_bytes());
        let arguments = pod["containers"][0]["args"].as_array().unwrap().iter();
        let arguments = arguments.map(|argument| argument.as_str().unwrap());
        self.arguments = arguments
            .skip(1)
            .map(|argument| argument.replace("0.0.0.0:8080", "127.0.0.1:0"))
            .collect();
        let more = [
            format!("--namespace={namespace}"),
            format!("--kubeconfig={}", access.display()),
        ];
        self.arguments.extend(more);
    }

    /// Leads it to another replica than the one that it was told.
    pub(super) fn is_led_to(&mut self, url: &str) {
        let mut arguments = self.arguments.iter_mut();
        let server = arguments.find(|argument| argument.starts_with("--server="));
        *server.unwrap() = format!("--server={url}");
    }

    pub(super) fn name(&self) -> &'a str {
        self.server.name()
    }

    pub(super) fn wakes(&mut self) {
        let log = format!("{}-{}", self.namespace, self.name());
        let process = agent(&log, self.arguments.clone());
        assert!(self.process.replace(process).is_none(), "{log} is awake");
    }

    pub(super) fn sleeps(&mut self) {
        end(self.process.take().unwrap(), &[]);
    }

    pub(super) fn find(&self, secret: &str) -> Option<Manifest> {
        let arguments = ["get", "secret", secret, "-n", self.namespace];
        let form = ["-o", "json", "--ignore-not-found"];
        let found = self.server.must(&[&arguments[..], &form].concat(), "");
        Manifest::parse(&found).ok()
    }

    /// The client's Secret as soon as it is as wanted.
    pub(super) fn client(&mut self, what: &str, wanted: impl Fn(&Manifest) -> bool) -> Manifest {
        let what = format!("{} {what}: {}", self.name(), self.tail());
        let found = eventually(&what, SOON, || self.find(CLIENT).filter(&wanted));
        self.keys.insert(found.entry("tls.key").to_vec());
        found
    }

    /// Waits until its log has these words.
    pub(super) fn says(&self, words: &[&str]) {
        for words in words {
            let what = format!("{} says {words:?}: {}", self.name(), self.tail());
            eventually(&what, SOON, || {
                let said = self.process.as_ref().map(Process::said);
                said.unwrap_or_default().contains(words).then_some(())
            });
        }
    }

    pub(super) fn tail(&self) -> String {
        self.process.as_ref().map_or(String::new(), Process::tail)
    }

    /// The roots that the relay's agent was started with.
    pub(super) fn restarted_for(&self) -> Option<String> {
        let deployment = ["get", "deployment", "gloo-mesh-agent", "-n", self.namespace];
        let found = self.server.json(&deployment);
        let annotations = &found["spec"]["template"]["metadata"]["annotations"];
        annotations["relay-pki.dev/trust"]
            .as_str()
            .map(str::to_owned)
    }

    /// What is in the Secrets that the relay's agent reads.
    pub(super) fn holdings(&self) -> Vec<Manifest> {
        [CLIENT, ROOT]
            .iter()
            .filter_map(|name| self.find(name))
            .collect()
    }
}

fn gloo_agent(namespace: &str) -> Value {
    let labels = json!({ "app": "gloo-mesh-agent" });
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": "gloo-mesh-agent", "namespace": namespace },
        "spec": {
            "replicas": 0, "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": { "containers": [{ "name": "agent", "image": "gloo-mesh-agent" }] },
            },
        },
    })
}
