//! What can happen to the fleet of the model, and what comes of it. The plan is the real one, and so
//! are the records that it reads and what a person does to a rotation; its steps are carried out here,
//! one write at a time, as `engine::apply` does.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use jiff::SignedDuration;
use relay_pki_authority::Level;

use super::age::{self, STEP};
use super::explore::Model;
use super::invariants;
use super::pool::{Pool, now, seen, signer_of};
use super::state::{
    Bundle, CLUSTERS, Chain, Cluster, Crossed, Flight, Gen, Held, Keys, Left, Records, State, Tls,
};
use crate::cluster::ClusterError;
use crate::engine::observe::Decoder;
use crate::engine::{Action, ClusterState, Content, Goal, Observed, Plan, Step, plan};
use crate::journal::{Approval, Journal, RotationRecord, Status};
use crate::relay::SecretRole;
use crate::rotation::{
    Begun, Evidence, Fate, GivenUp, Phase, Request, Steering, begin, presented, steer,
};

/// What may happen in a model, besides the rotation itself.
#[derive(Clone, Copy)]
pub(super) struct Setup {
    pub(super) level: Level,
    /// `rotation` of the document, beside the times.
    pub(super) settings: &'static str,
    pub(super) left: Left,
    /// Whether the old root can certify the new signer.
    pub(super) crosses: bool,
    pub(super) canary: &'static [&'static str],
    pub(super) rollback: bool,
    pub(super) emergency: bool,
    /// Whether the management cluster and each workload cluster are worked on apart, as the controller
    /// does.
    pub(super) apart: bool,
    pub(super) mistake: Mistake,
}

/// A mistake that is made on purpose: whoever finds none of them finds nothing.
#[derive(Clone, Copy, Default)]
pub(super) struct Mistake {
    /// What becomes of a plan.
    pub(super) plan: Option<fn(&mut Plan, &Observed)>,
    /// Writes whatever was written meanwhile.
    pub(super) unconditional: bool,
    /// Does not look at the rotation once more before it writes into a cluster.
    pub(super) unchecked: bool,
    /// Does not know when something was written last.
    pub(super) ageless: bool,
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    Begin,
    Emergency,
    /// A process looks at everything, and plans.
    Look(usize),
    /// A process looks at one workload cluster and the records, and plans for that.
    Round(usize),
    /// A process does the next thing, in this cluster where it works on several.
    Step(usize, usize),
    Crash(usize),
    Lose(usize),
    Return(usize),
    /// Half a soak time passes.
    Time,
    Rollback,
    Pause,
    Resume,
    Approve,
    Waive(usize),
}

/// One step of a plan.
#[derive(Debug, Clone, Copy)]
enum Act {
    Establish {
        level: Level,
        number: u32,
        root: u32,
        cross: Option<u32>,
    },
    Advance(u32),
    Transition(Level, u32, Status),
    Destroy(Level, u32),
    Put(usize, SecretRole, Content),
}

/// Things by number: what is the same has the same number.
struct Numbered<K, T> {
    numbers: HashMap<K, u32>,
    things: Vec<T>,
}

impl<K: std::hash::Hash + Eq, T> Numbered<K, T> {
    fn new() -> Self {
        Self {
            numbers: HashMap::new(),
            things: Vec::new(),
        }
    }

    fn number(&mut self, key: K, thing: impl FnOnce() -> T) -> u32 {
        match self.numbers.entry(key) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(place) => {
                self.things.push(thing());
                *place.insert(u32::try_from(self.things.len() - 1).unwrap())
            }
        }
    }
}

/// What follows from the records alone.
struct Read {
    records: Records,
    journal: Journal,
    decoder: Decoder,
    /// The bundle that everybody should hold.
    bundle: Bundle,
    /// The signer in use.
    signer: Option<u8>,
    /// Whether certificates of each signer are presented with the one under the old root.
    crossed: [bool; 2],
}

pub(super) struct Fleet {
    pub(super) pool: Pool,
    pub(super) setup: Setup,
    rotations: Numbered<String, RotationRecord>,
    records: Numbered<Records, Read>,
    plans: Numbered<Seen, Vec<Act>>,
    states: HashMap<(u32, usize, Held, u8), ClusterState>,
}

