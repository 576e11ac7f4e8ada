//! Every CA certificate that occurs anywhere in the fleet, once, and who issued what.

use std::collections::{BTreeSet, HashMap, HashSet};

use relay_pki_authority::Level;
use relay_pki_authority::x509::{Certificate, Fingerprint, PublicKey};

use super::finding::{Place, Renewal};
use super::inventory::{Bundle, Chain, Inventory, Part};
use crate::journal::{Journal, Status};
use crate::relay::SecretRole;

/// Longest way up that is followed; webpki gives up earlier.
const DEPTH: usize = 8;

/// A CA certificate (or what is used as one) and where it was seen first.
pub(super) struct Authority {
    pub(super) certificate: Certificate,
    pub(super) cluster: String,
    pub(super) object: String,
    /// In somebody's ca.crt: the first cluster and object.
    pub(super) anchor: Option<(String, String)>,
    /// First in a signing Secret.
    pub(super) signing: bool,
    /// A certificate that is in use leads through it.
    pub(super) used: bool,
    /// What the records call it.
    pub(super) generation: Option<(Level, u32)>,
    /// Its state in the records.
    pub(super) status: Option<Status>,
    /// Its issuer among the others; none for one that is its own.
    pub(super) issuer: Option<usize>,
}

impl Authority {
    pub(super) fn place(&self) -> Place<'_> {
        Place {
            renewal: match self.is_root() {
                true => Renewal::Unknown,
                false => Renewal::Signer,
            },
            ..Place::new(&self.cluster, &self.object)
        }
    }

    /// Whether subject and issuer are the same name. The signature is not looked at: nobody verifies
    /// a root's own.
    pub(super) fn is_root(&self) -> bool {
        is_self_issued(&self.certificate)
    }

    /// For messages.
    pub(super) fn name(&self) -> String {
        let subject = self.certificate.subject();
        match (self.generation, self.is_root()) {
            (Some((level, number)), _) => format!("the {level} g{number} ({subject})"),
            (None, true) => format!("the root {subject}"),
            (None, false) => format!("the CA {subject}"),
        }
    }
}

/// Whether subject and issuer are the same name.
pub(super) fn is_self_issued(certificate: &Certificate) -> bool {
    certificate.raw_subject() == certificate.raw_issuer()
}

/// The CAs.
#[derive(Default)]
pub(super) struct Authorities {
    list: Vec<Authority>,
    by_fingerprint: HashMap<Fingerprint, usize>,
    by_subject: HashMap<Vec<u8>, Vec<usize>>,
    /// Public halves of CA keys, with the CA's name for messages.
    keys: HashMap<[u8; 32], String>,
}

impl Authorities {
    /// Those of a fleet.
    pub(super) fn of(inventory: &Inventory, home: &str) -> Self {
        let mut found = Self::default();
        let mut bundles = HashSet::new();
        let mut chains = HashSet::new();
        for facts in &inventory.clusters {
            for (_, about, bundle) in facts.bundles() {
                if bundles.insert(bundle.digest) {
                    found.bundle(facts.name(), &about.place, bundle);
                }
            }
            for (role, secret) in facts.tls() {
                let Some(chain) = secret.content.chain.here() else {
                    continue;
                };
                let place = &secret.about.place;
                if role == SecretRole::Signing {
                    let index = found.insert(&chain.leaf, facts.name(), place);
                    found.change(index, |authority| authority.signing = true);
                }
                if chains.insert(chain.above.as_ptr()) {
                    found.chain(facts.name(), place, chain);
                }
            }
        }
        if let Some(journal) = &inventory.journal {
            found.journal(journal, home);
        }
        for secret in inventory.clusters.iter().flat_map(|facts| &facts.keys) {
            let name = &secret.about.name;
            if let Part::Here(key) = &secret.content.key
                && (name.contains("-root-g") || name.contains("-signer-g"))
            {
                let name = format!("the CA key in {name}");
                found.keys.entry(key.digest()).or_insert(name);
            }
        }
        found.link();
        found
    }

    pub(super) fn bundle(&mut self, cluster: &str, object: &str, bundle: &Bundle) {
        for anchor in bundle.anchors.anchors() {
            let index = self.insert(anchor, cluster, object);
            self.change(index, |authority| {
                let place = || (cluster.to_owned(), object.to_owned());
                authority.anchor.get_or_insert_with(place);
            });
        }
    }

