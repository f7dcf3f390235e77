"""kill -9 at random moments: over whole jobs, for as many rounds as asked.

A round starts a job, waits a random time, kills one of its processes (or all of them), lets the
doctor mend what is left, runs the job again, and checks that nothing is torn, open, lost or
doubled.

    python bench/chaos.py [ROUNDS] [SEED]
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from machine import store

from ftzard.artifact import dvc_hash
from ftzard.dataset import sample
from ftzard.dataset.reading import store_raw
from ftzard.new_workspace import create
from ftzard.versioning import dvc_hash as recorded_hash
from ftzard.workspace import Workspace

FTZARD = str(Path(sys.executable).parent / "ftzard")
SMALL = {
    "data": {"choice": "sentiment140", "sample_rows": 1500},
    "training": {"epochs": 2, "checkpoint_steps": 10},
    "tuning": {"trials": 2},
    "model": {"build": {"layers": 2, "width": 64, "heads": 2, "vocabulary": 1024, "seed": 0}},
    "gate": {"trial": True},
}
JOBS = ("training_pipeline_job", "cleaning_job", "preprocessing_job", "tuning_job", "choosing_job")


def prepared(folder: Path) -> Workspace:
    """Return a workspace with a first champion and remotes."""
    sample.write(folder / "drops")
    raw = store_raw(folder / "drops" / "training.csv", folder / "ws" / "data")
    config = {**SMALL, "data": {**SMALL["data"], "source": f"data/raw/{raw.name}"}}
    workspace = create(folder / "ws", config=config, git_remote=folder / "git",
                       dvc_remote=folder / "dvc", invent_identity=True)
    done = ftzard(workspace, "run", "training_pipeline_job")
    if done.returncode:
        raise SystemExit(done.stdout)
    return workspace


def ftzard(workspace: Workspace, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([FTZARD, *arguments, "-w", str(workspace.root)], cwd=workspace.root,
                          text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)


def processes(workspace: Workspace) -> list[int]:
    """Return the processes that work on the workspace."""
    mark, found = f"FTZARD_WORKSPACE={workspace.root}".encode(), []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def command(pid: int) -> str:
    """Return the command line of a process, or that it has ended meanwhile."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()[:200]
    except OSError:
        return "one that has just ended"


def strike(workspace: Workspace, started: subprocess.Popen, draw: random.Random, longest: float
           ) -> dict:
    """Wait a random time, kill something, and return what and when."""
    moment = draw.uniform(0.5, longest)
    began = time.monotonic()
    while time.monotonic() - began < moment and started.poll() is None:
        time.sleep(0.05)
    alive = [started.pid, *processes(workspace)] if started.poll() is None else []
    whom = draw.choice(["run", "one", "all"]) if alive else "nobody"
    victims = {"run": [started.pid], "one": alive and [draw.choice(alive)], "all": alive,
               "nobody": []}[whom]
    for pid in victims:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return {"after_s": round(moment, 2), "killed": whom}


def trouble(workspace: Workspace) -> list[str]:
    """Return what is wrong with the record now."""
    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=workspace.root, text=True,
                              capture_output=True, check=True).stdout.strip()

    found = []
    for pointer in [*workspace.root.glob("data/**/*.dvc"), *workspace.root.glob("models/**/*.dvc")]:
        relative = pointer.with_suffix("").relative_to(workspace.root).as_posix()
        if dvc_hash(pointer.with_suffix("")) != recorded_hash(workspace.root, relative):
            found.append(f"{relative} is not what its .dvc file says")
    if git("status", "--porcelain"):
        found.append(f"git status: {git('status', '--porcelain')}")
    if git("rev-list", "@{upstream}..HEAD"):
        found.append("commits not pushed")
    lines = git("log", "--format=%H", "--name-only", "--", "*.dvc").split("\n")
    versions, commit = [], ""
    for line in filter(None, lines):
        if line.endswith(".dvc"):
            versions.append((line, git("rev-parse", f"{commit}:{line}")))
        else:
            commit = line
    # The same content again is a new version only if another came between.
    doubled = [a for a, b in zip(versions, versions[1:], strict=False) if a == b]
    found += [f"{path} was committed twice in a row" for path, _ in doubled]
    state = json.loads(ftzard(workspace, "status", "--json").stdout)
    found += [f"{name} is RUNNING" for name, step in state["steps"].items()
              if step["state"] == "RUNNING"]
    return found


def main(rounds: int, seed: int) -> None:
    draw, told = random.Random(seed), []
    with tempfile.TemporaryDirectory() as folder:
        workspace = prepared(Path(folder))
        longest = dict.fromkeys(JOBS, 15.0)  # seconds, until a whole run has shown how long
        for number in range(1, rounds + 1):
            job = draw.choice(JOBS)
            change = f"seed={10_000 + number}"
            if job in ("cleaning_job", "training_pipeline_job"):
                change = f"data.sample_rows={1000 + number}"
            if job == "preprocessing_job":
                change = f"model.max_length={40 + number % 80}"
            started = subprocess.Popen(
                [FTZARD, "run", job, change, "-w", str(workspace.root)], cwd=workspace.root,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            entry = {"round": number, "job": job,
                     **strike(workspace, started, draw, longest[job])}
            started.wait()
            last = time.monotonic() + 10
            while processes(workspace) and time.monotonic() < last:
                time.sleep(0.1)
            wrong = [f"after ten seconds there is {command(pid)}" for pid in processes(workspace)]
            doctor = ftzard(workspace, "doctor", "--fix")
            if doctor.returncode:
                wrong.append(f"doctor: {doctor.stdout[-1500:]}")
            began = time.monotonic()
            again = ftzard(workspace, "run", job, change)
            longest[job] = time.monotonic() - began
            if again.returncode:
                wrong.append(f"second run: {again.stdout[-1500:]}")
            wrong += trouble(workspace)
            told.append({**entry, "wrong": wrong})
            print(json.dumps(told[-1]), flush=True)
            written(told, seed)
    sys.exit(1 if any(entry["wrong"] for entry in told) else 0)


def written(told: list[dict], seed: int) -> None:
    """Store the rounds so far, so that one that is cut off leaves its result."""
    store("chaos", {"rounds": len(told), "seed": seed,
                    "failed": sum(bool(entry["wrong"]) for entry in told),
                    "killed": dict(Counter(entry["killed"] for entry in told)),
                    "jobs": dict(Counter(entry["job"] for entry in told)), "each": told})


if __name__ == "__main__":
    main(*(int(value) for value in [*sys.argv[1:], *("10", "0")[len(sys.argv) - 1:]][:2]))
