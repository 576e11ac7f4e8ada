//! The transcript of a rotation: what happened, in signed lines of JSON that hang together by their
//! digests. It lies beside the record and is written with it, in one write: neither is ever there
//! without the other.
//!
//! The record says how a rotation stands, the transcript how it came to that. Whoever can write
//! ConfigMaps can change both, but does not have the key that signs the lines.

mod acknowledgements;
mod event;
mod key;
mod line;
mod verify;
mod write;

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;

use crate::cluster::Object;
use crate::journal::RECORD;

pub use acknowledgements::Acknowledgements;
pub use event::{Event, Names, Planned};
pub use key::{
    PUBLIC_KEY, TranscriptKeyError, key_name, public_key_from_pem, public_key_pem, rewrite_key,
};
pub use line::Line;
#[cfg(test)]
pub(crate) use line::sign_anew;
pub use verify::{Fault, Verified, verify};
pub use write::{Deed, TranscriptError, record};

/// Data key of the lines, beside the record.
pub const TRANSCRIPT: &str = "transcript";

/// The lines of a rotation, as they were read with its record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transcript {
    /// The lines; none where an earlier version began the rotation.
    pub lines: Arc<str>,
    /// SHA-256 of the record beside them.
    pub record: String,
}

impl Transcript {
    /// From the object of a rotation.
    pub fn of(object: &Object) -> Self {
        let entry = |name: &str| object.data.get(name).map_or(&[][..], |it| it.expose());
        Self {
            // What is no text any more fails the verification like any other change.
            lines: String::from_utf8_lossy(entry(TRANSCRIPT)).into(),
            record: hash(entry(RECORD)),
        }
    }
}

/// SHA-256 in hexadecimal digits.
fn hash(bytes: &[u8]) -> String {
    HEXLOWER.encode(digest(&SHA256, bytes).as_ref())
}
