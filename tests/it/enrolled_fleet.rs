//! A fleet as its owner has it: agents on real API servers that nobody else has access to, installed with the
//! commands that `cluster register` prints, and a controller that knows of them only what they say themselves.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use relay_pki_testbed::{ApiServer, Process, eventually, program};
use serde_json::{Value, json};

use crate::support::agents::{self, SOON, agent, end, enrolment_url, free_address};
use crate::support::certificate::{certificates, leaf, private_key};
use crate::support::enrolment::curl;
use crate::support::fleet::{CLIENT, Fleet, ROOT, Run, SERVER};
use crate::support::handshake::rustls_to_rustls;
use crate::support::helm::root;
use crate::support::kube::Clusters;
use crate::support::manifest::{Manifest, write_private};
use crate::support::verifiers::{AUTHORITY, Question, webpki_answer};

/// A gate is looked at every ten seconds, and there are six of them.
const A_ROTATION: Duration = Duration::from_secs(180);

/// The phases of a rotation that goes well.
const PHASES: [&str; 7] = [
    "preparing",
    "publishing",
    "activating",
    "reissuing",
    "draining",
    "retiring",
    "done",
];

/// An administrator with a context for each cluster, called like it. The current one is of a workload cluster.
struct Desk<'a> {
    clusters: &'a Clusters,
    folder: Fleet,
    kubeconfigs: String,
}

impl<'a> Desk<'a> {
    fn new(clusters: &'a Clusters) -> Self {
        let folder = clusters.desk("");
        let files = ["w1.yaml", "w2.yaml", "w3.yaml", "mgmt.yaml"];
        let files = files.map(|file| folder.path(file).display().to_string());
        Self {
            clusters,
            folder,
            kubeconfigs: files.join(":"),
        }
    }

    /// `cluster register NAME --delivery enroll`, which has to end with `code`.
    fn register(&self, name: &str, code: i32) -> Run {
        let mut command = self.folder.command(&["cluster", "register", name]);
        command
            .args(["--delivery", "enroll", "--output", "json"])
            .args(["--namespace", self.clusters.namespace()])
            .args(["--management-context", self.clusters.management().name()])
            .env("KUBECONFIG", &self.kubeconfigs);
        let run = Run::of(command.output().unwrap());
        assert_eq!(run.code, Some(code), "{run:#?}");
        run
    }

    /// Runs a command line that was printed, beside the chart.
    fn run(&self, line: &str) {
        let folder = |program: &std::path::Path| program.parent().unwrap().display().to_string();
        let ours = folder(std::path::Path::new(env!("CARGO_BIN_EXE_relay-pki")));
        let tools = ["kubectl", "helm"].map(|name| folder(&program(name)));
        let path = std::env::var("PATH").unwrap();
        let output = Command::new("bash")
            .args(["-o", "pipefail", "-ec", line])
            .current_dir(root().join("manifests/helm"))
            .env("PATH", format!("{ours}:{}:{path}", tools.join(":")))
            .env("HOME", self.folder.dir())
            .env("KUBECONFIG", &self.kubeconfigs)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line}: {said}");
    }
}

/// A workload cluster with its agent.
struct Member<'a> {
    server: &'a ApiServer,
    namespace: &'a str,
    arguments: Vec<String>,
    process: Option<Process>,
    /// Every private key that was seen there.
    keys: BTreeSet<Vec<u8>>,
}

