use std::fmt;

/// What a certificate is for. Everything that a profile fixes is stated here once: backends build
/// from it, [`crate::checked`] compares with it, the audit explains with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Profile {
    /// A self-signed trust anchor. No path length: a cross-certified chain has two CAs below it.
    Root,
    /// A signer: a CA that issues leaves only (path length 0).
    Signer,
    /// The relay server's certificate.
    RelayServer,
    /// One agent's client certificate.
    AgentClient,
}

impl Profile {
    /// Whether the certificate is a CA's.
    pub fn is_ca(self) -> bool {
        matches!(self, Self::Root | Self::Signer)
    }

    /// `pathLenConstraint`, where there is one.
    pub fn path_len(self) -> Option<u32> {
        match self {
            Self::Signer => Some(0),
            Self::Root | Self::RelayServer | Self::AgentClient => None,
        }
    }

    /// Key usages that must be set (RFC 5280 section 4.2.1.3). `rsa` says whether the subject's key
    /// is an RSA key, which TLS 1.2 may also use for key encipherment.
    pub fn required_key_usage(self, rsa: bool) -> KeyUsage {
        match self {
            Self::Root | Self::Signer => KeyUsage::KEY_CERT_SIGN | KeyUsage::CRL_SIGN,
            Self::RelayServer | Self::AgentClient if rsa => {
                KeyUsage::DIGITAL_SIGNATURE | KeyUsage::KEY_ENCIPHERMENT
            }
            Self::RelayServer | Self::AgentClient => KeyUsage::DIGITAL_SIGNATURE,
        }
    }

    /// Key usages that may be set besides: some backends cannot leave them away.
    pub fn tolerated_key_usage(self) -> KeyUsage {
        match self {
            Self::Root | Self::Signer => KeyUsage::DIGITAL_SIGNATURE,
            Self::RelayServer | Self::AgentClient => KeyUsage::KEY_ENCIPHERMENT,
        }
    }

    /// The one extended key usage of a leaf (RFC 5280 section 4.2.1.12).
    pub fn extended_key_usage(self) -> Option<ExtendedKeyUsage> {
        match self {
            Self::Root | Self::Signer => None,
            Self::RelayServer => Some(ExtendedKeyUsage::ServerAuth),
            Self::AgentClient => Some(ExtendedKeyUsage::ClientAuth),
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Root => "root",
            Self::Signer => "signer",
            Self::RelayServer => "relay server",
            Self::AgentClient => "agent client",
        })
    }
}

/// Extended key usages that relay certificates carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExtendedKeyUsage {
    /// id-kp-serverAuth.
    ServerAuth,
    /// id-kp-clientAuth.
    ClientAuth,
}

impl ExtendedKeyUsage {
    /// The object identifier, dotted.
    pub fn oid(self) -> &'static str {
        match self {
            Self::ServerAuth => "1.3.6.1.5.5.7.3.1",
            Self::ClientAuth => "1.3.6.1.5.5.7.3.2",
        }
    }
}

/// A set of key usages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct KeyUsage(u16);

impl KeyUsage {
    /// digitalSignature.
    pub const DIGITAL_SIGNATURE: Self = Self(1);
    /// keyEncipherment.
    pub const KEY_ENCIPHERMENT: Self = Self(1 << 2);
    /// keyCertSign.
    pub const KEY_CERT_SIGN: Self = Self(1 << 5);
    /// cRLSign.
    pub const CRL_SIGN: Self = Self(1 << 6);

    /// From the bits as `x509-parser` numbers them (bit 0 = digitalSignature).
    pub(crate) fn from_bits(bits: u16) -> Self {
        Self(bits)
    }

    /// Whether every usage of `other` is in `self`.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl std::ops::BitOr for KeyUsage {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Display for KeyUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [&str; 9] = [
            "digitalSignature",
            "nonRepudiation",
            "keyEncipherment",
            "dataEncipherment",
            "keyAgreement",
            "keyCertSign",
            "cRLSign",
            "encipherOnly",
            "decipherOnly",
        ];
        let set = NAMES
            .iter()
            .enumerate()
            .filter(|(bit, _)| self.0 & (1 << bit) != 0)
            .map(|(_, name)| *name)
            .collect::<Vec<_>>();
        f.write_str(if set.is_empty() { "none" } else { "" })?;
        f.write_str(&set.join(", "))
    }
}
