//! Running the steps that take over a CA that exists already.

use relay_pki_authority::Level;
use relay_pki_authority::x509::{Certificate, CertificateChain, PrivateKey};

use super::super::limited;
use super::super::step::KeySource;
use super::issue::{bounded, refused};
use super::{Apply, StepError};
use crate::cluster::ObjectKey;
use crate::journal::{GenerationRecord, Status};
use crate::relay::{TLS_KEY, decode_tls};

impl Apply<'_> {
    pub(super) async fn adopt(
        &mut self,
        level: Level,
        number: u32,
        root: Option<u32>,
        certificate: &Certificate,
        key: Option<&KeySource>,
        status: Status,
    ) -> Result<(), StepError> {
        let mut record = GenerationRecord {
            level,
            number,
            status,
            provider: key.map(|source| source.provider.clone()),
            key_type: certificate.public_key().key_type().map_err(refused)?,
            root,
            since: self.now(),
            validity: None,
            certificate: Some(certificate.clone()),
            cross: None,
            predecessor: None,
        };
        if let Some(source) = key {
            let (key, chain) = self.key_to_adopt(level, certificate, source).await?;
            let provider = self.provider(&record)?.clone();
            let generation = record.generation(&self.fleet.relay.name);
            bounded(&generation, provider.import(&generation, &key, &chain)).await?;
        }
        if let Some(kept) = self.journal.level(level).get(&number) {
            record.since = kept.record.since;
        }
        self.save(&record).await
    }

    async fn key_to_adopt(
        &self,
        level: Level,
        certificate: &Certificate,
        source: &KeySource,
    ) -> Result<(PrivateKey, CertificateChain), StepError> {
        let home = self.fleet.home()?;
        let key = ObjectKey::secret(source.secret.clone());
        let stored = limited(home.name(), "read the CA key", home.read(&key)).await?;
        let unusable = |reason: String| StepError::Refused {
            reason: format!("{key} in cluster {}: {reason}", home.name()),
        };
        let stored = stored.ok_or_else(|| unusable("it is gone".to_owned()))?;
        if stored.exposed {
            return Err(unusable(
                "other users of this machine can read it; chmod 600 it first".to_owned(),
            ));
        }
        match level {
            Level::Root => {
                let pem = stored.object.data.get(TLS_KEY);
                let pem = pem.ok_or_else(|| unusable(format!("it has no {TLS_KEY}")))?;
                let key = PrivateKey::from_pem(pem.expose())
                    .map_err(|error| unusable(error.to_string()))?;
                let chain = CertificateChain::new(vec![certificate.clone()]).map_err(refused)?;
                Ok((key, chain))
            }
            Level::Signer => {
                let content = decode_tls(&stored.object).map_err(unusable)?;
                let chain = CertificateChain::new(vec![certificate.clone()]).map_err(refused)?;
                Ok((content.key, chain))
            }
        }
    }
}
