"""The operations of AWS Private CA, for any number of accounts."""

import base64
import calendar
import datetime
import json
import re
import threading
import time

import certificates
import permissions
from authority import Authority
from certificates import UTC
from errors import ServiceError
from templates import template

IDEMPOTENCY_WINDOW = 5 * 60
QUOTAS = {
    "IssueCertificate": 25,
    "GetCertificate": 75,
    "GetCertificateAuthorityCertificate": 20,
    "GetCertificateAuthorityCsr": 10,
    "ImportCertificateAuthorityCertificate": 10,
    "RevokeCertificate": 20,
}
MAX_AUTHORITIES = 200
TAG_KEY = re.compile(r"^(?!aws:)[\w\s.:/=+\-@]{1,128}$")
TAG_VALUE = re.compile(r"^[\w\s.:/=+\-@]{0,256}$")
SERIAL = re.compile(r"^[0-9A-Fa-f]{2}(:?[0-9A-Fa-f]{2}){0,19}$")
REASONS = {
    "UNSPECIFIED",
    "KEY_COMPROMISE",
    "CERTIFICATE_AUTHORITY_COMPROMISE",
    "AFFILIATION_CHANGED",
    "SUPERSEDED",
    "CESSATION_OF_OPERATION",
    "PRIVILEGE_WITHDRAWN",
    "A_A_COMPROMISE",
}
ARN = re.compile(r"^arn:([a-z-]+):acm-pca:([a-z0-9-]+):(\d{12}):certificate-authority/([0-9a-f-]{36})(/certificate/[0-9a-f]{32})?$")


class Account:
    """An account: its access key, what it may do, how its service behaves, and its CAs."""

    def __init__(self, number, partition):
        self.number = number
        self.partition = partition
        self.access_key = f"AKIAEMULATED{number[-8:]}"
        self.secret_key = f"secret-of-{number}-emulated-only-0123456789"
        self.token = None
        self.policy = None
        self.expired = False
        self.issue_delay = 0.0
        self.create_delay = 0.0
        self.window = IDEMPOTENCY_WINDOW
        self.quotas = dict(QUOTAS)
        self.refill = True
        self.faults = []
        self.authorities = {}
        self.tokens = {}
        self.calls = {}
        self.taken = {}

    def throttle(self, operation):
        """A bucket of one second's quota."""
        quota = self.quotas.get(operation)
        if quota is None:
            return
        now = time.monotonic()
        left, at = self.taken.get(operation, (quota, now))
        if self.refill:
            left = min(quota, left + (now - at) * quota)
        if left < 1:
            self.taken[operation] = (left, now)
            raise ServiceError("ThrottlingException", "Rate exceeded")
        self.taken[operation] = (left - 1, now)

    def issued(self):
        return sum(len(authority.issued) for authority in self.authorities.values())


