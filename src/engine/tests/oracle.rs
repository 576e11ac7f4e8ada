//! What must hold after every single write (design, section 7), looked at from outside.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use relay_pki_authority::Level;
use relay_pki_authority::x509::{
    Certificate, CertificateChain, Fingerprint, PeerRole, TrustBundle, verify_path,
};

use super::world::World;
use crate::clock::{Clock as _, ManualClock};
use crate::cluster::{MemoryCluster, Object};
use crate::config::{ClusterSpec, Role};
use crate::journal::{GenerationRecord, RotationRecord, Status};
use crate::relay::{CA_CERT, SecretRole, TLS_CERT, TLS_KEY, TOKEN, decode_tls, secret_name};
use crate::rotation::Direction;

pub(super) struct Oracle {
    clusters: Vec<(ClusterSpec, MemoryCluster, BTreeMap<String, SecretRole>)>,
    home: String,
    clock: ManualClock,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Chains and bundles that were seen to fit.
    verified: BTreeSet<(Vec<Fingerprint>, String)>,
    /// The number that was active last, of each level.
    numbers: BTreeMap<&'static str, u32>,
    violations: Vec<String>,
    /// How many pairs of a chain and a bundle were looked at.
    handshakes: usize,
    /// What was decoded once, by what it was decoded from.
    bundles: BTreeMap<Vec<u8>, TrustBundle>,
    chains: BTreeMap<[Vec<u8>; 3], Result<CertificateChain, String>>,
}

impl State {
    fn bundle(&mut self, pem: &[u8]) -> TrustBundle {
        let decoded = self.bundles.entry(pem.to_vec());
        let decoded = decoded.or_insert_with(|| TrustBundle::from_pem(pem).unwrap());
        decoded.clone()
    }

    fn chain(&mut self, object: &Object) -> Result<CertificateChain, String> {
        let entries = [TLS_CERT, TLS_KEY, CA_CERT];
        let key = entries.map(|entry| pem(object, entry).unwrap_or_default().to_vec());
        let decode = || decode_tls(object).map(|content| content.chain);
        self.chains.entry(key).or_insert_with(decode).clone()
    }
}

/// A chain or a bundle that is in use somewhere.
struct Party<T> {
    cluster: String,
    holds: T,
}

impl Oracle {
    pub(super) fn new(world: &World) -> Self {
        let clusters = world.relay.clusters.iter().map(|spec| {
            let roles = crate::relay::secret_names(&world.relay, spec);
            let roles = roles.into_iter().map(|(role, name)| (name, role));
            let store = world.stores[spec.name.as_str()].clone();
            (spec.clone(), store, roles.collect())
        });
        Self {
            clusters: clusters.collect(),
            home: world.relay.home().name.to_string(),
            clock: world.clock.clone(),
            state: Mutex::default(),
        }
    }

    pub(super) fn violations(&self) -> Vec<String> {
        self.state.lock().unwrap().violations.clone()
    }

    /// How many handshakes were looked at.
    pub(super) fn handshakes(&self) -> usize {
        self.state.lock().unwrap().handshakes
    }

    /// Looks at everything.
    pub(super) fn check(&self, after: &str) {
        let mut state = self.state.lock().unwrap();
        let found = self.look(&mut state);
        let found = found
            .into_iter()
            .map(|what| format!("after {after}: {what}"));
        state.violations.extend(found.collect::<Vec<_>>());
    }

