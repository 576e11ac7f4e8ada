use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use relay_pki_authority::x509::PublicKey;

use super::event::Event;
use super::hash;
use super::line::{Line, NOTHING};
use crate::rotation::Phase;

/// A transcript in which every line is where it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Verified {
    /// The lines, in order; at least one.
    pub lines: Vec<Line>,
    /// The key that has signed all of them.
    pub key: PublicKey,
}

/// What is wrong with a transcript: of one that was changed, the first line that shows it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct Fault {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}

impl Verified {
    /// The digest of the record that was written with the last line.
    pub fn record(&self) -> Option<&str> {
        self.lines.last()?.record.as_deref()
    }

    /// The phase that was entered last, if any was after the first.
    pub fn phase(&self) -> Option<Phase> {
        self.lines.iter().rev().find_map(|line| match &line.event {
            Event::Entered { phase, .. } => Some(*phase),
            _ => None,
        })
    }

    /// Whether it ends with the end of the rotation: nothing that comes after is missing.
    pub fn is_complete(&self) -> bool {
        self.phase().is_some_and(Phase::is_over)
    }
}

/// Verifies the lines of a transcript: that they follow on each other, and that one key has signed
/// them. That is `trusted`, or where nobody says which, the key that the first line names: then only
/// that is proved.
///
/// Lines that are missing at the end show in [`Verified::is_complete`] and in the record's digest.
pub fn verify(text: &str, trusted: Option<&PublicKey>) -> Result<Verified, Fault> {
    let mut lines: Vec<Line> = Vec::new();
    let mut key: Option<PublicKey> = trusted.cloned();
    let mut previous = NOTHING.to_owned();
    for (index, text) in text.lines().enumerate() {
        let number = index + 1;
        let fault = |what: String| Fault { line: number, what };
        let (line, signed) = Line::parse(text).map_err(fault)?;
        if let Event::Begun { public_key, .. } = &line.event {
            let own = decode(public_key)
                .ok_or_else(|| fault("the public key that it names is none".to_owned()))?;
            if trusted.is_some_and(|trusted| *trusted != own) {
                let what = "it names another key than the one that transcripts are signed with";
                return Err(fault(what.to_owned()));
            }
            key.get_or_insert(own);
        }
        let signer = key
            .as_ref()
            .ok_or_else(|| fault("no line before it names the key".to_owned()))?;
        if !signed.is_by(signer) {
            let what = "its signature is wrong: it was changed, or signed with another key";
            return Err(fault(what.to_owned()));
        }
        if line.sequence != number {
            return Err(fault(format!(
                "it is number {}: lines are missing, or in another order",
                line.sequence
            )));
        }
        if line.previous != previous {
            return Err(fault("it does not follow on the line before it".to_owned()));
        }
        if let Some(first) = lines.first()
            && (&first.relay, first.rotation) != (&line.relay, line.rotation)
        {
            return Err(fault(format!(
                "it is of rotation {} of {}",
                line.rotation, line.relay
            )));
        }
        previous = hash(text.as_bytes());
        lines.push(line);
    }
    match (lines.is_empty(), key) {
        (false, Some(key)) => Ok(Verified { lines, key }),
        _ => Err(Fault {
            line: 1,
            what: "there is none".to_owned(),
        }),
    }
}

fn decode(text: &str) -> Option<PublicKey> {
    PublicKey::from_spki_der(&STANDARD.decode(text).ok()?).ok()
}
