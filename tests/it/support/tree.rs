//! A directory tree as it is at one moment.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A file or directory below a root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) content: Option<Vec<u8>>,
    pub(crate) mode: u32,
    modified: (i64, i64),
    inode: u64,
}

/// Everything below one directory, by relative path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tree(pub(crate) BTreeMap<String, Entry>);

/// How two trees differ.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) added: Vec<String>,
    pub(crate) removed: Vec<String>,
    pub(crate) changed: Vec<String>,
}

impl Tree {
    /// Reads `root`. Symbolic links are not followed.
    pub(crate) fn of(root: &Path) -> Self {
        let mut entries = BTreeMap::new();
        visit(root, "", &mut entries);
        Self(entries)
    }

    /// What became of this tree: content, permissions, times and identity all count for files;
    /// a directory's times change with its lock file, so only its presence counts.
    pub(crate) fn difference(&self, later: &Self) -> Difference {
        let mut difference = Difference::default();
        for (path, entry) in &self.0 {
            match later.0.get(path) {
                None => difference.removed.push(path.clone()),
                Some(other) if entry.content.is_some() && entry != other => {
                    difference.changed.push(path.clone());
                }
                Some(_) => {}
            }
        }
        let added = later.0.keys().filter(|path| !self.0.contains_key(*path));
        difference.added = added.cloned().collect();
        // The lock file names the latest holder; it is no manifest.
        difference
            .changed
            .retain(|path| !path.ends_with(".relay-pki.lock"));
        difference
    }

    /// Fails unless nothing differs.
    pub(crate) fn assert_unchanged(&self, later: &Self) {
        assert_eq!(self.difference(later), Difference::default());
    }
}

fn visit(dir: &Path, prefix: &str, entries: &mut BTreeMap<String, Entry>) {
    for found in fs::read_dir(dir).unwrap() {
        let found = found.unwrap();
        let path = format!("{prefix}{}", found.file_name().to_string_lossy());
        let metadata = fs::symlink_metadata(found.path()).unwrap();
        let content = match metadata.is_file() {
            true => Some(fs::read(found.path()).unwrap()),
            false => None,
        };
        entries.insert(
            path.clone(),
            Entry {
                content,
                mode: metadata.mode() & 0o7777,
                modified: (metadata.mtime(), metadata.mtime_nsec()),
                inode: metadata.ino(),
            },
        );
        if metadata.is_dir() {
            visit(&found.path(), &format!("{path}/"), entries);
        }
    }
}
