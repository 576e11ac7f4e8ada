use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::index::Index;
use super::scan::{ManifestFile, Scan, ScanError, digest_of, hex};
use super::steps::Steps;
use super::tenure::{Held, own};
use crate::cluster::manifest::{self, Declared, Notation};
use crate::cluster::{
    ClusterError, Expected, Object, ObjectKey, ObjectKind, Stored, Version, rules,
};

const NAMESPACE_FILE: &str = "00-namespace.yaml";

/// The blocking half of [`DirectoryCluster`](super::DirectoryCluster).
pub(super) struct Store {
    pub(super) name: String,
    namespace: String,
    pub(super) path: PathBuf,
    pub(super) steps: Box<dyn Steps>,
    /// The lock, while a guard is out. A write shares it, so that it lives as long as the write.
    pub(super) held: Held,
}

impl Store {
    pub(super) fn new(name: &str, namespace: &str, path: PathBuf, steps: Box<dyn Steps>) -> Self {
        Self {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            path,
            steps,
            held: Arc::default(),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn list(
        &self,
        selector: (&str, &str),
        wanted: &[ObjectKey],
    ) -> Result<Vec<Stored>, ClusterError> {
        let scan = self.scan()?;
        let mut found: Vec<(&ManifestFile, &Declared)> = declared(&scan).collect();
        // Stable: of two files with the same object the first in the alphabet comes first.
        found.sort_by(|(_, a), (_, b)| a.object.key.cmp(&b.object.key));
        let mut stored = Vec::new();
        for same in found.chunk_by(|(_, a), (_, b)| a.object.key == b.object.key) {
            if same
                .iter()
                .any(|(_, declared)| rules::is_selected(&declared.object, selector, wanted))
            {
                stored.extend(self.only(same)?.map(stored_object));
            }
        }
        Ok(stored)
    }

    pub(super) fn read(&self, key: &ObjectKey) -> Result<Option<Stored>, ClusterError> {
        let scan = self.scan()?;
        Ok(self.find(&scan, key)?.map(stored_object))
    }

    pub(super) fn write(
        &self,
        object: &Object,
        expected: &Expected,
    ) -> Result<Version, ClusterError> {
        rules::check_writable(&self.name, object)?;
        let operation = format!("write {}", object.key);
        let tenure = self.lock_for_one(&operation)?;
        let mut turn = own(&tenure.turn);
        let (file, index) = self.locate(&mut turn, &object.key)?;
        let (file, version) = match (file, expected) {
            (None, Expected::Absent) => return self.create(object, index, &operation),
            (Some(file), Expected::At(version)) => (file, version),
            (Some(_), Expected::Absent) | (None, Expected::At(_)) => {
                return Err(self.conflict(&object.key));
            }
        };
        let declared = self.own_declaration(&file, &object.key, version)?;
        let place = file.path.display().to_string();
        rules::check_change(
            &self.name,
            &place,
            declared.immutable,
            &declared.object,
            object,
        )?;
        let content = manifest::render(
            object,
            &self.namespace,
            declared.immutable,
            notation(&file.path),
        )
        .map_err(|error| self.malformed(&file.path, &error))?;
        let old = Some((&object.key, version));
        let version = self.put(&file.path, content.as_bytes(), old, &operation)?;
        index.wrote(&object.key, &file.path, parent(&file.path));
        Ok(version)
    }

    pub(super) fn delete(&self, key: &ObjectKey, expected: &Version) -> Result<(), ClusterError> {
        let operation = format!("delete {key}");
        // Nothing to lock, and no reason to make a directory.
        if matches!(self.path.try_exists(), Ok(false)) {
            return Err(self.conflict(key));
        }
        let tenure = self.lock_for_one(&operation)?;
        let mut turn = own(&tenure.turn);
        let (file, index) = self.locate(&mut turn, key)?;
        let file = file.ok_or_else(|| self.conflict(key))?;
        self.own_declaration(&file, key, expected)?;
        self.check_unchanged(&file.path, key, expected, &operation)?;
        self.steps
            .remove(&file.path)
            .and_then(|()| self.steps.sync_dir(parent(&file.path)))
            .map_err(|error| self.io(&operation, &file.path, &error))?;
        index.deleted(key, parent(&file.path));
        Ok(())
    }

    fn create(
        &self,
        object: &Object,
        index: &mut Index,
        operation: &str,
    ) -> Result<Version, ClusterError> {
        let name = &object.key.name;
        let target = self.path.join(match object.key.kind {
            ObjectKind::Secret => format!("{name}.yaml"),
            ObjectKind::ConfigMap => format!("{name}.configmap.yaml"),
        });
        let content = manifest::render(object, &self.namespace, false, Notation::Yaml)
            .map_err(|error| self.malformed(&target, &error))?;
        if !index.has_namespace {
            let path = self.path.join(NAMESPACE_FILE);
            let content = manifest::render_namespace(&self.namespace)
                .map_err(|error| self.malformed(&path, &error))?;
            self.put(&path, content.as_bytes(), None, operation)?;
            index.has_namespace = true;
        }
        let version = self.put(&target, content.as_bytes(), None, operation)?;
        index.wrote(&object.key, &target, &self.path);
        Ok(version)
    }

    /// The file that declares the object, read now, and the index to keep up to date.
    fn locate<'i>(
        &self,
        index: &'i mut Option<Index>,
        key: &ObjectKey,
    ) -> Result<(Option<ManifestFile>, &'i mut Index), ClusterError> {
        let known = index.take().filter(Index::is_current);
        if let Some(known) = known {
            match known.files(key) {
                [] => return Ok((None, index.insert(known))),
                [path] => {
                    if let Some(file) = self.read_again(path, key) {
                        return Ok((Some(file), index.insert(known)));
                    }
                }
                _ => {}
            }
        }
        let mut scan = self.scan()?;
        self.clean(&scan);
        let path = self.find(&scan, key)?.map(|(file, _)| file.path.clone());
        let index = index.insert(Index::of(&mut scan, &self.namespace));
        let file = scan
            .files
            .into_iter()
            .find(|file| Some(&file.path) == path.as_ref());
        Ok((file, index))
    }

    /// The file at `path`, if all is well with it and it still declares the object.
    fn read_again(&self, path: &Path, key: &ObjectKey) -> Option<ManifestFile> {
        let is_symlink = fs::symlink_metadata(path).ok()?.is_symlink();
        let file = ManifestFile::read(path.to_owned(), is_symlink, &self.namespace).ok()??;
        file.declaration(key)?;
        Some(file)
    }

    /// Puts `content` at `path`, as a whole or not at all: in place of what is still at `old`, or
    /// where nothing is.
    fn put(
        &self,
        path: &Path,
        content: &[u8],
        old: Option<(&ObjectKey, &Version)>,
        operation: &str,
    ) -> Result<Version, ClusterError> {
        let fail = |error: io::Error| self.io(operation, path, &error);
        let dir = parent(path);
        let (mut file, temporary) = self.steps.create_temporary(dir).map_err(fail)?;
        let outcome = self
            .steps
            .write(&mut file, content)
            .and_then(|()| self.steps.sync_file(&file))
            .map_err(fail)
            .and_then(|()| match old {
                Some((key, version)) => {
                    self.check_unchanged(path, key, version, operation)?;
                    self.steps.replace(&temporary, path).map_err(fail)
                }
                None => self.steps.publish(&temporary, path).map_err(|error| {
                    if error.kind() == io::ErrorKind::AlreadyExists {
                        let what = "it holds another object, or none; look into it, and delete it if \
                                    nothing needs it";
                        self.occupied(path, what.to_owned())
                    } else {
                        fail(error)
                    }
                }),
            });
        if let Err(error) = outcome {
            // As good as it goes; the next writer tries again.
            let _ = self.steps.remove(&temporary);
            return Err(error);
        }
        self.steps.sync_dir(dir).map_err(fail)?;
        Ok(Version(hex(content)))
    }

    /// The last look before something is overwritten: editors know nothing of our lock.
    fn check_unchanged(
        &self,
        path: &Path,
        key: &ObjectKey,
        expected: &Version,
        operation: &str,
    ) -> Result<(), ClusterError> {
        match digest_of(path).map_err(|error| self.io(operation, path, &error))? {
            Some(digest) if digest == expected.0 => Ok(()),
            _ => Err(self.conflict(key)),
        }
    }

    /// What the file declares, if it is at `expected` and ours to change as a whole.
    fn own_declaration<'f>(
        &self,
        file: &'f ManifestFile,
        key: &ObjectKey,
        expected: &Version,
    ) -> Result<&'f Declared, ClusterError> {
        let declared = match file.declaration(key) {
            Some(declared) if file.digest == expected.0 => declared,
            _ => return Err(self.conflict(key)),
        };
        if file.is_symlink {
            return Err(self.occupied(&file.path, "it is a symbolic link".to_owned()));
        }
        if !file.manifest.is_single() {
            let count = file.manifest.documents;
            return Err(self.occupied(
                &file.path,
                format!("it holds {count} documents or list items; split it, one object a file"),
            ));
        }
        Ok(declared)
    }

    fn find<'s>(
        &self,
        scan: &'s Scan,
        key: &ObjectKey,
    ) -> Result<Option<(&'s ManifestFile, &'s Declared)>, ClusterError> {
        let found: Vec<_> = declared(scan)
            .filter(|(_, declared)| declared.object.key == *key)
            .collect();
        self.only(&found)
    }

    /// The one declaration of an object. Which of two would be applied last nobody knows.
    fn only<'s>(
        &self,
        found: &[(&'s ManifestFile, &'s Declared)],
    ) -> Result<Option<(&'s ManifestFile, &'s Declared)>, ClusterError> {
        match found {
            [] => Ok(None),
            [one] => Ok(Some(*one)),
            [(first, declared), (second, _), ..] => Err(self.occupied(
                &second.path,
                format!("{} is in {} too", declared.object.key, first.path.display()),
            )),
        }
    }

    fn scan(&self) -> Result<Scan, ClusterError> {
        Scan::of(&self.path, &self.namespace).map_err(|error| match error {
            ScanError::Io(path, error) => self.io("read the manifests", &path, &error),
            ScanError::Malformed(path, error) => self.malformed(&path, &error),
        })
    }

    /// Nobody else writes while we hold the lock, so what is temporary now is of a killed writer.
    fn clean(&self, scan: &Scan) {
        for path in &scan.leftovers {
            let _ = self.steps.remove(path);
        }
    }
}

