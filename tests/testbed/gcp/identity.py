"""Who calls: service accounts with keys, and the metadata server of a workload."""

import base64
import json
import secrets
import time

from cryptography import exceptions
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from errors import ServiceError

SCOPE = "https://www.googleapis.com/auth/cloud-platform"


def unauthenticated():
    return ServiceError(
        "UNAUTHENTICATED",
        "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other "
        "valid authentication credential.",
    )


class ServiceAccount:
    """An account that authenticates with tokens that its own key signs (RFC 7523), or that the
    metadata server hands out."""

    def __init__(self, project, permissions):
        self.project = project
        self.email = f"relay-pki@{project}.iam.gserviceaccount.com"
        self.permissions = set(permissions)
        self.valid = True
        self.tokens = set()
        self.keys = {}

    def new_key(self):
        """A key file, as `gcloud iam service-accounts keys create` writes it."""
        key = rsa.generate_private_key(65537, 2048)
        identifier = secrets.token_hex(20)
        self.keys[identifier] = key.public_key()
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return {
            "type": "service_account",
            "project_id": self.project,
            "private_key_id": identifier,
            "private_key": private.decode(),
            "client_email": self.email,
            "client_id": "100000000000000000000",
            "token_uri": "https://oauth2.googleapis.com/token",
            "universe_domain": "googleapis.com",
        }

    def new_token(self):
        token = "ya29." + secrets.token_urlsafe(40)
        self.tokens.add(token)
        return {"access_token": token, "expires_in": 3599, "token_type": "Bearer"}

    def accepts(self, token):
        return self.valid and (token in self.tokens or self.signed(token))

    def signed(self, token):
        try:
            head, claims, signature = token.split(".")
            header, content = (json.loads(unpadded(part)) for part in (head, claims))
            key = self.keys[header["kid"]]
            if header["alg"] != "RS256" or content["iss"] != self.email or content["sub"] != self.email:
                return False
            key.verify(unpadded(signature), f"{head}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256())
        except (ValueError, KeyError, TypeError, exceptions.InvalidSignature):
            return False
        good_for = content.get("scope") == SCOPE or content.get("aud") == "https://privateca.googleapis.com/"
        # A little grace for clocks, as there; an hour at most.
        at = time.time()
        return good_for and content["iat"] <= at + 60 and at < content["exp"] <= content["iat"] + 3660


def unpadded(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def bearer(header):
    kind, _, token = (header or "").partition(" ")
    if kind.lower() != "bearer" or not token:
        raise ServiceError(
            "UNAUTHENTICATED",
            "Request is missing required authentication credential. Expected OAuth 2 access token, login cookie "
            "or other valid authentication credential.",
        )
    return token
