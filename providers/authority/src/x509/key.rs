use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _,
};
use aws_lc_rs::{encoding::Pkcs8V1Der, rsa};
use rustls_pki_types::pem::SectionKind;
use x509_parser::asn1_rs::Oid;
use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_NIST_EC_P521,
    OID_PKCS1_RSAENCRYPTION, OID_SIG_ED25519,
};
use x509_parser::prelude::*;
use x509_parser::public_key::PublicKey as ParsedKey;
use zeroize::Zeroizing;

use super::identifier::sha256;
use super::{KeyIdentifier, X509Error, pem};

/// The keys that relay-pki makes and accepts: every relay peer, and every verifier that is tested,
/// can use them. Ed25519 is offered where the whole path can; some proxies cannot.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Default,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
pub enum KeyType {
    /// ECDSA on NIST P-256; signs with SHA-256.
    #[default]
    #[serde(rename = "ecdsa-p256")]
    EcdsaP256,
    /// ECDSA on NIST P-384; signs with SHA-384.
    #[serde(rename = "ecdsa-p384")]
    EcdsaP384,
    /// RSA with 2048 bits; signs with SHA-256.
    #[serde(rename = "rsa-2048")]
    Rsa2048,
    /// RSA with 3072 bits; signs with SHA-256.
    #[serde(rename = "rsa-3072")]
    Rsa3072,
    /// RSA with 4096 bits; signs with SHA-256.
    #[serde(rename = "rsa-4096")]
    Rsa4096,
    /// Ed25519 (RFC 8410).
    #[serde(rename = "ed25519")]
    Ed25519,
}

impl KeyType {
    /// Every key type.
    pub const ALL: [Self; 6] = [
        Self::EcdsaP256,
        Self::EcdsaP384,
        Self::Rsa2048,
        Self::Rsa3072,
        Self::Rsa4096,
        Self::Ed25519,
    ];

    /// The name in documents and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EcdsaP256 => "ecdsa-p256",
            Self::EcdsaP384 => "ecdsa-p384",
            Self::Rsa2048 => "rsa-2048",
            Self::Rsa3072 => "rsa-3072",
            Self::Rsa4096 => "rsa-4096",
            Self::Ed25519 => "ed25519",
        }
    }

    /// Whether the key is an RSA key.
    pub fn is_rsa(self) -> bool {
        matches!(self, Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096)
    }
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for KeyType {
    type Err = X509Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|key_type| key_type.as_str() == text)
            .ok_or_else(|| X509Error::UnsupportedKey {
                found: text.chars().take(40).collect(),
            })
    }
}

/// A subject public key, kept as its DER SubjectPublicKeyInfo.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PublicKey {
    spki: Arc<[u8]>,
    /// The subjectPublicKey bits inside `spki`: they end it in every algorithm that there is.
    bits_at: usize,
    algorithm: Algorithm,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Algorithm {
    Supported(KeyType),
    Other(&'static str, usize),
}

const COMPRESSED: Algorithm = Algorithm::Other("ecdsa with a compressed point", 0);

impl PublicKey {
    /// From a DER SubjectPublicKeyInfo. Keys of types that relay-pki does not use parse too, so
    /// that an audit can talk about them; [`PublicKey::key_type`] refuses them.
    pub fn from_spki_der(spki: &[u8]) -> Result<Self, X509Error> {
        match SubjectPublicKeyInfo::from_der(spki) {
            Ok(([], parsed)) => Self::from_parsed(&parsed),
            Ok(_) => Err(malformed("trailing bytes".to_owned())),
            Err(error) => Err(malformed(error.to_string())),
        }
    }

    pub(super) fn from_parsed(parsed: &SubjectPublicKeyInfo<'_>) -> Result<Self, X509Error> {
        let oid = &parsed.algorithm.algorithm;
        let bits: &[u8] = &parsed.subject_public_key.data;
        if parsed.subject_public_key.unused_bits != 0 {
            return Err(malformed("not a whole number of bytes".to_owned()));
        }
        let algorithm = if *oid == OID_KEY_TYPE_EC_PUBLIC_KEY {
            ecdsa_key(parsed, bits)?
        } else if *oid == OID_PKCS1_RSAENCRYPTION {
            rsa_key(parsed)?
        } else if *oid == OID_SIG_ED25519 {
            ed25519_key(bits)?
        } else {
            Algorithm::Other("an unknown algorithm", 0)
        };
        let spki: Arc<[u8]> = parsed.raw.into();
        Ok(Self {
            bits_at: spki.len().saturating_sub(bits.len()),
            spki,
            algorithm,
        })
    }

    /// The DER SubjectPublicKeyInfo.
    pub fn spki_der(&self) -> &[u8] {
        &self.spki
    }

    /// The content of the subjectPublicKey BIT STRING.
    pub fn bits(&self) -> &[u8] {
        self.spki.get(self.bits_at..).unwrap_or_default()
    }

    /// The key type, if it is one that relay-pki works with.
    pub fn key_type(&self) -> Result<KeyType, X509Error> {
        match self.algorithm {
            Algorithm::Supported(key_type) => Ok(key_type),
            Algorithm::Other(..) => Err(X509Error::UnsupportedKey {
                found: self.describe(),
            }),
        }
    }

    /// Algorithm and size, for people.
    pub fn describe(&self) -> String {
        match self.algorithm {
            Algorithm::Supported(key_type) => key_type.to_string(),
            Algorithm::Other(name, 0) => name.to_owned(),
            Algorithm::Other("rsa", bits) => format!("rsa-{bits}"),
            Algorithm::Other(name, _) => name.to_owned(),
        }
    }

    /// The identifier that we put into certificates for this key.
    pub fn key_identifier(&self) -> KeyIdentifier {
        KeyIdentifier::of_public_key_bits(self.bits())
    }

    /// SHA-256 over the SubjectPublicKeyInfo: the same for every certificate of one key.
    pub fn digest(&self) -> [u8; 32] {
        sha256(&self.spki)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.describe())
    }
}

