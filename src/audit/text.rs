//! The report for people: no borders, a symbol and a word wherever there is a colour, the verdict
//! last.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::code::Severity;
use super::finding::Finding;
use super::report::{ChainNode, Report};
use crate::wording::{day, relative};

/// Leaves that are shown under one CA.
const LEAVES: usize = 20;
/// Groups of findings that are shown of one code.
const GROUPS: usize = 8;
/// Clusters that are named in one group.
const NAMES: usize = 6;
/// Clusters that could not be checked that are named.
const NOT_CHECKED: usize = 20;

/// What a word means, which decides its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// All is well.
    Good,
    /// Not as it should be.
    Warning,
    /// Broken.
    Bad,
    /// Of less interest.
    Faint,
}

/// The report as text. `wide` shows every finding by itself and every certificate; otherwise equal
/// findings of several clusters are one, and long lists are cut with a note of how much is left.
/// `paint` colours a word, or does not.
pub fn render(report: &Report, wide: bool, paint: &dyn Fn(Style, &str) -> String) -> String {
    let mut text = String::new();
    let counts = &report.counts;
    let scope = match &report.relay {
        Some(relay) => format!(
            "Relay {relay}   {} clusters, {} objects",
            counts.clusters, counts.objects
        ),
        None => format!("{} files, {} sections", counts.clusters, counts.objects),
    };
    let _ = writeln!(text, "{scope}, {} checks\n", counts.checks);
    chain(&mut text, report, wide, paint);
    for finding in groups(&report.findings, wide) {
        finding.write(&mut text, paint);
    }
    not_checked(&mut text, report, wide, paint);
    verdict(&mut text, report, paint);
    text
}

fn chain(text: &mut String, report: &Report, wide: bool, paint: &dyn Fn(Style, &str) -> String) {
    let mut rows: Vec<(Vec<String>, Option<String>)> = Vec::new();
    for node in &report.chain {
        row(&mut rows, node, "", "", wide, paint);
    }
    if rows.is_empty() {
        return;
    }
    let header = ["CHAIN", "KEY", "ISSUED BY", "UNTIL", "LIFE LEFT"].map(str::to_owned);
    rows.insert(0, (header.to_vec(), None));
    let mut widths = [0usize; 5];
    for (cells, _) in &rows {
        for (width, cell) in widths.iter_mut().zip(cells) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for (cells, note) in rows {
        let mut line = String::new();
        for (cell, width) in cells.iter().zip(widths) {
            let _ = write!(line, "{cell:width$}  ");
        }
        if let Some(note) = note {
            line.push_str(&note);
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text.push('\n');
}

fn row(
    rows: &mut Vec<(Vec<String>, Option<String>)>,
    node: &ChainNode,
    lead: &str,
    branch: &str,
    wide: bool,
    paint: &dyn Fn(Style, &str) -> String,
) {
    let left = node
        .life_left
        .map_or("-".to_owned(), |left| format!("{:.0} %", left * 100.0));
    let until = match wide {
        true => node.not_after.to_string(),
        false => day(node.not_after),
    };
    let note = node.finding.map(|worst| {
        let (style, word) = word(worst.severity);
        paint(style, &format!("{word} {}", worst.code))
    });
    let name = format!("{lead}{branch}{}", node.name);
    let cells = vec![name, node.key.clone(), node.issued_by.clone(), until, left];
    rows.push((cells, note));
    let lead = match branch {
        "" => lead.to_owned(),
        "└ " => format!("{lead}  "),
        _ => format!("{lead}│ "),
    };
    let limit = if wide { usize::MAX } else { LEAVES };
    let hidden = node.issued.len().saturating_sub(limit);
    let last = node.issued.len().min(limit).saturating_sub(1);
    for (index, issued) in node.issued.iter().take(limit).enumerate() {
        let branch = if index == last && hidden == 0 {
            "└ "
        } else {
            "├ "
        };
        row(rows, issued, &lead, branch, wide, paint);
    }
    if hidden > 0 {
        rows.push((
            vec![format!("{lead}└ and {hidden} more that end later")],
            None,
        ));
    }
}

/// Equal findings of several clusters.
struct Group<'a> {
    first: &'a Finding,
    clusters: Vec<&'a str>,
    /// Findings of the same code that are not shown.
    more: usize,
    wide: bool,
}

fn groups(findings: &[Finding], wide: bool) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    let mut known: BTreeMap<(_, &str), usize> = BTreeMap::new();
    let mut of_code: BTreeMap<_, (usize, usize)> = BTreeMap::new();
    for finding in findings {
        let key = (finding.code, finding.what.as_str());
        let group = known.get(&key).filter(|_| !wide);
        if let Some(group) = group.and_then(|index| groups.get_mut(*index)) {
            group.clusters.push(&finding.cluster);
            continue;
        }
        let (shown, last) = of_code.entry(finding.code).or_default();
        if *shown >= GROUPS && !wide {
            if let Some(group) = groups.get_mut(*last) {
                group.more += 1;
            }
            continue;
        }
        (*shown, *last) = (*shown + 1, groups.len());
        known.insert(key, groups.len());
        groups.push(Group {
            first: finding,
            clusters: vec![&finding.cluster],
            more: 0,
            wide,
        });
    }
    groups
}

impl Group<'_> {
    fn write(&self, text: &mut String, paint: &dyn Fn(Style, &str) -> String) {
        let Finding {
            code,
            what,
            evidence,
            remedy,
            ..
        } = self.first;
        let (style, word) = word(self.first.severity);
        let clusters = match self.clusters.as_slice() {
            [""] => self.first.object.clone(),
            clusters => names(clusters),
        };
        let word = paint(style, word);
        let _ = writeln!(text, "{word} {code}  {clusters}   {what}");
        if self.wide {
            let _ = writeln!(text, "       where   {}", self.first.object);
        }
        if !evidence.is_empty() {
            let also = if self.clusters.len() > 1 {
                " (in the first of them)"
            } else {
                ""
            };
            let _ = writeln!(text, "       seen    {evidence}{also}");
        }
        let _ = writeln!(text, "       effect  {}", code.check().effect);
        let remedy = self.remedy(remedy);
        let _ = writeln!(text, "       fix     {remedy}");
        if self.more > 0 {
            let more = format!("and {} more of {code} (-o wide shows all)", self.more);
            let _ = writeln!(text, "       {}", paint(Style::Faint, &more));
        }
        text.push('\n');
    }
}

