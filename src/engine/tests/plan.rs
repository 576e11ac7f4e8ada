//! What is planned, for which reason, and what is left alone.

use jiff::SignedDuration;

use super::document::Document;
use super::foreign::{ForeignCa, put, tls};
use super::oracle::secrets;
use super::world::{BOOTSTRAP, World, request, rotate};
use crate::clock::Clock as _;
use crate::cluster::{Cluster as _, ClusterError, ObjectKind};
use crate::engine::{Action, Cause, Content, Goal, Plan, Step, plan};
use crate::journal::{Scope, Why};
use crate::relay::{CA_CERT, SecretRole, TLS_CERT, TLS_KEY, TOKEN};
use crate::rotation::Phase;
use relay_pki_authority::Level;

async fn bootstrapped(document: Document) -> World {
    let world = World::new(document);
    world.reach(&BOOTSTRAP).await;
    world
}

fn puts(plan: &Plan) -> Vec<(&str, SecretRole, Content, &Cause)> {
    let put = |step: &'_ Step| match &step.action {
        Action::Put(put) => Some((put.role, put.content)),
        _ => None,
    };
    plan.steps
        .iter()
        .filter_map(|step| {
            let (role, content) = put(step)?;
            Some((step.cluster.as_str(), role, content, &step.cause))
        })
        .collect()
}

fn touched(plan: &Plan) -> Vec<(&str, SecretRole)> {
    let puts = puts(plan).into_iter();
    puts.map(|(cluster, role, ..)| (cluster, role)).collect()
}

fn days(world: &World, days: i64) {
    world.clock.advance(SignedDuration::from_hours(24 * days));
}

#[tokio::test]
async fn everything_is_missing_in_the_beginning() {
    let world = World::new(Document::new(2, 1));
    let plan = world.plan(&BOOTSTRAP).await;
    assert!(plan.steps.iter().all(|step| match step.action {
        Action::Put(_) => step.cause == Cause::Missing || step.cause == Cause::Follows("token"),
        _ => step.cause == Cause::Missing,
    }));
    assert!(matches!(
        plan.steps[0].action,
        Action::EstablishRoot { number: 1, .. }
    ));
    assert!(matches!(
        plan.steps[1].action,
        Action::EstablishSigner {
            number: 1,
            root: 1,
            ..
        }
    ));
    // Tokens of the home cluster first, then cluster by cluster, management before workload.
    use SecretRole::{Client, ForwardingToken, IdentityToken, Server, Trust};
    let wanted = [
        ("mgmt-1", IdentityToken),
        ("mgmt-1", ForwardingToken),
        ("mgmt-1", Trust),
        ("mgmt-1", Server),
        ("mgmt-2", Trust),
        ("mgmt-2", IdentityToken),
        ("mgmt-2", ForwardingToken),
        ("mgmt-2", Server),
        ("cluster-1", Trust),
        ("cluster-1", IdentityToken),
        ("cluster-1", ForwardingToken),
        ("cluster-1", Client),
    ];
    assert_eq!(touched(&plan), wanted);
    assert_eq!(plan.problems, []);
}

#[tokio::test]
async fn nothing_is_left_to_do_in_the_end() {
    let world = bootstrapped(Document::new(2, 2)).await;
    let plan = world.plan(&BOOTSTRAP).await;
    assert_eq!((plan.steps.as_slice(), plan.unchanged), ([].as_slice(), 16));
}

#[tokio::test]
async fn an_agent_on_the_management_cluster_and_one_that_the_server_signs() {
    let mut document = Document::new(2, 2);
    document.clusters[0].agent = true;
    document.clusters[3].server_signed = true;
    let world = bootstrapped(document).await;
    assert!(world.object("mgmt-1", SecretRole::Client).is_some());
    assert!(world.object("mgmt-2", SecretRole::Client).is_none());
    assert!(world.object("cluster-2", SecretRole::Client).is_none());
    for cluster in ["mgmt-1", "mgmt-2"] {
        assert!(world.object(cluster, SecretRole::Signing).is_some());
    }
    let only_push = bootstrapped(Document::new(1, 1)).await;
    assert!(only_push.object("mgmt-1", SecretRole::Signing).is_none());
}

