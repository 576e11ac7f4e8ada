//! R05: does every certificate say who its holder is, and nobody else?

use std::collections::{HashMap, HashSet};

use relay_pki_authority::x509::{Fingerprint, PeerRole};

use super::code;
use super::finding::Sink;
use super::leaf::Leaf;
use crate::config::Relay;

/// Every leaf that somebody presents.
pub(super) fn leaves(sink: &mut Sink, relay: &Relay, leaves: &[Leaf<'_>]) {
    let clusters: HashSet<&str> = relay
        .clusters
        .iter()
        .map(|spec| spec.name.as_str())
        .collect();
    let clients: Vec<&Leaf<'_>> = leaves
        .iter()
        .filter(|leaf| leaf.role == PeerRole::Client)
        .collect();
    let copies = copies(&clients);
    for client in &clients {
        let original = copies.get(&client.certificate().fingerprint());
        let original = original.filter(|original| **original != client.facts.name());
        sink.check(
            code::R0503,
            client.place(),
            original.map(|original| {
                let what = format!("{} is another cluster's too", client.name());
                (what, format!("{original} presents the same certificate"))
            }),
        );
        // Of a copy, that it is one says it all.
        if original.is_none() {
            names(sink, &clusters, client);
        }
    }
    keys(sink, &clients);
    for server in leaves.iter().filter(|leaf| leaf.role == PeerRole::Server) {
        let missing: Vec<String> = relay
            .server
            .names
            .iter()
            .filter(|name| !covers(server, name.as_str()))
            .map(ToString::to_string)
            .collect();
        sink.check(
            code::R0504,
            server.place(),
            (!missing.is_empty()).then(|| {
                let what = format!("{} does not cover {}", server.name(), missing.join(", "));
                (
                    what,
                    format!("it names {}", listed(server.certificate().dns_names())),
                )
            }),
        );
    }
}

/// A wildcard that is asked for has to be there itself.
fn covers(server: &Leaf<'_>, name: &str) -> bool {
    let certificate = server.certificate();
    let literally = || {
        certificate
            .dns_names()
            .iter()
            .any(|found| found.eq_ignore_ascii_case(name))
    };
    name.parse().is_ok_and(|host| certificate.covers(&host)) || literally()
}

/// Whose certificate it is that several clusters present: the cluster that it names, or else the
/// first.
fn copies<'a>(clients: &[&Leaf<'a>]) -> HashMap<Fingerprint, &'a str> {
    let mut holders: HashMap<Fingerprint, Vec<&Leaf<'a>>> = HashMap::new();
    for client in clients {
        let fingerprint = client.certificate().fingerprint();
        holders.entry(fingerprint).or_default().push(client);
    }
    holders
        .into_iter()
        .filter(|(_, holders)| holders.len() > 1)
        .filter_map(|(fingerprint, holders)| {
            let named = holders.iter().find(|holder| is_named(holder));
            let original = named.or(holders.first())?;
            Some((fingerprint, original.facts.name()))
        })
        .collect()
}

fn is_named(client: &Leaf<'_>) -> bool {
    let name = client.facts.name();
    client
        .certificate()
        .dns_names()
        .iter()
        .any(|found| found == name)
}

fn names(sink: &mut Sink, clusters: &HashSet<&str>, client: &Leaf<'_>) {
    let certificate = client.certificate();
    let name = client.facts.name();
    let found = certificate.dns_names();
    let evidence = || format!("it names {}, the cluster is {name}", listed(found));
    let named = sink.check(
        code::R0501,
        client.place(),
        (!is_named(client)).then(|| {
            let what = format!("{} does not name its cluster", client.name());
            (what, evidence())
        }),
    );
    if !named {
        return;
    }
    let others: Vec<&String> = found.iter().filter(|found| *found != name).collect();
    let foreign = others.iter().any(|other| clusters.contains(other.as_str()));
    sink.check(
        code::R0507,
        client.place(),
        foreign.then(|| {
            let what = format!("{} names another cluster too", client.name());
            (what, evidence())
        }),
    );
    let kinds = certificate.other_names();
    let more = !foreign && (!others.is_empty() || !kinds.is_empty());
    sink.check(
        code::R0506,
        client.place(),
        more.then(|| {
            let what = format!("{} carries more names than the cluster's", client.name());
            let kinds = kinds
                .iter()
                .map(|kind| format!(", and a name of another kind: {kind}"));
            (what, evidence() + &kinds.collect::<String>())
        }),
    );
    sink.check(
        code::R0502,
        client.place(),
        (certificate.common_name() != Some(name)).then(|| {
            let what = format!("the common name of {} is not the cluster's", client.name());
            let found = certificate.common_name().unwrap_or("none");
            (what, format!("it is {found}, the cluster is {name}"))
        }),
    );
}

/// Different certificates over one key.
fn keys(sink: &mut Sink, clients: &[&Leaf<'_>]) {
    let mut seen: HashMap<[u8; 32], &Leaf<'_>> = HashMap::new();
    for client in clients {
        let key = client.certificate().public_key().digest();
        let first = *seen.entry(key).or_insert(client);
        let shared = first.certificate() != client.certificate();
        sink.check(
            code::R0505,
            client.place(),
            shared.then(|| {
                let what = format!("the key of {} is another cluster's too", client.name());
                (what, format!("{} has the same key", first.facts.name()))
            }),
        );
    }
}

fn listed(names: &[String]) -> String {
    match names.is_empty() {
        true => "nobody".to_owned(),
        false => names.join(", "),
    }
}
