//! The records of enrolments, each changed by compare-and-swap: what one replica did, every other one
//! sees, and nothing is done twice.

use std::collections::BTreeSet;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use relay_pki_authority::x509::Fingerprint;
use zeroize::Zeroizing;

use crate::cluster::{Cluster, ClusterError, Expected, Object, ObjectKey, Version};
use crate::engine::{Fleet, limited};
use crate::journal::{
    EnrolledCertificate, EnrolmentRecord, RevocationRecord, TokenRecord, TokenUse, revocation_name,
};
use crate::relay::{self, Owner, TokenDigest, owner_of};

/// Bytes of randomness in a token.
const TOKEN_BYTES: usize = 32;
/// How often a change is begun anew because somebody else was faster.
const ATTEMPTS: usize = 8;

/// The records of one relay.
#[derive(Clone)]
pub struct Registry {
    home: Arc<dyn Cluster>,
    relay: String,
}

/// What came of presenting a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redemption {
    /// It is the cluster's, and from now on it is this key's.
    Granted,
    /// The cluster has no such token, or none any more.
    Wrong,
    /// It was used for another key.
    UsedUp,
}

/// What a revocation came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revoked {
    /// Its certificates that have not ended.
    pub certificates: Vec<EnrolledCertificate>,
    /// Serial numbers of those that are revoked in their CA's backend already.
    pub told: BTreeSet<String>,
    /// Whether it was decided before.
    pub before: bool,
}

impl Registry {
    /// The records of the fleet's relay.
    ///
    /// # Errors
    ///
    /// If the fleet has no management cluster.
    pub fn of(fleet: &Fleet) -> Result<Self, ClusterError> {
        Ok(Self {
            home: fleet.home()?.clone(),
            relay: fleet.relay.name.clone(),
        })
    }

    /// Makes a token for a cluster, in place of the one that it had.
    ///
    /// # Errors
    ///
    /// If the record cannot be written.
    pub async fn create_token(
        &self,
        cluster: &str,
        lifetime: SignedDuration,
        now: Timestamp,
    ) -> Result<Zeroizing<String>, ClusterError> {
        let token = new_token().ok_or_else(|| ClusterError::Unavailable {
            cluster: self.home.name().to_owned(),
            operation: "make a token".to_owned(),
            reason: "the system has no randomness".to_owned(),
        })?;
        let record = TokenRecord {
            digest: TokenDigest::of(token.as_bytes()),
            created: now,
            expires: now.checked_add(lifetime).unwrap_or(Timestamp::MAX),
            used: None,
        };
        self.change(cluster, |known| {
            known.token = Some(record.clone());
            ((), true)
        })
        .await?;
        Ok(token)
    }

    /// Takes a cluster's token away. Whether it had one.
    ///
    /// # Errors
    ///
    /// If the record cannot be written.
    pub async fn revoke_token(&self, cluster: &str) -> Result<bool, ClusterError> {
        self.change(cluster, |known| {
            let had = known.token.take().is_some();
            (had, had)
        })
        .await
    }

    /// Uses a cluster's token for `key`: once, whichever replica is asked. Asked again for the same key,
    /// it is granted again, because the first reply may have been lost.
    ///
    /// # Errors
    ///
    /// If the record cannot be read or written.
    pub async fn redeem(
        &self,
        cluster: &str,
        token: &[u8],
        key: &Fingerprint,
        now: Timestamp,
    ) -> Result<Redemption, ClusterError> {
        self.change(cluster, |record| {
            let Some(known) = &mut record.token else {
                return (Redemption::Wrong, false);
            };
            if !known.digest.matches(token) || now >= known.expires {
                return (Redemption::Wrong, false);
            }
            match (&known.used, known.admits(key, now)) {
                (Some(_), false) => (Redemption::UsedUp, false),
                (Some(_), true) => (Redemption::Granted, false),
                (None, _) => {
                    let key = key.to_string();
                    known.used = Some(TokenUse { key, at: now });
                    (Redemption::Granted, true)
                }
            }
        })
        .await
    }

