use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::lock::{Attempt, DirectoryLock};
use super::scan::{ManifestFile, Scan, ScanError, digest_of, hex};
use super::steps::Steps;
use crate::cluster::manifest::{self, Declared, Notation};
use crate::cluster::{
    ClusterError, Expected, LockGuard, Object, ObjectKey, ObjectKind, Stored, Version, rules,
};

const NAMESPACE_FILE: &str = "00-namespace.yaml";

/// How long a single write waits for another one: the time of many writes, short for people.
const PATIENCE: Duration = Duration::from_secs(2);
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(10);

/// The blocking half of [`DirectoryCluster`](super::DirectoryCluster).
pub(super) struct Store {
    pub(super) name: String,
    namespace: String,
    path: PathBuf,
    steps: Box<dyn Steps>,
    /// The lock, while a guard is out. A write shares it, so that it lives as long as the write.
    held: Arc<Mutex<Option<Arc<DirectoryLock>>>>,
    /// One write at a time among those that share the lock.
    turn: Mutex<()>,
}

struct Release(Arc<Mutex<Option<Arc<DirectoryLock>>>>);

impl Drop for Release {
    fn drop(&mut self) {
        *own(&self.0) = None;
    }
}

/// Neither state here can be left half changed by a panic.
fn own<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store {
    pub(super) fn new(name: &str, namespace: &str, path: PathBuf, steps: Box<dyn Steps>) -> Self {
        Self {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            path,
            steps,
            held: Arc::default(),
            turn: Mutex::new(()),
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

    pub(super) fn lock(&self) -> Result<LockGuard, ClusterError> {
        let operation = "lock the directory";
        let mut held = own(&self.held);
        if held.is_some() {
            return Err(self.locked("this process"));
        }
        self.make_directory(operation)?;
        match DirectoryLock::attempt(&self.path).map_err(|e| self.io(operation, &self.path, &e))? {
            Attempt::Locked(lock) => *held = Some(Arc::new(lock)),
            Attempt::Held(holder) => return Err(self.locked(&holder)),
        }
        Ok(LockGuard::new(Release(Arc::clone(&self.held))))
    }

    pub(super) fn write(
        &self,
        object: &Object,
        expected: &Expected,
    ) -> Result<Version, ClusterError> {
        rules::check_writable(&self.name, object)?;
        let operation = format!("write {}", object.key);
        let _lock = self.lock_for_one(&operation)?;
        let _turn = own(&self.turn);
        let scan = self.scan()?;
        self.clean(&scan);
        let (found, version) = match (self.find(&scan, &object.key)?, expected) {
            (None, Expected::Absent) => return self.create(object, &scan, &operation),
            (Some(found), Expected::At(version)) => (found, version),
            (Some(_), Expected::Absent) | (None, Expected::At(_)) => {
                return Err(self.conflict(&object.key));
            }
        };
        let (file, declared) = self.own_file(found, version)?;
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
        self.put(
            &file.path,
            content.as_bytes(),
            Some((&object.key, version)),
            &operation,
        )
    }

    pub(super) fn delete(&self, key: &ObjectKey, expected: &Version) -> Result<(), ClusterError> {
        let operation = format!("delete {key}");
        // Nothing to lock, and nothing to make a directory for.
        if self.read(key)?.is_none() {
            return Err(self.conflict(key));
        }
        let _lock = self.lock_for_one(&operation)?;
        let _turn = own(&self.turn);
        let scan = self.scan()?;
        self.clean(&scan);
        let found = self.find(&scan, key)?.ok_or_else(|| self.conflict(key))?;
        let (file, _) = self.own_file(found, expected)?;
        self.check_unchanged(&file.path, key, expected, &operation)?;
        self.steps
            .remove(&file.path)
            .and_then(|()| self.steps.sync_dir(parent(&file.path)))
            .map_err(|error| self.io(&operation, &file.path, &error))
    }

    fn create(
        &self,
        object: &Object,
        scan: &Scan,
        operation: &str,
    ) -> Result<Version, ClusterError> {
        let name = &object.key.name;
        let target = self.path.join(match object.key.kind {
            ObjectKind::Secret => format!("{name}.yaml"),
            ObjectKind::ConfigMap => format!("{name}.configmap.yaml"),
        });
        let content = manifest::render(object, &self.namespace, false, Notation::Yaml)
            .map_err(|error| self.malformed(&target, &error))?;
        let has_namespace = scan
            .files
            .iter()
            .any(|file| file.manifest.namespaces.contains(&self.namespace));
        if !has_namespace {
            let path = self.path.join(NAMESPACE_FILE);
            let content = manifest::render_namespace(&self.namespace)
                .map_err(|error| self.malformed(&path, &error))?;
            self.put(&path, content.as_bytes(), None, operation)?;
        }
        self.put(&target, content.as_bytes(), None, operation)
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
                        self.occupied(path, "it is something else".to_owned())
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

    /// The file, if it is at `expected` and ours to change as a whole.
    fn own_file<'s>(
        &self,
        (file, declared): (&'s ManifestFile, &'s Declared),
        expected: &Version,
    ) -> Result<(&'s ManifestFile, &'s Declared), ClusterError> {
        if file.digest != expected.0 {
            return Err(self.conflict(&declared.object.key));
        }
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
        Ok((file, declared))
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

    /// The lock that a guard holds, or one for this write alone.
    fn lock_for_one(&self, operation: &str) -> Result<Arc<DirectoryLock>, ClusterError> {
        if let Some(lock) = &*own(&self.held) {
            return Ok(Arc::clone(lock));
        }
        self.make_directory(operation)?;
        let start = Instant::now();
        loop {
            let attempt = DirectoryLock::attempt(&self.path);
            match attempt.map_err(|error| self.io(operation, &self.path, &error))? {
                Attempt::Locked(lock) => return Ok(Arc::new(lock)),
                Attempt::Held(holder) if start.elapsed() > PATIENCE => {
                    return Err(self.locked(&holder));
                }
                Attempt::Held(_) => thread::sleep(BETWEEN_ATTEMPTS),
            }
        }
    }

    /// Makes the directory and those above it that are missing, and makes each of them last.
    fn make_directory(&self, operation: &str) -> Result<(), ClusterError> {
        let missing: Vec<&Path> = self
            .path
            .ancestors()
            .take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists())
            .collect();
        for dir in missing.into_iter().rev() {
            match self.steps.make_dir(dir) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                made => made.and_then(|()| self.steps.sync_dir(parent(dir))),
            }
            .map_err(|error| self.io(operation, dir, &error))?;
        }
        Ok(())
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
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        Some(_) => Path::new("."),
        None => path,
    }
}
