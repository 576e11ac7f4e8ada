//! R03: when does what stop working, and will it be renewed before?

use jiff::{SignedDuration, Timestamp};
use relay_pki_authority::Level;
use relay_pki_authority::x509::{Certificate, PeerRole, Validity};

use super::authorities::{Authorities, Authority};
use super::code;
use super::finding::{Place, Sink};
use super::leaf::Leaf;
use super::profile;
use crate::config::{Delivery, Relay};
use crate::journal::Status;
use crate::relay::Owner;
use crate::renewal::Renewal;
use crate::wording::duration;

/// Share of its lifetime that has to be left of a certificate.
const LEFT: f64 = 1.0 / 6.0;
/// The same where agents renew by themselves, which Gloo's do late.
const LEFT_SERVER_SIGNED: f64 = 1.0 / 12.0;
/// How late `rotate due` may be, as a share of the lifetime.
const MARGIN: f64 = 1.0 / 20.0;
/// Whatever the share: a day is short notice for a certificate that lives longer than a week.
const FLOOR: SignedDuration = SignedDuration::from_hours(24);
const LONG: SignedDuration = SignedDuration::from_hours(7 * 24);

/// How a certificate is renewed.
enum Care<'a> {
    /// By us, at a time that is known.
    Ours(&'a Renewal, String),
    /// By somebody else; at least this share should be left.
    Theirs(f64),
}

/// The leaves, and whether their signers last as long.
pub(super) fn leaves(
    sink: &mut Sink,
    relay: &Relay,
    leaves: &[Leaf<'_>],
    authorities: &Authorities,
    now: Timestamp,
) {
    for leaf in leaves {
        let certificate = leaf.certificate();
        let (place, name) = (leaf.place(), leaf.name());
        if !period(sink, place, &name, certificate, now) {
            continue;
        }
        let issuer = leaf.issuer.and_then(|index| authorities.get(index));
        outlives(sink, place, &name, certificate, issuer, now);
        life_left(sink, place, &name, certificate, &care(relay, leaf), now);
        clamped(sink, relay, leaf, issuer);
    }
}

/// The CAs.
pub(super) fn authorities(
    sink: &mut Sink,
    relay: &Relay,
    leaves: &[Leaf<'_>],
    authorities: &Authorities,
    now: Timestamp,
) {
    let has_signer = authorities.iter().any(|(_, found)| {
        found
            .generation
            .is_some_and(|(level, _)| level == Level::Signer)
    });
    for (_, authority) in authorities.iter() {
        if !profile::matters(authority) || !authority.certificate.is_ca() {
            continue;
        }
        let root = authority.is_root();
        let sound = match root {
            true => root_period(sink, authority, now),
            false => period(
                sink,
                authority.place(),
                &authority.name(),
                &authority.certificate,
                now,
            ),
        };
        if !sound {
            continue;
        }
        if root {
            lasts_for_signers(sink, relay, authority, now);
            continue;
        }
        let above = authority.issuer.and_then(|index| authorities.get(index));
        outlives(
            sink,
            authority.place(),
            &authority.name(),
            &authority.certificate,
            above,
            now,
        );
        signer_life(sink, relay, leaves, authority, has_signer, now);
    }
}

/// Whether a certificate is within its period.
pub(super) fn period(
    sink: &mut Sink,
    place: Place<'_>,
    name: &str,
    certificate: &Certificate,
    now: Timestamp,
) -> bool {
    let (from, to) = (certificate.not_before(), certificate.not_after());
    if !sink.check(
        code::R0311,
        place,
        certificate.validity().is_err().then(|| {
            let what = format!("the validity of {name} ends before it starts");
            (what, format!("from {from} to {to}"))
        }),
    ) {
        return false;
    }
    let expired = (now > to).then(|| (format!("{name} has expired"), format!("at {to}")));
    let early = (now < from).then(|| (format!("{name} is not valid yet"), format!("from {from}")));
    let alive = sink.check(code::R0301, place, expired);
    sink.check(code::R0304, place, early) && alive
}

fn root_period(sink: &mut Sink, authority: &Authority, now: Timestamp) -> bool {
    let certificate = &authority.certificate;
    if now <= certificate.not_after() || certificate.validity().is_err() {
        return period(sink, authority.place(), &authority.name(), certificate, now);
    }
    let code = match authority.used || authority.status == Some(Status::Active) {
        true => code::R0305,
        false => code::R0306,
    };
    let what = format!("{} has expired", authority.name());
    let evidence = format!("at {}", certificate.not_after());
    sink.check(code, authority.place(), Some((what, evidence)))
}

/// A certificate that outlives its issuer. An issuer that is over already is a finding of its own.
pub(super) fn outlives(
    sink: &mut Sink,
    place: Place<'_>,
    name: &str,
    certificate: &Certificate,
    issuer: Option<&Authority>,
    now: Timestamp,
) {
    let Some(issuer) = issuer.filter(|issuer| issuer.certificate.is_valid_at(now)) else {
        return;
    };
    let code = match certificate.is_ca() {
        true => code::R0303,
        false => code::R0302,
    };
    let end = issuer.certificate.not_after();
    sink.check(
        code,
        place,
        (certificate.not_after() > end).then(|| {
            let longer = duration(certificate.not_after().duration_since(end));
            let what = format!("{name} outlives its issuer");
            let evidence = format!(
                "it ends {longer} after {}, which ends at {end}",
                issuer.name()
            );
            (what, evidence)
        }),
    );
}

fn care<'a>(relay: &'a Relay, leaf: &'a Leaf<'_>) -> Care<'a> {
    let ours = leaf.about.owner == Owner::Us;
    let name = leaf.facts.name();
    match (leaf.role, &leaf.facts.spec.agent) {
        (PeerRole::Server, _) if ours => {
            Care::Ours(&relay.server.renewal, format!("server-{name}"))
        }
        (PeerRole::Client, Some(agent)) if agent.delivery == Delivery::ServerSigned => {
            Care::Theirs(LEFT_SERVER_SIGNED)
        }
        (PeerRole::Client, Some(agent)) if ours => Care::Ours(&agent.renewal, name.to_owned()),
        _ => Care::Theirs(LEFT),
    }
}

