"""A data set on Comet, asked for by its own client at a server that speaks as Comet's does."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from ftzard.errors import TrackingError
from ftzard.tracking import comet_artifacts

KEY = "comet-key-of-ada-9876-0001"
NAME = "comet://team/tweets:1.2.0"


class Platform:
    """Files of one artifact version, by their number; what was asked for, and with which keys."""

    def __init__(self):
        self.files: list[dict] = []
        self.contents: list[bytes] = []
        self.asked: list[str] = []
        self.keys: set[str | None] = set()

    def holds(self, name: str, content: bytes, **said: object) -> None:
        self.files.append({
            "assetId": str(len(self.files)), "artifactVersionId": "v", "artifactId": "a",
            "fileName": name, "fileSize": len(content), "link": None, "remote": False,
            "type": "asset", "metadata": None, **said})
        self.contents.append(content)

    def answer(self, path: str, asked: dict[str, list[str]]) -> bytes | None:
        """Return the body of an answer, None for what is not there."""
        if path.endswith("/artifacts/version/files"):
            return json.dumps({"files": self.files}).encode()
        if path.endswith("/artifacts/version") and asked["version"] == ["1.2.0"]:
            return json.dumps({
                "artifact": {"artifactName": "tweets", "artifactId": "a", "tags": [],
                             "artifactType": "dataset", "workspaceName": "team"},
                "artifactVersion": "1.2.0", "artifactVersionId": "v", "metadata": None,
                "alias": [], "sizeInBytes": 1, "experimentKey": "e", "tags": []}).encode()
        if path.endswith("/get-asset"):
            return self.contents[int(asked["assetId"][0])]
        return b"{}" if "isAlive" in path else None


@pytest.fixture
def platform(monkeypatch) -> Iterator[Platform]:
    held = Platform()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):  # noqa: N802 - the name that http.server looks for
            parts = urlsplit(self.path)
            held.asked.append(parts.path)
            held.keys.add(self.headers.get("Authorization"))
            body = held.answer(parts.path, parse_qs(parts.query))
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *said):
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("COMET_URL_OVERRIDE", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("COMET_API_KEY", KEY)
    try:
        yield held
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def download(folder: Path, version: str = "1.2.0") -> Path:
    return comet_artifacts.download(NAME, "team", "tweets", version, folder)


def test_exactly_the_files_of_the_version_replace_what_was_there(platform, tmp_path):
    platform.holds("one.jsonl", b"first\n")
    platform.holds("more/two.jsonl", b"second\n")
    there = tmp_path / "kept" / "1.2.0"
    there.mkdir(parents=True)
    (there / "of_another_time.jsonl").write_text("old")
    assert download(there) == there
    found = {p.relative_to(there).as_posix(): p.read_bytes()
             for p in there.rglob("*") if p.is_file()}
    assert found == {"one.jsonl": b"first\n", "more/two.jsonl": b"second\n"}
    assert [p.name for p in there.parent.iterdir()] == ["1.2.0"]
    assert platform.keys == {KEY}


@pytest.mark.parametrize(("name", "said", "words"), [
    ("away.jsonl", {"remote": True, "link": "https://example.org/away.jsonl"},
     "1 of its 2 files did not come, first 'away.jsonl'"),
    ("cut.jsonl", {"fileSize": 900}, "'cut.jsonl' has 5 bytes; expected 900"),
    ("../../up.jsonl", {}, "'../../up.jsonl' would be written outside"),
])
def test_what_cannot_be_had_as_a_whole_is_refused_and_changes_nothing(
        platform, tmp_path, name, said, words):
    platform.holds("one.jsonl", b"first\n")
    platform.holds(name, b"rows\n", **said)
    there = tmp_path / "kept" / "1.2.0"
    there.mkdir(parents=True)
    (there / "whole.jsonl").write_text("of an earlier time")
    with pytest.raises(TrackingError, match=words) as refused:
        download(there)
    assert NAME in str(refused.value) and KEY not in str(refused.value)
    assert [p.name for p in tmp_path.rglob("*")] == ["kept", "1.2.0", "whole.jsonl"]


def test_a_version_that_is_not_there_says_what_to_check(platform, tmp_path):
    with pytest.raises(TrackingError, match="cannot be had from Comet.*Check workspace, artifact"):
        download(tmp_path / "1.3.0", "1.3.0")
    assert list(tmp_path.iterdir()) == []
