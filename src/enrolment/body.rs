//! Bodies of requests and replies: DER in base64 (RFC 8951 section 3), read in every form that clients
//! send it in.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};

/// Largest body that is read. A request is a tenth of that, whatever its key.
pub const BODY_LIMIT: usize = 64 * 1024;

/// Characters in a line of wrapped base64 (RFC 7468).
const LINE: usize = 64;

/// Some clients leave the padding out.
const TOLERANT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Why a body cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// There is nothing in it.
    #[error("the body is empty; send a PKCS#10 request as base64 of its DER")]
    Empty,
    /// It is larger than any request.
    #[error("the body has {size} bytes; a request has {BODY_LIMIT} at most")]
    TooLarge {
        /// Its size.
        size: usize,
    },
    /// It is neither base64 nor DER nor PEM.
    #[error("the body is not base64 ({reason}); send a PKCS#10 request as base64 of its DER")]
    NotBase64 {
        /// What is wrong.
        reason: String,
    },
}

/// How base64 is laid out in a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Layout {
    /// In one line, which strongSwan needs.
    #[default]
    OneLine,
    /// In lines of 64 characters, which libest needs.
    Lines,
}

/// The DER in the body of a request. White space may be anywhere in base64, padding may be missing,
/// and it may come as PEM or as the DER itself: what Content-Transfer-Encoding says does not matter.
///
/// # Errors
///
/// If there is nothing in the body, too much, or something else.
pub fn decode_body(body: &[u8]) -> Result<Vec<u8>, BodyError> {
    if body.len() > BODY_LIMIT {
        return Err(BodyError::TooLarge { size: body.len() });
    }
    // A SEQUENCE of more than 127 octets: no text starts like that.
    if matches!(body, [0x30, length, ..] if *length >= 0x80) {
        return Ok(body.to_vec());
    }
    let not_base64 = |reason: String| BodyError::NotBase64 { reason };
    let text = match without_armour(body) {
        Some(inner) => inner.ok_or_else(|| not_base64("its PEM has no end".to_owned()))?,
        None => body,
    };
    let mut text = text.to_vec();
    text.retain(|byte| !byte.is_ascii_whitespace());
    match TOLERANT.decode(text) {
        Ok(der) if der.is_empty() => Err(BodyError::Empty),
        Ok(der) => Ok(der),
        Err(error) => Err(not_base64(error.to_string())),
    }
}

/// What is between the first two lines of dashes, if the body is PEM; nothing in that if it is broken.
fn without_armour(body: &[u8]) -> Option<Option<&[u8]>> {
    const BEGIN: &[u8] = b"-----BEGIN ";
    const DASHES: &[u8] = b"-----";
    let start = body.iter().position(|byte| !byte.is_ascii_whitespace())?;
    let label = body.get(start..)?.strip_prefix(BEGIN)?;
    let inner = find(label, DASHES)
        .and_then(|end| label.get(end + DASHES.len()..))
        .and_then(|inner| inner.get(..find(inner, DASHES)?));
    Some(inner)
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len())
        .position(|window| window == wanted)
}

/// The body of a reply.
pub fn encode_body(der: &[u8], layout: Layout) -> String {
    let text = STANDARD.encode(der);
    match layout {
        Layout::OneLine => text,
        Layout::Lines => {
            let mut wrapped = String::with_capacity(text.len() + text.len() / LINE + 1);
            for (index, character) in text.chars().enumerate() {
                if index > 0 && index % LINE == 0 {
                    wrapped.push('\n');
                }
                wrapped.push(character);
            }
            wrapped.push('\n');
            wrapped
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Something that starts as a request does.
    fn der() -> Vec<u8> {
        let mut der = vec![0x30, 0x82, 0x01, 0x00];
        der.extend((0..=255).map(|byte: u8| byte.wrapping_mul(31)));
        der
    }

    #[test]
    fn reads_every_form_that_clients_send() {
        let line = STANDARD.encode(der());
        let wrapped = |length: usize, end: &str| -> String {
            let chunks = line.as_bytes().chunks(length);
            chunks
                .map(|chunk| String::from_utf8(chunk.to_vec()).unwrap() + end)
                .collect()
        };
        let pem = |label: &str, end: &str| {
            format!(
                "-----BEGIN {label}-----{end}{}-----END {label}-----{end}",
                wrapped(64, end)
            )
        };
        for form in [
            line.clone(),
            format!("{line}\n"),
            format!("\r\n  {line}\t\r\n\r\n"),
            wrapped(64, "\n"),
            wrapped(76, "\r\n"),
            wrapped(1, " "),
            line.trim_end_matches('=').to_owned(),
            pem("CERTIFICATE REQUEST", "\n"),
            pem("NEW CERTIFICATE REQUEST", "\r\n"),
            format!("\n{}", pem("CERTIFICATE REQUEST", "\n")),
        ] {
            assert_eq!(decode_body(form.as_bytes()).unwrap(), der(), "{form:?}");
        }
        assert_eq!(decode_body(&der()).unwrap(), der());
    }

    #[test]
    fn refuses_what_is_none_of_them() {
        assert_eq!(decode_body(b""), Err(BodyError::Empty));
        assert_eq!(decode_body(b" \r\n\t "), Err(BodyError::Empty));
        assert_eq!(
            decode_body(&vec![b'A'; BODY_LIMIT + 1]),
            Err(BodyError::TooLarge {
                size: BODY_LIMIT + 1
            })
        );
        for text in [
            "{\"csr\": \"MIIB\"}",
            "MIIB*AAA",
            "MIIB====",
            "=",
            "-----BEGIN CERTIFICATE REQUEST-----\nMIIB\n",
            "-----BEGIN CERTIFICATE REQUEST",
            "MIIB-_AA",
        ] {
            let error = decode_body(text.as_bytes()).unwrap_err();
            assert!(matches!(error, BodyError::NotBase64 { .. }), "{text}");
        }
    }

    #[test]
    fn lines_of_a_wrapped_reply_are_short() {
        let text = encode_body(&der(), Layout::Lines);
        assert!(text.lines().all(|line| line.len() <= LINE));
        assert!(text.lines().count() > 1 && text.ends_with('\n'));
        assert!(!encode_body(&der(), Layout::OneLine).contains('\n'));
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            tail in proptest::collection::vec(any::<u8>(), 0..2000),
            lines in any::<bool>(),
        ) {
            let mut der = vec![0x30];
            der.extend(tail);
            let layout = if lines { Layout::Lines } else { Layout::OneLine };
            prop_assert_eq!(decode_body(encode_body(&der, layout).as_bytes()).unwrap(), der);
        }

        #[test]
        fn no_body_is_too_much(body in proptest::collection::vec(any::<u8>(), 0..3000)) {
            let _ = decode_body(&body);
        }
    }
}