/// What a plan follows from: the number of the records; of each cluster what it holds, for how long, and
/// whether it is away; and what the plan is made for.
type Seen = (u32, [(Held, u8, bool); CLUSTERS], Part);

/// What a plan is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Part {
    Whole,
    /// The CAs, the records and the management cluster, by a look at everything.
    Home,
    /// One workload cluster, by a look at nothing else but the management cluster.
    Cluster(usize),
}

/// What an object that can change is called in a set of bits.
mod object {
    use relay_pki_authority::Level;

    use crate::relay::SecretRole;

    pub(super) const ROTATION: u16 = 1;

    pub(super) fn generation(level: Level, number: u32) -> u16 {
        match level {
            Level::Root => 1 << number,
            Level::Signer => 1 << (number + 2),
        }
    }

    pub(super) fn secret(cluster: usize, role: SecretRole) -> u16 {
        1 << (5 + 2 * cluster + usize::from(role != SecretRole::Trust))
    }
}

impl Fleet {
    pub(super) fn new(setup: Setup) -> Self {
        let settings = format!("{{ {}, {} }}", age::SETTINGS, setup.settings);
        Self {
            pool: Pool::new(setup.level, settings.leak()),
            setup,
            rotations: Numbered::new(),
            records: Numbered::new(),
            plans: Numbered::new(),
            states: HashMap::new(),
        }
    }

    /// How many different plans were made.
    pub(super) fn plans(&self) -> usize {
        self.plans.things.len()
    }

    pub(super) fn rotation(&self, records: u32) -> Option<&RotationRecord> {
        let number = self.records.things[records as usize].records.rotation?;
        Some(&self.rotations.things[number as usize])
    }

    pub(super) fn records(&self, records: u32) -> Records {
        self.records.things[records as usize].records
    }

    fn number(&mut self, records: Records) -> u32 {
        let (pool, rotations) = (&self.pool, &self.rotations);
        self.records.number(records, || {
            let rotation = records.rotation.map(|it| &rotations.things[it as usize]);
            let journal = pool.journal(&records, rotation);
            let trusted = |generation: &Option<Gen>| {
                generation.is_some_and(|it| it.status.is_trusted() && it.made)
            };
            let roots = records.roots.iter().zip([1, 2]);
            let roots = roots.filter(|(root, _)| trusted(root));
            let crossed =
                |signer| presented(&journal, signer, now()).is_some_and(|it| it.len() > 1);
            Read {
                bundle: Bundle(roots.map(|(_, bit)| bit).sum()),
                signer: journal.active(Level::Signer).map(|it| it.number as u8),
                crossed: [crossed(1), crossed(2)],
                decoder: Decoder::new(&journal, now()),
                journal,
                records,
            }
        })
    }

    /// The number of a rotation as it is so many steps later.
    fn rotation_number(&mut self, record: &RotationRecord, steps: u8) -> u32 {
        let record = age::aged(record, steps);
        let key = serde_json::to_string(&record).unwrap();
        self.rotations.number(key, || record)
    }

    fn journal(&self, state: &State) -> &Journal {
        &self.records.things[state.records as usize].journal
    }

    /// What a process sees that looks now.
    fn observe(&mut self, state: &State) -> Observed {
        let read = &self.records.things[state.records as usize];
        let mut clusters = std::collections::BTreeMap::new();
        for (n, cluster) in state.clusters.iter().enumerate() {
            let name = self.pool.relay.clusters[n].name.to_string();
            let age = match self.setup.mistake.ageless {
                true => age::OLDEST,
                false => cluster.age(),
            };
            let seen = match cluster.away {
                true => Err(ClusterError::Unavailable {
                    cluster: name.clone(),
                    operation: "list".to_owned(),
                    reason: "no route to the cluster".to_owned(),
                }),
                false => Ok(self
                    .states
                    .entry((state.records, n, cluster.held, cluster.age()))
                    .or_insert_with(|| {
                        self.pool.cluster(
                            &read.decoder,
                            n,
                            cluster.held,
                            now() - STEP * i32::from(age),
                        )
                    })
                    .clone()),
            };
            clusters.insert(name, seen);
        }
        Observed {
            journal: read.journal.clone(),
            clusters,
            keys: Vec::new(),
            providers: Default::default(),
            evidence: Evidence::default(),
        }
    }

