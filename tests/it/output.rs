//! What goes to which stream, and in which form.

use serde_json::Value;

use crate::support::fleet::{Fleet, Run, clusters};

/// Commands with a result in every format.
const FORMATTED: [&[&str]; 4] = [
    &["bootstrap"],
    &["rotate", "agents"],
    &["rotate", "due"],
    &["status"],
];

fn in_format(fleet: &Fleet, arguments: &[&str], format: &str) -> Run {
    fleet.done(&[arguments, &["--output", format]].concat())
}

#[test]
fn standard_output_is_one_document_and_nothing_else() {
    let fleet = Fleet::new(&clusters(&["c1", "c2"]));
    for arguments in FORMATTED {
        let json = in_format(&fleet, arguments, "json").json();
        let yaml = in_format(&fleet, arguments, "yaml").stdout;
        let yaml: Value = serde_saphyr::from_str(&yaml).unwrap();
        for value in [&json, &yaml] {
            assert_eq!(value["apiVersion"], "relay-pki/v1", "{arguments:?}");
            assert!(value["kind"].is_string(), "{arguments:?}");
            assert_eq!(value["relay"], "gloo-mesh", "{arguments:?}");
            assert_eq!(value["incomplete"], false, "{arguments:?}");
        }
        let keys = |value: &Value| {
            value
                .as_object()
                .unwrap()
                .keys()
                .cloned()
                .collect::<Vec<_>>()
        };
        assert_eq!(keys(&json), keys(&yaml), "{arguments:?}");
    }
}

#[test]
fn talk_goes_to_standard_error_and_quiet_silences_it() {
    let fleet = Fleet::new(&clusters(&["c1"]));
    let run = fleet.done(&["bootstrap", "--output", "json"]);
    assert!(run.stderr.contains("steps to do"), "{run:#?}");
    run.json();
    let fleet = Fleet::new(&clusters(&["c1"]));
    let run = fleet.done(&["bootstrap", "--quiet"]);
    assert_eq!(run.stderr, "");
    assert!(run.stdout.contains("Done"), "{run:#?}");
    // Errors are said all the same.
    let run = fleet.ends(&["rotate", "agent", "nobody", "--quiet"], 2);
    assert!(run.stderr.contains("nobody"), "{run:#?}");
}

#[test]
fn verbose_logs_every_certificate_and_no_secret() {
    let fleet = Fleet::new(&clusters(&["c1"]));
    let run = fleet.done(&["bootstrap", "-v", "--output", "json"]);
    run.json();
    let issued = run
        .stderr
        .lines()
        .filter(|line| line.contains("issued"))
        .count();
    assert_eq!(issued, 4, "root, signer, server, agent: {run:#?}");
    let run = fleet.done(&["rotate", "tokens", "-vv"]);
    for name in [
        "relay-identity-token-secret",
        "relay-forwarding-identity-token-secret",
    ] {
        let token = fleet.secret("mgmt", name).entry("token").to_vec();
        let token = String::from_utf8(token).unwrap();
        assert!(!run.stderr.contains(&token) && !run.stdout.contains(&token));
    }
}

#[test]
fn colour_is_for_terminals_and_for_those_who_ask() {
    let fleet = Fleet::new(&clusters(&["c1"]));
    let colours = |arguments: &[&str], environment: &[(&str, &str)]| {
        let mut command = fleet.command(arguments);
        command.envs(environment.iter().copied());
        let run = Run::of(command.output().unwrap());
        let all = format!("{}{}", run.stdout, run.stderr);
        assert!(!all.is_empty());
        all.contains('\u{1b}')
    };
    let wrong = ["rotate", "agent", "nobody"];
    assert!(!colours(&wrong, &[]), "a pipe is no terminal");
    assert!(colours(&wrong, &[("CLICOLOR_FORCE", "1")]));
    assert!(!colours(
        &wrong,
        &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]
    ));
    let always = ["--color", "always", "rotate", "agent", "nobody"];
    assert!(colours(&always, &[("NO_COLOR", "1")]), "a flag is stronger");
    let never = ["--color", "never", "rotate", "agent", "nobody"];
    assert!(!colours(&never, &[("CLICOLOR_FORCE", "1")]));
    let json = ["--color", "always", "status", "--output", "json"];
    assert!(!colours(&json, &[("CLICOLOR_FORCE", "1")]), "never in data");
}

#[test]
fn status_tells_what_is_there() {
    let fleet = Fleet::bootstrapped(&clusters(&["c1", "c2"]));
    let status = fleet.done(&["status", "--output", "json"]).json();
    assert_eq!(status["kind"], "RelayStatus");
    assert_eq!(status["toConverge"], 0);
    assert_eq!(status["toRenew"], 0);
    let certificates = status["certificates"].as_array().unwrap();
    let mut found: Vec<String> = certificates
        .iter()
        .map(|one| format!("{} {} {}", one["cluster"], one["role"], one["state"]).replace('"', ""))
        .collect();
    found.sort();
    assert_eq!(found, ["c1 client ok", "c2 client ok", "mgmt server ok"]);
    // The end that it names is that of the shortest certificate.
    let client = fleet.leaf("c1", "relay-client-tls-secret");
    let ends = certificates
        .iter()
        .filter_map(|one| one["notAfter"].as_str());
    let earliest = ends.min().unwrap();
    assert_eq!(status["earliestEnd"], earliest);
    let of_c1 = certificates
        .iter()
        .find(|one| one["cluster"] == "c1")
        .unwrap();
    let day = day_of(client.not_after);
    assert!(
        of_c1["notAfter"].as_str().unwrap().starts_with(&day),
        "{of_c1} {day}"
    );
}

/// The day of a time in seconds, as `date -u +%F` says it.
fn day_of(seconds: i64) -> String {
    let at = format!("@{seconds}");
    let output = std::process::Command::new("date")
        .args(["-u", "-d", &at, "+%F"])
        .output();
    String::from_utf8(output.unwrap().stdout)
        .unwrap()
        .trim()
        .to_owned()
}

#[test]
fn completions_for_every_shell_know_the_verbs() {
    let fleet = Fleet::new("");
    for shell in ["bash", "zsh", "fish"] {
        let script = fleet.done(&["completions", shell]).stdout;
        for word in ["bootstrap", "rotate", "status", "adopt", "prune-keys"] {
            assert!(script.contains(word), "{shell} lacks {word}");
        }
    }
    // What bash gets is at least a bash script.
    let script = fleet.done(&["completions", "bash"]).stdout;
    std::fs::write(fleet.path("completions.bash"), script).unwrap();
    let mut bash = std::process::Command::new("bash");
    let checked = bash.arg("-n").arg(fleet.path("completions.bash")).status();
    assert!(checked.unwrap().success());
}

#[test]
fn the_schema_is_json_and_knows_every_part_of_the_document() {
    let fleet = Fleet::new("");
    let schema = fleet.done(&["schema"]).json();
    assert!(
        schema["$schema"]
            .as_str()
            .unwrap()
            .starts_with("https://json-schema.org/")
    );
    let text = schema.to_string();
    for field in ["apiVersion", "clusters", "renewAt", "extraDnsNames"] {
        assert!(text.contains(field), "the schema lacks {field}");
    }
    assert_eq!(schema["properties"]["kind"]["const"], "Relay");
}