class Service:
    """Every account and every CA."""

    def __init__(self):
        self.lock = threading.RLock()
        self.accounts = {}
        self.authorities = {}

    def new_account(self, partition):
        with self.lock:
            account = Account(f"{100000000001 + len(self.accounts)}", partition)
            self.accounts[account.access_key] = account
            return account

    def call(self, account, region, operation, arguments):
        method = OPERATIONS.get(operation)
        if method is None:
            raise ServiceError("UnknownOperationException", f"unknown operation {operation}")
        with self.lock:
            account.calls[operation] = account.calls.get(operation, 0) + 1
            check_members(operation, arguments)
            self.authorize(account, region, operation, arguments)
            account.throttle(operation)
            return method(self, account, region, arguments)

    # Permissions

    def authorize(self, account, region, operation, arguments):
        resource = arguments.get("CertificateAuthorityArn", "*")
        if account.policy is None:
            return
        context = {}
        if operation == "IssueCertificate":
            default = f"arn:{account.partition}:acm-pca:::template/EndEntityCertificate/V1"
            context["acm-pca:TemplateArn"] = arguments.get("TemplateArn", default)
        authority = self.authorities.get(resource)
        tags = authority.tags if authority else {}
        context |= {f"aws:ResourceTag/{key}": value for key, value in tags.items()}
        asked = {tag["Key"]: tag.get("Value", "") for tag in arguments.get("Tags", [])}
        context |= {f"aws:RequestTag/{key}": value for key, value in asked.items()}
        context["aws:RequestedRegion"] = region
        needed = [operation]
        # Tags at creation need the permission to tag as well.
        if operation == "CreateCertificateAuthority" and asked:
            needed.append("TagCertificateAuthority")
        for action in needed:
            if not permissions.allowed(account.policy, f"acm-pca:{action}", resource, context):
                raise denied(account, action, resource)

    def find(self, account, region, arn, operation, template_name=None):
        parsed = ARN.match(arn)
        if not parsed or parsed[5]:
            raise ServiceError("InvalidArnException", f"The ARN {arn} is not that of a private CA.")
        authority = self.authorities.get(arn)
        if authority is None or parsed[2] != region:
            raise ServiceError("ResourceNotFoundException", f"Could not find certificate authority {arn}")
        if authority.account != account.number:
            grants = authority.shared_with.get(account.number)
            if grants is None or not permissions.shared_allows(grants, operation, template_name):
                raise denied(account, operation, arn)
        return authority

    # Idempotency

    def once(self, account, operation, token, inputs, act):
        """Within the window, the same token and the same input get the same answer."""
        if token is None:
            return act()
        if not 1 <= len(token) <= 36:
            raise ServiceError("ValidationException", "Member 'idempotencyToken' must have length less than or equal to 36")
        kept = account.tokens.get((operation, token))
        form = json.dumps(inputs, sort_keys=True)
        if kept and time.time() - kept[0] < account.window:
            if kept[1] != form:
                raise ServiceError(
                    "InvalidArgsException", "The idempotency token was used with different parameters."
                )
            return kept[2]
        answer = act()
        account.tokens[operation, token] = (time.time(), form, answer)
        return answer

    # Operations

    def create(self, account, region, arguments):
        kind = arguments["CertificateAuthorityType"]
        if kind not in ("ROOT", "SUBORDINATE"):
            raise ServiceError("ValidationException", f"Value '{kind}' at 'certificateAuthorityType' is not valid")
        mode = arguments.get("UsageMode", "GENERAL_PURPOSE")
        if mode not in ("GENERAL_PURPOSE", "SHORT_LIVED_CERTIFICATE"):
            raise ServiceError("ValidationException", f"Value '{mode}' at 'usageMode' is not valid")
        tags = read_tags(arguments.get("Tags", []))

        def act():
            alive = [one for one in account.authorities.values() if one.status != "DELETED"]
            if len(alive) >= MAX_AUTHORITIES:
                raise ServiceError("LimitExceededException", "The quota of private CAs has been exceeded.")
            authority = Authority(
                account.number,
                region,
                account.partition,
                kind,
                arguments["CertificateAuthorityConfiguration"],
                mode,
                tags,
                time.time() + account.create_delay,
            )
            account.authorities[authority.arn] = authority
            self.authorities[authority.arn] = authority
            return {"CertificateAuthorityArn": authority.arn}

        inputs = {key: value for key, value in arguments.items() if key != "IdempotencyToken"}
        return self.once(account, f"create {region}", arguments.get("IdempotencyToken"), inputs, act)

    def describe(self, account, region, arguments):
        authority = self.find(account, region, arguments["CertificateAuthorityArn"], "DescribeCertificateAuthority")
        return {"CertificateAuthority": authority.describe()}

    def csr(self, account, region, arguments):
        authority = self.find(account, region, arguments["CertificateAuthorityArn"], "GetCertificateAuthorityCsr")
        return {"Csr": authority.request()}

    def import_certificate(self, account, region, arguments):
        arn = arguments["CertificateAuthorityArn"]
        authority = self.find(account, region, arn, "ImportCertificateAuthorityCertificate")
        chain = blob(arguments, "CertificateChain") if "CertificateChain" in arguments else b""
        authority.import_certificate(blob(arguments, "Certificate"), chain)
        return {}

    def authority_certificate(self, account, region, arguments):
        arn = arguments["CertificateAuthorityArn"]
        authority = self.find(account, region, arn, "GetCertificateAuthorityCertificate")
        if not authority.certificate or authority.status == "DELETED":
            authority.require("-")
        answer = {"Certificate": certificates.pem(authority.certificate)}
        if authority.chain:
            answer["CertificateChain"] = "\n".join(map(certificates.pem, authority.chain))
        return answer

    def issue(self, account, region, arguments):
        default = f"arn:{account.partition}:acm-pca:::template/EndEntityCertificate/V1"
        chosen = template(arguments.get("TemplateArn", default), account.partition)
        authority = self.find(account, region, arguments["CertificateAuthorityArn"], "IssueCertificate", chosen.name)
        not_after = moment(arguments["Validity"], "Validity")
        not_before = certificates.now() - datetime.timedelta(minutes=60)
        if "ValidityNotBefore" in arguments:
            if arguments["ValidityNotBefore"].get("Type") != "ABSOLUTE":
                raise ServiceError("ValidationException", "ValidityNotBefore must be of type ABSOLUTE")
            not_before = moment(arguments["ValidityNotBefore"], "ValidityNotBefore")

        def act():
            issued = authority.issue(
                blob(arguments, "Csr"),
                arguments["SigningAlgorithm"],
                chosen,
                arguments.get("ApiPassthrough", {}) if chosen.api else {},
                not_before,
                not_after,
                time.time() + account.issue_delay,
            )
            return {"CertificateArn": issued.arn}

        inputs = {key: value for key, value in arguments.items() if key != "IdempotencyToken"}
        return self.once(account, f"issue {region}", arguments.get("IdempotencyToken"), inputs, act)

    def certificate(self, account, region, arguments):
        authority = self.find(account, region, arguments["CertificateAuthorityArn"], "GetCertificate")
        issued = authority.issued.get(arguments["CertificateArn"])
        if issued is None:
            raise ServiceError("ResourceNotFoundException", f"Could not find certificate {arguments['CertificateArn']}")
        if time.time() < issued.ready:
            raise ServiceError("RequestInProgressException", "The request to issue the certificate is still in progress.")
        answer = {"Certificate": certificates.pem(issued.certificate)}
        if issued.chain:
            answer["CertificateChain"] = "\n".join(map(certificates.pem, issued.chain))
        return answer

    def revoke(self, account, region, arguments):
        authority = self.find(account, region, arguments["CertificateAuthorityArn"], "RevokeCertificate")
        authority.require("ACTIVE", "DISABLED", "EXPIRED")
        if not SERIAL.match(arguments["CertificateSerial"]):
            raise ServiceError("ValidationException", "Value at 'certificateSerial' is not a hexadecimal number")
        if arguments["RevocationReason"] not in REASONS:
            raise ServiceError("ValidationException", "Value at 'revocationReason' failed to satisfy constraint")
        serial = arguments["CertificateSerial"].replace(":", "").lower()
        for issued in authority.issued.values():
            if f"{issued.certificate.serial_number:032x}" == serial.rjust(32, "0"):
                if issued.revoked:
                    raise ServiceError("RequestAlreadyProcessedException", "The certificate is already revoked.")
                issued.revoked = True
                return {}
        raise ServiceError("ResourceNotFoundException", f"Could not find certificate with serial {serial}")

    def update(self, account, region, arguments):
        authority = self.find(account, region, arguments["CertificateAuthorityArn"], "UpdateCertificateAuthority")
        authority.require("ACTIVE", "DISABLED")
        status = arguments.get("Status")
        if status is not None:
            if status not in ("ACTIVE", "DISABLED"):
                raise ServiceError("InvalidArgsException", f"A CA cannot be set to {status}.")
            authority.state = status
        return {}

    def delete(self, account, region, arguments):
        authority = self.find(account, region, arguments["CertificateAuthorityArn"], "DeleteCertificateAuthority")
        days = arguments.get("PermanentDeletionTimeInDays", 30)
        if not 7 <= days <= 30:
            raise ServiceError("ValidationException", "PermanentDeletionTimeInDays must be between 7 and 30")
        authority.require("CREATING", "PENDING_CERTIFICATE", "DISABLED", "EXPIRED", "FAILED")
        authority.state, authority.ready = "DELETED", 0
        authority.deleted_at = time.time() + days * 24 * 3600
        return {}

    def list(self, account, region, arguments):
        size = arguments.get("MaxResults", 1000)
        if not 1 <= size <= 1000:
            raise ServiceError("ValidationException", "MaxResults must be between 1 and 1000")
        owner = arguments.get("ResourceOwner", "SELF")
        if owner == "SELF":
            found = list(account.authorities.values())
        else:
            found = [one for one in self.authorities.values() if account.number in one.shared_with]
        found = [one for one in found if f":{region}:" in one.arn]
        start = int(arguments.get("NextToken", "0")) if arguments.get("NextToken", "0").isdigit() else -1
        if start < 0:
            raise ServiceError("InvalidNextTokenException", "The token is not valid.")
        answer = {"CertificateAuthorities": [one.describe() for one in found[start : start + size]]}
        if start + size < len(found):
            answer["NextToken"] = str(start + size)
        return answer

    def list_tags(self, account, region, arguments):
        authority = self.find(account, region, arguments["CertificateAuthorityArn"], "ListTags")
        authority.require("CREATING", "PENDING_CERTIFICATE", "ACTIVE", "DISABLED", "EXPIRED", "FAILED")
        return {"Tags": [{"Key": key, "Value": value} for key, value in authority.tags.items()]}

    def tag(self, account, region, arguments):
        authority = self.find(account, region, arguments["CertificateAuthorityArn"], "TagCertificateAuthority")
        authority.require("CREATING", "PENDING_CERTIFICATE", "ACTIVE", "DISABLED", "EXPIRED", "FAILED")
        tags = authority.tags | read_tags(arguments["Tags"])
        if len(tags) > 50:
            raise ServiceError("TooManyTagsException", "A CA can have no more than 50 tags.")
        authority.tags = tags
        return {}

    def untag(self, account, region, arguments):
        authority = self.find(account, region, arguments["CertificateAuthorityArn"], "UntagCertificateAuthority")
        for tag in arguments["Tags"]:
            authority.tags.pop(tag["Key"], None)
        return {}


