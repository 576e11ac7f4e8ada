//! What a party presents and believes, read from volumes as a kubelet makes them.

use std::fmt::Write as _;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// How often a volume may be replaced under a reader before that is an error.
const ATTEMPTS: usize = 5;

/// A key with its chain.
pub(super) struct Identity {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
}

impl Identity {
    pub(super) fn read(volume: &Path) -> Result<Self, String> {
        let [chain, key] = files(volume, ["tls.crt", "tls.key"])?;
        Ok(Self {
            chain: certificates(&chain)?,
            key: PrivateKeyDer::from_pem_slice(&key).map_err(super::text)?,
        })
    }
}

/// The roots that a party accepts.
pub(super) struct Trust {
    pub(super) store: Arc<RootCertStore>,
    pub(super) anchors: Vec<CertificateDer<'static>>,
}

impl Trust {
    pub(super) fn read(volume: &Path) -> Result<Self, String> {
        let [bundle] = files(volume, ["ca.crt"])?;
        let anchors = certificates(&bundle)?;
        let mut store = RootCertStore::empty();
        for anchor in &anchors {
            store.add(anchor.clone()).map_err(super::text)?;
        }
        Ok(Self {
            store: Arc::new(store),
            anchors,
        })
    }
}

/// Files of one state of a volume: what `..data` leads to is replaced as a whole, and the old state
/// is deleted, maybe while it is read.
fn files<const N: usize>(volume: &Path, names: [&str; N]) -> Result<[Vec<u8>; N], String> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        match state(volume, names) {
            Err(error) if error.kind() == ErrorKind::NotFound && attempt < ATTEMPTS => (),
            read => return read.map_err(|error| format!("{}: {error}", volume.display())),
        }
    }
}

fn state<const N: usize>(volume: &Path, names: [&str; N]) -> std::io::Result<[Vec<u8>; N]> {
    let state = fs::canonicalize(volume.join("..data"))?;
    let mut read = [const { Vec::new() }; N];
    for (content, name) in read.iter_mut().zip(names) {
        *content = fs::read(state.join(name))?;
    }
    Ok(read)
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err("no certificate".to_owned()),
        found => found.map_err(super::text),
    }
}

/// The beginnings of the fingerprints (SHA-256) of certificates.
pub(super) fn fingerprints(certificates: &[CertificateDer<'_>]) -> Vec<String> {
    let fingerprint = |certificate: &CertificateDer<'_>| {
        let mut text = String::new();
        for byte in digest(&SHA256, certificate).as_ref().iter().take(4) {
            let _ = write!(text, "{byte:02x}");
        }
        text
    };
    certificates.iter().map(fingerprint).collect()
}
