//! Each code is provoked by a test of its own, and a sound fleet provokes none.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

mod chain;
mod cluster;
mod fixture;
mod identity;
mod ownership;
mod pem;
mod placement;
mod profile;
mod rotation;
mod scale;
mod table;
mod text;
mod tokens;
mod validity;
mod world;

use world::World;

#[tokio::test]
async fn a_sound_fleet_has_no_findings() {
    let report = World::sound().audit().await;
    assert_eq!(report.findings, []);
    assert_eq!(report.not_checked, []);
    assert!(!report.incomplete);
    assert_eq!(report.worst(), None);
    assert_eq!((report.counts.clusters, report.counts.errors), (5, 0));
    assert!(report.counts.checks > 100);
}

#[tokio::test]
async fn the_report_says_what_ends_first() {
    let report = World::sound().audit().await;
    let first = report.earliest_failure.unwrap();
    assert!(first.cluster.starts_with("cluster-"), "{first:?}");
    assert!(first.at > report.audited_at);
}

#[tokio::test]
async fn the_tree_holds_every_certificate_once() {
    let report = World::sound().audit().await;
    assert_eq!(report.chain.len(), 1);
    let root = &report.chain[0];
    assert_eq!(
        (root.name.as_str(), root.issued_by.as_str()),
        ("root g1", "self")
    );
    assert_eq!(root.issued.len(), 1);
    let signer = &root.issued[0];
    assert_eq!(
        (signer.name.as_str(), signer.issued_by.as_str()),
        ("signer g1", "root g1")
    );
    let mut names: Vec<&str> = signer
        .issued
        .iter()
        .map(|node| node.name.as_str())
        .collect();
    names.sort();
    let wanted = [
        "agent cluster-1",
        "agent cluster-2",
        "agent cluster-3",
        "server (mgmt)",
        "server (mgmt-2)",
    ];
    assert_eq!(names, wanted);
}

#[tokio::test]
async fn json_names_codes_and_hides_secrets() {
    let mut world = World::sound();
    let key = world.entry("mgmt", "relay-tls-signing-secret", "tls.key");
    world.set("cluster-1", "relay-root-tls-secret", "tls.key", &key);
    let json = serde_json::to_string(&world.audit().await).unwrap();
    assert!(json.contains(r#""kind":"AuditReport""#), "{json}");
    assert!(json.contains(r#""code":"R0103""#), "{json}");
    assert!(
        json.contains(r#""auditedAt":"2027-01-01T00:00:00Z""#),
        "{json}"
    );
    assert!(!json.contains("PRIVATE KEY"));
    let token = world.entry("mgmt", "relay-identity-token-secret", "token");
    assert!(!json.contains(std::str::from_utf8(&token).unwrap()));
}
