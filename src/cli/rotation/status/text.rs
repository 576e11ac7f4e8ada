//! How a rotation stands, for people: phases across, clusters down, who is missing and why.

use std::cmp::Reverse;
use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp};
use relay_pki_authority::Level;

use super::{ClusterView, StatusView};
use crate::cli::output::{Output, columns};
use crate::config::Role;
use crate::journal::RotationRecord;
use crate::rotation::{Direction, Phase};

/// Most clusters that are shown; of a larger fleet only those that are waited for.
const SHOWN: usize = 20;

/// Stands between phases.
const BETWEEN: &str = "   ";

/// The whole status.
pub(super) fn text(view: &StatusView, output: &Output) -> String {
    let mut text = String::new();
    let Some(record) = &view.record else {
        let _ = writeln!(text, "No rotation of {} is under way.", view.relay);
        if let Some(last) = view.history.first() {
            let _ = writeln!(
                text,
                "The last one, {} of the {}, was {} at {:.0}.",
                last.number, last.level, last.outcome, last.ended
            );
        }
        text.push_str(&view.rotation.text(output));
        return text;
    };
    let passage = match record.level {
        Level::Root => record.roots,
        Level::Signer => record.signers,
    };
    let _ = writeln!(
        text,
        "Rotation of the {} of {}, g{} → g{}, asked for by {} at {:.0} ({} ago)",
        record.level,
        view.relay,
        passage.from,
        passage.to,
        record.requested.by,
        record.requested.at,
        span(view.now.duration_since(record.requested.at))
    );
    text.push_str(&phases(record, view.now, output.width()));
    text.push('\n');
    text.push_str(&clusters(view));
    text.push('\n');
    text.push_str(&view.rotation.text(output));
    text
}

/// The phases, each with when it was entered and the current one with how long ago; as many in a line
/// as fit.
fn phases(record: &RotationRecord, now: Timestamp, width: usize) -> String {
    let entered = |phase: Phase| {
        let entries = record.entered.iter().rev();
        let mut entries = entries.filter(|entry| entry.direction == record.direction);
        entries.find(|entry| entry.phase == phase)
    };
    let order: Vec<Phase> = match record.direction {
        Direction::Forward => Phase::RUNNING.to_vec(),
        Direction::Rollback => Phase::RUNNING.into_iter().rev().collect(),
    };
    let words = order.into_iter().map(|phase| match entered(phase) {
        Some(entry) if phase == record.phase => {
            format!("> {phase} for {}", span(now.duration_since(entry.at)))
        }
        Some(entry) => format!("{phase} {}", entry.at.strftime("%m-%d %H:%M")),
        None => phase.to_string(),
    });
    let back = (record.direction == Direction::Rollback).then(|| "rollback:".to_owned());
    let mut text = String::new();
    let mut length = 0;
    for word in back.into_iter().chain(words) {
        let size = word.chars().count();
        if length > 0 && length + BETWEEN.len() + size <= width {
            text.push_str(BETWEEN);
            length += BETWEEN.len();
        } else if length > 0 {
            text.push('\n');
            length = 0;
        }
        text.push_str(&word);
        length += size;
    }
    text.push('\n');
    text
}

fn clusters(view: &StatusView) -> String {
    let all = view.clusters.len();
    let mut shown: Vec<&ClusterView> = view.clusters.iter().collect();
    let done = shown
        .iter()
        .filter(|cluster| cluster.note.is_none())
        .count();
    if all > SHOWN {
        shown.retain(|cluster| cluster.note.is_some());
    }
    // The worst first, after the management clusters.
    shown.sort_by_key(|cluster| {
        let management = cluster.role == Role::Management;
        Reverse((management, cluster.missing, cluster.note.is_some()))
    });
    let waiting = shown.len();
    shown.truncate(SHOWN);
    let rows: Vec<Vec<String>> = shown.iter().map(|cluster| row(cluster)).collect();
    let header = [
        "CLUSTER",
        "BUNDLE",
        "SERVER",
        "CLIENT",
        "STATE",
        "WAITS FOR",
    ];
    let mut text = columns(&header, &rows);
    if waiting > rows.len() {
        let rest = waiting - rows.len();
        let _ = writeln!(
            text,
            "… and {rest} more that wait (all of them with --output json)"
        );
    }
    let missing = view
        .clusters
        .iter()
        .filter(|cluster| cluster.missing)
        .count();
    let _ = writeln!(
        text,
        "{done} of {all} clusters are through, {missing} missing"
    );
    text
}

