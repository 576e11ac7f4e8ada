"""Signature Version 4, checked as the service does: presence, scope, clock and the signature itself."""

import datetime
import hashlib
import hmac
import re
import urllib.parse

from errors import ServiceError

AUTHORIZATION = re.compile(
    r"^AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request, ?"
    r"SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})$"
)
MAX_SKEW = datetime.timedelta(minutes=15)


class Signed:
    """Who signed a request, and for which region."""

    def __init__(self, access_key, region, token):
        self.access_key = access_key
        self.region = region
        self.token = token


def digest(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def verify(service, method, path, headers, body, secret_of):
    """The signer of a request; `secret_of` maps an access key to its secret key, or to None."""
    if "authorization" not in headers:
        raise ServiceError("MissingAuthenticationTokenException", "Missing Authentication Token")
    parsed = AUTHORIZATION.match(headers["authorization"])
    if not parsed:
        raise ServiceError("IncompleteSignatureException", "Authorization header is not Signature Version 4")
    access_key, day, region, signed_service, names, signature = parsed.groups()
    date = headers.get("x-amz-date", "")
    try:
        at = datetime.datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.timezone.utc)
    except ValueError:
        raise ServiceError("IncompleteSignatureException", "X-Amz-Date is missing or malformed") from None
    if abs(datetime.datetime.now(datetime.timezone.utc) - at) > MAX_SKEW:
        raise ServiceError("InvalidSignatureException", f"Signature expired: {date} is too far from now")
    if signed_service != service or not date.startswith(day):
        raise ServiceError(
            "InvalidSignatureException", f"Credential should be scoped to correct service: '{service}'."
        )
    names = names.split(";")
    for needed in ["host", "x-amz-date"]:
        if needed not in names:
            raise ServiceError("InvalidSignatureException", f"{needed} is not signed")
    secret = secret_of(access_key)
    if secret is None:
        raise ServiceError("UnrecognizedClientException", "The security token included in the request is invalid.")
    path, _, query = path.partition("?")
    query = "&".join(sorted(query.split("&"))) if query else ""
    canonical = "\n".join(
        [
            method,
            urllib.parse.quote(path, safe="/~"),
            query,
            "".join(f"{name}:{' '.join(headers.get(name, '').split())}\n" for name in names),
            ";".join(names),
            hashlib.sha256(body).hexdigest(),
        ]
    )
    scope = f"{day}/{region}/{service}/aws4_request"
    to_sign = "\n".join(["AWS4-HMAC-SHA256", date, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{secret}".encode()
    for part in [day, region, service, "aws4_request"]:
        key = digest(key, part)
    if not hmac.compare_digest(digest(key, to_sign).hex(), signature):
        raise ServiceError(
            "InvalidSignatureException",
            "The request signature we calculated does not match the signature you provided. "
            "Check your AWS Secret Access Key and signing method.",
        )
    return Signed(access_key, region, headers.get("x-amz-security-token"))
