"""One project of the service: its pools, CAs, certificates and operations.

Faithful to the documented v1 REST service where a client can notice.
"""

import datetime
import re
import secrets
import threading
import time
import uuid

import certificates as x
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from errors import ServiceError, invalid, precondition
from faults import Faults
from identity import ServiceAccount
from quota import Quotas

SERIAL_FILTER = re.compile(r'certificate_description\.subject_description\.hex_serial_number="([0-9a-f]+)"')
IDENTIFIER = re.compile(r"[a-zA-Z0-9_-]{1,63}")
DAY = datetime.timedelta(days=1)
TYPE_URL = "type.googleapis.com/google.cloud.security.privateca.v1."
METADATA_URL = "type.googleapis.com/google.cloud.security.privateca.v1.OperationMetadata"
REMEMBERED = 60 * 60


def serial(certificate):
    return f"{x.parse(certificate['pemCertificate'], certificate['name']).serial_number:x}"


def not_found(name):
    return ServiceError("NOT_FOUND", f"Resource '{name}' was not found.")


class Pool:
    def __init__(self, name, found):
        self.name = name
        self.message = {**found, "name": name}
        self.authorities = {}

    @property
    def enterprise(self):
        return self.message["tier"] == "ENTERPRISE"

    @property
    def policy(self):
        return self.message.get("issuancePolicy", {})


class Authority:
    """A CertificateAuthority and its key."""

    def __init__(self, pool, name, found):
        self.pool = pool
        self.name = name
        self.algorithm = found["keySpec"]["algorithm"]
        self.key = x.KEYS[self.algorithm]()
        self.config = found["config"]
        self.chain = []
        self.request = None
        self.message = {**found, "name": name, "tier": pool.message["tier"], "createTime": x.now()}
        if found["type"] == "SELF_SIGNED":
            self.chain = [self.self_signed(found["lifetime"])]
            self.state = "STAGED"
        else:
            self.request = self.signing_request()
            self.state = "AWAITING_USER_ACTIVATION"

    @property
    def state(self):
        return self.message["state"]

    @state.setter
    def state(self, value):
        self.message["state"] = value
        self.message["updateTime"] = x.now()

    def self_signed(self, lifetime):
        name, key, at = x.name(self.config), self.key.public_key(), x.now()
        end = at + datetime.timedelta(seconds=lifetime)
        found = list(x.extensions(self.config, key))
        identifier = x509.AuthorityKeyIdentifier(found[0][0].digest, None, None)
        issuer = (name, self.key, x.DIGESTS[self.algorithm], identifier)
        return x.build(name, key, found, at, end, issuer)

    def signing_request(self):
        builder = x509.CertificateSigningRequestBuilder().subject_name(x.name(self.config))
        for extension, critical in x.extensions(self.config, self.key.public_key()):
            builder = builder.add_extension(extension, critical)
        signed = builder.sign(self.key, x.DIGESTS[self.algorithm])
        return signed.public_bytes(serialization.Encoding.PEM).decode()

    def view(self):
        # Without its certificate, and afterwards without its request, as there.
        return {**self.message, "pemCaCertificates": [x.pem(one) for one in self.chain]}


