use std::fmt;

/// At most this many problems are shown at once; the others are counted.
const SHOWN: usize = 20;

/// Why a text is not the value it should be: what is wrong, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}; {hint}")]
pub struct ValueError {
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub hint: String,
}

impl ValueError {
    /// From what is wrong and what to write instead.
    pub fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: hint.into(),
        }
    }
}

/// One thing that is wrong with a document or an object, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file, as the user named it, or the object, as in `RelayCluster cluster-1`.
    pub file: String,
    /// The line, from 1; none where the problem is the whole file, and in objects.
    pub line: Option<u32>,
    /// The column in characters, from 1.
    pub column: Option<u32>,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        for position in [self.line, self.column].into_iter().flatten() {
            write!(f, ":{position}")?;
        }
        write!(f, ": {}", self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

/// A document that is refused, with everything that is wrong with it. Shows one line per problem.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", lines(problems, *omitted))]
pub struct ConfigError {
    problems: Vec<Problem>,
    omitted: usize,
}

impl ConfigError {
    /// Sorts the problems by their place and keeps the first of them. One that was found several
    /// times, for example in every cluster, stays once.
    pub(super) fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort_by(|a, b| {
            let key = |problem: &Problem| (problem.line, problem.column);
            key(a).cmp(&key(b)).then_with(|| a.message.cmp(&b.message))
        });
        problems.dedup();
        let omitted = problems.len().saturating_sub(SHOWN);
        problems.truncate(SHOWN);
        Self { problems, omitted }
    }

    /// The problems by place: not more than 20.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// How many more there are.
    pub fn omitted(&self) -> usize {
        self.omitted
    }
}

fn lines(problems: &[Problem], omitted: usize) -> String {
    let mut lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
    if omitted > 0 {
        lines.push(format!("and {omitted} more"));
    }
    lines.join("\n")
}

/// The candidate that `word` was probably meant to be.
pub(crate) fn did_you_mean<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let word: String = word.chars().take(64).collect::<String>().to_lowercase();
    let tolerated = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (distance(&word, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= tolerated)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance: how many characters to insert, delete or replace.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, left) in a.chars().enumerate() {
        // `row` holds the distances of a[..i]; it becomes those of a[..=i] from left to right.
        let mut diagonal = i;
        let mut previous = i + 1;
        if let Some(first) = row.first_mut() {
            *first = previous;
        }
        for (cell, right) in row.iter_mut().skip(1).zip(b.chars()) {
            let replaced = diagonal + usize::from(left != right);
            diagonal = *cell;
            *cell = replaced.min(diagonal + 1).min(previous + 1);
            previous = *cell;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(line: u32) -> Problem {
        Problem {
            file: "relay.yaml".to_owned(),
            line: Some(line),
            column: Some(3),
            message: "unknown field \"sign\"".to_owned(),
            hint: Some("did you mean \"signer\"?".to_owned()),
        }
    }

    #[test]
    fn shows_a_line_per_problem_in_the_order_of_the_file() {
        let whole = Problem {
            line: None,
            column: None,
            hint: None,
            ..problem(0)
        };
        let error = ConfigError::new(vec![problem(9), problem(4), whole]);
        assert_eq!(
            error.to_string(),
            "relay.yaml: unknown field \"sign\"\n\
             relay.yaml:4:3: unknown field \"sign\"; did you mean \"signer\"?\n\
             relay.yaml:9:3: unknown field \"sign\"; did you mean \"signer\"?"
        );
    }

    #[test]
    fn shows_twenty_and_counts_the_rest() {
        let error = ConfigError::new((1..=25).rev().map(problem).collect());
        assert_eq!(error.problems().len(), 20);
        assert_eq!(error.omitted(), 5);
        let text = error.to_string();
        assert!(text.starts_with("relay.yaml:1:3:"), "{text}");
        assert!(text.ends_with("\nand 5 more"), "{text}");
    }

    #[test]
    fn suggests_only_what_is_near() {
        let fields = ["renewAt", "schedule", "validity"];
        assert_eq!(did_you_mean("renewat", fields), Some("renewAt"));
        assert_eq!(did_you_mean("shedule", fields), Some("schedule"));
        assert_eq!(did_you_mean("validitty", fields), Some("validity"));
        assert_eq!(did_you_mean("kubeconfig", fields), None);
        assert_eq!(did_you_mean("", fields), None);
    }

    #[test]
    fn distance_is_levenshtein() {
        for (a, b, expected) in [
            ("", "", 0),
            ("abc", "", 3),
            ("", "ab", 2),
            ("kitten", "sitting", 3),
            ("flaw", "lawn", 2),
            ("same", "same", 0),
        ] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }
}
