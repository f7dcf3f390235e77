"""The storage that this machine and all nodes reach: inputs by their SHA-256, requests by theirs.

Below the URL of `compute.storage`: `inputs/<sha256>`, and per request `requests/<id>/` with
`request.json`, `events/`, `checkpoints/`, `files/` and, last, `result.json`. What is read is
compared with its hash before anything uses it.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ftzard.core.artifacts import sha256, write_atomically
from ftzard.core.credentials import mask
from ftzard.errors import ComputeError, FtzardError


class Storage:
    """Files below an URL of fsspec; every failure is one sentence that names the URL."""

    def __init__(self, url: str):
        self.url = url.rstrip("/")
        with self._reaching("opened"):
            from fsspec.core import url_to_fs

            # Listings are asked for anew each time: others write here.
            self._files, self._root = url_to_fs(self.url, use_listings_cache=False)
        self._local = "file" in _protocols(self._files)

    @contextmanager
    def _reaching(self, what: str) -> Iterator[None]:
        try:
            yield
        except FtzardError:
            raise
        except ImportError as error:
            raise ComputeError(
                f"compute.storage is {self.url}, and its protocol needs a package that is not "
                f"installed ({error}); install it, as s3fs for s3://, here and on the nodes."
            ) from error
        except Exception as error:
            reason = mask(" ".join(f"{type(error).__name__}: {error}".split()))[:300]
            raise ComputeError(
                f"the storage {self.url} could not be {what} ({reason}); expected one that this "
                "machine and all nodes can read and write. Check compute.storage and its keys, "
                "then run the step again: it goes on from what is finished.") from error

    def require_writable(self) -> None:
        """Raise ComputeError unless a small file can be written here and read back."""
        probe = f"probe-{os.getpid()}"
        with self._reaching("written"):
            self.write_bytes(probe, b"ftzard")
            if self.read_bytes(probe) != b"ftzard":
                raise ComputeError(f"the storage {self.url} gave back other bytes than were "
                                   "written; expected the same. Check compute.storage.")
            self._files.rm_file(self._at(probe))

    def put_input(self, path: Path, digest: str | None = None) -> str:
        """Store a file under its SHA-256, if it is not there, and return that."""
        digest = digest or sha256(path)
        name = f"inputs/{digest}"
        with self._reaching("written"):
            if not self.exists(name) or self._files.size(self._at(name)) != path.stat().st_size:
                self.put(path, name)
        return digest

    def put(self, path: Path, name: str) -> None:
        """Store a file under a name, whole or not at all."""
        with self._reaching("written"):
            if self._local:
                write_atomically(Path(self._at(name)), lambda part: shutil.copyfile(path, part))
            else:  # an object appears when all of it is there
                self._files.put_file(str(path), self._at(name))

    def fetch(self, name: str, target: Path, digest: str) -> Path:
        """Bring a file to `target`; raises ComputeError if it is missing or has another hash."""
        target.parent.mkdir(parents=True, exist_ok=True)
        with self._reaching("read"):
            if not self.exists(name):
                raise ComputeError(f"{self.url}/{name} does not exist; expected the file that the "
                                   "request names. Run the step again: it is sent anew.")
            descriptor, part = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
            os.close(descriptor)
            try:
                self._files.get_file(self._at(name), part)
                actual = sha256(Path(part))
                if actual != digest:
                    raise ComputeError(
                        f"{self.url}/{name} has sha256 {actual[:12]}…; expected {digest[:12]}…. "
                        "Something changed it in the storage, and it was not used. Delete it, then "
                        "run the step again.")
                os.replace(part, target)
            finally:
                Path(part).unlink(missing_ok=True)
        return target

    def exists(self, name: str) -> bool:
        """Return whether there is a file of this name."""
        with self._reaching("read"):
            return bool(self._files.exists(self._at(name)))

    def names(self, folder: str) -> list[str]:
        """Return the names of the files in a folder, sorted; [] if there is none."""
        with self._reaching("read"):
            try:
                entries = self._files.ls(self._at(folder), detail=False)
            except FileNotFoundError:
                return []
        return sorted(name for path in entries
                      if not (name := path.rstrip("/").rpartition("/")[2]).startswith("."))

    def write_bytes(self, name: str, content: bytes) -> None:
        """Write a small file, whole or not at all."""
        with self._reaching("written"):
            if self._local:
                write_atomically(Path(self._at(name)), lambda part: part.write_bytes(content))
            else:
                self._files.pipe_file(self._at(name), content)

    def read_bytes(self, name: str) -> bytes | None:
        """Return a small file's content, None if there is none."""
        with self._reaching("read"):
            try:
                return bytes(self._files.cat_file(self._at(name)))
            except FileNotFoundError:
                return None

    def remove(self, name: str) -> None:
        """Remove a file, if there is one."""
        with self._reaching("written"), suppress(FileNotFoundError):
            self._files.rm_file(self._at(name))

    def write_json(self, name: str, value: Any) -> None:
        """Write a value with a hash of its own, so that a change of it is seen."""
        text = canonical(value)
        self.write_bytes(name, json.dumps(
            {"sha256": hashlib.sha256(text.encode()).hexdigest(), "value": text}).encode())

    def read_json(self, name: str) -> Any:
        """Return what `write_json` wrote, None if there is none.

        Raises ComputeError if it is not what was written.
        """
        content = self.read_bytes(name)
        if content is None:
            return None
        try:
            value = json.loads(content)
            text = value["value"]
            whole = hashlib.sha256(text.encode()).hexdigest() == value["sha256"]
        except (ValueError, TypeError, KeyError, AttributeError):
            whole = False
        if not whole:
            raise ComputeError(f"{self.url}/{name} is not what was written there, and it was not "
                               "used. Delete it, then run the step again.")
        return json.loads(text)

    def _at(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"


def canonical(value: Any) -> str:
    """Return a value as JSON that is the same for the same value."""
    return json.dumps(value, sort_keys=True, ensure_ascii=True)


def _protocols(files: Any) -> tuple[str, ...]:
    return (files.protocol,) if isinstance(files.protocol, str) else tuple(files.protocol)
