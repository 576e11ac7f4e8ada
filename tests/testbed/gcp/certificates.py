"""X.509 with `cryptography`: names, keys, requests and certificates from a CertificateConfig."""

import datetime
import ipaddress
import secrets

from cryptography import exceptions, x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from errors import invalid

UTC = datetime.timezone.utc
KEYS = {
    "EC_P256_SHA256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "EC_P384_SHA384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "RSA_PKCS1_2048_SHA256": lambda: rsa.generate_private_key(65537, 2048),
    "RSA_PKCS1_3072_SHA256": lambda: rsa.generate_private_key(65537, 3072),
    "RSA_PKCS1_4096_SHA256": lambda: rsa.generate_private_key(65537, 4096),
}
DIGESTS = {algorithm: hashes.SHA384() if "SHA384" in algorithm else hashes.SHA256() for algorithm in KEYS}
# In the order in which the service writes them.
NAMES = [
    ("countryCode", NameOID.COUNTRY_NAME),
    ("province", NameOID.STATE_OR_PROVINCE_NAME),
    ("locality", NameOID.LOCALITY_NAME),
    ("streetAddress", NameOID.STREET_ADDRESS),
    ("postalCode", NameOID.POSTAL_CODE),
    ("organization", NameOID.ORGANIZATION_NAME),
    ("organizationalUnit", NameOID.ORGANIZATIONAL_UNIT_NAME),
    ("commonName", NameOID.COMMON_NAME),
]
USAGES = [
    ("digitalSignature", "digital_signature"),
    ("contentCommitment", "content_commitment"),
    ("keyEncipherment", "key_encipherment"),
    ("dataEncipherment", "data_encipherment"),
    ("keyAgreement", "key_agreement"),
    ("certSign", "key_cert_sign"),
    ("crlSign", "crl_sign"),
    ("encipherOnly", "encipher_only"),
    ("decipherOnly", "decipher_only"),
]
EXTENDED = [
    ("serverAuth", ExtendedKeyUsageOID.SERVER_AUTH),
    ("clientAuth", ExtendedKeyUsageOID.CLIENT_AUTH),
    ("codeSigning", ExtendedKeyUsageOID.CODE_SIGNING),
    ("emailProtection", ExtendedKeyUsageOID.EMAIL_PROTECTION),
    ("timeStamping", ExtendedKeyUsageOID.TIME_STAMPING),
    ("ocspSigning", ExtendedKeyUsageOID.OCSP_SIGNING),
]


def now():
    return datetime.datetime.now(UTC).replace(microsecond=0)


def pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def parse(text, what):
    try:
        return x509.load_pem_x509_certificate(text.encode())
    except ValueError:
        raise invalid(f"{what} is not a PEM certificate.") from None


def name(config):
    subject = config.get("subjectConfig", {}).get("subject", {})
    parts = [x509.NameAttribute(oid, subject[field]) for field, oid in NAMES if subject.get(field)]
    return x509.Name(parts)


def alternative_names(config):
    found = config.get("subjectConfig", {}).get("subjectAltName", {})
    names = [x509.DNSName(value) for value in found.get("dnsNames", [])]
    names += [x509.UniformResourceIdentifier(value) for value in found.get("uris", [])]
    names += [x509.RFC822Name(value) for value in found.get("emailAddresses", [])]
    names += [x509.IPAddress(ipaddress.ip_address(value)) for value in found.get("ipAddresses", [])]
    return names


def public_key(config):
    found = config.get("publicKey")
    if not found or found.get("format") != "PEM":
        raise invalid("certificate.config.public_key must be specified, with format PEM.")
    try:
        return acceptable(serialization.load_pem_public_key(found["key"]))
    except (ValueError, exceptions.UnsupportedAlgorithm):
        raise invalid("certificate.config.public_key.key is not a PEM public key.") from None


def acceptable(key):
    """A subject's key, if the service signs for its kind."""
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= 2048:
        return key
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in ("secp256r1", "secp384r1"):
        return key
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key
    raise invalid("The public key is of a type that is not supported.")


def request(text):
    try:
        found = x509.load_pem_x509_csr(text.encode())
    except ValueError:
        raise invalid("certificate.pem_csr is not a PEM certificate signing request.") from None
    if not found.is_signature_valid:
        raise invalid("The signature of certificate.pem_csr is invalid.")
    return found


def extensions(config, key):
    """(extension, critical) as a CertificateConfig asks for them."""
    parameters = config.get("x509Config", {})
    options = parameters.get("caOptions", {})
    yield x509.SubjectKeyIdentifier.from_public_key(key) if "subjectKeyId" not in config else (
        x509.SubjectKeyIdentifier(bytes.fromhex(config["subjectKeyId"]["keyId"]))
    ), False
    if "isCa" in options:
        is_ca = options["isCa"]
        length = options.get("maxIssuerPathLength")
        if length is not None and not is_ca:
            raise invalid("max_issuer_path_length can only be set if is_ca is true.")
        yield x509.BasicConstraints(ca=is_ca, path_length=length), True
    usage = parameters.get("keyUsage", {})
    base = usage.get("baseKeyUsage")
    if base and any(base.values()):
        yield x509.KeyUsage(**{ours: base.get(theirs, False) for theirs, ours in USAGES}), True
    extended = [oid for field, oid in EXTENDED if usage.get("extendedKeyUsage", {}).get(field)]
    if extended:
        yield x509.ExtendedKeyUsage(extended), False
    names = alternative_names(config)
    if names:
        yield x509.SubjectAlternativeName(names), not list(name(config))


def check_ca_config(config):
    """What the config of a CertificateAuthority has to say."""
    parameters = config.get("x509Config", {})
    if parameters.get("caOptions", {}).get("isCa") is not True:
        raise invalid("certificate_authority.config.x509_config.ca_options.is_ca must be true.")
    base = parameters.get("keyUsage", {}).get("baseKeyUsage", {})
    if not (base.get("certSign") and base.get("crlSign")):
        raise invalid("certificate_authority.config must have the key usages cert_sign and crl_sign.")
    subject = config.get("subjectConfig", {}).get("subject", {})
    if not subject.get("commonName") or not subject.get("organization"):
        raise invalid("certificate_authority.config.subject_config must have common_name and organization.")


def build(subject, key, found, not_before, not_after, issuer):
    """A certificate. `issuer` is (name, private key, digest, key identifier)."""
    issuer_name, issuer_key, digest, identifier = issuer
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer_name)
        .public_key(key)
        .serial_number((1 << 158) | secrets.randbits(158))
        .not_valid_before(not_before)
        .not_valid_after(not_after)
    )
    for extension, critical in found:
        builder = builder.add_extension(extension, critical)
    if identifier is not None:
        builder = builder.add_extension(identifier, False)
    return builder.sign(issuer_key, digest)


def issued(certificate, issuer):
    try:
        certificate.verify_directly_issued_by(issuer)
    except (exceptions.InvalidSignature, ValueError, TypeError):
        return False
    return True


def key_identifier(certificate):
    found = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(found.value)
