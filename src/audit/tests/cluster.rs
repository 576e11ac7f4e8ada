//! A cluster that can be read, and nothing else.

use async_trait::async_trait;

use crate::cluster::{
    Cluster, ClusterError, Expected, LockGuard, Object, ObjectKey, Stored, Version,
};

/// Objects to read, or the error that reading ends in.
pub(super) struct ReadOnly {
    pub(super) name: String,
    pub(super) objects: Result<Vec<(Object, bool)>, ClusterError>,
}

impl ReadOnly {
    fn stored(&self) -> Result<Vec<Stored>, ClusterError> {
        let objects = self.objects.clone()?;
        let stored = objects.into_iter().map(|(object, exposed)| Stored {
            version: Version("1".to_owned()),
            place: object.key.to_string(),
            exposed,
            object,
        });
        Ok(stored.collect())
    }
}

#[async_trait]
impl Cluster for ReadOnly {
    fn name(&self) -> &str {
        &self.name
    }

    fn location(&self) -> String {
        "memory".to_owned()
    }

    async fn list(
        &self,
        (label, value): (&str, &str),
        wanted: &[ObjectKey],
    ) -> Result<Vec<Stored>, ClusterError> {
        let mut stored = self.stored()?;
        stored.retain(|stored| {
            let found = stored.object.labels.get(label).map(String::as_str);
            found == Some(value) || wanted.contains(&stored.object.key)
        });
        Ok(stored)
    }

    async fn read(&self, key: &ObjectKey) -> Result<Option<Stored>, ClusterError> {
        Ok(self
            .stored()?
            .into_iter()
            .find(|stored| &stored.object.key == key))
    }

    async fn write(&self, object: &Object, _: &Expected) -> Result<Version, ClusterError> {
        panic!("the audit wrote {}", object.key);
    }

    async fn delete(&self, key: &ObjectKey, _: &Version) -> Result<(), ClusterError> {
        panic!("the audit deleted {key}");
    }

    async fn lock(&self) -> Result<LockGuard, ClusterError> {
        panic!("the audit took the lock");
    }
}
