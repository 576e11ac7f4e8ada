//! R02: does every party accept what every other one presents?

mod paths;

use relay_pki_authority::x509::{Certificate, PeerRole};

use super::authorities::{Authorities, is_self_issued};
use super::code;
use super::finding::{Place, Renewal, Sink};
use super::inventory::{Bundle, Chain, ClusterFacts, Inventory, Part, Secret, TlsFacts};
use super::leaf::{Leaf, role_name};
use super::profile;
use crate::config::{Delivery, Role};
use crate::relay::{CA_CERT, SecretRole, TLS_CERT, TLS_KEY};

pub(super) use paths::{Paths, Verdict};

/// What is in each Secret, for itself.
pub(super) fn contents(sink: &mut Sink, inventory: &Inventory, authorities: &Authorities) {
    for facts in &inventory.clusters {
        if let Some(secret) = &facts.trust {
            let parts = [(CA_CERT, objection(&secret.content.bundle))];
            unusable(sink, facts, secret, &parts);
        }
        for (role, secret) in facts.tls() {
            // A Secret in the wrong cluster is R0101's or R0109's; nothing reads it.
            if role != SecretRole::Client && facts.spec.role == Role::Workload {
                continue;
            }
            tls(sink, facts, role, secret);
            if role == SecretRole::Signing {
                signing(sink, facts, secret, authorities);
            }
        }
    }
    anchors(sink, authorities);
}

fn tls(sink: &mut Sink, facts: &ClusterFacts, role: SecretRole, secret: &Secret<TlsFacts>) {
    let content = &secret.content;
    let agent = facts.spec.agent.as_ref();
    let server_signed = agent.is_some_and(|agent| agent.delivery == Delivery::ServerSigned);
    let place = Place {
        renewal: match role {
            SecretRole::Signing => Renewal::Signer,
            SecretRole::Server => Renewal::Server,
            _ if server_signed => Renewal::ServerSigned,
            _ => Renewal::Agent,
        },
        ..place(facts, secret)
    };
    let leaf = content.chain.here().map(|chain| &chain.leaf);
    // The key of a weak or foreign type cannot be read; R0701 or R0702 says so.
    let readable = leaf.is_none_or(|leaf| leaf.public_key().key_type().is_ok());
    let key = match &content.key {
        Part::Broken(_) if !readable => None,
        key => objection(key),
    };
    let parts = [
        (TLS_CERT, objection(&content.chain)),
        (TLS_KEY, key),
        (CA_CERT, objection(&content.bundle)),
    ];
    unusable(sink, facts, secret, &parts);
    if let (Some(leaf), Some(key)) = (leaf, content.key.here()) {
        sink.ensure(code::R0203, place, leaf.public_key() == key, || {
            format!(
                "{TLS_KEY} in {} does not belong to {TLS_CERT}",
                secret.about.name
            )
        });
    }
    if let Some(chain) = content.chain.here() {
        carried(sink, place, &secret.about.name, chain);
    }
}

/// What is wrong with an entry.
fn objection<T>(part: &Part<T>) -> Option<String> {
    match part {
        Part::Absent => Some("missing or empty".to_owned()),
        Part::Broken(reason) => Some(reason.clone()),
        Part::Here(_) => None,
    }
}

fn unusable<T>(
    sink: &mut Sink,
    facts: &ClusterFacts,
    secret: &Secret<T>,
    parts: &[(&str, Option<String>)],
) {
    let broken: Vec<(&str, &String)> = parts
        .iter()
        .filter_map(|(name, objection)| Some((*name, objection.as_ref()?)))
        .collect();
    let names: Vec<&str> = broken.iter().map(|(name, _)| *name).collect();
    let reasons: Vec<String> = broken
        .iter()
        .map(|(name, reason)| match reason.starts_with(name) {
            true => (*reason).clone(),
            false => format!("{name} is {reason}"),
        })
        .collect();
    sink.check(
        code::R0204,
        place(facts, secret),
        (!broken.is_empty()).then(|| {
            let what = format!("{} has no usable {}", secret.about.name, names.join(", "));
            (what, reasons.join("; "))
        }),
    );
}

