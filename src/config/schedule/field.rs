use super::super::error::ValueError;

/// One field of a crontab expression and what may stand in it.
pub(super) struct Field {
    /// The name in messages.
    pub(super) name: &'static str,
    /// The smallest number.
    pub(super) min: u32,
    /// The largest number that may be written.
    pub(super) max: u32,
    /// Names for numbers, from `min` up. Any case.
    pub(super) names: &'static [&'static str],
}

pub(super) const MINUTE: Field = Field {
    name: "minute",
    min: 0,
    max: 59,
    names: &[],
};
pub(super) const HOUR: Field = Field {
    name: "hour",
    min: 0,
    max: 23,
    names: &[],
};
pub(super) const DAY_OF_MONTH: Field = Field {
    name: "day of month",
    min: 1,
    max: 31,
    names: &[],
};
pub(super) const MONTH: Field = Field {
    name: "month",
    min: 1,
    max: 12,
    names: &[
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
    ],
};
/// 0 and 7 are both Sunday; [`Field::parse`] answers with 0 to 6.
pub(super) const DAY_OF_WEEK: Field = Field {
    name: "day of week",
    min: 0,
    max: 7,
    names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
};

/// What a field selects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Selection {
    /// Bit n is set if n is selected.
    bits: u64,
    /// Whether the field starts with `*`. Such a field does not restrict, even with a step: that is
    /// how cron decides whether day of month and day of week are alternatives.
    pub(super) starred: bool,
}

impl Selection {
    /// The numbers that are selected, in order.
    pub(super) fn numbers(self) -> impl Iterator<Item = u32> {
        (0..64).filter(move |number| self.bits & (1 << number) != 0)
    }
}

impl Field {
    /// Reads what stands in the field: numbers or names, ranges, lists, steps.
    pub(super) fn parse(&self, text: &str) -> Result<Selection, ValueError> {
        let mut bits = 0;
        for item in text.split(',') {
            bits |= self.parse_item(item)?;
        }
        if self.max == DAY_OF_WEEK.max {
            bits = (bits | (bits >> 7)) & 0x7f;
        }
        Ok(Selection {
            bits,
            starred: text.starts_with('*'),
        })
    }

    fn parse_item(&self, item: &str) -> Result<u64, ValueError> {
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, Some(self.parse_step(item, step)?)),
            None => (item, None),
        };
        let (first, last) = if range == "*" {
            (self.min, self.last())
        } else if let Some((first, last)) = range.split_once('-') {
            self.parse_range(item, first, last)?
        } else {
            let number = self.parse_number(item, range)?;
            if let Some(step) = step {
                return Err(self.refuse(
                    item,
                    "a step needs a range",
                    format!("write {number}-{}/{step}", self.last()),
                ));
            }
            (number, number)
        };
        let step = usize::try_from(step.unwrap_or(1)).unwrap_or(usize::MAX);
        Ok((first..=last)
            .step_by(step)
            .fold(0, |bits, number| bits | 1 << number))
    }

    fn parse_range(&self, item: &str, first: &str, last: &str) -> Result<(u32, u32), ValueError> {
        let (start, mut end) = (
            self.parse_number(item, first)?,
            self.parse_number(item, last)?,
        );
        if self.max == DAY_OF_WEEK.max && end == 0 && start > 0 {
            // Sunday as the end of a range is the seventh day.
            end = 7;
        }
        if start > end {
            return Err(self.refuse(
                item,
                "the range runs backwards",
                format!(
                    "write {first}-{},{}-{last}",
                    self.shown(self.last()),
                    self.shown(self.min)
                ),
            ));
        }
        Ok((start, end))
    }

    fn parse_step(&self, item: &str, step: &str) -> Result<u32, ValueError> {
        match number(step) {
            Some(step) if step > 0 => Ok(step),
            _ => Err(self.refuse(
                item,
                "a step is a number from 1",
                "write for example */5".to_owned(),
            )),
        }
    }

    fn parse_number(&self, item: &str, text: &str) -> Result<u32, ValueError> {
        let named = self.names.iter().position(|n| n.eq_ignore_ascii_case(text));
        let value = match named.and_then(|index| u32::try_from(index).ok()) {
            Some(index) => Some(self.min + index),
            None => number(text),
        };
        match value {
            Some(value) if (self.min..=self.max).contains(&value) => Ok(value),
            _ => Err(self.refuse(
                item,
                "not a value that crontab knows",
                format!("write {}", self.allowed()),
            )),
        }
    }

    fn refuse(&self, item: &str, why: &str, hint: String) -> ValueError {
        let item: String = item.chars().take(40).collect();
        ValueError::new(format!("{item:?} in the {}: {why}", self.name), hint)
    }

    /// The largest number as the end of `*`: one Sunday is enough.
    fn last(&self) -> u32 {
        if self.max == DAY_OF_WEEK.max {
            6
        } else {
            self.max
        }
    }

    fn shown(&self, number: u32) -> String {
        let index = usize::try_from(number - self.min).unwrap_or(usize::MAX);
        match self.names.get(index) {
            Some(name) => name.to_uppercase(),
            None => number.to_string(),
        }
    }

    fn allowed(&self) -> String {
        let numbers = format!("{} to {}", self.min, self.max);
        let names = match (self.names.first(), self.names.last()) {
            (Some(first), Some(last)) => {
                format!(" or {} to {}", first.to_uppercase(), last.to_uppercase())
            }
            _ => String::new(),
        };
        format!("{numbers}{names}, ranges as in 1-5, lists as in 1,3, steps as in */2")
    }
}

/// A plain number: what `parse` takes besides, like `+5`, is none in a crontab.
fn number(text: &str) -> Option<u32> {
    let plain = (1..=4).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}
