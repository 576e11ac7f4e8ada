//! When something may happen: a crontab expression, and the times that it means.

mod field;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use jiff::{SignedDuration, Timestamp};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use self::field::{DAY_OF_MONTH, DAY_OF_WEEK, HOUR, MINUTE, MONTH, Selection};
use super::error::ValueError;

/// After 28 years months, weekdays and leap years come round in the same order (until 2100).
const CALENDAR_CYCLE: SignedDuration = SignedDuration::from_hours(24 * (28 * 365 + 7));

const DAY: SignedDuration = SignedDuration::from_hours(24);

const EXAMPLE: &str = "write five fields, minute hour day-of-month month day-of-week, \
                       for example \"0 3 * * SUN\"";

/// What the words starting with `@` stand for, as crontab(5) has it.
const MACROS: [(&str, &str); 7] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

/// A crontab expression with the meaning of crontab(5), in UTC: five fields, weekdays 0 to 7 with
/// Sunday twice, and if both day of month and day of week are restricted, either is enough. A field
/// is restricted if it does not start with `*`.
///
/// The `cron` crate computes the times, but its expressions mean other things (seconds first,
/// Sunday is 1, both days have to match). So the fields are read here and it gets plain lists.
/// Times after the year 2100 are out of its reach.
#[derive(Clone)]
pub struct Schedule(Arc<Compiled>);

struct Compiled {
    text: String,
    /// It fires when any of them does; there are two if either kind of day is enough.
    alternatives: Vec<cron::Schedule>,
    /// The days of every alternative, as schedules that fire at midnight.
    days: Vec<cron::Schedule>,
    first_of_day: SignedDuration,
    last_of_day: SignedDuration,
    longest_within_day: SignedDuration,
}

impl Schedule {
    /// The expression as it was written.
    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    /// The first time after `after`; none if that would be after the year 2100.
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        next_of(&self.0.alternatives, after)
    }

    /// The first time that is `at` or later.
    pub fn next_from(&self, at: Timestamp) -> Option<Timestamp> {
        self.next_after(at.checked_sub(SignedDuration::from_nanos(1)).ok()?)
    }

    /// The longest time without firing in the 28 years after `from`, which is the longest at all
    /// for as long as every fourth year is a leap year.
    pub fn longest_gap(&self, from: Timestamp) -> SignedDuration {
        let end = from.checked_add(CALENDAR_CYCLE).unwrap_or(Timestamp::MAX);
        // The times of day are the same on every day that has any, so only days are walked.
        let overnight = DAY - self.0.last_of_day + self.0.first_of_day;
        let mut longest = self.0.longest_within_day;
        let mut previous = None;
        let mut day = next_of(&self.0.days, from);
        while let Some(this) = day.filter(|day| *day <= end) {
            if let Some(previous) = previous {
                longest = longest.max(this.duration_since(previous) - DAY + overnight);
            }
            previous = Some(this);
            day = next_of(&self.0.days, this);
        }
        match previous {
            Some(_) => longest,
            None => CALENDAR_CYCLE,
        }
    }
}

/// The first time after `after` at which any of `schedules` fires.
fn next_of(schedules: &[cron::Schedule], after: Timestamp) -> Option<Timestamp> {
    // Rounded down: a fraction of a second before a full minute is still before it.
    let second = after.as_second() - i64::from(after.subsec_nanosecond() < 0);
    let after: DateTime<Utc> = DateTime::from_timestamp(second, 0)?;
    let next = schedules
        .iter()
        .filter_map(|schedule| schedule.after(&after).next())
        .min()?;
    Timestamp::from_second(next.timestamp()).ok()
}

impl FromStr for Schedule {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let shown: String = text.chars().take(80).collect();
        let expression = match MACROS.iter().find(|(name, _)| *name == text) {
            Some((_, expression)) => expression,
            None if text.starts_with('@') => {
                let known: Vec<&str> = MACROS.iter().map(|(name, _)| *name).collect();
                return Err(ValueError::new(
                    format!("{shown:?} is no schedule that comes back"),
                    format!("write {} or {EXAMPLE}", known.join(", ")),
                ));
            }
            None => text,
        };
        let fields: Vec<&str> = expression.split_ascii_whitespace().collect();
        let [minute, hour, day_of_month, month, day_of_week] = fields.as_slice() else {
            return Err(ValueError::new(
                format!("the schedule {shown:?} has {} fields", fields.len()),
                format!("{EXAMPLE} (no seconds, no years)"),
            ));
        };
        let schedule = Self(Arc::new(compile(
            text,
            MINUTE.parse(minute)?,
            HOUR.parse(hour)?,
            DAY_OF_MONTH.parse(day_of_month)?,
            MONTH.parse(month)?,
            DAY_OF_WEEK.parse(day_of_week)?,
        )?));
        if schedule.next_after(Timestamp::UNIX_EPOCH).is_none() {
            return Err(ValueError::new(
                format!("the schedule {shown:?} never fires: no such month has that day"),
                "write a day that the month has, or * as the month",
            ));
        }
        Ok(schedule)
    }
}

fn compile(
    text: &str,
    minutes: Selection,
    hours: Selection,
    days_of_month: Selection,
    months: Selection,
    days_of_week: Selection,
) -> Result<Compiled, ValueError> {
    let month_days = list(days_of_month.numbers());
    // The cron crate counts weekdays from 1 for Sunday.
    let weekdays = list(days_of_week.numbers().map(|day| day + 1));
    let months = list(months.numbers());
    let either = !days_of_month.starred && !days_of_week.starred;
    let days = if either {
        vec![
            format!("{month_days} {months} *"),
            format!("* {months} {weekdays}"),
        ]
    } else {
        // One of them is a star; a star with a step still has to match.
        vec![format!("{month_days} {months} {weekdays}")]
    };
    let minutes: Vec<u32> = minutes.numbers().collect();
    let times = format!(
        "{} {}",
        list(minutes.iter().copied()),
        list(hours.numbers())
    );
    let of_day: Vec<SignedDuration> = hours
        .numbers()
        .flat_map(|hour| minutes.iter().map(move |minute| hour * 60 + minute))
        .map(|minute| SignedDuration::from_mins(i64::from(minute)))
        .collect();
    let steps = of_day.iter().zip(of_day.iter().skip(1));
    Ok(Compiled {
        text: text.to_owned(),
        alternatives: schedules(&format!("0 {times}"), &days)?,
        days: schedules("0 0 0", &days)?,
        first_of_day: of_day.first().copied().unwrap_or_default(),
        last_of_day: of_day.last().copied().unwrap_or_default(),
        longest_within_day: steps.map(|(a, b)| *b - *a).max().unwrap_or_default(),
    })
}

fn list(numbers: impl Iterator<Item = u32>) -> String {
    let numbers: Vec<String> = numbers.map(|number| number.to_string()).collect();
    numbers.join(",")
}

fn schedules(times: &str, days: &[String]) -> Result<Vec<cron::Schedule>, ValueError> {
    days.iter()
        .map(|days| format!("{times} {days}").parse())
        .collect::<Result<_, cron::error::Error>>()
        .map_err(|error| ValueError::new(format!("the schedule cannot be used: {error}"), EXAMPLE))
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Schedule({})", self.as_str())
    }
}

/// Two schedules are the same if they are written the same.
impl PartialEq for Schedule {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Schedule {}

impl Serialize for Schedule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Schedule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Schedule {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Schedule".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": r"^\s*(@[a-z]+|\S+\s+\S+\s+\S+\s+\S+\s+\S+)\s*$",
        })
    }
}
