//! Every state that a model can get into, breadth first: the first counterexample is a shortest one.
//!
//! Our own and not stateright (0.31): what has to hold in the end is asked for from *every* state,
//! over paths with cycles (a phase waits, a cluster comes and goes), which its `eventually` leaves out;
//! and it brings a web server along whether it is asked for or not. States are compared as they
//! are, not by a digest.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// More states than this are a model that nobody thought through.
const MOST: usize = 40_000_000;

/// Something with states.
pub(super) trait Model {
    /// All that there is at one instant.
    type State: Clone + Eq + Hash;
    /// What leads from one state to the next.
    type Action: Copy + fmt::Debug;

    fn initial(&self) -> Self::State;
    /// Everything that can happen next.
    fn next(&mut self, state: &Self::State, into: &mut Vec<(Self::Action, Self::State)>);
    /// What must not be, and is.
    fn violation(&mut self, state: &Self::State) -> Option<String>;
    /// Whether everything is over and well.
    fn is_end(&mut self, state: &Self::State) -> bool;
    /// Whether the action is a fault, or somebody's whim: nothing that brings it to an end.
    fn is_fault(action: Self::Action) -> bool;
    /// A state in words, for a counterexample.
    fn describe(&self, state: &Self::State) -> String;
}

/// What was found.
pub(super) struct Explored {
    pub(super) states: usize,
    pub(super) transitions: usize,
    pub(super) ends: usize,
    /// Actions on the shortest path to the state that is farthest away.
    pub(super) depth: usize,
    pub(super) took: Duration,
    pub(super) counterexample: Option<Counterexample>,
}

/// How it comes to what must not be.
pub(super) struct Counterexample {
    pub(super) what: String,
    pub(super) actions: Vec<String>,
    state: String,
}

impl fmt::Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}, after {} actions:", self.what, self.actions.len())?;
        for (n, action) in self.actions.iter().enumerate() {
            writeln!(f, "  {:2}. {action}", n + 1)?;
        }
        write!(f, "  {}", self.state)
    }
}

impl fmt::Display for Explored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} states, {} transitions, {} ends, depth {}, {:.1} s",
            self.states,
            self.transitions,
            self.ends,
            self.depth,
            self.took.as_secs_f64()
        )
    }
}

/// How a state was come to first.
struct Arrival<A> {
    from: u32,
    by: Option<A>,
    depth: u32,
}

/// Goes through every state, unless one of them must not be.
pub(super) fn explore<M: Model>(model: &mut M) -> Explored {
    let begin = Instant::now();
    let mut known: HashMap<M::State, u32> = HashMap::new();
    let mut arrivals: Vec<Arrival<M::Action>> = Vec::new();
    let mut queue = VecDeque::new();
    // From where to where without a fault, for the way back from the ends.
    let mut sound: Vec<(u32, u32)> = Vec::new();
    let mut ends = Vec::new();
    let mut transitions = 0;
    let mut found = None;
    let initial = model.initial();
    known.insert(initial.clone(), 0);
    arrivals.push(Arrival {
        from: 0,
        by: None,
        depth: 0,
    });
    queue.push_back((0, initial));
    let mut next = Vec::new();
    'all: while let Some((id, state)) = queue.pop_front() {
        if model.is_end(&state) {
            ends.push(id);
        }
        assert!(known.len() < MOST, "more than {MOST} states");
        next.clear();
        model.next(&state, &mut next);
        for (action, state) in next.drain(..) {
            transitions += 1;
            let to = match known.get(&state) {
                Some(to) => *to,
                None => {
                    let to = u32::try_from(arrivals.len()).unwrap();
                    let depth = arrivals[id as usize].depth + 1;
                    let by = Some(action);
                    arrivals.push(Arrival {
                        from: id,
                        by,
                        depth,
                    });
                    if let Some(what) = model.violation(&state) {
                        found = Some((what, to, model.describe(&state)));
                        break 'all;
                    }
                    known.insert(state.clone(), to);
                    queue.push_back((to, state));
                    to
                }
            };
            if !M::is_fault(action) {
                sound.push((id, to));
            }
        }
    }
    if found.is_none()
        && let Some(stuck) = stuck(arrivals.len(), &sound, &ends)
    {
        let state = known.iter().find(|(_, id)| **id == stuck);
        let state = state.map(|(state, _)| model.describe(state));
        let what = "nothing leads from here to an end".to_owned();
        found = Some((what, stuck, state.unwrap_or_default()));
    }
    let counterexample = found.map(|(what, id, state)| Counterexample {
        what,
        actions: path(&arrivals, id),
        state,
    });
    Explored {
        states: arrivals.len(),
        transitions,
        ends: ends.len(),
        depth: arrivals.iter().map(|it| it.depth).max().unwrap_or(0) as usize,
        took: begin.elapsed(),
        counterexample,
    }
}

fn path<A: Copy + fmt::Debug>(arrivals: &[Arrival<A>], mut id: u32) -> Vec<String> {
    let mut actions = Vec::new();
    while let Some(action) = arrivals[id as usize].by {
        actions.push(format!("{action:?}"));
        id = arrivals[id as usize].from;
    }
    actions.reverse();
    actions
}

/// The nearest state from which no end can be reached without a fault.
fn stuck(states: usize, sound: &[(u32, u32)], ends: &[u32]) -> Option<u32> {
    // The transitions by where they lead to.
    let mut first = vec![0_usize; states + 2];
    for (_, to) in sound {
        first[*to as usize + 2] += 1;
    }
    for n in 2..first.len() {
        first[n] += first[n - 1];
    }
    let mut from = vec![0_u32; sound.len()];
    for (source, to) in sound {
        let place = &mut first[*to as usize + 1];
        from[*place] = *source;
        *place += 1;
    }
    let mut reaches = vec![false; states];
    let mut queue: Vec<u32> = ends.to_vec();
    for end in ends {
        reaches[*end as usize] = true;
    }
    while let Some(id) = queue.pop() {
        for source in &from[first[id as usize]..first[id as usize + 1]] {
            if !std::mem::replace(&mut reaches[*source as usize], true) {
                queue.push(*source);
            }
        }
    }
    let stuck = reaches.iter().position(|reaches| !reaches)?;
    u32::try_from(stuck).ok()
}