    /// The number of the plan for what is there now.
    fn plan(&mut self, state: &State, part: Part) -> u32 {
        let key = (
            state.records,
            state
                .clusters
                .map(|cluster| (cluster.held, cluster.age(), cluster.away)),
            part,
        );
        if let Some(known) = self.plans.numbers.get(&key) {
            return *known;
        }
        let mut observed = self.observe(state);
        let name = |n: usize| self.pool.relay.clusters[n].name.as_str();
        if let Part::Cluster(n) = part {
            let seen = |cluster: &str| cluster == name(0) || cluster == name(n);
            observed.clusters.retain(|cluster, _| seen(cluster));
        }
        let mut plan = plan(&self.pool.relay, &Goal::Reconcile, &observed, now());
        let bad = plan.problems.iter().find(|problem| !problem.unreachable);
        assert!(bad.is_none(), "{bad:?}");
        if let Some(mistake) = self.setup.mistake.plan {
            mistake(&mut plan, &observed);
        }
        let put = |step: &Step| matches!(step.action, Action::Put(_));
        match part {
            Part::Whole => {}
            Part::Home => plan.steps.retain(|step| step.cluster == name(0)),
            Part::Cluster(n) => {
                let first = plan.steps.iter().any(|step| !put(step) && !step.is_apart());
                plan.steps
                    .retain(|step| put(step) && step.cluster == name(n) && !first);
            }
        }
        let acts = plan.steps.iter().map(|step| {
            let mut clusters = self.pool.relay.clusters.iter();
            let cluster = clusters.position(|spec| spec.name.as_str() == step.cluster);
            self.act(&step.action, cluster.unwrap())
        });
        let acts: Vec<Act> = acts.collect::<Vec<_>>();
        assert!(acts.len() <= 32);
        self.plans.number(key, || acts)
    }

    fn act(&mut self, action: &Action, cluster: usize) -> Act {
        match action {
            Action::EstablishRoot { number, .. } => Act::Establish {
                level: Level::Root,
                number: *number,
                root: *number,
                cross: None,
            },
            Action::EstablishSigner {
                number,
                root,
                cross,
                ..
            } => Act::Establish {
                level: Level::Signer,
                number: *number,
                root: *root,
                cross: *cross,
            },
            Action::Advance(record) => Act::Advance(self.rotation_number(record, 0)),
            Action::Transition {
                level,
                number,
                status,
            } => Act::Transition(*level, *number, *status),
            Action::GiveUp(GivenUp {
                level,
                number,
                fate: Fate::Destroyed,
            }) => Act::Destroy(*level, *number),
            Action::Put(put) => {
                assert_eq!(put.precondition, Some(seen()), "nothing is ever missing");
                Act::Put(cluster, put.role, put.content)
            }
            other => panic!("{other:?}"),
        }
    }

    /// Writes a record, if nobody wrote it since this process looked.
    fn save(
        &mut self,
        state: &mut State,
        process: usize,
        object: u16,
        change: impl Fn(&mut Records),
    ) -> bool {
        let Some(mut flight) = state.flights[process] else {
            return false;
        };
        if flight.changed & object != 0 && !self.setup.mistake.unconditional {
            return false;
        }
        let mut own = self.records(flight.records);
        change(&mut own);
        flight.records = self.number(own);
        state.flights[process] = Some(flight);
        let mut records = self.records(state.records);
        change(&mut records);
        state.records = self.number(records);
        wrote(state, Some(process), object);
        true
    }

    /// The next thing that `process` does; `cluster` says where, if it works on several.
    fn step(&mut self, state: &State, process: usize, cluster: usize) -> State {
        let mut state = state.clone();
        let flight = state.flights[process].unwrap();
        let acts = &self.plans.things[flight.plan as usize];
        let next = (0..acts.len()).find(|n| {
            let of_cluster = match acts[*n] {
                Act::Put(at, ..) => at == cluster,
                _ => true,
            };
            flight.todo & 1 << n != 0 && of_cluster
        });
        let n = next.unwrap();
        match acts[n] {
            Act::Put(cluster, role, content) => {
                self.put(&mut state, process, n, (cluster, role, content));
            }
            act => match self.authority(&mut state, process, act) {
                Progress::More => {}
                Progress::Done => done(&mut state, process, n),
                Progress::Failed => state.flights[process] = None,
            },
        }
        self.tidy(&mut state, process);
        state
    }