fn row(cluster: &ClusterView) -> Vec<String> {
    let cell = |cell: &Option<String>| cell.clone().unwrap_or("-".to_owned());
    let mut note = cluster.note.clone().unwrap_or_default();
    if let Some(until) = cluster.until {
        let _ = write!(note, " (until {until:.0})");
    }
    vec![
        cluster.cluster.clone(),
        cell(&cluster.bundle),
        cell(&cluster.server),
        cell(&cluster.client),
        cluster.state().to_owned(),
        note,
    ]
}

impl ClusterView {
    /// In one word.
    pub(super) fn state(&self) -> &'static str {
        match (&self.note, self.missing) {
            (_, true) => "missing",
            (Some(_), false) => "waits",
            (None, false) => "ok",
        }
    }
}

/// A time span in its largest units.
fn span(span: SignedDuration) -> String {
    let minutes = span.as_secs().max(0) / 60;
    match (minutes / (24 * 60), minutes / 60 % 24, minutes % 60) {
        (0, 0, minutes) => format!("{minutes} m"),
        (0, hours, minutes) => format!("{hours} h {minutes} m"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::journal::{Entry, Passage, Signature, Why};

    fn record() -> RotationRecord {
        let at: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        let entry = |phase| Entry {
            phase,
            direction: Direction::Forward,
            at,
        };
        RotationRecord {
            number: 1,
            level: Level::Root,
            roots: Passage { from: 1, to: 2 },
            signers: Passage { from: 1, to: 2 },
            phase: Phase::Publishing,
            direction: Direction::Forward,
            entered: vec![entry(Phase::Preparing), entry(Phase::Publishing)],
            trimmed: None,
            canary: Vec::new(),
            widened: None,
            emergency: false,
            approvals: Vec::new(),
            paused: None,
            waivers: Default::default(),
            passed: Default::default(),
            requested: Signature {
                by: "alice".to_owned(),
                at,
            },
            why: Why::Requested,
        }
    }

    fn cluster(name: &str, role: Role, note: Option<&str>, missing: bool) -> ClusterView {
        ClusterView {
            cluster: name.to_owned(),
            role,
            missing,
            bundle: Some("g1".to_owned()),
            server: None,
            client: None,
            note: note.map(str::to_owned),
            until: None,
        }
    }

    fn view(clusters: Vec<ClusterView>) -> StatusView {
        let record = record();
        StatusView {
            api_version: "relay-pki/v1",
            kind: "Rotation",
            relay: "prod".to_owned(),
            now: record.requested.at + SignedDuration::from_mins(134),
            rotation: Default::default(),
            record: Some(record),
            clusters,
            history: Vec::new(),
        }
    }

    /// The first word of each line.
    fn names(text: &str) -> Vec<&str> {
        let words = text.lines().filter_map(|line| line.split(' ').next());
        words.collect()
    }

    #[test]
    fn the_worst_comes_first_after_the_management_clusters() {
        let view = view(vec![
            cluster("a", Role::Workload, None, false),
            cluster("b", Role::Workload, Some("it waits"), false),
            cluster("c", Role::Workload, Some("no route"), true),
            cluster("mgmt", Role::Management, None, false),
        ]);
        let text = clusters(&view);
        assert_eq!(names(&text), ["CLUSTER", "mgmt", "c", "b", "a", "2"]);
        assert!(
            text.ends_with("2 of 4 clusters are through, 1 missing\n"),
            "{text}"
        );
    }

    #[test]
    fn of_a_large_fleet_those_are_shown_that_matter() {
        let mut fleet: Vec<ClusterView> = (0..10_000)
            .map(|index| cluster(&format!("c{index}"), Role::Workload, None, false))
            .collect();
        fleet.push(cluster("late", Role::Workload, Some("no route"), true));
        let text = clusters(&view(fleet.clone()));
        assert_eq!(names(&text), ["CLUSTER", "late", "10000"]);
        for cluster in &mut fleet {
            cluster.note = Some("it waits".to_owned());
        }
        let text = clusters(&view(fleet));
        assert_eq!(text.lines().count(), SHOWN + 3);
        assert!(text.contains("… and 9981 more that wait"), "{text}");
    }

    #[test]
    fn phases_are_broken_where_the_terminal_is_narrow() {
        let record = record();
        let now = record.requested.at + SignedDuration::from_mins(134);
        let wide = phases(&record, now, 200);
        assert_eq!(
            wide,
            "preparing 03-01 12:00   > publishing for 2 h 14 m   activating   reissuing   \
             draining   retiring\n"
        );
        let narrow = phases(&record, now, 40);
        assert!(
            narrow.lines().all(|line| line.chars().count() <= 40),
            "{narrow}"
        );
        assert_eq!(narrow.lines().count(), 3);
    }
}