/// Every certificate that is carried along has to be the issuer of an earlier one.
pub(super) fn carried(sink: &mut Sink, place: Place<'_>, name: &str, chain: &Chain) {
    let mut below: Vec<&Certificate> = vec![&chain.leaf];
    let mut stray = None;
    for certificate in chain.above.iter() {
        // Or another certificate of the same CA: a signer under the old root and under the new one.
        let issues = |lower: &&Certificate| {
            lower.raw_issuer() == certificate.raw_subject()
                || (lower.raw_subject() == certificate.raw_subject()
                    && lower.public_key() == certificate.public_key())
        };
        if !below.iter().any(issues) || below.contains(&certificate) {
            stray.get_or_insert(certificate);
        }
        below.push(certificate);
    }
    sink.check(
        code::R0208,
        place,
        stray.map(|stray| {
            let what = format!("the chain in {name} carries certificates that are not part of it");
            (
                what,
                format!("{} issued none of those before it", stray.subject()),
            )
        }),
    );
    let root = chain.above.iter().find(|found| is_self_issued(found));
    sink.check(
        code::R0209,
        place,
        root.map(|root| {
            let what = format!("the chain in {name} carries its root");
            (what, root.subject().to_owned())
        }),
    );
}

fn signing(
    sink: &mut Sink,
    facts: &ClusterFacts,
    secret: &Secret<TlsFacts>,
    authorities: &Authorities,
) {
    let Some(chain) = secret.content.chain.here() else {
        return;
    };
    let place = place(facts, secret);
    let name = &secret.about.name;
    let ca = &chain.leaf;
    let server = facts
        .server
        .as_ref()
        .and_then(|server| server.content.chain.here());
    let able = sink.check(
        code::R0205,
        place,
        (!profile::can_sign(ca)).then(|| {
            let what = format!("the certificate in {name} cannot sign");
            let evidence = match server {
                Some(server) if server.leaf == *ca => "it is the relay server's certificate",
                _ if ca.is_ca() => "its key usage lacks keyCertSign",
                _ => "it is not a CA's",
            };
            (what, evidence.to_owned())
        }),
    );
    if !able {
        return;
    }
    let led = |bundle: &Bundle| leads_to(chain, bundle, authorities);
    if let Some(bundle) = secret.content.bundle.here() {
        sink.check(
            code::R0206,
            place,
            (!led(bundle)).then(|| {
                let what = format!("the signer in {name} does not lead to a root in its ca.crt");
                (
                    what,
                    format!("{} was issued by {}", ca.subject(), ca.issuer()),
                )
            }),
        );
    }
    let server = facts.server.as_ref();
    if let Some(bundle) = server.and_then(|server| server.content.bundle.here()) {
        let own = secret.content.bundle.here();
        // One fault, one finding: if both bundles are the same, R0206 has said it.
        let same = own.is_some_and(|own| own.digest == bundle.digest);
        sink.ensure(code::R0207, place, same || led(bundle), || {
            format!("what the signer in {name} signs, the relay server would refuse")
        });
    }
}

/// Whether signatures lead from a CA to an anchor. Validity periods are R03's, usages R07's.
fn leads_to(chain: &Chain, bundle: &Bundle, authorities: &Authorities) -> bool {
    let anchors = bundle.anchors.anchors();
    let mut certificate = &chain.leaf;
    for _ in 0..=chain.above.len() {
        if anchors.contains(certificate) || anchors.iter().any(|found| issued(certificate, found)) {
            return true;
        }
        let mut above = chain.above.iter();
        match above.find(|found| *found != certificate && issued(certificate, found)) {
            Some(next) => certificate = next,
            None => break,
        }
    }
    // A mismatch of key identifiers, or a signature that nobody accepts, is said elsewhere.
    let index = authorities.find(&chain.leaf);
    let mut way = authorities.way_up(index).skip(1);
    profile::breaks_paths(&chain.leaf) || way.any(|above| profile::breaks_paths(&above.certificate))
}

fn issued(certificate: &Certificate, issuer: &Certificate) -> bool {
    certificate.raw_issuer() == issuer.raw_subject()
        && certificate.is_signed_by(issuer.public_key())
}

