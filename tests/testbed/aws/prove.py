"""The emulator before boto3, the vendor's own client: everything that the provider relies on, and the refusals.

Usage: prove.py ENDPOINT. It fails loudly.
"""

import datetime
import json
import sys
import time
import urllib.request
import uuid

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

ENDPOINT = sys.argv[1]
REGION = "eu-central-1"
ONCE = Config(retries={"max_attempts": 1, "mode": "standard"})


def control(verb, **order):
    request = urllib.request.Request(f"{ENDPOINT}/_control/{verb}", json.dumps(order).encode(), method="POST")
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.loads(answer.read())


def client(account, name="acm-pca", **more):
    keys = {"aws_access_key_id": account["accessKey"], "aws_secret_access_key": account["secretKey"]}
    keys |= more
    return boto3.client(name, region_name=REGION, endpoint_url=ENDPOINT, config=ONCE, **keys)


def refused(code, call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        found = error.response["Error"]
        assert found["Code"] == code, f"{found} instead of {code}"
        assert found["Message"], found
        return
    raise AssertionError(f"{call} was not refused with {code}")


def configuration(name="relay root"):
    return {
        "KeyAlgorithm": "EC_prime256v1",
        "SigningAlgorithm": "SHA256WITHECDSA",
        "Subject": {"Organization": "relay", "CommonName": name},
    }


def csr(name, names=()):
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(one) for one in names]), False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def later(**delta):
    at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(**delta)
    return {"Type": "ABSOLUTE", "Value": int(at.timestamp())}


def template(name, partition="aws"):
    return f"arn:{partition}:acm-pca:::template/{name}/V1"


def issue(pca, arn, **arguments):
    arguments = {
        "CertificateAuthorityArn": arn,
        "SigningAlgorithm": "SHA256WITHECDSA",
        "Validity": later(days=5),
        "TemplateArn": template("EndEntityClientAuthCertificate"),
        "IdempotencyToken": uuid.uuid4().hex,
    } | arguments
    return pca.issue_certificate(**arguments)["CertificateArn"]


def fetch(pca, arn, certificate):
    pca.get_waiter("certificate_issued").wait(CertificateAuthorityArn=arn, CertificateArn=certificate)
    answer = pca.get_certificate(CertificateAuthorityArn=arn, CertificateArn=certificate)
    chain = x509.load_pem_x509_certificates(answer["CertificateChain"].encode()) if "CertificateChain" in answer else []
    return x509.load_pem_x509_certificate(answer["Certificate"].encode()), chain, answer


def create(pca, kind, name, **arguments):
    arn = pca.create_certificate_authority(
        CertificateAuthorityConfiguration=configuration(name), CertificateAuthorityType=kind, **arguments
    )["CertificateAuthorityArn"]
    pca.get_waiter("certificate_authority_csr_created").wait(CertificateAuthorityArn=arn)
    return arn


def root(pca):
    arn = create(pca, "ROOT", "relay root")
    request = pca.get_certificate_authority_csr(CertificateAuthorityArn=arn)["Csr"].encode()
    issued = issue(pca, arn, Csr=request, TemplateArn=template("RootCACertificate"), Validity=later(days=3650))
    certificate, chain, answer = fetch(pca, arn, issued)
    assert not chain
    assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value == x509.BasicConstraints(True, None)
    pca.import_certificate_authority_certificate(CertificateAuthorityArn=arn, Certificate=answer["Certificate"].encode())
    assert pca.describe_certificate_authority(CertificateAuthorityArn=arn)["CertificateAuthority"]["Status"] == "ACTIVE"
    return arn


def subordinate(pca, parent, **arguments):
    arn = create(pca, "SUBORDINATE", "relay signer", **arguments)
    request = pca.get_certificate_authority_csr(CertificateAuthorityArn=arn)["Csr"].encode()
    issued = issue(
        pca, parent, Csr=request, TemplateArn=template("SubordinateCACertificate_PathLen0"), Validity=later(days=365)
    )
    _, chain, answer = fetch(pca, parent, issued)
    refused(
        "InvalidArgsException",
        pca.import_certificate_authority_certificate,
        CertificateAuthorityArn=arn,
        Certificate=answer["Certificate"].encode(),
    )
    pca.import_certificate_authority_certificate(
        CertificateAuthorityArn=arn,
        Certificate=answer["Certificate"].encode(),
        CertificateChain=answer["CertificateChain"].encode(),
    )
    return arn