#[tokio::test]
async fn what_is_broken_is_replaced_by_bootstrap_alone() {
    let world = bootstrapped(Document::new(1, 2)).await;
    world.edit("cluster-1", SecretRole::Client, TLS_CERT, b"garbage");
    let other = world.object("cluster-2", SecretRole::Client).unwrap();
    let other = other.data[TLS_KEY].expose().to_vec();
    world.edit("mgmt-1", SecretRole::Server, TLS_KEY, &other);
    let plan = world.plan(&BOOTSTRAP).await;
    let wanted = [
        ("mgmt-1", SecretRole::Server),
        ("cluster-1", SecretRole::Client),
    ];
    assert_eq!(touched(&plan), wanted);
    assert!(puts(&plan).iter().all(|(.., content, cause)| {
        *content == Content::Issue && matches!(cause, Cause::Broken(_))
    }));
    assert_eq!(world.plan(&Goal::Due).await.steps, []);
    assert_eq!(world.plan(&rotate(&[Scope::Tokens])).await.steps, []);
    world.reach(&BOOTSTRAP).await;
}

/// A certificate of ours for the other side of the handshake is refused by every peer.
#[tokio::test]
async fn a_certificate_for_the_wrong_side_is_broken() {
    let mut document = Document::new(1, 1);
    document.extra_names = vec!["cluster-1".to_owned()];
    let world = bootstrapped(document).await;
    let server = world.object("mgmt-1", SecretRole::Server).unwrap();
    for entry in [TLS_CERT, TLS_KEY] {
        let value = server.data[entry].expose().to_vec();
        world.edit("cluster-1", SecretRole::Client, entry, &value);
    }
    let plan = world.plan(&BOOTSTRAP).await;
    assert_eq!(touched(&plan), [("cluster-1", SecretRole::Client)]);
    assert!(matches!(puts(&plan)[0].3, Cause::Broken(_)));
}

#[tokio::test]
async fn what_drifted_is_put_right() {
    let world = bootstrapped(Document::new(1, 1)).await;
    let other = ForeignCa::new("other").await.root.to_pem();
    world.edit("cluster-1", SecretRole::Trust, CA_CERT, other.as_bytes());
    world.edit("mgmt-1", SecretRole::Server, CA_CERT, other.as_bytes());
    world.edit("cluster-1", SecretRole::IdentityToken, TOKEN, b"another");
    let plan = world.plan(&BOOTSTRAP).await;
    let found: Vec<_> = puts(&plan)
        .into_iter()
        .map(|(cluster, role, content, cause)| {
            assert!(matches!(cause, Cause::Drifted(_)), "{cause:?}");
            (cluster, role, content)
        })
        .collect();
    let wanted = [
        ("mgmt-1", SecretRole::Server, Content::Keep),
        ("cluster-1", SecretRole::Trust, Content::Bundle),
        ("cluster-1", SecretRole::IdentityToken, Content::CopyToken),
    ];
    assert_eq!(found, wanted);
    world.reach(&BOOTSTRAP).await;
}

#[tokio::test]
async fn a_new_name_in_the_document_changes_the_servers_only() {
    let mut world = bootstrapped(Document::new(2, 1)).await;
    world.document.extra_names = vec!["relay.example.com".to_owned()];
    world.reload();
    let plan = world.plan(&BOOTSTRAP).await;
    let wanted = [
        ("mgmt-1", SecretRole::Server),
        ("mgmt-2", SecretRole::Server),
    ];
    assert_eq!(touched(&plan), wanted);
    assert!(
        puts(&plan)
            .iter()
            .all(|put| matches!(put.3, Cause::Changed(_)))
    );
    world.reach(&BOOTSTRAP).await;
}

