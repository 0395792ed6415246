#!/usr/bin/env python3
"""Plants one fault in a deployment of livekit-otel, runs the program as an operator would, and prints where the cause
is: the first warning or error of the log, or what the named command prints.

    planted.py all            each fault, one after the other
    planted.py N              one fault
    planted.py N --blind      plants it and says nothing, for somebody who has to find it; Ctrl-C ends it

The program is $LIVEKIT_OTEL, or livekit-otel of $PATH. It needs Python 3.8 and openssl, and no privileges: the full
disk is a small file system where the kernel lets a user mount one, and else a journal at its limit.
"""

import base64
import contextlib
import hashlib
import hmac
import http.client
import http.server
import json
import os
import queue
import re
import shutil
import signal
import socket
import socketserver
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time

PROGRAM = shutil.which(os.environ.get("LIVEKIT_OTEL", "livekit-otel"))
PROGRAM = PROGRAM and os.path.abspath(PROGRAM)
KEY, SECRET = "devkey", "made-up-secret-of-thirty-two-characters"
PATIENCE = 60.0
BODY = json.dumps({"event": "room_started", "id": "EV_planted", "room": {"sid": "RM_planted", "name": "planted"}})


class NotFound(Exception):
    """Nothing says the cause."""


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def token(body=None, since=0, grants=None):
    """What LiveKit signs; `since` is by how many seconds its clock is behind ours."""
    now = int(time.time()) - since
    claims = {"iss": KEY, "nbf": now, "exp": now + 300}
    if body is not None:
        claims["sha256"] = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
    if grants is not None:
        claims["video"] = grants
    head = base64url(json.dumps({"alg": "HS256", "typ": "JWT"}).encode())
    signed = f"{head}.{base64url(json.dumps(claims).encode())}"
    return f"{signed}.{base64url(hmac.new(SECRET.encode(), signed.encode(), hashlib.sha256).digest())}"


def post(address, body=BODY, **signed):
    """A webhook; `signed_body` is the body that LiveKit signed, if it is another one."""
    signed_body = signed.pop("signed_body", body)
    host, port = address.rsplit(":", 1)
    connection = http.client.HTTPConnection(host, int(port), timeout=PATIENCE)
    headers = {"Authorization": token(signed_body, **signed), "Content-Type": "application/webhook+json"}
    connection.request("POST", "/webhook", body, headers)
    status = connection.getresponse().status
    connection.close()
    return status


def stream(address, bearer):
    """Opens an analytics stream over HTTP/2 (RFC 9113) with this token; header fields are literals (RFC 7541, 6.2.2)."""

    def string(text):
        data = text.encode()
        size, rest = bytearray(), len(data)
        if rest < 127:
            return bytes([rest]) + data
        size.append(127)
        rest -= 127
        while rest >= 128:
            size.append(rest % 128 + 128)
            rest //= 128
        size.append(rest)
        return bytes(size) + data

    def frame(kind, flags, stream_id, payload):
        return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream_id) + payload

    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": "/livekit.AnalyticsRecorderService/IngestEvents",
        ":authority": address,
        "content-type": "application/grpc",
        "te": "trailers",
        "authorization": f"Bearer {bearer}",
    }
    block = b"".join(b"\0" + string(name) + string(value) for name, value in fields.items())
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"") + frame(1, 5, 1, block))
        # Until the answer to the request.
        answers = connection.makefile("rb")
        while len(head := answers.read(9)) == 9:
            answers.read(int.from_bytes(head[:3], "big"))
            if head[3] == 1:
                return


class Http(http.server.BaseHTTPRequestHandler):
    """A collector over HTTP/1 that answers as its server says."""

    # Of the answer to what it can't read: another protocol.
    default_request_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, text = self.server.answer
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        pass