    fn authority(&mut self, state: &mut State, process: usize, act: Act) -> Progress {
        let flight = state.flights[process].unwrap();
        let own = self.records(flight.records);
        let ended = |written: bool| match written {
            true => Progress::Done,
            false => Progress::Failed,
        };
        match act {
            Act::Establish {
                level,
                number,
                root,
                cross,
            } => {
                let object = object::generation(level, number);
                let before = own.generation(level, number);
                let mut made = before.unwrap_or(Gen {
                    status: Status::Prepared,
                    made: false,
                    crossed: Crossed::Unasked,
                });
                let certifies = |root| state.keys.has(Level::Root, root);
                let more = match before {
                    None => true,
                    Some(generation) if !generation.made => {
                        if !state.keys.has(level, number) {
                            if level == Level::Signer && !certifies(root) {
                                return Progress::Done;
                            }
                            state.keys.insert(level, number);
                            return Progress::More;
                        }
                        made.made = true;
                        if level == Level::Signer {
                            made.status = Status::Published;
                        }
                        level == Level::Signer && cross.is_some()
                    }
                    Some(generation) => {
                        let Some(old) = cross.filter(|_| generation.crossed == Crossed::Unasked)
                        else {
                            return Progress::Done;
                        };
                        made.crossed = match self.setup.crosses {
                            false => Crossed::Impossible,
                            true if certifies(old) => Crossed::Made,
                            true => return Progress::Done,
                        };
                        false
                    }
                };
                let change = |records: &mut Records| records.set(level, number, made);
                // What a rotation prepares concerns nobody yet: the rest of the plan goes on.
                match self.save(state, process, object, change) && more {
                    true => Progress::More,
                    false => Progress::Done,
                }
            }
            Act::Advance(number) => {
                let record = self.rotations.things[number as usize].clone();
                let number = self.rotation_number(&record, flight.age);
                let change = |records: &mut Records| records.rotation = Some(number);
                ended(self.save(state, process, object::ROTATION, change))
            }
            Act::Transition(level, number, status) => {
                let Some(mut generation) = own.generation(level, number) else {
                    return Progress::Done;
                };
                generation.status = status;
                let change = |records: &mut Records| records.set(level, number, generation);
                let object = object::generation(level, number);
                ended(self.save(state, process, object, change))
            }
            Act::Destroy(level, number) => {
                state.keys.remove(level, number);
                Progress::Done
            }
            Act::Put(..) => unreachable!(),
        }
    }

    /// Looks at the rotation once more, or writes a Secret.
    fn put(
        &mut self,
        state: &mut State,
        process: usize,
        n: usize,
        (cluster, role, content): (usize, SecretRole, Content),
    ) {
        let mistake = self.setup.mistake;
        let Some(mut flight) = state.flights[process] else {
            return;
        };
        if flight.checked & 1 << cluster == 0 {
            flight.checked |= 1 << cluster;
            state.flights[process] = Some(flight);
            if flight.changed & object::ROTATION != 0 && !mistake.unchecked {
                self.give_up(state, process, cluster);
                return;
            }
            // Where there is a stale leader, it is the other one.
            if process > 0 || self.setup.left.second == 0 {
                return;
            }
        }
        let object = object::secret(cluster, role);
        let moved = flight.changed & object != 0 && !mistake.unconditional;
        let read = &self.records.things[flight.records as usize];
        let mut held = state.clusters[cluster].held;
        let led = |signer: u8| Chain {
            signer,
            crossed: read.crossed[usize::from(signer) - 1],
        };
        match content {
            Content::Bundle => held.trust = read.bundle,
            Content::Keep => {}
            Content::Chain => held.tls.chain = led(held.tls.chain.signer),
            Content::Issue => match read.signer {
                Some(signer) if state.keys.has(Level::Signer, signer.into()) => {
                    held.tls.chain = led(signer);
                }
                _ => return self.give_up(state, process, cluster),
            },
            other => panic!("{other:?}"),
        }
        if role != SecretRole::Trust {
            held.tls.bundle = read.bundle;
        }
        if moved || state.clusters[cluster].away {
            return self.give_up(state, process, cluster);
        }
        if held != state.clusters[cluster].held {
            state.clusters[cluster].write(held);
            wrote(state, Some(process), object);
        }
        done(state, process, n);
    }

