//! Small files that a person names: bounded, and written so that nobody else reads them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use zeroize::Zeroizing;

/// The largest file that is read: no certificate, key or request needs more.
const MAX_SIZE: u64 = 256 * 1024;

/// The content of a file; `-` is standard input.
pub(crate) fn read(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    match path == Path::new("-") {
        true => bounded(io::stdin().lock()),
        false => bounded(File::open(path)?),
    }
}

fn bounded(from: impl io::Read) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut content = Zeroizing::new(Vec::new());
    from.take(MAX_SIZE + 1).read_to_end(&mut content)?;
    match content.len() as u64 > MAX_SIZE {
        true => Err(io::Error::other(format!("more than {MAX_SIZE} bytes"))),
        false => Ok(content),
    }
}

/// A new directory that only its owner can look into, with these files in it: all or nothing.
pub(crate) fn create_directory(path: &Path, files: &[(&str, &[u8])]) -> io::Result<()> {
    let unfinished = path.with_extension("unfinished");
    fs::DirBuilder::new().mode(0o700).create(&unfinished)?;
    let written = write_all(&unfinished, files).and_then(|()| {
        // Renaming would replace an empty directory, but no other.
        match path.try_exists()? {
            true => Err(io::ErrorKind::AlreadyExists.into()),
            false => fs::rename(&unfinished, path),
        }
    });
    if written.is_err() {
        // What is left is under a name of its own and says what it is.
        let _ = fs::remove_dir_all(&unfinished);
    }
    written
}

fn write_all(directory: &Path, files: &[(&str, &[u8])]) -> io::Result<()> {
    for (name, content) in files {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let mut file = options.open(directory.join(name))?;
        file.write_all(content)?;
        file.sync_all()?;
    }
    File::open(directory)?.sync_all()
}
