//! How often somebody may ask: tables that never grow beyond their bound.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Most entries of a table. Whoever is not in a full one shares an entry with all others who are not.
const ENTRIES: usize = 16_384;

/// A rate: so many at once, and one more each `every`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many at once.
    pub burst: u32,
    /// After how long there is one more.
    pub every: Duration,
}

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// Certificates of one cluster.
    pub certificates: Rate,
}

impl Rate {
    /// So many at once, and so many in a minute.
    pub(super) fn per_minute(count: u32) -> Self {
        let burst = count.max(1);
        Self {
            burst,
            every: Duration::from_secs(60) / burst,
        }
    }
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            certificates: Rate {
                burst: 10,
                every: Duration::from_secs(30),
            },
        }
    }
}

/// Who asked how often.
pub(super) struct Limits {
    rates: Rates,
    /// Refused requests of one address. Requests that are granted do not count: a whole fleet may come
    /// from one address.
    offences: Table<IpAddr>,
    certificates: Table<String>,
}

impl Limits {
    pub(super) fn new(rates: Rates) -> Self {
        Self {
            rates,
            offences: Table::default(),
            certificates: Table::default(),
        }
    }

    /// How long an address that offended too often has to wait.
    pub(super) fn barred(&self, source: IpAddr, rate: Rate) -> Option<Duration> {
        self.offences.wait(&network(source), rate, Instant::now())
    }

    /// Counts a refused request.
    pub(super) fn offended(&self, source: IpAddr, rate: Rate) {
        self.offences.count(&network(source), rate, Instant::now());
    }

    /// Counts a certificate for a cluster, or tells how long it has to wait for one.
    pub(super) fn certificate(&self, cluster: &str) -> Result<(), Duration> {
        let (cluster, now) = (cluster.to_owned(), Instant::now());
        let rate = self.rates.certificates;
        match self.certificates.wait(&cluster, rate, now) {
            Some(wait) => Err(wait),
            None => {
                self.certificates.count(&cluster, rate, now);
                Ok(())
            }
        }
    }
}

/// Whoever has one address of IPv6 has 2^64 of them.
fn network(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
        address => address,
    }
}

/// The generic cell rate algorithm: of each key only the instant is kept at which it is as if it had
/// never asked.
struct Table<K> {
    entries: Mutex<Entries<K>>,
}

struct Entries<K> {
    known: HashMap<K, Instant>,
    /// Of all who found no place.
    others: Option<Instant>,
}

impl<K> Default for Table<K> {
    fn default() -> Self {
        Self {
            entries: Mutex::new(Entries {
                known: HashMap::new(),
                others: None,
            }),
        }
    }
}

impl<K: Eq + Hash + Clone> Table<K> {
    /// How long `key` has to wait, if it has to.
    fn wait(&self, key: &K, rate: Rate, now: Instant) -> Option<Duration> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let full = entries.known.len() >= ENTRIES;
        let known = entries.known.get(key).copied();
        let clean = known.or(entries.others.filter(|_| full))?;
        let slack = rate.every * rate.burst.saturating_sub(1);
        let wait = clean.saturating_duration_since(now).saturating_sub(slack);
        (!wait.is_zero()).then_some(wait)
    }

    fn count(&self, key: &K, rate: Rate, now: Instant) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.known.len() >= ENTRIES && !entries.known.contains_key(key) {
            entries.known.retain(|_, clean| *clean > now);
        }
        let room = entries.known.len() < ENTRIES || entries.known.contains_key(key);
        let clean = match room {
            true => entries.known.entry(key.clone()).or_insert(now),
            false => entries.others.get_or_insert(now),
        };
        *clean = (*clean).max(now) + rate.every;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const RATE: Rate = Rate {
        burst: 3,
        every: Duration::from_secs(10),
    };

    #[test]
    fn a_burst_and_then_one_at_a_time() {
        let table = Table::default();
        let start = Instant::now();
        for _ in 0..3 {
            assert_eq!(table.wait(&"a", RATE, start), None);
            table.count(&"a", RATE, start);
        }
        assert_eq!(table.wait(&"a", RATE, start), Some(RATE.every));
        assert_eq!(table.wait(&"b", RATE, start), None);
        let later = start + RATE.every;
        assert_eq!(table.wait(&"a", RATE, later), None);
        table.count(&"a", RATE, later);
        assert!(table.wait(&"a", RATE, later).is_some());
    }

    #[test]
    fn a_full_table_does_not_grow_and_lets_nobody_through_who_would_be_stopped() {
        let table = Table::default();
        let start = Instant::now();
        for key in 0..ENTRIES + 100 {
            table.count(&key, RATE, start);
        }
        assert_eq!(table.entries.lock().unwrap().known.len(), ENTRIES);
        assert!(table.wait(&(ENTRIES + 500), RATE, start).is_some());
        // Whoever has been quiet makes room.
        let later = start + RATE.every * 2000;
        table.count(&usize::MAX, RATE, later);
        assert_eq!(table.entries.lock().unwrap().known.len(), 1);
    }

    #[test]
    fn a_network_of_ipv6_is_one_source() {
        let address = |text: &str| -> IpAddr { text.parse().unwrap() };
        assert_eq!(
            network(address("2001:db8::1")),
            network(address("2001:db8::ffff:1"))
        );
        assert_ne!(network(address("10.0.0.1")), network(address("10.0.0.2")));
        assert_eq!(
            network(address("::ffff:10.0.0.1")),
            network(address("10.0.0.1"))
        );
    }
}
