//! What fuzzing starts from, and what it has found, with the compiler that everybody has.

use std::path::{Path, PathBuf};

use relay_pki_authority::x509::KeyType;

use super::super::{Binding, accept, decode_body, read_request};

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