OPERATIONS = {
    "CreateCertificateAuthority": Service.create,
    "DescribeCertificateAuthority": Service.describe,
    "GetCertificateAuthorityCsr": Service.csr,
    "ImportCertificateAuthorityCertificate": Service.import_certificate,
    "GetCertificateAuthorityCertificate": Service.authority_certificate,
    "IssueCertificate": Service.issue,
    "GetCertificate": Service.certificate,
    "RevokeCertificate": Service.revoke,
    "UpdateCertificateAuthority": Service.update,
    "DeleteCertificateAuthority": Service.delete,
    "ListCertificateAuthorities": Service.list,
    "ListTags": Service.list_tags,
    "TagCertificateAuthority": Service.tag,
    "UntagCertificateAuthority": Service.untag,
}

# The members of every input: the required ones, then the others.
MEMBERS = {
    "CreateCertificateAuthority": (
        ["CertificateAuthorityConfiguration", "CertificateAuthorityType"],
        ["IdempotencyToken", "KeyStorageSecurityStandard", "Tags", "UsageMode", "RevocationConfiguration"],
    ),
    "DescribeCertificateAuthority": (["CertificateAuthorityArn"], []),
    "GetCertificateAuthorityCsr": (["CertificateAuthorityArn"], []),
    "ImportCertificateAuthorityCertificate": (["CertificateAuthorityArn", "Certificate"], ["CertificateChain"]),
    "GetCertificateAuthorityCertificate": (["CertificateAuthorityArn"], []),
    "IssueCertificate": (
        ["CertificateAuthorityArn", "Csr", "SigningAlgorithm", "Validity"],
        ["ApiPassthrough", "IdempotencyToken", "TemplateArn", "ValidityNotBefore"],
    ),
    "GetCertificate": (["CertificateAuthorityArn", "CertificateArn"], []),
    "RevokeCertificate": (["CertificateAuthorityArn", "CertificateSerial", "RevocationReason"], []),
    "UpdateCertificateAuthority": (["CertificateAuthorityArn"], ["Status", "RevocationConfiguration"]),
    "DeleteCertificateAuthority": (["CertificateAuthorityArn"], ["PermanentDeletionTimeInDays"]),
    "ListCertificateAuthorities": ([], ["MaxResults", "NextToken", "ResourceOwner"]),
    "ListTags": (["CertificateAuthorityArn"], ["MaxResults", "NextToken"]),
    "TagCertificateAuthority": (["CertificateAuthorityArn", "Tags"], []),
    "UntagCertificateAuthority": (["CertificateAuthorityArn", "Tags"], []),
}


