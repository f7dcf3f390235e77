"""kill -9 at random moments: over whole jobs, servers and decisions, for as many rounds as asked.

A round starts something, waits a random time, kills one of its processes (or all of them), lets the
doctor mend what is left, does it again, and checks that nothing is torn, open, lost or doubled, and
that ten seconds after the kill no process and no port is held. What it starts is a job, `ftzard ui`
with a file that was dropped (its daemon, its code servers and its runs may be hit), an
`ftzard mlflow-server`, or a decision: promote, rollback, delete.

    python bench/chaos.py [ROUNDS] [SEED]
"""

import contextlib
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from machine import store

from ftzard.core.artifacts import dvc_hash
from ftzard.data.reading import store_raw
from ftzard.orchestration.create_workspace import create
from ftzard.orchestration.services import answers
from ftzard.tasks.sample import write_sample
from ftzard.versioning import dvc_hash as recorded_hash
from ftzard.workspace import drop_tally
from ftzard.workspace.workspace import Workspace

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
    write_sample("classification", folder / "drops")
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


def left(workspace: Workspace, *ports: int, folder: Path | None = None) -> list[str]:
    """Wait ten seconds at most for all to end; return what has not."""
    def found() -> list[str]:
        pids = processes(workspace) if folder is None else of_server(folder)
        return [f"after ten seconds there is {command(pid)}" for pid in pids] + [
            f"after ten seconds port {port} is held" for port in ports
            if answers("127.0.0.1", port)]

    last = time.monotonic() + 10
    while found() and time.monotonic() < last:
        time.sleep(0.1)
    return found()


def of_server(folder: Path) -> list[int]:
    """Return the processes of an MLflow server by its folder."""
    mark, found = f"MLFLOW_AUTH_CONFIG_PATH={folder}".encode(), []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def begin(workspace: Workspace, *arguments: object, **environment: str) -> subprocess.Popen:
    return subprocess.Popen([FTZARD, *map(str, arguments)], cwd=workspace.root,
                            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL, env={**os.environ, **environment})


def job_round(workspace: Workspace, draw: random.Random, number: int, longest: dict) -> dict:
    """Kill a job, and run it again."""
    job = draw.choice(JOBS)
    change = f"seed={10_000 + number}"
    if job in ("cleaning_job", "training_pipeline_job"):
        change = f"data.sample_rows={1000 + number}"
    if job == "preprocessing_job":
        change = f"model.max_length={40 + number % 80}"
    started = begin(workspace, "run", job, change, "-w", workspace.root)
    entry = {"what": job, **strike(workspace, started, draw, longest.get(job, 15.0))}
    started.wait()
    wrong = [*left(workspace), *mended(workspace)]
    began = time.monotonic()
    again = ftzard(workspace, "run", job, change)
    longest[job] = time.monotonic() - began
    if again.returncode:
        wrong.append(f"second run: {again.stdout[-1500:]}")
    return {**entry, "wrong": wrong}


def ui_round(workspace: Workspace, draw: random.Random, number: int, longest: dict) -> dict:
    """Kill `ftzard ui`, or a process of its, while a dropped file waits or is at work; then serve
    again until the file is done or refused."""
    rows = "".join(f"chaos {number} row {row} of it\n" for row in range(40))
    (workspace.incoming / f"chaos_{number}.csv").write_text(f"text\n{rows}")
    ports = free_port(), free_port()
    serve = ("ui", "--port", ports[0], "--mlflow-port", ports[1], "-w", workspace.root)
    started = begin(workspace, *serve)
    entry = {"what": "ui", **strike(workspace, started, draw, 45.0)}
    if entry["killed"] == "one":  # it may be one that the others do without
        time.sleep(2)
        started.terminate()
    started.wait()
    wrong = [*left(workspace, *ports), *mended(workspace)]
    started = begin(workspace, *serve)
    last = time.monotonic() + 180
    while (moving := unfinished(workspace)) and time.monotonic() < last:
        time.sleep(1)
    started.terminate()
    started.wait()
    wrong += [f"not taken after a second start: {moving}"] if moving else []
    return {**entry, "wrong": [*wrong, *left(workspace, *ports), *mended(workspace)]}