    /// A failure in a cluster ends the work on that cluster.
    fn give_up(&self, state: &mut State, process: usize, cluster: usize) {
        if let Some(flight) = &mut state.flights[process] {
            let acts = &self.plans.things[flight.plan as usize];
            for (n, act) in acts.iter().enumerate() {
                if matches!(act, Act::Put(at, ..) if *at == cluster) {
                    flight.todo &= !(1 << n);
                }
            }
        }
    }

    /// Forgets what makes no difference any more.
    fn tidy(&self, state: &mut State, process: usize) {
        let Some(flight) = &mut state.flights[process] else {
            return;
        };
        if flight.todo == 0 {
            state.flights[process] = None;
            return;
        }
        let acts = &self.plans.things[flight.plan as usize];
        let todo = acts.iter().enumerate();
        let todo = todo.filter(|(n, _)| flight.todo & 1 << n != 0);
        let (mut matters, mut checked, mut is_young) = (0, 0, false);
        for (_, act) in todo {
            matters |= match act {
                Act::Put(cluster, role, _) => {
                    let unchecked = flight.checked & 1 << cluster == 0;
                    checked |= 1 << cluster;
                    let rotation = if unchecked { object::ROTATION } else { 0 };
                    object::secret(*cluster, *role) | rotation
                }
                Act::Advance(_) => {
                    is_young = true;
                    object::ROTATION
                }
                Act::Establish { level, number, .. } | Act::Transition(level, number, _) => {
                    object::generation(*level, *number)
                }
                Act::Destroy(..) => 0,
            };
        }
        flight.changed &= matters;
        flight.checked &= checked;
        if !is_young {
            flight.age = 0;
        }
    }

    /// Where `process` can go on: first the CAs, then the management cluster, then all others.
    fn places(&self, flight: &Flight) -> Vec<usize> {
        let acts = &self.plans.things[flight.plan as usize];
        let todo = acts.iter().enumerate();
        let todo = todo.filter(|(n, _)| flight.todo & 1 << n != 0);
        let mut places = Vec::new();
        for (_, act) in todo {
            let place = match act {
                Act::Put(cluster, ..) => *cluster,
                _ => 0,
            };
            if !places.contains(&place) {
                places.push(place);
            }
        }
        match places.contains(&0) {
            true => vec![0],
            false => places,
        }
    }

    /// A person writes the rotation's record.
    fn by_hand(&mut self, state: &State, record: &RotationRecord) -> State {
        let mut state = state.clone();
        let number = self.rotation_number(record, 0);
        let mut records = self.records(state.records);
        records.rotation = Some(number);
        state.records = self.number(records);
        wrote(&mut state, None, object::ROTATION);
        for process in 0..state.flights.len() {
            self.tidy(&mut state, process);
        }
        state
    }

    fn begin(&mut self, state: &State, emergency: bool) -> Option<State> {
        let canary = self.setup.canary.iter().map(|it| (*it).to_owned());
        let request = Request {
            canary: canary.filter(|_| !emergency).collect(),
            emergency,
            ..super::super::world::request(self.setup.level)
        };
        let observed = self.recorded(state);
        match begin(&self.pool.relay, &observed, &request, now()) {
            Ok(Begun::New(record) | Begun::Escalated(record)) => Some(self.by_hand(state, &record)),
            _ => None,
        }
    }

    /// The records alone: what a person decides by.
    fn recorded(&mut self, state: &State) -> Observed {
        Observed {
            journal: self.journal(state).clone(),
            clusters: Default::default(),
            keys: Vec::new(),
            providers: Default::default(),
            evidence: Evidence::default(),
        }
    }

