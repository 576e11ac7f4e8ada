//! How times read: the same words wherever a person sees them.

use jiff::{SignedDuration, Timestamp};

/// A duration in its two largest units: `12 d 4 h`. Its sign is left out.
pub fn duration(duration: SignedDuration) -> String {
    const UNITS: [(u64, &str); 5] = [
        (365 * 86_400, "y"),
        (86_400, "d"),
        (3_600, "h"),
        (60, "min"),
        (1, "s"),
    ];
    let mut rest = duration.as_secs().unsigned_abs();
    let mut parts: Vec<String> = Vec::new();
    for (length, unit) in UNITS {
        if rest >= length && parts.len() < 2 {
            parts.push(format!("{} {unit}", rest / length));
            rest %= length;
        } else if !parts.is_empty() {
            // The unit next to the largest, or none: "12 d 59 s" says nothing more than "12 d".
            break;
        }
    }
    match parts.is_empty() {
        true => "0 s".to_owned(),
        false => parts.join(" "),
    }
}

/// `in 12 d 4 h` or `3 h ago`.
pub fn relative(at: Timestamp, now: Timestamp) -> String {
    let distance = duration(at.duration_since(now));
    match at >= now {
        true => format!("in {distance}"),
        false => format!("{distance} ago"),
    }
}

/// The day in UTC: `2026-11-23`.
pub fn day(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_two_units_at_most() {
        let text = |seconds| duration(SignedDuration::from_secs(seconds));
        assert_eq!(text(0), "0 s");
        assert_eq!(text(59), "59 s");
        assert_eq!(text(3_600), "1 h");
        assert_eq!(text(86_400 * 12 + 3_600 * 4 + 59), "12 d 4 h");
        assert_eq!(text(86_400 * 12 + 59), "12 d");
        assert_eq!(text(-7_260), "2 h 1 min");
    }

    #[test]
    fn times_are_told_from_now() {
        let now = Timestamp::UNIX_EPOCH;
        let hours = SignedDuration::from_hours(30);
        assert_eq!(relative(now + hours, now), "in 1 d 6 h");
        assert_eq!(relative(now - hours, now), "1 d 6 h ago");
        assert_eq!(day(now), "1970-01-01");
    }
}
