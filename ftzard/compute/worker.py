"""What a node runs: `python -m ftzard.compute.worker STORAGE REQUEST ATTEMPT`.

It refuses a request that is not the one of its hash, that was made for other versions, or whose
inputs have other bytes. Events and checkpoints go into the storage while it computes; the result
comes last, and with it the request is done.
"""

import hashlib
import json
import os
import shutil
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from ftzard.compute.request import FUNCTIONS, other_runtime
from ftzard.compute.storage import Storage
from ftzard.core.artifacts import sha256
from ftzard.core.credentials import mask
from ftzard.core.environment import QUIET
from ftzard.errors import ComputeError, FtzardError

#: Where a node keeps inputs, by their hash, beside those of other users.
CACHE = Path(tempfile.gettempdir()) / f"ftzard-inputs-{os.getuid()}"
_EVERY_S = 1.0


class Work:
    """What a function on a node works with.

    folder: what is in it at the end are the result's files; checkpoints: a folder whose complete
    states are kept in the storage, where another attempt goes on from them; storage, place,
    attempt: of the request, for results that are kept piece by piece.
    """

    def __init__(self, storage: Storage, place: str, attempt: str):
        self.storage, self.place, self.attempt = storage, place, attempt
        self._scratch = Path(tempfile.mkdtemp(prefix="ftzard-work-"))
        self.folder, self.checkpoints = self._scratch / "files", self._scratch / "checkpoints"
        for folder in (self.folder, self.checkpoints):
            folder.mkdir()
        self._events, self._ended = 0, threading.Event()
        self._latest: dict[str, Any] | None = None
        self._lock = threading.Lock()

    def report(self, **event: Any) -> None:
        """Tell whoever asked what has happened; every event arrives, in order."""
        with self._lock:
            self._write(event)

    def progress(self, done: int, total: int) -> None:
        """Tell how far the work is; of several within a second the last one arrives."""
        with self._lock:
            self._latest = {"done": done, "total": total}

    def compute_shards(self, values: Mapping[str, Any],
                       one: Callable[[Path, Path], dict[str, Any]]) -> dict[str, Any]:
        """Compute those shards of a request that are not there yet.

        Args:
            values: Of the request, with `key` and `shards`.
            one: Computes the shard in a file, writes its files into a folder, returns its values.
        """
        place, shards, computed = f"shards/{values['key']}", values["shards"], 0
        for number, shard in enumerate(shards, 1):
            if not self.storage.exists(f"{place}/{shard}.json"):
                with tempfile.TemporaryDirectory(prefix="ftzard-shard-") as scratch:
                    source = self.storage.fetch(f"inputs/{shard}", Path(scratch) / "shard", shard)
                    folder = Path(scratch) / "files"
                    folder.mkdir()
                    meta = one(source, folder)
                    files = {path.name: sha256(path) for path in sorted(folder.iterdir())}
                    for name, digest in files.items():
                        self.storage.put(folder / name, f"{place}/files/{digest}")
                self.storage.write_json(f"{place}/{shard}.json", {
                    "values": meta, "files": files, "attempt": self.attempt})
                computed += 1
            self.progress(number, len(shards))
        return {"computed": computed, "there": len(shards) - computed}

    def _write(self, event: dict[str, Any]) -> None:
        self._events += 1
        self.storage.write_json(f"{self.place}/events/{self.attempt}-{self._events:06d}.json",
                                event)

    def __enter__(self) -> "Work":
        self._restore()
        self._thread = threading.Thread(target=self._keep, daemon=True, name="checkpoints")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(60)
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _keep(self) -> None:
        while not self._ended.wait(_EVERY_S):
            try:
                with self._lock:
                    latest, self._latest = self._latest, None
                    if latest is not None:
                        self._write(latest)
                self._store_checkpoints()
            except FtzardError as error:  # the work goes on; without the storage its end fails
                print(f"ftzard: {error}", file=sys.stderr, flush=True)

    def _store_checkpoints(self) -> None:
        """Store every complete state that is not there, its marker last, and drop older ones."""
        there = set(self.storage.names(f"{self.place}/checkpoints"))
        markers = sorted(p for p in self.checkpoints.glob("*/*.json") if p.parent.name != "ended")
        for marker in markers:
            state = marker.with_suffix(".pt")
            name = f"{marker.parent.name}--{marker.stem}"
            if f"{name}.json" in there or not state.is_file():
                continue
            self.storage.put(state, f"{self.place}/checkpoints/{name}.pt")
            self.storage.put(marker, f"{self.place}/checkpoints/{name}.json")
            there.add(f"{name}.json")
        for old in sorted(n for n in there if n.endswith(".json"))[:-2]:
            for suffix in (".json", ".pt"):
                self.storage.remove(f"{self.place}/checkpoints/{old[:-5]}{suffix}")

    def _restore(self) -> None:
        """Bring the states that an earlier attempt has kept; torn ones are seen by their hash."""
        for name in self.storage.names(f"{self.place}/checkpoints"):
            if not name.endswith(".json"):
                continue
            marker = self.storage.read_bytes(f"{self.place}/checkpoints/{name}")
            folder, _, step = name[:-5].partition("--")
            try:
                digest = json.loads(marker or b"")["sha256"]
                self.storage.fetch(f"{self.place}/checkpoints/{name[:-5]}.pt",
                                   self.checkpoints / folder / f"{step}.pt", digest)
            except (ValueError, KeyError, TypeError, ComputeError):
                continue
            (self.checkpoints / folder / f"{step}.json").write_bytes(marker or b"")