fn declared(scan: &Scan) -> impl Iterator<Item = (&ManifestFile, &Declared)> {
    scan.files
        .iter()
        .flat_map(|file| file.manifest.objects.iter().map(move |one| (file, one)))
}

fn stored_object((file, declared): (&ManifestFile, &Declared)) -> Stored {
    let path = file.path.display();
    Stored {
        object: declared.object.clone(),
        version: Version(file.digest.clone()),
        place: if file.manifest.is_single() {
            path.to_string()
        } else {
            format!("{path}:{}", declared.line)
        },
        exposed: file.readable_by_others && holds_secrets(&declared.object),
    }
}

/// Whether anything in the object is worth hiding. Certificates are not.
fn holds_secrets(object: &Object) -> bool {
    object.key.kind == ObjectKind::Secret
        && object.data.iter().any(|(key, value)| {
            let pem = b"PRIVATE KEY-----";
            matches!(key.as_str(), "tls.key" | "token")
                || value.expose().windows(pem.len()).any(|part| part == pem)
        })
}

fn notation(path: &Path) -> Notation {
    match path.extension() {
        Some(end) if end == "json" => Notation::Json,
        _ => Notation::Yaml,
    }
}

/// The directory that `path` is in; a bare name is in the current one.
pub(super) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        Some(_) => Path::new("."),
        None => path,
    }
}
