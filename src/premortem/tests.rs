#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use relay_pki_authority::Profile;
use relay_pki_authority::conformance::forge::{ForgedCa, params, private_key, subject};
use relay_pki_authority::x509::{CertificateChain, KeyType, Validity, verify_path};

use super::*;
use crate::cluster::Version;
use crate::engine::{Provenance, TlsState, TrustState};
use crate::journal::{GenerationRecord, Kept, Status};

const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;

const YAML: &str = "
apiVersion: relay-pki.dev/v1alpha1
kind: Relay
metadata: { name: relay }
spec:
  clusters:
    - { name: mgmt, role: management, directory: a }
    - { name: mgmt-2, role: management, directory: b }
    - { name: cluster-1, role: workload, directory: c }
    - { name: cluster-2, role: workload, directory: d }
    - { name: cluster-3, role: workload, directory: e, delivery: server-signed }
";

fn now() -> Timestamp {
    "2027-01-01T00:00:00Z".parse().unwrap()
}

fn at(seconds: i64) -> Timestamp {
    now() + SignedDuration::from_secs(seconds)
}

/// Validity by its ends, in seconds from now.
type Span = (i64, i64);

fn validity((from, to): Span) -> Validity {
    Validity::new(at(from), at(to)).unwrap()
}

/// A root, maybe a second one that certified the same signer key, and a signer.
struct Authorities {
    root: ForgedCa,
    other: ForgedCa,
    signer: ForgedCa,
    /// The signer's key, certified by the other root.
    cross: Certificate,
}

impl Authorities {
    fn new(root: Span, other: Span, signer: Span, cross: Span) -> Self {
        let root = ForgedCa::root("relay root", validity(root));
        let other = ForgedCa::root("other root", validity(other));
        let signer = root.signer("relay signer 1", validity(signer));
        let key = signer.key.public_key();
        let name = subject("relay signer 1");
        let twin = params(Profile::Signer, key, &name, &[], validity(cross));
        let cross = other.certify(&twin, key);
        Self {
            root,
            other,
            signer,
            cross,
        }
    }

    fn bundle(&self, roots: Roots) -> TrustBundle {
        let root = (roots != Roots::Other).then(|| self.root.certificate.clone());
        let other = (roots != Roots::Ours).then(|| self.other.certificate.clone());
        TrustBundle::new(root.into_iter().chain(other)).unwrap()
    }

    fn journal(&self, other: bool) -> Journal {
        let record = |level, number, status, certificate: &Certificate| Kept {
            record: GenerationRecord {
                level,
                number,
                status,
                provider: Some("local".to_owned()),
                key_type: KeyType::EcdsaP256,
                root: None,
                since: now(),
                validity: None,
                certificate: Some(certificate.clone()),
                cross: None,
                predecessor: None,
            },
            version: None,
        };
        let mut journal = Journal::default();
        if other {
            let status = Status::Retiring;
            let other = record(Level::Root, 1, status, &self.other.certificate);
            journal.roots.insert(1, other);
        }
        let root = record(Level::Root, 2, Status::Active, &self.root.certificate);
        journal.roots.insert(2, root);
        let signer = record(Level::Signer, 1, Status::Active, &self.signer.certificate);
        journal.signers.insert(1, signer);
        journal
    }

    /// A leaf's Secret.
    fn leaf(&self, cluster: &str, leaf: &LeafPlan) -> Held<TlsState> {
        let profile = match cluster.starts_with("mgmt") {
            true => Profile::RelayServer,
            false => Profile::AgentClient,
        };
        let above = match leaf.cross {
            true => vec![self.signer.certificate.clone(), self.cross.clone()],
            false => vec![self.signer.certificate.clone()],
        };
        let bundle = Arc::new(self.bundle(leaf.roots));
        held(TlsState {
            leaf: sign(&self.signer, profile, cluster, validity(leaf.span)),
            above: above.into(),
            provenance: Provenance::Signer(1),
            digest: bundle.digest(),
            bundle,
        })
    }
}

fn sign(signer: &ForgedCa, profile: Profile, name: &str, validity: Validity) -> Certificate {
    let key = private_key();
    let names = [name.parse().unwrap()];
    let params = params(profile, key.public_key(), &subject(name), &names, validity);
    signer.certify(&params, key.public_key())
}