fn life_left(
    sink: &mut Sink,
    place: Place<'_>,
    name: &str,
    certificate: &Certificate,
    care: &Care<'_>,
    now: Timestamp,
) -> bool {
    let Ok(validity) = certificate.validity() else {
        return true;
    };
    match care {
        Care::Ours(renewal, identity) => {
            let due = renewal.due_at(&validity, identity);
            let late = now.duration_since(due);
            let share = validity.fraction_left(now);
            let margin = part(validity.lifetime(), MARGIN);
            let overdue = late > margin || (late > SignedDuration::ZERO && share < LEFT);
            sink.check(
                code::R0307,
                place,
                overdue.then(|| {
                    let what = format!("the renewal of {name} is overdue");
                    (what, format!("due since {due}; {}", left(&validity, now)))
                }),
            )
        }
        Care::Theirs(share) => sink.check(
            code::R0308,
            place,
            is_short(&validity, *share, now).then(|| {
                (
                    format!("little life is left of {name}"),
                    left(&validity, now),
                )
            }),
        ),
    }
}

/// Whether too little is left: a share of the lifetime first, a day at least for long ones.
pub(super) fn is_short(validity: &Validity, share: f64, now: Timestamp) -> bool {
    let rest = validity.not_after().duration_since(now);
    validity.fraction_left(now) < share || (validity.lifetime() > LONG && rest < FLOOR)
}

/// For bare files, where nobody knows who renews.
pub(super) fn short(
    sink: &mut Sink,
    place: Place<'_>,
    name: &str,
    certificate: &Certificate,
    now: Timestamp,
) {
    life_left(sink, place, name, certificate, &Care::Theirs(LEFT), now);
}