/// The point must be of the curve that the algorithm names: a label of one curve over a point of another
/// is a certificate that nobody can use. Compressed points are legal, but Go, for one, does not read them.
fn ecdsa_key(parsed: &SubjectPublicKeyInfo<'_>, bits: &[u8]) -> Result<Algorithm, X509Error> {
    let curve = parsed.algorithm.parameters.as_ref();
    let curve = curve.and_then(|any| any.as_oid().ok());
    let is = |known: &Oid<'_>| curve.as_ref() == Some(known);
    let (p256, p384) = (is(&OID_EC_P256), is(&OID_NIST_EC_P384));
    Ok(match (bits.len(), bits.first()) {
        (65, Some(4)) if p256 => Algorithm::Supported(KeyType::EcdsaP256),
        (97, Some(4)) if p384 => Algorithm::Supported(KeyType::EcdsaP384),
        (33, Some(2 | 3)) if p256 => COMPRESSED,
        (49, Some(2 | 3)) if p384 => COMPRESSED,
        (length, _) if p256 || p384 => {
            return Err(malformed(format!(
                "a point of {length} bytes does not fit the curve"
            )));
        }
        _ if is(&OID_NIST_EC_P521) => Algorithm::Other("ecdsa-p521", 521),
        _ => Algorithm::Other("ecdsa on another curve", 0),
    })
}

fn rsa_key(parsed: &SubjectPublicKeyInfo<'_>) -> Result<Algorithm, X509Error> {
    match parsed.parsed() {
        Ok(ParsedKey::RSA(key)) => Ok(match rsa_bits(key.modulus) {
            2048 => Algorithm::Supported(KeyType::Rsa2048),
            3072 => Algorithm::Supported(KeyType::Rsa3072),
            4096 => Algorithm::Supported(KeyType::Rsa4096),
            bits => Algorithm::Other("rsa", bits),
        }),
        _ => Err(malformed("not an RSA public key".to_owned())),
    }
}

fn ed25519_key(bits: &[u8]) -> Result<Algorithm, X509Error> {
    match bits.len() {
        32 => Ok(Algorithm::Supported(KeyType::Ed25519)),
        length => Err(malformed(format!("an Ed25519 key of {length} bytes"))),
    }
}

fn malformed(reason: String) -> X509Error {
    X509Error::Malformed {
        what: "public key",
        reason,
    }
}

fn rsa_bits(modulus: &[u8]) -> usize {
    let mut octets = modulus.iter().skip_while(|byte| **byte == 0);
    match octets.next() {
        Some(first) => octets.count() * 8 + (8 - first.leading_zeros() as usize),
        None => 0,
    }
}

/// A private key as PKCS#8 (RFC 5958), erased from memory when dropped, never printed.
#[derive(Clone)]
pub struct PrivateKey {
    pkcs8: Zeroizing<Vec<u8>>,
    public: PublicKey,
}