impl Group<'_> {
    /// One command for all clusters of the group.
    fn remedy(&self, first: &str) -> String {
        let mut clusters = self.clusters.clone();
        clusters.dedup();
        let all = match clusters.len() {
            1 => return first.to_owned(),
            // A command line has a limit, and so has a terminal.
            2..=20 => clusters.join(" "),
            _ => "CLUSTER…".to_owned(),
        };
        let one = &self.first.cluster;
        first.replace(
            &format!("rotate agent {one}"),
            &format!("rotate agent {all}"),
        )
    }
}

fn not_checked(
    text: &mut String,
    report: &Report,
    wide: bool,
    paint: &dyn Fn(Style, &str) -> String,
) {
    let limit = if wide { usize::MAX } else { NOT_CHECKED };
    for entry in report.not_checked.iter().take(limit) {
        let word = paint(Style::Warning, "-- skip");
        let cluster = match entry.cluster.is_empty() {
            true => String::new(),
            false => format!("{}   ", entry.cluster),
        };
        let _ = writeln!(
            text,
            "{word} {}  {cluster}not checked: {}",
            entry.code, entry.what
        );
        let _ = writeln!(text, "       fix     {}", entry.remedy);
    }
    let more = report.not_checked.len().saturating_sub(limit);
    if more > 0 {
        let _ = writeln!(
            text,
            "       and {more} more not checked (-o wide shows all)"
        );
    }
    if !report.not_checked.is_empty() {
        text.push('\n');
    }
}

fn verdict(text: &mut String, report: &Report, paint: &dyn Fn(Style, &str) -> String) {
    if let Some(failure) = &report.earliest_failure {
        let cluster = match failure.cluster.is_empty() {
            true => String::new(),
            false => format!(" in {}", failure.cluster),
        };
        let when = relative(failure.at, report.audited_at);
        let (at, what) = (failure.at, &failure.what);
        let _ = writeln!(text, "Earliest failure: {what}{cluster}, {at} ({when}).");
    }
    let counts = &report.counts;
    let mut parts = Vec::new();
    for (number, one, many) in [
        (counts.errors, "error", "errors"),
        (counts.warnings, "warning", "warnings"),
        (counts.infos, "info", "infos"),
        (report.not_checked.len(), "not checked", "not checked"),
    ] {
        match number {
            0 => {}
            1 => parts.push(format!("1 {one}")),
            number => parts.push(format!("{number} {many}")),
        }
    }
    let (style, word) = match (counts.errors, report.incomplete, counts.warnings) {
        (1.., ..) => (Style::Bad, "✗ FAIL"),
        (0, true, _) => (Style::Warning, "-- incomplete"),
        (0, false, 1..) => (Style::Warning, "! warn"),
        (0, false, 0) => (Style::Good, "✓ ok"),
    };
    let summary = match parts.is_empty() {
        true => "nothing found".to_owned(),
        false => parts.join(", "),
    };
    let _ = writeln!(text, "{}  {summary}.", paint(style, word));
}

fn word(severity: Severity) -> (Style, &'static str) {
    match severity {
        Severity::Error => (Style::Bad, "✗ FAIL"),
        Severity::Warning => (Style::Warning, "! warn"),
        Severity::Info => (Style::Faint, "· info"),
    }
}

fn names(clusters: &[&str]) -> String {
    let mut names: Vec<&str> = clusters.to_vec();
    names.dedup();
    let more = names.len().saturating_sub(NAMES);
    names.truncate(NAMES);
    match more {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}