    fn look(&self, state: &mut State) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut chains = [Vec::new(), Vec::new()];
        let mut bundles = [Vec::new(), Vec::new()];
        for (spec, store, roles) in &self.clusters {
            let cluster = spec.name.to_string();
            for object in store.objects() {
                let Some(role) = roles.get(&object.key.name) else {
                    continue;
                };
                let bundle = pem(&object, CA_CERT).map(|pem| state.bundle(pem));
                let party = |holds| Party {
                    cluster: cluster.clone(),
                    holds,
                };
                let trusts = |side: usize, bundles: &mut [Vec<_>; 2]| {
                    bundles[side].extend(bundle.clone().map(party));
                };
                match role {
                    SecretRole::Server | SecretRole::Client => {
                        let server = *role == SecretRole::Server;
                        match state.chain(&object) {
                            Ok(holds) => chains[usize::from(!server)].push(Party {
                                cluster: cluster.clone(),
                                holds,
                            }),
                            Err(error) => wrong.push(format!("{cluster} {role}: {error}")),
                        }
                        // A server accepts clients with its bundle, and the other way round.
                        trusts(usize::from(server), &mut bundles);
                    }
                    SecretRole::Trust => {
                        if spec.agent.is_some() {
                            trusts(0, &mut bundles);
                        }
                        if spec.role == Role::Management {
                            trusts(1, &mut bundles);
                        }
                    }
                    _ => {}
                }
            }
        }
        for (side, role) in [(0, PeerRole::Server), (1, PeerRole::Client)] {
            for presents in &chains[side] {
                for accepts in &bundles[side] {
                    wrong.extend(self.meet(state, role, presents, accepts));
                }
            }
        }
        wrong.extend(self.generations(state));
        wrong.extend(self.misplaced_keys());
        let held: Vec<&TrustBundle> = bundles.iter().flatten().map(|it| &it.holds).collect();
        wrong.extend(self.destroyed_keys(&held));
        wrong
    }

    /// I1: the chain that one side presents verifies against the bundle that the other side holds.
    fn meet(
        &self,
        state: &mut State,
        role: PeerRole,
        presents: &Party<CertificateChain>,
        accepts: &Party<TrustBundle>,
    ) -> Option<String> {
        state.handshakes += 1;
        let chain = presents.holds.certificates().iter();
        let pair = (
            chain.map(Certificate::fingerprint).collect(),
            format!("{role:?} {} {}", self.clock.now(), accepts.holds.digest()),
        );
        if state.verified.contains(&pair) {
            return None;
        }
        let accepted = verify_path(&presents.holds, &accepts.holds, role, self.clock.now())
            .map_err(|error| error.to_string())
            .and_then(|()| without_going_back(&presents.holds, &accepts.holds));
        match accepted {
            Ok(()) => {
                state.verified.insert(pair);
                None
            }
            Err(error) => Some(format!(
                "I1: {} does not accept the {role:?} of {}: {error}",
                accepts.cluster, presents.cluster
            )),
        }
    }

    /// I3: at most one active generation a level; numbers only grow.
    fn generations(&self, state: &mut State) -> Vec<String> {
        let mut wrong = Vec::new();
        let records = records(self.home());
        for (level, name) in [(Level::Root, "root"), (Level::Signer, "signer")] {
            let of_level = records.iter().filter(|record| record.level == level);
            let active = of_level.clone().filter(|r| r.status == Status::Active);
            if active.clone().count() > 1 {
                wrong.push(format!("I3: more than one active {name}"));
            }
            // In between there may be none.
            let active = active.map(|record| record.number).max();
            let before = state.numbers.entry(name).or_insert(0);
            let highest = active.unwrap_or(*before);
            if highest < *before && !is_rolled_back(self.home()) {
                wrong.push(format!(
                    "I3: the active {name} went from {before} to {highest}"
                ));
            }
            *before = highest;
        }
        wrong
    }

    /// I5: no private key of a CA where it does not belong.
    fn misplaced_keys(&self) -> Vec<String> {
        let keys = ca_keys(self.home());
        let mut wrong = Vec::new();
        for (spec, store, roles) in &self.clusters {
            for object in store.objects() {
                let role = roles.get(&object.key.name);
                for (owner, key) in &keys {
                    let ours = spec.name.as_str() == self.home && &object.key.name == owner;
                    // A relay server that signs by itself needs the signer.
                    let signing = role == Some(&SecretRole::Signing) && !owner.contains("root");
                    // An adopted root lies where it lay.
                    let adopted =
                        spec.name.as_str() == self.home && role == Some(&SecretRole::Trust);
                    if contains(&object, key) && !(ours || signing || adopted) {
                        wrong.push(format!("I5: the key of {owner} is in {}", object.key));
                    }
                }
            }
        }
        wrong
    }

    /// I5: no private key of a root is gone as long as anybody trusts the root.
    fn destroyed_keys(&self, bundles: &[&TrustBundle]) -> Vec<String> {
        let objects = self.home().objects();
        let kept = |name: &str| {
            let ours = |object: &&Object| object.secret_type.as_deref() == Some("relay-pki.dev/ca");
            objects.iter().filter(ours).any(|it| it.key.name == name)
        };
        let records = records(self.home());
        let name =
            |record: &GenerationRecord| GenerationRecord::object_name(&record.generation("relay"));
        records
            .iter()
            .filter(|record| record.level == Level::Root && record.provider.is_some())
            .filter_map(|record| {
                let certificate = record.certificate.as_ref()?;
                let trusted = bundles.iter().any(|bundle| bundle.contains(certificate));
                // A root of somebody else's may be several generations.
                let mut same = records
                    .iter()
                    .filter(|it| it.certificate == record.certificate);
                let lost = trusted && !same.any(|it| kept(&name(it)));
                lost.then(|| format!("I5: the key of {} is gone", name(record)))
            })
            .collect()
    }

    fn home(&self) -> &MemoryCluster {
        let mut clusters = self.clusters.iter();
        let found = clusters.find(|(spec, ..)| spec.name.as_str() == self.home);
        &found.unwrap().1
    }
}

