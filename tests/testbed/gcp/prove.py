"""Google's own client against the emulator: whether it behaves as the service does. A test runs this.

Over REST the client tells errors apart by their HTTP status only.

Usage: prove.py HOST:PORT POOL OTHER_POOL KEY_FILE. The first pool is Enterprise, the other DevOps.
"""

import datetime
import sys
import uuid

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from google.api_core import exceptions
from google.cloud.security import privateca_v1 as cas
from google.cloud.security.privateca_v1.services.certificate_authority_service.transports import rest
from google.oauth2 import service_account
from google.protobuf import duration_pb2, timestamp_pb2

SCOPES = ["https://www.googleapis.com/auth/cloud-platform"]
CA = cas.CertificateAuthority
DAY = 24 * 3600


def client(host, key):
    credentials = service_account.Credentials.from_service_account_file(key, scopes=SCOPES)
    # As with every key file: a token signed by the key itself.
    credentials = credentials.with_always_use_jwt_access(True)
    transport = rest.CertificateAuthorityServiceRestTransport(host=host, credentials=credentials, url_scheme="http")
    return cas.CertificateAuthorityServiceClient(transport=transport)


def ca(kind, name, days):
    return CA(
        type_=kind,
        lifetime=duration_pb2.Duration(seconds=days * DAY),
        key_spec=CA.KeyVersionSpec(algorithm=CA.SignHashAlgorithm.EC_P256_SHA256),
        labels={"purpose": "proof"},
        config=cas.CertificateConfig(
            subject_config=cas.CertificateConfig.SubjectConfig(
                subject=cas.Subject(common_name=name, organization="proof"),
            ),
            x509_config=cas.X509Parameters(
                ca_options=cas.X509Parameters.CaOptions(is_ca=True),
                key_usage=cas.KeyUsage(base_key_usage=cas.KeyUsage.KeyUsageOptions(cert_sign=True, crl_sign=True)),
            ),
        ),
    )


def leaf(key, seconds, start=None):
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    certificate = cas.Certificate(
        lifetime=duration_pb2.Duration(seconds=seconds),
        config=cas.CertificateConfig(
            subject_config=cas.CertificateConfig.SubjectConfig(
                subject=cas.Subject(common_name="cluster-1"),
                subject_alt_name=cas.SubjectAltNames(dns_names=["cluster-1"]),
            ),
            x509_config=cas.X509Parameters(
                ca_options=cas.X509Parameters.CaOptions(is_ca=False),
                key_usage=cas.KeyUsage(
                    base_key_usage=cas.KeyUsage.KeyUsageOptions(digital_signature=True),
                    extended_key_usage=cas.KeyUsage.ExtendedKeyUsageOptions(client_auth=True),
                ),
            ),
            public_key=cas.PublicKey(key=public, format_=cas.PublicKey.KeyFormat.PEM),
        ),
    )
    if start:
        certificate.requested_not_before_time = timestamp_pb2.Timestamp(seconds=int(start.timestamp()))
    return certificate


def parse(text):
    return x509.load_pem_x509_certificate(text.encode())


def refused(kind, call, *words):
    try:
        call()
    except kind as error:
        for word in words:
            assert word in str(error), f"{word!r} is not in {error}"
        return
    raise AssertionError(f"{kind.__name__} was expected")


def make(service, pool, name, kind, days=365):
    request = cas.CreateCertificateAuthorityRequest(
        parent=pool, certificate_authority_id=name, certificate_authority=ca(kind, name, days)
    )
    operation = service.create_certificate_authority(request)
    refused(exceptions.Conflict, lambda: service.create_certificate_authority(request))
    return operation.result(timeout=60)


def create(service, pool, certificate, **fields):
    return service.create_certificate(
        cas.CreateCertificateRequest(parent=pool, certificate=certificate, **fields)
    )