def check_members(operation, arguments):
    required, optional = MEMBERS[operation]
    for member in required:
        if member not in arguments:
            raise ServiceError("ValidationException", f"1 validation error detected: Value null at '{member}' must not be null")
    unknown = set(arguments) - set(required) - set(optional)
    if unknown:
        raise ServiceError("SerializationException", f"unknown members {sorted(unknown)}")


def denied(account, action, resource):
    return ServiceError(
        "AccessDeniedException",
        f"User: arn:{account.partition}:iam::{account.number}:user/emulated is not authorized to perform: "
        f"acm-pca:{action} on resource: {resource}",
    )


def blob(arguments, member):
    try:
        return base64.b64decode(arguments[member], validate=True)
    except (ValueError, TypeError):
        raise ServiceError("SerializationException", f"{member} is not base64") from None


def read_tags(found):
    tags = {}
    for tag in found:
        if not TAG_KEY.match(tag["Key"]) or not TAG_VALUE.match(tag.get("Value", "")):
            raise ServiceError("InvalidTagException", f"The tag {tag['Key']} is not valid.")
        tags[tag["Key"]] = tag.get("Value", "")
    return tags


def moment(found, member):
    """The end of a validity."""
    kind, value = found.get("Type"), found.get("Value")
    if not isinstance(value, int) or value < 1:
        raise ServiceError("ValidationException", f"{member}: Value must be at least 1")
    now = certificates.now()
    try:
        if kind == "ABSOLUTE":
            return datetime.datetime.fromtimestamp(value, UTC)
        if kind == "END_DATE":
            form = "%Y%m%d%H%M%S" if len(str(value)) == 14 else "%y%m%d%H%M%S"
            return datetime.datetime.strptime(str(value), form).replace(tzinfo=UTC)
        if kind == "DAYS":
            return now + datetime.timedelta(days=value)
        if kind in ("MONTHS", "YEARS"):
            months = now.month - 1 + value * (12 if kind == "YEARS" else 1)
            year, month = now.year + months // 12, months % 12 + 1
            return now.replace(year=year, month=month, day=min(now.day, calendar.monthrange(year, month)[1]))
    except (ValueError, OverflowError):
        raise ServiceError("InvalidArgsException", f"{member}: {value} is not a date") from None
    raise ServiceError("ValidationException", f"{member}: {kind} is not a type of validity")