fn anchors(sink: &mut Sink, authorities: &Authorities) {
    for (_, authority) in authorities.iter() {
        let Some((cluster, object)) = &authority.anchor else {
            continue;
        };
        let certificate = &authority.certificate;
        let root = authority.is_root() && certificate.is_ca();
        sink.check(
            code::R0210,
            Place::new(cluster, object),
            (!root).then(|| {
                let subject = certificate.subject();
                let evidence = match certificate.is_ca() {
                    true => format!("it was issued by {}", certificate.issuer()),
                    false => "it is not a CA's".to_owned(),
                };
                (format!("{subject} in a trust bundle is no root"), evidence)
            }),
        );
    }
}

/// Both directions, for every pair of server and agent.
pub(super) fn handshakes(
    sink: &mut Sink,
    inventory: &Inventory,
    leaves: &[Leaf<'_>],
    paths: &mut Paths<'_>,
) {
    let servers: Vec<&Leaf<'_>> = distinct(leaves, PeerRole::Server);
    let agents = inventory
        .clusters
        .iter()
        .filter(|facts| facts.spec.agent.is_some());
    for facts in agents {
        let Some((about, bundle)) = facts.accepted_by_agent() else {
            continue;
        };
        let place = Place::new(facts.name(), &about.place);
        for server in &servers {
            let refused = refusal(paths, server, bundle);
            sink.check(
                code::R0201,
                place,
                refused.map(|reason| {
                    let from = server.facts.name();
                    let what = format!("{} does not accept the server of {from}", about.name);
                    (what, reason)
                }),
            );
        }
    }
    let mut bundles: Vec<(&ClusterFacts, &Bundle)> = Vec::new();
    for facts in &inventory.clusters {
        let server = facts
            .server
            .as_ref()
            .filter(|_| facts.spec.role == Role::Management);
        if let Some(bundle) = server.and_then(|server| server.content.bundle.here())
            && !bundles
                .iter()
                .any(|(_, found)| found.digest == bundle.digest)
        {
            bundles.push((facts, bundle));
        }
    }
    let clients = leaves.iter().filter(|leaf| leaf.role == PeerRole::Client);
    for client in clients {
        for (facts, bundle) in &bundles {
            let refused = refusal(paths, client, bundle);
            sink.check(
                code::R0202,
                client.place(),
                refused.map(|reason| {
                    let server = facts.name();
                    let what = format!("the server of {server} does not accept {}", client.name());
                    (what, reason)
                }),
            );
        }
    }
}

fn refusal(paths: &mut Paths<'_>, leaf: &Leaf<'_>, bundle: &Bundle) -> Option<String> {
    match paths.verify(leaf.chain, leaf.issuer, leaf.role, bundle) {
        Verdict::Accepted | Verdict::ToldElsewhere => None,
        Verdict::Refused(reason) => Some(reason),
    }
}

/// Management clusters may hold the same certificate.
fn distinct<'a, 'b>(leaves: &'a [Leaf<'b>], role: PeerRole) -> Vec<&'a Leaf<'b>> {
    let mut found: Vec<&Leaf<'_>> = Vec::new();
    for leaf in leaves.iter().filter(|leaf| leaf.role == role) {
        if !found
            .iter()
            .any(|other| other.certificate() == leaf.certificate())
        {
            found.push(leaf);
        }
    }
    found
}

/// For bare files: does a chain lead to one of the roots?
pub(super) fn file_chain(
    sink: &mut Sink,
    place: Place<'_>,
    chain: &Chain,
    issuer: Option<usize>,
    role: PeerRole,
    bundle: &Bundle,
    paths: &mut Paths<'_>,
) {
    let code = match role {
        PeerRole::Server => code::R0201,
        PeerRole::Client => code::R0202,
    };
    let refused = match paths.verify(chain, issuer, role, bundle) {
        Verdict::Accepted | Verdict::ToldElsewhere => None,
        Verdict::Refused(reason) => Some(reason),
    };
    sink.check(
        code,
        place,
        refused.map(|reason| {
            let subject = chain.leaf.subject();
            (
                format!("{} ({subject}) does not verify", role_name(role)),
                reason,
            )
        }),
    );
}

fn place<'a, T>(facts: &'a ClusterFacts, secret: &'a Secret<T>) -> Place<'a> {
    Place::new(facts.name(), &secret.about.place)
}
