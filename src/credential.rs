//! Reads the credentials that backends ask for.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use relay_pki_authority::{Credential, CredentialError};
use zeroize::Zeroizing;

use crate::cluster::{Cluster, ObjectKey};
use crate::config::CredentialSource;

/// Longest that reading a file may take: it may lie on somebody else's disk.
const FILE_TIMEOUT: Duration = Duration::from_secs(10);

/// The largest credential: more is no credential.
const MAX_SIZE: usize = 64 * 1024;

/// A credential that is kept where `source` says; Secrets are those of `home`.
pub fn open(source: &CredentialSource, home: &Arc<dyn Cluster>) -> Arc<dyn Credential> {
    match source {
        CredentialSource::File(path) => Arc::new(File(path.clone())),
        CredentialSource::Environment(name) => Arc::new(Variable(name.clone())),
        CredentialSource::Secret { name, key } => Arc::new(InSecret {
            home: home.clone(),
            secret: ObjectKey::secret(name),
            key: key.clone(),
        }),
    }
}

/// What is in the document itself, at `place` there: nothing secret.
pub fn written(place: String, text: &str) -> Arc<dyn Credential> {
    Arc::new(Written {
        place,
        text: text.to_owned(),
    })
}

struct File(PathBuf);

struct Variable(String);

struct Written {
    place: String,
    text: String,
}

struct InSecret {
    home: Arc<dyn Cluster>,
    secret: ObjectKey,
    key: String,
}

#[async_trait]
impl Credential for File {
    fn place(&self) -> String {
        format!("file {}", self.0.display())
    }

    async fn read(&self) -> Result<Zeroizing<Vec<u8>>, CredentialError> {
        let read = tokio::time::timeout(FILE_TIMEOUT, tokio::fs::read(&self.0)).await;
        match read {
            Ok(Ok(bytes)) => checked(self.place(), bytes),
            Ok(Err(error)) => Err(failed(self.place(), error.to_string())),
            Err(_) => Err(failed(self.place(), "no answer".to_owned())),
        }
    }
}

#[async_trait]
impl Credential for Variable {
    fn place(&self) -> String {
        format!("environment variable {}", self.0)
    }

    async fn read(&self) -> Result<Zeroizing<Vec<u8>>, CredentialError> {
        match std::env::var_os(&self.0) {
            Some(value) => checked(self.place(), value.into_encoded_bytes()),
            None => Err(failed(self.place(), "it is not set".to_owned())),
        }
    }
}

#[async_trait]
impl Credential for Written {
    fn place(&self) -> String {
        self.place.clone()
    }

    async fn read(&self) -> Result<Zeroizing<Vec<u8>>, CredentialError> {
        Ok(Zeroizing::new(self.text.clone().into_bytes()))
    }
}

#[async_trait]
impl Credential for InSecret {
    fn place(&self) -> String {
        let home = self.home.name();
        format!("{} in cluster {home}, key {}", self.secret, self.key)
    }

    async fn read(&self) -> Result<Zeroizing<Vec<u8>>, CredentialError> {
        let stored = self.home.read(&self.secret).await;
        let stored = stored.map_err(|error| failed(self.place(), error.to_string()))?;
        let Some(stored) = stored else {
            return Err(failed(self.place(), "there is no such Secret".to_owned()));
        };
        if stored.exposed {
            let reason = "other users of this machine can read it; chmod 600 it, and replace it";
            return Err(failed(self.place(), reason.to_owned()));
        }
        match stored.object.data.get(&self.key) {
            Some(bytes) => checked(self.place(), bytes.expose().to_vec()),
            None => Err(failed(
                self.place(),
                "the Secret has no such key".to_owned(),
            )),
        }
    }
}

fn checked(place: String, bytes: Vec<u8>) -> Result<Zeroizing<Vec<u8>>, CredentialError> {
    let mut bytes = Zeroizing::new(bytes);
    if bytes.len() > MAX_SIZE {
        return Err(failed(place, format!("it has more than {MAX_SIZE} bytes")));
    }
    while matches!(bytes.last(), Some(b'\n' | b'\r')) {
        bytes.pop();
    }
    match bytes.is_empty() {
        true => Err(failed(place, "it is empty".to_owned())),
        false => Ok(bytes),
    }
}

fn failed(place: String, reason: String) -> CredentialError {
    CredentialError { place, reason }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::cluster::{Expected, MemoryCluster, Object, SecretBytes};

    fn home(data: &[(&str, &str)]) -> (MemoryCluster, Object) {
        let data = data.iter();
        let data = data.map(|(key, value)| ((*key).to_owned(), SecretBytes::new(*value)));
        let object = Object {
            key: ObjectKey::secret("vault"),
            secret_type: None,
            labels: [].into(),
            annotations: [].into(),
            data: data.collect(),
        };
        (MemoryCluster::new("mgmt"), object)
    }

    #[tokio::test]
    async fn from_a_secret_as_it_is_now() {
        let (home, mut object) = home(&[("token", "one\n"), ("empty", "\n")]);
        let cluster: Arc<dyn Cluster> = Arc::new(home.clone());
        let source = |key: &str| CredentialSource::Secret {
            name: "vault".to_owned(),
            key: key.to_owned(),
        };
        let credential = open(&source("token"), &cluster);
        let missing = credential.read().await.unwrap_err();
        assert_eq!(
            missing.to_string(),
            "cannot read Secret vault in cluster mgmt, key token: there is no such Secret"
        );
        home.write(&object, &Expected::Absent).await.unwrap();
        assert_eq!(*credential.read().await.unwrap(), b"one");
        object
            .data
            .insert("token".to_owned(), SecretBytes::new("two"));
        home.overwrite(object);
        assert_eq!(*credential.read().await.unwrap(), b"two");
        for key in ["empty", "absent"] {
            assert!(open(&source(key), &cluster).read().await.is_err());
        }
    }

    #[tokio::test]
    async fn from_a_file() {
        let cluster: Arc<dyn Cluster> = Arc::new(MemoryCluster::new("mgmt"));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let credential = open(&CredentialSource::File(path.clone()), &cluster);
        assert!(credential.read().await.is_err());
        std::fs::write(&path, "s3cret\r\n").unwrap();
        assert_eq!(*credential.read().await.unwrap(), b"s3cret");
        std::fs::write(&path, vec![b'x'; MAX_SIZE + 1]).unwrap();
        let refused = credential.read().await.unwrap_err().to_string();
        assert!(
            refused.contains("more than") && !refused.contains("xxx"),
            "{refused}"
        );
    }

    #[tokio::test]
    async fn from_the_environment() {
        let cluster: Arc<dyn Cluster> = Arc::new(MemoryCluster::new("mgmt"));
        let open = |name: &str| open(&CredentialSource::Environment(name.to_owned()), &cluster);
        assert!(open("PATH").read().await.is_ok());
        let refused = open("RELAY_PKI_NOT_SET").read().await.unwrap_err();
        assert!(refused.to_string().contains("not set"), "{refused}");
    }
}
