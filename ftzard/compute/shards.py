"""Rows in fixed shards: each computed once, kept by its hash, put together in order.

A shard's result is kept under the hash of what computes it and of its content, so a job that begins
again, on the same node or on another one, passes over those that are there.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftzard.compute.cluster import Cluster
from ftzard.compute.request import Request, runtime
from ftzard.compute.storage import Storage, canonical


@dataclass(frozen=True)
class ShardResult:
    """What a shard gave: values, and its files by name with their SHA-256."""

    values: dict[str, Any]
    files: Mapping[str, str]
    storage: Storage
    place: str

    def fetch(self, name: str, target: Path) -> Path:
        """Bring a file, compared with its hash."""
        return self.storage.fetch(f"{self.place}/files/{self.files[name]}", target,
                                  self.files[name])


def key(function: str, values: Mapping[str, Any], inputs: Mapping[str, Any]) -> str:
    """Return the hash of what computes a shard: function, values, inputs and versions."""
    content = canonical([function, values, inputs, runtime()])
    return hashlib.sha256(content.encode()).hexdigest()


def run(cluster: Cluster, function: str, values: Mapping[str, Any], inputs: Mapping[str, Any],
        shards: Sequence[str], on_progress: Callable[[int, int], object] | None = None
        ) -> Iterator[ShardResult]:
    """Yield the result of each shard, in their order, once all are there.

    Args:
        cluster: Computes those that are not there yet, in `compute.parallel` jobs.
        function: A name of `FUNCTIONS`; calls `Work.compute_shards`.
        values: Its values.
        inputs: Its inputs, as a `Request` has them.
        shards: The hashes of the shards, which are inputs in the storage.
        on_progress: Called with (shards done, shards in all).
    """
    storage, name = cluster.storage, key(function, values, inputs)
    place = f"shards/{name}"
    finished = set(storage.names(place))
    missing = [s for s in dict.fromkeys(shards) if f"{s}.json" not in finished]
    done = dict.fromkeys(range(cluster.settings.parallel), 0)
    if on_progress is not None:
        on_progress(len(set(shards)) - len(missing), len(set(shards)))
    if missing:
        requests = [Request(function, {**values, "key": name, "shards": part}, dict(inputs),
                            tuple(cluster.settings.env or ()))
                    for n in range(cluster.settings.parallel)
                    if (part := missing[n::cluster.settings.parallel])]
        for request in requests:  # its shards are not all there, whatever it says
            storage.remove(f"{request.folder}/result.json")

        def note(number: int, event: dict[str, Any]) -> None:
            if "done" in event and on_progress is not None:
                done[number] = event["done"]
                on_progress(len(set(shards)) - len(missing) + sum(done.values()), len(set(shards)))

        cluster.run(requests, note)
    for shard in shards:
        record = storage.read_json(f"{place}/{shard}.json")
        yield ShardResult(record["values"], record["files"], storage, place)
