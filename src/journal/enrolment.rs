//! What is remembered of a cluster whose agent enrols. One record a cluster, and none of them is among
//! the records that every look at the management cluster reads: a fleet has thousands.

use jiff::Timestamp;
use relay_pki_authority::x509::Fingerprint;

use super::{decode_record, encode_record};
use crate::cluster::{Object, ObjectKey, ObjectKind};
use crate::relay::{self, CaTag, TokenDigest};

/// Certificates of a cluster that are remembered; the oldest ones go first.
const CERTIFICATES: usize = 8;

/// One cluster's enrolment.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EnrolmentRecord {
    /// The token that it may enrol with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenRecord>,
    /// The trust bundle that its agent said it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<Acknowledgement>,
    /// The certificate that its agent showed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub presented: Option<Presented>,
    /// Unexpired certificates that were issued to it, or that it was seen with: what a revocation is
    /// about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<EnrolledCertificate>,
}

/// A token for one enrolment of one key. It has 256 random bits, so nobody guesses it from its
/// SHA-256: a slow hash would cost us more than it would cost an attacker.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenRecord {
    /// Names it.
    pub digest: TokenDigest,
    /// When it was made.
    pub created: Timestamp,
    /// When it ends.
    pub expires: Timestamp,
    /// What it was used for: afterwards it is good for nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<TokenUse>,
}

/// The one use of a token.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenUse {
    /// SHA-256 of the public key (SubjectPublicKeyInfo) that it was used for, in hexadecimal digits. A
    /// client whose reply was lost repeats its request with the same key.
    pub key: String,
    /// When.
    pub at: Timestamp,
}

/// What an agent said about the CA certificates that it goes by.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Acknowledgement {
    /// The bundle's digest, as `BundleDigest` shows it.
    pub bundle: String,
    /// The digest of what else its chain is made of.
    #[serde(default)]
    pub others: String,
    /// When it said so first.
    pub at: Timestamp,
}

/// A certificate that an agent showed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Presented {
    /// Which one.
    #[serde(flatten)]
    pub certificate: EnrolledCertificate,
    /// When it was seen first.
    pub at: Timestamp,
}

/// A certificate of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EnrolledCertificate {
    /// Its serial number in hexadecimal digits.
    pub serial: String,
    /// The signer generation that issued it.
    pub signer: u32,
    /// When it begins.
    pub not_before: Timestamp,
    /// When it ends.
    pub not_after: Timestamp,
    /// The certificate, where its CA revokes none that it is not shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pem: Option<String>,
}

impl EnrolledCertificate {
    /// Whether both are the same certificate, however much is known of it.
    pub fn is(&self, other: &Self) -> bool {
        self.serial == other.serial && self.signer == other.signer
    }

    /// Adds it to what is known, or what is missing there. Whether that changed anything.
    pub fn join(&self, known: &mut Vec<Self>) -> bool {
        match known.iter_mut().find(|known| known.is(self)) {
            Some(known) if known.pem.is_none() && self.pem.is_some() => {
                known.pem.clone_from(&self.pem);
                true
            }
            Some(_) => false,
            None => {
                known.push(self.clone());
                true
            }
        }
    }
}

impl EnrolmentRecord {
    /// The object of a cluster's record.
    pub fn key(relay: &str, cluster: &str) -> ObjectKey {
        ObjectKey::config_map(format!("relay-pki-{relay}-enrolment-{cluster}"))
    }

    /// As an object.
    pub fn encode(&self, relay: &str, cluster: &str) -> Object {
        let mut object = Object {
            key: Self::key(relay, cluster),
            secret_type: None,
            labels: relay::enrolment_labels(relay),
            annotations: Default::default(),
            data: Default::default(),
        };
        encode_record(&mut object, self);
        object
    }

    /// From an object, with the cluster that it is of; nothing if it is no record of this relay.
    ///
    /// # Errors
    ///
    /// If it is one, and broken.
    pub fn decode(relay: &str, object: &Object) -> Result<Option<(String, Self)>, String> {
        let prefix = format!("relay-pki-{relay}-enrolment-");
        let ours = object.key.kind == ObjectKind::ConfigMap
            && relay::enrolment_labels(relay)
                .iter()
                .all(|(name, value)| object.labels.get(name) == Some(value));
        match object.key.name.strip_prefix(&prefix) {
            Some(cluster) if ours => Ok(Some((cluster.to_owned(), decode_record(object)?))),
            _ => Ok(None),
        }
    }

    /// Takes in what an agent said, unless something later is known. Whether that changed anything.
    pub fn acknowledge(&mut self, new: &Acknowledgement) -> bool {
        let known = self.acknowledged.as_ref();
        let same = |known: &Acknowledgement| {
            (&known.bundle, &known.others) == (&new.bundle, &new.others) || known.at > new.at
        };
        if known.is_some_and(same) {
            return false;
        }
        self.acknowledged = Some(new.clone());
        true
    }

    /// Takes in what an agent showed, unless something later is known. Whether that changed anything.
    pub fn present(&mut self, new: &Presented) -> bool {
        let known = self.presented.as_ref();
        let same = |known: &Presented| known.certificate.is(&new.certificate) || known.at > new.at;
        if known.is_some_and(same) {
            return false;
        }
        let certificate = EnrolledCertificate {
            // It is among the certificates.
            pem: None,
            ..new.certificate.clone()
        };
        self.presented = Some(Presented {
            certificate,
            at: new.at,
        });
        true
    }

    /// The certificate that ends last: the one that its agent goes by, or is about to.
    pub fn latest(&self) -> Option<&EnrolledCertificate> {
        let certificates = self.certificates.iter();
        certificates.max_by_key(|known| known.not_after)
    }

    /// Notes a certificate, and forgets those that have ended. Whether that changed anything.
    pub fn note(&mut self, certificate: &EnrolledCertificate, now: Timestamp) -> bool {
        if !certificate.join(&mut self.certificates) {
            return false;
        }
        self.certificates.retain(|known| known.not_after >= now);
        let surplus = self.certificates.len().saturating_sub(CERTIFICATES);
        self.certificates.drain(..surplus);
        true
    }
}

impl Acknowledgement {
    /// What an agent names, said at `at`.
    pub fn new(tag: &CaTag, at: Timestamp) -> Self {
        Self {
            bundle: tag.bundle().to_owned(),
            others: tag.others().to_owned(),
            at,
        }
    }

    /// Whether it is about the CA certificates that `tag` names.
    pub fn names(&self, tag: &CaTag) -> bool {
        self.bundle == tag.bundle() && self.others == tag.others()
    }
}

impl TokenRecord {
    /// Whether it can still be used, for `key` if it was used before.
    pub fn admits(&self, key: &Fingerprint, now: Timestamp) -> bool {
        let key = key.to_string();
        now < self.expires && self.used.as_ref().is_none_or(|used| used.key == key)
    }
}