    fn steer(&mut self, state: &State, steering: &Steering) -> Option<State> {
        let observed = self.recorded(state);
        let record = steer(&self.pool.relay, &observed, steering, "carol", now()).ok()?;
        Some(self.by_hand(state, &record))
    }

    fn later(&mut self, state: &State) -> State {
        let mut state = state.clone();
        let mut records = self.records(state.records);
        if let Some(rotation) = self.rotation(state.records).cloned() {
            records.rotation = Some(self.rotation_number(&rotation, 1));
            state.records = self.number(records);
        }
        for cluster in &mut state.clusters {
            cluster.grow_old();
        }
        for process in 0..state.flights.len() {
            if let Some(flight) = state.flights[process] {
                let mut own = self.records(flight.records);
                if let Some(rotation) = self.rotation(flight.records).cloned() {
                    own.rotation = Some(self.rotation_number(&rotation, 1));
                }
                let records = self.number(own);
                state.flights[process] = Some(Flight {
                    records,
                    age: (flight.age + 1).min(age::OLDEST),
                    ..flight
                });
            }
            self.tidy(&mut state, process);
        }
        state
    }
}

enum Progress {
    More,
    Done,
    Failed,
}

fn done(state: &mut State, process: usize, n: usize) {
    if let Some(flight) = &mut state.flights[process] {
        flight.todo &= !(1 << n);
    }
}

/// What was written is not what the others saw.
fn wrote(state: &mut State, by: Option<usize>, object: u16) {
    for (n, flight) in state.flights.iter_mut().enumerate() {
        if let Some(flight) = flight.as_mut().filter(|_| by != Some(n)) {
            flight.changed |= object;
        }
    }
}

impl Model for Fleet {
    type State = State;
    type Action = Event;

    fn initial(&self) -> State {
        State {
            records: 0,
            keys: Keys::FIRST,
            clusters: [Cluster {
                held: Held::FIRST,
                stale: Default::default(),
                away: false,
            }; CLUSTERS],
            flights: [None; 2],
            left: self.setup.left,
        }
    }

    fn next(&mut self, state: &State, into: &mut Vec<(Event, State)>) {
        let setup = self.setup;
        let rotation = self.rotation(state.records).cloned();
        let Some(rotation) = rotation else {
            let begun = self.begin(state, false).unwrap();
            return into.push((Event::Begin, begun));
        };
        for process in 0..state.flights.len() {
            if let Some(flight) = state.flights[process] {
                for place in self.places(&flight) {
                    let next = self.step(state, process, place);
                    into.push((Event::Step(process, place), next));
                }
                if state.left.crashes > 0 {
                    let mut state = state.clone();
                    state.left.crashes -= 1;
                    state.flights[process] = None;
                    into.push((Event::Crash(process), state));
                }
                continue;
            }
            let mut take_off = |event, part, second| {
                let plan = self.plan(state, part);
                let steps = self.plans.things[plan as usize].len();
                if steps > 0 {
                    let mut state = state.clone();
                    state.left.second -= second;
                    state.flights[process] = Some(Flight {
                        plan,
                        todo: u32::MAX >> (32 - steps),
                        records: state.records,
                        changed: 0,
                        checked: 0,
                        age: 0,
                    });
                    into.push((event, state));
                }
            };
            match (process, setup.apart) {
                (0, false) => take_off(Event::Look(0), Part::Whole, 0),
                (0, true) => take_off(Event::Look(0), Part::Home, 0),
                (_, true) => {
                    for n in 1..CLUSTERS {
                        if !state.clusters[n].away {
                            take_off(Event::Round(n), Part::Cluster(n), 0);
                        }
                    }
                }
                (_, false) if state.left.second > 0 => {
                    take_off(Event::Look(process), Part::Whole, 1);
                }
                (_, false) => {}
            }
        }
        for n in 1..CLUSTERS {
            let mut next = state.clone();
            next.clusters[n].away = !state.clusters[n].away;
            if state.clusters[n].away {
                into.push((Event::Return(n), next));
            } else if state.left.losses > 0 && (n + 1 == CLUSTERS || state.left != setup.left) {
                next.left.losses -= 1;
                into.push((Event::Lose(n), next));
            }
        }
        let later = self.later(state);
        if later != *state {
            into.push((Event::Time, later));
        }
        if rotation.phase.is_over() {
            return;
        }
        let mut add = |event, next: Option<State>| {
            let next = next.filter(|next| next != state);
            into.extend(next.map(|next| (event, next)));
        };
        if setup.rollback {
            add(Event::Rollback, self.steer(state, &Steering::Rollback));
        }
        if setup.emergency && !rotation.emergency {
            add(Event::Emergency, self.begin(state, true));
        }
        if rotation.paused.is_some() {
            add(Event::Resume, self.steer(state, &Steering::Resume));
        } else if state.left.pauses > 0 {
            let paused = self.steer(state, &Steering::Pause).map(|mut state| {
                state.left.pauses -= 1;
                state
            });
            add(Event::Pause, paused);
        }
        if self.pool.relay.rotation.approval == crate::config::Approval::Manual {
            for phase in Phase::RUNNING {
                let known = |approval: &Approval| approval.phase == phase;
                if !rotation.approvals.iter().any(known) {
                    add(Event::Approve, self.steer(state, &Steering::Approve(phase)));
                }
            }
        }
        if state.left.waivers > 0 {
            for n in 1..CLUSTERS {
                let waive = Steering::Waive {
                    cluster: self.pool.relay.clusters[n].name.to_string(),
                    until: now() + STEP + SignedDuration::from_secs(1),
                    reason: String::new(),
                };
                let waived = self.steer(state, &waive).map(|mut state| {
                    state.left.waivers -= 1;
                    state
                });
                add(Event::Waive(n), waived);
            }
        }
    }

