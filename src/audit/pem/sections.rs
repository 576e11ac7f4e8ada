//! Takes files apart, so that one bad section does not hide the others.

use relay_pki_authority::x509::{Certificate, PrivateKey, PublicKey, VerifiedCsr};

/// Largest file that is looked into.
const LIMIT: usize = 1024 * 1024;
/// Most sections of one file.
const SECTIONS: usize = 1000;

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";

/// A section of a file.
pub(super) struct Section<'a> {
    /// `file.pem#2`; just the file's name if there is one section only.
    pub(super) name: String,
    pub(super) item: Item,
    pub(super) file: &'a str,
}

/// What is in a section.
pub(super) enum Item {
    Certificate(Certificate),
    /// Only the public half is kept.
    Key(PublicKey),
    /// Its signature is sound; there is nothing else to check about a request.
    Request,
    Unreadable(String),
}

/// Every section of a file; at least one, if only to say that there is nothing in it.
pub(super) fn sections<'a>(file: &'a str, content: &[u8]) -> Vec<Section<'a>> {
    let section = |item| Section {
        name: file.to_owned(),
        item,
        file,
    };
    if content.len() > LIMIT {
        let reason = format!("the file has more than {LIMIT} bytes");
        return vec![section(Item::Unreadable(reason))];
    }
    let Some(text) = std::str::from_utf8(content)
        .ok()
        .filter(|text| text.contains(BEGIN))
    else {
        return vec![section(match Certificate::from_der(content) {
            Ok(certificate) => Item::Certificate(certificate),
            Err(_) => Item::Unreadable("it is neither PEM nor a DER certificate".to_owned()),
        })];
    };
    let mut found: Vec<Section<'_>> = blocks(text)
        .take(SECTIONS)
        .map(|block| section(item(block)))
        .collect();
    if found.len() == SECTIONS {
        let reason = format!("sections after the first {SECTIONS} were not read");
        found.push(section(Item::Unreadable(reason)));
    }
    if found.len() > 1 {
        for (index, section) in found.iter_mut().enumerate() {
            section.name = format!("{}#{}", section.file, index + 1);
        }
    }
    found
}

/// From each BEGIN line to its END line, or to the next BEGIN line.
fn blocks(text: &str) -> impl Iterator<Item = &str> {
    let starts: Vec<usize> = text.match_indices(BEGIN).map(|(at, _)| at).collect();
    let ends: Vec<usize> = starts.iter().skip(1).copied().chain([text.len()]).collect();
    starts
        .into_iter()
        .zip(ends)
        .filter_map(|(start, end)| text.get(start..end))
}

fn item(block: &str) -> Item {
    let label = block
        .strip_prefix(BEGIN)
        .and_then(|rest| rest.split_once("-----"));
    let label = label.map_or("", |(label, _)| label);
    if !block.contains(END) {
        return Item::Unreadable("the section has no END line".to_owned());
    }
    let bytes = block.as_bytes();
    let unreadable =
        |error: relay_pki_authority::x509::X509Error| Item::Unreadable(error.to_string());
    match label {
        "CERTIFICATE" => Certificate::from_pem(bytes).map_or_else(unreadable, Item::Certificate),
        "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => {
            VerifiedCsr::from_pem(bytes).map_or_else(unreadable, |_| Item::Request)
        }
        label if label.ends_with("PRIVATE KEY") => PrivateKey::from_pem(bytes)
            .map_or_else(unreadable, |key| Item::Key(key.public_key().clone())),
        label => {
            let label: String = label.chars().filter(|c| !c.is_control()).take(40).collect();
            Item::Unreadable(format!("sections of the kind {label:?} are not looked at"))
        }
    }
}