class Deployment:
    """A directory, the servers that the fault needs, and what ends with them."""

    def __init__(self, stack):
        self.stack = stack
        self.directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="livekit-otel-planted-"))

    def collector(self, answer=(200, ""), with_tls=False):
        server = Server(("127.0.0.1", 0), Http)
        server.answer = answer
        if with_tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self.certificate())
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.stack.callback(server.shutdown)
        return f"127.0.0.1:{server.server_address[1]}"

    def well(self):
        """A collector that accepts everything, and how it is spoken to."""
        return f"http://{self.collector()}", "--protocol", "http/protobuf"

    def certificate(self):
        """Of a server, signed by an authority that nobody knows."""
        path = lambda name: os.path.join(self.directory, name)
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]

        def openssl(*args):
            subprocess.run(["openssl", *args], check=True, capture_output=True)

        with open(path("server.ext"), "w", encoding="utf-8") as extensions:
            extensions.write("subjectAltName=IP:127.0.0.1\n")
        openssl("req", "-x509", *key, "-days", "1", "-subj", "/CN=planted CA", "-out", path("ca.pem"), "-keyout", path("ca.key"))
        openssl("req", *key, "-subj", "/CN=planted", "-out", path("server.csr"), "-keyout", path("server.key"))
        signed = ["-CA", path("ca.pem"), "-CAkey", path("ca.key"), "-CAcreateserial", "-extfile", path("server.ext")]
        openssl("x509", "-req", "-in", path("server.csr"), *signed, "-days", "1", "-out", path("server.pem"))
        return path("server.pem"), path("server.key")

    def refusing(self):
        """An address at which nothing listens."""
        reserved = self.stack.enter_context(socket.socket())
        reserved.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{reserved.getsockname()[1]}"

    def file(self, text):
        path = os.path.join(self.directory, "livekit-otel.yaml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path


class Run:
    """A process whose log is read as it is written."""

    def __init__(self, deployment, args, env, prefix=()):
        self.env = {**os.environ, "LIVEKIT_KEYS": f"{KEY}: {SECRET}", "OTEL_METRIC_EXPORT_INTERVAL": "500", **env}
        self.command = [PROGRAM, *args]
        pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "env": self.env}
        self.process = subprocess.Popen([*prefix, *self.command], text=True, cwd=deployment.directory, **pipes)
        deployment.stack.callback(self.end)
        self.lines, self.log = queue.Queue(), []
        self.path = os.path.join(deployment.directory, "livekit-otel.log")
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        with open(self.path, "w", encoding="utf-8") as file:
            for line in self.process.stderr:
                line = re.sub(r"\x1b\[[0-9;]*m", "", line).rstrip("\n")
                print(line, file=file, flush=True)
                self.log.append(line)
                self.lines.put(line)
        self.lines.put(None)

    def wait_for(self, pattern):
        until = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(queue.Empty):
                line = self.lines.get(timeout=max(0.01, until - time.monotonic()))
                if line is None:
                    raise NotFound("the program ended:\n" + "\n".join(self.log))
                if re.search(pattern, line):
                    return line
            if time.monotonic() > until:
                raise NotFound(f"no line with {pattern!r}:\n" + "\n".join(self.log))

    def cause(self):
        """The first warning or error, but for what every start without a journal says."""
        return self.wait_for(r"^\S+ +(WARN|ERROR) (?!.*no journal\.dir)")

    def end(self):
        self.process.kill()
        self.process.wait()


def serve(deployment, collector, *args, prefix=(), **env):
    ports = ["--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"]
    run = Run(deployment, ["serve", *ports, "--endpoint", collector, *args], env, prefix)
    line = run.wait_for(" listening")
    run.listeners = dict(re.findall(r"\b(http|grpc|admin)=\"?([0-9.:]+)", line))
    run.http, run.grpc = run.listeners["http"], run.listeners["grpc"]
    return run


def check(deployment, *args, **env):
    """What `serve --check` prints of a configuration that can't work."""
    command = [PROGRAM, "serve", "--check", *args]
    env = {**os.environ, "LIVEKIT_KEYS": f"{KEY}: {SECRET}", **env}
    done = subprocess.run(command, env=env, cwd=deployment.directory, capture_output=True, text=True)
    if done.returncode == 0:
        raise NotFound("serve --check finds nothing")
    return "livekit-otel serve --check", done.stderr.strip()


def wrong_secret(deployment):
    secret = "another-made-up-secret-of-thirty-two-characters"
    run = serve(deployment, *deployment.well(), LIVEKIT_KEYS=f"{KEY}: {secret}")
    yield run, None
    post(run.http)


def skewed_clock(deployment):
    run = serve(deployment, *deployment.well())
    yield run, None
    post(run.http, since=612)


def wrong_port(deployment):
    yield serve(deployment, f"http://{deployment.collector()}"), None


def tls_to_plain(deployment):
    yield serve(deployment, f"https://{deployment.collector()}", "--protocol", "http/protobuf"), None


def plain_to_tls(deployment):
    yield serve(deployment, f"http://{deployment.collector(with_tls=True)}"), None


def unknown_ca(deployment):
    yield serve(deployment, f"https://{deployment.collector(with_tls=True)}"), None


def collector_401(deployment):
    collector = deployment.collector(answer=(401, "authorization failed: unknown API key"))
    yield serve(deployment, f"http://{collector}", "--protocol", "http/protobuf"), None


