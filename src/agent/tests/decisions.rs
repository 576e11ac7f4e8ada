//! The pure core, over clocks that jump and absences of any length.

use std::time::Duration;

use jiff::SignedDuration;
use proptest::prelude::*;

use super::ca::{self, START, bundle, cross, days, identity, leaf, root, signer, successor};
use crate::agent::anchors::{CaCertificates, Disbelief, Pin};
use crate::agent::decision::{
    Action, Activity, Memory, Moment, Policy, Reason, RefusedToken, Trouble, View,
};
use crate::agent::delivery::checked;
use crate::agent::holdings::Holdings;
use crate::relay::{CaTag, TlsContent, TokenDigest};
use crate::renewal::Renewal;
use relay_pki_authority::Profile;
use relay_pki_authority::conformance::forge::ForgedCa;
use relay_pki_authority::x509::{Certificate, PeerRole, PublicKey, verify_path};

const POLL: Duration = Duration::from_secs(60);

fn policy(pins: Vec<Pin>) -> Policy {
    Policy {
        cluster: "cluster-1".parse().unwrap(),
        renewal: Renewal::default(),
        poll: POLL,
        pins,
        restarts: false,
    }
}

fn pin() -> Pin {
    format!("sha256:{}", "ab".repeat(32)).parse().unwrap()
}

fn at(days: f64, up: u64) -> Moment {
    Moment {
        now: *START + SignedDuration::try_from_secs_f64(days * 86_400.0).unwrap(),
        up: Duration::from_secs(up),
    }
}

fn holding(identity: TlsContent) -> Holdings {
    Holdings {
        trust: Some(identity.bundle.clone()),
        identity: Some(Ok(identity)),
        obstacle: None,
    }
}

/// With 30 days of life from the start.
fn enrolled() -> Holdings {
    let root = root("relay root");
    let signer = signer(&root, "relay signer 1");
    holding(identity(&signer, "cluster-1", days(30), bundle(&[&root])))
}

fn polled() -> Memory {
    Memory {
        poll_at: Duration::from_secs(1000),
        ..Memory::default()
    }
}

fn with_token(memory: Memory) -> Memory {
    Memory {
        token: Some(TokenDigest::of(b"token")),
        ..memory
    }
}

fn next(held: &Holdings, memory: &Memory, moment: Moment) -> Action {
    let policy = policy(Vec::new());
    View {
        policy: &policy,
        held,
        memory,
    }
    .next(moment)
}

#[test]
fn nothing_held_needs_a_pin_or_a_person() {
    let held = Holdings::default();
    let memory = with_token(Memory::default());
    for (pins, action, trouble) in [
        (vec![pin()], Action::BootstrapTrust, None),
        (vec![], Action::Wait(POLL), Some(Trouble::NoTrust)),
    ] {
        let policy = policy(pins);
        let view = View {
            policy: &policy,
            held: &held,
            memory: &memory,
        };
        assert_eq!(view.next(at(0.0, 0)), action);
        // The token that is there is not sent to anybody yet.
        if trouble.is_some() {
            assert_eq!(view.trouble(at(0.0, 0)), trouble);
        }
    }
}

#[test]
fn a_certificate_lives_from_enrolment_to_renewal_to_the_end() {
    let held = enrolled();
    let roots_only = Holdings {
        identity: None,
        ..held.clone()
    };
    let token = with_token(polled());
    assert_eq!(
        next(&roots_only, &token, at(0.5, 0)),
        Action::Enrol(Reason::Missing)
    );
    // Without a token it still asks for the roots, and waits for one.
    assert_eq!(
        next(&roots_only, &Memory::default(), at(0.5, 0)),
        Action::Poll
    );
    assert_eq!(next(&roots_only, &polled(), at(0.5, 0)), Action::Wait(POLL));
    assert_eq!(next(&held, &polled(), at(0.5, 0)), Action::Wait(POLL));
    assert_eq!(next(&held, &polled(), at(15.0, 0)), Action::Wait(POLL));
    let Action::Renew(Reason::Due(due)) = next(&held, &polled(), at(25.0, 0)) else {
        panic!("not due");
    };
    let share = due.duration_since(*START).as_secs_f64() / (30.0 * 86_400.0);
    assert!((0.59..=0.66).contains(&share), "{share}");
    // A minute before it is due it sleeps no longer than that.
    let before = Moment {
        now: due - SignedDuration::from_secs(20),
        up: Duration::ZERO,
    };
    assert_eq!(
        next(&held, &polled(), before),
        Action::Wait(Duration::from_secs(20))
    );
    let ended = next(&held, &token, at(31.0, 0));
    assert!(
        matches!(ended, Action::Enrol(Reason::Expired(_))),
        "{ended:?}"
    );
    let policy = policy(Vec::new());
    let memory = polled();
    let view = View {
        policy: &policy,
        held: &held,
        memory: &memory,
    };
    assert!(matches!(
        view.trouble(at(31.0, 0)),
        Some(Trouble::NoToken(Reason::Expired(_)))
    ));
    // It is not shown to anybody any more: servers hang up on it.
    assert!(view.presented(at(31.0, 0)).is_none() && view.presented(at(29.0, 0)).is_some());
}