/// Compares what was issued with what the document asks. A signer near its end gives less too, which
/// is not the CA's doing.
fn clamped(sink: &mut Sink, relay: &Relay, leaf: &Leaf<'_>, issuer: Option<&Authority>) {
    let asked = match (leaf.role, &leaf.facts.spec.agent) {
        (PeerRole::Server, _) => relay.server.validity,
        (PeerRole::Client, Some(agent)) if agent.delivery == Delivery::Push => agent.validity,
        _ => return,
    };
    let certificate = leaf.certificate();
    let Ok(validity) = certificate.validity() else {
        return;
    };
    let with_issuer =
        issuer.is_some_and(|issuer| issuer.certificate.not_after() == certificate.not_after());
    if leaf.about.owner != Owner::Us || with_issuer {
        return;
    }
    let issued = validity.lifetime();
    sink.check(
        code::R0310,
        leaf.place(),
        (issued < part(asked.duration(), 0.5)).then(|| {
            let what = format!(
                "{} was issued for much less than the document asks",
                leaf.name()
            );
            (what, format!("{} instead of {asked}", duration(issued)))
        }),
    );
}

fn lasts_for_signers(sink: &mut Sink, relay: &Relay, root: &Authority, now: Timestamp) {
    let in_charge = match root.status {
        Some(status) => status == Status::Active,
        None => root.used,
    };
    if !in_charge {
        return;
    }
    let wanted = relay.signer.validity;
    let rest = root.certificate.not_after().duration_since(now);
    sink.check(
        code::R0309,
        root.place(),
        (rest < wanted.duration()).then(|| {
            let what = format!("{} ends before a new signer would", root.name());
            (
                what,
                format!("{} left; a signer is valid for {wanted}", duration(rest)),
            )
        }),
    );
}

fn signer_life(
    sink: &mut Sink,
    relay: &Relay,
    leaves: &[Leaf<'_>],
    signer: &Authority,
    has_signer: bool,
    now: Timestamp,
) {
    let care = match (signer.generation, signer.status) {
        (Some((Level::Signer, _)), Some(Status::Active)) => {
            Care::Ours(&relay.signer.renewal, "signer".to_owned())
        }
        // Out of use: its leaves move over at their own renewal.
        (Some(_), _) => return,
        (None, _) if has_signer && !signer.signing => return,
        (None, _) => Care::Theirs(LEFT),
    };
    let (place, name) = (signer.place(), signer.name());
    if !life_left(sink, place, &name, &signer.certificate, &care, now) {
        return;
    }
    let longest = longest_agent(relay, leaves, signer);
    let rest = signer.certificate.not_after().duration_since(now);
    sink.check(
        code::R0312,
        place,
        longest.filter(|longest| rest < *longest).map(|longest| {
            let what = format!("{name} ends before a new agent certificate would");
            (
                what,
                format!(
                    "{} left; an agent's lasts {}",
                    duration(rest),
                    duration(longest)
                ),
            )
        }),
    );
}

/// How long agent certificates from this signer last: what the document says where we issue them,
/// what was seen where the relay server does.
fn longest_agent(relay: &Relay, leaves: &[Leaf<'_>], signer: &Authority) -> Option<SignedDuration> {
    let ours = relay
        .agents()
        .filter(|(_, agent)| agent.delivery == Delivery::Push && signer.generation.is_some())
        .map(|(_, agent)| agent.validity.duration());
    let seen = leaves
        .iter()
        .filter(|leaf| leaf.role == PeerRole::Client && leaf.about.owner != Owner::Us)
        .filter(|leaf| leaf.certificate().raw_issuer() == signer.certificate.raw_subject())
        .filter_map(|leaf| Some(leaf.certificate().validity().ok()?.lifetime()));
    ours.chain(seen).max()
}

fn left(validity: &Validity, now: Timestamp) -> String {
    let rest = duration(validity.not_after().duration_since(now));
    let share = validity.fraction_left(now) * 100.0;
    format!(
        "ends at {}, {rest} left ({share:.0} %)",
        validity.not_after()
    )
}

fn part(lifetime: SignedDuration, share: f64) -> SignedDuration {
    SignedDuration::try_from_secs_f64(lifetime.as_secs_f64() * share).unwrap_or(lifetime)
}