fn held<T>(content: T) -> Held<T> {
    Held {
        version: Version("1".to_owned()),
        owner: Owner::Us,
        place: "Secret/some".to_owned(),
        exposed: false,
        request: 0,
        rotated: None,
        content: Ok(content),
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Roots {
    Ours,
    Both,
    Other,
}

#[derive(Debug, Clone)]
struct LeafPlan {
    span: Span,
    /// Whether it carries the signer's certificate by the other root too.
    cross: bool,
    /// The roots that are accepted where it is.
    roots: Roots,
    ours: bool,
}

impl LeafPlan {
    fn until(end: i64) -> Self {
        Self {
            span: (-5 * DAY, end),
            cross: false,
            roots: Roots::Ours,
            ours: true,
        }
    }
}

/// Clusters and what is in them.
struct World {
    relay: Relay,
    authorities: Authorities,
    journal: Journal,
    states: BTreeMap<String, ClusterState>,
    failing: BTreeSet<String>,
}

impl World {
    fn new(authorities: Authorities, leaves: &[(&str, LeafPlan)]) -> Self {
        let mut states = BTreeMap::new();
        for (cluster, plan) in leaves {
            let mut leaf = authorities.leaf(cluster, plan);
            if !plan.ours {
                leaf.owner = Owner::Foreign;
            }
            let mut state = ClusterState::default();
            match cluster.starts_with("mgmt") {
                true => state.server = Some(leaf),
                false => state.client = Some(leaf),
            }
            states.insert((*cluster).to_owned(), state);
        }
        Self {
            relay: Relay::parse(YAML, "relay.yaml", Path::new("")).unwrap(),
            journal: authorities.journal(false),
            authorities,
            states,
            failing: BTreeSet::new(),
        }
    }

    /// A root of ten years, a signer of one, and leaves that end after as many days as it says.
    fn simple(leaves: &[(&str, i64)]) -> Self {
        let authorities = Authorities::new(
            (-100 * DAY, 3_550 * DAY),
            (-100 * DAY, 3_550 * DAY),
            (-30 * DAY, 335 * DAY),
            (-30 * DAY, 335 * DAY),
        );
        let leaves = leaves.iter();
        let leaves: Vec<_> = leaves
            .map(|(cluster, days)| (*cluster, LeafPlan::until(days * DAY)))
            .collect();
        Self::new(authorities, &leaves)
    }

    fn failing(mut self, clusters: &[&str]) -> Self {
        self.failing = clusters.iter().map(|name| (*name).to_owned()).collect();
        self
    }

    fn state(&mut self, cluster: &str) -> &mut ClusterState {
        self.states.get_mut(cluster).unwrap()
    }

    fn predict_at(&self, now: Timestamp) -> BTreeMap<String, Premortem> {
        let states = self.states.iter();
        let states = states.map(|(name, state)| (name.as_str(), state)).collect();
        premortem(&self.relay, &self.journal, &states, &self.failing, now)
    }

    fn predict(&self) -> BTreeMap<String, Premortem> {
        self.predict_at(now())
    }

    fn tls(&self, cluster: &str) -> &Held<TlsState> {
        let state = &self.states[cluster];
        state.server.as_ref().or(state.client.as_ref()).unwrap()
    }

    /// What a cluster presents at a time, and the roots that it accepts.
    fn side(
        &self,
        cluster: &str,
        time: Timestamp,
        renews: bool,
    ) -> (CertificateChain, TrustBundle) {
        let held = self.tls(cluster);
        let content = held.content.as_ref().unwrap();
        let works = renews && !self.failing.contains(cluster) && held.owner == Owner::Us;
        let chain = std::iter::once(&content.leaf).chain(content.above.iter());
        let chain = CertificateChain::new(chain.cloned().collect()).unwrap();
        if !works {
            return (chain, content.bundle.as_ref().clone());
        }
        let issued = content.leaf.validity().unwrap();
        let spec = self.relay.clusters.iter();
        let spec = spec.clone().find(|spec| spec.name.as_str() == cluster);
        let spec = spec.unwrap();
        let due = match &spec.agent {
            Some(agent) => agent.due_at(&spec.name, &issued),
            None => self.relay.server.due_at(&spec.name, &issued),
        };
        let due = due.max(now());
        let renewed = (time >= due).then(|| self.renewed(cluster, due)).flatten();
        (
            renewed.unwrap_or(chain),
            self.journal.published_roots().unwrap(),
        )
    }

    /// What the engine would have made by then: as long as the CAs allow.
    fn renewed(&self, cluster: &str, due: Timestamp) -> Option<CertificateChain> {
        let root = &self.authorities.root;
        let last = root.certificate.not_after();
        let signer = match self.failing.contains("mgmt") {
            true => self.authorities.signer.clone(),
            false => root.signer("relay signer 2", Validity::new(at(-DAY), last).ok()?),
        };
        let end = signer.certificate.not_after().min(last);
        let profile = match cluster.starts_with("mgmt") {
            true => Profile::RelayServer,
            false => Profile::AgentClient,
        };
        let validity = Validity::new(at(-DAY), end).ok()?;
        (due < end).then(|| {
            let leaf = sign(&signer, profile, cluster, validity);
            CertificateChain::new(vec![leaf, signer.certificate.clone()]).unwrap()
        })
    }

    /// Whether an agent and all servers accept each other, as the verifiers see it.
    fn connects(&self, agent: &str, time: Timestamp, renews: bool) -> bool {
        let (client, accepted) = self.side(agent, time, renews);
        ["mgmt", "mgmt-2"]
            .into_iter()
            .filter(|name| self.states.contains_key(*name))
            .all(|name| {
                let (server, accepts) = self.side(name, time, renews);
                verify_path(&server, &accepted, PeerRole::Server, time).is_ok()
                    && verify_path(&client, &accepts, PeerRole::Client, time).is_ok()
            })
    }
}

fn second() -> SignedDuration {
    SignedDuration::from_secs(1)
}

#[test]
fn the_first_certificate_that_ends_is_what_fails() {
    let world = World::simple(&[("mgmt", 60), ("cluster-1", 20), ("cluster-2", 90)]);
    let found = world.predict();
    let stops = |cluster: &str| found[cluster].automation_stops;
    assert_eq!(stops("cluster-1"), Some(at(20 * DAY + 1)));
    // The server ends before this agent.
    assert_eq!(stops("cluster-2"), Some(at(60 * DAY + 1)));
    assert_eq!(stops("mgmt"), Some(at(60 * DAY + 1)));
    // With renewals the root is all that ends.
    for cluster in ["mgmt", "cluster-1", "cluster-2"] {
        let runs = found[cluster].automation_runs;
        assert_eq!(runs, Some(at(3_550 * DAY + 1)), "{cluster}");
    }
}

#[test]
fn a_cluster_that_fails_keeps_its_end_and_harms_no_other() {
    let world = World::simple(&[("mgmt", 60), ("cluster-1", 20), ("cluster-2", 90)]);
    let found = world.failing(&["cluster-1"]).predict();
    let runs = |cluster: &str| found[cluster].automation_runs;
    assert_eq!(runs("cluster-1"), Some(at(20 * DAY + 1)));
    assert_eq!(runs("cluster-2"), Some(at(3_550 * DAY + 1)));
    assert_eq!(runs("mgmt"), Some(at(3_550 * DAY + 1)));
}

#[test]
fn where_the_cas_are_out_of_reach_the_signer_counts() {
    let leaves = [("mgmt", 60), ("mgmt-2", 400), ("cluster-1", 20)];
    let found = World::simple(&leaves).failing(&["mgmt"]).predict();
    // The server of the failing cluster itself ends first.
    assert_eq!(found["cluster-1"].automation_runs, Some(at(60 * DAY + 1)));
    let mut world = World::simple(&[("mgmt", 60), ("cluster-1", 20)]);
    let root = world.journal.roots.get_mut(&2).unwrap();
    root.record.provider = None;
    let runs = world.predict()["cluster-1"].automation_runs;
    assert_eq!(runs, Some(at(335 * DAY + 1)), "nobody certifies a signer");
}

#[test]
fn a_foreign_secret_is_not_renewed() {
    let mut world = World::simple(&[("mgmt", 60), ("cluster-1", 20)]);
    world.state("cluster-1").client.as_mut().unwrap().owner = Owner::Foreign;
    let runs = world.predict()["cluster-1"].automation_runs;
    assert_eq!(runs, Some(at(20 * DAY + 1)));
}

#[test]
fn what_has_ended_ended_when_it_did() {
    let world = World::simple(&[("mgmt", 60), ("cluster-1", 20)]);
    let late = at(25 * DAY);
    let found = world.predict_at(late);
    let ended = Some(at(20 * DAY + 1));
    assert_eq!(found["cluster-1"].automation_stops, ended);
    // It fails now, whatever happens next.
    assert_eq!(found["cluster-1"].automation_runs, ended);
}

#[test]
fn what_fails_for_another_reason_fails_now() {
    let stranger = Authorities::new((-DAY, DAY), (-DAY, DAY), (-DAY, DAY), (-DAY, DAY));
    let mut world = World::simple(&[("mgmt", 60), ("cluster-1", 20), ("cluster-2", 20)]);
    world.state("cluster-1").client = Some(stranger.leaf("cluster-1", &LeafPlan::until(DAY)));
    world.state("cluster-2").client.as_mut().unwrap().content = Err("no PEM".to_owned());
    let trust = held(TrustState {
        bundle: Arc::new(world.authorities.bundle(Roots::Ours)),
        digest: world.authorities.bundle(Roots::Ours).digest(),
        key: None,
    });
    world.state("cluster-2").trust = Some(trust);
    let found = world.predict();
    for cluster in ["cluster-1", "cluster-2"] {
        assert_eq!(found[cluster].automation_stops, Some(now()), "{cluster}");
        assert_eq!(found[cluster].automation_runs, Some(now()), "{cluster}");
    }
}

#[test]
fn what_is_not_made_yet_cannot_end() {
    let mut world = World::simple(&[("mgmt", 60), ("cluster-1", 20)]);
    world.state("cluster-1").client = None;
    let found = world.predict();
    assert_eq!(found["cluster-1"], Premortem::default());
    assert!(!found.contains_key("cluster-2"), "never read");
    assert!(found["mgmt"].automation_stops.is_some());
}

/// The certificate of an agent that the relay server signs may be nowhere to be seen; the server's is.
#[test]
fn a_server_signed_agent_depends_on_the_server() {
    let mut world = World::simple(&[("mgmt", 60), ("cluster-3", 20)]);
    let root_ends = Some(at(3_550 * DAY + 1));
    let found = world.predict();
    assert_eq!(found["cluster-3"].automation_stops, Some(at(20 * DAY + 1)));
    assert_eq!(found["cluster-3"].automation_runs, root_ends);
    let bundle = Arc::new(world.authorities.bundle(Roots::Ours));
    world.state("cluster-3").client = None;
    world.state("cluster-3").trust = Some(held(TrustState {
        digest: bundle.digest(),
        bundle,
        key: None,
    }));
    let found = world.predict();
    assert_eq!(found["cluster-3"].automation_stops, Some(at(60 * DAY + 1)));
    assert_eq!(found["cluster-3"].automation_runs, root_ends);
}

/// A year of a signer whose key two roots have certified, and what it signed.
fn crossed(signer: Span, plans: &[(&str, LeafPlan)]) -> World {
    let root = (-100 * DAY, 3_550 * DAY);
    let authorities = Authorities::new(root, root, signer, (-30 * DAY, 335 * DAY));
    World::new(authorities, plans)
}

/// The cluster is stuck with another root; the server's next certificate leads to ours only.
#[test]
fn a_renewal_breaks_what_knows_only_another_root() {
    let server = LeafPlan {
        cross: true,
        ..LeafPlan::until(60 * DAY)
    };
    let agent = LeafPlan {
        roots: Roots::Other,
        ..LeafPlan::until(90 * DAY)
    };
    let plans = [("mgmt", server), ("cluster-1", agent)];
    let world = crossed((-30 * DAY, 335 * DAY), &plans).failing(&["cluster-1"]);
    let found = world.predict()["cluster-1"];
    assert_eq!(found.automation_stops, Some(at(60 * DAY + 1)));
    let issued = validity((-5 * DAY, 60 * DAY));
    let due = world.relay.server.due_at(&world.relay.home().name, &issued);
    assert_eq!(found.automation_runs, Some(due));
}

/// The signer's other certificate outlives the one in the records.
#[test]
fn without_a_signer_what_holds_by_another_root_goes_on_holding() {
    let plan = LeafPlan {
        cross: true,
        roots: Roots::Both,
        ..LeafPlan::until(90 * DAY)
    };
    let plans = [("mgmt", plan.clone()), ("cluster-1", plan)];
    let mut world = crossed((-30 * DAY, 10 * DAY), &plans).failing(&["mgmt"]);
    world.journal = world.authorities.journal(true);
    let runs = world.predict()["cluster-1"].automation_runs;
    assert_eq!(runs, Some(at(90 * DAY + 1)));
}

/// Leaves of one kind are verified once, whatever their number.
#[test]
fn a_fleet_costs_no_more_verifications_than_a_cluster() {
    let world = World::simple(&[("mgmt", 60), ("cluster-1", 20), ("cluster-2", 90)]);
    let bundle = world.authorities.bundle(Roots::Ours);
    let mut trials = Trials::new(now());
    let mut ends = Vec::new();
    for cluster in ["cluster-1", "cluster-2"] {
        let content = world.tls(cluster).content.as_ref().unwrap();
        let chain = Presented::new(content, &world.journal, PeerRole::Client);
        ends.push(trials.end(&chain, PeerRole::Client, Bundle::new(&bundle)));
    }
    assert_eq!(ends, [at(20 * DAY + 1), at(90 * DAY + 1)]);
    assert_eq!(trials.verifications(), 1);
}

fn span() -> impl Strategy<Value = Span> {
    (1i64..200 * DAY, 1i64..400 * DAY).prop_map(|(before, after)| (-before, after))
}

fn leaf() -> impl Strategy<Value = LeafPlan> {
    let roots = prop_oneof![Just(Roots::Ours), Just(Roots::Both), Just(Roots::Other)];
    let plan = (span(), any::<bool>(), roots, prop::bool::weighted(0.8));
    plan.prop_map(|(span, cross, roots, ours)| LeafPlan {
        span,
        cross,
        roots,
        ours,
    })
}

const CLUSTERS: [&str; 4] = ["mgmt", "mgmt-2", "cluster-1", "cluster-2"];

proptest! {
    /// With the verifiers as the judges: one second before, everything connects; at that second,
    /// something does not. Leaves outlive their signers here, and signers their roots.
    #[test]
    fn it_works_until_the_second_that_was_predicted(
        spans in prop::array::uniform4(span()),
        leaves in prop::array::uniform4(leaf()),
        failing in prop::array::uniform4(prop::bool::weighted(0.4)),
        published in any::<bool>(),
        share in 0.0..1.0f64,
    ) {
        let [root, other, signer, cross] = spans;
        let authorities = Authorities::new(root, other, signer, cross);
        let leaves: Vec<_> = CLUSTERS.into_iter().zip(leaves).collect();
        let mut world = World::new(authorities, &leaves);
        world.journal = world.authorities.journal(published);
        let failing = CLUSTERS.into_iter().zip(failing).filter(|(_, failing)| *failing);
        world.failing = failing.map(|(name, _)| name.to_owned()).collect();
        let found = world.predict();
        for agent in ["cluster-1", "cluster-2"] {
            let Premortem { automation_stops, automation_runs } = found[agent];
            for (renews, end) in [(false, automation_stops), (true, automation_runs)] {
                let end = end.unwrap();
                let works = |time| world.connects(agent, time, renews);
                if end <= now() {
                    let fails = !works(now()) || !world.connects(agent, now(), false);
                    prop_assert!(fails, "{agent} works, renewing: {renews}");
                    continue;
                }
                let left = end.duration_since(now()).as_secs_f64() * share;
                let between = at(left as i64).min(end - second());
                prop_assert!(works(now()), "{agent} fails now, renewing: {renews}");
                prop_assert!(works(between), "{agent} fails at {between}, renewing: {renews}");
                prop_assert!(works(end - second()), "{agent} fails before {end}: {renews}");
                prop_assert!(!works(end), "{agent} works at {end}, renewing: {renews}");
            }
        }
    }
}