class Project:
    def __init__(self, name, found):
        self.lock = threading.RLock()
        self.name = name
        self.account = ServiceAccount(name, found.get("permissions", []))
        self.faults = Faults()
        self.quotas = Quotas(found.get("quotas", {}))
        self.operation_seconds = found.get("operationSeconds", 0.3)
        self.pools = {}
        self.certificates = {}
        self.operations = {}
        self.requests = {}
        self.calls = {}
        self.issued = 0
        self.trace = []

    # Pools

    def add_pool(self, name, found):
        self.pools[name] = Pool(name, found)

    def pool(self, name):
        if name not in self.pools:
            raise not_found(name)
        return self.pools[name]

    def get_pool(self, name):
        return self.pool(name).message

    def test_permissions(self, name, found):
        self.pool(name)
        return {"permissions": [one for one in found.get("permissions", []) if one in self.account.permissions]}

    def fetch_ca_certs(self, name):
        pool = self.pool(name)
        trusted = [ca for ca in pool.authorities.values() if ca.state in ("ENABLED", "DISABLED", "STAGED")]
        return {"caCerts": [{"certificates": [x.pem(one) for one in ca.chain]} for ca in trusted]}

    # Operations

    def begin(self, verb, target, act, request_id):
        """Starts a long-running operation; what it does is seen when it is done."""
        known = self.known(verb, target, request_id)
        if known is not None:
            return self.operation(known)
        location = "/".join(target.split("/")[:4])
        name = f"{location}/operations/operation-{secrets.token_hex(8)}"
        self.operations[name] = {
            "due": time.monotonic() + self.operation_seconds,
            "verb": verb,
            "target": target,
            "act": act,
            "at": x.now(),
            "result": None,
        }
        self.remember(verb, target, request_id, name)
        return self.operation(name)

    def settle(self):
        """Carries out what is due."""
        for operation in self.operations.values():
            if operation["act"] is not None and operation["due"] <= time.monotonic():
                act, operation["act"] = operation["act"], None
                try:
                    operation["result"] = {"response": act()}
                except ServiceError as error:
                    operation["result"] = {"error": error.rpc()}

    def operation(self, name):
        self.settle()
        if name not in self.operations:
            raise not_found(name)
        found = self.operations[name]
        metadata = {
            "@type": METADATA_URL,
            "createTime": found["at"].strftime("%Y-%m-%dT%H:%M:%SZ"),
            "target": found["target"],
            "verb": found["verb"],
            "apiVersion": "v1",
        }
        answer = {"name": name, "metadata": metadata, "done": found["result"] is not None}
        return answer | (found["result"] or {})

    def pending(self, target):
        return any(one["act"] is not None and one["target"] == target for one in self.operations.values())

    # Requests that come twice

    def known(self, method, target, request_id):
        """What was answered to this request id, if it is still remembered."""
        if not request_id:
            return None
        try:
            parsed = uuid.UUID(request_id)
        except ValueError:
            raise invalid("request_id must be a valid UUID.") from None
        if parsed.int == 0 or str(parsed) != request_id.lower():
            raise invalid("request_id must be a valid, non-zero UUID.")
        found = self.requests.get((method, target, request_id))
        if found and time.monotonic() - found[0] < REMEMBERED:
            return found[1]
        return None

    def remember(self, method, target, request_id, answer):
        if request_id:
            self.requests[method, target, request_id] = (time.monotonic(), answer)

    def forget_requests(self):
        """As if an hour had passed."""
        self.requests = {}

    # Certificate authorities

    def authority(self, name):
        self.settle()
        pool, _, identifier = name.rpartition("/certificateAuthorities/")
        found = self.pool(pool).authorities.get(identifier)
        if found is None:
            raise not_found(name)
        return found

    def get_authority(self, name):
        view = self.authority(name).view()
        chain = view["pemCaCertificates"]
        if self.faults.take("certificateAuthorities.get", "before", "reverseChain"):
            chain.reverse()
        if len(chain) > 1 and self.faults.take("certificateAuthorities.get", "before", "noRoot"):
            chain.pop()
        return view

    def list_authorities(self, parent):
        self.settle()
        return [ca.view() for ca in self.pool(parent).authorities.values()]

    def create_authority(self, parent, identifier, found, request_id):
        pool = self.pool(parent)
        if not IDENTIFIER.fullmatch(identifier):
            raise invalid("certificate_authority_id must match [a-zA-Z0-9_-]{1,63}.")
        name = f"{parent}/certificateAuthorities/{identifier}"
        known = self.known("create", name, request_id)
        if known is not None:
            return self.operation(known)
        self.settle()
        if identifier in pool.authorities or self.pending(name):
            raise ServiceError("ALREADY_EXISTS", f"Resource '{name}' already exists.")
        self.check_new(found)
        self.quotas.take("certificateAuthorities.create")
        authority = Authority(pool, name, found)

        def act():
            pool.authorities[identifier] = authority
            self.issued += len(authority.chain)
            return self.typed(authority)

        return self.begin("create", name, act, request_id)

    @staticmethod
    def check_new(found):
        for field in ("type", "config", "lifetime", "keySpec"):
            if not found.get(field) or found[field] == "TYPE_UNSPECIFIED":
                raise invalid(f"certificate_authority.{field} must be specified.")
        if found["keySpec"].get("algorithm") not in x.KEYS:
            raise invalid("certificate_authority.key_spec.algorithm must be one that is supported.")
        if found["lifetime"] < 24 * 3600:
            raise invalid("certificate_authority.lifetime must be at least 24 hours.")
        x.check_ca_config(found["config"])
        if found["config"].get("publicKey"):
            raise invalid("certificate_authority.config.public_key must not be specified.")
        for key, value in found.get("labels", {}).items():
            if not re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", key) or not re.fullmatch(r"[a-z0-9_-]{0,63}", value):
                raise invalid("certificate_authority.labels has an invalid key or value.")

    def typed(self, authority):
        return {"@type": TYPE_URL + "CertificateAuthority", "": authority}

    def fetch_request(self, name):
        authority = self.authority(name)
        if authority.message["type"] != "SUBORDINATE" or authority.state != "AWAITING_USER_ACTIVATION":
            raise precondition(
                f"CertificateAuthority '{name}' is not a subordinate CA in state AWAITING_USER_ACTIVATION."
            )
        return {"pemCsr": authority.request}

    def change(self, verb, name, allowed, to, request_id, prepare=None):
        """A change of state, as an operation."""
        authority = self.authority(name)
        known = self.known(verb, name, request_id)
        if known is not None:
            return self.operation(known)
        if self.pending(name):
            raise ServiceError("ABORTED", f"Another operation on '{name}' is in progress.")
        if authority.state not in allowed:
            raise precondition(
                f"CertificateAuthority '{name}' is in state {authority.state}; it must be in {' or '.join(allowed)}."
            )
        values = prepare(authority) if prepare else None

        def act():
            if values is not None:
                values()
            authority.state = to
            return self.typed(authority)

        return self.begin(verb, name, act, request_id)

    def activate(self, name, found):
        def prepare(authority):
            if authority.message["type"] != "SUBORDINATE":
                raise precondition("Only subordinate CAs can be activated.")
            chain = self.activation_chain(authority, found)

            def act():
                authority.chain = chain
                authority.message["subordinateConfig"] = found["subordinateConfig"]

            return act

        allowed = ["AWAITING_USER_ACTIVATION"]
        return self.change("activate", name, allowed, "STAGED", found.get("requestId"), prepare)

    def activation_chain(self, authority, found):
        certificate = x.parse(found.get("pemCaCertificate", ""), "pem_ca_certificate")
        if certificate.public_key() != authority.key.public_key():
            raise invalid("pem_ca_certificate does not have the public key of the CSR.")
        if certificate.subject != x.name(authority.config):
            raise invalid("pem_ca_certificate does not have the subject of the CSR.")
        try:
            is_ca = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        except x509.ExtensionNotFound:
            is_ca = False
        if not is_ca:
            raise invalid("pem_ca_certificate is not a CA certificate.")
        config = found.get("subordinateConfig", {})
        if "certificateAuthority" in config:
            issuers = list(self.authority(config["certificateAuthority"]).chain)
        else:
            texts = config.get("pemIssuerChain", {}).get("pemCertificates", [])
            issuers = [x.parse(text, "pem_issuer_chain") for text in texts]
        if not issuers:
            raise invalid("subordinate_config must name the issuers of pem_ca_certificate, up to the self-signed CA.")
        chain = [certificate, *issuers]
        for below, above in zip(chain, chain[1:]):
            if not x.issued(below, above):
                raise invalid("pem_issuer_chain is not ordered from the issuer to the root.")
        if not x.issued(chain[-1], chain[-1]):
            raise invalid("pem_issuer_chain must end with a self-signed certificate.")
        return chain

    def enable(self, name, request_id):
        return self.change("enable", name, ["STAGED", "DISABLED"], "ENABLED", request_id)

    def disable(self, name, request_id):
        return self.change("disable", name, ["STAGED", "ENABLED"], "DISABLED", request_id)

    def undelete(self, name, request_id):
        return self.change("undelete", name, ["DELETED"], "DISABLED", request_id)

    def delete(self, name, query):
        def prepare(authority):
            at = x.now()
            active = [
                one
                for one in self.certificates.values()
                if one["issuerCertificateAuthority"] == name
                and not one.get("revocationDetails")
                and x.parse(one["pemCertificate"], "certificate").not_valid_after_utc > at
            ]
            if active and query.get("ignoreActiveCertificates") != "true":
                raise precondition(f"CertificateAuthority '{name}' has {len(active)} active certificates.")

            def act():
                authority.message["deleteTime"] = at
                authority.message["expireTime"] = at + 30 * DAY
                if query.get("skipGracePeriod") == "true":
                    del authority.pool.authorities[name.rpartition("/")[2]]

            return act

        allowed = ["DISABLED", "AWAITING_USER_ACTIVATION"]
        return self.change("delete", name, allowed, "DELETED", query.get("requestId"), prepare)

    # Certificates

    def get_certificate(self, name):
        pool = self.pool(name.rpartition("/certificates/")[0])
        if not pool.enterprise:
            raise precondition("Certificates of CAs in the DevOps tier cannot be retrieved.")
        if name not in self.certificates:
            raise not_found(name)
        return self.certificates[name]

    def list_certificates(self, parent, query):
        if not self.pool(parent).enterprise:
            raise precondition("Certificates of CAs in the DevOps tier cannot be listed.")
        self.quotas.take("certificates.list")
        found = [one for name, one in self.certificates.items() if name.startswith(parent + "/certificates/")]
        filter = query.get("filter")
        if filter:
            serials = [SERIAL_FILTER.fullmatch(term.strip()) for term in filter.split(" OR ")]
            if not all(serials):
                raise invalid(f"The filter {filter} is not understood.")
            serials = {match[1].lstrip("0") for match in serials}
            found = [one for one in found if serial(one) in serials]
        return found[: int(query.get("pageSize") or 100)]

    def revoke(self, name, found):
        certificate = self.get_certificate(name)
        if "revocationDetails" in certificate:
            raise precondition("The certificate is revoked already.")
        certificate["revocationDetails"] = {
            "revocationState": found.get("reason", "REVOCATION_REASON_UNSPECIFIED"),
            "revocationTime": x.now(),
        }
        return certificate

    def create_certificate(self, parent, query, found):
        self.settle()
        pool = self.pool(parent)
        request_id = query.get("requestId", "")
        known = self.known("certificates.create", parent, request_id)
        if known is not None:
            return known
        name = self.certificate_name(pool, query.get("certificateId", ""))
        authority = self.issuer(pool, query.get("issuingCertificateAuthorityId", ""))
        self.quotas.take("certificates.create " + pool.message["tier"], authority.name)
        self.quotas.take("certificates.create project")
        issued = self.issue(pool, authority, found)
        answer = {
            **found,
            "name": name,
            "issuerCertificateAuthority": authority.name,
            "pemCertificate": x.pem(issued),
            "pemCertificateChain": self.told_chain(authority),
            "createTime": x.now(),
            "updateTime": x.now(),
        }
        if query.get("validateOnly") == "true":
            return {**found, "pemCertificateChain": []}
        self.issued += 1
        if pool.enterprise:
            self.certificates[name] = answer
        self.remember("certificates.create", parent, request_id, answer)
        return answer

    def certificate_name(self, pool, identifier):
        if not pool.enterprise:
            # The id is ignored.
            stamp = x.now().strftime("%Y%m%d")
            identifier = f"{stamp}-{secrets.token_hex(6)}"
        elif not identifier:
            raise invalid("certificate_id is required for CAs in the Enterprise tier.")
        elif not IDENTIFIER.fullmatch(identifier):
            raise invalid("certificate_id must match [a-zA-Z0-9_-]{1,63}.")
        # Unique in the location, not only in the pool.
        if any(known.endswith(f"/certificates/{identifier}") for known in self.certificates):
            raise ServiceError("ALREADY_EXISTS", f"A certificate with the id '{identifier}' already exists.")
        return f"{pool.name}/certificates/{identifier}"

    def issuer(self, pool, identifier):
        if self.faults.take("certificates.create", "before", "wrongCa"):
            others = [ca for key, ca in pool.authorities.items() if key != identifier]
            return secrets.choice([ca for ca in others if ca.chain])
        if not identifier:
            enabled = [ca for ca in pool.authorities.values() if ca.state == "ENABLED"]
            if not enabled:
                raise precondition(f"CaPool '{pool.name}' has no enabled CertificateAuthority.")
            return secrets.choice(enabled)
        name = f"{pool.name}/certificateAuthorities/{identifier}"
        authority = self.authority(name)
        if authority.state not in ("ENABLED", "STAGED"):
            raise precondition(f"CertificateAuthority '{name}' is in state {authority.state} and cannot issue.")
        return authority

    def issue(self, pool, authority, found):
        policy = pool.policy
        modes = policy.get("allowedIssuanceModes", {})
        if ("pemCsr" in found) == ("config" in found):
            raise invalid("Exactly one of certificate.pem_csr and certificate.config must be specified.")
        if modes and not modes.get("allowConfigBasedIssuance" if "config" in found else "allowCsrBasedIssuance"):
            raise invalid("The issuance policy of the CaPool does not allow this mode of issuance.")
        lifetime = found.get("lifetime", 0)
        if lifetime <= 0:
            raise invalid("certificate.lifetime must be positive.")
        longest = policy.get("maximumLifetime")
        if longest and lifetime > longest:
            raise invalid(f"certificate.lifetime exceeds the maximum lifetime of the CaPool, {longest:g}s.")
        subject, key, extensions = self.wanted(found)
        start = x.now() - datetime.timedelta(seconds=policy.get("backdateDuration", 0))
        if "requestedNotBeforeTime" in found:
            if not policy.get("allowRequesterSpecifiedNotBeforeTime"):
                raise invalid("The issuance policy of the CaPool does not allow requested_not_before_time.")
            start = found["requestedNotBeforeTime"]
        # Whoever asks for more than its issuers have left gets less, and is not told.
        end = min(start + datetime.timedelta(seconds=lifetime), *(one.not_valid_after_utc for one in authority.chain))
        if self.faults.take("certificates.create", "before", "truncate"):
            end = start + (end - start) / 2
        certificate = authority.chain[0]
        constraint = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length
        is_ca = any(isinstance(one, x509.BasicConstraints) and one.ca for one, _ in extensions)
        if is_ca and constraint == 0:
            raise invalid("The issuing CA has a path length of 0 and cannot issue CA certificates.")
        issuer = (
            certificate.subject,
            authority.key,
            x.DIGESTS[authority.algorithm],
            x.key_identifier(certificate),
        )
        return x.build(subject, key, extensions, start, end, issuer)

    @staticmethod
    def wanted(found):
        """Subject, key and extensions, from the config or, taken over as they are, from the request."""
        if "config" in found:
            config = found["config"]
            key = x.public_key(config)
            extensions = list(x.extensions(config, key))
            subject = x.name(config)
            if not list(subject) and not x.alternative_names(config):
                raise invalid("certificate.config must have a subject or a subject alternative name.")
            return subject, key, extensions
        request = x.request(found["pemCsr"])
        key = x.acceptable(request.public_key())
        extensions = [(x509.SubjectKeyIdentifier.from_public_key(key), False)]
        kept = (x509.KeyUsage, x509.ExtendedKeyUsage, x509.SubjectAlternativeName, x509.BasicConstraints)
        extensions += [(one.value, one.critical) for one in request.extensions if isinstance(one.value, kept)]
        return request.subject, key, extensions

    def told_chain(self, authority):
        chain = [x.pem(one) for one in authority.chain]
        if self.faults.take("certificates.create", "before", "reverseChain"):
            chain.reverse()
        if self.faults.take("certificates.create", "before", "noRoot"):
            chain.pop()
        return chain
