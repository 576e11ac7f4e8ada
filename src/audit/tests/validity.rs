use rcgen::CertificateParams;

use super::fixture::{Ca, days, lives, now, sound};
use super::world::{CLIENT, SERVER, SIGNING, World};

#[tokio::test]
async fn r0301_an_expired_leaf() {
    let mut world = World::sound();
    world.issue("cluster-1", CLIENT, |params| lives(params, -31, -1));
    world.assert("R0301", &["cluster-1"]).await;
    let mut world = World::sound();
    world.issue("mgmt", SERVER, |params| lives(params, -91, -1));
    world.assert("R0301", &["mgmt"]).await;
}

#[tokio::test]
async fn r0301_an_expired_signer_is_one_finding() {
    fn old(params: &mut CertificateParams) {
        lives(params, -90, -1);
    }
    let world = World::of(sound, old);
    world.assert("R0301", &["mgmt"]).await;
    assert_eq!(world.audit().await.findings.len(), 1);
}

#[tokio::test]
async fn r0302_a_leaf_that_outlives_its_signer() {
    let mut world = World::sound();
    world.issue("cluster-1", CLIENT, |params| lives(params, -5, 372));
    world.assert("R0302", &["cluster-1"]).await;
    let report = world.audit().await;
    assert!(
        report.findings[0].evidence.contains("37 d after"),
        "{:?}",
        report.findings
    );
}

#[tokio::test]
async fn r0303_a_signer_that_outlives_its_root() {
    fn long(params: &mut CertificateParams) {
        lives(params, -30, 4000);
    }
    let world = World::of(sound, long);
    world.assert("R0303", &["mgmt"]).await;
}

#[tokio::test]
async fn r0304_a_leaf_from_the_future() {
    let mut world = World::sound();
    world.issue("cluster-2", CLIENT, |params| lives(params, 1, 31));
    world.assert("R0304", &["cluster-2"]).await;
}

#[tokio::test]
async fn r0305_the_root_in_use_has_expired() {
    fn old(params: &mut CertificateParams) {
        lives(params, -100, -1);
    }
    fn short(params: &mut CertificateParams) {
        lives(params, -99, 100);
    }
    let world = World::of(old, short);
    world.assert("R0305", &["mgmt"]).await;
}

#[tokio::test]
async fn r0306_an_expired_root_that_nothing_needs() {
    let mut world = World::sound();
    let old = Ca::root(|params| lives(params, -900, -1));
    let bundle = world.root.pem.clone() + &old.pem;
    world.set("cluster-3", CLIENT, "ca.crt", bundle.as_bytes());
    world.assert("R0306", &["cluster-3"]).await;
}

#[tokio::test]
async fn r0307_an_overdue_renewal() {
    let mut world = World::sound();
    // Due between 0.59 and 0.66 of 30 days, and a twentieth of that later it is overdue.
    world.issue("cluster-1", CLIENT, |params| lives(params, -22, 8));
    world.assert("R0307", &["cluster-1"]).await;
    let mut world = World::sound();
    world.issue("cluster-1", CLIENT, |params| lives(params, -17, 13));
    assert_eq!(world.audit().await.findings, [], "not due yet");
    let mut world = World::sound();
    world.issue("mgmt", SERVER, |params| lives(params, -70, 20));
    world.assert("R0307", &["mgmt"]).await;
}

#[tokio::test]
async fn r0307_a_schedule_may_put_renewal_off() {
    let mut world = World::sound();
    let schedule = "agents: { validity: 30d, renewAt: 0.66, schedule: \"0 3 * * SUN\" }";
    world.yaml = world.yaml.replace("agents: { validity: 30d }", schedule);
    // Past the point in itself; the next Sunday (January 3rd) has not come.
    world.issue("cluster-1", CLIENT, |params| lives(params, -22, 8));
    assert_eq!(world.audit().await.findings, []);
}

#[tokio::test]
async fn r0307_little_life_is_fine_while_the_schedule_says_so() {
    let mut world = World::sound();
    let schedule = "server: { validity: 90d, renewAt: 0.7, schedule: \"0 12 1,16 * *\" }";
    world.yaml = world.yaml.replace("server: { validity: 90d }", schedule);
    // Less than a sixth is left; its renewal was put off from December 18th to noon today.
    world.issue("mgmt-2", SERVER, |params| lives(params, -76, 14));
    assert_eq!(world.audit().await.findings, []);
}

