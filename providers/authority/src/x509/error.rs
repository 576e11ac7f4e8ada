/// Why bytes are not the X.509 value they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum X509Error {
    /// No PEM section of the wanted kind in the text.
    #[error("no PEM {wanted} section found")]
    PemMissing {
        /// The section label that was looked for.
        wanted: &'static str,
    },
    /// The text looks like PEM but is not.
    #[error("malformed PEM: {reason}")]
    PemMalformed {
        /// What the decoder objected to.
        reason: String,
    },
    /// More input than any honest value of this kind needs.
    #[error("{what} is {size} bytes, more than the {limit} that are accepted")]
    TooLarge {
        /// The kind of value.
        what: &'static str,
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The DER structure is broken.
    #[error("malformed {what}: {reason}")]
    Malformed {
        /// The kind of value.
        what: &'static str,
        /// What the parser objected to.
        reason: String,
    },
    /// A private key is encrypted; nobody is there to type the passphrase.
    #[error("the private key is encrypted; store it as plain PKCS#8")]
    EncryptedKey,
    /// An encrypted private key does not open.
    #[error("the passphrase does not open the private key")]
    WrongPassphrase,
    /// The key type is none that relay-pki works with.
    #[error(
        "unsupported key: {found}; use one of ecdsa-p256, ecdsa-p384, rsa-2048, rsa-3072, rsa-4096, ed25519"
    )]
    UnsupportedKey {
        /// The algorithm found.
        found: String,
    },
    /// A signature algorithm that is weak or cannot be verified here.
    #[error("unsupported signature algorithm {found}")]
    UnsupportedSignature {
        /// The algorithm found.
        found: String,
    },
    /// The signature does not verify.
    #[error("{what} has an invalid signature")]
    BadSignature {
        /// The kind of value.
        what: &'static str,
    },
    /// A CSR asks for something that is never given on request.
    #[error("the certificate request asks for {what}, which is never granted from a request")]
    ForbiddenRequest {
        /// What it asks for.
        what: &'static str,
    },
    /// A CSR asks for another certificate than policy grants, of a backend that reads the CSR.
    #[error("the certificate request asks for {found}, but policy says {wanted}")]
    OtherRequest {
        /// What it asks for.
        found: String,
        /// What it has to ask for.
        wanted: String,
    },
    /// A name is not valid.
    #[error("{value:?} is not a valid {what}: {reason}")]
    InvalidName {
        /// The kind of name.
        what: &'static str,
        /// The text given.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Something that must not be empty is.
    #[error("{what} is empty")]
    Empty {
        /// The kind of value.
        what: &'static str,
    },
    /// `not_before` is not before `not_after`.
    #[error("validity ends at {not_after}, before it starts at {not_before}")]
    InvalidValidity {
        /// Start.
        not_before: jiff::Timestamp,
        /// End.
        not_after: jiff::Timestamp,
    },
    /// The cryptographic library refused.
    #[error("{operation} failed in the cryptographic library")]
    Crypto {
        /// What was being done.
        operation: &'static str,
    },
}
