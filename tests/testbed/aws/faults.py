"""Faults that a test orders for an account."""

import time

import certificates
from errors import Disconnect, ServiceError


class Fault:
    """One kind of misbehaviour, for calls of one operation (`*`: of all), so many times."""

    EFFECTS = ("before", "after", "slow", "throttle", "error", "wrong-ca", "shuffled-chain", "rootless-chain")

    def __init__(self, order):
        self.operation = order.get("operation", "*")
        self.effect = order["effect"]
        self.times = order.get("times")
        self.seconds = order.get("seconds", 0)
        self.code = order.get("code", "InternalFailure")
        self.message = order.get("message", "An internal error has occurred.")
        self.status = order.get("status", 500)
        self.headers = order.get("headers", {})
        if self.effect not in self.EFFECTS:
            raise ValueError(f"unknown effect {self.effect}")

    def take(self, operation):
        """Whether this call is hit."""
        if self.operation not in ("*", operation) or self.times == 0:
            return False
        if self.times is not None:
            self.times -= 1
        return True


def run(fault, call):
    """Carries out a call under a fault, or without one."""
    if fault is None:
        return call()
    if fault.effect == "before":
        raise Disconnect
    if fault.effect == "throttle":
        raise ServiceError("ThrottlingException", "Rate exceeded")
    if fault.effect == "error":
        raise ServiceError(fault.code, fault.message, fault.status, fault.headers)
    if fault.effect == "slow":
        time.sleep(fault.seconds)
        return call()
    answer = call()
    if fault.effect == "after":
        raise Disconnect
    return distorted(fault.effect, answer)


def distorted(effect, answer):
    """A wrong answer to GetCertificate or GetCertificateAuthorityCertificate."""
    if "Certificate" not in answer:
        return answer
    chain = certificates.load_many(answer.get("CertificateChain", "").encode()) if "CertificateChain" in answer else []
    certificate = answer["Certificate"]
    if effect == "wrong-ca":
        certificate = certificates.pem(stranger(certificates.load_many(certificate.encode())[0]))
    elif effect == "shuffled-chain":
        chain = [*reversed(chain), *chain]
    else:
        chain = [one for one in chain if one.subject != one.issuer]
    return {"Certificate": certificate, "CertificateChain": "\n".join(map(certificates.pem, chain))}


def stranger(certificate):
    """The same certificate, signed by somebody else."""
    key = certificates.KEYS["EC_prime256v1"]()
    builder = (
        certificates.x509.CertificateBuilder()
        .subject_name(certificate.subject)
        .issuer_name(certificate.issuer)
        .public_key(certificate.public_key())
        .serial_number(certificate.serial_number)
        .not_valid_before(certificate.not_valid_before_utc)
        .not_valid_after(certificate.not_valid_after_utc)
    )
    for extension in certificate.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    return builder.sign(key, certificates.hashes.SHA256())