def fetch_inputs(storage: Storage, inputs: dict[str, Any], cache: Path | None = None
                 ) -> dict[str, Path]:
    """Return the path of each input in this node's cache, every file compared with its hash."""
    cache = cache or CACHE
    cache.mkdir(mode=0o700, exist_ok=True)
    if cache.stat().st_uid != os.getuid() or cache.is_symlink():
        raise ComputeError(f"{cache} belongs to somebody else; expected a folder of this user. "
                           "Remove it, or set TMPDIR on the node.")
    return {name: _file(storage, what, cache) if isinstance(what, str)
            else _folder(storage, what, cache) for name, what in inputs.items()}


def _file(storage: Storage, digest: str, cache: Path) -> Path:
    path = cache / digest
    if not path.is_file() or sha256(path) != digest:
        storage.fetch(f"inputs/{digest}", path, digest)
    return path


def _folder(storage: Storage, files: dict[str, str], cache: Path) -> Path:
    listing = json.dumps(files, sort_keys=True).encode()
    folder = cache / f"folder-{hashlib.sha256(listing).hexdigest()}"
    folder.mkdir(exist_ok=True)
    for name, digest in files.items():
        source, target = _file(storage, digest, cache), folder / name
        if target.resolve().parent != folder.resolve() and folder.resolve() not in (
                target.resolve().parents):
            raise ComputeError(f"the input '{name}' lies outside of its folder; expected a path "
                               "within.")
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.{os.getpid()}")
        part.unlink(missing_ok=True)
        os.link(source, part)
        os.replace(part, target)
        part.unlink(missing_ok=True)  # replace leaves it where both are one file
    return folder


def read_request(storage: Storage, request_id: str) -> dict[str, Any]:
    """Return a request; raises ComputeError if it is missing or not the one of its hash."""
    content = storage.read_bytes(f"requests/{request_id}/request.json")
    if content is None or hashlib.sha256(content).hexdigest() != request_id:
        raise ComputeError(f"the request {request_id[:12]}… in {storage.url} is "
                           f"{'missing' if content is None else 'not what was asked'}; nothing was "
                           "computed. Run the step again.")
    return dict(json.loads(content))


def run(storage: Storage, request_id: str, attempt: str) -> None:
    """Compute a request and store its result."""
    request, place = read_request(storage, request_id), f"requests/{request_id}"
    if sentence := other_runtime(request["runtime"]):
        raise ComputeError(sentence)
    missing = [name for name in request["env"] if not os.environ.get(name)]
    if missing:
        raise ComputeError(f"the node has no variable {', '.join(missing)} in its environment; "
                           "expected each that compute.env names. Set it where the node is "
                           "started, and never in a job.")
    module, _, name = FUNCTIONS[request["function"]].partition(":")
    function: Callable[..., dict[str, Any]] = getattr(import_module(module), name)
    inputs = fetch_inputs(storage, request["inputs"])
    with Work(storage, place, attempt) as work:
        values = function(request["values"], inputs, work)
        files = {}
        for path in sorted(p for p in work.folder.rglob("*") if p.is_file()):
            relative = path.relative_to(work.folder).as_posix()
            files[relative] = sha256(path)
            storage.put(path, f"{place}/files/{files[relative]}")
        storage.write_json(f"{place}/result.json", {"values": values, "files": files})


def main() -> int:
    """Run the request of the command line; a refusal goes into the storage as one sentence."""
    url, request_id, attempt = sys.argv[1:4]
    os.environ.update({name: value for name, value in QUIET.items() if name not in os.environ})
    try:
        storage = Storage(url)
        try:
            run(storage, request_id, attempt)
        except Exception as error:
            known = isinstance(error, FtzardError)
            sentence = str(error) if known else f"{type(error).__name__}: {error}"
            if not known:
                print(mask(traceback.format_exc()), file=sys.stderr, flush=True)
            storage.write_json(f"requests/{request_id}/refused/{attempt}.json",
                               {"sentence": mask(sentence), "known": known})
            raise
    except Exception as error:
        print(f"ftzard: {mask(str(error))}", file=sys.stderr, flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
