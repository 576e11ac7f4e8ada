//! The CMC Simple PKI Response (RFC 5272 section 4.1), read: CMS SignedData with certificates and nothing
//! that is signed.

use relay_pki_authority::x509::Certificate;

use crate::enrolment::decode_body;

/// Most certificates in one message: four of roots that change over, and signers.
const CERTIFICATES: usize = 64;

const INTEGER: u8 = 0x02;
const OID: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
/// `[0]`, constructed.
const CONTEXT_0: u8 = 0xa0;
/// id-signedData, 1.2.840.113549.1.7.2.
const SIGNED_DATA: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];

/// The certificates in the body of a reply, in no order: they are a set.
///
/// # Errors
///
/// What is wrong with the body.
pub(super) fn certificates(body: &[u8]) -> Result<Vec<Certificate>, String> {
    // What the decoder says is meant for clients.
    let der = decode_body(body).map_err(|_| "the body is not base64".to_owned())?;
    let members = members(&der).ok_or("the body is no certs-only message")?;
    let mut found = Vec::new();
    let mut rest = members;
    while !rest.is_empty() {
        if found.len() == CERTIFICATES {
            return Err(format!(
                "the message has more than {CERTIFICATES} certificates"
            ));
        }
        let (_, _, whole) = value(&mut rest).ok_or("the message breaks off")?;
        found.push(Certificate::from_der(whole).map_err(|error| error.to_string())?);
    }
    Ok(found)
}

/// The content of the set of certificates.
fn members(der: &[u8]) -> Option<&[u8]> {
    let mut message = der;
    let mut info = tagged(&mut message, SEQUENCE)?;
    if tagged(&mut info, OID)? != SIGNED_DATA {
        return None;
    }
    let mut explicit = tagged(&mut info, CONTEXT_0)?;
    let mut signed = tagged(&mut explicit, SEQUENCE)?;
    for expected in [INTEGER, SET, SEQUENCE] {
        tagged(&mut signed, expected)?;
    }
    tagged(&mut signed, CONTEXT_0)
}

fn tagged<'a>(rest: &mut &'a [u8], expected: u8) -> Option<&'a [u8]> {
    value(rest)
        .filter(|(tag, _, _)| *tag == expected)
        .map(|(_, content, _)| content)
}

/// The next value: its tag, its content, and all of it. Definite lengths only, which is what DER has.
fn value<'a>(rest: &mut &'a [u8]) -> Option<(u8, &'a [u8], &'a [u8])> {
    let all = *rest;
    let (tag, after) = all.split_first()?;
    let (first, after) = after.split_first()?;
    let (length, after) = match *first {
        short @ 0..=0x7f => (usize::from(short), after),
        long @ 0x81..=0x84 => {
            let (octets, after) = after.split_at_checked(usize::from(long & 0x7f))?;
            let length = octets
                .iter()
                .fold(0, |length: usize, octet| length << 8 | usize::from(*octet));
            (length, after)
        }
        _ => return None,
    };
    let (content, after) = after.split_at_checked(length)?;
    *rest = after;
    Some((*tag, content, all.get(..all.len() - after.len())?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::ca::{fixed, root};
    use super::*;
    use crate::enrolment::{Layout, certs_only, encode_body};

    #[test]
    fn what_the_server_writes_is_read() {
        let (one, other) = (root("one").certificate, root("other").certificate);
        let der = certs_only([&one, &other]);
        for layout in [Layout::OneLine, Layout::Lines] {
            let found = certificates(encode_body(&der, layout).as_bytes()).unwrap();
            assert_eq!(found.len(), 2);
            assert!(found.contains(&one) && found.contains(&other));
        }
        let none = encode_body(&certs_only([]), Layout::OneLine);
        assert_eq!(certificates(none.as_bytes()).unwrap(), []);
    }

    #[test]
    fn what_breaks_off_is_refused() {
        let der = certs_only([&root("one").certificate]);
        for length in 0..der.len() {
            assert!(certificates(&der[..length]).is_err(), "{length}");
        }
        let many = root("one").certificate;
        let message = certs_only(std::iter::repeat_n(&many, CERTIFICATES + 1));
        assert!(certificates(&message).unwrap_err().contains("more than"));
    }

    proptest! {
        #[test]
        fn no_body_is_too_much(mut body in proptest::collection::vec(any::<u8>(), 0..600), at in 0usize..400, bit in 0u8..8) {
            let _ = certificates(&body);
            body = certs_only([&fixed().certificate]);
            let at = at % body.len();
            body[at] ^= 1 << bit;
            let _ = certificates(&body);
        }
    }
}
