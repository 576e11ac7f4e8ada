//! `rotation status --watch`: the status redrawn in place on a terminal, a line for each change
//! elsewhere, until the rotation is over or somebody has seen enough.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use console::{Term, truncate_str};

use super::text::text;
use super::{ClusterView, StatusView};
use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::interrupt::interruptible;
use crate::cli::output::Output;
use crate::cli::source::Opened;
use crate::rotation::Phase;

/// How often is looked.
const EVERY: Duration = Duration::from_secs(2);

/// Most lines about clusters after one look; what changed besides is counted.
const MOST_LINES: usize = 50;

pub(super) async fn run(opened: &Opened, output: &Output) -> Result<Exit, CliError> {
    let (cancel, signalled) = interruptible()?;
    let mut screen = output.draws().then(Screen::default);
    let mut last: Option<StatusView> = None;
    loop {
        // Somebody who has seen enough does not wait for a cluster that does not answer.
        let seen = tokio::select! {
            seen = StatusView::of(opened) => seen,
            () = cancel.cancelled() => return Ok(signalled()),
        };
        let shown = match (seen, &last) {
            (Ok(view), _) => {
                let shown = match &screen {
                    Some(_) => text(&view, output),
                    None => changes(last.as_ref(), &view),
                };
                last = Some(view);
                shown
            }
            (Err(error), None) => return Err(error),
            // What was seen before stays, with the reason why there is nothing newer.
            (Err(error), Some(view)) => match &screen {
                Some(_) => format!("{}cannot look: {}\n", text(view, output), error.what),
                None => format!("{} cannot look: {}\n", view.now, error.what),
            },
        };
        match &mut screen {
            Some(screen) => output.text(&screen.frame(&shown))?,
            None => output.text(&shown)?,
        }
        if last.as_ref().is_some_and(|view| view.record.is_none()) {
            return Ok(Exit::Done);
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = cancel.cancelled() => return Ok(signalled()),
        }
    }
}

/// What is on the terminal.
#[derive(Default)]
struct Screen {
    /// How many lines were drawn.
    lines: usize,
}

impl Screen {
    /// The text over what was drawn before, in one piece. Nothing is cleared before it is drawn over:
    /// that would flicker.
    fn frame(&mut self, text: &str) -> String {
        let (height, width) = Term::stdout().size();
        self.fitted(text, height.into(), width.into())
    }

    fn fitted(&mut self, text: &str, height: usize, width: usize) -> String {
        let mut frame = String::new();
        if self.lines > 0 {
            let _ = write!(frame, "\u{1b}[{}A", self.lines);
        }
        // The cursor ends in the line below the last one, which has to be there, too.
        let room = height.saturating_sub(1).max(1);
        let total = text.lines().count();
        let kept = if total > room { room - 1 } else { total };
        for line in text.lines().take(kept) {
            let _ = writeln!(frame, "\r{}\u{1b}[K", truncate_str(line, width, "…"));
        }
        if total > kept {
            let more = format!("… and {} more lines", total - kept);
            let _ = writeln!(frame, "\r{}\u{1b}[K", truncate_str(&more, width, "…"));
        }
        frame.push_str("\u{1b}[J");
        self.lines = total.min(room);
        frame
    }
}

/// A line for each difference; for the first look, one for how it stands and one for each cluster that
/// is waited for.
fn changes(before: Option<&StatusView>, now: &StatusView) -> String {
    let mut text = String::new();
    let start = format!("{} {}", now.now, now.relay);
    let Some(record) = &now.record else {
        let ended = now.history.first();
        let outcome = match (before, ended) {
            (Some(_), Some(last)) => format!("rotation={} phase={}", last.number, last.outcome),
            _ => "phase=idle".to_owned(),
        };
        let _ = writeln!(text, "{start} {outcome}");
        return text;
    };
    let start = format!("{start} rotation={} phase={}", record.number, record.phase);
    let open = |view: &StatusView| view.clusters.iter().filter(|it| it.note.is_some()).count();
    let headline = |view: &StatusView| -> Option<(Phase, String, usize, bool)> {
        let record = view.record.as_ref()?;
        let paused = record.paused.is_some();
        Some((
            record.phase,
            record.direction.to_string(),
            open(view),
            paused,
        ))
    };
    if before.and_then(headline) != headline(now) {
        let paused = if record.paused.is_some() {
            " paused"
        } else {
            ""
        };
        let _ = writeln!(
            text,
            "{start} level={} direction={} waiting={} clusters={}{paused}",
            record.level,
            record.direction,
            open(now),
            now.clusters.len()
        );
    }
    let known: BTreeMap<&str, &ClusterView> = before
        .iter()
        .flat_map(|view| &view.clusters)
        .map(|cluster| (cluster.cluster.as_str(), cluster))
        .collect();
    let changed = now.clusters.iter().filter(|cluster| match before {
        Some(_) => known.get(cluster.cluster.as_str()) != Some(cluster),
        None => cluster.note.is_some(),
    });
    let mut more = 0;
    for (index, cluster) in changed.enumerate() {
        if index >= MOST_LINES {
            more += 1;
            continue;
        }
        let cell = |cell: &Option<String>| cell.clone().unwrap_or("-".to_owned());
        let _ = write!(
            text,
            "{start} cluster={} bundle={} server={} client={} state={}",
            cluster.cluster,
            cell(&cluster.bundle),
            cell(&cluster.server),
            cell(&cluster.client),
            cluster.state()
        );
        if let Some(note) = &cluster.note {
            let _ = write!(text, " {note:?}");
        }
        text.push('\n');
    }
    if more > 0 {
        let _ = writeln!(text, "{start} and {more} more clusters");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_drawn_over_the_one_before() {
        let mut screen = Screen::default();
        assert_eq!(
            screen.fitted("a\nb\n", 24, 80),
            "\ra\u{1b}[K\n\rb\u{1b}[K\n\u{1b}[J"
        );
        let next = screen.fitted("c\n", 24, 80);
        assert_eq!(next, "\u{1b}[2A\rc\u{1b}[K\n\u{1b}[J");
        assert!(screen.fitted("d\n", 24, 80).starts_with("\u{1b}[1A"));
    }

    /// A line that wraps, or one more line than the terminal has, and the next frame is drawn over the
    /// wrong lines.
    #[test]
    fn a_frame_fits_the_terminal() {
        let mut screen = Screen::default();
        let text = "0123456789\n".repeat(9);
        let frame = screen.fitted(&text, 5, 6);
        let lines: Vec<&str> = frame.lines().collect();
        assert_eq!(lines.len(), 5, "{frame:?}");
        assert_eq!(lines.first(), Some(&"\r01234…\u{1b}[K"));
        assert_eq!(lines.get(3), Some(&"\r… and…\u{1b}[K"));
        assert_eq!(screen.lines, 4);
    }
}