#[test]
fn a_clock_that_is_behind_makes_no_certificate_worse() {
    let held = enrolled();
    assert_eq!(next(&held, &polled(), at(-400.0, 0)), Action::Wait(POLL));
}

#[test]
fn what_is_not_the_clusters_own_is_replaced() {
    let root = root("relay root");
    let signer = signer(&root, "relay signer 1");
    let token = with_token(polled());
    let other = holding(identity(&signer, "cluster-2", days(30), bundle(&[&root])));
    assert!(matches!(
        next(&other, &token, at(1.0, 0)),
        Action::Enrol(Reason::NotOurs(_))
    ));
    let broken = Holdings {
        identity: Some(Err("tls.key: no key".to_owned())),
        ..other
    };
    assert!(matches!(
        next(&broken, &token, at(1.0, 0)),
        Action::Enrol(Reason::Broken(_))
    ));
}

#[test]
fn a_changed_root_is_written_everywhere_and_the_certificate_follows() {
    let (old, new) = (root("relay root"), root("relay root"));
    let signer = signer(&old, "relay signer 1");
    let own = identity(&signer, "cluster-1", days(30), bundle(&[&old]));
    let mut held = holding(own);
    held.trust = Some(bundle(&[&old, &new]));
    assert_eq!(next(&held, &polled(), at(1.0, 0)), Action::Repair);
    // A person put the new root there alone.
    let mut own = held.usable().unwrap().clone();
    own.bundle = bundle(&[&new]);
    let held = holding(own);
    let action = next(&held, &polled(), at(1.0, 0));
    assert!(
        matches!(action, Action::Renew(Reason::Unverifiable(_))),
        "{action:?}"
    );
    // Only the roots beside the certificate are left.
    let lost = Holdings {
        trust: None,
        ..enrolled()
    };
    assert_eq!(next(&lost, &polled(), at(1.0, 0)), Action::Repair);
}

#[test]
fn a_signer_that_is_gone_is_left() {
    let root = root("relay root");
    let (one, two) = (
        signer(&root, "relay signer 1"),
        signer(&root, "relay signer 2"),
    );
    let held = holding(identity(&one, "cluster-1", days(30), bundle(&[&root])));
    for (signers, action) in [
        (vec![&one, &two], Action::Wait(POLL)),
        (vec![&two], Action::Renew(Reason::SignerGone)),
    ] {
        let all = std::iter::once(&root).chain(signers);
        let all = all.map(|ca| ca.certificate.clone()).collect();
        let memory = Memory {
            known: Some(CaCertificates::new(all).unwrap()),
            ..polled()
        };
        assert_eq!(next(&held, &memory, at(1.0, 0)), action);
    }
}

#[test]
fn a_refused_token_is_tried_again_less_and_less_often() {
    let (token, mut up, mut last) = (TokenDigest::of(b"token"), Duration::ZERO, None);
    let mut waits = Vec::new();
    for _ in 0..9 {
        let refused = RefusedToken::again(last, token, up);
        let mut wait = 0;
        while refused.is(&token, up + Duration::from_secs(wait)) {
            wait += 1;
        }
        waits.push(wait);
        up += Duration::from_secs(wait);
        last = Some(refused);
    }
    assert_eq!(waits, [10, 20, 40, 80, 160, 320, 600, 600, 600]);
    let another = RefusedToken::again(last, TokenDigest::of(b"another"), up);
    assert!(!another.is(&token, up));
    assert!(!another.is(&TokenDigest::of(b"another"), up + Duration::from_secs(10)));
}

