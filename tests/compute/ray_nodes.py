"""Two nodes of Ray on the loopback, started and ended by process id."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from ray.job_submission import JobSubmissionClient

HEAD, FAR = "127.0.0.2", "127.0.0.3"  # 127.0.0.1 would become the machine's own address
CPUS = 2


def free_port(address: str) -> int:
    with socket.socket() as opened:
        opened.bind((address, 0))
        return opened.getsockname()[1]


@dataclass
class Nodes:
    """A cluster of two nodes; its storage is a folder of this machine."""

    # The path of Ray's socket has at most 107 bytes, and pytest's folders are long.
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="fz", dir="/tmp")))
    processes: dict[str, subprocess.Popen] = field(default_factory=dict)

    def start(self) -> None:
        self._port, self._dashboard = free_port(HEAD), free_port(HEAD)
        self._node(HEAD, "--head", f"--port={self._port}", f"--dashboard-host={HEAD}",
                   f"--dashboard-port={self._dashboard}", f"--temp-dir={self.folder / 'ray'}")
        self._wait(1)
        self.start_far()

    def start_far(self) -> None:
        self._node(FAR, f"--address={HEAD}:{self._port}")
        self._wait(2)

    def _node(self, address: str, *arguments: str) -> None:
        log = open(self.folder / f"{address}.log", "ab")
        self.processes[address] = subprocess.Popen(
            [str(Path(sys.executable).parent / "ray"), "start", "--block", "--num-gpus=0",
             f"--node-ip-address={address}", f"--num-cpus={CPUS}", "--disable-usage-stats",
             "--object-store-memory=100000000", *arguments],
            stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
            env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "PYTHONWARNINGS": "ignore"})

    @property
    def address(self) -> str:
        return f"http://{HEAD}:{self._dashboard}"

    @property
    def storage(self) -> str:
        return f"file://{self.folder}/storage"

    @property
    def overrides(self) -> list[str]:
        """What sends a step's work to these nodes."""
        return ["compute=ray", f"compute.address={self.address}",
                f"compute.storage={self.storage}", f"compute.python={sys.executable}"]

    def jobs(self) -> dict[str, object]:
        """Every job that the cluster knows, by its id."""
        return {job.submission_id: job for job in
                JobSubmissionClient(self.address).list_jobs() if job.submission_id}

    def _wait(self, count: int) -> None:
        """Wait until so many nodes are alive."""
        from ftzard.compute.ray_jobs import RayJobs
        from ftzard.errors import ComputeError

        end, why = time.monotonic() + 90, ""
        while time.monotonic() < end:
            try:
                urllib.request.urlopen(f"{self.address}/api/version", timeout=5).close()
                if len(RayJobs(self.address).nodes()) == count:
                    return
            except (OSError, ComputeError) as error:
                why = str(error)
            time.sleep(0.5)
        logs = "".join(path.read_text()[-1500:] for path in self.folder.glob("*.log"))
        raise AssertionError(f"{count} nodes did not come up: {why}\n{logs}")

    def kill(self, address: str) -> None:
        """Kill a node and all that runs on it at once, as a machine that loses its power."""
        root = psutil.Process(self.processes.pop(address).pid)
        for process in [root, *root.children(recursive=True)]:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue

    def stop(self) -> None:
        for address in list(self.processes):
            self.kill(address)
        shutil.rmtree(self.folder, ignore_errors=True)
