//! The status for people.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::super::output::{Output, Style, columns};
use super::StatusView;
use crate::wording::{day, relative};

/// Most certificates that are shown; the ones that end first.
const SHOWN: usize = 40;

impl StatusView {
    pub(super) fn table(&self, output: &Output) -> String {
        let now = self.at;
        let mut text = format!("Relay {}\n\n", self.relay);
        let left =
            |left: Option<f64>| left.map_or("-".to_owned(), |f| format!("{:.0} %", f * 100.0));
        let until = |at: Option<Timestamp>| at.map_or("-".to_owned(), day);
        let due = |at: Option<Timestamp>| at.map_or("-".to_owned(), |at| relative(at, now));
        let rows: Vec<Vec<String>> = self
            .generations
            .iter()
            .map(|generation| {
                vec![
                    format!("{} g{}", generation.level, generation.number),
                    format!("{:?}", generation.status).to_lowercase(),
                    generation.key_type.clone(),
                    generation.provider.clone().unwrap_or("-".to_owned()),
                    until(generation.not_after),
                    left(generation.life_left),
                    due(generation.renewal_due),
                ]
            })
            .collect();
        let header = [
            "CA",
            "STATUS",
            "KEY",
            "PROVIDER",
            "UNTIL",
            "LIFE LEFT",
            "RENEWAL DUE",
        ];
        text.push_str(&columns(&header, &rows));
        if !rows.is_empty() {
            text.push('\n');
        }
        let rows: Vec<Vec<String>> = self
            .certificates
            .iter()
            .take(SHOWN)
            .map(|leaf| {
                vec![
                    leaf.cluster.clone(),
                    leaf.role.to_string(),
                    leaf.issued_by
                        .map_or("-".to_owned(), |number| format!("g{number}")),
                    until(leaf.not_after),
                    left(leaf.life_left),
                    due(leaf.renewal_due),
                    leaf.state.clone(),
                ]
            })
            .collect();
        let header = [
            "CLUSTER",
            "WHAT",
            "SIGNER",
            "UNTIL",
            "LIFE LEFT",
            "RENEWAL DUE",
            "STATE",
        ];
        text.push_str(&columns(&header, &rows));
        if let Some(rest) = self
            .certificates
            .len()
            .checked_sub(SHOWN)
            .filter(|n| *n > 0)
        {
            let _ = writeln!(
                text,
                "… and {rest} more that end later (--output json shows all)"
            );
        }
        if !rows.is_empty() {
            text.push('\n');
        }
        text.push_str(&self.enrolled_table());
        for cluster in &self.unreadable {
            let word = output.paint(Style::Bad, "unreadable");
            let _ = writeln!(text, "{word}  {}: {}", cluster.cluster, cluster.reason);
        }
        for line in &self.rotation_due {
            let word = output.paint(Style::Warning, "rotation due");
            let _ = writeln!(text, "{word}  {line}");
        }
        text.push_str(&self.verdict(output));
        text
    }

    /// Clusters whose agents enrol, if there are any.
    fn enrolled_table(&self) -> String {
        if self.enrolled.is_empty() {
            return String::new();
        }
        let rows = self.enrolled.iter().take(SHOWN).map(|leaf| {
            let bundle = match (&leaf.bundle, &self.bundle) {
                (None, _) => "-",
                (Some(held), Some(published)) if held == published => "current",
                _ => "another",
            };
            vec![
                leaf.cluster.clone(),
                leaf.issued_by
                    .map_or("-".to_owned(), |number| format!("g{number}")),
                leaf.not_after.map_or("not enrolled yet".to_owned(), day),
                bundle.to_owned(),
                leaf.acknowledged
                    .map_or("-".to_owned(), |at| relative(at, self.at)),
            ]
        });
        let rows: Vec<Vec<String>> = rows.collect();
        let header = ["ENROLLED", "SIGNER", "UNTIL", "BUNDLE", "SINCE"];
        let mut text = columns(&header, &rows);
        if let Some(rest) = self.enrolled.len().checked_sub(SHOWN).filter(|n| *n > 0) {
            let _ = writeln!(
                text,
                "… and {rest} more that end later (--output json shows all)"
            );
        }
        text.push('\n');
        text
    }

    fn verdict(&self, output: &Output) -> String {
        let mut text = String::new();
        if self.to_converge > 0 {
            let number = self.to_converge;
            let _ = writeln!(text, "{number} steps to do: relay-pki bootstrap --dry-run");
        }
        if self.to_renew > 0 {
            let _ = writeln!(
                text,
                "{} certificates due: relay-pki rotate due",
                self.to_renew
            );
        }
        match self.earliest_end {
            None => text.push_str("No certificates yet.\n"),
            Some(at) => {
                let word = match at <= self.at {
                    true => output.paint(Style::Bad, "Ended first"),
                    false => "Ends first if nobody acts".to_owned(),
                };
                let _ = writeln!(text, "{word}: {at} ({}).", relative(at, self.at));
            }
        }
        text
    }
}
