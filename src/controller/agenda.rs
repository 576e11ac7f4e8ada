//! What has to be looked at, and when: the part of the controller that decides without doing.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

/// First pause after a failure; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// The clusters of one relay, by name, each with the time at which it is looked at next.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    /// When it is looked at next; never without a reason.
    at: Option<Instant>,
    /// Since when somebody wants it to be looked at: what was read before does not count.
    asked: Instant,
    running: bool,
    failures: u32,
}

/// How a look at a cluster went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// All is well; the next look is at this time.
    Settled(Instant),
    /// Something was done: it is looked at again, at once, to see that it holds.
    Acted,
    /// Nothing can be done before this time, and that is nobody's fault.
    Later(Instant),
    /// It failed.
    Failed,
}

impl Agenda {
    /// Has `names` on the agenda and nothing else. New ones are due at once.
    pub(super) fn set<'a>(&mut self, names: impl Iterator<Item = &'a str>, now: Instant) {
        let mut before = std::mem::take(&mut self.entries);
        for name in names {
            let entry = before.remove(name).unwrap_or(Entry {
                at: Some(now),
                asked: now,
                running: false,
                failures: 0,
            });
            self.entries.insert(name.to_owned(), entry);
        }
    }

    /// Wants a cluster to be looked at. One that fails keeps its pause: being asked more often does
    /// not make it answer.
    pub(super) fn ask(&mut self, name: &str, now: Instant) {
        if let Some(entry) = self.entries.get_mut(name) {
            entry.asked = now;
            entry.at = match (entry.at, entry.failures) {
                (Some(at), 1..) => Some(at),
                (Some(at), 0) => Some(at.min(now)),
                (None, _) => Some(now),
            };
        }
    }

    /// Wants all of them to be looked at.
    pub(super) fn ask_all(&mut self, now: Instant) {
        let names: Vec<String> = self.entries.keys().cloned().collect();
        for name in names {
            self.ask(&name, now);
        }
    }

    /// Forgets the failures of a cluster: there is reason to believe that it works again.
    pub(super) fn retry(&mut self, name: &str, now: Instant) {
        if let Some(entry) = self.entries.get_mut(name) {
            entry.failures = 0;
            entry.asked = now;
            entry.at = Some(now);
        }
    }

    /// The clusters that are due and not being looked at, the longest waiting first, with the time
    /// since when that is wanted and whether they failed last time.
    pub(super) fn ready(&self, now: Instant) -> Vec<(String, Instant, bool)> {
        let due = |entry: &Entry| entry.at.filter(|at| *at <= now && !entry.running);
        let mut ready: Vec<_> = self
            .entries
            .iter()
            .filter_map(|(name, entry)| Some((due(entry)?, name, entry)))
            .collect();
        ready.sort_by_key(|(at, ..)| *at);
        ready
            .into_iter()
            .map(|(_, name, entry)| (name.clone(), entry.asked, entry.failures > 0))
            .collect()
    }

    /// Whether a cluster failed when it was looked at last.
    pub(super) fn fails(&self, name: &str) -> bool {
        self.entries
            .get(name)
            .is_some_and(|entry| entry.failures > 0)
    }

    /// How many are being looked at that failed last time, or that did not.
    pub(super) fn running(&self, failing: bool) -> usize {
        let running = self.entries.values().filter(|entry| entry.running);
        running
            .filter(|entry| (entry.failures > 0) == failing)
            .count()
    }

    /// Notes, once more, how the last look at a cluster went: nobody has asked since.
    pub(super) fn settle(&mut self, name: &str, outcome: Outcome) {
        if let (Some(entry), Outcome::Settled(at)) = (self.entries.get_mut(name), outcome) {
            entry.at = Some(at);
        }
    }

    /// Notes that a cluster is being looked at.
    pub(super) fn started(&mut self, name: &str) {
        if let Some(entry) = self.entries.get_mut(name) {
            entry.running = true;
            entry.at = None;
        }
    }

    /// Notes how that went. Whoever asked meanwhile is answered by another look.
    pub(super) fn finished(&mut self, name: &str, outcome: Outcome, now: Instant) {
        let Some(entry) = self.entries.get_mut(name) else {
            return;
        };
        entry.running = false;
        let next = match outcome {
            Outcome::Settled(at) | Outcome::Later(at) => at,
            Outcome::Acted => now,
            Outcome::Failed => {
                // Doubling ends before it overflows.
                let doublings = entry.failures.min(8);
                let pause = FIRST_PAUSE * 2u32.pow(doublings);
                entry.failures = entry.failures.saturating_add(1);
                now + pause.min(LONGEST_PAUSE)
            }
        };
        if outcome == Outcome::Failed {
            entry.at = Some(next);
            return;
        }
        entry.failures = 0;
        entry.at = Some(entry.at.map_or(next, |asked| asked.min(next)));
    }

    /// When something is due next.
    pub(super) fn next(&self) -> Option<Instant> {
        let waiting = self.entries.values().filter(|entry| !entry.running);
        waiting.filter_map(|entry| entry.at).min()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn names(agenda: &Agenda, now: Instant) -> Vec<String> {
        let ready = agenda.ready(now).into_iter();
        ready.map(|(name, ..)| name).collect()
    }

    fn agenda(now: Instant) -> Agenda {
        let mut agenda = Agenda::default();
        agenda.set(["a", "b"].into_iter(), now);
        agenda
    }

    #[test]
    fn new_clusters_are_due_at_once_and_settled_ones_later() {
        let now = Instant::now();
        let mut agenda = agenda(now);
        assert_eq!(names(&agenda, now), ["a", "b"]);
        agenda.started("a");
        assert_eq!(
            (names(&agenda, now), agenda.running(false)),
            (vec!["b".to_owned()], 1)
        );
        agenda.finished("a", Outcome::Settled(now + HOUR), now);
        agenda.started("b");
        agenda.finished("b", Outcome::Acted, now);
        assert_eq!(names(&agenda, now), ["b"]);
        assert_eq!(agenda.next(), Some(now));
        assert_eq!(names(&agenda, now + HOUR), ["b", "a"]);
        agenda.set(["a", "c"].into_iter(), now);
        assert_eq!(names(&agenda, now), ["c"]);
    }

    #[test]
    fn who_asks_during_a_look_gets_another_one() {
        let now = Instant::now();
        let mut agenda = agenda(now);
        agenda.started("a");
        agenda.ask("a", now + Duration::from_secs(1));
        assert!(!names(&agenda, now + HOUR).contains(&"a".to_owned()));
        let later = now + Duration::from_secs(2);
        agenda.finished("a", Outcome::Settled(now + HOUR), later);
        assert!(names(&agenda, later).contains(&"a".to_owned()));
    }

    #[test]
    fn failures_are_repeated_less_and_less_often_however_often_somebody_asks() {
        let now = Instant::now();
        let mut agenda = agenda(now);
        let mut pauses = Vec::new();
        for _ in 0..12 {
            agenda.started("a");
            agenda.ask("a", now);
            agenda.finished("a", Outcome::Failed, now);
            agenda.ask("a", now);
            assert!(agenda.fails("a"));
            let at = agenda.entries["a"].at.unwrap();
            pauses.push(at.duration_since(now).as_secs());
        }
        assert_eq!(pauses[..4], [2, 4, 8, 16]);
        assert_eq!(pauses.last(), Some(&300));
        agenda.retry("a", now);
        assert!(names(&agenda, now).contains(&"a".to_owned()));
        assert!(!agenda.fails("a"));
    }
}
