use relay_pki_authority::Ticket;
use relay_pki_authority::x509::{CertificateChain, PrivateKey, Validity, VerifiedCsr};

use super::{decode_record, encode_record, record_object};
use crate::cluster::{Object, ObjectKind, SecretBytes};
use crate::relay::{TLS_CERT, TLS_KEY};

const REQUEST: &str = "tls.csr";

/// One certificate that is being bought from a backend where certificates cost or count. It is
/// written before the call, so that whoever comes after a crash or a lost reply asks for the same
/// certificate again and not for another one.
#[derive(Debug, Clone)]
pub struct IssuanceRecord {
    /// The generation that was asked: a signer for a leaf, a root for a signer.
    pub issuer: u32,
    /// The rotation request that the certificate satisfies.
    pub request: u64,
    /// The DNS names that were asked for.
    pub names: Vec<String>,
    /// The key that was asked for, with the proof that it is ours.
    pub csr: VerifiedCsr,
    /// For how long.
    pub validity: Validity,
    /// The backend's ticket, once it answered "pending".
    pub ticket: Option<Ticket>,
    /// The certificate, once there is one.
    pub chain: Option<CertificateChain>,
}

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    issuer: u32,
    #[serde(default)]
    request: u64,
    #[serde(default)]
    names: Vec<String>,
    not_before: jiff::Timestamp,
    not_after: jiff::Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ticket: Option<Ticket>,
}

/// The name of the record of an issuance for `subject` (`server-mgmt`, `agent-cluster-1`,
/// `signer-g2`), and of the Secret with its key.
pub fn issuance_name(relay: &str, subject: &str) -> String {
    format!("relay-pki-{relay}-issuance-{subject}")
}

impl IssuanceRecord {
    /// As an object.
    pub fn encode(&self, relay: &str, subject: &str) -> Object {
        let name = issuance_name(relay, subject);
        let mut object = record_object(relay, ObjectKind::ConfigMap, name);
        encode_record(
            &mut object,
            &Record {
                issuer: self.issuer,
                request: self.request,
                names: self.names.clone(),
                not_before: self.validity.not_before(),
                not_after: self.validity.not_after(),
                ticket: self.ticket.clone(),
            },
        );
        let csr = SecretBytes::new(self.csr.to_pem());
        object.data.insert(REQUEST.to_owned(), csr);
        if let Some(chain) = &self.chain {
            let pem = SecretBytes::new(chain.to_pem());
            object.data.insert(TLS_CERT.to_owned(), pem);
        }
        object
    }

    /// From an object.
    pub fn decode(object: &Object) -> Result<Self, String> {
        let record: Record = decode_record(object)?;
        let csr = object.data.get(REQUEST).ok_or("it has no tls.csr entry")?;
        let chain = object.data.get(TLS_CERT);
        Ok(Self {
            issuer: record.issuer,
            request: record.request,
            names: record.names,
            csr: VerifiedCsr::from_pem(csr.expose()).map_err(|error| error.to_string())?,
            validity: Validity::new(record.not_before, record.not_after)
                .map_err(|error| error.to_string())?,
            ticket: record.ticket,
            chain: chain
                .map(|pem| CertificateChain::from_pem(pem.expose()))
                .transpose()
                .map_err(|error| error.to_string())?,
        })
    }

    /// The Secret that keeps the key of an issuance until it is delivered.
    pub fn encode_key(relay: &str, subject: &str, key: &PrivateKey) -> Object {
        let name = issuance_name(relay, subject);
        let mut object = record_object(relay, ObjectKind::Secret, name);
        object.secret_type = Some("Opaque".to_owned());
        let pem = SecretBytes::new(key.to_pem().as_bytes());
        object.data.insert(TLS_KEY.to_owned(), pem);
        object
    }
}