#[tokio::test]
async fn r0307_a_signer_past_its_renewal() {
    fn late(params: &mut CertificateParams) {
        lives(params, -300, 65);
    }
    fn early(params: &mut CertificateParams) {
        lives(params, -400, 3550);
    }
    let mut world = World::of(early, late);
    for cluster in ["mgmt", "mgmt-2"] {
        world.issue(cluster, SERVER, |params| lives(params, -25, 65));
    }
    world.assert("R0307", &["mgmt"]).await;
}

#[tokio::test]
async fn r0308_little_life_is_left_of_what_others_renew() {
    let mut world = World::sound();
    world.issue("cluster-3", CLIENT, |params| lives(params, -28, 2));
    world.assert("R0308", &["cluster-3"]).await;
    // Gloo renews late: a tenth is still fine.
    let mut world = World::sound();
    world.issue("cluster-3", CLIENT, |params| lives(params, -27, 3));
    assert_eq!(world.audit().await.findings, []);
}

#[tokio::test]
async fn r0309_a_root_that_ends_before_a_new_signer() {
    fn short(params: &mut CertificateParams) {
        lives(params, -100, 360);
    }
    let world = World::of(short, sound);
    world.assert("R0309", &["mgmt"]).await;
}

#[tokio::test]
async fn r0310_a_ca_that_gives_less() {
    let mut world = World::sound();
    world.issue("cluster-1", CLIENT, |params| lives(params, -1, 9));
    world.assert("R0310", &["cluster-1"]).await;
}

#[tokio::test]
async fn r0310_not_for_what_its_signer_cuts_short() {
    fn ending(params: &mut CertificateParams) {
        lives(params, -350, 9);
    }
    let mut world = World::of(sound, ending);
    world.issue("cluster-1", CLIENT, |params| lives(params, -1, 9));
    let (codes, _) = world.codes().await;
    assert!(!codes.contains(&"R0310".to_owned()), "{codes:?}");
    world.issue("cluster-1", CLIENT, |params| lives(params, -1, 8));
    let (codes, _) = world.codes().await;
    assert!(codes.contains(&"R0310".to_owned()), "{codes:?}");
}

#[tokio::test]
async fn r0311_a_validity_that_ends_before_it_starts() {
    let mut world = World::sound();
    world.issue("cluster-1", CLIENT, |params| lives(params, 5, -5));
    world.assert("R0311", &["cluster-1"]).await;
}

#[tokio::test]
async fn r0312_a_signer_that_ends_before_new_agents() {
    let mut world = World::sound();
    // The relay server gives a year; what it gave was cut by its signer's end, so R0302 is silent.
    world.yaml = world
        .yaml
        .replace("agents: { validity: 30d }", "agents: { validity: 350d }");
    let (codes, _) = world.codes().await;
    assert_eq!(codes, ["R0310", "R0312"]);
}

#[tokio::test]
async fn the_earliest_failure_may_be_a_ca() {
    fn short(params: &mut CertificateParams) {
        lives(params, -30, 10);
    }
    let report = World::of(sound, short).audit().await;
    let first = report.earliest_failure.unwrap();
    assert!(first.what.contains("signer g1"), "{first:?}");
    assert_eq!(first.at, now() + days(10));
}

#[tokio::test]
async fn an_unmanaged_signer_is_watched_too() {
    fn short(params: &mut CertificateParams) {
        lives(params, -335, 30);
    }
    fn old(params: &mut CertificateParams) {
        lives(params, -400, 3550);
    }
    let mut world = World::of(old, short);
    for cluster in ["mgmt", "mgmt-2"] {
        world.issue(cluster, SERVER, |params| lives(params, -5, 25));
    }
    world.unmanaged();
    let (codes, _) = world.codes().await;
    assert_eq!(codes, ["R0308", "R0801"]);
    assert!(world.entry("mgmt", SIGNING, "tls.crt").len() > 100);
}
