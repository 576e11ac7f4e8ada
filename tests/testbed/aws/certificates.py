"""X.509: names, keys, requests and certificates, with `cryptography`."""

import datetime
import secrets

from cryptography import exceptions, x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from errors import ServiceError

UTC = datetime.timezone.utc
ATTRIBUTES = [
    ("Country", NameOID.COUNTRY_NAME),
    ("Organization", NameOID.ORGANIZATION_NAME),
    ("OrganizationalUnit", NameOID.ORGANIZATIONAL_UNIT_NAME),
    ("DistinguishedNameQualifier", NameOID.DN_QUALIFIER),
    ("State", NameOID.STATE_OR_PROVINCE_NAME),
    ("CommonName", NameOID.COMMON_NAME),
    ("SerialNumber", NameOID.SERIAL_NUMBER),
    ("Locality", NameOID.LOCALITY_NAME),
    ("Title", NameOID.TITLE),
    ("Surname", NameOID.SURNAME),
    ("GivenName", NameOID.GIVEN_NAME),
    ("Initials", NameOID.INITIALS),
    ("Pseudonym", NameOID.PSEUDONYM),
    ("GenerationQualifier", NameOID.GENERATION_QUALIFIER),
]
KEYS = {
    "RSA_2048": lambda: rsa.generate_private_key(65537, 2048),
    "RSA_3072": lambda: rsa.generate_private_key(65537, 3072),
    "RSA_4096": lambda: rsa.generate_private_key(65537, 4096),
    "EC_prime256v1": lambda: ec.generate_private_key(ec.SECP256R1()),
    "EC_secp384r1": lambda: ec.generate_private_key(ec.SECP384R1()),
    "EC_secp521r1": lambda: ec.generate_private_key(ec.SECP521R1()),
}
ALGORITHMS = {
    f"{digest}WITH{family}": (family, algorithm)
    for digest, algorithm in [("SHA256", hashes.SHA256), ("SHA384", hashes.SHA384), ("SHA512", hashes.SHA512)]
    for family in ["RSA", "ECDSA"]
}


def now():
    return datetime.datetime.now(UTC).replace(microsecond=0)


def subject(found):
    """A distinguished name from an ASN1Subject."""
    unknown = set(found) - {field for field, _ in ATTRIBUTES} - {"CustomAttributes"}
    if unknown:
        raise ServiceError("ValidationException", f"Subject: unknown fields {sorted(unknown)}")
    for field, oid in ATTRIBUTES:
        if len(found.get(field, "")) > (2 if field == "Country" else 64 if field == "CommonName" else 128):
            raise ServiceError("ValidationException", f"Subject: {field} is too long")
    attributes = [x509.NameAttribute(oid, found[field]) for field, oid in ATTRIBUTES if found.get(field)]
    if not attributes:
        raise ServiceError("InvalidArgsException", "The subject is empty.")
    return x509.Name(attributes)


def general_names(found):
    names = []
    for name in found:
        ((kind, value),) = name.items()
        if kind == "DnsName":
            names.append(x509.DNSName(value))
        elif kind == "UniformResourceIdentifier":
            names.append(x509.UniformResourceIdentifier(value))
        elif kind == "Rfc822Name":
            names.append(x509.RFC822Name(value))
        else:
            raise ServiceError("InvalidArgsException", f"SubjectAlternativeNames: {kind} is not supported here")
    return x509.SubjectAlternativeName(names)


def algorithm(name, key):
    """The hash of a signing algorithm that fits a key."""
    if name not in ALGORITHMS:
        raise ServiceError("ValidationException", f"Value '{name}' at 'signingAlgorithm' is not valid")
    family, digest = ALGORITHMS[name]
    if (family == "RSA") != isinstance(key, (rsa.RSAPrivateKey, rsa.RSAPublicKey)):
        raise ServiceError(
            "InvalidArgsException", "The signing algorithm does not match the key algorithm of the certificate authority."
        )
    return digest()


def request(pem):
    """A CSR that is signed by its own key, of a kind that the service takes."""
    try:
        csr = x509.load_pem_x509_csr(pem)
        sound = csr.is_signature_valid
        key = csr.public_key()
        list(csr.extensions)
    except (ValueError, exceptions.UnsupportedAlgorithm) as error:
        raise ServiceError("MalformedCSRException", f"The certificate signing request is invalid: {error}") from None
    usable = isinstance(key, ec.EllipticCurvePublicKey) or (isinstance(key, rsa.RSAPublicKey) and key.key_size >= 2048)
    if not sound or not usable:
        raise ServiceError("MalformedCSRException", "The certificate signing request has an unsupported key or signature.")
    if not list(csr.subject) and not extension(csr, x509.SubjectAlternativeName):
        raise ServiceError(
            "MalformedCSRException", "A CSR must provide either a subject name or a subject alternative name."
        )
    return csr


def extension(source, kind):
    try:
        return source.extensions.get_extension_for_class(kind)
    except x509.ExtensionNotFound:
        return None


def issue(issuer_key, issuer, digest, csr, template, api, not_before, not_after):
    """A certificate by a template. `issuer` is None for a root's own."""
    api_extensions = api.get("Extensions", {})
    name = csr.subject
    if template.api and api.get("Subject"):
        name = subject(api["Subject"])
    public = csr.public_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer.subject if issuer else name)
        .public_key(public)
        .serial_number(secrets.randbits(126) | 1 << 126)
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(x509.BasicConstraints(template.ca, template.path_length), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )
    if issuer:
        ski = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        aki = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ski)
        builder = builder.add_extension(aki, critical=False)
    builder = builder.add_extension(template.key_usage(), critical=True)
    if template.usages:
        builder = builder.add_extension(x509.ExtendedKeyUsage(template.usages), critical=False)
    if not template.ca:
        names = extension(csr, x509.SubjectAlternativeName)
        if template.api and api_extensions.get("SubjectAlternativeNames"):
            value = general_names(api_extensions["SubjectAlternativeNames"])
            builder = builder.add_extension(value, critical=not list(name))
        elif names:
            builder = builder.add_extension(names.value, critical=not list(name))
    return builder.sign(issuer_key, digest)


def is_signed_by(certificate, issuer):
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, exceptions.InvalidSignature):
        return False
    return True


def pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM).decode().strip()


def load_many(text):
    try:
        return x509.load_pem_x509_certificates(text)
    except ValueError as error:
        raise ServiceError("MalformedCertificateException", f"The certificate is malformed: {error}") from None


def same_key(one, other):
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return one.public_bytes(*form) == other.public_bytes(*form)


def new_csr(key, name, digest):
    csr = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, digest)
    return csr.public_bytes(serialization.Encoding.PEM).decode()