#[test]
fn a_refused_certificate_is_kept_back_and_a_refused_token_not_tried_for_a_while() {
    let held = enrolled();
    let mut memory = with_token(polled());
    memory.refused_until = Some(Duration::from_secs(600));
    assert_eq!(
        next(&held, &memory, at(1.0, 0)),
        Action::Enrol(Reason::Refused)
    );
    let token = TokenDigest::of(b"token");
    memory.refused_token = Some(RefusedToken::again(None, token, Duration::ZERO));
    assert_eq!(next(&held, &memory, at(1.0, 0)), Action::Wait(POLL));
    let policy = policy(Vec::new());
    let view = View {
        policy: &policy,
        held: &held,
        memory: &memory,
    };
    assert_eq!(
        view.trouble(at(1.0, 0)),
        Some(Trouble::TokenRefused(Reason::Refused))
    );
    assert!(view.presented(at(1.0, 0)).is_none());
    // Neither is for ever; and a new token is tried at once.
    assert_eq!(view.next(at(1.0, 550)), Action::Enrol(Reason::Refused));
    assert_eq!(
        view.next(at(1.0, 700)),
        Action::Wait(Duration::from_secs(760))
    );
    memory.token = Some(TokenDigest::of(b"another"));
    assert_eq!(
        next(&held, &memory, at(1.0, 0)),
        Action::Enrol(Reason::Refused)
    );
}

#[test]
fn what_fails_does_not_keep_the_rest_waiting() {
    let held = enrolled();
    let mut memory = Memory::default();
    memory.failed(Activity::Certificate, Duration::ZERO, 1.0, None);
    assert_eq!(next(&held, &memory, at(25.0, 0)), Action::Poll);
    memory.failed(Activity::Bundle, Duration::ZERO, 1.0, None);
    assert_eq!(
        next(&held, &memory, at(25.0, 0)),
        Action::Wait(Duration::from_secs(2))
    );
    memory.reset(Activity::Certificate);
    assert!(matches!(
        next(&held, &memory, at(25.0, 0)),
        Action::Renew(_)
    ));
}

#[test]
fn nothing_is_asked_for_that_could_not_be_kept() {
    let held = Holdings {
        identity: None,
        obstacle: Some("Secret relay-client-tls-secret is not managed".to_owned()),
        ..enrolled()
    };
    assert_eq!(
        next(&held, &with_token(Memory::default()), at(1.0, 0)),
        Action::Wait(POLL)
    );
}

#[test]
fn a_bundle_is_acknowledged_when_everything_runs_with_it() {
    let root = root("relay root");
    let (signer, other) = (
        signer(&root, "relay signer 1"),
        signer(&root, "relay signer 2"),
    );
    let held = holding(identity(&signer, "cluster-1", days(30), bundle(&[&root])));
    let all = |signers: &[&ForgedCa]| {
        let all = std::iter::once(&root).chain(signers.iter().copied());
        CaCertificates::new(all.map(|ca| ca.certificate.clone()).collect()).unwrap()
    };
    let mut policy = policy(Vec::new());
    let mut memory = polled();
    let acknowledged = |policy: &Policy, held: &Holdings, memory: &Memory| {
        View {
            policy,
            held,
            memory,
        }
        .acknowledged()
    };
    // What the server gives out has to be known first.
    assert_eq!(acknowledged(&policy, &held, &memory), None);
    let known = all(&[&signer]);
    let (tag, digest) = (Some(known.tag()), known.roots.digest());
    assert_ne!(tag, Some(all(&[&signer, &other]).tag()));
    memory.known = Some(known);
    assert_eq!(acknowledged(&policy, &held, &memory), tag);
    assert_eq!(tag.as_ref().unwrap().bundle(), digest.to_string());
    let text = tag.as_ref().unwrap().to_string();
    assert_eq!(text.parse().ok(), tag);
    for wrong in [&text[..text.len() - 1], &text.replace('.', ""), ""] {
        assert!(wrong.parse::<CaTag>().is_err(), "{wrong}");
    }
    let torn = Holdings {
        trust: Some(bundle(&[&ca::root("another")])),
        ..held.clone()
    };
    assert_eq!(acknowledged(&policy, &torn, &memory), None);
    policy.restarts = true;
    assert_eq!(acknowledged(&policy, &held, &memory), None);
    let view = View {
        policy: &policy,
        held: &held,
        memory: &memory,
    };
    assert_eq!(view.next(at(1.0, 0)), Action::Restart);
    memory.rolled = Some(digest);
    assert_eq!(acknowledged(&policy, &held, &memory), tag);
}