#[tokio::test]
async fn copies_follow_a_new_token_and_the_signer() {
    let mut document = Document::new(2, 1);
    document.clusters[2].server_signed = true;
    let world = bootstrapped(document).await;
    world.delete("mgmt-1", SecretRole::IdentityToken).await;
    let plan = world.plan(&BOOTSTRAP).await;
    let follows = Cause::Follows("token");
    let wanted = [
        (
            "mgmt-1",
            SecretRole::IdentityToken,
            Content::NewToken,
            &Cause::Missing,
        ),
        (
            "mgmt-2",
            SecretRole::IdentityToken,
            Content::CopyToken,
            &follows,
        ),
        (
            "cluster-1",
            SecretRole::IdentityToken,
            Content::CopyToken,
            &follows,
        ),
    ];
    assert_eq!(puts(&plan), wanted);
    world.reach(&BOOTSTRAP).await;
    world.begin(&request(Level::Signer)).await;
    // The signer is made, then the bundles are looked at; the third phase is the servers'.
    for _ in 0..2 {
        world.round(&Goal::Rotation).await.unwrap();
    }
    let plan = world.plan(&Goal::Rotation).await;
    let follows = Cause::Follows("signer");
    let rotates = Cause::Rotation {
        number: 1,
        phase: Phase::Activating,
    };
    let wanted = [
        ("mgmt-1", SecretRole::Signing, Content::Signer, &follows),
        ("mgmt-1", SecretRole::Server, Content::Issue, &rotates),
        ("mgmt-2", SecretRole::Signing, Content::Signer, &follows),
        ("mgmt-2", SecretRole::Server, Content::Issue, &rotates),
    ];
    assert_eq!(puts(&plan), wanted);
}

#[tokio::test]
async fn each_rotation_touches_what_was_asked_for() {
    let world = bootstrapped(Document::new(2, 2)).await;
    use SecretRole::{Client, ForwardingToken, IdentityToken, Server};
    let agent = Scope::Agent("cluster-2".to_owned());
    let cases: [(Scope, &[SecretRole], usize); 4] = [
        (agent, &[Client], 1),
        (Scope::Agents, &[Client], 2),
        (Scope::Server, &[Server], 2),
        (Scope::Tokens, &[IdentityToken, ForwardingToken], 8),
    ];
    for (number, (scope, roles, count)) in (1..).zip(cases) {
        assert_eq!(
            world
                .plan(&rotate(std::slice::from_ref(&scope)))
                .await
                .steps,
            []
        );
        world.request(number, std::slice::from_ref(&scope)).await;
        let plan = world.plan(&rotate(std::slice::from_ref(&scope))).await;
        assert_eq!(plan.steps.len(), count, "{scope}");
        assert!(
            touched(&plan).iter().all(|(_, role)| roles.contains(role)),
            "{scope}"
        );
        // Bootstrap renews nothing, and another rotation does not care.
        assert_eq!(world.plan(&BOOTSTRAP).await.steps, []);
        world.rotate(number, &[scope]).await.unwrap();
    }
}

#[tokio::test]
async fn a_rotation_repairs_nothing_else() {
    let world = bootstrapped(Document::new(2, 2)).await;
    world.delete("mgmt-1", SecretRole::IdentityToken).await;
    world.delete("cluster-1", SecretRole::Trust).await;
    world.edit("mgmt-2", SecretRole::Server, TLS_CERT, b"garbage");
    world.request(1, &[Scope::Agents]).await;
    let plan = world.plan(&rotate(&[Scope::Agents])).await;
    let wanted = [
        ("cluster-1", SecretRole::Client),
        ("cluster-2", SecretRole::Client),
    ];
    assert_eq!(touched(&plan), wanted);
    assert_eq!(plan.steps.len(), 2);
}

/// The controller has one goal: what is missing, what is due and what was asked for, in one plan.
#[tokio::test]
async fn reconciling_repairs_renews_and_rotates() {
    let world = bootstrapped(Document::new(1, 3)).await;
    days(&world, 10);
    assert_eq!(world.plan(&Goal::Reconcile).await.steps, []);
    world.delete("cluster-1", SecretRole::Trust).await;
    world.request(1, &[Scope::Server]).await;
    world
        .rotate(2, &[Scope::Agent("cluster-3".to_owned())])
        .await;
    days(&world, 11);
    let plan = world.plan(&Goal::Reconcile).await;
    let mut found = touched(&plan);
    found.sort();
    let wanted = [
        ("cluster-1", SecretRole::Trust),
        ("cluster-1", SecretRole::Client),
        ("cluster-2", SecretRole::Client),
        ("mgmt-1", SecretRole::Server),
    ];
    assert_eq!(found, wanted);
    world.reach(&Goal::Reconcile).await;
    assert_eq!(world.plan(&Goal::Due).await.steps, []);
    assert_eq!(world.plan(&BOOTSTRAP).await.steps, []);
    days(&world, 230);
    let plan = world.plan(&Goal::Reconcile).await;
    let due = plan.rotation.due.unwrap();
    assert_eq!((due.level, due.why), (Level::Signer, Why::Due));
    world.reach(&Goal::Reconcile).await;
}

