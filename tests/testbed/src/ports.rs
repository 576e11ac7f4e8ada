//! Free ports of the loopback interface.

use std::collections::BTreeSet;
use std::hash::{BuildHasher as _, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Mutex;

/// Below the range that outgoing connections take their ports from: a server that is restarted finds
/// its port free.
const RANGE: std::ops::Range<u16> = 12_000..32_000;

/// A port on which nothing listens, and that this process has not been given before.
pub(crate) fn free() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut given = GIVEN.lock().unwrap();
    let seeds = RandomState::new();
    let candidates = (0..1000_u32).map(|attempt| {
        let span = u64::from(RANGE.end - RANGE.start);
        let offset = seeds.hash_one(attempt) % span;
        RANGE.start + u16::try_from(offset).unwrap()
    });
    let port = candidates
        .filter(|port| !given.contains(port))
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .expect("a free port on the loopback interface");
    given.insert(port);
    port
}
