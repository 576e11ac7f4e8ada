#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::*;

fn schedule(text: &str) -> Schedule {
    text.parse()
        .unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The first `count` firings after `from`, as `month-day hour:minute weekday`.
fn firings(text: &str, from: &str, count: usize) -> Vec<String> {
    let (schedule, mut now) = (schedule(text), at(from));
    let mut found = Vec::new();
    while found.len() < count {
        now = schedule.next_after(now).unwrap();
        let civil = now.to_zoned(TimeZone::UTC);
        found.push(civil.strftime("%Y-%m-%d %H:%M %a").to_string());
    }
    found
}

// 2026-01-01 is a Thursday.
const NEW_YEAR: &str = "2026-01-01T00:00:00Z";

#[test]
fn fires_when_crontab_would() {
    for (text, expected) in [
        (
            "*/20 * * * *",
            [
                "2026-01-01 00:20 Thu",
                "2026-01-01 00:40 Thu",
                "2026-01-01 01:00 Thu",
            ],
        ),
        (
            "0 3 * * SUN",
            [
                "2026-01-04 03:00 Sun",
                "2026-01-11 03:00 Sun",
                "2026-01-18 03:00 Sun",
            ],
        ),
        (
            "30 4 1,15 * *",
            [
                "2026-01-01 04:30 Thu",
                "2026-01-15 04:30 Thu",
                "2026-02-01 04:30 Sun",
            ],
        ),
        // crontab(5): "30 4 1,15 * 5" is the 1st and the 15th, and every Friday besides.
        (
            "30 4 1,15 * 5",
            [
                "2026-01-01 04:30 Thu",
                "2026-01-02 04:30 Fri",
                "2026-01-09 04:30 Fri",
            ],
        ),
        // A star with a step does not restrict: both have to match.
        (
            "0 0 */10 * 3",
            [
                "2026-01-21 00:00 Wed",
                "2026-02-11 00:00 Wed",
                "2026-03-11 00:00 Wed",
            ],
        ),
        (
            "0 0 31 * *",
            [
                "2026-01-31 00:00 Sat",
                "2026-03-31 00:00 Tue",
                "2026-05-31 00:00 Sun",
            ],
        ),
        (
            "0 12 29 2 *",
            [
                "2028-02-29 12:00 Tue",
                "2032-02-29 12:00 Sun",
                "2036-02-29 12:00 Fri",
            ],
        ),
        (
            "5-15/5 23 * dec fri",
            [
                "2026-12-04 23:05 Fri",
                "2026-12-04 23:10 Fri",
                "2026-12-04 23:15 Fri",
            ],
        ),
        // The day of month does not exist in February, the weekday is enough.
        (
            "0 0 31 2 MON",
            [
                "2026-02-02 00:00 Mon",
                "2026-02-09 00:00 Mon",
                "2026-02-16 00:00 Mon",
            ],
        ),
        (
            "@weekly",
            [
                "2026-01-04 00:00 Sun",
                "2026-01-11 00:00 Sun",
                "2026-01-18 00:00 Sun",
            ],
        ),
        (
            "@monthly",
            [
                "2026-02-01 00:00 Sun",
                "2026-03-01 00:00 Sun",
                "2026-04-01 00:00 Wed",
            ],
        ),
        (
            "@annually",
            [
                "2027-01-01 00:00 Fri",
                "2028-01-01 00:00 Sat",
                "2029-01-01 00:00 Mon",
            ],
        ),
    ] {
        assert_eq!(firings(text, NEW_YEAR, 3), expected, "{text}");
    }
}

#[test]
fn weekdays_count_from_sunday_and_sunday_comes_twice() {
    let week = |text: &str| -> String {
        let days = firings(text, "2025-12-31T23:59:59Z", 7);
        let mut days: Vec<String> = days.iter().map(|day| day[17..].to_owned()).collect();
        days.sort();
        days.dedup();
        days.join(" ")
    };
    for (text, days) in [
        ("0", "Sun"),
        ("7", "Sun"),
        ("0,7", "Sun"),
        ("1", "Mon"),
        ("6", "Sat"),
        ("5-7", "Fri Sat Sun"),
        ("FRI-SUN", "Fri Sat Sun"),
        ("5-0", "Fri Sat Sun"),
        ("sun-tue", "Mon Sun Tue"),
        ("0-7", "Fri Mon Sat Sun Thu Tue Wed"),
        ("*", "Fri Mon Sat Sun Thu Tue Wed"),
        ("Mon-Fri/2", "Fri Mon Wed"),
        ("*/2", "Sat Sun Thu Tue"),
        ("mon,WED", "Mon Wed"),
    ] {
        assert_eq!(week(&format!("0 0 * * {text}")), days, "{text}");
    }
}

#[test]
fn next_is_strictly_after_and_from_is_not() {
    let (daily, midnight) = (schedule("@daily"), at("2026-01-02T00:00:00Z"));
    let moment = SignedDuration::from_nanos(1);
    assert_eq!(daily.next_after(midnight), Some(at("2026-01-03T00:00:00Z")));
    assert_eq!(daily.next_after(midnight - moment), Some(midnight));
    assert_eq!(daily.next_from(midnight), Some(midnight));
    assert_eq!(
        daily.next_from(midnight + moment),
        Some(at("2026-01-03T00:00:00Z"))
    );
    // Before the epoch fractions count downwards.
    let old = at("1969-12-31T23:59:59.5Z");
    assert_eq!(daily.next_after(old), Some(at("1970-01-01T00:00:00Z")));
    assert_eq!(daily.next_after(at("2101-01-01T00:00:00Z")), None);
}

#[test]
fn longest_gaps() {
    for (text, gap) in [
        ("* * * * *", "1m"),
        ("0 * * * *", "1h"),
        ("*/25 * * * *", "25m"),
        ("0 3 * * *", "1d"),
        ("0 3 * * SUN", "7d"),
        ("* 8-17 * * MON-FRI", "2d14h1m"),
        ("0 3,5 * * *", "22h"),
        // 1 July to 1 August, and so on.
        ("0 0 1 * *", "31d"),
        // 31 May to 31 July.
        ("0 0 31 * *", "61d"),
        ("0 0 29 2 *", "1461d"),
        ("0 0 1 * MON", "7d"),
        ("@yearly", "366d"),
    ] {
        let expected = gap.parse::<crate::config::Lifetime>().unwrap().duration();
        for from in [NEW_YEAR, "2001-06-15T12:00:00.5Z"] {
            let found = schedule(text).longest_gap(at(from));
            assert_eq!(found, expected, "{text} from {from}");
        }
    }
}

#[test]
fn refuses_with_what_to_write() {
    for (text, message, hint) in [
        ("", "has 0 fields", "0 3 * * SUN"),
        ("0 3 * *", "has 4 fields", "0 3 * * SUN"),
        ("0 0 3 * * SUN", "has 6 fields", "no seconds"),
        ("0 0 3 * * SUN 2026", "has 7 fields", "no seconds"),
        ("@reboot", "no schedule that comes back", "@hourly, @daily"),
        ("@Daily", "no schedule that comes back", "@daily"),
        ("0 3 31 2 *", "never fires", "a day that the month has"),
        ("0 3 30,31 2 *", "never fires", "a day that the month has"),
        (
            "0 3 31 4,6,9,11 *",
            "never fires",
            "a day that the month has",
        ),
        ("60 3 * * *", "\"60\" in the minute", "0 to 59"),
        ("0 24 * * *", "\"24\" in the hour", "0 to 23"),
        ("0 3 0 * *", "\"0\" in the day of month", "1 to 31"),
        ("0 3 * 13 *", "\"13\" in the month", "JAN to DEC"),
        ("0 3 * * 8", "\"8\" in the day of week", "SUN to SAT"),
        (
            "0 3 * * FRI#2",
            "\"FRI#2\" in the day of week",
            "SUN to SAT",
        ),
        ("0 3 L * *", "\"L\" in the day of month", "1 to 31"),
        ("0 3 ? * *", "\"?\" in the day of month", "1 to 31"),
        (
            "0 3 * * sunday",
            "\"sunday\" in the day of week",
            "SUN to SAT",
        ),
        ("0 3 * * FRI-MON", "runs backwards", "write FRI-SAT,SUN-MON"),
        ("50-10 3 * * *", "runs backwards", "write 50-59,0-10"),
        ("5/15 * * * *", "a step needs a range", "write 5-59/15"),
        ("*/0 * * * *", "a step is a number from 1", "*/5"),
        ("*/x * * * *", "a step is a number from 1", "*/5"),
        ("1,,2 * * * *", "\"\" in the minute", "0 to 59"),
        ("+5 * * * *", "\"+5\" in the minute", "0 to 59"),
        ("*5 * * * *", "\"*5\" in the minute", "0 to 59"),
        ("1-2-3 * * * *", "\"1-2-3\" in the minute", "0 to 59"),
    ] {
        let error = text.parse::<Schedule>().expect_err(text);
        assert!(error.message.contains(message), "{text}: {error}");
        assert!(error.hint.contains(hint), "{text}: {error}");
    }
}

#[test]
fn prints_what_was_written() {
    for text in ["0  3 * * sun", "@daily", "5-15/5 23 * dec fri"] {
        assert_eq!(schedule(text).to_string(), text);
    }
    assert_eq!(schedule(" @daily\n").as_str(), "@daily");
}

/// Reads a field the slow and obvious way: every value is asked whether it matches.
fn matches(field: &str, value: i64, min: i64, max: i64) -> bool {
    field.split(',').any(|item| {
        let (range, step) = item.split_once('/').unwrap_or((item, "1"));
        let step: i64 = step.parse().unwrap();
        let (first, last) = match range.split_once('-') {
            _ if range == "*" => (min, max),
            Some((first, last)) => (first.parse().unwrap(), last.parse().unwrap()),
            None => (range.parse().unwrap(), range.parse().unwrap()),
        };
        first <= value && value <= last && (value - first) % step == 0
    })
}

/// Whether a crontab line fires in the minute that starts at `now`, as crontab(5) tells it.
fn fires(fields: &[String; 5], now: Timestamp) -> bool {
    let now = now.to_zoned(TimeZone::UTC);
    let weekday = i64::from(now.weekday().to_sunday_zero_offset());
    let in_month = matches(&fields[2], now.day().into(), 1, 31);
    let in_week = matches(&fields[4], weekday, 0, 6)
        || weekday == 0 && !fields[4].starts_with('*') && matches(&fields[4], 7, 0, 7);
    let day = if fields[2].starts_with('*') || fields[4].starts_with('*') {
        in_month && in_week
    } else {
        in_month || in_week
    };
    day && matches(&fields[0], now.minute().into(), 0, 59)
        && matches(&fields[1], now.hour().into(), 0, 23)
        && matches(&fields[3], now.month().into(), 1, 12)
}

fn field(min: u32, max: u32) -> impl Strategy<Value = String> {
    let number = (min..=max).prop_map(|n| n.to_string());
    let range = (min..=max, min..=max).prop_map(|(a, b)| format!("{}-{}", a.min(b), a.max(b)));
    let ranges = prop_oneof![Just("*".to_owned()), range];
    let stepped = (ranges.clone(), 1..9u32).prop_map(|(range, step)| format!("{range}/{step}"));
    let item = prop_oneof![number, ranges, stepped];
    prop_oneof![
        2 => Just("*".to_owned()),
        3 => proptest::collection::vec(item, 1..4).prop_map(|items| items.join(",")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn agrees_with_a_minute_by_minute_matcher(
        fields in [field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 7)],
        start in 0i64..3_000_000_000,
    ) {
        let start = Timestamp::from_second(start).unwrap();
        let Ok(schedule) = fields.join(" ").parse::<Schedule>() else {
            // Only impossible dates are refused, and those never match.
            let mut day = start;
            for _ in 0..1500 {
                day += SignedDuration::from_hours(24);
                let noon: [String; 5] = ["*".into(), "*".into(),
                    fields[2].clone(), fields[3].clone(), fields[4].clone()];
                prop_assert!(!fires(&noon, day), "{fields:?} at {day}");
            }
            return Ok(());
        };
        let mut expected = Timestamp::from_second(start.as_second() / 60 * 60).unwrap();
        let mut found = schedule.next_after(start).unwrap();
        for _ in 0..10_000 {
            expected += SignedDuration::from_mins(1);
            if fires(&fields, expected) {
                prop_assert_eq!(found, expected, "{:?}", fields);
                found = schedule.next_after(found).unwrap();
            }
        }
        prop_assert!(found > expected, "{fields:?}: {found} never came");
        let gap = schedule.longest_gap(start);
        prop_assert!(schedule.next_after(found).unwrap().duration_since(found) <= gap);
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,20}") {
        let _ = text.parse::<Schedule>();
    }
}
