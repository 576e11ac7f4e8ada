use super::acknowledgements::Acknowledgements;
use super::event::{Event, between};
use super::key::{TranscriptKeyError, publish, signing_key, spki_text};
use super::line::{Line, NOTHING};
use super::{TRANSCRIPT, Transcript, hash};
use crate::cluster::{ClusterError, Expected, SecretBytes};
use crate::engine::{Fleet, limited};
use crate::journal::{Journal, Kept, RECORD, RotationRecord};
use crate::rotation::GivenUp;

/// How long a transcript may be before people are told to decide less. What the rotation does by itself
/// has to fit into the object after that: a few dozen lines of a few kB.
const MOST_BYTES: usize = 512 * 1024;

/// Who did something to a rotation, and what it rests on.
#[derive(Debug, Clone, Copy)]
pub struct Deed<'a> {
    /// Who.
    pub by: &'a str,
    /// What the clusters held, where a gate was looked at.
    pub acknowledged: Option<&'a Acknowledgements>,
    /// The CAs whose private keys were given up.
    pub given_up: &'a [GivenUp],
}

impl<'a> Deed<'a> {
    /// What a person decided.
    pub fn of(by: &'a str) -> Self {
        Self {
            by,
            acknowledged: None,
            given_up: &[],
        }
    }
}

/// Why something about a rotation is not written down, and so does not happen.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TranscriptError {
    /// The cluster.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The key.
    #[error(transparent)]
    Key(TranscriptKeyError),
    /// There is no room for more decisions.
    #[error(
        "the transcript of rotation {number} is full: it has {MOST_BYTES} bytes; let the rotation end \
         without further decisions, or take it back with `relay-pki rotation rollback`"
    )]
    Full {
        /// The rotation.
        number: u32,
    },
    /// Signing failed.
    #[error("cannot sign the transcript of rotation {number}")]
    Unsigned {
        /// The rotation.
        number: u32,
    },
}

impl From<TranscriptKeyError> for TranscriptError {
    fn from(error: TranscriptKeyError) -> Self {
        match error {
            TranscriptKeyError::Cluster(error) => Self::Cluster(error),
            error => Self::Key(error),
        }
    }
}

/// Writes down where a rotation is and how it came to that, if nobody else has taken it anywhere since
/// `journal` was read. The record and its lines are one write.
pub async fn record(
    fleet: &Fleet,
    journal: &mut Journal,
    record: &RotationRecord,
    deed: &Deed<'_>,
) -> Result<(), TranscriptError> {
    let (relay, home, number) = (&fleet.relay, fleet.home()?, record.number);
    let key = signing_key(relay, home).await?;
    let kept = journal.rotations.get(&number);
    let version = kept.and_then(|kept| kept.version.clone());
    let known = journal.transcripts.get(&number).cloned();
    let mut lines = known.unwrap_or_default().lines.to_string();
    // Where an earlier version began it, the transcript begins now.
    let before = kept.filter(|_| !lines.is_empty()).map(|kept| &kept.record);
    if before.is_none() {
        publish(&relay.name, home, key.public_key()).await?;
    }
    let public_key = spki_text(key.public_key());
    let events = between(relay, journal, before, record, deed, &public_key);
    if lines.len() > MOST_BYTES && events.iter().any(Event::is_repeatable) {
        return Err(TranscriptError::Full { number });
    }
    let mut object = record.encode(&relay.name);
    let digest = hash(object.data.get(RECORD).map_or(&[], SecretBytes::expose));
    let mut events = events.into_iter().peekable();
    while let Some(event) = events.next() {
        let last = lines.lines().last();
        let line = Line {
            relay: relay.name.clone(),
            rotation: number,
            sequence: lines.lines().count() + 1,
            at: fleet.clock.now(),
            previous: last.map_or(NOTHING.to_owned(), |last| hash(last.as_bytes())),
            event,
            record: events.peek().is_none().then(|| digest.clone()),
        };
        let text = line
            .sign(&key)
            .ok_or(TranscriptError::Unsigned { number })?;
        lines.push_str(&text);
        lines.push('\n');
    }
    let text = SecretBytes::new(lines.as_bytes());
    object.data.insert(TRANSCRIPT.to_owned(), text);
    let expected = version.map_or(Expected::Absent, Expected::At);
    let write = home.write(&object, &expected);
    let version = limited(home.name(), "record a rotation", write).await?;
    journal.transcripts.insert(
        number,
        Transcript {
            lines: lines.into(),
            record: digest,
        },
    );
    let kept = Kept {
        record: record.clone(),
        version: Some(version),
    };
    journal.rotations.insert(number, kept);
    Ok(())
}
