//! Certificates of a rotation's CAs under the other root: whoever knows one root only verifies with them.

use relay_pki_authority::x509::{Certificate, Validity};

use super::authority::Use;
use super::issue::{bounded, refused};
use super::{Apply, StepError};
use crate::journal::{Cross, GenerationRecord};

/// Why there is no such certificate.
enum Unable {
    /// There never will be: that is written down, and not asked for again.
    Ever(String),
    /// There may be next time.
    Now(StepError),
}

impl From<StepError> for Unable {
    fn from(error: StepError) -> Self {
        Self::Now(error)
    }
}

impl Unable {
    fn recorded(result: Result<Cross, Self>) -> Result<Cross, StepError> {
        match result {
            Ok(cross) => Ok(cross),
            Err(Self::Ever(reason)) => Ok(Cross::Impossible(reason)),
            Err(Self::Now(error)) => Err(error),
        }
    }
}

impl Apply<'_> {
    /// Has the old root certify a signer of the new one, too, or writes down why it cannot.
    pub(super) async fn cross_certify(
        &mut self,
        record: &mut GenerationRecord,
        old: u32,
    ) -> Result<(), StepError> {
        if record.cross.is_some() {
            return Ok(());
        }
        record.cross = Some(Unable::recorded(self.crossed_signer(record, old).await)?);
        self.save(record).await
    }

    /// Has the two roots of a rotation certify each other's keys, or writes down why they cannot.
    pub(super) async fn certify_roots(&mut self, old: u32, new: u32) -> Result<(), StepError> {
        let record = |number: u32| {
            let kept = self.journal.roots.get(&number);
            let record = kept.map(|kept| kept.record.clone());
            record.ok_or_else(|| StepError::Refused {
                reason: format!("there is no root g{number}"),
            })
        };
        let (before, mut root) = (record(old)?, record(new)?);
        if root.predecessor.is_none() {
            let certified = self.crossed_root(&before, &root, Use::Predecessor(new));
            root.predecessor = Some(Unable::recorded(certified.await)?);
            self.save(&root).await?;
        }
        if root.cross.is_none() {
            let certified = self.crossed_root(&root, &before, Use::Cross);
            root.cross = Some(Unable::recorded(certified.await)?);
            self.save(&root).await?;
        }
        Ok(())
    }

    /// A signer's key certified by the old root: as long as its own certificate, and no longer than the root,
    /// which is the same whenever it is asked for.
    async fn crossed_signer(&self, record: &GenerationRecord, old: u32) -> Result<Cross, Unable> {
        let root = self.journal.roots.get(&old).map(|kept| &kept.record);
        let root = root.filter(|root| root.certificate.is_some());
        let root = root.ok_or_else(|| Unable::Ever(format!("there is no root g{old}")))?;
        self.in_hand(root)?;
        let above = own(root)?;
        if !above.is_valid_at(self.now()) {
            return Err(Unable::Ever(format!(
                "root g{old} ended at {}",
                above.not_after()
            )));
        }
        let provider = self.provider(record)?;
        if !provider.capabilities().recertifies_signers {
            return Err(Unable::Ever(format!(
                "provider {} has one certificate for a signer's key",
                provider.name()
            )));
        }
        let validity = own(record)?.validity().map_err(refused)?;
        let validity = validity.clamped_to(&above.validity().map_err(refused)?);
        let validity = validity.map_err(refused)?;
        let csr = self.signer_csr(record).await?;
        let certified = self.certify(record, root, csr, validity, Use::Cross);
        stands_in(record, certified.await?.leaf())
    }

    /// A root's key certified by another root, for as long as both are valid. It can be done without: so what
    /// a backend refuses is not asked for again.
    async fn crossed_root(
        &self,
        root: &GenerationRecord,
        by: &GenerationRecord,
        what_for: Use,
    ) -> Result<Cross, Unable> {
        self.in_hand(root)?;
        self.in_hand(by)?;
        let (requests, signs) = (self.provider(root)?, self.provider(by)?);
        if !requests.capabilities().requests_roots {
            let name = requests.name();
            return Err(Unable::Ever(format!(
                "provider {name} shows no request of a root"
            )));
        }
        if !signs.capabilities().cross_certificates {
            let name = signs.name();
            return Err(Unable::Ever(format!(
                "provider {name} certifies no other root"
            )));
        }
        let (below, above) = (own(root)?, own(by)?);
        let from = below.not_before().max(above.not_before());
        let to = below.not_after().min(above.not_after());
        let validity = Validity::new(from, to).ok();
        let validity = validity.filter(|validity| validity.contains(self.now()));
        let validity = validity.ok_or_else(|| {
            Unable::Ever(format!(
                "root g{} and root g{} are not valid at the same time",
                root.number, by.number
            ))
        })?;
        let generation = root.generation(&self.fleet.relay.name);
        let subject = self.root_subject()?;
        let request = requests.request_root(&generation, &subject);
        let csr = bounded(&generation, request).await.map_err(unless_late)?;
        if csr.public_key() != below.public_key() {
            return Err(Unable::Ever(format!(
                "the request of {generation} is for another key than its own"
            )));
        }
        let certified = self.certify(root, by, csr, validity, what_for).await;
        stands_in(root, certified.map_err(unless_late)?.leaf())
    }

    /// Whether relay-pki can have a root sign something.
    fn in_hand(&self, root: &GenerationRecord) -> Result<(), Unable> {
        let number = root.number;
        if self.is_offline(number) {
            return Err(Unable::Ever(format!("root g{number} is kept by a person")));
        }
        if root.provider.is_none() {
            return Err(Unable::Ever(format!(
                "the private key of root g{number} is not in reach"
            )));
        }
        Ok(())
    }
}

/// What a backend that is not merely late refuses, it refuses for good.
fn unless_late(error: StepError) -> Unable {
    match error {
        StepError::Authority(error) if !error.is_transient() => Unable::Ever(error.to_string()),
        error => Unable::Now(error),
    }
}

/// The certificate that a CA was made with.
fn own(record: &GenerationRecord) -> Result<&Certificate, StepError> {
    let own = record.certificate.as_ref();
    own.ok_or_else(|| StepError::Refused {
        reason: format!("{} g{} has no certificate yet", record.level, record.number),
    })
}

/// Another certificate of a CA, if whoever looks for the issuer of what that CA signed finds it: Go and webpki
/// look for the same name, byte for byte, and OpenSSL for the same key identifier. CAs differ in how they
/// write names and make identifiers.
fn stands_in(record: &GenerationRecord, other: &Certificate) -> Result<Cross, Unable> {
    let own = own(record)?;
    let differs = |what: &str| {
        let (level, number) = (record.level, record.number);
        Err(Unable::Ever(format!(
            "the two certificates of {level} g{number} do not stand in for each other: their {what} differ"
        )))
    };
    if own.raw_subject() != other.raw_subject() {
        return differs("names, as they are encoded,");
    }
    if own.subject_key_identifier() != other.subject_key_identifier() {
        return differs("key identifiers");
    }
    Ok(Cross::Certificate(other.clone()))
}
