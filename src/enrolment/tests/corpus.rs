//! What fuzzing starts from, and what it has found, with the compiler that everybody has.

use std::path::{Path, PathBuf};

use relay_pki_authority::x509::KeyType;

use super::super::{
    BINDING_LENGTH, BODY_LIMIT, Binding, Layout, accept, decode_body, encode_body, read_request,
    requested_name,
};

#[path = "../../../tests/fuzz/src/properties.rs"]
#[allow(unreachable_pub, reason = "the fuzz targets are another crate")]
mod properties;

fn corpus(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus");
    let entries = std::fs::read_dir(folder.join(name)).unwrap();
    let files = entries.map(|entry| entry.unwrap().path());
    files
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect()
}

#[test]
fn every_body_is_read_or_refused() {
    let bodies = corpus("body");
    let refused = |path: &Path| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        ["pem-without-end", "indefinite"].contains(&name.as_str())
    };
    for (path, body) in &bodies {
        let read = decode_body(body).is_ok_and(|der| read_request(&der).is_ok());
        assert_eq!(read, !refused(path), "{}", path.display());
    }
    assert!(bodies.len() >= 8);
}

#[test]
fn every_request_is_granted_or_refused() {
    let granted: Vec<String> = corpus("request")
        .iter()
        .filter(|(_, der)| {
            read_request(der).is_ok_and(|csr| {
                accept(&csr, "cluster-1", &KeyType::ALL, &Binding::Unknown).is_ok()
            })
        })
        .map(|(path, _)| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    let mut granted: Vec<&str> = granted.iter().map(String::as_str).collect();
    granted.sort_unstable();
    assert_eq!(granted, ["ed25519", "plain", "rsa", "san"]);
}

/// Looks at everything that there is for a target.
fn replay(target: &str, property: fn(&[u8])) {
    let found = corpus(&format!("found/{target}"));
    assert!(!found.is_empty(), "{target}");
    for (path, input) in found.into_iter().chain(corpus(target)) {
        let held = std::panic::catch_unwind(|| property(&input));
        assert!(held.is_ok(), "{}", path.display());
    }
}

#[test]
fn what_fuzzing_found_keeps_its_properties() {
    replay("body", properties::body);
    replay("request", properties::request);
}
