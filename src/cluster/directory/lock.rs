use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::process;

const LOCK_FILE: &str = ".relay-pki.lock";

/// The lock on a directory. It belongs to the open file: closing it, also by being killed, releases
/// it. The file stays, since removing it would let two writers lock two files of the same name.
pub(super) struct DirectoryLock(#[allow(dead_code, reason = "held for its Drop")] File);

/// What an attempt to lock comes to.
pub(super) enum Attempt {
    Locked(DirectoryLock),
    /// Somebody else has it; who, as far as is known.
    Held(String),
}

impl DirectoryLock {
    /// Locks `dir` if nobody else does.
    pub(super) fn attempt(dir: &Path) -> io::Result<Attempt> {
        let path = dir.join(LOCK_FILE);
        match fs::symlink_metadata(&path) {
            Ok(found) if !found.is_file() => {
                return Err(io::Error::other(format!("{LOCK_FILE} is not a plain file")));
            }
            _ => {}
        }
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(Attempt::Held(holder(&mut file))),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        // Somebody may have removed the file between our opening and our locking it.
        let locked = file.metadata()?;
        let named = fs::metadata(&path).ok();
        if named.is_none_or(|named| (named.dev(), named.ino()) != (locked.dev(), locked.ino())) {
            return Ok(Attempt::Held("its lock file was being replaced".to_owned()));
        }
        // The lock is what counts; a full disk must not keep it from us.
        let _ = note(&mut file);
        Ok(Attempt::Locked(Self(file)))
    }
}

fn note(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    writeln!(file, "{}", process::id())
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.take(20).read_to_string(&mut text);
    match (read, text.trim().parse::<u32>()) {
        (Ok(_), Ok(pid)) => format!("process {pid}"),
        _ => "a process unknown".to_owned(),
    }
}
