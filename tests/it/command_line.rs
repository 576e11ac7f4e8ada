//! Arguments, exit codes and dry runs.

use std::process::Stdio;

use crate::support::fleet::{Fleet, Run, clusters};

/// Every verb, with arguments that are enough for it.
const VERBS: [&[&str]; 31] = [
    &["bootstrap"],
    &["rotate"],
    &["rotate", "agent"],
    &["rotate", "agents"],
    &["rotate", "server"],
    &["rotate", "signer"],
    &["rotate", "tokens"],
    &["rehearse"],
    &["rehearse", "root"],
    &["rehearse", "signer"],
    &["rotate", "due"],
    &["status"],
    &["audit"],
    &["signer"],
    &["signer", "csr"],
    &["signer", "install"],
    &["root"],
    &["root", "create"],
    &["root", "sign"],
    &["controller"],
    &["cluster"],
    &["cluster", "register"],
    &["cluster", "unregister"],
    &["cluster", "list"],
    &["values"],
    &["manifests"],
    &["manifests", "cert-manager"],
    &["schema"],
    &["crds"],
    &["explain"],
    &["completions"],
];

#[test]
fn every_verb_explains_itself() {
    let fleet = Fleet::new("");
    for verb in VERBS {
        for flag in ["--help", "-h"] {
            let run = fleet.done(&[verb, &[flag]].concat());
            let usage = format!("Usage: relay-pki {}", verb.join(" "));
            assert!(run.stdout.contains(&usage), "{verb:?}: {run:#?}");
            assert_eq!(run.stderr, "", "{verb:?}");
        }
    }
    let run = fleet.done(&["--help"]);
    for verb in VERBS {
        assert!(run.stdout.contains(verb[0]), "{verb:?}");
    }
    // Exit codes are part of the interface, so they are in the help.
    let words: Vec<&str> = run.stdout.split_whitespace().collect();
    let text = words.join(" ");
    for code in [
        "0 done",
        "2 wrong usage",
        "3 audit",
        "5 changes",
        "7 something",
        "8 refused",
    ] {
        assert!(text.contains(code), "{code}: {text}");
    }
    fleet.done(&["--version"]).says(&["relay-pki 0."]);
}

#[test]
fn wrong_arguments_end_with_2_and_touch_nothing() {
    let fleet = Fleet::bootstrapped(&clusters(&["c1"]));
    let before = fleet.tree();
    for arguments in [
        &[][..],
        &["no-such-verb"],
        &["bootstrap", "--no-such-flag"],
        &["bootstrap", "extra"],
        &["bootstrap", "--exit-code"],
        &["bootstrap", "--output", "xml"],
        &["bootstrap", "--timeout", "soon"],
        &["rotate"],
        &["rotate", "root-beer"],
        &["rotate", "agent"],
        &["rotate", "agents", "--adopt"],
        &["status", "--dry-run"],
        &["cluster"],
        &["cluster", "register"],
        &["status", "--context", "mgmt"],
        &["status", "--file", "relay.yaml", "--relay", "gloo-mesh"],
        &[
            "--file",
            "relay.yaml",
            "rotate",
            "agents",
            "--relay",
            "gloo-mesh",
        ],
        &["controller", "--file", "relay.yaml"],
        &["--file", "relay.yaml", "cluster", "list"],
        &["controller", "--listen", "everywhere"],
        &["values"],
        &["values", "no-such-cluster"],
        &["manifests", "cert-manager", "c1"],
        &["manifests", "cert-manager", "c1", "--issuer", "company"],
        &[
            "manifests",
            "cert-manager",
            "no-such-cluster",
            "--ca-secret",
            "ca",
        ],
        &["explain"],
        &["completions"],
        &["completions", "cmd"],
        &["--color", "sometimes", "status"],
    ] {
        let run = fleet.ends(arguments, 2);
        assert_eq!(run.stdout, "", "{arguments:?}");
        assert_ne!(run.stderr, "", "{arguments:?}");
    }
    before.assert_unchanged(&fleet.tree());
}

#[test]
fn a_document_that_is_not_there_ends_with_2_and_the_fix() {
    let fleet = Fleet::new("");
    std::fs::remove_file(fleet.path("relay.yaml")).unwrap();
    for verb in [
        &["bootstrap"][..],
        &["rotate", "agents"],
        &["status"],
        &["values", "c1"],
    ] {
        let run = fleet.ends(verb, 2);
        run.says(&["relay.yaml", "--file FILE"]);
    }
    fleet
        .ends(&["bootstrap", "--file", "elsewhere.yaml"], 2)
        .says(&["elsewhere.yaml"]);
    assert!(fleet.tree().0.is_empty());
}

