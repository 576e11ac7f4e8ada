//! The machines behind an address.

use std::net::SocketAddr;

use crate::config::Address;

/// Most machines of one name that are asked.
const MOST: usize = 16;

/// Everybody who answers to a name: a headless Service has one address for each of its pods, and each of them
/// may have read its files at another time.
///
/// # Errors
///
/// Why nobody does, in words.
pub(super) async fn resolve(address: &Address) -> Result<Vec<SocketAddr>, String> {
    let found = tokio::net::lookup_host((address.host.as_str(), address.port)).await;
    let found = found.map_err(|error| format!("{} is not found: {error}", address.host))?;
    let mut found: Vec<SocketAddr> = found.collect();
    found.sort_unstable();
    found.dedup();
    match found.len() {
        0 => Err(format!("{} has no address", address.host)),
        1..=MOST => Ok(found),
        count => Err(format!(
            "{} has {count} addresses, and no more than {MOST} are asked",
            address.host
        )),
    }
}
