"""The JSON form of the messages (proto3): what they may contain, and enums as names or numbers.

A field that the service does not have is an error, as it is there.
"""

import base64
import binascii
import datetime
import re

from errors import invalid

UTC = datetime.timezone.utc

ENUMS = {
    "Tier": ["TIER_UNSPECIFIED", "ENTERPRISE", "DEVOPS"],
    "Type": ["TYPE_UNSPECIFIED", "SELF_SIGNED", "SUBORDINATE"],
    "State": ["STATE_UNSPECIFIED", "ENABLED", "DISABLED", "STAGED", "AWAITING_USER_ACTIVATION", "DELETED"],
    "SignHashAlgorithm": [
        "SIGN_HASH_ALGORITHM_UNSPECIFIED",
        "RSA_PSS_2048_SHA256",
        "RSA_PSS_3072_SHA256",
        "RSA_PSS_4096_SHA256",
        "EC_P256_SHA256",
        "EC_P384_SHA384",
        "RSA_PKCS1_2048_SHA256",
        "RSA_PKCS1_3072_SHA256",
        "RSA_PKCS1_4096_SHA256",
    ],
    "KeyFormat": ["KEY_FORMAT_UNSPECIFIED", "PEM"],
    "SubjectRequestMode": ["SUBJECT_REQUEST_MODE_UNSPECIFIED", "DEFAULT", "REFLECTED_SPIFFE", "RDN_SEQUENCE"],
    "RevocationReason": [
        "REVOCATION_REASON_UNSPECIFIED",
        "KEY_COMPROMISE",
        "CERTIFICATE_AUTHORITY_COMPROMISE",
        "AFFILIATION_CHANGED",
        "SUPERSEDED",
        "CESSATION_OF_OPERATION",
        "CERTIFICATE_HOLD",
        "PRIVILEGE_WITHDRAWN",
        "ATTRIBUTE_AUTHORITY_COMPROMISE",
    ],
}

# Fields of each message: a scalar, an enum, a message, [of these], or {of these}. A "!" marks what only the
# service writes: it is ignored in requests.
MESSAGES = {
    "CaPool": {
        "name": "string",
        "tier": "Tier",
        "issuancePolicy": "IssuancePolicy",
        "publishingOptions": "PublishingOptions",
        "labels": ["map", "string"],
    },
    "PublishingOptions": {"publishCaCert": "bool", "publishCrl": "bool"},
    "IssuancePolicy": {
        "backdateDuration": "duration",
        "maximumLifetime": "duration",
        "allowRequesterSpecifiedNotBeforeTime": "bool",
        "allowedIssuanceModes": "IssuanceModes",
    },
    "IssuanceModes": {"allowCsrBasedIssuance": "bool", "allowConfigBasedIssuance": "bool"},
    "CertificateAuthority": {
        "name": "string",
        "type": "Type",
        "config": "CertificateConfig",
        "lifetime": "duration",
        "keySpec": "KeyVersionSpec",
        "subordinateConfig": "SubordinateConfig",
        "gcsBucket": "string",
        "labels": ["map", "string"],
        "tier": "!Tier",
        "state": "!State",
        "pemCaCertificates": "![string]",
        "createTime": "!timestamp",
        "updateTime": "!timestamp",
        "deleteTime": "!timestamp",
        "expireTime": "!timestamp",
    },
    "KeyVersionSpec": {"cloudKmsKeyVersion": "string", "algorithm": "SignHashAlgorithm"},
    "SubordinateConfig": {"certificateAuthority": "string", "pemIssuerChain": "SubordinateConfigChain"},
    "SubordinateConfigChain": {"pemCertificates": ["list", "string"]},
    "Certificate": {
        "name": "string",
        "pemCsr": "string",
        "config": "CertificateConfig",
        "lifetime": "duration",
        "certificateTemplate": "string",
        "subjectMode": "SubjectRequestMode",
        "labels": ["map", "string"],
        "requestedNotBeforeTime": "timestamp",
        "issuerCertificateAuthority": "!string",
        "revocationDetails": "!RevocationDetails",
        "pemCertificate": "!string",
        "pemCertificateChain": "![string]",
        "createTime": "!timestamp",
        "updateTime": "!timestamp",
    },
    "RevocationDetails": {"revocationState": "RevocationReason", "revocationTime": "timestamp"},
    "CertificateConfig": {
        "subjectConfig": "SubjectConfig",
        "x509Config": "X509Parameters",
        "publicKey": "PublicKey",
        "subjectKeyId": "KeyId",
    },
    "KeyId": {"keyId": "string"},
    "SubjectConfig": {"subject": "Subject", "subjectAltName": "SubjectAltNames"},
    "Subject": {
        "commonName": "string",
        "countryCode": "string",
        "organization": "string",
        "organizationalUnit": "string",
        "locality": "string",
        "province": "string",
        "streetAddress": "string",
        "postalCode": "string",
    },
    "SubjectAltNames": {
        "dnsNames": ["list", "string"],
        "uris": ["list", "string"],
        "emailAddresses": ["list", "string"],
        "ipAddresses": ["list", "string"],
    },
    "PublicKey": {"key": "bytes", "format": "KeyFormat"},
    "X509Parameters": {"keyUsage": "KeyUsage", "caOptions": "CaOptions"},
    "CaOptions": {"isCa": "bool", "maxIssuerPathLength": "int32"},
    "KeyUsage": {"baseKeyUsage": "KeyUsageOptions", "extendedKeyUsage": "ExtendedKeyUsageOptions"},
    "KeyUsageOptions": {
        name: "bool"
        for name in [
            "digitalSignature",
            "contentCommitment",
            "keyEncipherment",
            "dataEncipherment",
            "keyAgreement",
            "certSign",
            "crlSign",
            "encipherOnly",
            "decipherOnly",
        ]
    },
    "ExtendedKeyUsageOptions": {
        name: "bool"
        for name in ["serverAuth", "clientAuth", "codeSigning", "emailProtection", "timeStamping", "ocspSigning"]
    },
    "ActivateCertificateAuthorityRequest": {
        "name": "string",
        "pemCaCertificate": "string",
        "subordinateConfig": "SubordinateConfig",
        "requestId": "string",
    },
    "DisableCertificateAuthorityRequest": {
        "name": "string",
        "requestId": "string",
        "ignoreDependentResources": "bool",
    },
    "EnableCertificateAuthorityRequest": {"name": "string", "requestId": "string"},
    "UndeleteCertificateAuthorityRequest": {"name": "string", "requestId": "string"},
    "FetchCaCertsRequest": {"caPool": "string", "requestId": "string"},
    "TestIamPermissionsRequest": {"resource": "string", "permissions": ["list", "string"]},
    "RevokeCertificateRequest": {"name": "string", "reason": "RevocationReason", "requestId": "string"},
}


