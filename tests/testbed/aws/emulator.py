"""AWS Private CA and AWS STS on a loopback port, as strict as the documented services are.

Keys are real and so are signatures, those of requests included. Beside the service there is
/_control, with which tests make accounts, order faults and count.
"""

import argparse
import datetime
import http.server
import json
import secrets
import socket
import socketserver
import urllib.parse
import uuid

import control
import faults
import signature
from errors import Disconnect, ServiceError
from service import Service

TARGET = "ACMPrivateCA."
MAX_BODY = 4 * 1024 * 1024
ROLE_LIFETIME = datetime.timedelta(hours=1)


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    service = Service()
    sessions = {}
    timeout = 60

    def do_POST(self):
        try:
            length = int(self.headers.get("content-length", "0"))
            if length > MAX_BODY:
                raise ServiceError("SerializationException", "the request is too large", 413)
            body = self.rfile.read(length)
            if self.path.startswith("/_control/"):
                self.answer(200, control.VERBS[self.path.removeprefix("/_control/")](self.service, json.loads(body)))
            elif self.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
                self.assume_role(body)
            else:
                self.answer(200, self.acm_pca(body))
        except Disconnect:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        except ServiceError as error:
            self.answer(error.status, {"__type": error.code, "message": error.message}, error.headers)

    def do_GET(self):
        self.answer(200, {"ready": True})

    def acm_pca(self, body):
        if self.headers.get("content-type") != "application/x-amz-json-1.1":
            raise ServiceError("UnknownOperationException", "the content type is not application/x-amz-json-1.1", 404)
        target = self.headers.get("x-amz-target", "")
        if not target.startswith(TARGET):
            raise ServiceError("UnknownOperationException", f"unknown target {target}", 404)
        operation = target.removeprefix(TARGET)
        account, region = self.caller("acm-pca", body)
        try:
            arguments = json.loads(body)
        except ValueError:
            raise ServiceError("SerializationException", "the body is not JSON") from None
        fault = next((one for one in account.faults if one.take(operation)), None)
        return faults.run(fault, lambda: self.service.call(account, region, operation, arguments))

    def caller(self, service, body):
        """The account that signed, and the region that it signed for."""
        headers = {name.lower(): value for name, value in self.headers.items()}
        signed = signature.verify(service, self.command, self.path, headers, body, self.secret_of)
        session = self.sessions.get(signed.access_key)
        if session and signed.token != session["token"]:
            raise ServiceError("UnrecognizedClientException", "The security token included in the request is invalid.")
        account = self.service.accounts[session["account"] if session else signed.access_key]
        if account.expired:
            raise ServiceError("ExpiredTokenException", "The security token included in the request is expired")
        return account, signed.region

    def secret_of(self, access_key):
        if access_key in self.sessions:
            return self.sessions[access_key]["secret"]
        account = self.service.accounts.get(access_key)
        return account.secret_key if account else None

    def assume_role(self, body):
        """STS AssumeRole: a session in the account of the role. Its external id is `relay`, if any."""
        form = dict(urllib.parse.parse_qsl(body.decode()))
        if form.get("Action") != "AssumeRole":
            raise ServiceError("InvalidAction", f"unknown action {form.get('Action')}")
        self.caller("sts", body)
        number = form["RoleArn"].split(":")[4]
        owner = next((one for one in self.service.accounts.values() if one.number == number), None)
        if owner is None or form.get("ExternalId", "relay") != "relay":
            return self.xml(
                403,
                "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>User is not authorized to "
                f"perform: sts:AssumeRole on resource: {form['RoleArn']}</Message></Error></ErrorResponse>",
            )
        key, secret, token = f"ASIA{uuid.uuid4().hex[:16].upper()}", secrets.token_hex(20), secrets.token_hex(40)
        self.sessions[key] = {"account": owner.access_key, "secret": secret, "token": token}
        ends = (datetime.datetime.now(datetime.timezone.utc) + ROLE_LIFETIME).strftime("%Y-%m-%dT%H:%M:%SZ")
        return self.xml(
            200,
            '<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>'
            f"<AccessKeyId>{key}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey>"
            f"<SessionToken>{token}</SessionToken><Expiration>{ends}</Expiration></Credentials><AssumedRoleUser>"
            f"<Arn>{form['RoleArn']}/{form['RoleSessionName']}</Arn><AssumedRoleId>AROA:relay</AssumedRoleId>"
            "</AssumedRoleUser></AssumeRoleResult></AssumeRoleResponse>",
        )

    def xml(self, status, text):
        self.send(status, "text/xml", text.encode(), {})

    def answer(self, status, content, headers=None):
        self.send(status, "application/x-amz-json-1.1", json.dumps(content).encode(), headers or {})

    def send(self, status, kind, body, headers):
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.send_header("x-amzn-requestid", str(uuid.uuid4()))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """A thread for each connection."""

    daemon_threads = True
    request_queue_size = 128


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    Server(("127.0.0.1", arguments.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
