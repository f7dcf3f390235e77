"""Tokens: handed to git without a trace, and refused ones told without being told."""

import base64
import os
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote

import pytest

from ftzard.errors import VersioningError
from ftzard.versioning import push
from ftzard.versioning.git import git, mask

TOKEN = "tok-5ecret+value/1"


class GitServer(BaseHTTPRequestHandler):
    """git over HTTP for one bare repository, with basic authentication."""

    folder: str
    token: str

    def do_GET(self):
        login = base64.b64encode(f"git:{self.token}".encode()).decode()
        if self.headers.get("Authorization") != f"Basic {login}":
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        path, _, query = self.path.partition("?")
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        env = os.environ | {
            "GIT_PROJECT_ROOT": self.folder, "GIT_HTTP_EXPORT_ALL": "1", "PATH_INFO": path,
            "QUERY_STRING": query, "REQUEST_METHOD": self.command, "REMOTE_USER": "git",
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
        }  # fmt: skip
        done = subprocess.run(["git", "http-backend"], input=body, env=env, capture_output=True)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
        self.send_response(int(headers.pop("Status", "200 OK").split()[0]))
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_GET

    def log_message(self, *args):
        return


@pytest.fixture
def served(ws):
    """The workspace with its origin behind HTTP and a token; yields (workspace, handler)."""
    handler = type("Handler", (GitServer,), {"folder": str(ws.home), "token": TOKEN})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    ws.git("remote", "set-url", "origin", f"http://127.0.0.1:{server.server_port}/origin.git")
    yield ws, handler
    server.shutdown()
    server.server_close()


def everything_written(ws) -> bytes:
    files = [f for f in ws.root.rglob("*") if f.is_file()]
    return b"\n".join(f.read_bytes() for f in files)


def test_a_token_from_the_environment_reaches_the_remote_and_no_file(served, monkeypatch, capfd):
    ws, _ = served
    monkeypatch.setenv("FTZARD_GIT_TOKEN", TOKEN)
    done = ws.version(ws.write("rows"))
    assert (done.pushed, done.reason) == ("pushed", None)
    assert ws.git("rev-parse", "main", at=ws.origin) == done.commit
    assert TOKEN.encode() not in everything_written(ws)
    out, err = capfd.readouterr()
    assert TOKEN not in out + err + "".join(ws.said)


def test_an_expired_token_is_refused_credentials_and_is_not_shown(served, monkeypatch):
    ws, handler = served
    handler.token = "the-new-one"
    monkeypatch.setenv("FTZARD_GIT_TOKEN", TOKEN)
    done = ws.version(ws.write("rows"))
    assert done.pushed == "not pushed"
    assert "refused the credentials; renew the token or key" in done.reason
    assert TOKEN not in done.reason
    assert TOKEN.encode() not in everything_written(ws)
    monkeypatch.setenv("FTZARD_GIT_TOKEN", "the-new-one")
    assert push(ws.root) == ("pushed", None)


def test_without_a_token_nobody_is_asked_and_it_stays_local(served):
    ws, _ = served
    done = ws.version(ws.write("rows"))
    assert "refused the credentials" in done.reason


def test_a_server_that_is_down_is_the_network(served):
    ws, _ = served
    login = f"someone:{quote(TOKEN, safe='')}"
    ws.git("remote", "set-url", "origin", f"http://{login}@127.0.0.1:9/origin.git")
    done = ws.version(ws.write("rows"))
    assert done.reason.startswith(
        "The git remote 'origin' (http://***@127.0.0.1:9/origin.git) cannot be reached"
    )
    assert "5ecret" not in done.reason and "someone" not in done.reason


def test_secrets_are_masked_in_errors(ws, monkeypatch):
    monkeypatch.setenv("COMPANY_API_KEY", "k-123456")
    with pytest.raises(VersioningError) as caught:
        git(ws.root, "fetch", f"https://ada:{TOKEN}@nowhere.invalid/k-123456.git")
    text = str(caught.value)
    assert "'git fetch https://***@nowhere.invalid/***.git' failed" in text
    assert "exit code 128" in text
    assert TOKEN not in text and "k-123456" not in text


def test_a_token_written_for_a_url_is_masked_too(monkeypatch):
    monkeypatch.setenv("GITHUB_TOKEN", TOKEN)
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "no such secret")
    assert mask("?token=tok-5ecret%2Bvalue%2F1&x=1") == "?token=***&x=1"
    assert mask("no such secret") == "no such secret"