def decode(kind, value, path):
    """A value of a request: enums become names, durations seconds, times and bytes what they are."""
    if value is None:
        return None
    if isinstance(kind, list):
        shape, of = kind
        if not isinstance(value, list if shape == "list" else dict):
            raise invalid(f"Invalid value at '{path}' ({shape} of {of}).")
        if shape == "list":
            return [decode(of, part, f"{path}[{index}]") for index, part in enumerate(value)]
        return {key: decode(of, part, f"{path}.{key}") for key, part in value.items()}
    if kind in MESSAGES:
        return message(kind, value, path)
    try:
        return scalar(kind, value)
    except (ValueError, TypeError, KeyError, IndexError, binascii.Error):
        raise invalid(f"Invalid value at '{path}' ({kind}), {value!r}") from None


def message(kind, value, path):
    if not isinstance(value, dict):
        raise invalid(f"Invalid value at '{path}' ({kind}).")
    fields = MESSAGES[kind]
    found = {}
    for name, part in value.items():
        camel = re.sub("_([a-z])", lambda match: match.group(1).upper(), name)
        if camel not in fields:
            raise invalid(
                f'Invalid JSON payload received. Unknown name "{name}" at \'{path}\': Cannot find field.'
            )
        of = fields[camel]
        if isinstance(of, str) and of.startswith("!"):
            continue
        part = decode(of, part, f"{path}.{camel}")
        if part is not None:
            found[camel] = part
    return found


def scalar(kind, value):
    if kind in ENUMS:
        return ENUMS[kind][value] if isinstance(value, int) else ENUMS[kind][ENUMS[kind].index(value)]
    if kind == "bool":
        if not isinstance(value, bool):
            raise ValueError
        return value
    if kind == "int32":
        return int(value)
    if kind == "string":
        if not isinstance(value, str):
            raise ValueError
        return value
    if kind == "bytes":
        return base64.b64decode(value, validate=True)
    if kind == "duration":
        return float(re.fullmatch(r"(-?\d+(\.\d{1,9})?)s", value).group(1)) if value else 0.0
    if kind == "timestamp":
        whole = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{1,9})?Z", value)
        if not whole:
            raise ValueError
        return datetime.datetime.fromisoformat(whole.group(1)).replace(tzinfo=UTC)
    raise KeyError(kind)


def encode(kind, value, numbers):
    """A value of an answer; `numbers` is for `enum-encoding=int`."""
    if isinstance(kind, str) and kind.startswith("!"):
        kind = kind[1:]
    if kind == "[string]":
        return list(value)
    if isinstance(kind, list):
        shape, of = kind
        if shape == "list":
            return [encode(of, part, numbers) for part in value]
        return {key: encode(of, part, numbers) for key, part in value.items()}
    if kind in MESSAGES:
        fields = MESSAGES[kind]
        return {name: encode(fields[name], part, numbers) for name, part in value.items() if part is not None}
    if kind in ENUMS:
        return ENUMS[kind].index(value) if numbers else value
    if kind == "bytes":
        return base64.b64encode(value).decode()
    if kind == "duration":
        return f"{value:.9f}".rstrip("0").rstrip(".") + "s"
    if kind == "timestamp":
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return value
