"""Stops a cluster's jobs when the process that asked for them is gone.

`python -m ftzard.compute.watchdog ADDRESS` reads lines from its parent: `+JOB` for a job that was
started, `-JOB` for one that has ended. When the pipe closes, whoever killed the parent, it stops
what is left, and ends.
"""

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from ftzard.errors import ComputeError

if TYPE_CHECKING:
    from ftzard.compute.ray_jobs import RayJobs


class Watchdog:
    """The process, seen from its parent; it has a session of its own, so that it outlives it."""

    def __init__(self, address: str):
        self._process = subprocess.Popen(
            [sys.executable, "-m", "ftzard.compute.watchdog", address], stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True, start_new_session=True)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def watch(self, job: str) -> None:
        """Have a job stopped if this process ends."""
        self._tell(f"+{job}")

    def forget(self, job: str) -> None:
        """Leave a job alone from now on."""
        self._tell(f"-{job}")

    def close(self) -> None:
        """Let it stop what is left and end."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            self._process.stdin.close()

    def _tell(self, line: str) -> None:
        stdin = self._process.stdin
        if stdin is None or self._process.poll() is not None:
            raise ComputeError("the process that stops the cluster's jobs when a run is killed has "
                               "ended; expected it to live as long as the run. Run the step again.")
        stdin.write(line + "\n")
        stdin.flush()


def main() -> None:
    """Wait for the end of the parent, then stop its jobs."""
    from ftzard.compute.ray_jobs import RayJobs

    open_jobs: list[str] = []
    jobs: RayJobs | None = None
    for line in sys.stdin:
        name = line[1:].strip()
        if line.startswith("+"):
            open_jobs.append(name)
        elif name in open_jobs:
            open_jobs.remove(name)
        if jobs is None and open_jobs:
            jobs = _connected(sys.argv[1])  # while there is time
    for name in open_jobs:
        try:
            (jobs or RayJobs(sys.argv[1])).stop(name)
        except ComputeError as error:
            print(error, file=sys.stderr)
    os._exit(0)


def _connected(address: str) -> "RayJobs | None":
    from ftzard.compute.ray_jobs import RayJobs

    try:
        return RayJobs(address)
    except ComputeError:
        return None


if __name__ == "__main__":
    main()
