"""An emulator of Google Certificate Authority Service, for tests: the REST service, v1, over plain HTTP.

It shares no code with the provider and is proved by Google's own Python client. Usage: server.py PORT.
"""

import http.server
import json
import re
import socket
import sys
import threading
import time
import urllib.parse

import wire
from errors import ServiceError, invalid
from identity import bearer, unauthenticated
from project import Project, TYPE_URL

POOL = r"projects/([^/]+)/locations/[^/]+/caPools/[^/:]+"
NAME = r"[^/:]+"
ADMIN = sorted(
    f"privateca.{permission}"
    for permission in [
        "caPools.get",
        "certificateAuthorities.create",
        "certificateAuthorities.delete",
        "certificateAuthorities.get",
        "certificateAuthorities.list",
        "certificateAuthorities.update",
        "certificates.create",
        "certificates.get",
        "certificates.list",
        "certificates.update",
        "operations.get",
    ]
)

# Method, path, name of the method, permission, message of the request, what it does.
ROUTES = [
    ("GET", POOL, "caPools.get", "caPools.get", None, "get_pool"),
    ("POST", POOL + ":fetchCaCerts", "caPools.fetchCaCerts", "caPools.get", "FetchCaCertsRequest", "fetch_ca_certs"),
    ("POST", POOL + ":testIamPermissions", "caPools.testIamPermissions", None, "TestIamPermissionsRequest",
     "test_permissions"),
    ("POST", POOL + "/certificateAuthorities", "certificateAuthorities.create", "certificateAuthorities.create",
     "CertificateAuthority", "create_authority"),
    ("GET", POOL + "/certificateAuthorities", "certificateAuthorities.list", "certificateAuthorities.list", None,
     "list_authorities"),
    ("GET", f"{POOL}/certificateAuthorities/{NAME}", "certificateAuthorities.get", "certificateAuthorities.get", None,
     "get_authority"),
    ("GET", f"{POOL}/certificateAuthorities/{NAME}:fetch", "certificateAuthorities.fetch",
     "certificateAuthorities.get", None, "fetch_request"),
    ("POST", f"{POOL}/certificateAuthorities/{NAME}:activate", "certificateAuthorities.activate",
     "certificateAuthorities.update", "ActivateCertificateAuthorityRequest", "activate"),
    ("POST", f"{POOL}/certificateAuthorities/{NAME}:enable", "certificateAuthorities.enable",
     "certificateAuthorities.update", "EnableCertificateAuthorityRequest", "enable"),
    ("POST", f"{POOL}/certificateAuthorities/{NAME}:disable", "certificateAuthorities.disable",
     "certificateAuthorities.update", "DisableCertificateAuthorityRequest", "disable"),
    ("POST", f"{POOL}/certificateAuthorities/{NAME}:undelete", "certificateAuthorities.undelete",
     "certificateAuthorities.update", "UndeleteCertificateAuthorityRequest", "undelete"),
    ("DELETE", f"{POOL}/certificateAuthorities/{NAME}", "certificateAuthorities.delete",
     "certificateAuthorities.delete", None, "delete"),
    ("POST", POOL + "/certificates", "certificates.create", "certificates.create", "Certificate",
     "create_certificate"),
    ("GET", POOL + "/certificates", "certificates.list", "certificates.list", None, "list_certificates"),
    ("GET", f"{POOL}/certificates/{NAME}", "certificates.get", "certificates.get", None, "get_certificate"),
    ("POST", f"{POOL}/certificates/{NAME}:revoke", "certificates.revoke", "certificates.update",
     "RevokeCertificateRequest", "revoke"),
    ("GET", r"projects/([^/]+)/locations/[^/]+/operations/[^/:]+", "operations.get", "operations.get", None,
     "operation"),
]
QUERY = {
    "certificates.create": {"certificateId", "requestId", "validateOnly", "issuingCertificateAuthorityId"},
    "certificateAuthorities.create": {"certificateAuthorityId", "requestId"},
    "certificateAuthorities.delete": {
        "requestId", "ignoreActiveCertificates", "skipGracePeriod", "ignoreDependentResources",
    },
    "certificateAuthorities.list": {"pageSize", "pageToken", "filter", "orderBy"},
    "certificates.list": {"pageSize", "pageToken", "filter", "orderBy"},
}


