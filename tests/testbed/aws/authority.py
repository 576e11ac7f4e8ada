"""One private CA and what it has issued."""

import datetime
import time
import uuid

import certificates
from certificates import UTC, KEYS
from errors import ServiceError

SHORT_LIVED_LIMIT = datetime.timedelta(days=7)
MAX_CERTIFICATE = 32 * 1024
MAX_CHAIN = 2 * 1024 * 1024


class Issued:
    """A certificate; it can be fetched from `ready` on."""

    def __init__(self, arn, certificate, chain, ready):
        self.arn = arn
        self.certificate = certificate
        self.chain = chain
        self.ready = ready
        self.revoked = False


class Authority:
    """A certificate authority with its key, its state and its issued certificates."""

    def __init__(self, account, region, partition, kind, configuration, usage_mode, tags, ready):
        self.arn = f"arn:{partition}:acm-pca:{region}:{account}:certificate-authority/{uuid.uuid4()}"
        self.account = account
        self.partition = partition
        self.kind = kind
        self.configuration = configuration
        self.usage_mode = usage_mode
        self.tags = tags
        self.created = time.time()
        self.ready = ready
        self.state = "PENDING_CERTIFICATE"
        self.certificate = None
        self.chain = []
        self.issued = {}
        self.revocations = 0
        self.shared_with = {}
        self.deleted_at = None
        make = KEYS.get(configuration["KeyAlgorithm"])
        if not make:
            raise ServiceError("ValidationException", f"Value at 'keyAlgorithm' is not valid: {configuration['KeyAlgorithm']}")
        self.subject = certificates.subject(configuration["Subject"])
        self.key = make()
        digest = certificates.algorithm(configuration["SigningAlgorithm"], self.key)
        self.csr = certificates.new_csr(self.key, self.subject, digest)

    @property
    def status(self):
        if time.time() < self.ready:
            return "CREATING"
        if self.state == "ACTIVE" and self.certificate.not_valid_after_utc < datetime.datetime.now(UTC):
            return "EXPIRED"
        return self.state

    def describe(self):
        found = {
            "Arn": self.arn,
            "OwnerAccount": self.account,
            "CreatedAt": self.created,
            "LastStateChangeAt": self.created,
            "Type": self.kind,
            "Status": self.status,
            "CertificateAuthorityConfiguration": self.configuration,
            "RevocationConfiguration": {"CrlConfiguration": {"Enabled": False}},
            "KeyStorageSecurityStandard": "FIPS_140_2_LEVEL_3_OR_HIGHER",
            "UsageMode": self.usage_mode,
        }
        if self.certificate:
            found["Serial"] = f"{self.certificate.serial_number:x}"
            found["NotBefore"] = self.certificate.not_valid_before_utc.timestamp()
            found["NotAfter"] = self.certificate.not_valid_after_utc.timestamp()
        if self.deleted_at:
            found["RestorableUntil"] = self.deleted_at
        return found

    def require(self, *states):
        if self.status not in states:
            raise ServiceError(
                "InvalidStateException",
                f"The certificate authority {self.arn} is in state {self.status}, which does not allow this operation.",
            )

    def request(self):
        if self.status == "CREATING":
            raise ServiceError("RequestInProgressException", "The request to create the CA is still in progress.")
        self.require("PENDING_CERTIFICATE", "ACTIVE", "DISABLED", "EXPIRED")
        return self.csr

    def issue(self, csr, algorithm, template, api, not_before, not_after, ready):
        if template.self_signed:
            self.require("PENDING_CERTIFICATE", "ACTIVE", "EXPIRED")
        else:
            self.require("ACTIVE")
        digest = certificates.algorithm(algorithm, self.key)
        request = certificates.request(csr)
        now = certificates.now()
        if not_after <= now:
            raise ServiceError("ValidationException", "The certificate validity ends in the past.")
        if not_before >= not_after:
            raise ServiceError("ValidationException", "ValidityNotBefore is not before the end of the validity.")
        if template.self_signed:
            if self.kind != "ROOT" or not certificates.same_key(request.public_key(), self.key.public_key()):
                raise ServiceError("InvalidArgsException", "A root certificate is issued by a root CA for its own CSR only.")
        else:
            if not_after > self.certificate.not_valid_after_utc:
                raise ServiceError(
                    "ValidationException",
                    "The certificate validity specified exceeds the certificate authority validity.",
                )
            limit = certificates.extension(self.certificate, certificates.x509.BasicConstraints).value.path_length
            if template.ca and limit is not None and template.path_length >= limit:
                raise ServiceError(
                    "ValidationException",
                    f"The path length {template.path_length} is not below the {limit} of the issuing CA.",
                )
        if self.usage_mode == "SHORT_LIVED_CERTIFICATE" and not template.self_signed:
            if template.ca:
                raise ServiceError("ValidationException", "A CA in short-lived certificate mode cannot issue CA certificates.")
            if not_after - now > SHORT_LIVED_LIMIT:
                raise ServiceError(
                    "ValidationException",
                    "The validity of a certificate issued by a CA in short-lived certificate mode is limited to 7 days.",
                )
        issuer = None if template.self_signed else self.certificate
        certificate = certificates.issue(self.key, issuer, digest, request, template, api, not_before, not_after)
        chain = [] if template.self_signed else [self.certificate, *self.chain]
        issued = Issued(f"{self.arn}/certificate/{certificate.serial_number:032x}", certificate, chain, ready)
        self.issued[issued.arn] = issued
        return issued

    def import_certificate(self, text, chain_text):
        self.require("PENDING_CERTIFICATE", "ACTIVE", "DISABLED", "EXPIRED")
        if len(text) > MAX_CERTIFICATE or len(chain_text) > MAX_CHAIN:
            raise ServiceError("MalformedCertificateException", "The certificate is larger than 32 KB, or its chain than 2 MB.")
        loaded = certificates.load_many(text)
        if len(loaded) != 1:
            raise ServiceError("MalformedCertificateException", "There is not exactly one certificate.")
        certificate = loaded[0]
        chain = certificates.load_many(chain_text) if chain_text else []
        basic = certificates.extension(certificate, certificates.x509.BasicConstraints)
        if not basic or not basic.critical or not basic.value.ca:
            raise ServiceError("MalformedCertificateException", "The certificate is not a CA certificate (basicConstraints).")
        own_key = certificates.same_key(certificate.public_key(), self.key.public_key())
        if not own_key or certificate.subject != self.subject:
            raise ServiceError("CertificateMismatchException", "The certificate does not match the CSR of the CA.")
        self_signed = certificate.issuer == certificate.subject and certificates.is_signed_by(certificate, certificate)
        if self.kind == "ROOT":
            if not self_signed or chain:
                raise ServiceError("InvalidArgsException", "Only a self-signed certificate without a chain can be imported as a root CA.")
        else:
            self.check_chain(certificate, chain, self_signed)
        if not certificate.not_valid_before_utc <= datetime.datetime.now(UTC) <= certificate.not_valid_after_utc:
            raise ServiceError("InvalidArgsException", "The certificate is not valid now.")
        self.certificate, self.chain = certificate, chain
        if self.state != "DISABLED":
            self.state = "ACTIVE"

    @staticmethod
    def check_chain(certificate, chain, self_signed):
        if self_signed:
            raise ServiceError("InvalidArgsException", "A self-signed certificate cannot be imported as a subordinate CA.")
        if not chain:
            raise ServiceError("InvalidArgsException", "The chain of a subordinate CA certificate is required.")
        links = [certificate, *chain]
        for below, above in zip(links, [*chain, chain[-1]]):
            if not certificates.is_signed_by(below, above):
                raise ServiceError(
                    "CertificateMismatchException",
                    "The chain is not in order, or does not end with a self-signed root CA certificate.",
                )
        for depth, above in enumerate(chain):
            limit = certificates.extension(above, certificates.x509.BasicConstraints)
            if not limit or not limit.value.ca:
                raise ServiceError("CertificateMismatchException", "The chain contains a certificate that is not a CA's.")
            if limit.value.path_length is not None and limit.value.path_length < depth:
                raise ServiceError("CertificateMismatchException", "The chain is longer than a path length in it allows.")

