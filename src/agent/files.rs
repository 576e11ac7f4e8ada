//! A directory of files as an agent's store, for agents outside Kubernetes.
//!
//! `tls.crt`, `tls.key` and `ca.crt` are links into a generation, a directory that is complete before
//! anything leads to it. One rename of the link `current` changes all of them at once, as the kubelet
//! does it with mounted Secrets: a certificate and the key of another are never what lies there.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use relay_pki_authority::x509::{CertificateChain, PrivateKey, TrustBundle};
use zeroize::Zeroizing;

use super::holdings::Holdings;
use super::store::{Store, StoreError};
use crate::relay::{CA_CERT, TLS_CERT, TLS_KEY, TlsContent};
use crate::secret_file;

/// The link to the generation that is in use.
const CURRENT: &str = "current";
/// What the generations are called.
const GENERATION: &str = ".generation-";
/// A link that is not in its place yet.
const UNFINISHED: &str = ".link.unfinished";
const NAMES: [&str; 3] = [TLS_CERT, TLS_KEY, CA_CERT];

/// One directory.
pub struct Files {
    shared: Arc<Directory>,
}

struct Directory {
    path: PathBuf,
    adopt: bool,
}

impl Files {
    /// The directory `path`, which is made if it is not there. A certificate or key in it that somebody else
    /// put there is replaced with `adopt` only.
    pub fn new(path: PathBuf, adopt: bool) -> Self {
        Self {
            shared: Arc::new(Directory { path, adopt }),
        }
    }

    /// Runs `work` where blocking does no harm. It ends even if the caller goes away.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Directory) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let directory = self.shared.clone();
        let done = tokio::task::spawn_blocking(move || work(&directory));
        let done = tokio::time::timeout(crate::engine::CALL_TIMEOUT, done).await;
        match done {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(StoreError("the work with files was aborted".to_owned())),
            Err(_) => Err(self.shared.failed("use", io::ErrorKind::TimedOut.into())),
        }
    }
}

#[async_trait]
impl Store for Files {
    fn place(&self) -> String {
        format!("directory {}", self.shared.path.display())
    }

    async fn load(&self) -> Result<Holdings, StoreError> {
        self.run(Directory::load).await
    }

    async fn save(
        &self,
        trust: &TrustBundle,
        identity: Option<(&PrivateKey, &CertificateChain)>,
    ) -> Result<(), StoreError> {
        let trust = trust.to_pem();
        let identity = identity.map(|(key, chain)| (key.to_pem(), chain.to_pem()));
        self.run(move |directory| directory.save(&trust, identity))
            .await
    }
}

impl Directory {
    fn load(&self) -> Result<Holdings, StoreError> {
        let roots = self.read(CA_CERT)?;
        let trust = roots.as_deref().and_then(|pem| {
            let bundle = TrustBundle::from_pem(pem).inspect_err(|error| {
                let place = self.path.join(CA_CERT);
                tracing::warn!(target: super::LOG, place = %place.display(), reason = %error, "no roots");
            });
            bundle.ok()
        });
        let identity = match (self.read(TLS_CERT)?, self.read(TLS_KEY)?, roots) {
            (None, None, _) => None,
            (Some(certificate), Some(key), Some(roots)) => {
                let content = TlsContent::from_pem(&certificate, &key, &roots);
                let place = self.path.display();
                Some(content.map_err(|reason| format!("{place}: {reason}")))
            }
            _ => {
                let place = self.path.display();
                let names = NAMES.join(", ");
                Some(Err(format!("{place}: not all of {names} are there")))
            }
        };
        Ok(Holdings {
            trust,
            identity,
            obstacle: self.obstacle(),
        })
    }

    /// Why nothing may be written.
    fn obstacle(&self) -> Option<String> {
        let foreign = [TLS_CERT, TLS_KEY].into_iter().find(|name| {
            let found = fs::symlink_metadata(self.path.join(name));
            found.is_ok_and(|found| !found.is_symlink())
        });
        let foreign = foreign.filter(|_| !self.adopt)?;
        Some(format!(
            "{} is not of this agent; start it with --adopt to have it replaced, or with another \
             directory",
            self.path.join(foreign).display()
        ))
    }

    fn save(
        &self,
        trust: &str,
        identity: Option<(Zeroizing<String>, String)>,
    ) -> Result<(), StoreError> {
        if let Some(obstacle) = self.obstacle() {
            return Err(StoreError(obstacle));
        }
        let write = |error: io::Error| self.failed("write", error);
        let kept = match identity {
            Some(_) => None,
            None => self.read(TLS_CERT)?.zip(self.read(TLS_KEY)?),
        };
        let mut files: Vec<(&str, &[u8])> = vec![(CA_CERT, trust.as_bytes())];
        if let Some((key, chain)) = &identity {
            files.push((TLS_CERT, chain.as_bytes()));
            files.push((TLS_KEY, key.as_bytes()));
        }
        if let Some((chain, key)) = &kept {
            files.push((TLS_CERT, chain.as_slice()));
            files.push((TLS_KEY, key.as_slice()));
        }
        fs::create_dir_all(&self.path).map_err(write)?;
        let before = fs::read_link(self.path.join(CURRENT)).ok();
        self.clean(before.as_deref()).map_err(write)?;
        let generation = self.free_name(before.as_deref());
        secret_file::create_directory(&self.path.join(&generation), &files).map_err(write)?;
        self.link(Path::new(&generation), CURRENT).map_err(write)?;
        for name in NAMES {
            let target = Path::new(CURRENT).join(name);
            let has = files.iter().any(|(file, _)| *file == name);
            if has && fs::read_link(self.path.join(name)).ok().as_deref() != Some(&target) {
                self.link(&target, name).map_err(write)?;
            }
        }
        sync(&self.path).map_err(write)?;
        self.clean(Some(Path::new(&generation))).map_err(write)
    }

    /// Puts a link to `target` at `name`, whatever is there.
    fn link(&self, target: &Path, name: &str) -> io::Result<()> {
        let unfinished = self.path.join(UNFINISHED);
        match fs::remove_file(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => symlink(target, &unfinished)?,
        }
        fs::rename(unfinished, self.path.join(name))?;
        sync(&self.path)
    }

    fn free_name(&self, before: Option<&Path>) -> String {
        let number = before.and_then(|before| {
            let name = before.to_str()?.strip_prefix(GENERATION)?;
            name.parse::<u64>().ok()
        });
        format!(
            "{GENERATION}{}",
            number.map_or(1, |number| number.wrapping_add(1))
        )
    }

    /// Removes every generation but `kept`: what a killed agent left behind, and what is out of use.
    fn clean(&self, kept: Option<&Path>) -> io::Result<()> {
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name();
            let is_generation = name.to_string_lossy().starts_with(GENERATION);
            if is_generation && Some(Path::new(&name)) != kept {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }

    fn read(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        match secret_file::read(&self.path.join(name)) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed(&format!("read {name} in"), error)),
        }
    }

    fn failed(&self, what: &str, error: io::Error) -> StoreError {
        StoreError(format!("cannot {what} {}: {error}", self.path.display()))
    }
}

fn sync(path: &Path) -> io::Result<()> {
    fs::File::open(path)?.sync_all()
}