class Service:
    def __init__(self):
        self.lock = threading.Lock()
        self.projects = {}
        self.workload = None

    # The control endpoint, for tests

    def control(self, method, path, body):
        parts = path.split("/")
        if parts == ["health"]:
            return {}
        if parts == ["projects"] and method == "POST":
            return self.new_project(body)
        project = self.projects[parts[1]]
        with project.lock:
            return self.control_project(project, method, parts[2], body)

    def new_project(self, body):
        with self.lock:
            name = f"relay-{len(self.projects) + 1}"
            body = {"permissions": ADMIN} | body
            project = self.projects[name] = Project(name, body)
            if body.get("workload"):
                self.workload = project
        pools = []
        for number, found in enumerate(body.get("pools", [{}])):
            pool = f"projects/{name}/locations/europe-west1/caPools/pool-{number + 1}"
            found = wire.decode("CaPool", {"tier": "ENTERPRISE"} | found, "ca_pool")
            project.add_pool(pool, found)
            pools.append(pool)
        return {"project": name, "pools": pools, "key": project.account.new_key()}

    @staticmethod
    def control_project(project, method, what, body):
        if what == "faults":
            project.faults.clear() if method == "DELETE" else project.faults.add(body)
            return {}
        if what == "counts":
            project.settle()
            return {"issued": project.issued, "calls": project.calls}
        if what == "trace":
            return {"requests": project.trace}
        if what == "permissions":
            project.account.permissions = set(body["permissions"])
            return {}
        if what == "credential":
            project.account.valid = body["valid"]
            return {}
        if what == "key":
            project.account.keys = {}
            return project.account.new_key()
        if what == "token":
            return project.account.new_token()
        if what == "hour":
            project.forget_requests()
            return {}
        raise invalid(what)

    # The metadata server

    def metadata(self, path, headers):
        if headers.get("Metadata-Flavor") != "Google":
            raise ServiceError("PERMISSION_DENIED", "Missing Metadata-Flavor:Google header.")
        account = self.workload.account
        if path == "instance/service-accounts/default/token":
            return account.new_token()
        if path == "universe/universe-domain":
            return "googleapis.com"
        if path == "instance/service-accounts/default/email":
            return account.email
        raise ServiceError("NOT_FOUND", path)

    # The service itself

    def serve(self, method, path, query, headers, body, answer):
        for verb, pattern, name, permission, kind, action in ROUTES:
            match = re.fullmatch(pattern, path)
            if verb == method and match:
                break
        else:
            raise ServiceError("NOT_FOUND", f"Method not found: {method} {path}")
        alt = query.pop("$alt", "json")
        if alt not in ("json", "json;enum-encoding=int"):
            raise invalid(f"Unknown $alt: {alt}")
        unknown = set(query) - QUERY.get(name, set())
        if unknown:
            raise invalid(f"Invalid JSON payload received. Unknown name \"{unknown.pop()}\": Cannot bind query parameter.")
        token = bearer(headers.get("Authorization"))
        project = self.projects.get(match.group(1))
        if project is None:
            raise unauthenticated()
        found = wire.decode(kind, body, kind) if kind else None
        delay = project.faults.take(name, "before", "delay")
        if delay:
            time.sleep(delay["seconds"])
        with project.lock:
            project.calls[name] = project.calls.get(name, 0) + 1
            project.trace.append({"method": name, "query": query, "body": body})
            answer.fault(project.faults.take(name, "before", "cut", "error", "raw"))
            if not project.account.accepts(token):
                raise unauthenticated()
            if permission and f"privateca.{permission}" not in project.account.permissions:
                raise ServiceError(
                    "PERMISSION_DENIED",
                    f"Permission 'privateca.{permission}' denied on resource "
                    f"'//privateca.googleapis.com/{path.partition(':')[0]}' (or it may not exist).",
                )
            project.quotas.take("requests")
            if method != "GET" and name != "certificates.create":
                project.quotas.take("mutations")
            result = self.act(project, action, path.partition(":")[0], query, found)
            answer.fault(project.faults.take(name, "after", "cut", "error"))
            return self.shown(name, result, alt != "json")

    @staticmethod
    def act(project, action, name, query, found):
        act = getattr(project, action)
        request_id = (found or {}).get("requestId", "")
        if action == "create_authority":
            parent = name.rpartition("/")[0]
            return act(parent, query.get("certificateAuthorityId", ""), found, query.get("requestId", ""))
        if action == "create_certificate":
            return act(name.rpartition("/")[0], query, found)
        if action == "list_authorities":
            return act(name.rpartition("/")[0])
        if action == "list_certificates":
            return act(name.rpartition("/")[0], query)
        if action in ("activate", "revoke", "test_permissions"):
            return act(name, found)
        if action in ("enable", "disable", "undelete"):
            return act(name, request_id)
        if action == "delete":
            return act(name, query)
        return act(name)

    @staticmethod
    def shown(name, result, numbers):
        if name == "caPools.get":
            return wire.encode("CaPool", result, numbers)
        if name == "certificateAuthorities.get":
            return wire.encode("CertificateAuthority", result, numbers)
        if name == "certificateAuthorities.list":
            shown = [wire.encode("CertificateAuthority", one, numbers) for one in result]
            return {"certificateAuthorities": shown}
        if name == "certificates.list":
            return {"certificates": [wire.encode("Certificate", one, numbers) for one in result]}
        if name.startswith("certificates."):
            return wire.encode("Certificate", result, numbers)
        response = result.get("response")
        if response:
            # What an operation made is shown as it is now.
            view = wire.encode("CertificateAuthority", response[""].view(), numbers)
            return {**result, "response": {"@type": TYPE_URL + "CertificateAuthority", **view}}
        return result


