use super::world::{CLIENT, IDENTITY, TRUST, World};
use crate::audit::{Report, Style, render};
use crate::cluster::ClusterError;

fn plain(report: &Report, wide: bool) -> String {
    render(report, wide, &|_, word| word.to_owned())
}

#[tokio::test]
async fn a_sound_fleet() {
    let text = plain(&World::sound().audit().await, false);
    assert!(text.starts_with("Relay gloo-mesh   5 clusters, "), "{text}");
    assert!(text.contains("root g1"), "{text}");
    assert!(text.contains("\n└ signer g1"), "{text}");
    assert!(text.contains("\n  ├ agent cluster-1"), "{text}");
    assert!(text.ends_with("✓ ok  nothing found.\n"), "{text}");
    assert!(
        text.contains("Earliest failure: agent certificate in cluster-1"),
        "{text}"
    );
    assert!(!text.lines().any(|line| line.ends_with(' ')), "{text}");
}

#[tokio::test]
async fn findings_have_effect_and_fix_and_the_verdict_is_last() {
    let mut world = World::sound();
    let key = world.entry("mgmt", "relay-tls-signing-secret", "tls.key");
    world.set("cluster-1", TRUST, "tls.key", &key);
    let error = ClusterError::Unavailable {
        cluster: "cluster-2".to_owned(),
        operation: "list the relay Secrets".to_owned(),
        reason: "connection timed out".to_owned(),
    };
    world.failing.insert("cluster-2".to_owned(), error);
    let text = plain(&world.audit().await, false);
    assert!(
        text.contains(
            "✗ FAIL R0103  cluster-1   relay-root-tls-secret holds the private key of the signer g1"
        ),
        "{text}"
    );
    assert!(text.contains("       effect  whoever"), "{text}");
    assert!(
        text.contains("       fix     relay-pki bootstrap --prune-keys"),
        "{text}"
    );
    assert!(
        text.contains("-- skip R0401  cluster-2   not checked: cannot list"),
        "{text}"
    );
    assert!(
        text.ends_with("✗ FAIL  1 error, 1 not checked.\n"),
        "{text}"
    );
}

#[tokio::test]
async fn incomplete_is_never_ok() {
    let mut world = World::sound();
    let error = ClusterError::Denied {
        cluster: "cluster-2".to_owned(),
        operation: "list".to_owned(),
        reason: "forbidden".to_owned(),
    };
    world.failing.insert("cluster-2".to_owned(), error);
    let text = plain(&world.audit().await, false);
    assert!(text.ends_with("-- incomplete  1 not checked.\n"), "{text}");
}

#[tokio::test]
async fn equal_findings_are_one_unless_wide() {
    let mut world = World::sound();
    for cluster in ["cluster-1", "cluster-2", "cluster-3"] {
        world.set(
            cluster,
            IDENTITY,
            "token",
            b"some-other-token-of-32-characters",
        );
    }
    let report = world.audit().await;
    let text = plain(&report, false);
    assert_eq!(text.matches("R0602").count(), 1, "{text}");
    assert!(
        text.contains(
            "R0602  cluster-1, cluster-2, cluster-3   relay-identity-token-secret differs"
        ),
        "{text}"
    );
    let wide = plain(&report, true);
    assert_eq!(wide.matches("R0602").count(), 3, "{wide}");
    assert!(
        wide.contains("       where   Secret relay-identity-token-secret"),
        "{wide}"
    );
}

#[tokio::test]
async fn a_finding_is_noted_in_the_tree() {
    let mut world = World::sound();
    world.issue("cluster-1", CLIENT, |params| {
        super::fixture::lives(params, -40, -10)
    });
    let text = plain(&world.audit().await, false);
    let line = text
        .lines()
        .find(|line| line.contains("agent cluster-1"))
        .unwrap();
    assert!(line.ends_with("✗ FAIL R0301"), "{line}");
    let other = text
        .lines()
        .find(|line| line.contains("agent cluster-2"))
        .unwrap();
    assert!(other.ends_with('%'), "{other}");
}

#[tokio::test]
async fn colour_is_the_callers() {
    let report = World::sound().audit().await;
    let text = render(&report, false, &|style, word| match style {
        Style::Good => format!("<good>{word}</good>"),
        _ => word.to_owned(),
    });
    assert!(text.contains("<good>✓ ok</good>"), "{text}");
}