def roots(service, pool):
    """A root is STAGED: it is among the pool's certificates, and issues only if it is named."""
    root = make(service, pool, "root", CA.Type.SELF_SIGNED)
    assert root.state == CA.State.STAGED and root.tier == cas.CaPool.Tier.ENTERPRISE, root
    (own,) = root.pem_ca_certificates
    parse(own).verify_directly_issued_by(parse(own))
    told = service.fetch_ca_certs(cas.FetchCaCertsRequest(ca_pool=pool))
    assert [list(chain.certificates) for chain in told.ca_certs] == [[own]], told
    key = ec.generate_private_key(ec.SECP256R1())
    wanted = leaf(key, DAY)
    refused(
        exceptions.BadRequest,
        lambda: create(service, pool, wanted, certificate_id="unpinned"),
        "no enabled",
    )
    refused(
        exceptions.BadRequest,
        lambda: create(service, pool, wanted, issuing_certificate_authority_id="root"),
        "certificate_id is required",
    )
    issued = create(service, pool, wanted, certificate_id="pinned", issuing_certificate_authority_id="root")
    assert issued.issuer_certificate_authority == root.name
    parse(issued.pem_certificate).verify_directly_issued_by(parse(own))
    enabled = service.enable_certificate_authority(name=root.name).result(timeout=60)
    assert enabled.state == CA.State.ENABLED
    issued = create(service, pool, wanted, certificate_id="by-the-pool")
    assert list(issued.pem_certificate_chain) == [own]
    assert service.get_certificate(name=issued.name) == issued
    listed = {one.name.rpartition("/")[2] for one in service.list_certificates(parent=pool)}
    assert listed == {"pinned", "by-the-pool"}, listed
    return root, key


def repeated(service, pool, root, key):
    """One request id, one certificate; one certificate id, one certificate."""
    request_id = str(uuid.uuid4())
    fields = {"certificate_id": "once", "request_id": request_id, "issuing_certificate_authority_id": "root"}
    first = create(service, pool, leaf(key, DAY), **fields)
    assert create(service, pool, leaf(key, DAY), **fields) == first
    fields["request_id"] = str(uuid.uuid4())
    refused(exceptions.Conflict, lambda: create(service, pool, leaf(key, DAY), **fields))
    for wrong in ["00000000-0000-0000-0000-000000000000", "not-a-uuid"]:
        fields = {"certificate_id": "never", "request_id": wrong, "issuing_certificate_authority_id": "root"}
        refused(exceptions.BadRequest, lambda: create(service, pool, leaf(key, DAY), **fields), "UUID")
    tried = create(
        service, pool, leaf(key, DAY), certificate_id="tried", issuing_certificate_authority_id="root",
        validate_only=True,
    )
    assert not tried.pem_certificate
    refused(exceptions.NotFound, lambda: service.get_certificate(name=f"{pool}/certificates/tried"))


def dates(service, pool, root, key):
    """What goes beyond the CA's end is cut, silently; a start may be asked for."""
    end = parse(root.pem_ca_certificates[0]).not_valid_after_utc
    fields = {"issuing_certificate_authority_id": "root"}
    cut = create(service, pool, leaf(key, 10 * 365 * DAY), certificate_id="cut", **fields)
    assert parse(cut.pem_certificate).not_valid_after_utc == end
    start = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0) - datetime.timedelta(minutes=5)
    asked = create(service, pool, leaf(key, DAY, start), certificate_id="asked", **fields)
    assert parse(asked.pem_certificate).not_valid_before_utc == start


def subordinates(service, pool):
    """A subordinate CA gets its certificate from outside, once, with everything up to the root."""
    made = make(service, pool, "subordinate", CA.Type.SUBORDINATE)
    assert made.state == CA.State.AWAITING_USER_ACTIVATION and not made.pem_ca_certificates
    request = x509.load_pem_x509_csr(service.fetch_certificate_authority_csr(name=made.name).pem_csr.encode())
    outside = ec.generate_private_key(ec.SECP256R1())
    root = outside_root(outside)
    signed = outside_signer(outside, root, request)
    text = [one.public_bytes(serialization.Encoding.PEM).decode() for one in (signed, root)]

    def activate(*chain):
        chain = cas.SubordinateConfig.SubordinateConfigChain(pem_certificates=chain)
        request = cas.ActivateCertificateAuthorityRequest(
            name=made.name,
            pem_ca_certificate=text[0],
            subordinate_config=cas.SubordinateConfig(pem_issuer_chain=chain),
        )
        return service.activate_certificate_authority(request)

    refused(exceptions.BadRequest, activate, "up to the self-signed CA")
    active = activate(text[1]).result(timeout=60)
    assert active.state == CA.State.STAGED and list(active.pem_ca_certificates) == text
    refused(exceptions.BadRequest, lambda: activate(text[1]), "STAGED")
    refused(exceptions.BadRequest, lambda: service.fetch_certificate_authority_csr(name=made.name))
    return active


