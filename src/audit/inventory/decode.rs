//! From stored objects to facts. What many clusters hold alike is parsed once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use relay_pki_authority::x509::{
    Certificate, CertificateChain, PrivateKey, PublicKey, TrustBundle, X509Error,
};

use super::{
    About, Bundle, Chain, ClusterFacts, KeyFacts, Part, Secret, TlsFacts, Token, TrustFacts,
};
use crate::cluster::{Object, ObjectKind, SecretBytes, Stored};
use crate::config::ClusterSpec;
use crate::journal::{ENCRYPTED_KEY, Journal};
use crate::relay::{
    self, CA_CERT, Owner, REQUEST_ANNOTATION, SecretRole, TLS_CERT, TLS_KEY, TOKEN,
};
use crate::transcript::{self, PUBLIC_KEY};

/// Ends the first certificate in PEM text.
const END: &[u8] = b"-----END CERTIFICATE-----";

type Digest = [u8; 32];

/// What has been parsed already, by the digest of its text.
#[derive(Default)]
pub(in crate::audit) struct Pool {
    bundles: Mutex<HashMap<Digest, Part<Bundle>>>,
    chains: Mutex<HashMap<Digest, Arc<[Certificate]>>>,
}

impl Pool {
    /// Decodes what one cluster holds. The private keys go when `stored` goes.
    pub(super) fn cluster(
        &self,
        relay: &str,
        spec: ClusterSpec,
        names: &[(SecretRole, String)],
        home: bool,
        stored: Vec<Stored>,
    ) -> ClusterFacts {
        let mut facts = ClusterFacts::new(spec);
        facts.objects = stored.len();
        if home {
            facts.journal = Some(Journal::from_objects(relay, &stored));
        }
        for stored in &stored {
            let object = &stored.object;
            if object.key.kind != ObjectKind::Secret {
                if home && object.key.name == transcript::key_name(relay) {
                    facts.transcript_key = Some(public_key(object));
                }
                continue;
            }
            let about = about(relay, stored);
            let role = names.iter().find(|(_, name)| *name == object.key.name);
            match role.map(|(role, _)| role) {
                Some(SecretRole::Trust) => facts.trust = Some(secret(about, self.trust(object))),
                Some(SecretRole::IdentityToken) => {
                    facts.identity_token = Some(secret(about, token(object)));
                }
                Some(SecretRole::ForwardingToken) => {
                    facts.forwarding_token = Some(secret(about, token(object)));
                }
                Some(SecretRole::Signing) => facts.signing = Some(secret(about, self.tls(object))),
                Some(SecretRole::Server) => facts.server = Some(secret(about, self.tls(object))),
                Some(SecretRole::Client) => facts.client = Some(secret(about, self.tls(object))),
                None if about.owner == Owner::Us => {
                    let has = |entry: &str| object.data.contains_key(entry);
                    let (clear, encrypted) = (has(TLS_KEY), has(ENCRYPTED_KEY));
                    if clear || encrypted {
                        let found = KeyFacts {
                            encrypted: encrypted && !clear,
                            key: key(object),
                        };
                        facts.keys.push(secret(about, found));
                    }
                }
                None => {}
            }
        }
        facts
    }

    fn trust(&self, object: &Object) -> TrustFacts {
        TrustFacts {
            bundle: self.bundle(object),
            key: key(object),
        }
    }

    fn tls(&self, object: &Object) -> TlsFacts {
        let bundle = self.bundle(object);
        TlsFacts {
            chain: self.chain(object, bundle.here()),
            key: key(object),
            bundle,
        }
    }

    fn bundle(&self, object: &Object) -> Part<Bundle> {
        let Some(pem) = entry(object, CA_CERT) else {
            return Part::Absent;
        };
        let name = sha256(pem);
        let known = |pool: &Self| {
            let bundles = pool.bundles.lock().unwrap_or_else(PoisonError::into_inner);
            bundles.get(&name).cloned()
        };
        if let Some(found) = known(self) {
            return found;
        }
        let parsed = match TrustBundle::from_pem(pem) {
            Ok(bundle) => Part::Here(Bundle {
                digest: bundle.digest(),
                anchors: Arc::new(bundle),
            }),
            Err(error) => broken(CA_CERT, &error),
        };
        let mut bundles = self.bundles.lock().unwrap_or_else(PoisonError::into_inner);
        bundles.entry(name).or_insert(parsed).clone()
    }