def a_hierarchy_issues_by_template():
    pca = client(control("account", issueDelay=0.3, createDelay=0.3))
    parent = root(pca)
    signer = subordinate(pca, parent)
    refused("RequestInProgressException", lambda: pca.get_certificate(
        CertificateAuthorityArn=signer, CertificateArn=issue(pca, signer, Csr=csr("c1", ["c1"]))))
    leaf, chain, _ = fetch(pca, signer, issue(pca, signer, Csr=csr("c1", ["c1"])))
    usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["c1"]
    assert len(chain) == 2 and chain[1].subject == chain[1].issuer, "nearest first, the root last"
    leaf.verify_directly_issued_by(chain[0])
    chain[0].verify_directly_issued_by(chain[1])
    hour = datetime.timedelta(minutes=61)
    assert datetime.datetime.now(datetime.timezone.utc) - leaf.not_valid_before_utc < hour
    passed = {
        "Subject": {"CommonName": "policy"},
        "Extensions": {"SubjectAlternativeNames": [{"DnsName": "policy"}]},
    }
    for name, wanted in [("EndEntityClientAuthCertificate", "c1"), ("EndEntityClientAuthCertificate_APIPassthrough", "policy")]:
        issued = issue(pca, signer, Csr=csr("c1", ["c1"]), TemplateArn=template(name), ApiPassthrough=passed)
        leaf = fetch(pca, signer, issued)[0]
        assert leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == wanted
    # Path length 0 has no CA below it; nothing outlives its issuer.
    below = csr("another ca")
    refused("ValidationException", issue, pca=pca, arn=signer, Csr=below, TemplateArn=template("SubordinateCACertificate_PathLen0"))
    refused("ValidationException", issue, pca=pca, arn=signer, Csr=below, Validity=later(days=400))
    refused("InvalidArgsException", issue, pca=pca, arn=signer, Csr=below, TemplateArn=template("EndEntityCertificate", "aws-cn"))
    refused("InvalidArgsException", issue, pca=pca, arn=signer, Csr=below, SigningAlgorithm="SHA256WITHRSA")
    refused("MalformedCSRException", issue, pca=pca, arn=signer, Csr=b"nonsense")
    refused("ResourceNotFoundException", pca.describe_certificate_authority, CertificateAuthorityArn=signer[:-1] + ("1" if signer.endswith("0") else "0"))
    for days in [{"Type": "DAYS", "Value": 3}, {"Type": "MONTHS", "Value": 1}]:
        fetch(pca, signer, issue(pca, signer, Csr=below, Validity=days))


def life_and_death_of_a_ca():
    pca = client(control("account"))
    parent = root(pca)
    signer = subordinate(pca, parent, UsageMode="SHORT_LIVED_CERTIFICATE")
    refused("ValidationException", issue, pca=pca, arn=signer, Csr=csr("c1"), Validity=later(days=8))
    fetch(pca, signer, issue(pca, signer, Csr=csr("c1"), Validity=later(days=6)))
    leaf = fetch(pca, signer, issue(pca, signer, Csr=csr("c1")))[0]
    serial = f"{leaf.serial_number:x}"
    pca.revoke_certificate(CertificateAuthorityArn=signer, CertificateSerial=serial, RevocationReason="SUPERSEDED")
    refused("RequestAlreadyProcessedException", pca.revoke_certificate,
            CertificateAuthorityArn=signer, CertificateSerial=serial, RevocationReason="SUPERSEDED")
    refused("InvalidStateException", pca.delete_certificate_authority, CertificateAuthorityArn=signer)
    pca.update_certificate_authority(CertificateAuthorityArn=signer, Status="DISABLED")
    refused("InvalidStateException", issue, pca=pca, arn=signer, Csr=csr("c1"))
    pca.delete_certificate_authority(CertificateAuthorityArn=signer, PermanentDeletionTimeInDays=7)
    pca.tag_certificate_authority(CertificateAuthorityArn=parent, Tags=[{"Key": "a", "Value": "b"}])
    assert pca.list_tags(CertificateAuthorityArn=parent)["Tags"] == [{"Key": "a", "Value": "b"}]
    pages = pca.get_paginator("list_certificate_authorities").paginate(PaginationConfig={"PageSize": 1})
    states = [one["Status"] for page in pages for one in page["CertificateAuthorities"]]
    assert states == ["ACTIVE", "DELETED"], states


