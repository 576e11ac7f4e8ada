//! The table of all checks: what a finding is called, how bad it is, why it matters and what to do.
//!
//! Everything that tells people about a code (findings, `explain`, `docs/findings.md`) is made from
//! this table. Numbers are never reused: a code that is no longer checked leaves a gap.

mod deployment;
mod pki;

use std::fmt;
use std::sync::LazyLock;

use serde::{Serialize, Serializer};

pub(super) use deployment::codes::*;
pub(super) use pki::codes::*;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something is broken, will break at a known time, or lets somebody in.
    Error,
    /// Nothing is broken yet, but something is not as it should be.
    Warning,
    /// Worth knowing; nothing has to be done.
    Info,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
        })
    }
}

/// The name of a check: `R` and four digits, of which the first two name the family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Code(u16);

impl Code {
    /// The family, 1 to 10.
    pub fn family(self) -> u16 {
        self.0 / 100
    }

    /// What the table says about it.
    pub fn check(self) -> &'static Check {
        let found = checks().binary_search_by_key(&self, |check| check.code);
        // Every code is made by the macro that makes its row.
        found
            .ok()
            .and_then(|index| checks().get(index))
            .unwrap_or(&UNKNOWN)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "R{:04}", self.0)
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One row of the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// Its name.
    pub code: Code,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, in one line.
    pub title: &'static str,
    /// Why it matters.
    pub effect: &'static str,
    /// What to do: a command where there is one. `{cluster}` stands for the cluster's name,
    /// `{rotate}` for the command that replaces what is named.
    pub remedy: &'static str,
    /// More, for who wants to understand it.
    pub explain: &'static str,
    /// Where the rule comes from.
    pub source: &'static str,
}

/// Stands in for a code without a row, which the macro rules out.
static UNKNOWN: Check = Check {
    code: Code(0),
    severity: Severity::Error,
    title: "unknown check",
    effect: "",
    remedy: "",
    explain: "",
    source: "",
};

static CHECKS: LazyLock<Vec<Check>> = LazyLock::new(|| {
    let mut checks: Vec<Check> = deployment::ROWS.iter().chain(pki::ROWS).cloned().collect();
    checks.sort_by_key(|check| check.code);
    checks
});

/// Every check, by code.
pub fn checks() -> &'static [Check] {
    &CHECKS
}

/// What `{rotate}` stands for where it is not known what is named.
pub(super) const ROTATE: &str = "relay-pki rotate server, or relay-pki rotate agent {cluster}";

/// A remedy without a finding that it is for.
fn general(remedy: &str) -> String {
    let remedy = remedy.replace("{rotate}", ROTATE);
    remedy.replace("{cluster}", "CLUSTER")
}

/// The families, with their numbers.
const FAMILIES: [(u16, &str); 10] = [
    (1, "Key placement"),
    (2, "Chain and handshake"),
    (3, "Validity and renewal"),
    (4, "Reachability and permission"),
    (5, "Identity"),
    (6, "Tokens"),
    (7, "Algorithm and profile"),
    (8, "Ownership and drift"),
    (9, "Backend"),
    (10, "Rotation"),
];

/// What there is to say about a code, for people; `None` for one that does not exist. The case of
/// the letter does not matter.
pub fn explain(code: &str) -> Option<String> {
    let wanted = code.trim().to_ascii_uppercase();
    let check = checks()
        .iter()
        .find(|check| check.code.to_string() == wanted)?;
    Some(format!(
        "{} {}: {}\n\n{}\n\n  effect  {}\n  fix     {}\n  source  {}\n",
        check.severity,
        check.code,
        check.title,
        check.explain,
        check.effect,
        general(check.remedy),
        check.source,
    ))
}

/// The reference of all codes (`docs/findings.md`), from the table.
pub fn findings_markdown() -> String {
    let mut text = String::from(
        "# Findings\n\n\
         Everything that `relay-pki audit` can say, by code. `relay-pki explain CODE` shows the same.\n\n\
         Made from the table in `src/audit/code`; change it there, then run\n\
         `RELAY_PKI_WRITE_DOCS=1 cargo test -p relay-pki --lib audit::`.\n\n\
         An error is broken, will break at a known time, or lets somebody in; a warning is not as it\n\
         should be; an info is worth knowing. Numbers are never reused.\n",
    );
    for (number, family) in FAMILIES {
        text.push_str(&format!("\n## R{number:02} {family}\n"));
        let rows = checks()
            .iter()
            .filter(|check| check.code.family() == number);
        for check in rows {
            text.push_str(&format!(
                "\n### {} {}\n\n{}\n\n- severity: {}\n- effect: {}\n- fix: {}\n- source: {}\n",
                check.code,
                check.title,
                check.explain,
                check.severity,
                check.effect,
                general(check.remedy),
                check.source,
            ));
        }
    }
    text
}

/// Rows of the table, and a constant for each code.
macro_rules! rows {
    ($($name:ident $number:literal $severity:ident {
        title: $title:literal,
        effect: $effect:literal,
        remedy: $remedy:literal,
        explain: $explain:literal,
        source: $source:literal,
    })+) => {
        pub(super) const ROWS: &[super::Check] = &[$(super::Check {
            code: super::Code($number),
            severity: super::Severity::$severity,
            title: $title,
            effect: $effect,
            remedy: $remedy,
            explain: $explain,
            source: $source,
        },)+];

        /// The codes by name.
        pub(in crate::audit) mod codes {
            use super::super::Code;
            $(pub(in crate::audit) const $name: Code = Code($number);)+
        }
    };
}
use rows;
