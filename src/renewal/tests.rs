#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use proptest::prelude::*;

use super::*;

fn validity(start: i64, lifetime: i64) -> Validity {
    let at = |second| Timestamp::from_second(second).unwrap();
    Validity::new(at(start), at(start + lifetime)).unwrap()
}

fn renewal(at: f64, schedule: Option<&str>) -> Renewal {
    Renewal {
        at: RenewAt::new(at).unwrap(),
        schedule: schedule.map(|text| text.parse().unwrap()),
    }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

const DAY: i64 = 86_400;

#[test]
fn renewal_points_are_bounded() {
    for share in [0.11, 0.5, 0.95] {
        assert_eq!(RenewAt::new(share).unwrap().share(), share);
        assert_eq!(share.to_string().parse::<RenewAt>().unwrap().share(), share);
    }
    for share in [0.1, 0.0, -1.0, 0.951, 1.0, f64::NAN, f64::INFINITY] {
        let error = RenewAt::new(share).unwrap_err();
        assert!(error.hint.contains("above 0.1 and up to 0.95"), "{error}");
    }
    assert!("66%".parse::<RenewAt>().is_err());
}

#[test]
fn due_a_little_before_the_share() {
    let issued = validity(0, 100 * DAY);
    let due = renewal(0.5, None).due_at(&issued, "cluster-1");
    // SHA-256 of "cluster-1" starts with this; it is promised for ever.
    assert_eq!(position("cluster-1"), CLUSTER_1);
    let expected = (50.0 * (1.0 - 0.1 * CLUSTER_1) * DAY as f64) as i64;
    assert_eq!(due, Timestamp::from_second(expected).unwrap());
}

/// `printf cluster-1 | sha256sum | cut -c 1-12`, over 2^48.
const CLUSTER_1: f64 = 0x4afb_32cc_106eu64 as f64 / (1u64 << 48) as f64;

#[test]
fn a_schedule_puts_it_off_to_its_next_firing() {
    // Thursday, 1 January to 31 January: two thirds less jitter is between the 18th and the 20th.
    let start = at("2026-01-01T00:00:00Z");
    let issued = validity(start.as_second(), 30 * DAY);
    let due = |schedule| renewal(0.66, Some(schedule)).due_at(&issued, "cluster-1");
    assert_eq!(due("0 3 * * SUN"), at("2026-01-25T03:00:00Z"));
    // The 29th would be in the last tenth, which starts on the 28th.
    assert_eq!(due("0 3 29 * *"), at("2026-01-28T00:00:00Z"));
    assert_eq!(due("0 0 28 * *"), at("2026-01-28T00:00:00Z"));
    // A point in the last tenth is kept: the schedule cannot be followed.
    let late = renewal(0.95, Some("0 3 30 * *"));
    let plain = renewal(0.95, None);
    assert!(
        late.due_at(&issued, "cluster-1")
            <= plain
                .due_at(&issued, "cluster-1")
                .max(at("2026-01-28T00:00:00Z"))
    );
}

#[test]
fn slack_is_what_lies_between_the_point_and_the_reserve() {
    let month: Lifetime = "30d".parse().unwrap();
    let near = |slack: SignedDuration, hours: i64| {
        (slack - SignedDuration::from_hours(hours)).abs() < SignedDuration::from_secs(1)
    };
    // 30 d × (1 − 0.1 − 0.65) = 7.5 d
    assert!(near(renewal(0.65, None).slack(month), 180));
    assert!(near(renewal(0.9, None).slack(month), 0));
    assert!(near(renewal(0.95, None).slack(month), 0));
}

#[test]
fn a_fleet_spreads_over_the_tenth() {
    let issued = validity(0, 100 * DAY);
    let renewal = renewal(0.5, None);
    let mut per_day = [0; 5];
    for number in 0..1000 {
        let due = renewal.due_at(&issued, &format!("cluster-{number}"));
        let day = usize::try_from(due.as_second() / DAY - 45).unwrap();
        per_day[day] += 1;
    }
    assert!(
        per_day.iter().all(|n| (150..250).contains(n)),
        "{per_day:?}"
    );
    // Neighbours do not come together either.
    let first: Vec<f64> = (1..=9).map(|n| position(&format!("cluster-{n}"))).collect();
    let spread = first.iter().fold(0.0, |m: f64, p| m.max(*p))
        - first.iter().fold(1.0, |m: f64, p| m.min(*p));
    assert!(spread > 0.5, "{first:?}");
}

fn any_schedule() -> impl Strategy<Value = Option<&'static str>> {
    prop_oneof![
        Just(None),
        Just(Some("* * * * *")),
        Just(Some("0 3 * * SUN")),
        Just(Some("*/7 8-17 1,15 * FRI")),
        Just(Some("@yearly")),
        Just(Some("0 0 29 2 *")),
    ]
}

proptest! {
    #[test]
    fn due_inside_the_issued_validity_and_stable(
        start in 0i64..3_900_000_000, lifetime in prop_oneof![1i64..30, 30i64..3_200_000_000],
        share in 0.1001..=0.95, schedule in any_schedule(), identity in "[a-z0-9.-]{1,63}",
    ) {
        let (issued, renewal) = (validity(start, lifetime), renewal(share, schedule));
        let due = renewal.due_at(&issued, &identity);
        prop_assert!(issued.not_before() < due && due < issued.not_after(), "{due} in {issued}");
        prop_assert_eq!(due, renewal.clone().due_at(&issued, &identity));
        prop_assert!(lifetime < 12 || due.subsec_nanosecond() == 0);
    }

    #[test]
    fn later_shares_are_never_due_earlier(
        start in 0i64..3_000_000_000, lifetime in 1i64..1_000_000_000,
        one in 0.1001..=0.95f64, other in 0.1001..=0.95f64, schedule in any_schedule(),
    ) {
        let issued = validity(start, lifetime);
        let due = |share| renewal(share, schedule).due_at(&issued, "cluster-1");
        prop_assert!(due(one.min(other)) <= due(one.max(other)));
    }

    #[test]
    fn a_schedule_that_fits_the_slack_is_followed(
        start in 0i64..3_000_000_000, days in 1i64..4000,
        share in 0.1001..=0.95, schedule in any_schedule(), identity in "[a-z0-9]{1,9}",
    ) {
        let (issued, renewal) = (validity(start, days * DAY), renewal(share, schedule));
        let Some(schedule) = &renewal.schedule else { return Ok(()) };
        let lifetime = Lifetime::from_secs(u64::try_from(days * DAY).unwrap()).unwrap();
        let due = renewal.due_at(&issued, &identity);
        if schedule.longest_gap(issued.not_before()) <= renewal.slack(lifetime) {
            prop_assert_eq!(schedule.next_from(due), Some(due));
        }
        let plain = Renewal { at: renewal.at, schedule: None }.due_at(&issued, &identity);
        prop_assert!(plain <= due, "a schedule only puts off");
    }

    #[test]
    fn a_leaf_issued_when_due_is_not_due(
        start in 0i64..2_000_000_000, lifetime in 600i64..100_000_000, clamped in 1i64..1000,
        share in 0.1001..=0.95, schedule in any_schedule(),
    ) {
        let renewal = renewal(share, schedule);
        let now = renewal.due_at(&validity(start, lifetime), "cluster-1");
        // The issuer may give any part of what was asked for.
        let next = validity(now.as_second(), (lifetime * clamped / 1000).max(2));
        prop_assert!(renewal.due_at(&next, "cluster-1") > now);
    }
}
