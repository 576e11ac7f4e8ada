//! Killed, or out of space, at every single operation.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Mutex;

use tempfile::TempDir;

use super::*;
use crate::cluster::SecretBytes;

/// What happens at the chosen operation.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Trouble {
    /// It does not happen, or by half, and nothing after it does.
    Killed,
    /// It fails, or is done by half; what comes after it works.
    Fails(i32),
}

const NO_SPACE: i32 = 28;
const READ_ONLY: i32 = 30;

/// The operating system, with trouble at the n-th operation; and a record of all of them.
struct Troubled {
    trouble: Trouble,
    at: usize,
    done: Arc<Mutex<Vec<&'static str>>>,
}

impl Troubled {
    fn step(&self, name: &'static str) -> io::Result<()> {
        let mut done = self.done.lock().unwrap();
        let n = done.len();
        done.push(name);
        match self.trouble {
            Trouble::Killed if n >= self.at => Err(io::Error::other("killed")),
            Trouble::Fails(code) if n == self.at => Err(io::Error::from_raw_os_error(code)),
            _ => Ok(()),
        }
    }
}

impl Steps for Troubled {
    fn make_dir(&self, path: &Path) -> io::Result<()> {
        self.step("make_dir").and_then(|()| OsSteps.make_dir(path))
    }

    fn create_temporary(&self, dir: &Path) -> io::Result<(File, PathBuf)> {
        self.step("create")?;
        OsSteps.create_temporary(dir)
    }

    fn write(&self, file: &mut File, content: &[u8]) -> io::Result<()> {
        if let Err(error) = self.step("write") {
            let first = self.done.lock().unwrap().len() == self.at + 1;
            return OsSteps
                .write(
                    file,
                    if first {
                        &content[..content.len() / 2]
                    } else {
                        b""
                    },
                )
                .and(Err(error));
        }
        OsSteps.write(file, content)
    }

    fn sync_file(&self, file: &File) -> io::Result<()> {
        self.step("sync_file")
            .and_then(|()| OsSteps.sync_file(file))
    }

    fn replace(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step("replace")
            .and_then(|()| OsSteps.replace(from, to))
    }

    fn publish(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step("publish")
            .and_then(|()| OsSteps.publish(from, to))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.step("sync_dir").and_then(|()| OsSteps.sync_dir(dir))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.step("remove").and_then(|()| OsSteps.remove(path))
    }
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Action {
    Create,
    Replace,
    Delete,
}

impl Action {
    fn before(self) -> Option<Object> {
        (self != Self::Create).then(|| secret("old"))
    }

    fn after(self) -> Option<Object> {
        (self != Self::Delete).then(|| secret("new"))
    }