/// What is not ours stays as it is, also for the controller.
#[tokio::test]
async fn reconciling_adopts_nothing() {
    let world = bootstrapped(Document::new(1, 1)).await;
    let mut foreign = world.object("cluster-1", SecretRole::Trust).unwrap();
    foreign.labels.clear();
    world.stores["cluster-1"].overwrite(foreign);
    let plan = world.plan(&Goal::Reconcile).await;
    assert_eq!(plan.steps, []);
    assert_eq!(plan.problems.len(), 1);
    assert!(plan.problems[0].remedy.contains("--adopt"));
}

/// A plan for some clusters leaves the others alone, whatever is in them.
#[tokio::test]
async fn clusters_that_were_not_looked_at_are_left_alone() {
    let world = bootstrapped(Document::new(1, 3)).await;
    for cluster in ["cluster-1", "cluster-2"] {
        world.delete(cluster, SecretRole::Client).await;
    }
    let fleet = world.fleet();
    let observer = crate::engine::Observer::begin(&fleet).await.unwrap();
    let read = observer.cluster(&fleet, world.spec("cluster-2")).await;
    let observed = observer.observed([("cluster-2".to_owned(), read)].into());
    let now = world.clock.now();
    let plan = crate::engine::plan(&world.relay, &Goal::Reconcile, &observed, now);
    assert_eq!(touched(&plan), [("cluster-2", SecretRole::Client)]);
    assert_eq!((plan.problems.len(), plan.settled.len()), (0, 0));
}

#[tokio::test]
async fn what_is_due_is_renewed_by_due_alone() {
    let mut world = bootstrapped(Document::new(1, 2)).await;
    days(&world, 10);
    assert_eq!(world.plan(&Goal::Due).await.steps, []);
    days(&world, 11);
    let plan = world.plan(&Goal::Due).await;
    let wanted = [
        ("cluster-1", SecretRole::Client),
        ("cluster-2", SecretRole::Client),
    ];
    assert_eq!(touched(&plan), wanted);
    assert!(puts(&plan).iter().all(|put| matches!(put.3, Cause::Due(_))));
    assert_eq!(world.plan(&BOOTSTRAP).await.steps, []);
    assert_eq!(world.plan(&rotate(&[Scope::Agents])).await.steps, []);
    world.reach(&Goal::Due).await;
    days(&world, 230);
    world.document.rotation = "{ automatic: true }";
    world.reload();
    let plan = world.plan(&Goal::Due).await;
    assert!(matches!(&plan.steps[0].action, Action::Advance(it) if it.why == Why::Due));
    assert!(matches!(
        plan.steps[1].action,
        Action::EstablishSigner { number: 2, .. }
    ));
    world.reach(&Goal::Due).await;
    world.clock.advance(world.relay.rotation.soak);
    world.reach(&Goal::Due).await;
    assert_eq!(world.rotation().await.phase, Phase::Done);
}

/// A signer from the future, because the clock was set back: nothing is asked of it, and bootstrap
/// replaces it.
#[tokio::test]
async fn a_signer_that_is_not_valid_now_is_asked_for_nothing() {
    for days_on in [-20, 400] {
        let world = bootstrapped(Document::new(1, 1)).await;
        days(&world, 30);
        world.through(Level::Signer).await;
        days(&world, days_on);
        world.request(2, &[Scope::Agents]).await;
        let plan = world.plan(&rotate(&[Scope::Agents])).await;
        assert_eq!(plan.steps, []);
        assert!(
            plan.problems[0].remedy.contains("bootstrap"),
            "{:?}",
            plan.problems
        );
        world.reach(&BOOTSTRAP).await;
        assert_eq!(world.plan(&rotate(&[Scope::Agents])).await.problems, []);
    }
}

/// The run makes a new signer and the agents' certificates under it.
#[tokio::test]
async fn an_expired_signer_is_replaced_by_bootstrap() {
    let world = bootstrapped(Document::new(1, 1)).await;
    days(&world, 400);
    let plan = world.plan(&BOOTSTRAP).await;
    assert!(matches!(
        plan.steps[0].action,
        Action::EstablishSigner { number: 2, .. }
    ));
    assert!(matches!(plan.steps[0].cause, Cause::Broken(_)));
    world.reach(&BOOTSTRAP).await;
}

