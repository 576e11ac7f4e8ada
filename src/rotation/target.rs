//! What a phase wants: which status each generation has, who signed whose certificates, and what is
//! presented with them. Everything else follows from that.

use jiff::Timestamp;
use relay_pki_authority::Level;
use relay_pki_authority::x509::{Certificate, TrustBundle};

use super::{Direction, Phase};
use crate::config::{ClusterSpec, Role};
use crate::journal::{GenerationRecord, Journal, RotationRecord, Status};
use crate::relay::CaTag;

impl RotationRecord {
    /// Whether the new signer is what signs now.
    ///
    /// Going back, a phase is in being undone: what it wants is what the one before it wants.
    fn is_activated(&self) -> bool {
        match self.direction {
            Direction::Forward => self.phase >= Phase::Activating || self.widened.is_some(),
            Direction::Rollback => self.phase == Phase::Draining,
        }
    }

    /// The signer that servers present certificates of; `None` while any will do.
    pub fn servers(&self) -> Option<u32> {
        match self.direction {
            Direction::Forward => self.is_activated().then_some(self.signers.to),
            Direction::Rollback if self.phase == Phase::Draining => Some(self.signers.to),
            Direction::Rollback if self.phase == Phase::Reissuing => None,
            Direction::Rollback => Some(self.signers.from),
        }
    }

    /// The signer that the agent of a cluster presents a certificate of; `None` while any will do.
    pub fn agent(&self, spec: &ClusterSpec) -> Option<u32> {
        match self.direction {
            Direction::Forward => {
                let reissued = self.phase >= Phase::Reissuing;
                let first = self.widened.is_some() && self.goes_first(spec);
                ((reissued || first) && self.concerns(spec)).then_some(self.signers.to)
            }
            Direction::Rollback if self.phase == Phase::Draining => {
                self.concerns(spec).then_some(self.signers.to)
            }
            Direction::Rollback => Some(self.signers.from),
        }
    }

    /// Whether a cluster is taken through the phases now. Until those that go first are through, the
    /// others stay as they are.
    pub fn concerns(&self, spec: &ClusterSpec) -> bool {
        self.canary.is_empty()
            || self.widened.is_some()
            || self.direction == Direction::Rollback
            || self.goes_first(spec)
    }

    fn goes_first(&self, spec: &ClusterSpec) -> bool {
        spec.role == Role::Management || self.canary.iter().any(|name| name == spec.name.as_str())
    }

    /// Whether certificates of the new signer are presented together with the signer's certificate
    /// under the old root.
    pub fn keeps_cross(&self) -> bool {
        let retired = self.direction == Direction::Forward && self.phase >= Phase::Retiring;
        self.trimmed.is_none() && !retired && !self.phase.is_over()
    }

    /// The status of each generation that it is about, in the order in which they get it: what steps
    /// back goes first, so that there is never more than one active.
    pub fn statuses(&self) -> Vec<(Level, u32, Status)> {
        let left = if self.emergency {
            Status::Tainted
        } else {
            Status::Retired
        };
        let (old, new) = match (self.direction, self.phase) {
            (Direction::Forward, Phase::Retiring | Phase::Done) => (left, Status::Active),
            _ if self.is_activated() => (Status::Retiring, Status::Active),
            (Direction::Forward, Phase::Publishing) => (Status::Active, Status::Published),
            (Direction::Forward, _) => return Vec::new(),
            (Direction::Rollback, Phase::Reissuing | Phase::Activating) => {
                (Status::Active, Status::Retiring)
            }
            (Direction::Rollback, _) => (Status::Active, Status::Retired),
        };
        let mut passages = vec![(Level::Signer, self.signers)];
        if self.level == Level::Root {
            passages.push((Level::Root, self.roots));
        }
        let mut statuses: Vec<(Level, u32, Status)> = passages
            .into_iter()
            .flat_map(|(level, passage)| [(level, passage.from, old), (level, passage.to, new)])
            .collect();
        statuses.sort_by_key(|(.., status)| *status == Status::Active);
        statuses
    }
}