    fn chain(&mut self, cluster: &str, object: &str, chain: &Chain) {
        for certificate in chain.above.iter() {
            self.insert(certificate, cluster, object);
        }
    }

    fn journal(&mut self, journal: &Journal, home: &str) {
        let records = journal.roots.values().chain(journal.signers.values());
        for record in records.map(|kept| &kept.record) {
            let Some(certificate) = &record.certificate else {
                continue;
            };
            let place = format!("record {} g{}", record.level, record.number);
            let index = self.insert(certificate, home, &place);
            self.change(index, |authority| {
                authority.generation = Some((record.level, record.number));
                authority.status = Some(record.status);
            });
        }
    }

    /// Adds a certificate, or finds it.
    pub(super) fn insert(
        &mut self,
        certificate: &Certificate,
        cluster: &str,
        object: &str,
    ) -> usize {
        let fingerprint = certificate.fingerprint();
        if let Some(index) = self.by_fingerprint.get(&fingerprint) {
            return *index;
        }
        let index = self.list.len();
        self.by_fingerprint.insert(fingerprint, index);
        let subject = certificate.raw_subject().to_vec();
        self.by_subject.entry(subject).or_default().push(index);
        self.list.push(Authority {
            certificate: certificate.clone(),
            cluster: cluster.to_owned(),
            object: object.to_owned(),
            anchor: None,
            signing: false,
            used: false,
            generation: None,
            status: None,
            issuer: None,
        });
        index
    }

    fn change(&mut self, index: usize, change: impl FnOnce(&mut Authority)) {
        if let Some(authority) = self.list.get_mut(index) {
            change(authority);
        }
    }

    /// Finds the issuer of each, and names the keys.
    pub(super) fn link(&mut self) {
        for index in 0..self.list.len() {
            let issuer = self
                .get(index)
                .filter(|authority| !authority.is_root())
                .and_then(|authority| self.issuer_of(&authority.certificate, None));
            self.change(index, |authority| authority.issuer = issuer);
        }
        for authority in self.list.iter().filter(|found| found.certificate.is_ca()) {
            let key = authority.certificate.public_key().digest();
            self.keys.insert(key, authority.name());
        }
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &Authority)> {
        self.list.iter().enumerate()
    }

    pub(super) fn get(&self, index: usize) -> Option<&Authority> {
        self.list.get(index)
    }

    pub(super) fn find(&self, certificate: &Certificate) -> Option<usize> {
        self.by_fingerprint.get(&certificate.fingerprint()).copied()
    }

    /// The CA whose key signed `certificate`, whatever the key identifiers say; of several
    /// certificates for that key the one that lasts longest. `hint` is the key, if it is known.
    pub(super) fn issuer_of(
        &self,
        certificate: &Certificate,
        hint: Option<&PublicKey>,
    ) -> Option<usize> {
        let candidates = self.by_subject.get(certificate.raw_issuer())?;
        let signed = |issuer: &Certificate| match hint {
            Some(key) => key == issuer.public_key(),
            None => certificate.is_signed_by(issuer.public_key()),
        };
        candidates
            .iter()
            .filter_map(|index| Some((*index, self.get(*index)?)))
            .filter(|(_, issuer)| signed(&issuer.certificate))
            .max_by_key(|(_, issuer)| issuer.certificate.not_after())
            .map(|(index, _)| index)
    }

    /// The way up from a CA, itself first.
    pub(super) fn way_up(&self, from: Option<usize>) -> impl Iterator<Item = &Authority> {
        let next = |authority: &&Authority| authority.issuer.and_then(|index| self.get(index));
        std::iter::successors(from.and_then(|index| self.get(index)), next).take(DEPTH)
    }

    /// Notes that a certificate below `index` is in use.
    pub(super) fn mark_used(&mut self, index: usize) {
        let mut next = Some(index);
        while let Some(authority) = next.and_then(|index| self.list.get_mut(index)) {
            if authority.used {
                return;
            }
            authority.used = true;
            next = authority.issuer;
        }
    }

    /// The CA that `key` belongs to, for messages.
    pub(super) fn owner_of_key(&self, key: &PublicKey) -> Option<&str> {
        self.keys.get(&key.digest()).map(String::as_str)
    }

    /// The subjects of all CAs.
    pub(super) fn subjects(&self) -> BTreeSet<&[u8]> {
        let cas = self.list.iter().filter(|found| found.certificate.is_ca());
        cas.map(|found| found.certificate.raw_subject()).collect()
    }
}