    /// Does it, from what `cluster` reads now.
    async fn run(self, cluster: &DirectoryCluster) -> Result<(), ClusterError> {
        let stored = cluster.read(&secret("").key).await?;
        if stored.as_ref().map(|stored| &stored.object) == self.after().as_ref() {
            return Ok(());
        }
        match (self.after(), stored) {
            (Some(object), stored) => {
                let expected =
                    stored.map_or(Expected::Absent, |stored| Expected::At(stored.version));
                cluster.write(&object, &expected).await.map(drop)
            }
            (None, Some(stored)) => cluster.delete(&stored.object.key, &stored.version).await,
            (None, None) => Ok(()),
        }
    }
}

/// Long enough that half of it is no manifest of any kind.
fn secret(token: &str) -> Object {
    Object {
        key: ObjectKey::secret("relay-identity-token-secret"),
        secret_type: Some("Opaque".to_owned()),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        data: BTreeMap::from([("token".to_owned(), SecretBytes::new(token.repeat(1000)))]),
    }
}

fn cluster(dir: &Path, steps: impl Steps + 'static) -> DirectoryCluster {
    DirectoryCluster::with_steps("mgmt", "gloo-mesh", dir.to_owned(), Box::new(steps))
}

fn temporaries(dir: &Path) -> usize {
    fs::read_dir(dir).map_or(0, |entries| {
        let name =
            |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
        entries
            .map(name)
            .filter(|name| name.ends_with(".tmp"))
            .count()
    })
}

/// Runs `action` with trouble at operation `at`; false if it has fewer operations.
async fn interrupted(action: Action, trouble: Trouble, at: usize) -> bool {
    let context = format!("{action:?} {trouble:?} at {at}");
    let root = TempDir::new().unwrap();
    let dir = root.path().join("clusters/mgmt");
    if let Some(object) = action.before() {
        cluster(&dir, OsSteps)
            .write(&object, &Expected::Absent)
            .await
            .unwrap();
        // Of an earlier killed writer.
        fs::write(dir.join(".relay-pki-old.tmp"), "apiVersion: v1\nkind: Sec").unwrap();
    }
    let done = Arc::default();
    let troubled = cluster(
        &dir,
        Troubled {
            trouble,
            at,
            done: Arc::clone(&done),
        },
    );
    let outcome = action.run(&troubled).await;
    let reached = done.lock().unwrap().len() > at;
    let step = done.lock().unwrap().get(at).copied();
    let left = temporaries(&dir);
    if trouble != Trouble::Killed {
        // What an earlier writer left and could not be removed now; nothing of our own.
        let kept = action.before().is_some() && step == Some("remove") && at == 0;
        assert_eq!(left, usize::from(kept), "{context}");
        if let Err(error) = &outcome {
            assert!(
                matches!(error, ClusterError::Unavailable { .. }),
                "{context}: {error}"
            );
            assert!(
                error.to_string().contains("No space left on device"),
                "{context}: {error}"
            );
        }
    }
    drop(troubled);

    let fresh = cluster(&dir, OsSteps);
    let found = fresh
        .read(&secret("").key)
        .await
        .unwrap()
        .map(|stored| stored.object);
    assert!(
        [action.before(), action.after()].contains(&found),
        "{context}: a mix"
    );
    if outcome.is_ok() {
        assert_eq!(found, action.after(), "{context}: not done");
    }
    action.run(&fresh).await.unwrap();
    let found = fresh
        .read(&secret("").key)
        .await
        .unwrap()
        .map(|stored| stored.object);
    assert_eq!(found, action.after(), "{context}: does not converge");
    // The next write finds nothing of all this in its way.
    let mut other = secret("other");
    other.key.name = "other".to_owned();
    fresh.write(&other, &Expected::Absent).await.unwrap();
    assert_eq!(temporaries(&dir), 0, "{context}");
    reached
}

#[tokio::test]
async fn old_or_new_at_every_operation() {
    for trouble in [Trouble::Killed, Trouble::Fails(NO_SPACE)] {
        for (action, at_least) in [
            (Action::Create, 14),
            (Action::Replace, 6),
            (Action::Delete, 3),
        ] {
            let mut at = 0;
            while interrupted(action, trouble, at).await {
                at += 1;
            }
            assert!(at >= at_least, "{action:?} has {at} operations only");
        }
    }
}

#[tokio::test]
async fn nothing_is_shown_before_it_is_safe() {
    let root = TempDir::new().unwrap();
    let done: Arc<Mutex<Vec<&str>>> = Arc::default();
    let steps = Troubled {
        trouble: Trouble::Killed,
        at: usize::MAX,
        done: Arc::clone(&done),
    };
    let cluster = cluster(&root.path().join("mgmt"), steps);
    for (action, expected) in [
        (
            Action::Create,
            "make_dir sync_dir create write sync_file publish sync_dir create write sync_file publish sync_dir",
        ),
        (Action::Replace, "create write sync_file replace sync_dir"),
        (Action::Delete, "remove sync_dir"),
    ] {
        if action == Action::Replace {
            let stored = cluster.read(&secret("").key).await.unwrap().unwrap();
            cluster
                .write(&secret("old"), &Expected::At(stored.version))
                .await
                .unwrap();
        }
        done.lock().unwrap().clear();
        action.run(&cluster).await.unwrap();
        assert_eq!(done.lock().unwrap().join(" "), expected);
    }
}

#[tokio::test]
async fn a_directory_that_cannot_be_written_says_so() {
    let root = TempDir::new().unwrap();
    let steps = Troubled {
        trouble: Trouble::Fails(READ_ONLY),
        at: 0,
        done: Arc::default(),
    };
    let cluster = cluster(root.path(), steps);
    let error = cluster
        .write(&secret("x"), &Expected::Absent)
        .await
        .unwrap_err();
    assert!(matches!(error, ClusterError::Denied { .. }), "{error}");
    let text = error.to_string();
    let path = root.path().display().to_string();
    assert!(
        text.contains("Read-only file system") && text.contains(&path),
        "{text}"
    );
}

/// An editor saves the file just before it is replaced.
struct Edited(PathBuf);

impl Steps for Edited {
    fn make_dir(&self, path: &Path) -> io::Result<()> {
        OsSteps.make_dir(path)
    }

    fn create_temporary(&self, dir: &Path) -> io::Result<(File, PathBuf)> {
        OsSteps.create_temporary(dir)
    }

    fn write(&self, file: &mut File, content: &[u8]) -> io::Result<()> {
        OsSteps.write(file, content)
    }

    fn sync_file(&self, file: &File) -> io::Result<()> {
        fs::write(&self.0, "# edited\n")?;
        OsSteps.sync_file(file)
    }

    fn replace(&self, from: &Path, to: &Path) -> io::Result<()> {
        OsSteps.replace(from, to)
    }

    fn publish(&self, from: &Path, to: &Path) -> io::Result<()> {
        OsSteps.publish(from, to)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        OsSteps.sync_dir(dir)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        OsSteps.remove(path)
    }
}

#[tokio::test]
async fn what_appears_at_the_last_moment_stays() {
    let root = TempDir::new().unwrap();
    let path = root.path().join("relay-identity-token-secret.yaml");
    let edited = cluster(root.path(), Edited(path.clone()));
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: gloo-mesh}\n";
    fs::write(root.path().join("namespace.yaml"), namespace).unwrap();

    let error = edited
        .write(&secret("x"), &Expected::Absent)
        .await
        .unwrap_err();
    assert!(matches!(error, ClusterError::Occupied { .. }), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "# edited\n");

    fs::remove_file(&path).unwrap();
    let version = cluster(root.path(), OsSteps)
        .write(&secret("x"), &Expected::Absent)
        .await
        .unwrap();
    let error = edited
        .write(&secret("y"), &Expected::At(version))
        .await
        .unwrap_err();
    assert!(matches!(error, ClusterError::Conflict { .. }), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "# edited\n");
    assert_eq!(temporaries(root.path()), 0);
}