#[tokio::test]
async fn an_expired_root_stops_everything() {
    let world = bootstrapped(Document::new(1, 1)).await;
    days(&world, 3700);
    for goal in [BOOTSTRAP, Goal::Due, rotate(&[Scope::Agents])] {
        let plan = world.plan(&goal).await;
        assert_eq!(plan.steps, []);
        assert!(
            plan.problems[0].what.contains("is valid from"),
            "{:?}",
            plan.problems
        );
    }
}

#[tokio::test]
async fn nothing_can_be_rotated_before_bootstrap() {
    let world = World::new(Document::new(1, 1));
    for goal in [Goal::Due, rotate(&[Scope::Agents])] {
        let plan = world.plan(&goal).await;
        assert_eq!((plan.steps.len(), plan.problems.len()), (0, 1));
        assert!(plan.problems[0].remedy.contains("bootstrap"));
    }
}

#[tokio::test]
async fn foreign_secrets_and_those_of_other_relays_are_left_alone() {
    let world = bootstrapped(Document::new(1, 2)).await;
    let mut foreign = world.object("cluster-1", SecretRole::Client).unwrap();
    foreign.labels.clear();
    world.stores["cluster-1"].overwrite(foreign);
    let mut other = world.object("cluster-2", SecretRole::Client).unwrap();
    let label = other.labels.get_mut("relay-pki.dev/relay").unwrap();
    *label = "another".to_owned();
    world.stores["cluster-2"].overwrite(other);
    world.request(1, &[Scope::Agents]).await;
    for goal in [BOOTSTRAP, rotate(&[Scope::Agents])] {
        let plan = world.plan(&goal).await;
        assert_eq!(plan.steps, []);
        assert_eq!(plan.problems.len(), 2, "{:?}", plan.problems);
        assert!(plan.problems[0].what.contains("not managed by relay-pki"));
        assert!(plan.problems[1].what.contains("belongs to relay another"));
    }
    let adopt = super::world::ADOPT;
    let plan = world.plan(&adopt).await;
    assert_eq!(
        puts(&plan)[0],
        (
            "cluster-1",
            SecretRole::Client,
            Content::Keep,
            &Cause::Adopted
        )
    );
    assert_eq!(
        plan.problems.len(),
        1,
        "another relay's is nobody's to adopt"
    );
}

/// No copy is planned of a token that cannot be had.
#[tokio::test]
async fn a_foreign_token_is_copied_nowhere() {
    let world = World::new(Document::new(1, 2));
    put(
        &world,
        "mgmt-1",
        SecretRole::IdentityToken,
        vec![(TOKEN, b"theirs".to_vec())],
    );
    let plan = world.plan(&BOOTSTRAP).await;
    assert_eq!(plan.problems.len(), 1);
    assert!(
        touched(&plan)
            .iter()
            .all(|(_, role)| *role != SecretRole::IdentityToken)
    );
}

#[tokio::test]
async fn exposed_secrets_are_not_written() {
    let world = bootstrapped(Document::new(1, 1)).await;
    world.request(1, &[Scope::Server]).await;
    let mut observed = world.observe().await;
    let state = observed
        .clusters
        .get_mut("mgmt-1")
        .unwrap()
        .as_mut()
        .unwrap();
    state.server.as_mut().unwrap().exposed = true;
    let goal = rotate(&[Scope::Server]);
    let plan = plan(&world.relay, &goal, &observed, world.clock.now());
    assert_eq!(plan.steps, []);
    assert!(plan.problems[0].remedy.contains("chmod 600"));
}

#[tokio::test]
async fn an_unreachable_cluster_costs_itself_only() {
    let world = World::new(Document::new(2, 3));
    world.faults.set_reachable("cluster-2", false);
    world.faults.set_reachable("mgmt-2", false);
    let plan = world.run(&BOOTSTRAP).await.unwrap();
    assert_eq!(plan.problems.len(), 2);
    assert!(plan.problems.iter().all(|problem| problem.unreachable));
    assert!(world.object("cluster-3", SecretRole::Client).is_some());
    assert!(world.stores["cluster-2"].objects().is_empty());
    world.faults.set_reachable("cluster-2", true);
    world.faults.set_reachable("mgmt-2", true);
    world.reach(&BOOTSTRAP).await;
}

