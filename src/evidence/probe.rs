//! Whether the live relay servers present what the rotation wants, and whether every bundle in use leads to it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use futures::StreamExt as _;
use futures::future::{BoxFuture, FutureExt as _};
use jiff::Timestamp;
use relay_pki_authority::x509::{
    BundleDigest, Certificate, CertificateChain, PeerRole, TrustBundle, verify_path,
};
use rustls::pki_types::ServerName;

use super::{ASIDE, Found, PATIENCE, address, handshake, open};
use crate::config::Address;
use crate::engine::{Fleet, Observed};
use crate::journal::{Journal, RotationRecord};
use crate::rotation::{certificates, presented};

/// Asks every relay server that the document says the address of, side by side.
pub(super) async fn gather(fleet: &Fleet, observed: &Observed, record: &RotationRecord) -> Found {
    let relay = &fleet.relay;
    let name = relay.server.names.first().map(|name| name.as_str());
    let name = name.and_then(|name| ServerName::try_from(name.to_owned()).ok());
    let Some(name) = name else {
        return Found::new();
    };
    let mut asked: Vec<BoxFuture<'_, _>> = Vec::new();
    for spec in relay.management() {
        if let Some(at) = spec.relay_server.address.as_ref() {
            let answer = ask(at, &name);
            asked.push(async move { (spec.name.as_str(), at, answer.await) }.boxed());
        }
    }
    let mut answers = futures::stream::iter(asked).buffer_unordered(ASIDE);
    let question = Question {
        journal: &observed.journal,
        record,
        bundles: bundles(observed, record),
        name: &name,
        now: fleet.clock.now(),
    };
    let mut found = Found::new();
    while let Some((cluster, at, answer)) = answers.next().await {
        let objections = match answer {
            Err(reason) => vec![format!(
                "its relay server at {at} cannot be probed: {reason}"
            )],
            Ok(machines) => machines
                .into_iter()
                .filter_map(|(machine, chain)| {
                    let objection = match chain {
                        Err(reason) => Some(format!("cannot be probed: {reason}")),
                        Ok(chain) => question.objection(&chain),
                    };
                    objection.map(|what| format!("its relay server at {machine} ({at}) {what}"))
                })
                .collect(),
        };
        found.extend(objections.into_iter().map(|what| open(cluster, what)));
    }
    found
}

type Machine = (SocketAddr, Result<CertificateChain, String>);

/// What each machine behind an address presents.
async fn ask(at: &Address, name: &ServerName<'static>) -> Result<Vec<Machine>, String> {
    let late = |_| format!("no answer within {} s", PATIENCE.as_secs());
    let machines = tokio::time::timeout(PATIENCE, address::resolve(at)).await;
    let machines = machines.map_err(late)??;
    let shaken = machines.into_iter().map(|machine| async move {
        let presented = handshake::presented(machine, name);
        let presented = tokio::time::timeout(PATIENCE, presented).await;
        (machine, presented.map_err(late).and_then(|it| it))
    });
    Ok(futures::future::join_all(shaken).await)
}

/// A bundle, and who holds it.
struct InUse<'a> {
    bundle: Arc<TrustBundle>,
    clusters: Vec<&'a str>,
}

/// Every bundle that an agent verifies a relay server with, as its cluster's Secrets have it now. A cluster
/// that is waived is not waited for.
fn bundles<'a>(
    observed: &'a Observed,
    record: &RotationRecord,
) -> BTreeMap<BundleDigest, InUse<'a>> {
    let mut bundles: BTreeMap<BundleDigest, InUse<'_>> = BTreeMap::new();
    let clusters = observed.clusters.iter();
    for (name, state) in clusters.filter(|(name, _)| !record.waivers.contains_key(*name)) {
        let Ok(state) = state else { continue };
        let trust = state.trust.as_ref().and_then(|it| it.content.as_ref().ok());
        let trust = trust.map(|trust| (trust.digest, &trust.bundle));
        let client = state.client.as_ref();
        let client = client.and_then(|it| it.content.as_ref().ok());
        let client = client.map(|client| (client.digest, &client.bundle));
        for (digest, bundle) in trust.into_iter().chain(client) {
            let in_use = bundles.entry(digest).or_insert_with(|| InUse {
                bundle: bundle.clone(),
                clusters: Vec::new(),
            });
            if in_use.clusters.last() != Some(&name.as_str()) {
                in_use.clusters.push(name);
            }
        }
    }
    bundles
}

/// What a chain is held against.
struct Question<'a> {
    journal: &'a Journal,
    record: &'a RotationRecord,
    bundles: BTreeMap<BundleDigest, InUse<'a>>,
    name: &'a ServerName<'a>,
    now: Timestamp,
}

impl Question<'_> {
    /// What is wrong with what a server presents.
    fn objection(&self, chain: &CertificateChain) -> Option<String> {
        self.other_signer(chain).or_else(|| self.refused(chain))
    }

    fn other_signer(&self, chain: &CertificateChain) -> Option<String> {
        let wanted = self.record.servers()?;
        let mut signers = self.journal.signers.iter();
        let signed = |certificate: &Certificate| chain.leaf().is_issued_by(certificate);
        let found = signers.find(|(_, kept)| certificates(&kept.record).any(signed));
        match found {
            None => Some(format!(
                "presents a certificate that is not of signer g{wanted}"
            )),
            Some((found, _)) if *found != wanted => Some(format!(
                "presents a certificate of signer g{found}, not of signer g{wanted} yet"
            )),
            Some(_) => {
                let above = presented(self.journal, wanted, self.now)?;
                (above != chain.intermediates()).then(|| {
                    format!("does not present the right certificates of signer g{wanted} yet")
                })
            }
        }
    }

    /// Who would not accept the server.
    fn refused(&self, chain: &CertificateChain) -> Option<String> {
        self.bundles.values().find_map(|in_use| {
            let bundle = &in_use.bundle;
            let accepted = handshake::accepts(bundle, chain, self.name).and_then(|()| {
                let verified = verify_path(chain, bundle, PeerRole::Server, self.now);
                verified.map_err(|error| error.to_string())
            });
            let reason = accepted.err()?;
            let (first, more) = in_use.clusters.split_first()?;
            let more = match more.len() {
                0 => String::new(),
                count => format!(" and {count} more"),
            };
            Some(format!(
                "presents a chain that {first}{more} would refuse: {reason}"
            ))
        })
    }
}
