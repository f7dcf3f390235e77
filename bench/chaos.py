"""kill -9 at random moments: over whole jobs, servers and decisions, for as many rounds as asked.

A round starts something, waits a random time, kills one of its processes (or all of them), lets the
doctor mend what is left, and checks that nothing is torn, open, lost or doubled, and that ten
seconds after the kill no process and no port is held. A job is then done again, and may be killed
again up to twice before it is let through. What a round starts is a job, `ftzard ui` with a file
that was dropped (its daemon, its code servers, its web server, its MLflow and its runs may be hit),
`ftzard mlflow-server`, `ftzard label --web` with people who answer, or a decision: promote,
rollback, delete, gate, restore.

    python bench/chaos.py [ROUNDS] [SEED] [MINUTES]

It ends after so many rounds, or with the first round that ends after so many minutes, if any are
named. Commands that do not serve begin as forks of a process that has made their imports
(`tests/warm_processes.py`), which spares a round half its time.
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
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from http.cookiejar import CookieJar
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # the tests' forks and their look at processes
from machine import RESULTS, store

from ftzard.core.artifacts import dvc_hash
from ftzard.data.labeling.answer_store import AnswerStore
from ftzard.data.reading import store_raw
from ftzard.orchestration.create_workspace import create
from ftzard.orchestration.services import answers
from ftzard.steps.labeling_batch import batch_files, store_of
from ftzard.tasks.sample import write_sample
from ftzard.versioning import dvc_hash as recorded_hash
from ftzard.workspace import drop_tally
from ftzard.workspace.workspace import Workspace
from tests import warm_processes
from tests.orchestration import texts

FTZARD = str(Path(sys.executable).parent / "ftzard")
SMALL = {
    "data": {"choice": "sentiment140", "sample_rows": 500},
    "training": {"epochs": 1, "checkpoint_steps": 5},
    "tuning": {"trials": 2},
    "sampling": {"budget": 20, "audit_rows": 10, "min_labelled": 100_000},
    "model": {"build": {"layers": 1, "width": 32, "heads": 2, "vocabulary": 512, "seed": 0}},
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
    if json.loads(ftzard(workspace, "status", "--json").stdout)["champion"] is None:
        ftzard(workspace, "promote", "1", "--reason", "a champion to work with")
    return workspace


def ftzard(workspace: Workspace, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([FTZARD, *arguments, "-w", str(workspace.root)], cwd=workspace.root,
                          text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)


def processes(workspace: Workspace) -> list[int]:
    """Return the processes that work on the workspace."""
    return list(texts.processes(workspace))


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
    struck = kind(command(victims[0])) if whom == "one" else whom
    for pid in victims:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return {"after_s": round(moment, 2), "killed": whom, "whom": struck}


def kind(line: str) -> str:
    """Return what a process is, by its command line."""
    names = {"dagster_daemon": "daemon", "dagster-webserver": "webserver",
             "api grpc": "code server",
             "multiprocessing": "run worker", "uvicorn": "mlflow", "landing_page": "mlflow",
             "kernel_server": "kernels", "dvc_process": "dvc", "server_guard": "guard",
             "ftzard ui": "ui", "warm_processes": "a fork", "git": "git"}
    return next((name for mark, name in names.items() if mark in line), line[:60])


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
    # One line per file that a commit changed: …modes… old new status<TAB>path.
    changes = git("log", "--raw", "--no-abbrev", "--format=", "--", "*.dvc").splitlines()
    versions = [(path, new) for meta, path in (line.split("\t", 1) for line in changes if line)
                if (new := meta.split()[3]) != "0" * 40]
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
    """Kill a job, up to three times before it is let through."""
    job = draw.choice(JOBS)
    change = [f"seed={10_000 + number}", *longest.get("tokenized as", [])]
    if job in ("cleaning_job", "training_pipeline_job"):
        change = [f"data.sample_rows={400 + number}"]
    if job == "preprocessing_job":
        change = [f"model.max_length={40 + number % 80}"]
    kills, wrong = [], []
    for _ in range(draw.randint(1, 3)):
        started = begin(workspace, "run", job, *change, "-w", workspace.root)
        kills.append(strike(workspace, started, draw, longest.get(job, 15.0)))
        started.wait()
        wrong += [*left(workspace), *mended(workspace)]
    began = time.monotonic()
    again = ftzard(workspace, "run", job, *change)
    longest[job] = time.monotonic() - began
    if again.returncode:
        wrong.append(f"the run after the kills: {again.stdout[-1500:]}")
    if job in ("preprocessing_job", "training_pipeline_job"):  # whoever trains now has to say it
        longest["tokenized as"] = change if job == "preprocessing_job" else []
    return {"what": job, "kills": kills, "wrong": wrong}


def ui_round(workspace: Workspace, draw: random.Random, number: int, longest: dict) -> dict:
    """Kill `ftzard ui`, or a process of its, while a dropped file waits or is at work; then serve
    again until the file is done or refused."""
    rows = "".join(f"chaos {number} row {row} of it\n" for row in range(40))
    (workspace.incoming / f"chaos_{number}.csv").write_text(f"text\n{rows}")
    ports = free_port(), free_port()
    serve = ("ui", "--port", ports[0], "--mlflow-port", ports[1], "-w", workspace.root)
    started = begin(workspace, *serve)
    entry = {"what": "ui", "kills": [strike(workspace, started, draw, 45.0)]}
    if entry["kills"][0]["killed"] == "one":  # it may be one that the others do without
        time.sleep(2)
        started.terminate()
    started.wait()
    wrong = [*left(workspace, *ports), *mended(workspace)]
    started = begin(workspace, *serve)
    last = time.monotonic() + 900
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
    moment = draw.uniform(0.2, 15.0)
    time.sleep(moment)
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
    if not served(started, port):
        wrong.append("the server did not start again")
    started.terminate()
    started.wait()
    return {"what": "mlflow-server", "kills": [{"after_s": round(moment, 2), "killed": whom}],
            "wrong": [*wrong, *left(workspace, port, folder=folder)]}


def served(started: subprocess.Popen, port: int, seconds: float = 600.0) -> bool:
    """Wait until a command listens on its port; return whether it does."""
    last = time.monotonic() + seconds
    while not answers("127.0.0.1", port) and started.poll() is None and time.monotonic() < last:
        time.sleep(0.2)
    return answers("127.0.0.1", port)


def label_round(workspace: Workspace, draw: random.Random, number: int, longest: dict) -> dict:
    """Kill `ftzard label --web` while two people answer: what was confirmed is there once."""
    port, wrong, kills = free_port(), [], []
    people = [Person(f"{name} {number}", port) for name in ("Ann", "Bob")]
    for _ in range(draw.randint(1, 3)):
        started = begin(workspace, "label", "--web", "--port", port, "-w", workspace.root)
        if not served(started, port):
            return {"what": "label", "kills": kills, "wrong": ["the page did not start"]}
        stop = threading.Event()
        threads = [threading.Thread(target=person.answer, args=(stop, draw.randrange(2**32)))
                   for person in people]
        for thread in threads:
            thread.start()
        moment = draw.uniform(0.1, 4.0)
        time.sleep(moment)
        started.kill()
        stop.set()
        for thread in threads:
            thread.join()
        started.wait()
        kills.append({"after_s": round(moment, 2), "killed": "all"})
        wrong += left(workspace, port)
    saved, batch = store_of(workspace), batch_files(workspace)[-1].stem
    for person in people:
        wrong += person.missing(saved, batch)
        for answer in saved.answers(batch, person.name):  # the rows are free for the next round
            saved.remove(batch, answer.id, person.name)
    return {"what": "label", "kills": kills, "wrong": wrong,
            "answers": sum(len(person.confirmed) for person in people)}


class Person:
    """Somebody at the labeling page, who notes which answers were confirmed."""

    def __init__(self, name: str, port: int) -> None:
        self.name, self.here = name, f"http://127.0.0.1:{port}"
        self.confirmed: dict[str, int] = {}

    def answer(self, stop: threading.Event, seed: int) -> None:
        """Answer rows until the page is gone."""
        draw = random.Random(seed)
        site = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))

        def get(path: str, **fields: str) -> str:
            data = urllib.parse.urlencode(fields).encode() if fields else None
            with site.open(self.here + path, data, timeout=10) as response:
                return response.read().decode()

        with contextlib.suppress(OSError, urllib.error.URLError):
            page = get("/enter", name=self.name)
            batch = re.search(r'href="(/batch/[^"/]+)"', page)[1]
            while not stop.is_set():
                page = get(batch)
                row = re.search('name="row" value="([^"]*)"', page)
                if row is None:
                    return
                label = draw.randrange(2)
                form = re.search('name="form" value="([^"]*)"', page)[1]
                get(batch, form=form, row=row[1], action="save", only=str(label))
                self.confirmed[row[1]] = label

    def missing(self, saved: AnswerStore, batch: str) -> list[str]:
        """Return a sentence for each answer that was confirmed and is not there once."""
        rows = Counter(answer.id for answer in saved.answers(batch, self.name) if answer.label)
        return [f"{self.name}'s answer to {row} is there {rows[row]} times"
                for row in self.confirmed if rows[row] != 1]


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
        ("models", "delete", f"{name}@{draw.choice(others or versions)}", "--yes"),
        ("gate", "--json"), ("restore", "HEAD")])
    what = decision[0] if decision[0] != "models" else "delete"
    started = begin(workspace, *decision, "-w", workspace.root)
    entry = {"what": what, "kills": [strike(workspace, started, draw, longest.get(what, 8.0))]}
    began = time.monotonic()
    started.wait()
    if entry["kills"][0]["killed"] == "nobody":  # it ended by itself: the next is hit earlier
        longest[what] = max(1.0, 0.7 * longest.get(what, 8.0) + time.monotonic() - began)
    return {**entry, "wrong": [*left(workspace), *mended(workspace)]}


def mended(workspace: Workspace) -> list[str]:
    """Let the doctor mend what is left; return what it cannot, and what is wrong then."""
    doctor = ftzard(workspace, "doctor", "--fix")
    return [f"doctor: {doctor.stdout[-1500:]}"] if doctor.returncode else []


#: What a round does, and how often of sixteen.
KINDS = {job_round: 5, ui_round: 3, server_round: 1, label_round: 2, decision_round: 5}


def main(rounds: int, seed: int, minutes: int) -> None:
    for number in (signal.SIGINT, signal.SIGHUP):  # a shell lets its background ignore them
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    draw, done, longest = random.Random(seed), [], {}
    last = time.monotonic() + 60 * minutes if minutes else float("inf")
    with tempfile.TemporaryDirectory() as folder, warm_processes.Server():
        workspace = prepared(Path(folder))
        queued(workspace)
        for number in range(1, rounds + 1):
            what, = draw.choices(list(KINDS), KINDS.values())
            began = time.monotonic()
            entry = what(workspace, draw, number, longest)
            done.append({"round": number, "seed": seed, **entry,
                         "wrong": entry["wrong"] + trouble(workspace),
                         "seconds": round(time.monotonic() - began, 1)})
            print(json.dumps(done[-1]), flush=True)
            write(done)
            if time.monotonic() > last:
                break
    sys.exit(1 if any(entry["wrong"] for entry in done) else 0)


def queued(workspace: Workspace) -> None:
    """Let a batch wait for labels."""
    rows = "".join(f"a first row number {row} of it\n" for row in range(80))
    (workspace.incoming / "first.csv").write_text(f"text\n{rows}")
    ended = ftzard(workspace, "run", "inference_pipeline_job")
    if ended.returncode:
        raise SystemExit(ended.stdout)


def write(rounds: list[dict]) -> None:
    """Store the rounds so far, so that one that is cut off leaves its result; seeds add up."""
    file = RESULTS / "chaos.json"
    before = json.loads(file.read_text())["each"] if file.is_file() else []
    seeds = {entry["seed"] for entry in rounds}
    each = [*(entry for entry in before if "kills" in entry and entry["seed"] not in seeds),
            *rounds]
    kills = [kill for entry in each for kill in entry["kills"]]
    store("chaos", {
        "rounds": len(each), "seeds": sorted({entry["seed"] for entry in each}),
        "failed": sum(bool(entry["wrong"]) for entry in each), "kills": len(kills),
        "killed": dict(Counter(kill["killed"] for kill in kills)),
        "one": dict(Counter(kill["whom"] for kill in kills if kill["killed"] == "one"
                            and "whom" in kill)),
        "what": dict(Counter(entry["what"] for entry in each)), "each": each})


if __name__ == "__main__":
    main(*(int(value) for value in [*sys.argv[1:], *("10", "0", "0")[len(sys.argv) - 1:]][:3]))