def full_disk(deployment):
    """Nothing is delivered, so the journal grows until its volume is full, or it is at its limit."""
    journal = os.path.join(deployment.directory, "journal")
    os.mkdir(journal)
    mount = f"mount -t tmpfs -o size=4m tmpfs {journal}"
    limits = "limits: {webhook_body: 64KiB, analytics_message: 64KiB}\n"
    prefix, size = (), "2MiB"
    if subprocess.run(["unshare", "-rm", "sh", "-c", mount], capture_output=True, check=False).returncode == 0:
        prefix, size = ("unshare", "-rm", "sh", "-c", f'{mount} && exec "$@"', "sh"), "1GiB"
    config = deployment.file(f"{limits}journal: {{dir: {journal}, max_bytes: {size}}}\n")
    run = serve(deployment, f"http://{deployment.refusing()}", "--config", config, prefix=prefix)
    yield run, r"nothing is accepted: "
    # Until LiveKit has to send it again.
    for nth in range(100_000):
        padding = "x" * 8_000
        body = json.dumps({"event": "room_started", "id": f"EV_{nth}", "room": {"sid": f"RM_{nth}", "name": padding}})
        if post(run.http, body) == 503:
            return
    raise NotFound("the journal takes everything")


def changed_body(deployment):
    run = serve(deployment, *deployment.well())
    yield run, None
    post(run.http, BODY + "\n", signed_body=BODY)


def no_grant(deployment):
    config = deployment.file("listen: {grpc_auth: token}\n")
    run = serve(deployment, *deployment.well(), "--config", config)
    yield run, None
    # What a participant joins with.
    stream(run.grpc, token(grants={"roomJoin": True, "room": "planted"}))


def one_port(deployment):
    return check(deployment, "--http", "127.0.0.1:9290", "--grpc", "127.0.0.1:9290")


def dns(deployment):
    yield serve(deployment, "http://otel-collector.invalid:4317"), None


def malformed_keys(deployment):
    return check(deployment, LIVEKIT_KEYS=f"{KEY}:{SECRET}")


FAULTS = [
    ("wrong secret", wrong_secret),
    ("a clock that is wrong", skewed_clock),
    ("the wrong port", wrong_port),
    ("TLS to a plain port", tls_to_plain),
    ("plain to a TLS port", plain_to_tls),
    ("an unknown CA", unknown_ca),
    ("a collector that answers 401", collector_401),
    ("a full disk", full_disk),
    ("a body that a proxy changed", changed_body),
    ("a token without the grant", no_grant),
    ("two listeners on one port", one_port),
    ("a name that DNS does not have", dns),
    ("LIVEKIT_KEYS malformed", malformed_keys),
]


def plant(nth):
    """Returns where the cause is, and its text."""
    with contextlib.ExitStack() as stack:
        planted = FAULTS[nth - 1][1](Deployment(stack))
        if isinstance(planted, tuple):
            return planted
        run, pattern = next(planted)
        for _ in planted:
            pass
        line = run.wait_for(pattern) if pattern else run.cause()
        # Without the time.
        return "the log", line.split(" ", 1)[1].strip()


def blind(nth):
    with contextlib.ExitStack() as stack:
        deployment = Deployment(stack)
        planted = FAULTS[nth - 1][1](deployment)
        if isinstance(planted, tuple):
            print(f"This does not start. It says:\n{planted[1]}")
            return
        run, _ = next(planted)
        print(f"LiveKit signs with the key {KEY} and the secret {SECRET}, and no telemetry arrives. The program runs:")
        settings = {name: value for name, value in run.env.items() if name.startswith(("LIVEKIT_", "OTEL_"))}
        print("  " + " ".join([*(f"{name}={value!r}" for name, value in settings.items()), *run.command]))
        names = {"http": "webhooks", "grpc": "streams", "admin": "status"}
        print("It listens: " + ", ".join(f"{names[name]} at {at}" for name, at in run.listeners.items()))
        print(f"Its whole log is {run.path}. Ctrl-C ends it, and removes that.\n", flush=True)
        for _ in planted:
            pass
        while (line := run.lines.get()) is not None:
            print(line, flush=True)


def main(args):
    if PROGRAM is None:
        raise SystemExit("livekit-otel is not there: set LIVEKIT_OTEL")
    if "--blind" in args:
        return blind(int(args[0]))
    if args != ["all"] and not (len(args) == 1 and args[0].isdigit() and 0 < int(args[0]) <= len(FAULTS)):
        raise SystemExit(__doc__)
    is_found = True
    for nth in range(1, len(FAULTS) + 1) if args == ["all"] else [int(args[0])]:
        try:
            where, text = plant(nth)
        except NotFound as not_found:
            where, text, is_found = "nothing says so", str(not_found), False
        print(f"{nth}. {FAULTS[nth - 1][0]}\n   {where}:", flush=True)
        print("".join(f"     {line}\n" for line in text.splitlines()), flush=True)
    return None if is_found else 1


if __name__ == "__main__":
    # So that nothing stays behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
