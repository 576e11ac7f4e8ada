use std::fmt;
use std::str::FromStr;

use jiff::SignedDuration;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::error::ValueError;

const YEAR: u64 = 365 * DAY;
const DAY: u64 = 24 * HOUR;
const HOUR: u64 = 60 * MINUTE;
const MINUTE: u64 = 60;

/// From large to small, the order in which they are written.
pub(crate) const UNITS: [(char, u64); 5] = [
    ('y', YEAR),
    ('d', DAY),
    ('h', HOUR),
    ('m', MINUTE),
    ('s', 1),
];

const EXAMPLES: &str = "write for example 1y, 90d, 12h or 1d12h";

/// How long a certificate is valid: `10y`, `90d`, `12h`, `30m`, `45s`, or combined from large to
/// small as in `1d12h`. Whole seconds, more than none, at most 100 years. A year has 365 days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lifetime {
    seconds: u64,
}

impl Lifetime {
    /// The longest lifetime.
    pub const MAX: Self = Self {
        seconds: 100 * YEAR,
    };

    /// From a number of seconds.
    pub fn from_secs(seconds: u64) -> Result<Self, ValueError> {
        match seconds {
            0 => Err(ValueError::new("a lifetime must not be zero", EXAMPLES)),
            seconds if seconds > Self::MAX.seconds => Err(ValueError::new(
                "a lifetime must not be longer than 100y",
                EXAMPLES,
            )),
            seconds => Ok(Self { seconds }),
        }
    }

    /// Days, for constants.
    pub(super) const fn days(days: u32) -> Self {
        assert!(days > 0 && days as u64 * DAY <= Self::MAX.seconds);
        Self {
            seconds: days as u64 * DAY,
        }
    }

    /// Minutes, for constants.
    pub(super) const fn minutes(minutes: u32) -> Self {
        assert!(minutes > 0 && minutes as u64 * MINUTE <= Self::MAX.seconds);
        Self {
            seconds: minutes as u64 * MINUTE,
        }
    }

    /// Seconds, for constants.
    pub(super) const fn seconds(seconds: u32) -> Self {
        assert!(seconds > 0);
        Self {
            seconds: seconds as u64,
        }
    }

    /// Length in seconds.
    pub fn as_secs(self) -> u64 {
        self.seconds
    }

    /// The length as the type that time is reckoned with.
    pub fn duration(self) -> SignedDuration {
        // 100 years of seconds fit.
        SignedDuration::from_secs(i64::try_from(self.seconds).unwrap_or(i64::MAX))
    }
}

impl FromStr for Lifetime {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let shown: String = text.chars().take(40).collect();
        let refuse =
            |why: &str| ValueError::new(format!("{shown:?} is no lifetime: {why}"), EXAMPLES);
        let mut seconds: u64 = 0;
        let mut units = UNITS.iter();
        let mut rest = text;
        if rest.is_empty() {
            return Err(refuse("it is empty"));
        }
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (number, tail) = rest.split_at(digits);
            let unit = match tail.chars().next() {
                _ if number.is_empty() => {
                    return Err(refuse("a whole number and a unit must follow each other"));
                }
                None => return Err(refuse("the unit (y, d, h, m or s) is missing")),
                Some(unit) => unit,
            };
            if !UNITS.iter().any(|(known, _)| *known == unit) {
                return Err(refuse("the units are y, d, h, m and s"));
            }
            // The iterator goes on where it stopped, so that no unit comes twice or too late.
            let Some((_, length)) = units.by_ref().find(|(known, _)| *known == unit) else {
                return Err(refuse("units go from large to small, each once"));
            };
            seconds = number
                .parse::<u64>()
                .ok()
                .and_then(|number| number.checked_mul(*length))
                .and_then(|part| seconds.checked_add(part))
                .ok_or_else(|| refuse("it is longer than 100y"))?;
            rest = tail.strip_prefix(unit).unwrap_or_default();
        }
        Self::from_secs(seconds).map_err(|_| match seconds {
            0 => refuse("it is zero"),
            _ => refuse("it is longer than 100y"),
        })
    }
}

impl fmt::Display for Lifetime {
    /// The shortest way to write it with numbers of up to three digits in which no part is as long
    /// as the unit before it: `36h`, `90d`, `7d4h48m`. Of equally short ones the one with the
    /// smaller numbers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let forms = (0..UNITS.len()).filter_map(|skipped| written(self.seconds, skipped));
        match forms.min_by_key(|(text, numbers)| (text.len(), *numbers)) {
            Some((text, _)) => f.pad(&text),
            None => write!(f, "{}s", self.seconds),
        }
    }
}