impl<'a> Member<'a> {
    /// Installs what was printed for it, and starts its agent as the kubelet would.
    fn install(desk: &Desk<'a>, server: &'a ApiServer, url: &str) -> Self {
        let (name, namespace) = (server.name(), desk.clusters.namespace());
        server.apply(&gloo_agent(namespace).to_string());
        let registered: Value = serde_json::from_str(&desk.register(name, 0).stdout).unwrap();
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
            "{chart} --set agent.server={url} --set agent.serverName={AUTHORITY} --set agent.poll=5s \
             --set agent.renewAt=0.101 --set 'agent.restart={{deployment/gloo-mesh-agent}}'"
        ));
        let found = server.json(&["get", "deployments", "-n", namespace]);
        let all = found["items"].as_array().unwrap();
        let pods = all.iter().map(|found| &found["spec"]["template"]["spec"]);
        let mut pods = pods.filter(|pod| pod["containers"][0]["args"][0] == "agent");
        let pod = pods.next().unwrap();
        let account = pod["serviceAccountName"].as_str().unwrap();
        let access = desk.folder.path(&format!("{name}.account"));
        let kubeconfig = server.kubeconfig_for_service_account(namespace, account);
        write_private(&access, kubeconfig.as_bytes());
        let arguments = pod["containers"][0]["args"].as_array().unwrap().iter();
        let arguments = arguments.map(|argument| argument.as_str().unwrap());
        let mut arguments: Vec<String> = arguments
            .skip(1)
            .map(|argument| argument.replace("0.0.0.0:8080", "127.0.0.1:0"))
            .collect();
        arguments.push(format!("--namespace={namespace}"));
        arguments.push(format!("--kubeconfig={}", access.display()));
        let mut member = Self {
            server,
            namespace,
            arguments,
            process: None,
            keys: BTreeSet::new(),
        };
        member.wakes();
        member
    }

    fn name(&self) -> &'a str {
        self.server.name()
    }

    fn wakes(&mut self) {
        let log = format!("{}-{}", self.namespace, self.name());
        self.process = Some(agent(&log, self.arguments.clone()));
    }

    fn sleeps(&mut self) {
        end(self.process.take().unwrap(), &[]);
    }

    fn find(&self, secret: &str) -> Option<Manifest> {
        let arguments = ["get", "secret", secret, "-n", self.namespace];
        let form = ["-o", "json", "--ignore-not-found"];
        let found = self.server.must(&[&arguments[..], &form].concat(), "");
        Manifest::parse(&found).ok()
    }

    /// The client's Secret as soon as it is as wanted.
    fn client(&mut self, what: &str, wanted: impl Fn(&Manifest) -> bool) -> Manifest {
        let what = format!("{} {what}: {}", self.name(), self.tail());
        let found = eventually(&what, SOON, || self.find(CLIENT).filter(&wanted));
        self.keys.insert(found.entry("tls.key").to_vec());
        found
    }

    fn tail(&self) -> String {
        self.process.as_ref().map_or(String::new(), Process::tail)
    }

    /// The roots that the relay's agent was started with.
    fn restarted_for(&self) -> Option<String> {
        let deployment = ["get", "deployment", "gloo-mesh-agent", "-n", self.namespace];
        let found = self.server.json(&deployment);
        let annotations = &found["spec"]["template"]["metadata"]["annotations"];
        annotations["relay-pki.dev/trust"]
            .as_str()
            .map(str::to_owned)
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

/// Everything that is in Secrets and ConfigMaps of the namespace.
fn everything(server: &ApiServer, namespace: &str) -> Vec<Vec<u8>> {
    let found = server.json(&["get", "secrets,configmaps", "-n", namespace]);
    let mut values = Vec::new();
    for item in found["items"].as_array().unwrap() {
        let encoded = item["kind"] == "Secret";
        for value in item["data"]
            .as_object()
            .into_iter()
            .flat_map(|it| it.values())
        {
            let text = value.as_str().unwrap();
            values.push(match encoded {
                true => STANDARD.decode(text).unwrap(),
                false => text.as_bytes().to_vec(),
            });
        }
    }
    values
}

/// Whether a private key is somewhere in there, as PEM or as DER.
fn holds(values: &[Vec<u8>], key: &[u8]) -> bool {
    let der = private_key(key);
    let parts = [key.trim_ascii(), der.secret_der()];
    values.iter().any(|value| {
        let mut parts = parts.iter();
        parts.any(|part| value.windows(part.len()).any(|window| window == *part))
    })
}

fn data_keys(secret: &Manifest) -> String {
    secret.data.keys().cloned().collect::<Vec<_>>().join(" ")
}

/// The name of the signer.
fn issuer(client: &Manifest) -> String {
    leaf(client.entry("tls.crt")).issuer
}

#[test]
fn agents_enrol_renew_and_take_a_new_root_while_one_of_them_sleeps() {
    let clusters = Clusters::new("fleet");
    let (namespace, management) = (clusters.namespace(), clusters.management());
    clusters.relay(&format!(
        "{{ server: {{ extraDnsNames: [{AUTHORITY}] }}, agents: {{ validity: 10m }}, rotation: {{ soak: 0s }} }}"
    ));
    let desk = Desk::new(&clusters);
    // Without a root an agent could trust nobody, so nothing is registered.
    let early = desk.register(clusters.workloads()[0].name(), 8);
    early.says(&["has no root yet", "run this command again"]);
    let registered = ["get", "relayclusters", "-n", namespace, "-o", "name"];
    assert_eq!(management.must(&registered, ""), "");

    let kubeconfig = desk.folder.path("mgmt.yaml");
    let controller = agents::controller(namespace, &kubeconfig, free_address());
    let url = enrolment_url(&controller);
    for secret in [ROOT, SERVER] {
        let arguments = ["get", "secret", secret, "-n", namespace, "-o", "name"];
        eventually(secret, SOON, || {
            let found = [&arguments[..], &["--ignore-not-found"]].concat();
            (!management.must(&found, "").is_empty()).then_some(())
        });
    }
    let old = leaf(clusters.secret(management, ROOT).entry("ca.crt"));
    let servers = clusters.workloads().iter();
    let mut members: Vec<Member<'_>> = servers
        .map(|server| Member::install(&desk, server, &url))
        .collect();

    let server = clusters.secret(management, SERVER);
    let mut enrolled = Vec::new();
    for member in &mut members {
        let first = member.client("enrols", |_| true);
        // The table of the design, for the delivery `enroll`.
        assert_eq!(data_keys(&first), "ca.crt tls.crt tls.key");
        assert_eq!(first.secret_type, "kubernetes.io/tls");
        let trust = member.find(ROOT).unwrap();
        assert_eq!(data_keys(&trust), "ca.crt");
        assert_eq!(trust.secret_type, "Opaque");
        let managed = clusters.secrets(member.server, "relay-pki.dev/relay=gloo-mesh");
        let managed: Vec<String> = managed.into_iter().map(|secret| secret.name).collect();
        assert_eq!(managed, [CLIENT, ROOT]);
        let identity = Ok(member.name().to_owned());
        assert_eq!(rustls_to_rustls(&server, &first), identity);
        // The relay's agent runs with the roots, and so the management cluster knows.
        let what = format!("{} restarts: {}", member.name(), member.tail());
        let bundle = eventually(&what, SOON, || member.restarted_for());
        let record = format!("relay-pki-gloo-mesh-enrolment-{}", member.name());
        let arguments = ["get", "configmap", &record, "-n", namespace, "-o", "json"];
        let what = format!("{} acknowledges: {}", member.name(), member.tail());
        eventually(&what, SOON, || {
            let record = management.must(&arguments, "");
            record.contains(&bundle).then_some(())
        });
        enrolled.push(first);
    }
    let mut renewed = Vec::new();
    for (member, first) in members.iter_mut().zip(&enrolled) {
        let differs = |now: &Manifest| now.data["tls.crt"] != first.data["tls.crt"];
        let second = member.client("renews", differs);
        assert_ne!(second.data["tls.key"], first.data["tls.key"]);
        let serial = |secret: &Manifest| leaf(secret.entry("tls.crt")).serial;
        assert_ne!(serial(&second), serial(first));
        let identity = Ok(member.name().to_owned());
        assert_eq!(rustls_to_rustls(&server, &second), identity);
        renewed.push(second);
    }

    // One is asleep, and a person knows.
    let mut sleeper = members.pop().unwrap();
    sleeper.sleeps();
    let asleep = sleeper.client("sleeps", |_| true);
    let waiver = json!({
        "cluster": sleeper.name(), "until": "2100-01-01T00:00:00Z", "reason": "its node is replaced",
    });
    let rotation = json!({
        "apiVersion": "relay-pki.dev/v1alpha1", "kind": "RelayRotation",
        "metadata": { "name": "root", "namespace": namespace },
        "spec": { "relayRef": { "name": "gloo-mesh" }, "level": "root", "waive": [waiver] },
    });
    management.apply(&rotation.to_string());
    let status = || {
        let arguments = ["get", "relayrotation", "root", "-n", namespace];
        management.json(&arguments)["status"].take()
    };
    let waits = |status: &Value, cluster: &str| {
        let mut waiting = status["waitingFor"].as_array().into_iter().flatten();
        let prefix = format!("{cluster}: ");
        waiting.all(|it| it.as_str().unwrap().starts_with(&prefix))
            && status["waitingFor"][0].is_string()
    };
    eventually("it waits for the sleeper alone", A_ROTATION, || {
        let status = status();
        (status["phase"] == "draining" && waits(&status, sleeper.name())).then_some(())
    });
    let server = clusters.secret(management, SERVER);
    for (member, before) in members.iter_mut().zip(&renewed) {
        let moved = |now: &Manifest| issuer(now) != issuer(before);
        let now = member.client("is on the new signer", moved);
        assert_eq!(certificates(now.entry("ca.crt")).len(), 2);
        let identity = Ok(member.name().to_owned());
        assert_eq!(rustls_to_rustls(&server, &now), identity);
    }
    // Nothing has come to the one that sleeps, and it is not locked out.
    let untouched = sleeper.find(CLIENT).unwrap();
    assert_eq!(untouched.data, asleep.data);
    assert_eq!(
        certificates(untouched.entry("ca.crt")),
        std::slice::from_ref(&old)
    );
    let identity = Ok(sleeper.name().to_owned());
    assert_eq!(rustls_to_rustls(&server, &untouched), identity);

    sleeper.wakes();
    members.push(sleeper);
    let tails = || members.iter().map(Member::tail).collect::<String>();
    eventually(&format!("it is done: {}", tails()), A_ROTATION, || {
        (status()["phase"] == "done").then_some(())
    });
    let record = [
        "get",
        "configmap",
        "relay-pki-gloo-mesh-rotation-1",
        "-n",
        namespace,
    ];
    let record = management.json(&record)["data"].to_string();
    for phase in PHASES {
        assert!(record.contains(phase), "{phase}: {record}");
    }

    let trust = clusters.secret(management, ROOT);
    let roots = certificates(trust.entry("ca.crt"));
    assert_eq!(roots.len(), 1);
    assert_ne!(roots[0], old);
    let server = clusters.secret(management, SERVER);
    let old_root = renewed[0].entry("ca.crt").to_vec();
    for (member, before) in members.iter_mut().zip(&renewed) {
        let now = member.client("is done", |now| now.data["ca.crt"] == trust.data["ca.crt"]);
        let own = member.find(ROOT).unwrap();
        assert_eq!(own.data, trust.data, "{}", member.name());
        assert_ne!(now.data["tls.key"], before.data["tls.key"]);
        assert_ne!(leaf(now.entry("tls.crt")), leaf(before.entry("tls.crt")));
        let mut asked = Question::client(member.name(), &now, &server);
        asked.roots = own.entry("ca.crt").to_vec();
        assert_eq!(webpki_answer(&asked), Ok(()), "{}", member.name());
        asked.roots = old_root.clone();
        assert!(webpki_answer(&asked).is_err(), "{}", member.name());
        let asked = Question::server(AUTHORITY, &server, &own);
        assert_eq!(webpki_answer(&asked), Ok(()), "{}", member.name());
        let identity = Ok(member.name().to_owned());
        assert_eq!(rustls_to_rustls(&server, &now), identity);
    }

    // Every key stayed where it was made.
    let there = everything(management, namespace);
    assert!(holds(&there, server.entry("tls.key")), "nothing was read");
    for member in &members {
        assert!(member.keys.len() >= 3, "{}", member.name());
        for key in &member.keys {
            assert!(!holds(&there, key), "a key of {}", member.name());
        }
    }
    for member in &mut members {
        member.sleeps();
    }
    end(controller, &[]);

    // A replica that has seen none of it tells when the certificates end.
    let address = free_address();
    let controller = agents::controller(namespace, &kubeconfig, address);
    let metrics = format!("http://{address}/metrics");
    for member in &members {
        let own = leaf(member.find(CLIENT).unwrap().entry("tls.crt"));
        let sample = format!(
            "relay_pki_certificate_not_after_timestamp_seconds{{relay=\"gloo-mesh\",cluster=\"{}\",\
             role=\"agent\",generation=\"2\"}} {}\n",
            member.name(),
            own.not_after
        );
        eventually(&sample, SOON, || {
            let answer = curl(desk.folder.dir(), &["-s", &metrics]).stdout;
            let text = String::from_utf8(answer).unwrap();
            text.contains(&sample).then_some(())
        });
    }
    end(controller, &[]);
}
