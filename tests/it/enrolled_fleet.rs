//! A fleet as its owner has it: agents on real API servers that nobody else has access to, installed with the
//! commands that `cluster register` prints, and a controller that knows of them only what they say themselves.

mod desk;
mod member;
mod secrets;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use relay_pki::clock::ManualClock;
use relay_pki_testbed::{ApiServer, eventually};
use serde_json::{Value, json};

use self::desk::Desk;
use self::member::Member;
use self::secrets::{data_keys, everything, holds};
use crate::support::agents::{self, SOON, end, enrolment_url, free_address};
use crate::support::certificate::{certificates, leaf};
use crate::support::enrolment::{Server, curl};
use crate::support::fleet::{CLIENT, ROOT, SERVER};
use crate::support::handshake::rustls_to_rustls;
use crate::support::kube::Clusters;
use crate::support::manifest::Manifest;
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

/// Who sleeps: until the rotation drains, and through all of it.
const LATE: &str = "workload-2";
const LOST: &str = "workload-3";

/// What the document says. No certificate may live for less than ten minutes.
const SETTINGS: [&str; 3] = [
    "server: { extraDnsNames: [gloo-mesh-mgmt-server.gloo-mesh] }",
    "agents: { validity: 10m }",
    "rotation: { soak: 0s }",
];

/// The name of the signer.
fn issuer(client: &Manifest) -> String {
    leaf(client.entry("tls.crt")).issuer
}

/// A replica whose clock stands where the server's certificate begins: it was dated back by five minutes. So
/// what this one issues ends in five minutes, and nobody has to wait for ten.
fn slow_replica(clusters: &Clusters) -> Server {
    let server = clusters.leaf(clusters.management(), SERVER);
    let now = Timestamp::from_second(server.not_before + 5).unwrap();
    let replica = clusters.desk(&format!(
        "  {}\n  namespace: {}\n  clusters:\n    \
         - {{ name: mgmt, role: management, kubeconfig: {{ file: mgmt.yaml }} }}\n    \
         - {{ name: {LOST}, role: workload, delivery: enroll }}\n",
        SETTINGS.join("\n  "),
        clusters.namespace(),
    ));
    Server::with_clock(&replica, Arc::new(ManualClock::new(now)))
}

/// The RelayRotation of the test, as it stands.
struct Rotation<'a> {
    management: &'a ApiServer,
    namespace: &'a str,
}

impl<'a> Rotation<'a> {
    /// Begins it without those who sleep.
    fn begin(clusters: &'a Clusters, asleep: &[&Member<'_>]) -> Self {
        let (management, namespace) = (clusters.management(), clusters.namespace());
        let waivers = asleep.iter().map(|member| {
            let until = "2100-01-01T00:00:00Z";
            json!({ "cluster": member.name(), "until": until, "reason": "its node is replaced" })
        });
        let object = json!({
            "apiVersion": "relay-pki.dev/v1alpha1", "kind": "RelayRotation",
            "metadata": { "name": "root", "namespace": namespace },
            "spec": {
                "relayRef": { "name": "gloo-mesh" }, "level": "root",
                "waive": waivers.collect::<Vec<_>>(),
            },
        });
        management.apply(&object.to_string());
        Self {
            management,
            namespace,
        }
    }

    /// Waits until it is draining, and nobody but these is waited for.
    fn drains_for(&self, asleep: &[&str]) {
        let what = format!("it drains and waits for {asleep:?} alone");
        eventually(&what, A_ROTATION, || {
            let status = self.status();
            let waiting = status["waitingFor"].as_array().into_iter().flatten();
            let mut waiting: Vec<&str> = waiting
                .map(|it| it.as_str().unwrap().split_once(": ").unwrap_or_default().0)
                .collect();
            waiting.sort_unstable();
            (status["phase"] == "draining" && waiting == asleep).then_some(())
        });
    }

    fn is_done(&self, limit: Duration, tails: impl Fn() -> String) {
        eventually(&format!("it is done: {}", tails()), limit, || {
            (self.status()["phase"] == "done").then_some(())
        });
    }

    fn status(&self) -> Value {
        let arguments = ["get", "relayrotation", "root", "-n", self.namespace];
        self.management.json(&arguments)["status"].take()
    }

    fn record(&self) -> Value {
        let name = "relay-pki-gloo-mesh-rotation-1";
        let arguments = ["get", "configmap", name, "-n", self.namespace];
        let found = self.management.json(&arguments);
        serde_json::from_str(found["data"]["record"].as_str().unwrap()).unwrap()
    }
}

/// The management cluster's own record of what an agent said and showed.
fn enrolment(clusters: &Clusters, member: &Member<'_>) -> String {
    let record = format!("relay-pki-gloo-mesh-enrolment-{}", member.name());
    let namespace = clusters.namespace();
    let arguments = ["get", "configmap", &record, "-n", namespace, "-o", "json"];
    clusters.management().must(&arguments, "")
}