    fn violation(&mut self, state: &State) -> Option<String> {
        invariants::violation(self, state)
    }

    fn is_end(&mut self, state: &State) -> bool {
        let over = self
            .rotation(state.records)
            .is_some_and(|it| it.phase.is_over());
        let still = |cluster: &Cluster| !cluster.away;
        if !over || state.flights != [None; 2] || !state.clusters.iter().all(still) {
            return false;
        }
        let plan = self.plan(state, Part::Whole);
        self.plans.things[plan as usize].is_empty()
    }

    fn is_fault(event: Event) -> bool {
        !matches!(
            event,
            Event::Begin
                | Event::Look(_)
                | Event::Round(_)
                | Event::Step(..)
                | Event::Return(_)
                | Event::Time
                | Event::Resume
                | Event::Approve
        )
    }

    fn describe(&self, state: &State) -> String {
        let rotation = self.rotation(state.records);
        let rotation = rotation.map(|it| format!("{} {}", it.phase, it.direction));
        let clusters: Vec<String> = state.clusters.iter().map(|it| format!("{it:?}")).collect();
        let records = self.records(state.records);
        let gens = |gens: [Option<Gen>; 2]| gens.map(|it| it.map(|it| it.status.as_str()));
        format!(
            "{}; roots {:?}, signers {:?}; keys {:?}; {}",
            rotation.unwrap_or_default(),
            gens(records.roots),
            gens(records.signers),
            state.keys,
            clusters.join("; ")
        )
    }
}

impl Fleet {
    /// The records before anything begins. They have the number 0.
    pub(super) fn settle_in(&mut self) {
        let active = Some(Gen {
            status: Status::Active,
            made: true,
            crossed: Crossed::Unasked,
        });
        let first = Records {
            roots: [active, None],
            signers: [active, None],
            rotation: None,
        };
        assert_eq!(self.number(first), 0);
        // What the plan sees is what the model means.
        let observed = {
            let state = self.initial();
            self.observe(&state)
        };
        for state in observed.clusters.values() {
            assert_eq!(signer_of(state.as_ref().unwrap()), Some(1));
        }
    }
}

/// What is in a cluster once a rotation is over: that of the generation `number`.
pub(super) fn whole(level: Level, number: u8) -> Held {
    let bundle = match level {
        Level::Root => Bundle(number),
        Level::Signer => Bundle::FIRST,
    };
    Held {
        trust: bundle,
        tls: Tls {
            chain: Chain {
                signer: number,
                crossed: false,
            },
            bundle,
        },
    }
}