impl PrivateKey {
    /// A new key.
    pub fn generate(key_type: KeyType) -> Result<Self, X509Error> {
        let failed = |_| X509Error::Crypto {
            operation: "key generation",
        };
        let ecdsa = |algorithm| {
            let pair = EcdsaKeyPair::generate(algorithm).map_err(failed)?;
            Self::from_ecdsa(&pair)
        };
        let rsa = |size| {
            let pair = rsa::KeyPair::generate(size).map_err(failed)?;
            Self::from_rsa(&pair)
        };
        match key_type {
            KeyType::EcdsaP256 => ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING),
            KeyType::EcdsaP384 => ecdsa(&ECDSA_P384_SHA384_ASN1_SIGNING),
            KeyType::Rsa2048 => rsa(rsa::KeySize::Rsa2048),
            KeyType::Rsa3072 => rsa(rsa::KeySize::Rsa3072),
            KeyType::Rsa4096 => rsa(rsa::KeySize::Rsa4096),
            KeyType::Ed25519 => Self::from_ed25519(&Ed25519KeyPair::generate().map_err(failed)?),
        }
    }

    /// From PEM: PKCS#8, SEC 1 (`EC PRIVATE KEY`) or PKCS#1 (`RSA PRIVATE KEY`).
    pub fn from_pem(text: &[u8]) -> Result<Self, X509Error> {
        if text
            .windows(b"ENCRYPTED".len())
            .any(|window| window == b"ENCRYPTED")
        {
            return Err(X509Error::EncryptedKey);
        }
        for (kind, der) in pem::sections(text)? {
            match kind {
                SectionKind::PrivateKey
                | SectionKind::EcPrivateKey
                | SectionKind::RsaPrivateKey => {
                    return Self::from_der(der.as_slice());
                }
                _ => {}
            }
        }
        Err(X509Error::PemMissing {
            wanted: "PRIVATE KEY",
        })
    }

    /// From DER: PKCS#8, SEC 1 or PKCS#1, whichever it is.
    pub fn from_der(der: &[u8]) -> Result<Self, X509Error> {
        for algorithm in [
            &ECDSA_P256_SHA256_ASN1_SIGNING,
            &ECDSA_P384_SHA384_ASN1_SIGNING,
        ] {
            if let Some(pair) = ecdsa_pair(algorithm, der) {
                return Self::from_ecdsa(&pair);
            }
        }
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
            return Self::from_ed25519(&pair);
        }
        if let Ok(pair) = rsa::KeyPair::from_pkcs8(der).or_else(|_| rsa::KeyPair::from_der(der)) {
            return Self::from_rsa(&pair);
        }
        Err(X509Error::UnsupportedKey {
            found: "a private key that is broken or of another type".to_owned(),
        })
    }

    fn from_ecdsa(pair: &EcdsaKeyPair) -> Result<Self, X509Error> {
        let pkcs8 = pair.to_pkcs8v1().map_err(encoding_failed)?;
        let spki = pair.public_key().as_der().map_err(encoding_failed)?;
        Self::from_parts(pkcs8.as_ref(), spki.as_ref())
    }

    fn from_ed25519(pair: &Ed25519KeyPair) -> Result<Self, X509Error> {
        let pkcs8 = pair.to_pkcs8v1().map_err(encoding_failed)?;
        let spki = pair.public_key().as_der().map_err(encoding_failed)?;
        Self::from_parts(pkcs8.as_ref(), spki.as_ref())
    }

    fn from_rsa(pair: &rsa::KeyPair) -> Result<Self, X509Error> {
        let pkcs8: Pkcs8V1Der<'_> = pair.as_der().map_err(encoding_failed)?;
        let spki: aws_lc_rs::encoding::PublicKeyX509Der<'_> =
            pair.public_key().as_der().map_err(encoding_failed)?;
        let key = Self::from_parts(pkcs8.as_ref(), spki.as_ref())?;
        // 1024 bits and the like load, but are refused here and not at their first use.
        key.public.key_type().map(|_| key)
    }

    fn from_parts(pkcs8: &[u8], spki: &[u8]) -> Result<Self, X509Error> {
        Ok(Self {
            pkcs8: Zeroizing::new(pkcs8.to_vec()),
            public: PublicKey::from_spki_der(spki)?,
        })
    }

    /// The matching public key.
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// The key type.
    pub fn key_type(&self) -> Result<KeyType, X509Error> {
        self.public.key_type()
    }

    /// DER PKCS#8. Whoever takes a copy owes its erasure.
    pub fn pkcs8_der(&self) -> &[u8] {
        &self.pkcs8
    }

    /// PEM PKCS#8, erased when dropped.
    pub fn to_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(pem::encode("PRIVATE KEY", &self.pkcs8))
    }
}

fn encoding_failed<E>(_: E) -> X509Error {
    X509Error::Crypto {
        operation: "encoding a key",
    }
}

fn ecdsa_pair(algorithm: &'static EcdsaSigningAlgorithm, der: &[u8]) -> Option<EcdsaKeyPair> {
    EcdsaKeyPair::from_pkcs8(algorithm, der)
        .or_else(|_| EcdsaKeyPair::from_private_key_der(algorithm, der))
        .ok()
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({}, redacted)", self.public.describe())
    }
}

impl PartialEq for PrivateKey {
    /// One public key has one private key.
    fn eq(&self, other: &Self) -> bool {
        self.public == other.public
    }
}