#[test]
fn the_document_is_found_by_flag_and_by_environment() {
    let fleet = Fleet::new(&clusters(&["c1"]));
    std::fs::rename(fleet.path("relay.yaml"), fleet.path("other.yaml")).unwrap();
    fleet.ends(&["status"], 2);
    fleet.done(&["--file", "other.yaml", "status"]);
    fleet.done(&["status", "-f", "other.yaml"]);
    let mut command = fleet.command(&["status"]);
    command.env("RELAY_PKI_FILE", "other.yaml");
    assert_eq!(Run::of(command.output().unwrap()).code, Some(0));
    // Directories are relative to the document, not to where the program was started.
    let other = fleet.path("other.yaml");
    let mut command = fleet.command(&["bootstrap", "-f"]);
    command.arg(other).current_dir("/");
    assert_eq!(Run::of(command.output().unwrap()).code, Some(0));
    assert!(fleet.path("clusters/c1").is_dir());
}

#[test]
fn the_document_is_offered_where_it_is_read() {
    let fleet = Fleet::new("");
    for verb in VERBS {
        let help = fleet.done(&[verb, &["--help"]].concat()).stdout;
        let reads = !matches!(
            verb[0],
            "root" | "controller" | "cluster" | "schema" | "crds" | "explain" | "completions"
        );
        assert_eq!(help.contains("--file"), reads, "{verb:?}: {help}");
        assert!(help.contains("--color"), "{verb:?}: {help}");
    }
}

#[test]
fn a_kubeconfig_that_is_wrong_ends_with_2_and_names_it() {
    let fleet = Fleet::new(
        "  clusters:\n\
         \x20   - { name: mgmt, role: management, kubeconfig: { file: nowhere.yaml } }\n\
         \x20   - { name: c1, role: workload, kubeconfig: { file: mine.yaml, context: nope } }\n",
    );
    let mine = "apiVersion: v1\nkind: Config\nclusters: []\ncontexts: []\nusers: []\n";
    std::fs::write(fleet.path("mine.yaml"), mine).unwrap();
    std::fs::write(fleet.path("broken.yaml"), "token: [hunter2").unwrap();
    for verb in [
        &["bootstrap"][..],
        &["rotate", "agents"],
        &["status"],
        &["controller", "--kubeconfig", "nowhere.yaml"],
        &["cluster", "list", "--kubeconfig", "nowhere.yaml"],
        &["audit", "--relay", "r", "--kubeconfig", "nowhere.yaml"],
    ] {
        let run = fleet.ends(verb, 2);
        run.says(&["nowhere.yaml cannot be read: No such file", "fix"]);
        assert!(!run.stderr.contains("permitted"), "{verb:?}: {run:#?}");
    }
    for verb in [
        &["controller", "--kubeconfig", "mine.yaml"][..],
        &["status", "--relay", "r", "--kubeconfig", "mine.yaml"],
    ] {
        let run = fleet.ends(&[verb, &["--context", "nope"]].concat(), 2);
        run.says(&["kubeconfig mine.yaml has no context nope"]);
        fleet.ends(verb, 2).says(&["no current context"]);
    }
    let run = fleet.ends(&["controller", "--kubeconfig", "broken.yaml"], 2);
    run.says(&["broken.yaml is no kubeconfig"]);
    assert!(!run.stderr.contains("hunter2"), "{run:#?}");
    fleet.ends(&["audit"], 7).says(&[
        "R0401",
        "nowhere.yaml cannot be read",
        "has no context nope",
    ]);
}

#[test]
fn a_controller_whose_api_server_does_not_answer_says_so() {
    let fleet = Fleet::new("");
    let kubeconfig = "apiVersion: v1\nkind: Config\ncurrent-context: x\n\
        clusters: [{name: c, cluster: {server: \"https://127.0.0.1:1\"}}]\n\
        users: [{name: u, user: {token: hunter2}}]\n\
        contexts: [{name: x, context: {cluster: c, user: u}}]\n";
    std::fs::write(fleet.path("mine.yaml"), kubeconfig).unwrap();
    let run = fleet.ends(&["controller", "--kubeconfig", "mine.yaml"], 1);
    run.says(&["cannot list the Relay objects", "Connection refused"]);
    assert!(!run.stderr.contains("does not know"), "{run:#?}");
    assert!(!run.stderr.contains("hunter2"), "{run:#?}");
}

#[test]
fn a_dry_run_writes_nothing_at_all() {
    let verbs: [&[&str]; 6] = [
        &["bootstrap"],
        &["bootstrap", "--prune-keys"],
        &["rotate", "agents"],
        &["rotate", "signer"],
        &["rotate", "tokens"],
        &["rotate", "due"],
    ];
    let fleet = Fleet::new(&clusters(&["c1"]));
    let before = fleet.tree();
    for verb in verbs {
        fleet.run(&[verb, &["--dry-run"]].concat());
        assert_eq!(before, fleet.tree(), "{verb:?}: no directory, no lock file");
    }
    fleet.done(&["bootstrap"]);
    let before = fleet.tree();
    for verb in verbs {
        fleet.done(&[verb, &["--dry-run"]].concat());
        assert_eq!(before, fleet.tree(), "{verb:?}");
    }
}

