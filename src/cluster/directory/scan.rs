use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use data_encoding::HEXLOWER;
use zeroize::Zeroizing;

use super::index::Stamp;
use super::steps::{TEMPORARY_PREFIX, TEMPORARY_SUFFIX};
use crate::cluster::ObjectKey;
use crate::cluster::manifest::{self, Declared, MAX_MANIFEST_BYTES, Manifest, ManifestError};

const MAX_DEPTH: usize = 16;
const MAX_FILES: usize = 100_000;

/// Everything in a directory, as of now.
#[derive(Default)]
pub(super) struct Scan {
    pub(super) files: Vec<ManifestFile>,
    /// What killed writers left behind.
    pub(super) leftovers: Vec<PathBuf>,
    /// The directories as they were just before they were read.
    pub(super) directories: HashMap<PathBuf, Option<Stamp>>,
}

/// A file with its manifests.
pub(super) struct ManifestFile {
    pub(super) path: PathBuf,
    /// SHA-256 of the content, in hex.
    pub(super) digest: String,
    /// Whether the file's mode lets others than the owner read it.
    pub(super) readable_by_others: bool,
    pub(super) is_symlink: bool,
    pub(super) manifest: Manifest,
}

/// Why a directory cannot be taken in.
pub(super) enum ScanError {
    Io(PathBuf, io::Error),
    Malformed(PathBuf, ManifestError),
}

impl Scan {
    /// Reads `root` and what is below it. A directory that is not there is empty.
    pub(super) fn of(root: &Path, namespace: &str) -> Result<Self, ScanError> {
        let mut scan = Self::default();
        scan.visit(root, namespace, 0)?;
        // Directories come in any order; what we say about them should not.
        scan.files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(scan)
    }

    fn visit(&mut self, dir: &Path, namespace: &str, depth: usize) -> Result<(), ScanError> {
        let io = |error| ScanError::Io(dir.to_owned(), error);
        self.directories.insert(dir.to_owned(), Stamp::of(dir));
        let entries = match fs::read_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(io)?,
        };
        for entry in entries {
            let entry = entry.map_err(io)?;
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            let kind = entry.file_type().map_err(io)?;
            if name.starts_with('.') {
                if is_temporary(&name) && kind.is_file() {
                    self.leftovers.push(path);
                }
            } else if kind.is_dir() {
                if depth == MAX_DEPTH {
                    let reason = format!("more than {MAX_DEPTH} directories deep");
                    return Err(ScanError::Io(path, io::Error::other(reason)));
                }
                self.visit(&path, namespace, depth + 1)?;
            } else if is_manifest(&name) && (kind.is_file() || kind.is_symlink()) {
                if self.files.len() == MAX_FILES {
                    let reason = format!("more than {MAX_FILES} manifests");
                    return Err(ScanError::Io(dir.to_owned(), io::Error::other(reason)));
                }
                self.files
                    .extend(ManifestFile::read(path, kind.is_symlink(), namespace)?);
            }
        }
        Ok(())
    }
}

impl ManifestFile {
    /// `None` if the file is gone since the directory was read, or is no file.
    pub(super) fn read(
        path: PathBuf,
        is_symlink: bool,
        namespace: &str,
    ) -> Result<Option<Self>, ScanError> {
        let (content, mode) = match read_content(&path) {
            Ok(Some(read)) => read,
            Ok(None) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !is_symlink => {
                return Ok(None);
            }
            Err(error) => return Err(ScanError::Io(path, error)),
        };
        let manifest = match manifest::parse(&content, namespace) {
            Ok(manifest) => manifest,
            Err(error) => return Err(ScanError::Malformed(path, error)),
        };
        Ok(Some(Self {
            digest: hex(&content),
            readable_by_others: mode & 0o044 != 0,
            is_symlink,
            manifest,
            path,
        }))
    }

    /// What the file declares the object to be, if it does so once.
    pub(super) fn declaration(&self, key: &ObjectKey) -> Option<&Declared> {
        let mut declared = self
            .manifest
            .objects
            .iter()
            .filter(|one| one.object.key == *key);
        declared.next().filter(|_| declared.next().is_none())
    }
}

/// The digest of what is at `path` now.
pub(super) fn digest_of(path: &Path) -> io::Result<Option<String>> {
    match read_content(path) {
        Ok(read) => Ok(read.map(|(content, _)| hex(&content))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// SHA-256 of `content`, in hex.
pub(super) fn hex(content: &[u8]) -> String {
    HEXLOWER.encode(digest::digest(&digest::SHA256, content).as_ref())
}

fn read_content(path: &Path) -> io::Result<Option<(Zeroizing<Vec<u8>>, u32)>> {
    // Asked before opening, which would wait for the other end of a pipe.
    if !fs::metadata(path)?.is_file() {
        return Ok(None);
    }
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    // A byte more than allowed, for the parser to see that it is too large; and room for all of it:
    // growing would leave copies of the secret behind.
    let limit = MAX_MANIFEST_BYTES as u64 + 1;
    let size = usize::try_from(metadata.len().min(limit)).unwrap_or(MAX_MANIFEST_BYTES);
    let mut content = Zeroizing::new(Vec::with_capacity(size + 1));
    file.take(limit).read_to_end(&mut content)?;
    Ok(Some((content, metadata.mode())))
}

/// A kustomization is no manifest: it may lack a kind, and kubectl refuses to apply it.
fn is_manifest(name: &str) -> bool {
    [".yaml", ".yml", ".json"]
        .iter()
        .any(|end| name.ends_with(end))
        && !matches!(name, "kustomization.yaml" | "kustomization.yml")
}

fn is_temporary(name: &str) -> bool {
    name.starts_with(TEMPORARY_PREFIX) && name.ends_with(TEMPORARY_SUFFIX)
}
