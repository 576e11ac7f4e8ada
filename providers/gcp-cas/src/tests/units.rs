//! Names and dates.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use relay_pki_authority::conformance::forge;
use relay_pki_authority::{Generation, IssuanceId, Level};

use super::setup::generation;
use crate::names::{IssuanceName, authority_id};
use crate::terms::{MARGIN, Terms};
use google_cloud_security_privateca_v1::model::CaPool;
use google_cloud_security_privateca_v1::model::ca_pool::IssuancePolicy;
use google_cloud_wkt as wkt;

#[test]
fn names_of_cas_fit_and_stay_apart() {
    let ca = authority_id(&generation(Level::Root, 2));
    assert_eq!(ca, "relay-pki-gloo-mesh-root-g2");
    let long = |last: &str| Generation {
        relay: format!("{}{last}", "x".repeat(62)),
        level: Level::Signer,
        number: u32::MAX,
    };
    let names: BTreeSet<String> = ["a", "b"].map(|last| authority_id(&long(last))).into();
    assert_eq!(names.len(), 2);
    assert!(names.iter().all(|name| name.len() <= 63), "{names:?}");
    assert!(
        names
            .iter()
            .all(|name| name.ends_with("-signer-g4294967295"))
    );
}

#[test]
fn issuances_are_named_after_need_and_ca() {
    let id = IssuanceId::derive(&[b"need"]);
    let name = IssuanceName::new(&id, "one");
    assert_eq!(
        name.certificate_id(),
        IssuanceName::new(&id, "one").certificate_id()
    );
    assert_ne!(
        name.certificate_id(),
        IssuanceName::new(&id, "two").certificate_id()
    );
    assert_eq!(name.certificate_id().len(), 42);
    let uuid = name.request_id();
    let lengths: Vec<usize> = uuid.split('-').map(str::len).collect();
    assert_eq!(lengths, [8, 4, 4, 4, 12], "{uuid}");
    assert_eq!((&uuid[14..15], &uuid[19..20]), ("8", "a"), "{uuid}");
}

#[test]
fn a_pool_that_dates_back_is_asked_for_less() {
    let policy = IssuancePolicy::new().set_backdate_duration(wkt::Duration::clamp(300, 0));
    let terms = Terms::of(&CaPool::new().set_issuance_policy(policy)).unwrap();
    let now = Timestamp::from_second(1_900_000_000).unwrap();
    let (asked, issuer) = (forge::hours(now, 24), forge::hours(now, 48));
    let dates = terms.dates(&asked, &issuer, now).unwrap();
    assert_eq!(dates.start, None);
    let end = now - SignedDuration::from_secs(300) + dates.lifetime;
    assert_eq!(asked.not_after().duration_since(end), MARGIN);
    // A minute before the issuer ends there is nothing left to ask for.
    let late = issuer.not_after() - SignedDuration::from_secs(1) + SignedDuration::from_secs(300);
    assert_eq!(terms.dates(&forge::hours(late, 1), &issuer, late), None);
}

#[test]
fn a_pool_that_relay_pki_cannot_work_with_says_why() {
    let policy = |policy: IssuancePolicy| Terms::of(&CaPool::new().set_issuance_policy(policy));
    let (reason, remedy) = Terms::of(&CaPool::new()).unwrap_err();
    assert!(reason.contains("clocks differ"), "{reason}");
    assert!(
        remedy.contains("allowRequesterSpecifiedNotBeforeTime"),
        "{remedy}"
    );
    let days = wkt::Duration::clamp(48 * 3600, 0);
    let (reason, _) = policy(IssuancePolicy::new().set_backdate_duration(days)).unwrap_err();
    assert!(
        reason.contains("dates certificates back by 172800 s"),
        "{reason}"
    );
}