    /// What is known of every cluster that was given a token or enrolled.
    ///
    /// # Errors
    ///
    /// If the records cannot be read, or one of them is broken.
    pub async fn list(&self) -> Result<Vec<(String, EnrolmentRecord)>, ClusterError> {
        let call = self.home.list(relay::enrolment_selector(&self.relay), &[]);
        let stored = limited(self.home.name(), "list the enrolments", call).await?;
        let mut records = Vec::with_capacity(stored.len());
        for stored in stored {
            let decoded = EnrolmentRecord::decode(&self.relay, &stored.object);
            let decoded = decoded.map_err(|reason| self.malformed(&stored.place, reason))?;
            records.extend(decoded);
        }
        Ok(records)
    }

    /// What is known of one cluster.
    ///
    /// # Errors
    ///
    /// If the record cannot be read.
    pub async fn get(&self, cluster: &str) -> Result<EnrolmentRecord, ClusterError> {
        Ok(self.read(cluster).await?.0)
    }

    /// Keeps a cluster out: its token, its name and its certificates. The decision is written before
    /// anything follows from it.
    ///
    /// # Errors
    ///
    /// If a record cannot be written.
    pub async fn revoke(
        &self,
        cluster: &str,
        reason: Option<&str>,
        certificates: &[EnrolledCertificate],
        now: Timestamp,
    ) -> Result<Revoked, ClusterError> {
        // Its certificates are remembered here until they have ended; the token goes afterwards, when it
        // cannot be used any more anyway.
        let mut known = self.get(cluster).await?.certificates;
        known.extend(certificates.iter().cloned());
        known.retain(|certificate| certificate.not_after >= now);
        let revoked = self
            .change_revocation(cluster, |record| {
                let before = record.as_ref().is_some_and(RevocationRecord::is_in_force);
                let mut record = record.unwrap_or(RevocationRecord {
                    at: now,
                    reason: None,
                    lifted: None,
                    certificates: Vec::new(),
                    told: BTreeSet::new(),
                });
                if !before {
                    (record.at, record.lifted) = (now, None);
                }
                if let Some(reason) = reason {
                    record.reason = Some(reason.to_owned());
                }
                for certificate in &known {
                    certificate.join(&mut record.certificates);
                }
                record.prune(now);
                let certificates = record.certificates.clone();
                let revoked = Revoked {
                    certificates,
                    told: record.told.clone(),
                    before,
                };
                (revoked, Some(record))
            })
            .await?;
        self.revoke_token(cluster).await?;
        Ok(revoked)
    }

    /// Adds certificates to a revocation that is in force. It decides nothing: one that was lifted
    /// meanwhile stays lifted.
    pub(super) async fn revoke_more(
        &self,
        cluster: &str,
        certificates: &[EnrolledCertificate],
    ) -> Result<(), ClusterError> {
        self.change_revocation(cluster, |record| {
            let in_force = record.filter(RevocationRecord::is_in_force);
            let Some(mut record) = in_force else {
                return ((), None);
            };
            let mut changed = false;
            for certificate in certificates {
                changed |= certificate.join(&mut record.certificates);
            }
            ((), changed.then_some(record))
        })
        .await
    }

    /// Notes that a certificate is revoked in its CA's backend.
    pub(super) async fn told(&self, cluster: &str, serial: &str) -> Result<(), ClusterError> {
        self.change_revocation(cluster, |record| {
            let changed = record.and_then(|mut record| {
                let new = record.told.insert(serial.to_owned());
                new.then_some(record)
            });
            ((), changed)
        })
        .await
    }

    /// Lets a cluster enrol again, with a new token; its certificates from before stay revoked. Whether
    /// it was kept out.
    ///
    /// # Errors
    ///
    /// If the record cannot be written.
    pub async fn lift(&self, cluster: &str, now: Timestamp) -> Result<bool, ClusterError> {
        self.change_revocation(cluster, |record| match record {
            Some(mut record) if record.is_in_force() => {
                record.lifted = Some(now);
                (true, Some(record))
            }
            _ => (false, None),
        })
        .await
    }