def outside_root(key):
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "outside")])
    return certificate(name, key.public_key(), name, key, None)


def outside_signer(key, root, request):
    return certificate(request.subject, request.public_key(), root.subject, key, 0)


def certificate(subject, public_key, issuer, key, length):
    at = datetime.datetime.now(datetime.timezone.utc)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(public_key)
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(at)
    builder = builder.not_valid_after(at + datetime.timedelta(days=90))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=length), True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), False)
    return builder.sign(key, hashes.SHA256())


def endings(service, pool, root, subordinate, key):
    """Disabled before deleted, deleted before gone; active certificates are in the way."""
    fields = {"certificate_id": "too-late", "issuing_certificate_authority_id": "root"}
    refused(
        exceptions.BadRequest, lambda: service.delete_certificate_authority(name=root.name), "DISABLED"
    )
    disabled = service.disable_certificate_authority(name=root.name).result(timeout=60)
    assert disabled.state == CA.State.DISABLED
    refused(exceptions.BadRequest, lambda: create(service, pool, leaf(key, DAY), **fields), "DISABLED")
    refused(
        exceptions.BadRequest,
        lambda: service.delete_certificate_authority(name=root.name),
        "active certificates",
    )
    delete = cas.DeleteCertificateAuthorityRequest(name=root.name, ignore_active_certificates=True)
    deleted = service.delete_certificate_authority(delete).result(timeout=60)
    assert deleted.state == CA.State.DELETED and deleted.expire_time > deleted.delete_time
    told = service.fetch_ca_certs(cas.FetchCaCertsRequest(ca_pool=pool)).ca_certs
    assert [list(chain.certificates) for chain in told] == [list(subordinate.pem_ca_certificates)]
    restored = service.undelete_certificate_authority(name=root.name).result(timeout=60)
    assert restored.state == CA.State.DISABLED
    gone = cas.DeleteCertificateAuthorityRequest(
        name=root.name, ignore_active_certificates=True, skip_grace_period=True
    )
    service.delete_certificate_authority(gone).result(timeout=60)
    refused(exceptions.NotFound, lambda: service.get_certificate_authority(name=root.name))


def devops(service, pool, key):
    """The DevOps tier ignores certificate ids and keeps no certificates."""
    make(service, pool, "small", CA.Type.SELF_SIGNED)
    fields = {"certificate_id": "mine", "issuing_certificate_authority_id": "small"}
    first = create(service, pool, leaf(key, DAY), **fields)
    second = create(service, pool, leaf(key, DAY), **fields)
    assert parse(first.pem_certificate).serial_number != parse(second.pem_certificate).serial_number
    refused(exceptions.BadRequest, lambda: list(service.list_certificates(parent=pool)))


def revoked(service, pool):
    name = f"{pool}/certificates/pinned"
    request = cas.RevokeCertificateRequest(name=name, reason=cas.RevocationReason.SUPERSEDED)
    found = service.revoke_certificate(request)
    assert found.revocation_details.revocation_state == cas.RevocationReason.SUPERSEDED


def main():
    host, pool, other, key_file = sys.argv[1:]
    service = client(host, key_file)
    assert service.get_ca_pool(name=pool).tier == cas.CaPool.Tier.ENTERPRISE
    refused(exceptions.NotFound, lambda: service.get_ca_pool(name=pool + "-no"))
    root, key = roots(service, pool)
    repeated(service, pool, root, key)
    dates(service, pool, root, key)
    subordinate = subordinates(service, pool)
    revoked(service, pool)
    endings(service, pool, root, subordinate, key)
    devops(service, other, key)
    print("proved")


if __name__ == "__main__":
    main()