/// As OpenSSL searches: a root that fits ends it, else the first certificate that fits is taken, and
/// there is no way back.
pub(super) fn without_going_back(
    chain: &CertificateChain,
    bundle: &TrustBundle,
) -> Result<(), String> {
    let mut top = chain.leaf();
    let mut rest: Vec<&Certificate> = chain.intermediates().iter().collect();
    loop {
        let mut anchors = bundle.anchors().iter();
        if anchors.any(|anchor| top == anchor || top.is_issued_by(anchor)) {
            return Ok(());
        }
        let next = rest.iter().position(|above| top.names_as_issuer(above));
        let Some(next) = next else {
            return Err(format!("OpenSSL finds no issuer of {}", top.subject()));
        };
        top = rest.remove(next);
    }
}

/// Whether a rotation goes, or went, back.
fn is_rolled_back(home: &MemoryCluster) -> bool {
    let objects = home.objects();
    let records = objects
        .iter()
        .filter(|it| it.key.name.contains("-rotation-"));
    let mut records = records.map(|object| RotationRecord::decode(object).unwrap());
    records.any(|record| record.direction == Direction::Rollback)
}

fn pem<'a>(object: &'a Object, entry: &str) -> Option<&'a [u8]> {
    object.data.get(entry).map(|bytes| bytes.expose())
}

/// The generations that are on record.
pub(super) fn records(home: &MemoryCluster) -> Vec<GenerationRecord> {
    let objects = home.objects();
    let records = objects.iter().filter(|object| {
        object.key.name.contains("-root-g") || object.key.name.contains("-signer-g")
    });
    records
        .filter(|object| object.key.kind == crate::cluster::ObjectKind::ConfigMap)
        .filter(|object| !object.key.name.contains("-issuance-"))
        .map(|object| GenerationRecord::decode(object).unwrap())
        .collect()
}

/// The private keys of CAs: the name of the Secret that keeps them, and a line of their PEM.
pub(super) fn ca_keys(home: &MemoryCluster) -> Vec<(String, String)> {
    let objects = home.objects();
    let kept = objects
        .iter()
        .filter(|object| object.secret_type.as_deref() == Some("relay-pki.dev/ca"));
    kept.filter_map(|object| Some((object.key.name.clone(), secret_line(pem(object, TLS_KEY)?))))
        .collect()
}

/// The last line of a private key's PEM that is not its frame.
pub(super) fn secret_line(pem: &[u8]) -> String {
    let text = std::str::from_utf8(pem).unwrap();
    let body = text.lines().filter(|line| !line.starts_with("-----"));
    body.take(2).last().unwrap().to_owned()
}

fn contains(object: &Object, needle: &str) -> bool {
    // Whatever could hold a PEM is text; the search of the standard library is a fast one.
    let found = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains(needle);
    object.data.values().any(|value| found(value.expose()))
}

/// Everything secret that is stored anywhere, as text that must not show up elsewhere.
pub(super) fn secrets(world: &World) -> Vec<String> {
    let objects = world.stores.values().flat_map(MemoryCluster::objects);
    objects
        .flat_map(|object| {
            let token = pem(&object, TOKEN).map(|t| String::from_utf8(t.to_vec()).unwrap());
            let key = pem(&object, TLS_KEY).filter(|key| key.starts_with(b"-----BEGIN"));
            [token, key.map(secret_line)]
        })
        .flatten()
        .collect()
}

/// The leaf in a Secret.
pub(super) fn leaf(world: &World, cluster: &str, role: SecretRole) -> CertificateChain {
    let object = world.object(cluster, role);
    let object = object.unwrap_or_else(|| panic!("{cluster} has no {role}"));
    CertificateChain::from_pem(pem(&object, TLS_CERT).unwrap()).unwrap()
}

/// Names of all leaves of the fleet, in order.
pub(super) fn leaves(world: &World) -> Vec<(String, SecretRole)> {
    let specs = world.relay.clusters.iter();
    let roles = specs.flat_map(|spec| {
        [SecretRole::Server, SecretRole::Client].map(|role| (spec.name.to_string(), role))
    });
    roles
        .filter(|(cluster, role)| {
            let name = secret_name(&world.relay, world.spec(cluster), *role);
            let objects = world.stores[cluster].objects();
            objects.iter().any(|object| object.key.name == name)
        })
        .collect()
}