class Cut(Exception):
    """The connection ends without an answer."""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "ESF"

    def fault(self, fault):
        if fault is None:
            return
        if fault["effect"] == "cut":
            raise Cut
        if fault["effect"] == "raw":
            raise Raw(fault["status"])
        message = "The service is currently unavailable."
        raise ServiceError(fault["status"], message, retry_after=fault.get("retryAfter"))

    def handle_any(self):
        length = int(self.headers.get("Content-Length") or 0)
        text = self.rfile.read(length)
        parsed = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(parsed.query))
        path = urllib.parse.unquote(parsed.path)
        service = self.server.service
        try:
            body = json.loads(text) if text else {}
            if path.startswith("/control/"):
                self.send(200, service.control(self.command, path.removeprefix("/control/"), body))
            elif path.startswith("/computeMetadata/v1/"):
                self.send(200, service.metadata(path.removeprefix("/computeMetadata/v1/"), self.headers))
            elif path.startswith("/v1/"):
                name = path.removeprefix("/v1/")
                self.send(200, service.serve(self.command, name, query, self.headers, body, self))
            else:
                self.send(404, {})
        except ServiceError as error:
            self.send(error.http, error.body(), error.retry_after)
        except json.JSONDecodeError:
            error = invalid("Invalid JSON payload received.")
            self.send(error.http, error.body())
        except Raw as raw:
            self.send(int(str(raw)), "<html><title>Error</title></html>")
        except Cut:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

    do_GET = do_POST = do_PATCH = do_DELETE = handle_any

    def send(self, status, body, retry_after=None):
        plain = isinstance(body, str)
        content = body.encode() if plain else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if plain else "application/json; charset=UTF-8")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Metadata-Flavor", "Google")
        if retry_after is not None:
            self.send_header("Retry-After", str(retry_after))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, form, *arguments):
        # Never headers: they carry tokens.
        sys.stderr.write("%s\n" % (form % arguments))


class Raw(Exception):
    """An answer of something in between that is not the service."""


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def main():
    server = Server(("127.0.0.1", int(sys.argv[1])), Handler)
    server.service = Service()
    server.serve_forever()


if __name__ == "__main__":
    main()