#[test]
fn a_dry_run_shows_what_a_run_then_does() {
    let fleet = Fleet::new(&clusters(&["c1", "c2"]));
    // A rotation in phases looks anew before each: its dry run shows the first.
    for verb in [&["bootstrap"][..], &["rotate", "agents"]] {
        let steps = |run: &Run| {
            let plan = run.json();
            let steps = plan["steps"].as_array().unwrap().clone();
            let mut steps: Vec<String> = steps
                .iter()
                .map(|step| format!("{} {} {}", step["cluster"], step["object"], step["action"]))
                .collect();
            // Workload clusters are worked on side by side.
            steps.sort();
            steps
        };
        let json = ["--output", "json"];
        let planned = steps(&fleet.done(&[verb, &["--dry-run"], &json].concat()));
        let done = steps(&fleet.done(&[verb, &json].concat()));
        assert!(!done.is_empty());
        assert_eq!(planned, done, "{verb:?}");
    }
}

#[test]
fn a_dry_run_says_what_it_asks_of_each_backend() {
    let fleet = Fleet::new(&clusters(&["c1", "c2"]));
    let printed = fleet.done(&["bootstrap", "--dry-run"]).stdout;
    // A server, two agents, and the signer, which the root certifies.
    let line = "Provider local: 1 root, 1 signer, 4 certificates; no calls\n";
    assert!(printed.contains(line), "{printed}");
    fleet.done(&["bootstrap"]);
    let rotation = ["rotate", "agents", "--dry-run", "--output", "json"];
    let calls = &fleet.done(&rotation).json()["calls"];
    let expected = serde_json::json!({ "local": {
        "roots": 0, "signers": 0, "certificates": 2, "atLeast": 0, "counted": false,
    }});
    assert_eq!(calls, &expected);
}

#[test]
fn the_exit_code_of_a_dry_run_says_whether_there_is_something_to_do() {
    let fleet = Fleet::new(&clusters(&["c1"]));
    let check = ["bootstrap", "--dry-run", "--exit-code"];
    fleet.ends(&check, 5);
    fleet.done(&["bootstrap", "--dry-run"]);
    fleet.done(&["bootstrap"]);
    fleet.done(&check);
    std::fs::remove_file(fleet.secret_path("c1", "relay-root-tls-secret")).unwrap();
    fleet.ends(&check, 5);
    fleet.ends(&["rotate", "agents", "--dry-run", "--exit-code"], 5);
}

#[test]
fn exit_codes_do_not_depend_on_the_format() {
    let fresh = || Fleet::new(&clusters(&["c1", "c2"]));
    let sound = || Fleet::bootstrapped(&clusters(&["c1", "c2"]));
    let incomplete = || {
        let fleet = sound();
        std::fs::write(fleet.path("clusters/c2/broken.yaml"), "a: [").unwrap();
        fleet
    };
    let foreign = || {
        let fleet = sound();
        fleet.edit("c2", "relay-client-tls-secret", |secret| {
            secret.labels.clear();
            secret.data.remove("tls.crt");
        });
        fleet
    };
    let unusable = || Fleet::new("  clusters: []\n");
    type Make<'a> = &'a dyn Fn() -> Fleet;
    let cases: [(Make<'_>, &[&str], i32); 9] = [
        (&fresh, &["bootstrap"], 0),
        (&fresh, &["bootstrap", "--dry-run", "--exit-code"], 5),
        (&sound, &["rotate", "agents"], 0),
        (&sound, &["status"], 0),
        (&incomplete, &["bootstrap"], 7),
        (&incomplete, &["rotate", "agents"], 7),
        (&incomplete, &["status"], 7),
        (&foreign, &["bootstrap"], 8),
        (&unusable, &["bootstrap"], 2),
    ];
    for (make, arguments, code) in cases {
        for format in ["table", "json", "yaml"] {
            let run = make().run(&[arguments, &["--output", format]].concat());
            assert_eq!(run.code, Some(code), "{arguments:?} as {format}: {run:#?}");
        }
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let names: Vec<String> = (0..40).map(|number| format!("cluster-{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let fleet = Fleet::bootstrapped(&clusters(&names));
    for arguments in [
        &["status"][..],
        &["status", "--output", "json"],
        &["schema"],
        &["completions", "bash"],
        &["rotate", "agents", "--dry-run", "--output", "yaml"],
        &["--help"],
        &["values", "mgmt"],
    ] {
        let mut command = fleet.command(arguments);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // `| head -0`: nobody reads.
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let run = Run::of(output);
        assert_eq!(
            (run.code, run.stderr.as_str()),
            (Some(0), ""),
            "{arguments:?}: {run:#?}"
        );
    }
}
