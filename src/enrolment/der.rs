//! As much DER as EST replies are made of, built from the inside out.

pub(super) const INTEGER: u8 = 0x02;
pub(super) const OID: u8 = 0x06;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;
/// `[0]`, constructed.
pub(super) const CONTEXT_0: u8 = 0xa0;

/// One value: tag, definite length, content.
pub(super) fn value(tag: u8, content: &[&[u8]]) -> Vec<u8> {
    let length: usize = content.iter().map(|part| part.len()).sum();
    let mut der = vec![tag];
    let octets = length.to_be_bytes();
    let first = octets.iter().position(|octet| *octet != 0);
    let octets = first.and_then(|first| octets.get(first..)).unwrap_or(&[0]);
    match octets {
        [short] if *short < 0x80 => der.push(*short),
        long => {
            // A length has eight octets at most.
            der.push(0x80 | long.len() as u8);
            der.extend_from_slice(long);
        }
    }
    der.reserve(length);
    for part in content {
        der.extend_from_slice(part);
    }
    der
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_as_short_as_they_can_be() {
        for (length, header) in [
            (0, &[SEQUENCE, 0][..]),
            (127, &[SEQUENCE, 127]),
            (128, &[SEQUENCE, 0x81, 128]),
            (255, &[SEQUENCE, 0x81, 255]),
            (256, &[SEQUENCE, 0x82, 1, 0]),
            (70_000, &[SEQUENCE, 0x83, 0x01, 0x11, 0x70]),
        ] {
            let der = value(SEQUENCE, &[&vec![7; length]]);
            assert_eq!(&der[..header.len()], header);
            assert_eq!(der.len(), header.len() + length);
        }
    }
}
