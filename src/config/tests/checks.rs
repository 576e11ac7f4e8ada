//! CAs, lifetimes and schedules that cannot work together.

use super::*;

#[test]
fn lifetimes_have_to_fit_into_each_other() {
    for (spec, place, parts) in [
        (
            "  root: { validity: 1y }\n",
            "5:21",
            [
                "spec.signer.validity 1y (the default)",
                "not shorter than spec.root.validity 1y",
            ],
        ),
        (
            "  signer: { validity: 90d }\n",
            "5:23",
            [
                "spec.server.validity 90d (the default)",
                "spec.signer.validity 90d",
            ],
        ),
        (
            "  server: { validity: 400d }\n",
            "5:23",
            ["spec.server.validity 400d", "1y (the default)"],
        ),
        (
            "  agents: { validity: 1y }\n",
            "5:23",
            ["spec.agents.validity 1y", "1y (the default)"],
        ),
        (
            "  agents: { validity: 9m59s }\n",
            "5:23",
            ["599s is too short", "write 10m or more"],
        ),
        (
            "  server: { validity: 1m }\n",
            "5:23",
            ["1m is too short", "write 10m or more"],
        ),
        (
            "  signer: { validity: 59m }\n",
            "5:23",
            ["59m is too short", "write 1h or more"],
        ),
        (
            "  root: { validity: 23h }\n",
            "5:21",
            ["23h is too short", "write 1d or more"],
        ),
    ] {
        assert_refused(&minimal(spec), &[(place, &parts)]);
    }
    let short = "  root: { validity: 1d }\n  signer: { validity: 1h }\n  server: { validity: 10m }\n  \
                 agents: { validity: 10m }\n";
    assert!(parse(&minimal(short)).is_ok());
    let cluster = minimal("").replace("directory: c1", "directory: c1, validity: 2y");
    assert_refused(
        &cluster,
        &[(
            "7:60",
            &["spec.clusters[1].validity 2y is not shorter than spec.signer.validity 1y"],
        )],
    );
    // Not said twice: what cannot be read is compared with nothing.
    let broken = minimal("  signer: { validity: 1 }\n  server: { validity: 50y }\n");
    assert_refused(&broken, &[("5:23", &["is no lifetime"])]);
}

/// Found before anything is made: the backend would refuse each certificate.
#[test]
fn what_a_backend_never_issues_is_refused() {
    let with = |mode: &str, more: &str| {
        minimal(&format!(
            "  providers: {{ aws: {{ awsPrivateCa: {{ region: eu-central-1, usageMode: {mode} }} }} }}\n{more}"
        ))
    };
    let fitting = "  server: { validity: 7d }\n  agents: { validity: 6d }\n";
    assert!(parse(&with("general-purpose", "")).is_ok());
    assert!(parse(&with("short-lived", fitting)).is_ok());
    assert_refused(
        &with("short-lived", "  server: { validity: 7d1h }\n"),
        &[
            ("5:3", &["spec.agents.validity 30d (the default)"]),
            (
                "6:23",
                &[
                    "spec.server.validity 7d1h is longer than the backend of spec.signer issues: 7d",
                    "write spec.server.validity: 7d or less",
                ],
            ),
        ],
    );
    let cluster =
        with("short-lived", fitting).replace("directory: c1", "directory: c1, validity: 8d");
    assert!(
        parse(&cluster)
            .unwrap_err()
            .to_string()
            .contains(".validity 8d is longer")
    );
}

#[test]
fn schedules_have_to_fire_in_time() {
    // The example of the design: 30 d × (0.9 − 0.66) = 7 d 4 h 48 m, and a week fits.
    let weekly = "  agents: { validity: 30d, renewAt: 0.66, schedule: 0 3 * * SUN }\n";
    assert!(parse(&minimal(weekly)).is_ok());
    // Exactly as long as there is time: 70 d × 0.1.
    let exact = "  agents: { validity: 70d, renewAt: 0.8, schedule: '@weekly' }\n";
    assert!(parse(&minimal(exact)).is_ok());
    let hardly = exact.replace("70d", "69d");
    assert_refused(
        &minimal(&hardly),
        &[("5:52", &["up to 7d", "of 69d can wait 165h36m only"])],
    );
    for (spec, place, parts) in [
        (
            "  agents: { schedule: '@monthly' }\n",
            "5:23",
            [
                "\"@monthly\" leaves up to 31d",
                "renewAt 0.66 a certificate of 30d can wait 7d4h48m",
            ],
        ),
        (
            "  server: { renewAt: 0.95, schedule: '@daily' }\n",
            "5:38",
            ["leaves up to 1d", "of 90d can wait 0s"],
        ),
        (
            "  signer: { schedule: 0 0 29 2 * }\n",
            "5:23",
            ["leaves up to 4y1d", "of 1y can wait"],
        ),
    ] {
        assert_refused(&minimal(spec), &[(place, &parts)]);
    }
    let cluster = minimal(weekly).replace("directory: c1", "directory: c1, validity: 12h");
    assert_refused(
        &cluster,
        &[(
            "8:60",
            &[
                "spec.clusters[1]: the schedule",
                "leaves up to 7d",
                "of 12h can wait",
            ],
        )],
    );
}

#[test]
fn providers_are_referred_to_by_name() {
    let two = "  providers: { one: { selfSigned: {} }, two: { selfSigned: {} } }\n";
    let neither = format!("{two}  root: {{ validity: 10y }}\n");
    assert_refused(
        &minimal(&neither),
        &[
            (
                "5:3",
                &[
                    "spec.signer does not say which of 2 providers",
                    "one of one, two",
                ],
            ),
            (
                "6:9",
                &[
                    "spec.root does not say which of 2 providers",
                    "one of one, two",
                ],
            ),
        ],
    );
    let wrong = format!("{two}  root: {{ provider: twoo }}\n  signer: {{ provider: vault }}\n");
    assert_refused(
        &minimal(&wrong),
        &[
            (
                "6:21",
                &["there is no provider \"twoo\"", "did you mean \"two\"?"],
            ),
            (
                "7:23",
                &[
                    "there is no provider \"vault\"",
                    "spec.providers has one, two",
                ],
            ),
        ],
    );
    assert_refused(
        &minimal("  providers: {}\n"),
        &[("5:14", &["spec.providers is empty"])],
    );
    assert_refused(
        &minimal("  providers: { one: {} }\n"),
        &[(
            "5:21",
            &["spec.providers.one says nothing", "selfSigned: {}"],
        )],
    );
    assert_refused(
        &minimal("  providers: { one: }\n"),
        &[("5:19", &["spec.providers.one must be a map, and is empty"])],
    );
    let one = parse(&minimal("  providers: { mine: { selfSigned: {} } }\n")).unwrap();
    assert_eq!(
        (one.root.provider.as_str(), one.signer.provider.as_str()),
        ("mine", "mine")
    );
}

#[test]
fn directories_inside_one_another_are_refused() {
    let error = parse(&minimal("").replace("directory: c1", "directory: mgmt/x"));
    let error = error.unwrap_err().to_string();
    assert!(error.contains("inside that of \"mgmt\""), "{error}");
}

#[test]
fn names_of_ca_keys_are_reserved() {
    for spec in [
        "  secrets: { server: relay-pki-gloo-mesh-root-g1 }\n",
        "  secrets: { client: relay-pki-x }\n",
    ] {
        let error = parse(&minimal(spec)).unwrap_err().to_string();
        assert!(error.contains("CA keys and records"), "{error}");
    }
}