/// The signer's certificates come and go with the roots; the leaf stays.
#[test]
fn a_chain_is_held_as_it_is_given_out() {
    let (old, new) = (root("relay root"), successor("relay root"));
    let signer = signer(&new, "relay signer 2");
    let crossed = cross(&old, &signer);
    let roots = || [old.certificate.clone(), new.certificate.clone()];
    let given = |signers: &[&Certificate]| {
        let rolled = [cross(&old, &new), cross(&new, &old)];
        let all = roots().into_iter().chain(rolled);
        let all = all.chain(signers.iter().copied().cloned());
        Some(CaCertificates::new(all.collect()).unwrap())
    };
    let held = holding(identity(
        &signer,
        "cluster-1",
        days(30),
        bundle(&[&old, &new]),
    ));
    let mut memory = Memory {
        known: given(&[&signer.certificate]),
        ..polled()
    };
    assert_eq!(next(&held, &memory, at(1.0, 0)), Action::Wait(POLL));
    memory.known = given(&[&signer.certificate, &crossed]);
    let Action::Rechain(chain) = next(&held, &memory, at(1.0, 0)) else {
        panic!("it is held with another chain");
    };
    assert_eq!(chain.leaf(), held.usable().unwrap().chain.leaf());
    assert_eq!(chain.intermediates(), [crossed, signer.certificate.clone()]);
    // With other roots than those that are held, nothing is known of chains.
    memory.known = Some(CaCertificates::new(vec![old.certificate.clone()]).unwrap());
    assert!(!matches!(
        next(&held, &memory, at(1.0, 0)),
        Action::Rechain(_)
    ));
}

#[test]
fn a_certificate_is_renewed_when_the_server_asks_for_it() {
    let held = enrolled();
    let leaf = held.usable().unwrap().chain.leaf().fingerprint();
    let other = root("another").certificate.fingerprint();
    for (asked, action) in [
        (Some(leaf), Action::Renew(Reason::Asked)),
        // It has been replaced since.
        (Some(other), Action::Wait(POLL)),
    ] {
        let memory = Memory {
            to_be_renewed: asked,
            ..polled()
        };
        assert_eq!(next(&held, &memory, at(1.0, 0)), action);
    }
}

#[test]
fn roots_are_replaced_by_their_successors_only() {
    let (old, new) = (root("relay root"), root("relay root"));
    let signed = signer(&old, "relay signer 1");
    let (_, server) = leaf(&signed, Profile::RelayServer, "server", days(90));
    let (held, now) = (bundle(&[&old]), at(1.0, 0).now);
    let offer = |certificates: Vec<_>| CaCertificates::new(certificates).unwrap();
    let (o, n) = (old.certificate.clone(), new.certificate.clone());
    offer(vec![o.clone(), n.clone()])
        .may_replace(&held, &server, now)
        .unwrap();
    // The server would not be accepted any more.
    let error = offer(vec![n.clone(), cross(&old, &new)]).may_replace(&held, &server, now);
    assert!(
        matches!(error, Err(Disbelief::Contradiction(_))),
        "{error:?}"
    );
    let successor = signer(&new, "relay signer 2");
    let (_, server) = leaf(&successor, Profile::RelayServer, "server", days(90));
    offer(vec![n.clone(), cross(&old, &new)])
        .may_replace(&held, &server, now)
        .unwrap();
    assert_eq!(
        offer(vec![n.clone()]).may_replace(&held, &server, now),
        Err(Disbelief::Unrelated)
    );
    // Certified by somebody else.
    let stranger = cross(&root("relay root"), &new);
    assert_eq!(
        offer(vec![n, stranger]).may_replace(&held, &server, now),
        Err(Disbelief::Unrelated)
    );
    assert!(matches!(
        CaCertificates::new(vec![successor.certificate]),
        Err(Disbelief::NoRoot)
    ));
}