#[tokio::test]
async fn without_the_records_nothing_is_decided() {
    let world = bootstrapped(Document::new(1, 1)).await;
    world.faults.set_reachable("mgmt-1", false);
    assert!(world.round(&BOOTSTRAP).await.is_err());
    world.faults.set_reachable("mgmt-1", true);
    world.delete("cluster-1", SecretRole::Client).await;
    let mut observed = world.observe().await;
    let gone = ClusterError::Unavailable {
        cluster: "mgmt-1".to_owned(),
        operation: "list".to_owned(),
        reason: "gone".to_owned(),
    };
    observed.clusters.insert("mgmt-1".to_owned(), Err(gone));
    let plan = plan(&world.relay, &BOOTSTRAP, &observed, world.clock.now());
    assert_eq!((plan.steps.len(), plan.problems.len()), (0, 1));
}

/// Keeping it and giving it our bundle would leave a pair that no peer accepts.
#[tokio::test]
async fn a_leaf_under_a_root_that_is_not_published_is_replaced() {
    let world = bootstrapped(Document::new(1, 1)).await;
    let other = ForeignCa::new("other").await;
    let profile = relay_pki_authority::Profile::AgentClient;
    let (chain, key) = other.leaf(1, profile, "cluster-1").await;
    for (entry, value) in tls(&chain, &key, &other.root.to_pem()) {
        world.edit("cluster-1", SecretRole::Client, entry, &value);
    }
    let plan = world.plan(&BOOTSTRAP).await;
    assert_eq!(puts(&plan)[0].2, Content::Issue);
    let (_, applied) = world.round(&BOOTSTRAP).await.unwrap();
    assert_eq!((applied.done.len(), applied.failed.len()), (1, 0));
    assert_eq!(world.plan(&BOOTSTRAP).await.steps, []);
}

#[tokio::test]
async fn a_key_beside_a_workload_bundle_goes_on_request() {
    let world = bootstrapped(Document::new(1, 1)).await;
    let key = world.object("cluster-1", SecretRole::Client).unwrap();
    let key = key.data[TLS_KEY].expose().to_vec();
    world.edit("cluster-1", SecretRole::Trust, TLS_KEY, &key);
    assert_eq!(world.plan(&BOOTSTRAP).await.steps, []);
    let prune = Goal::Bootstrap {
        adopt: false,
        prune_keys: true,
    };
    assert_eq!(
        touched(&world.plan(&prune).await),
        [("cluster-1", SecretRole::Trust)]
    );
    world.reach(&prune).await;
    let trust = world.object("cluster-1", SecretRole::Trust).unwrap();
    assert!(!trust.data.contains_key(TLS_KEY));
}

#[tokio::test]
async fn plans_and_observations_print_no_secret() {
    let mut document = Document::new(2, 2);
    document.clusters[3].server_signed = true;
    let world = bootstrapped(document).await;
    world.request(1, &[Scope::Agents, Scope::Tokens]).await;
    let observed = world.observe().await;
    world.begin(&request(Level::Root)).await;
    world.run(&Goal::Rotation).await.unwrap();
    let goal = rotate(&[Scope::Agents, Scope::Tokens]);
    let plan = plan(&world.relay, &goal, &observed, world.clock.now());
    let text = format!("{plan:?} {observed:?}");
    let secrets = secrets(&world);
    assert!(secrets.len() > 10);
    for secret in secrets {
        assert!(!text.contains(&secret));
    }
}

/// The plan depends on its input alone.
#[tokio::test]
async fn the_same_input_gives_the_same_plan() {
    let world = World::new(Document::new(2, 3));
    let observed = world.observe().await;
    let now = world.clock.now();
    assert_eq!(
        plan(&world.relay, &BOOTSTRAP, &observed, now),
        plan(&world.relay, &BOOTSTRAP, &observed, now)
    );
}

#[tokio::test]
async fn without_its_records_a_relay_is_not_begun_anew() {
    let world = World::new(Document::new(2, 1));
    world.reach(&BOOTSTRAP).await;
    let records = world.home().objects();
    let records = records
        .iter()
        .filter(|o| o.key.kind == ObjectKind::ConfigMap);
    for record in records {
        let stored = world.home().read(&record.key).await.unwrap().unwrap();
        world
            .home()
            .delete(&record.key, &stored.version)
            .await
            .unwrap();
    }
    let plan = world.plan(&BOOTSTRAP).await;
    assert_eq!(plan.steps, []);
    assert!(
        plan.problems[0].what.contains("records"),
        "{:?}",
        plan.problems
    );
}
