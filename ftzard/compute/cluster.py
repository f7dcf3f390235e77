"""Requests to a cluster, seen from the machine that asks: sent, watched, fetched, and stopped.

A request whose result is in the storage is not sent. One whose job the cluster knows already is
found by its id, so that a run which was cut off goes on with it. A job that is lost with its node
is started again; one that refuses is not. Whatever ends the wait stops the jobs.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftzard.compute import waiting
from ftzard.compute.ray_jobs import Job, RayJobs
from ftzard.compute.request import Request
from ftzard.compute.storage import Storage
from ftzard.compute.watchdog import Watchdog
from ftzard.errors import ComputeError

if TYPE_CHECKING:
    from ftzard.config.schema import Compute

_POLL_S = 0.5
#: Seconds without an answer after which the cluster is taken for gone.
_SILENCE_S = 60.0
#: Attempts of one request that are looked for on a cluster.
_MOST_ATTEMPTS = 1000

#: What is called with a request's number and each of its events.
OnEvent = Callable[[int, dict[str, Any]], object]


@dataclass(frozen=True)
class Result:
    """What a request gave: values, and the files of the result by name with their SHA-256."""

    request: Request
    values: dict[str, Any]
    files: Mapping[str, str]
    storage: Storage

    def fetch(self, folder: Path) -> Path:
        """Bring the files into a folder, each compared with its hash, and return it."""
        for name, digest in self.files.items():
            target = folder / name
            if not target.resolve().is_relative_to(folder.resolve()):
                raise ComputeError(f"the result names the file '{name}', outside of its folder; "
                                   "expected a path within. Delete it, then run the step again.")
            self.storage.fetch(f"{self.request.folder}/files/{digest}", target, digest)
        return folder


@dataclass
class _Open:
    """A request on its way: its attempt, since when its job is what it is, which events arrived.

    adopted: whether a run that was cut off had started the job.
    """

    number: int
    request: Request
    attempt: int = 1
    failures: int = 0
    since: float = field(default_factory=time.monotonic)
    status: str = ""
    began: str = ""
    adopted: bool = False
    seen: set[str] = field(default_factory=set)

    @property
    def job(self) -> str:
        return f"ftzard-{self.request.id[:32]}-{self.attempt}"


class Cluster:
    """A cluster as `compute` names it; checked when it is opened.

    Args:
        settings: The config's `compute`.
        threads: CPUs of a job where `compute.cpus` is null.
        state: The workspace's folder for what is no data, where `ftzard status` looks.
        say: Gets a line when something is waited for, found, lost or started again.
    """

    def __init__(self, settings: "Compute", threads: int, state: Path,
                 say: Callable[[str], object] = print):
        self.settings, self._state, self._say = settings, state, say
        self.jobs = RayJobs(settings.address or "")
        self.storage = Storage(settings.storage or "")
        self.storage.require_writable()
        self.cpus = settings.cpus or threads
        self._require_room()
        self._watchdog: Watchdog | None = None
        self._answered = time.monotonic()

    def _require_room(self) -> None:
        """Raise ComputeError if no node could ever take a job."""
        wanted: dict[str, float] = {"CPU": self.cpus, "GPU": self.settings.gpus,
                  "memory": (self.settings.memory_mb or 0) * 2**20}
        if self.settings.accelerator:
            wanted[f"accelerator_type:{self.settings.accelerator}"] = 0.001
        nodes = self.jobs.nodes()
        if not any(all(node.resources.get(name, 0) >= count for name, count in wanted.items())
                   for node in nodes):
            has = "; ".join(f"{node.address}: " + ", ".join(
                f"{count:g} {name}" for name, count in sorted(node.resources.items())
                if name in ("CPU", "GPU") or name.startswith("accelerator_type"))
                for node in nodes) or "no node"
            asked = ", ".join(f"{count:g} {name}" for name, count in wanted.items() if count)
            raise ComputeError(f"no node of the cluster has {asked}, which each job asks for "
                               f"(there is: {has}); lower compute.cpus, compute.gpus or "
                               "compute.memory_mb, or add a node.")

    def input_file(self, path: Path) -> str:
        """Store a file and return its hash."""
        return self.storage.put_input(path)

    def input_folder(self, folder: Path) -> dict[str, str]:
        """Store the files of a folder and return their hashes by their path in it."""
        return {path.relative_to(folder).as_posix(): self.storage.put_input(path)
                for path in sorted(folder.rglob("*")) if path.is_file()}

    def run(self, requests: Sequence[Request], on_event: OnEvent | None = None) -> list[Result]:
        """Return the result of each request, in their order.

        Raises:
            ComputeError: A node refuses, a job fails more than `compute.max_failures` times or
                waits longer than `compute.queue_seconds`, the cluster or the storage is gone.
        """
        results: dict[int, Result] = {}
        unfinished = [_Open(number, request) for number, request in enumerate(requests)]
        self._watchdog, self._answered = Watchdog(self.jobs.address), time.monotonic()
        try:
            for one in unfinished:
                self._start(one)
            while unfinished:
                for one in list(unfinished):
                    result = self._look(one, on_event)
                    if result is not None:
                        results[one.number] = result
                        unfinished.remove(one)
                waiting.note(self._state, [_noted(one) for one in unfinished if one.status])
                if unfinished:
                    time.sleep(_POLL_S)
        finally:
            for one in unfinished:
                self._stop(one)
            self._watchdog.close()
            waiting.clear(self._state)
        return [results[number] for number in range(len(requests))]

    def _start(self, one: _Open) -> None:
        """Send a request, unless its result is there or a job of it is on its way."""
        if self.storage.exists(f"{one.request.folder}/result.json"):
            return
        while (job := self.jobs.find(one.job)) is not None:
            if not job.ended:
                self._say(f"found the job {one.job} of a run that was cut off: {job.status}")
                one.adopted = True
                self._watch(one)
                return
            one.attempt += 1
            if one.attempt > _MOST_ATTEMPTS:
                raise ComputeError(f"the cluster knows {_MOST_ATTEMPTS} jobs of one request; "
                                   "expected fewer. Start the cluster anew.")
        if self.storage.read_bytes(f"{one.request.folder}/request.json") != one.request.content:
            self.storage.write_bytes(f"{one.request.folder}/request.json", one.request.content)
        # One that a cluster which is gone has left under the same number says nothing of this one.
        self.storage.remove(f"{one.request.folder}/refused/{one.attempt}.json")
        self._watch(one)
        settings = self.settings
        resources: dict[str, Any] = {"entrypoint_num_cpus": self.cpus,
                                     "entrypoint_num_gpus": settings.gpus or None}
        if settings.memory_mb:
            resources["entrypoint_memory"] = settings.memory_mb * 2**20
        if settings.accelerator:
            resources["entrypoint_resources"] = {f"accelerator_type:{settings.accelerator}": 0.001}
        self.jobs.submit(one.job, [settings.python, "-m", "ftzard.compute.worker",
                                   self.storage.url, one.request.id, str(one.attempt)], resources)

    def _watch(self, one: _Open) -> None:
        if self._watchdog is not None:
            self._watchdog.watch(one.job)

    def _look(self, one: _Open, on_event: OnEvent | None) -> Result | None:
        """Pass on what is new of a request; return its result if it is there."""
        result = self.storage.read_json(f"{one.request.folder}/result.json")
        job = None
        if result is None:
            try:
                job = self.jobs.find(one.job)
                self._answered = time.monotonic()
            except ComputeError:
                if time.monotonic() - self._answered > _SILENCE_S:
                    raise
                return None
        if on_event is not None:
            for name in self.storage.names(f"{one.request.folder}/events"):
                if name not in one.seen:
                    one.seen.add(name)
                    on_event(one.number, self.storage.read_json(
                        f"{one.request.folder}/events/{name}") or {})
        if result is not None:
            if self._watchdog is not None:
                self._watchdog.forget(one.job)
            return Result(one.request, result["values"], result["files"], self.storage)
        if self._follow(one, job) and on_event is not None and job is not None:
            on_event(one.number, {"node": job.node})
        return None

    def _follow(self, one: _Open, job: Job | None) -> bool:
        """Notice how a job goes on: waiting, lost, refused; return whether it has begun to run."""
        status = "LOST" if job is None else job.status
        begun = status == "RUNNING" and one.status != status
        if status != one.status:
            one.status, one.since = status, time.monotonic()
            one.began = datetime.now(UTC).isoformat(timespec="seconds")
        if status == "PENDING" and time.monotonic() - one.since > self.settings.queue_seconds:
            raise ComputeError(
                f"the job {one.job} waited {self.settings.queue_seconds} s for "
                f"{self.cpus} CPU{'s' if self.cpus > 1 else ''} and {self.settings.gpus} GPUs of "
                f"the cluster at {self.jobs.address}; expected it to begin within "
                "compute.queue_seconds. Give it longer, or the cluster more nodes.")
        if status == "STOPPED" and not one.adopted:
            raise ComputeError(f"the job {one.job} was stopped on the cluster by somebody else; "
                               "expected it to end by itself. Run the step again: it goes on from "
                               "what is finished.")
        if job is not None and not job.ended:
            return begun
        if status == "SUCCEEDED" and self.storage.exists(f"{one.request.folder}/result.json"):
            return False
        refused = self.storage.read_json(f"{one.request.folder}/refused/{one.attempt}.json")
        if refused is not None:
            tail = "" if refused["known"] else (
                f". It is an error that FTzard did not foresee; its details are in the log of the "
                f"job {one.job}")
            raise ComputeError(f"{refused['sentence']}{tail}")
        one.failures += 1
        why = self._why(one, job)
        if one.failures > self.settings.max_failures:
            raise ComputeError(
                f"the job {one.job} failed {one.failures} times, and compute.max_failures is "
                f"{self.settings.max_failures}; expected it to end. The last time: {why}")
        if self._watchdog is not None:
            self._watchdog.forget(one.job)
        self._say(f"the job {one.job} was lost ({why}); it is started again")
        one.attempt += 1
        one.status, one.adopted = "", False
        self._start(one)
        return False

    def _why(self, one: _Open, job: Job | None) -> str:
        if job is None:
            return "the cluster does not know it any more"
        log = self.jobs.log(one.job)
        return " ".join(job.message.split())[:300] + (f" It printed: {log}" if log else "")

    def _stop(self, one: _Open) -> None:
        try:
            self.jobs.stop(one.job)
        except ComputeError as error:  # the watchdog tries, too
            self._say(str(error))


def _noted(one: _Open) -> dict[str, str]:
    return {"job": one.job, "state": one.status, "since": one.began, "pid": str(os.getpid())}