    fn chain(&self, object: &Object, beside: Option<&Bundle>) -> Part<Chain> {
        let Some(pem) = entry(object, TLS_CERT) else {
            return Part::Absent;
        };
        match self.parse_chain(pem, beside) {
            Ok(chain) => Part::Here(chain),
            Err(error) => broken(TLS_CERT, &error),
        }
    }

    /// The leaf is different in every Secret, and what follows it the same in many.
    fn parse_chain(&self, pem: &[u8], beside: Option<&Bundle>) -> Result<Chain, X509Error> {
        let end = pem.windows(END.len()).position(|window| window == END);
        let end = end.map_or(pem.len(), |start| start + END.len());
        let (head, tail) = pem.split_at_checked(end).unwrap_or((pem, &[]));
        let leaf = Certificate::from_pem(head)?;
        let above = self.above(tail)?;
        let whole = std::iter::once(&leaf).chain(above.iter());
        CertificateChain::new(whole.cloned().collect())?;
        let anchors = beside.map_or(&[][..], |bundle| bundle.anchors.anchors());
        let signed_by = above
            .iter()
            .chain(anchors)
            .filter(|issuer| issuer.raw_subject() == leaf.raw_issuer())
            .map(Certificate::public_key)
            .find(|key| leaf.is_signed_by(key))
            .cloned();
        Ok(Chain {
            leaf,
            above,
            signed_by,
        })
    }

    fn above(&self, pem: &[u8]) -> Result<Arc<[Certificate]>, X509Error> {
        if pem.iter().all(u8::is_ascii_whitespace) {
            return Ok(Arc::default());
        }
        let name = sha256(pem);
        let known = |pool: &Self| {
            let chains = pool.chains.lock().unwrap_or_else(PoisonError::into_inner);
            chains.get(&name).cloned()
        };
        if let Some(found) = known(self) {
            return Ok(found);
        }
        let parsed: Arc<[Certificate]> = match Certificate::list_from_pem(pem) {
            Ok(certificates) => certificates.into(),
            // Text without a certificate in it.
            Err(X509Error::PemMissing { .. }) => Arc::default(),
            Err(error) => return Err(error),
        };
        let mut chains = self.chains.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(chains.entry(name).or_insert(parsed).clone())
    }
}

fn secret<T>(about: About, content: T) -> Secret<T> {
    Secret { about, content }
}

fn about(relay: &str, stored: &Stored) -> About {
    let object = &stored.object;
    let request = object.annotations.get(REQUEST_ANNOTATION);
    About {
        name: object.key.name.clone(),
        place: stored.place.clone(),
        owner: relay::owner_of(object, relay),
        exposed: stored.exposed,
        secret_type: object.secret_type.clone(),
        has_pair: object.data.contains_key(TLS_CERT) && object.data.contains_key(TLS_KEY),
        request: request.and_then(|text| text.parse().ok()).unwrap_or(0),
    }
}

/// The public half; the private one is erased on the way out.
fn key(object: &Object) -> Part<PublicKey> {
    match entry(object, TLS_KEY).map(PrivateKey::from_pem) {
        None => Part::Absent,
        Some(Ok(key)) => Part::Here(key.public_key().clone()),
        Some(Err(error)) => broken(TLS_KEY, &error),
    }
}

fn public_key(object: &Object) -> Result<PublicKey, String> {
    let pem = entry(object, PUBLIC_KEY).ok_or_else(|| format!("it has no {PUBLIC_KEY}"))?;
    transcript::public_key_from_pem(pem)
}

fn token(object: &Object) -> Part<Token> {
    match entry(object, TOKEN) {
        None => Part::Absent,
        Some(token) => Part::Here(Token {
            digest: sha256(token),
            length: token.len(),
            white_space: token.iter().any(u8::is_ascii_whitespace),
        }),
    }
}

fn broken<T>(entry: &str, error: &X509Error) -> Part<T> {
    Part::Broken(format!("{entry}: {error}"))
}

/// An entry that is not empty.
fn entry<'a>(object: &'a Object, key: &str) -> Option<&'a [u8]> {
    let bytes = object.data.get(key).map(SecretBytes::expose);
    bytes.filter(|bytes| !bytes.is_empty())
}

fn sha256(bytes: &[u8]) -> Digest {
    let mut out = [0u8; 32];
    out.copy_from_slice(digest(&SHA256, bytes).as_ref());
    out
}