    /// Changes a cluster's record, unless `change` says that it is the same as before.
    pub(super) async fn change<T>(
        &self,
        cluster: &str,
        mut change: impl FnMut(&mut EnrolmentRecord) -> (T, bool),
    ) -> Result<T, ClusterError> {
        for _ in 0..ATTEMPTS {
            let (mut record, version) = self.read(cluster).await?;
            let (result, changed) = change(&mut record);
            if !changed {
                return Ok(result);
            }
            let object = record.encode(&self.relay, cluster);
            if self.write(&object, version).await? {
                return Ok(result);
            }
        }
        Err(self.contended(EnrolmentRecord::key(&self.relay, cluster)))
    }

    async fn change_revocation<T>(
        &self,
        cluster: &str,
        change: impl Fn(Option<RevocationRecord>) -> (T, Option<RevocationRecord>),
    ) -> Result<T, ClusterError> {
        let key = ObjectKey::config_map(revocation_name(&self.relay, cluster));
        for _ in 0..ATTEMPTS {
            let call = self.home.read(&key);
            let stored = limited(self.home.name(), "read a revocation", call).await?;
            let (record, version) = match stored {
                Some(stored) if owner_of(&stored.object, &self.relay) != Owner::Us => {
                    return Err(self.occupied(&stored.place));
                }
                Some(stored) => {
                    let record = RevocationRecord::decode(&stored.object)
                        .map_err(|reason| self.malformed(&stored.place, reason))?;
                    (Some(record), Some(stored.version))
                }
                None => (None, None),
            };
            let (result, changed) = change(record);
            let Some(record) = changed else {
                return Ok(result);
            };
            if self
                .write(&record.encode(&self.relay, cluster), version)
                .await?
            {
                return Ok(result);
            }
        }
        Err(self.contended(key))
    }

    async fn read(
        &self,
        cluster: &str,
    ) -> Result<(EnrolmentRecord, Option<Version>), ClusterError> {
        let key = EnrolmentRecord::key(&self.relay, cluster);
        let call = self.home.read(&key);
        let Some(stored) = limited(self.home.name(), "read an enrolment", call).await? else {
            return Ok((EnrolmentRecord::default(), None));
        };
        match EnrolmentRecord::decode(&self.relay, &stored.object) {
            Ok(Some((_, record))) => Ok((record, Some(stored.version))),
            Ok(None) => Err(self.occupied(&stored.place)),
            Err(reason) => Err(self.malformed(&stored.place, reason)),
        }
    }

    /// Writes a record; not if somebody else was faster.
    async fn write(&self, object: &Object, version: Option<Version>) -> Result<bool, ClusterError> {
        let expected = version.map_or(Expected::Absent, Expected::At);
        let call = self.home.write(object, &expected);
        match limited(self.home.name(), "write an enrolment", call).await {
            Ok(_) => Ok(true),
            Err(ClusterError::Conflict { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn occupied(&self, place: &str) -> ClusterError {
        ClusterError::Occupied {
            cluster: self.home.name().to_owned(),
            place: place.to_owned(),
            reason: "it is not managed by this relay".to_owned(),
        }
    }

    fn malformed(&self, place: &str, reason: String) -> ClusterError {
        ClusterError::Malformed {
            cluster: self.home.name().to_owned(),
            place: place.to_owned(),
            reason,
        }
    }

    fn contended(&self, object: ObjectKey) -> ClusterError {
        ClusterError::Conflict {
            cluster: self.home.name().to_owned(),
            object,
        }
    }
}

fn new_token() -> Option<Zeroizing<String>> {
    let mut bytes = Zeroizing::new([0u8; TOKEN_BYTES]);
    aws_lc_rs::rand::fill(bytes.as_mut_slice()).ok()?;
    Some(Zeroizing::new(URL_SAFE_NO_PAD.encode(bytes.as_slice())))
}
