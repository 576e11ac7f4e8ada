"""One party of the relay, a server or an agent, as a process of its own with OpenSSL.

It does what the parties of the folder `party` do; its orders are described there. It reads its
certificate and its trust bundle again for each connection, or neither.
"""

import base64
import hashlib
import itertools
import json
import os
import re
import signal
import socket
import ssl
import sys
import threading
import time

PATIENCE = 30
BEAT = 0.5
ATTEMPTS = 5
told = threading.Event()


def certificates(path):
    with open(path, encoding="ascii") as file:
        text = file.read()
    found = re.findall("-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", text, re.DOTALL)
    return [hashlib.sha256(base64.b64decode(body)).hexdigest()[:8] for body in found]


class Context:
    """What a party presents and believes, from one state of each volume."""

    def __init__(self, orders, protocol):
        for attempt in range(ATTEMPTS):
            try:
                return self.read(orders, protocol)
            except FileNotFoundError:
                # The state was replaced while we read it.
                if attempt == ATTEMPTS - 1:
                    raise

    def read(self, orders, protocol):
        own = os.path.realpath(os.path.join(orders["credentials"], "..data"))
        trust = os.path.realpath(os.path.join(orders["trust"], "..data"))
        # Only the given roots: nothing of the system is loaded.
        self.tls = ssl.SSLContext(protocol)
        self.tls.verify_mode = ssl.CERT_REQUIRED
        self.tls.load_cert_chain(os.path.join(own, "tls.crt"), os.path.join(own, "tls.key"))
        self.tls.load_verify_locations(os.path.join(trust, "ca.crt"))
        # Each handshake is a whole one.
        self.tls.options |= ssl.OP_NO_TICKET
        self.presented = certificates(os.path.join(own, "tls.crt"))
        self.held = certificates(os.path.join(trust, "ca.crt"))


class Records:
    def __init__(self, path):
        self.file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def write(self, peer, port, error=None, context=None):
        record = {"at": time.time(), "with": peer, "port": port}
        if error is not None:
            record["error"] = error
            if context is not None:
                record |= {"presented": context.presented, "held": context.held}
        os.write(self.file, (json.dumps(record) + "\n").encode())


def reason(error):
    return f"{type(error).__name__}: {error}"


def line(stream):
    """One line, or nothing at the end."""
    read = b""
    while not read.endswith(b"\n"):
        more = stream.recv(200)
        if not more:
            return read.decode()
        read += more
    return read.decode()


def close(stream):
    """Says goodbye and does not wait for it to be returned."""
    try:
        stream.settimeout(0)
        stream.unwrap()
    except (OSError, ValueError):
        pass
    stream.close()


def greet(stream, name):
    stream.sendall(f"hello {name}\n".encode())
    answer = line(stream)
    if answer != f"welcome {name}\n":
        raise ConnectionError(f"the server answers {answer!r}")


def agent(orders):
    records = Records(orders["records"])
    context = None
    version = ssl.TLSVersion.TLSv1_2 if orders["tls12"] else ssl.TLSVersion.TLSv1_3
    for server, address in itertools.cycle(orders["servers"].items()):
        port, stream = 0, None
        try:
            if context is None or orders["rereadsCertificate"]:
                context = Context(orders, ssl.PROTOCOL_TLS_CLIENT)
                context.tls.minimum_version = context.tls.maximum_version = version
            host, number = address.split(":")
            stream = socket.create_connection((host, int(number)), PATIENCE)
            port = stream.getsockname()[1]
            stream = context.tls.wrap_socket(stream, server_hostname=orders["authority"])
            # Only the answer proves that the server accepted our certificate.
            greet(stream, orders["name"])
        except (OSError, ValueError) as error:
            records.write(server, port, reason(error), context)
        else:
            records.write(server, port)
            hold(orders, stream)
        if stream is not None:
            stream.close()
        if told.wait(orders["pause"] / 1000):
            return


def hold(orders, stream):
    """Goes on talking. The server may end that when it is restarted, which is no failed handshake."""
    until = time.monotonic() + orders["hold"] / 1000
    try:
        while time.monotonic() < until and not told.wait(BEAT):
            greet(stream, orders["name"])
    except OSError:
        return
    close(stream)


def server(orders):
    records = Records(orders["records"])
    # A successor accepts from the same queue, so that a restart loses no connection.
    listener = socket.socket(fileno=os.dup(0))
    listener.settimeout(0.2)
    context, connections = None, []
    while not told.is_set():
        try:
            stream, (_, port) = listener.accept()
        except (TimeoutError, BlockingIOError):
            continue
        if context is None or orders["rereadsCertificate"]:
            context = Context(orders, ssl.PROTOCOL_TLS_SERVER)
            context.tls.num_tickets = 0
        thread = threading.Thread(target=serve, args=(stream, port, context, records))
        thread.start()
        connections = [thread] + [other for other in connections if other.is_alive()]
    for thread in connections:
        thread.join()


def serve(stream, port, context, records):
    name = ""
    try:
        stream.settimeout(PATIENCE)
        stream = context.tls.wrap_socket(stream, server_side=True)
        # As the relay server derives it: the one DNS name.
        ((kind, name),) = stream.getpeercert()["subjectAltName"]
        if kind != "DNS" or not answer(stream, name):
            raise ConnectionError(f"{name} said nothing")
    except (OSError, ValueError) as error:
        records.write(name, port, reason(error), context)
        stream.close()
        return
    records.write(name, port)
    try:
        # Short, so that it soon sees that it has to end.
        stream.settimeout(0.2)
        while not told.is_set():
            try:
                if not answer(stream, name):
                    break
            except TimeoutError:
                continue
    except OSError:
        pass
    close(stream)


def answer(stream, name):
    """Answers a line; whether there was one."""
    said = line(stream)
    if not said:
        return False
    if said != f"hello {name}\n":
        raise ConnectionError(f"{name} says {said!r}")
    stream.sendall(f"welcome {name}\n".encode())
    return True


def main():
    orders = json.loads(sys.argv[1])
    if orders["rereadsCertificate"] != orders["rereadsTrust"]:
        sys.exit("party.py: it reads both again, or neither")
    signal.signal(signal.SIGTERM, lambda *_: told.set())
    {"agent": agent, "server": server}[orders["role"]](orders)


if __name__ == "__main__":
    main()
