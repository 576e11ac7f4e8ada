use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::scan::Scan;
use crate::cluster::ObjectKey;

/// Which file holds which object, for as long as one writer holds the lock: otherwise ten thousand
/// writes into one directory would read ten thousand files each.
///
/// It finds a file and nothing more. What the file holds is read anew and compared before each write,
/// and [`list`](crate::cluster::Cluster::list) never looks here. It lasts until a directory changes
/// by somebody else's hand. Older kernels may miss a change within milliseconds of our own; then an
/// object that is in two files comes to light with the next list.
pub(super) struct Index {
    directories: HashMap<PathBuf, Option<Stamp>>,
    files: HashMap<ObjectKey, Vec<PathBuf>>,
    /// Whether the Namespace has a manifest.
    pub(super) has_namespace: bool,
}

/// Changes when a file of a directory is created, renamed or removed.
#[derive(PartialEq, Eq)]
pub(super) struct Stamp {
    inode: u64,
    changed: (i64, i64),
}

impl Stamp {
    pub(super) fn of(dir: &Path) -> Option<Self> {
        let metadata = fs::metadata(dir).ok()?;
        Some(Self {
            inode: metadata.ino(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

impl Index {
    pub(super) fn of(scan: &mut Scan, namespace: &str) -> Self {
        let mut files: HashMap<ObjectKey, Vec<PathBuf>> = HashMap::new();
        let mut has_namespace = false;
        for file in &scan.files {
            has_namespace |= file
                .manifest
                .namespaces
                .iter()
                .any(|name| name == namespace);
            for declared in &file.manifest.objects {
                let key = declared.object.key.clone();
                files.entry(key).or_default().push(file.path.clone());
            }
        }
        Self {
            directories: std::mem::take(&mut scan.directories),
            files,
            has_namespace,
        }
    }

    /// Whether every directory is as it was, but for our own writes.
    pub(super) fn is_current(&self) -> bool {
        self.directories
            .iter()
            .all(|(dir, stamp)| stamp.is_some() && Stamp::of(dir) == *stamp)
    }

    /// The files that declare the object.
    pub(super) fn files(&self, key: &ObjectKey) -> &[PathBuf] {
        self.files.get(key).map(Vec::as_slice).unwrap_or_default()
    }

    /// We wrote the object there.
    pub(super) fn wrote(&mut self, key: &ObjectKey, path: &Path, dir: &Path) {
        self.files.insert(key.clone(), vec![path.to_owned()]);
        self.stamp(dir);
    }

    /// We deleted the object from there.
    pub(super) fn deleted(&mut self, key: &ObjectKey, dir: &Path) {
        self.files.remove(key);
        self.stamp(dir);
    }

    fn stamp(&mut self, dir: &Path) {
        self.directories.insert(dir.to_owned(), Stamp::of(dir));
    }
}
