use clap::ValueEnum;

use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::output::{Output, Style, columns};
use crate::cli::source::Opened;
use crate::engine::Observer;
use crate::transcript::{Acknowledgements, Event, Line, verify};

/// Arguments of `rotation log`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The number of the rotation; by default the last one
    number: Option<u32>,
    /// The form of the result
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

/// The form of a transcript.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Table,
    /// The lines as they are signed: `audit --transcript` verifies them.
    Json,
}

pub(super) async fn run(
    arguments: &Arguments,
    opened: &Opened,
    output: &Output,
) -> Result<Exit, CliError> {
    let fleet = &opened.fleet;
    let observer = Observer::begin(fleet).await?;
    let journal = observer.journal();
    let relay = &fleet.relay.name;
    let last = journal.transcripts.last_key_value().map(|(last, _)| *last);
    let Some(number) = arguments.number.or(last) else {
        return Err(CliError::usage(
            format!("relay {relay} has no rotation on record"),
            "`relay-pki rotate root` or `relay-pki rotate signer` begins one",
        ));
    };
    let Some(transcript) = journal.transcripts.get(&number) else {
        return Err(CliError::usage(
            format!("relay {relay} has no rotation {number} on record"),
            "`relay-pki rotation status` lists the last ones",
        ));
    };
    if transcript.lines.is_empty() {
        output.note(&format!("rotation {number} has no transcript"));
        return Ok(Exit::Done);
    }
    if arguments.output == Format::Json {
        output.text(&transcript.lines)?;
        return Ok(Exit::Done);
    }
    match verify(&transcript.lines, None) {
        Ok(verified) => {
            output.text(&table(&verified.lines))?;
            Ok(Exit::Done)
        }
        Err(fault) => {
            let word = output.paint(Style::Bad, "changed");
            output.text(&format!(
                "{word}  the transcript of rotation {number}: {fault}\n"
            ))?;
            output.note("`--output json` prints what is there");
            Ok(Exit::Findings)
        }
    }
}

fn table(lines: &[Line]) -> String {
    let rows: Vec<Vec<String>> = lines
        .iter()
        .map(|line| {
            let (what, by) = words(&line.event);
            let by = by.unwrap_or("relay-pki").to_owned();
            vec![line.sequence.to_string(), line.at.to_string(), by, what]
        })
        .collect();
    columns(&["LINE", "TIME", "BY", "WHAT"], &rows)
}

/// What happened, and who did it if it was a person.
fn words(event: &Event) -> (String, Option<&str>) {
    let short = |text: &Option<String>| {
        let text = text.as_deref().unwrap_or("none");
        text.chars().take(16).collect::<String>()
    };
    let seen = |acknowledged: &Option<Acknowledgements>| match acknowledged {
        Some(seen) => format!(", {} clusters read", seen.clusters),
        None => String::new(),
    };
    match event {
        Event::Begun {
            by, level, plan, ..
        } => {
            let plan: Vec<String> = plan
                .iter()
                .filter(|it| it.from != it.to)
                .map(|it| {
                    let (from, to) = (it.from, it.to);
                    let (level, key, provider) = (it.level, it.key_type, &it.provider);
                    format!("{level} g{from} → g{to} ({key} in {provider})")
                })
                .collect();
            let what = format!("begun: rotation of the {level}: {}", plan.join(", "));
            (what, Some(by))
        }
        Event::Made {
            level,
            generation,
            fingerprint,
            ..
        } => {
            let fingerprint = short(fingerprint);
            (format!("made {level} g{generation} {fingerprint}"), None)
        }
        Event::Entered {
            left,
            phase,
            direction,
            acknowledged,
            without,
        } => {
            let mut what = format!("{left} → {phase} ({direction}){}", seen(acknowledged));
            if !without.is_empty() {
                what.push_str(&format!(", without {}", without.join(" ")));
            }
            (what, None)
        }
        Event::Widened { acknowledged } => {
            let what = format!("those that go first are through{}", seen(acknowledged));
            (what, None)
        }
        Event::ChainsCut { acknowledged } => {
            (format!("chains are cut{}", seen(acknowledged)), None)
        }
        Event::Approved { by, phase } => (format!("approved {phase}"), Some(by)),
        Event::Paused { by } => ("paused".to_owned(), Some(by)),
        Event::Resumed { by } => ("resumed".to_owned(), Some(by)),
        Event::Waived {
            by,
            cluster,
            until,
            reason,
        } => (
            format!("waived {cluster} until {until}: {reason}"),
            Some(by),
        ),
        Event::TurnedBack { by } => ("turned back".to_owned(), Some(by)),
        Event::Escalated { by } => ("turned into an emergency".to_owned(), Some(by)),
        Event::Destroyed {
            level,
            generation,
            fingerprint,
            ..
        } => {
            let fingerprint = short(fingerprint);
            let what = format!("destroyed the key of {level} g{generation} {fingerprint}");
            (what, None)
        }
        Event::Disabled {
            level,
            generation,
            fingerprint,
            ..
        } => {
            let fingerprint = short(fingerprint);
            (
                format!("disabled {level} g{generation} {fingerprint}"),
                None,
            )
        }
        Event::LeftToOwner {
            level,
            generation,
            fingerprint,
            ..
        } => {
            let fingerprint = short(fingerprint);
            let what = format!("left the key of {level} g{generation} {fingerprint} to its owner");
            (what, None)
        }
        Event::Changed { by } => ("changed".to_owned(), Some(by)),
    }
}
