//! Backends that keep what is revoked: they are told of each certificate. What is still to be told follows
//! from the records, so whoever leads goes on where another one stopped.

use std::collections::{BTreeMap, BTreeSet};

use data_encoding::HEXLOWER_PERMISSIVE;
use futures::StreamExt as _;
use jiff::Timestamp;
use relay_pki_authority::x509::{Certificate, SerialNumber};
use relay_pki_authority::{AuthorityError, Revocation, RevocationRequest};

use super::Registry;
use crate::engine::{Fleet, StepError, bounded, limited, open_generation};
use crate::journal::{EnrolledCertificate, GenerationRecord, Journal, Status};
use crate::relay;

/// Certificates that backends are told of side by side.
const CONCURRENCY: usize = 4;

/// What came of telling a backend of one certificate.
#[derive(Debug, Clone)]
pub struct Told {
    /// Whose certificate it is.
    pub cluster: String,
    /// Its serial number in hexadecimal digits.
    pub serial: String,
    /// Whether it is revoked there.
    pub result: Result<(), StepError>,
}

impl Told {
    /// Whether the backend says that it cannot revoke it, now or ever. On what that depends is for the backend
    /// to know: a tier, a kind of pool.
    pub fn is_unable(&self) -> bool {
        matches!(
            self.result,
            Err(StepError::Authority(AuthorityError::Unsupported { .. }))
        )
    }
}

/// Certificates that their backends cannot revoke: cluster and serial number.
pub type Unable = BTreeSet<(String, String)>;

/// Revokes, in their backends, the certificates that are not revoked there yet, and notes it. The decision
/// is recorded before, and a backend may be told twice; but not of what is known that it is `unable` to, which is
/// kept up to date.
///
/// # Errors
///
/// If the records cannot be read.
pub async fn tell_backends(fleet: &Fleet, unable: &mut Unable) -> Result<Vec<Told>, StepError> {
    let (home, relay) = (fleet.home()?, &fleet.relay.name);
    let call = home.list(relay::selector(relay), &[]);
    let stored = limited(home.name(), "list the records", call).await?;
    let journal = Journal::from_objects(relay, &stored).map_err(|reason| StepError::Refused {
        reason: format!("a record of relay-pki: {reason}"),
    })?;
    let registry = Registry::of(fleet)?;
    let mut by_signer: BTreeMap<u32, Vec<Untold<'_>>> = BTreeMap::new();
    let mut hopeless = Unable::new();
    for untold in untold(fleet, &journal, fleet.clock.now()) {
        match unable.take(&untold.id()) {
            Some(known) => {
                hopeless.insert(known);
            }
            None => by_signer
                .entry(untold.signer.number)
                .or_default()
                .push(untold),
        }
    }
    *unable = hopeless;
    let mut told = Vec::new();
    for untold in by_signer.values() {
        told.extend(tell(fleet, &journal, &registry, untold).await);
    }
    let new = told.iter().filter(|told| told.is_unable());
    unable.extend(new.map(|told| (told.cluster.clone(), told.serial.clone())));
    Ok(told)
}

/// What the provider of a signer does about revoked certificates; nothing if there is no such provider
/// any more.
pub(crate) fn revocation(fleet: &Fleet, signer: &GenerationRecord) -> Revocation {
    let provider = signer
        .provider
        .as_ref()
        .and_then(|name| fleet.providers.get(name));
    provider.map_or(Revocation::Never, |provider| {
        provider.capabilities().revocation
    })
}

/// A certificate that its backend was not told of.
#[derive(Clone, Copy)]
struct Untold<'a> {
    cluster: &'a str,
    certificate: &'a EnrolledCertificate,
    signer: &'a GenerationRecord,
}

impl Untold<'_> {
    fn id(&self) -> (String, String) {
        (self.cluster.to_owned(), self.certificate.serial.clone())
    }
}

fn untold<'a>(
    fleet: &'a Fleet,
    journal: &'a Journal,
    now: Timestamp,
) -> impl Iterator<Item = Untold<'a>> {
    journal.revocations.iter().flat_map(move |(cluster, kept)| {
        let record = &kept.record;
        let open = record.certificates.iter().filter(move |certificate| {
            certificate.not_after >= now && !record.told.contains(&certificate.serial)
        });
        open.filter_map(move |certificate| {
            let signer = &journal.signers.get(&certificate.signer)?.record;
            let in_use = matches!(signer.status, Status::Active | Status::Retiring);
            (in_use && revocation(fleet, signer).keeps()).then_some(Untold {
                cluster,
                certificate,
                signer,
            })
        })
    })
}

/// Tells one signer of its certificates.
async fn tell(
    fleet: &Fleet,
    journal: &Journal,
    registry: &Registry,
    untold: &[Untold<'_>],
) -> Vec<Told> {
    let Some(signer) = untold.first().map(|untold| untold.signer) else {
        return Vec::new();
    };
    let answer = |untold: &Untold<'_>, result| Told {
        cluster: untold.cluster.to_owned(),
        serial: untold.certificate.serial.clone(),
        result,
    };
    let authority = match open_generation(fleet, journal, signer).await {
        Ok(authority) => authority,
        Err(error) => {
            let same = |untold| answer(untold, Err(error.clone()));
            return untold.iter().map(same).collect();
        }
    };
    let generation = signer.generation(&fleet.relay.name);
    let calls = untold.iter().map(|untold| {
        let (authority, generation) = (&authority, &generation);
        async move {
            let request = request(untold.certificate)?;
            bounded(generation, authority.revoke(&request)).await?;
            registry
                .told(untold.cluster, &untold.certificate.serial)
                .await?;
            Ok(())
        }
    });
    let calls: Vec<futures::future::BoxFuture<'_, Result<(), StepError>>> =
        calls.map(futures::FutureExt::boxed).collect();
    let results: Vec<_> = futures::stream::iter(calls)
        .buffered(CONCURRENCY)
        .collect()
        .await;
    let answers = untold.iter().zip(results);
    answers
        .map(|(untold, result)| answer(untold, result))
        .collect()
}

fn request(certificate: &EnrolledCertificate) -> Result<RevocationRequest, StepError> {
    let broken = |reason: String| StepError::Refused {
        reason: format!("the record of certificate {}: {reason}", certificate.serial),
    };
    let pem = certificate.pem.as_ref();
    let whole = pem.map(|pem| Certificate::from_pem(pem.as_bytes()));
    Ok(RevocationRequest {
        serial: serial(&certificate.serial)
            .ok_or_else(|| broken("its serial number cannot be read".to_owned()))?,
        certificate: whole
            .transpose()
            .map_err(|error| broken(error.to_string()))?,
    })
}

/// A serial number from its hexadecimal digits.
pub(super) fn serial(text: &str) -> Option<SerialNumber> {
    let octets = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?;
    SerialNumber::from_der_content(&octets).ok()
}
