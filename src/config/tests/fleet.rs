//! Clusters, agents and secrets that cannot be beside each other.

use super::*;

#[test]
fn fleets_that_cannot_be() {
    let none = with_clusters("    []\n");
    assert_refused(
        &none,
        &[("6:5", &["spec.clusters is empty", "role: management"])],
    );
    // Nobody knows what the cluster with the wrong role was meant to be.
    let unclear = with_clusters("    - { name: c1, role: manager, directory: c1 }\n");
    assert_refused(&unclear, &[("6:25", &["\"manager\" is no role"])]);
    let unmanaged = with_clusters("    - { name: c1, role: workload, directory: c1 }\n");
    assert_refused(
        &unmanaged,
        &[("6:5", &["has no management cluster", "role: management"])],
    );
    let same = with_clusters(
        "    - { name: a, role: management, directory: x/y }\n    \
         - { name: a, role: workload, directory: y }\n    \
         - { name: b, role: workload, directory: ./x/z/../y/ }\n    \
         - { name: c, role: workload, directory: /fleet/y }\n",
    );
    assert_refused(
        &same,
        &[
            ("7:15", &["the cluster \"a\" is already in line 6"]),
            (
                "8:45",
                &["\"./x/z/../y/\" is already that of cluster \"a\" in line 6"],
            ),
            (
                "9:45",
                &["\"/fleet/y\" is already that of cluster \"a\" in line 7"],
            ),
        ],
    );
}

#[test]
fn settings_of_agents_that_are_not_there_are_refused() {
    let text = with_clusters(
        "    - { name: a, role: management, directory: a, delivery: push, validity: 1d, clientSecret: x }\n    \
         - { name: b, role: management, directory: b, agent: false, validity: 1d }\n    \
         - { name: c, role: workload, directory: c, agent: true }\n    \
         - { name: d, role: workload, directory: d, delivery: server-signed, validity: 1d }\n",
    );
    assert_refused(
        &text,
        &[
            ("6:60", &["delivery has no effect", "agent: true"]),
            ("6:76", &["validity has no effect"]),
            ("6:94", &["clientSecret has no effect"]),
            ("7:74", &["validity has no effect"]),
            (
                "8:55",
                &["a workload cluster always has an agent", "remove it"],
            ),
            (
                "9:83",
                &["the relay server signs this agent itself", "delivery: push"],
            ),
        ],
    );
}

#[test]
fn secrets_of_one_cluster_have_different_names() {
    assert_refused(
        &minimal("  secrets: { signing: relay-root-tls-secret }\n"),
        &[(
            "5:23",
            &["\"root\" and \"signing\" would both be \"relay-root-tls-secret\""],
        )],
    );
    // Said once, not in every cluster.
    let client = minimal("  secrets: { client: relay-root-tls-secret }\n");
    let more = format!("{client}    - {{ name: c2, role: workload, directory: c2 }}\n");
    assert_refused(&more, &[("5:22", &["\"root\" and \"client\""])]);
    // The server's secret is not in a workload cluster.
    assert!(parse(&minimal("  secrets: { client: relay-server-tls-secret }\n")).is_ok());
    let beside = minimal("  secrets: { client: relay-server-tls-secret }\n")
        .replace("directory: mgmt", "directory: mgmt, agent: true");
    assert_refused(&beside, &[("5:22", &["\"server\" and \"client\""])]);
    let own = minimal("").replace(
        "directory: c1",
        "directory: c1, clientSecret: relay-identity-token-secret",
    );
    assert_refused(&own, &[("7:64", &["\"identityToken\" and \"client\""])]);
    let unused =
        "  tokens: { identity: {} }\n  secrets: { forwardingToken: relay-root-tls-secret }\n";
    assert_refused(
        &minimal(unused),
        &[("6:31", &["forwardingToken has no effect"])],
    );
    let long = minimal(&format!(
        "  secrets: {{ client: {}-<cluster> }}\n",
        "a".repeat(251)
    ));
    assert_refused(
        &long,
        &[(
            "5:22",
            &["spec.clusters[1]", "254 characters", "at most 253"],
        )],
    );
}

#[test]
fn a_cluster_whose_agent_enrols_is_nowhere() {
    let enrolling = minimal("").replace("directory: c1", "delivery: enroll");
    let relay = parse(&enrolling).unwrap();
    let (spec, _) = relay.enrolling("c1").unwrap();
    assert_eq!(spec.location, Location::Enrolled);
    assert_eq!(relay.in_reach().count(), 1);
    assert_eq!(relay.enrolment_tokens, EnrolmentTokens::PerCluster);
    let both = minimal("").replace("directory: c1", "directory: c1, delivery: enroll");
    assert_refused(
        &both,
        &[("7:46", &["directory has no effect", "delivery: push"])],
    );
    // What all agents do, the agent beside the server does not.
    let all = minimal("  agents: { delivery: enroll }\n  enrolment: { tokens: shared }\n")
        .replace("directory: mgmt", "directory: mgmt, agent: true")
        .replace(", directory: c1", "");
    let relay = parse(&all).unwrap();
    assert_eq!(
        relay.home().agent.as_ref().unwrap().delivery,
        Delivery::Push
    );
    assert!(relay.enrolling("mgmt").is_none() && relay.enrolling("c1").is_some());
    assert_eq!(relay.enrolment_tokens, EnrolmentTokens::Shared);
    let server = minimal("").replace(
        "directory: mgmt",
        "directory: mgmt, agent: true, delivery: enroll",
    );
    assert_refused(&server, &[("6:79", &["need not enrol", "delivery: push"])]);
}

#[test]
fn as_much_is_taken_from_one_address_as_the_document_says() {
    let said = |limits: &str| minimal(&format!("  enrolment: {{ limits: {{ {limits} }} }}\n"));
    assert_eq!(
        parse(&minimal("")).unwrap().enrolment_limits,
        EnrolmentLimits::default()
    );
    let more = parse(&said("refusalsPerMinute: 6000")).unwrap();
    let expected = EnrolmentLimits {
        refusals_per_minute: 6000,
        ..EnrolmentLimits::default()
    };
    assert_eq!(more.enrolment_limits, expected);
    let less = parse(&said("connectionsPerAddress: 1")).unwrap();
    assert_eq!(less.enrolment_limits.connections_per_address, 1);
    for (wrong, words) in [
        ("refusalsPerMinute: 0", "from 1 to 6000"),
        ("refusalsPerMinute: 6001", "from 1 to 6000"),
        ("connectionsPerAddress: 4097", "from 1 to 4096"),
        ("connectionsPerAddress: -1", "from 1 to 4096"),
    ] {
        let refused = parse(&said(wrong)).unwrap_err().to_string();
        assert!(refused.contains(words), "{wrong}: {refused}");
    }
}