/// `seconds` without the `skipped` largest units, with the sum of the numbers in it; none if it
/// starts with a number that nobody wants to read.
fn written(seconds: u64, skipped: usize) -> Option<(String, u64)> {
    let (mut text, mut numbers, mut rest) = (String::new(), 0, seconds);
    for (unit, length) in UNITS.iter().skip(skipped) {
        let number = rest / length;
        if number > 0 {
            text.push_str(&format!("{number}{unit}"));
            numbers += number;
            rest %= length;
        }
        if number > 999 {
            return None;
        }
    }
    Some((text, numbers))
}

impl Serialize for Lifetime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Lifetime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Lifetime {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Lifetime".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "minLength": 2,
            "pattern": "^([0-9]+y)?([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$",
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lifetime(text: &str) -> Lifetime {
        text.parse().unwrap()
    }

    #[test]
    fn reads_every_unit_and_combinations() {
        for (text, seconds) in [
            ("45s", 45),
            ("30m", 1_800),
            ("12h", 43_200),
            ("90d", 7_776_000),
            ("10y", 315_360_000),
            ("1d12h", 129_600),
            ("1y1d1h1m1s", 31_536_000 + 86_400 + 3_600 + 60 + 1),
            ("0y90d", 7_776_000),
            ("100y", 3_153_600_000),
        ] {
            assert_eq!(lifetime(text).as_secs(), seconds, "{text}");
        }
    }

    #[test]
    fn refuses_and_says_why() {
        for (text, why) in [
            ("", "it is empty"),
            ("90", "the unit (y, d, h, m or s) is missing"),
            ("1d12", "the unit (y, d, h, m or s) is missing"),
            ("d", "a whole number and a unit must follow each other"),
            ("-1d", "a whole number and a unit must follow each other"),
            ("1d 12h", "a whole number and a unit must follow each other"),
            ("1.5d", "the units are y, d, h, m and s"),
            ("90D", "the units are y, d, h, m and s"),
            ("2w", "the units are y, d, h, m and s"),
            ("12h1d", "units go from large to small, each once"),
            ("1d1d", "units go from large to small, each once"),
            ("0s", "it is zero"),
            ("0d0s", "it is zero"),
            ("101y", "it is longer than 100y"),
            ("100y1s", "it is longer than 100y"),
            ("99999999999999999999s", "it is longer than 100y"),
            ("18446744073709551615y", "it is longer than 100y"),
        ] {
            let error = text.parse::<Lifetime>().unwrap_err();
            assert_eq!(error.message, format!("{text:?} is no lifetime: {why}"));
            assert!(error.hint.contains("90d"), "{error}");
        }
    }

    #[test]
    fn prints_the_shortest_form() {
        for (text, shortest) in [
            ("365d", "1y"),
            ("24h", "1d"),
            ("1d12h", "36h"),
            ("90s", "90s"),
            ("1m30s", "90s"),
            ("120m", "2h"),
            ("1y12h", "1y12h"),
            ("86401s", "1d1s"),
            ("1d1h1s", "25h1s"),
            ("30d", "30d"),
            ("400d", "400d"),
            ("1461d", "4y1d"),
            ("10368m", "7d4h48m"),
            ("100y", "100y"),
        ] {
            assert_eq!(lifetime(text).to_string(), shortest, "{text}");
        }
    }

    #[test]
    fn serde_goes_through_the_text() {
        let text = serde_json::to_string(&lifetime("1d12h")).unwrap();
        assert_eq!(text, "\"36h\"");
        assert_eq!(
            serde_json::from_str::<Lifetime>(&text).unwrap(),
            lifetime("36h")
        );
        assert!(serde_json::from_str::<Lifetime>("\"1w\"").is_err());
    }

    proptest! {
        #[test]
        fn display_reads_back(seconds in 1..=Lifetime::MAX.as_secs()) {
            let lifetime = Lifetime::from_secs(seconds).unwrap();
            let text = lifetime.to_string();
            prop_assert_eq!(text.parse::<Lifetime>().unwrap(), lifetime);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,12}") {
            let _ = text.parse::<Lifetime>();
        }
    }
}
