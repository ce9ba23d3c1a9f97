"""REST, through Python's http.client and through the curl program people have."""

import dataclasses
import http.client
import json
import subprocess
import urllib.parse


@dataclasses.dataclass
class Reply:
    status: int
    headers: dict  # names in lower case
    body: bytes

    def json(self):
        return json.loads(self.body)

    @property
    def error_code(self):
        """The stable code of a JSON error body."""
        assert self.headers.get("content-type", "").startswith("application/json"), self
        return self.json()["error"]["code"]


def key_path(key):
    """The path of a key: every byte but unreserved ones percent-encoded, slashes too."""
    return "/v1/kv/" + urllib.parse.quote(key, safe="")


def reply_of(response):
    """Reads an http.client response whole."""
    fields = {name.lower(): value for name, value in response.getheaders()}
    return Reply(response.status, fields, response.read())


def call(node, method, path, body=None, headers=None, timeout_s=10.0):
    connection = http.client.HTTPConnection("127.0.0.1", node.http_port, timeout=timeout_s)
    try:
        connection.request(method, path, body, headers or {})
        return reply_of(connection.getresponse())
    finally:
        connection.close()


def curl(node, method, path, body=None, headers=None, timeout_s=15):
    """The same by the curl program; the body goes through stdin, so it may be any bytes."""
    command = ["curl", "--silent", "--show-error", "--include", "--path-as-is",
               "--max-time", str(timeout_s), "--header", "Expect:"]
    command += ["--head"] if method == "HEAD" else ["--request", method]
    for name, value in (headers or {}).items():
        command += ["--header", f"{name}: {value}"]
    if body is not None:
        command += ["--header", "Content-Type: application/octet-stream", "--data-binary", "@-"]
    command.append(f"http://127.0.0.1:{node.http_port}{path}")
    done = subprocess.run(command, input=body, capture_output=True, timeout=timeout_s + 5,
                          check=False)
    assert done.returncode == 0, f"{command}: {done.stderr.decode()}"
    head, _, content = done.stdout.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    fields = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
    return Reply(int(lines[0].split()[1]), {k.lower(): v for k, v in fields.items()}, content)