/// The relay's agent runs with the roots, and so the management cluster knows.
fn acknowledges(clusters: &Clusters, member: &Member<'_>, before: Option<&str>) -> String {
    let what = format!("{} restarts: {}", member.name(), member.tail());
    let bundle = eventually(&what, SOON, || {
        member
            .restarted_for()
            .filter(|it| Some(it.as_str()) != before)
    });
    let what = format!("{} acknowledges: {}", member.name(), member.tail());
    eventually(&what, SOON, || {
        enrolment(clusters, member).contains(&bundle).then_some(())
    });
    bundle
}

#[test]
fn agents_enrol_renew_and_take_a_new_root_while_two_of_them_sleep() {
    let clusters = Clusters::new("fleet");
    let (namespace, management) = (clusters.namespace(), clusters.management());
    clusters.relay(&format!("{{ {} }}", SETTINGS.join(", ")));
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
    let mut members: Vec<Member<'_>> = Vec::new();
    let slow = slow_replica(&clusters);
    for server in clusters.workloads() {
        let is_slow = server.name() == LOST;
        // As early as can be. What the slow replica issues has half of its life behind it.
        let renew_at = if is_slow { "0.66" } else { "0.101" };
        let values = format!("--set agent.server={url} --set agent.renewAt={renew_at}");
        let mut member = Member::install(&desk, server, &values);
        if is_slow {
            member.is_led_to(&slow.origin());
        }
        member.wakes();
        members.push(member);
    }

    let server = clusters.secret(management, SERVER);
    let (mut enrolled, mut bundles) = (Vec::new(), Vec::new());
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
        bundles.push(acknowledges(&clusters, member, None));
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

    // Two are asleep, and a person knows. One of them will miss all of it.
    let (mut lost, mut late) = (members.pop().unwrap(), members.pop().unwrap());
    assert_eq!((late.name(), lost.name()), (LATE, LOST));
    late.sleeps();
    lost.sleeps();
    drop(slow);
    let asleep = [late.holdings(), lost.holdings()];
    let ends = leaf(asleep[1][0].entry("tls.crt")).not_after;
    let rotation = Rotation::begin(&clusters, &[&late, &lost]);
    rotation.drains_for(&[late.name(), lost.name()]);
    let server = clusters.secret(management, SERVER);
    for (member, before) in members.iter_mut().zip(&renewed) {
        let moved = |now: &Manifest| issuer(now) != issuer(before);
        let now = member.client("is on the new signer", moved);
        assert_eq!(certificates(now.entry("ca.crt")).len(), 2);
        let identity = Ok(member.name().to_owned());
        assert_eq!(rustls_to_rustls(&server, &now), identity);
    }
    // Nothing has come to those who sleep, and they are not locked out.
    for (member, before) in [&late, &lost].into_iter().zip(&asleep) {
        assert_eq!(member.holdings(), *before);
        let roots = certificates(before[0].entry("ca.crt"));
        assert_eq!(roots, std::slice::from_ref(&old));
        let identity = Ok(member.name().to_owned());
        assert_eq!(rustls_to_rustls(&server, &before[0]), identity);
    }

    // One is back in time, by itself. The other is waited for until nobody would let it in anyway.
    late.wakes();
    rotation.drains_for(&[lost.name()]);
    let left = u64::try_from(ends - Timestamp::now().as_second()).unwrap_or_default();
    members.push(late);
    let tails = || members.iter().map(Member::tail).collect::<String>();
    rotation.is_done(Duration::from_secs(left) + A_ROTATION, tails);
    let record = rotation.record();
    for phase in PHASES {
        assert!(record.to_string().contains(phase), "{phase}: {record}");
    }
    let trimmed: Timestamp = record["trimmed"].as_str().unwrap().parse().unwrap();
    assert!(trimmed.as_second() >= ends, "{record}");

    // The last one is on its own. It trusts nobody new, spoils nothing, and says what it needs.
    assert_eq!(lost.holdings(), asleep[1]);
    let server = clusters.secret(management, SERVER);
    rustls_to_rustls(&server, &asleep[1][0]).unwrap_err();
    lost.is_led_to(&url);
    lost.wakes();
    lost.says(&[
        "the roots that are held do not vouch for the server",
        "agent.trustFingerprints",
        &format!("`relay-pki cluster register {LOST} --delivery enroll`"),
        &format!("`relay-pki token create {LOST}`"),
    ]);
    assert_eq!(lost.holdings(), asleep[1]);
    lost.brought_back(&desk);
    acknowledges(&clusters, &lost, bundles.last().map(String::as_str));
    members.push(lost);

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