def unfinished(workspace: Workspace) -> str:
    """Return what still waits or works of the dropped files, '' if nothing does."""
    tally = drop_tally.of(workspace)["incoming"]
    return ", ".join([*tally.waiting, *tally.queued, *tally.at_work])


def server_round(workspace: Workspace, draw: random.Random, number: int, longest: dict) -> dict:
    """Kill `ftzard mlflow-server`, or a process of its; its port must be free, and it starts again.
    """
    port, folder = free_port(), workspace.root.parent / "server"
    serve = ("mlflow-server", "--port", port, "--dir", folder)
    secret = {"MLFLOW_AUTH_ADMIN_PASSWORD": "of-the-administrator-1"}
    started = begin(workspace, *serve, **secret)
    time.sleep(draw.uniform(0.2, 15.0))
    alive = [started.pid, *of_server(folder)]
    whom = draw.choice(["run", "one", "all"])
    for pid in {"run": [started.pid], "one": [draw.choice(alive)], "all": alive}[whom]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if whom == "one":
        time.sleep(2)
        started.terminate()
    started.wait()
    wrong = left(workspace, port, folder=folder)
    started = begin(workspace, *serve, **secret)
    last = time.monotonic() + 60
    while not answers("127.0.0.1", port) and started.poll() is None and time.monotonic() < last:
        time.sleep(0.2)
    if not answers("127.0.0.1", port):
        wrong.append("the server did not start again")
    started.terminate()
    started.wait()
    return {"what": "mlflow-server", "killed": whom,
            "wrong": [*wrong, *left(workspace, port, folder=folder)]}


def decision_round(workspace: Workspace, draw: random.Random, number: int, longest: dict) -> dict:
    """Kill a decision; the doctor finishes or undoes it, and the same command says what is so."""
    versions = [int(re.search(r"\d+$", file.stem)[0]) for file in workspace.root.glob(
        "models/*/*.yaml")]
    name = next(workspace.root.glob("models/*/*.yaml")).parent.name
    champion = json.loads(ftzard(workspace, "status", "--json").stdout)["champion"]
    others = [v for v in versions if champion is None or v != champion["version"]]
    decision = draw.choice([
        ("promote", str(draw.choice(others or versions)), "--reason", f"round {number}"),
        ("rollback", "--reason", f"round {number}"),
        ("models", "delete", f"{name}@{draw.choice(others or versions)}", "--yes")])
    started = begin(workspace, *decision, "-w", workspace.root)
    entry = {"what": decision[0] if decision[0] != "models" else "delete",
             **strike(workspace, started, draw, 12.0)}
    started.wait()
    return {**entry, "wrong": [*left(workspace), *mended(workspace)]}


def mended(workspace: Workspace) -> list[str]:
    """Let the doctor mend what is left; return what it cannot, and what is wrong then."""
    doctor = ftzard(workspace, "doctor", "--fix")
    return [f"doctor: {doctor.stdout[-1500:]}"] if doctor.returncode else []


#: What a round does, and how often of ten.
KINDS = {job_round: 5, ui_round: 2, server_round: 1, decision_round: 2}


def main(rounds: int, seed: int) -> None:
    draw, told, longest = random.Random(seed), [], {}
    with tempfile.TemporaryDirectory() as folder:
        workspace = prepared(Path(folder))
        for number in range(1, rounds + 1):
            what, = draw.choices(list(KINDS), KINDS.values())
            entry = what(workspace, draw, number, longest)
            told.append({"round": number, **entry, "wrong": entry["wrong"] + trouble(workspace)})
            print(json.dumps(told[-1]), flush=True)
            written(told, seed)
    sys.exit(1 if any(entry["wrong"] for entry in told) else 0)


def written(told: list[dict], seed: int) -> None:
    """Store the rounds so far, so that one that is cut off leaves its result."""
    store("chaos", {"rounds": len(told), "seed": seed,
                    "failed": sum(bool(entry["wrong"]) for entry in told),
                    "killed": dict(Counter(entry["killed"] for entry in told)),
                    "what": dict(Counter(entry["what"] for entry in told)), "each": told})


if __name__ == "__main__":
    main(*(int(value) for value in [*sys.argv[1:], *("10", "0")[len(sys.argv) - 1:]][:2]))
