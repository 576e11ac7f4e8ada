use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Names of files that are not complete yet. They are hidden, so that neither we nor kubectl read
/// them; what a killed writer leaves behind is removed by the next one.
pub(super) const TEMPORARY_PREFIX: &str = ".relay-pki-";
pub(super) const TEMPORARY_SUFFIX: &str = ".tmp";

/// Every operation that changes a directory, one by one, so that tests can stop or fail at each.
pub(super) trait Steps: Send + Sync {
    /// Makes one directory, 0700.
    fn make_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes an empty file of a fresh temporary name, 0600.
    fn create_temporary(&self, dir: &Path) -> io::Result<(File, PathBuf)>;
    fn write(&self, file: &mut File, content: &[u8]) -> io::Result<()>;
    fn sync_file(&self, file: &File) -> io::Result<()>;
    /// Renames over whatever is there.
    fn replace(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Renames, unless something is there.
    fn publish(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
}

pub(super) struct OsSteps;

impl Steps for OsSteps {
    fn make_dir(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().mode(0o700).create(path)
    }

    fn create_temporary(&self, dir: &Path) -> io::Result<(File, PathBuf)> {
        let named = tempfile::Builder::new()
            .prefix(TEMPORARY_PREFIX)
            .suffix(TEMPORARY_SUFFIX)
            .make_in(dir, |path| {
                OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .mode(0o600)
                    .open(path)
            })?;
        // Removal is a step of its own.
        named.keep().map_err(|error| error.error)
    }

    fn write(&self, file: &mut File, content: &[u8]) -> io::Result<()> {
        file.write_all(content)
    }

    fn sync_file(&self, file: &File) -> io::Result<()> {
        file.sync_all()
    }

    fn replace(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn publish(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut from = tempfile::TempPath::try_from_path(from)?;
        from.disable_cleanup(true);
        from.persist_noclobber(to).map_err(|error| {
            let tempfile::PathPersistError { error, mut path } = error;
            path.disable_cleanup(true);
            error
        })
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }
}
