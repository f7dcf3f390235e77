"""What a step waits for on a cluster, in a file that `ftzard status` reads."""

import json
from pathlib import Path

from ftzard.core.artifacts import write_json
from ftzard.core.locks import alive

FILE = "cluster-jobs.json"


def note(state: Path, jobs: list[dict[str, str]]) -> None:
    """Write which jobs are waited for; nothing is written where nothing has changed."""
    path = state / FILE
    if not jobs:
        clear(state)
    elif _read(path) != jobs:
        write_json(path, jobs)


def clear(state: Path) -> None:
    """Remove the file: nothing is waited for."""
    (state / FILE).unlink(missing_ok=True)


def jobs(state: Path) -> list[dict[str, str]]:
    """Return the jobs (job, state, since) that a living process waits for."""
    return [{name: value for name, value in job.items() if name != "pid"}
            for job in _read(state / FILE) if alive(int(job.get("pid", 0)))]


def sentence(job: dict[str, str]) -> str:
    """Return a line about a job that is waited for."""
    doing = {"PENDING": "waits for the cluster's resources", "RUNNING": "runs on the cluster"}
    return f"{job['job']} {doing.get(job['state'], job['state'].lower())} since {job['since']}"


def _read(path: Path) -> list[dict[str, str]]:
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return entries if isinstance(entries, list) else []
