"""Does a Ray cluster hold what `compute=ray` promises? Pass or fail, a line for each promise.

    python bench/cluster_check.py compute.address=http://HOST:8265 compute.storage=s3://BUCKET/X

More values of `compute` may be given, such as compute.gpus=1. It makes a workspace of its own in a
temporary folder, with 400 rows of the sample and one epoch, and takes some minutes; `make
test-remote` takes the values from a workspace's ftzard.yaml. Nothing is left on the cluster but
what it has stored.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd

from ftzard.compute.cluster import Cluster
from ftzard.compute.ray_jobs import RayJobs
from ftzard.config.compose import compose
from ftzard.errors import FtzardError
from ftzard.workspace import workspace as workspaces

ROUND = ("data.sample_rows=400", "training.epochs=1", "tuning.trials=2", "gate.trial=true",
         "versioning.push=false")


def ftzard(*arguments: object) -> str:
    done = subprocess.run([sys.executable, "-m", "ftzard.cli", *map(str, arguments)], text=True,
                          capture_output=True)
    if done.returncode:
        raise FtzardError((done.stdout + done.stderr).strip()[-600:])
    return done.stdout


def trials(root: Path) -> list[dict]:
    metadata = json.loads((root / ".ftzard/metadata/tuning.json").read_text())
    return sorted(metadata["facts"]["trials"], key=lambda trial: trial["number"])


def checks(place: Path, overrides: list[str]) -> Iterator[tuple[str, Callable[[], str]]]:
    """Yield what is promised, and what tries it and returns what it has seen."""
    compute = compose({"overrides": ["compute=ray", *overrides]}).compute
    kept: dict = {}

    def api() -> str:
        jobs = RayJobs(compute.address or "")
        return "; ".join(f"{node.address}: {node.resources.get('CPU', 0):g} CPUs, "
                         f"{node.resources.get('GPU', 0):g} GPUs" for node in jobs.nodes())

    def storage() -> str:
        Cluster(compute, 2, place)
        return "written, read and removed"

    def local() -> str:
        ftzard("init", place / "ws", "--sample")
        ftzard("run", "training_pipeline_job", "-w", place / "ws", *ROUND)
        kept["here"] = trials(place / "ws")
        return "a round of 400 rows on this machine"

    def remote() -> str:
        ftzard("run", "tuning_job", "-w", place / "ws", *ROUND[1:3], "compute=ray", *overrides)
        kept["there"] = trials(place / "ws")
        return "two trials on the cluster"

    def equal() -> str:
        here, there = ([t["recipe"]["weights_sha256"] for t in kept[k]] for k in ("here", "there"))
        if here == there:
            return "the same weights, bit by bit"
        places = {t["recipe"]["processor"] for t in (*kept["here"], *kept["there"])}
        apart = max(abs(a["metrics"]["validation_loss"] - b["metrics"]["validation_loss"])
                    for a, b in zip(kept["here"], kept["there"], strict=True))
        if len(places) > 1 and apart < 0.05:
            return f"other processors add up in another order: losses differ by {apart:.1e}"
        raise FtzardError(f"the same processor, other weights; losses differ by {apart:.1e}")

    def predicted() -> str:
        sample = sorted((place / "ws/data/sample").iterdir())[0]
        texts = pd.read_csv(sample).iloc[:, 0].astype(str).str.replace(r"\s+", " ", regex=True)
        file = place / "texts.txt"
        file.write_text("\n".join(text or "-" for text in texts) + "\n", encoding="utf-8")
        ws = place / "ws"
        here = ftzard("predict", file, "-w", ws)
        there = ftzard("predict", file, "compute=ray", *overrides, "-w", ws)
        if here != there:
            raise FtzardError("other bytes than on this machine (other processors give others)")
        return f"{len(texts):,} lines, byte by byte as here"

    def stopped() -> str:
        jobs = RayJobs(compute.address or "")
        run = subprocess.Popen(
            [sys.executable, "-m", "ftzard.cli", "run", "tuning_job", "-w", place / "ws",
             "compute=ray", *overrides, "tuning.trials=1", "training.epochs=500",
             "training.patience=500"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        note = place / "ws/.ftzard/cluster-jobs.json"
        end = time.monotonic() + 300
        job = None
        while time.monotonic() < end and run.poll() is None:
            noted = json.loads(note.read_text()) if note.is_file() else []
            if noted and noted[0]["state"] == "RUNNING":
                job = noted[0]["job"]
                break
            time.sleep(0.5)
        os.kill(run.pid, 9)
        run.wait()
        if job is None:
            raise FtzardError("no job began within 300 s")
        began = time.monotonic()
        while time.monotonic() - began < 20:
            found = jobs.find(job)
            if found is not None and found.ended:
                return f"stopped after {time.monotonic() - began:.1f} s"
            time.sleep(0.2)
        raise FtzardError(f"the job {job} still runs after 20 s")

    yield "the Jobs API answers, with the same ray", api
    yield "the storage can be written from here", storage
    yield "a round runs here", local
    yield "trials run on the cluster", remote
    yield "they give the adapters of this machine", equal
    yield "a file is predicted there as here", predicted
    yield "a killed run stops its job", stopped


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("-w", "--workspace", help="take `compute` from its ftzard.yaml")
    parser.add_argument("overrides", nargs="*", metavar="compute.KEY=VALUE")
    told = parser.parse_args()
    overrides = list(told.overrides)
    if told.workspace:
        own = workspaces.find(told.workspace).own_config().get("compute") or {}
        overrides = [f"compute.{key}={value}" for key, value in own.items()
                     if key != "choice" and not isinstance(value, list)] + overrides
    failed = 0
    with tempfile.TemporaryDirectory(prefix="ftzard-check-") as scratch:
        for promise, check in checks(Path(scratch), overrides):
            began = time.monotonic()
            try:
                word, seen = "pass", check()
            except (FtzardError, KeyError, OSError) as error:
                word, seen = "FAIL", " ".join(f"{error}".split())
                failed += 1
            print(f"{word}  {promise}: {seen} ({time.monotonic() - began:.0f} s)", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