#[test]
fn a_chain_leads_to_both_roots_while_they_overlap_the_older_one_first() {
    let old = ForgedCa::root("relay root", days(1000));
    let new = root("relay root");
    let signed = signer(&new, "relay signer 2");
    let (key, own) = leaf(&signed, Profile::AgentClient, "cluster-1", days(30));
    let known = CaCertificates::new(vec![
        new.certificate.clone(),
        old.certificate.clone(),
        signed.certificate.clone(),
        cross(&old, &signed),
    ])
    .unwrap();
    let (cluster, now) = ("cluster-1".parse().unwrap(), at(1.0, 0).now);
    let trust = bundle(&[&old, &new]);
    let delivered = |leaf, key: &PublicKey| checked(leaf, (&cluster, key), (&known, &trust), now);
    let chain = delivered(own.leaf().clone(), key.public_key()).unwrap();
    assert_eq!(chain.certificates().len(), 3);
    assert!(chain.intermediates()[0].is_issued_by(&old.certificate));
    for one in [&old, &new] {
        verify_path(&chain, &bundle(&[one]), PeerRole::Client, now).unwrap();
    }
    // For another key, for another cluster, for a server, from somebody else.
    let (another, _) = leaf(&signed, Profile::AgentClient, "cluster-1", days(30));
    delivered(own.leaf().clone(), another.public_key()).unwrap_err();
    for (signer, profile, name) in [
        (&signed, Profile::AgentClient, "cluster-2"),
        (&signed, Profile::RelayServer, "cluster-1"),
        (
            &signer(&root("x"), "relay signer 2"),
            Profile::AgentClient,
            "cluster-1",
        ),
    ] {
        let (key, chain) = leaf(signer, profile, name, days(30));
        delivered(chain.leaf().clone(), key.public_key()).unwrap_err();
    }
}

#[test]
fn a_pin_is_written_as_others_write_it() {
    let root = root("relay root").certificate;
    let digits = root.fingerprint().to_string();
    let colons: Vec<String> = digits
        .as_bytes()
        .chunks(2)
        .map(|pair| String::from_utf8(pair.to_vec()).unwrap().to_uppercase())
        .collect();
    let found = CaCertificates::new(vec![root]).unwrap();
    for text in [
        format!("sha256:{digits}"),
        format!("sha256:{}", colons.join(":")),
    ] {
        assert!(
            found.pinned(&[pin(), text.parse().unwrap()]).is_some(),
            "{text}"
        );
    }
    assert!(found.pinned(&[pin()]).is_none());
    for text in [
        "",
        "sha256:",
        &digits,
        "sha256:zz",
        &format!("sha1:{digits}"),
    ] {
        assert!(text.parse::<Pin>().is_err(), "{text}");
    }
}

proptest! {
    /// Whatever the clock says and however long it was away: it never loses what it has, always says when
    /// it looks again, and asks with a token only when nothing else helps.
    #[test]
    fn it_goes_on_whatever_the_clock_says(
        jumps in proptest::collection::vec((-4000.0f64..4000.0, 0u64..100_000), 1..20),
        token in any::<bool>(),
    ) {
        let held = enrolled();
        let (begin, end) = {
            let leaf = held.usable().unwrap().chain.leaf();
            (leaf.not_before(), leaf.not_after())
        };
        let mut memory = if token { with_token(Memory::default()) } else { Memory::default() };
        let mut up = 0;
        for (day, passed) in jumps {
            up += passed;
            let moment = at(day, up);
            let action = next(&held, &memory, moment);
            match &action {
                Action::Wait(until) => {
                    prop_assert!(*until > moment.up && *until <= moment.up + POLL);
                }
                Action::Enrol(_) => prop_assert!(token && moment.now >= end),
                Action::Renew(_) => prop_assert!(moment.now >= begin && moment.now < end),
                Action::Poll => memory.poll_at = moment.up + POLL,
                other => prop_assert!(false, "{other:?}"),
            }
            if !matches!(action, Action::Wait(_) | Action::Poll) {
                let again = memory.failed(action.activity(), moment.up, 0.5, None);
                prop_assert!(again > moment.up && again <= moment.up + Duration::from_secs(300));
            }
        }
    }
}