def one_token_one_certificate():
    account = control("account")
    pca = client(account)
    parent = root(pca)
    request = {"Csr": csr("c1"), "IdempotencyToken": "0123456789abcdef0123456789abcdef", "Validity": later(days=1)}
    first = issue(pca, parent, **request)
    assert issue(pca, parent, **request) == first
    refused("InvalidArgsException", issue, pca=pca, arn=parent, **(request | {"Validity": later(days=2)}))
    control("change", accessKey=account["accessKey"], idempotencyWindow=0)
    assert issue(pca, parent, **request) != first
    refused("ValidationException", issue, pca=pca, arn=parent, **(request | {"IdempotencyToken": "x" * 37}))
    assert control("state", accessKey=account["accessKey"])["issued"] == 3


def quotas_and_permissions():
    # The root's certificate is the first of three.
    account = control("account", quotas={"IssueCertificate": 3}, refill=False)
    pca = client(account)
    parent = root(pca)
    for _ in range(2):
        issue(pca, parent, Csr=csr("c1"))
    refused("ThrottlingException", issue, pca=pca, arn=parent, Csr=csr("c1"))
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": "acm-pca:IssueCertificate",
                "Resource": parent,
                "Condition": {"StringEquals": {"acm-pca:TemplateArn": template("EndEntityClientAuthCertificate")}},
            }
        ],
    }
    control("change", accessKey=account["accessKey"], policy=policy, refill=True)
    time.sleep(1)
    issue(pca, parent, Csr=csr("c1"))
    refused("AccessDeniedException", issue, pca=pca, arn=parent, Csr=csr("c1"), TemplateArn=template("EndEntityCertificate"))
    refused("AccessDeniedException", pca.describe_certificate_authority, CertificateAuthorityArn=parent)


def identities():
    account, other = control("account"), control("account")
    pca = client(account)
    parent = root(pca)
    wrong = client(account | {"secretKey": "wrong"})
    refused("InvalidSignatureException", wrong.list_certificate_authorities)
    stranger = client(account | {"accessKey": "AKIANOBODY"})
    refused("UnrecognizedClientException", stranger.list_certificate_authorities)
    control("change", accessKey=account["accessKey"], expired=True)
    refused("ExpiredTokenException", pca.list_certificate_authorities)
    control("heal", accessKey=account["accessKey"])
    guest = client(other)
    refused("AccessDeniedException", issue, pca=guest, arn=parent, Csr=csr("c1"))
    control("share", accessKey=other["accessKey"], authority=parent, grants=["client"])
    issue(guest, parent, Csr=csr("c1"))
    passing = template("EndEntityClientAuthCertificate_APIPassthrough")
    refused("AccessDeniedException", issue, pca=guest, arn=parent, Csr=csr("c1"), TemplateArn=passing)
    role = {"RoleArn": f"arn:aws:iam::{account['number']}:role/relay", "RoleSessionName": "relay"}
    keys = client(other, "sts").assume_role(**role)["Credentials"]
    session = client(
        account,
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
    )
    assert session.describe_certificate_authority(CertificateAuthorityArn=parent)
    refused("AccessDenied", client(other, "sts").assume_role, ExternalId="wrong", **role)


for case in [a_hierarchy_issues_by_template, life_and_death_of_a_ca, one_token_one_certificate, quotas_and_permissions, identities]:
    case()
    print(f"{case.__name__}: ok")