/// What is presented after a certificate of a signer, where that is our business: the signer's
/// certificate under the old root first, as long as somebody may know the old root alone. OpenSSL takes
/// the first that fits and does not go back; Go and webpki take any.
///
/// `None` for a signer that has one certificate only: what its provider says leads to its root.
pub fn presented(journal: &Journal, signer: u32, now: Timestamp) -> Option<Vec<Certificate>> {
    let record = &journal.signers.get(&signer)?.record;
    let (own, cross) = (record.certificate.as_ref()?, record.cross_certificate()?);
    let running = journal.rotation();
    let both = running.is_some_and(|run| run.signers.to == signer && run.keeps_cross());
    let cross = (both && cross.is_valid_at(now)).then(|| cross.clone());
    Some(cross.into_iter().chain([own.clone()]).collect())
}

/// The CA certificates that are given out: the roots, and everything that leads from a certificate of ours to
/// one of them. Who knows them by the same name accepts what we want accepted, and presents what we want
/// presented.
pub struct GivenOut {
    /// The roots in every bundle.
    pub bundle: TrustBundle,
    /// Signers whose certificates are accepted, with their numbers.
    pub signers: Vec<(u32, Certificate)>,
    /// What signers have besides: certificates under the old root, as long as they are presented.
    pub cross: Vec<Certificate>,
    /// The roots of a rotation, certified by each other: OldWithNew and NewWithOld. A client that takes the
    /// newest root for the only one needs the first (RFC 7030 section 4.1.3), one that knows the old root
    /// alone the second.
    pub rolled: Vec<Certificate>,
}

impl GivenOut {
    /// What the records say now; nothing as long as there is no root.
    pub fn of(journal: &Journal, now: Timestamp) -> Option<Self> {
        let bundle = journal.published_roots().ok()?;
        let in_use = |record: &GenerationRecord| {
            matches!(
                record.status,
                Status::Published | Status::Active | Status::Retiring
            )
        };
        let signers = journal.signers.iter();
        let signers = signers
            .filter(|(_, kept)| in_use(&kept.record))
            .filter_map(|(number, kept)| Some((*number, kept.record.certificate.clone()?)))
            .filter(|(_, signer)| holds(signer, &bundle, now));
        let signers: Vec<(u32, Certificate)> = signers.collect();
        let presented = signers
            .iter()
            .filter_map(|(number, own)| Some((presented(journal, *number, now)?, own)));
        let cross = presented
            .flat_map(|(all, own)| all.into_iter().filter(move |it| it != own))
            .filter(|signer| holds(signer, &bundle, now));
        let new = journal.rotation().map(|running| running.roots.to);
        let new = new.and_then(|new| Some(&journal.roots.get(&new)?.record));
        let rolled = new.into_iter().flat_map(|new| {
            let all = [new.predecessor_certificate(), new.cross_certificate()];
            all.into_iter().flatten()
        });
        let known = |certified: &&Certificate| {
            let mut roots = bundle.anchors().iter();
            let subject = roots.any(|root| root.public_key() == certified.public_key());
            subject && holds(certified, &bundle, now)
        };
        Some(Self {
            rolled: rolled.filter(known).cloned().collect(),
            cross: cross.collect(),
            signers,
            bundle,
        })
    }

    /// Everything but the roots.
    pub fn others(&self) -> Vec<Certificate> {
        let signers = self.signers.iter().map(|(_, signer)| signer);
        let all = signers.chain(&self.cross).chain(&self.rolled);
        all.cloned().collect()
    }

    /// Names them.
    pub fn tag(&self) -> CaTag {
        CaTag::of(&self.bundle, &self.others())
    }
}

/// Whether the certificate of a CA leads to one of the roots.
fn holds(signer: &Certificate, bundle: &TrustBundle, now: Timestamp) -> bool {
    let mut roots = bundle.anchors().iter();
    signer.is_valid_at(now) && roots.any(|root| signer.is_issued_by(root))
}

/// Every certificate that a signer has.
pub fn certificates(signer: &GenerationRecord) -> impl Iterator<Item = &Certificate> {
    signer
        .cross_certificate()
        .into_iter()
        .chain(signer.certificate.as_ref())
}
