//! Clusters that fail, each in its own way, beside one that does not.

use std::process::Command;
use std::time::{Duration, Instant};

use relay_pki_testbed::{Mode, Proxy};
use serde_json::json;

use crate::support::fleet::{CLIENT, ROOT, Run};
use crate::support::manifest::Manifest;
use crate::support::rbac;
use crate::support::stage::{Member, PATIENCE, SOON, Stage, condition};

/// How long a repair may take while other clusters fail.
const QUICK: Duration = Duration::from_secs(5);

#[test]
fn clusters_fail_each_in_its_own_way_and_delay_nobody() {
    let stage = Stage::new("faults");
    let mut members = stage.members(&[
        "good", "down", "hanging", "slow", "banned", "locked", "mine", "theirs", "lost", "homeless",
    ]);
    let proxies: Vec<Proxy> = members[1..4]
        .iter()
        .map(|member| Proxy::before(member.server))
        .collect();
    for (member, proxy) in members[1..4].iter_mut().zip(&proxies) {
        member.kubeconfig = proxy.kubeconfig(&member.kubeconfig);
    }
    let [down_proxy, hanging_proxy, slow_proxy] = &proxies[..] else {
        unreachable!()
    };
    slow_proxy.set(Mode::Slow(Duration::from_millis(200)));
    let mut homeless = members.pop().unwrap();
    homeless.namespace = format!("{}-nowhere", stage.namespace());
    let lost = members.pop().unwrap();
    let [good, down, hanging, slow, banned, locked, mine, theirs] = &members[..] else {
        unreachable!()
    };
    for foreign in [mine, theirs] {
        foreign.must(&[
            "create",
            "secret",
            "generic",
            CLIENT,
            "--from-literal=note=not yours",
        ]);
    }
    let _replica = stage.replica("a");
    stage.relay(json!({}));
    let mut as_written = members.clone();
    as_written[4].kubeconfig = banned.server.kubeconfig_for_token("nobody");
    stage.join(&as_written);
    stage.apply(&[
        stage.relay_cluster(&lost, json!({})),
        stage.kubeconfig_secret(&homeless.name, &homeless.kubeconfig),
        stage.relay_cluster(&homeless, json!({})),
    ]);

    // Wrong from the beginning.
    for sound in [good, down, hanging, slow, locked] {
        stage.wait(&sound.path(), "True", "UpToDate", SOON);
    }
    for (member, reason, reachable, words) in [
        (
            banned,
            "NotPermitted",
            "False",
            &["401", "cluster register"][..],
        ),
        (
            mine,
            "Blocked",
            "True",
            &[CLIENT, "not managed by relay-pki", "--adopt"],
        ),
        (theirs, "Blocked", "True", &[CLIENT, "move it away"]),
        (
            &lost,
            "NotPermitted",
            "False",
            &[
                "Secret lost-kubeconfig",
                "does not exist",
                "relay-pki cluster register lost",
            ],
        ),
        (
            &homeless,
            "NotPermitted",
            "False",
            &[homeless.namespace.as_str(), "the namespace and the Role"],
        ),
    ] {
        let message = stage.wait(&member.path(), "False", reason, SOON);
        for word in words {
            assert!(message.contains(word), "{word}: {message}");
        }
        stage.event(&member.name, reason, words);
        let object = stage.object(&member.path());
        let found = condition(&object, "Reachable");
        assert_eq!(found["status"], reachable, "{object:#}");
    }
    let message = stage.wait(&stage.relay_path(), "False", "ClustersNotReady", SOON);
    assert!(
        message.contains("banned, homeless, lost, mine, theirs"),
        "{message}"
    );

    // What goes wrong later.
    let before: Vec<Manifest> = [down, hanging].map(|member| member.secret(CLIENT)).into();
    down_proxy.set(Mode::Refuse);
    hanging_proxy.set(Mode::Hang);
    locked.permit(rbac::READS);
    locked.delete_secret(CLIENT);
    // Nobody hears from a network that is silent; asked, it does not answer.
    stage.apply(&[stage.relay_cluster(hanging, json!({ "validity": "80d" }))]);
    for _ in 0..4 {
        good.delete_secret(CLIENT);
        let deleted = Instant::now();
        good.wait_secret(CLIENT, QUICK, |_| true);
        assert!(deleted.elapsed() < QUICK);
        std::thread::sleep(Duration::from_secs(2));
    }
    for (member, reason, words) in [
        (
            down,
            "Unreachable",
            &["down", "check that its API server runs"][..],
        ),
        (
            hanging,
            "Unreachable",
            &["no answer within", "it is tried again"],
        ),
        (
            locked,
            "NotPermitted",
            &["cannot create resource", "the Role"],
        ),
    ] {
        let message = stage.wait(&member.path(), "False", reason, SOON);
        for word in words {
            assert!(message.contains(word), "{word}: {message}");
        }
        stage.event(&member.name, reason, words);
    }
    stage.wait(&good.path(), "True", "UpToDate", SOON);
    stage.wait(&slow.path(), "True", "UpToDate", SOON);

    // All of it is put right.
    down_proxy.set(Mode::Pass);
    hanging_proxy.set(Mode::Pass);
    locked.permit(rbac::WRITES);
    theirs.delete_secret(CLIENT);
    homeless
        .server
        .must(&["create", "namespace", &homeless.namespace], "");
    homeless.permit(rbac::WRITES);
    stage.apply(&[
        stage.kubeconfig_secret(&banned.name, &banned.kubeconfig),
        stage.kubeconfig_secret(&lost.name, &lost.kubeconfig),
    ]);
    adopt(&stage, mine);
    members.push(lost);
    members.push(homeless);
    stage.wait_ready(&members, PATIENCE);
    stage.assert_chains(&members);
    let adopted = members[6].secret(CLIENT);
    assert_eq!(adopted.entry("note"), b"not yours");
    for (member, before) in members[1..3].iter().zip(before) {
        assert_eq!(member.secret(CLIENT), before, "{}", member.name);
        assert_eq!(member.secret(ROOT).data["ca.crt"], before.data["ca.crt"]);
    }
}

/// What the message says: `relay-pki bootstrap --adopt`, while the controller runs.
fn adopt(stage: &Stage<'_>, member: &Member<'_>) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kubeconfig");
    let kubeconfig = stage.management().admin_kubeconfig();
    crate::support::manifest::write_private(&file, kubeconfig.as_bytes());
    let document = json!({
        "apiVersion": "relay-pki.dev/v1alpha1", "kind": "Relay",
        "metadata": { "name": stage.namespace() },
        "spec": {
            "namespace": stage.namespace(),
            "server": { "extraDnsNames": [crate::support::verifiers::AUTHORITY] },
            "clusters": [
                { "name": "management", "role": "management", "kubeconfig": { "file": file } },
                {
                    "name": member.name, "role": "workload", "namespace": member.namespace,
                    "kubeconfig": { "secretRef": { "name": format!("{}-kubeconfig", member.name) } },
                },
            ],
        },
    });
    std::fs::write(folder.path().join("relay.yaml"), document.to_string()).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_relay-pki"))
        .current_dir(folder.path())
        .args(["bootstrap", "--adopt"])
        .output();
    let run = Run::of(output.unwrap());
    assert_eq!(run.code, Some(0), "{run:#?}");
}
