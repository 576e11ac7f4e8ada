"""The certificate templates: what is fixed, and whether the API may say anything.

https://docs.aws.amazon.com/privateca/latest/userguide/template-varieties.html. The order of
operations is: template, then API, then CSR. Of the varieties there are the base templates and those
with APIPassthrough; another template is refused.
"""

import re

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID as EKU

from errors import ServiceError

ARN = re.compile(r"^arn:([a-z-]+):acm-pca:::template/(.+)$")


class Template:
    """What a template fixes."""

    def __init__(self, name, ca=False, path_length=None, usages=()):
        self.name = name
        self.ca = ca
        self.path_length = path_length
        self.usages = usages
        self.self_signed = name.startswith("RootCACertificate")
        self.api = "_APIPassthrough/" in name

    def key_usage(self):
        return x509.KeyUsage(
            digital_signature=True,
            key_encipherment=not self.ca,
            key_cert_sign=self.ca,
            crl_sign=self.ca,
            content_commitment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )


def known():
    found = []
    for variety in ["/V1", "_APIPassthrough/V1"]:
        found += [
            Template("EndEntityCertificate" + variety, usages=[EKU.SERVER_AUTH, EKU.CLIENT_AUTH]),
            Template("EndEntityClientAuthCertificate" + variety, usages=[EKU.CLIENT_AUTH]),
            Template("EndEntityServerAuthCertificate" + variety, usages=[EKU.SERVER_AUTH]),
            Template("RootCACertificate" + variety, ca=True),
        ]
        for length in range(4):
            name = f"SubordinateCACertificate_PathLen{length}{variety}"
            found.append(Template(name, ca=True, path_length=length))
    return {template.name: template for template in found}


KNOWN = known()


def template(arn, partition):
    """The template that an ARN of this partition names."""
    parsed = ARN.match(arn)
    if not parsed or parsed[1] != partition or parsed[2] not in KNOWN:
        raise ServiceError("InvalidArgsException", f"The certificate template {arn} is not supported.")
    return KNOWN[parsed[2]]
