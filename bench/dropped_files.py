"""Ten thousand files dropped at once: memory, the first run, order, each once, and the stop.

A workspace with a champion gets them all in data/incoming, `ftzard ui` is started, and so many runs
as asked may end. Then it is told to stop.

    python bench/dropped_files.py [RUNS] [FILES]

RUNS: how many files are run to the end, default 10; FILES: how many are dropped. Memory is the
proportional set size of all processes of the workspace together, looked at every second; it is also
stored by process for the moment at which it was largest.
"""

import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from chaos import FTZARD, command, free_port, kind, prepared, processes
from dagster import DagsterInstance, RunsFilter
from machine import store

from ftzard.workspace.workspace import Workspace

JOB = "inference_pipeline_job"


def memory(workspace: Workspace) -> list[tuple[str, int]]:
    """Return the proportional set size of each process of a workspace in bytes, with its kind."""
    sizes = []
    for pid in processes(workspace):
        line = command(pid)
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue  # it has ended
        size = sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        sizes.append((kind(line), size << 10))
    return sorted(sizes, key=lambda one: -one[1])


def drop(workspace: Workspace, files: int) -> None:
    """Put files of one row each into data/incoming, each a second younger than the one before."""
    for number in range(files):
        path = workspace.incoming / f"{number:05}.csv"
        words = hashlib.sha256(path.name.encode()).hexdigest()  # none is like another one's
        path.write_text(f"text\nwhat a {words[:6]} {words[6:12]} {words[12:18]} day\n")
        os.utime(path, (1_700_000_000 + number,) * 2)


def main(runs: int, files: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        workspace = prepared(Path(folder))
        drop(workspace, files)
        began, peak, largest, first = time.monotonic(), 0, [], None
        ui = subprocess.Popen(
            [FTZARD, "ui", "--port", str(free_port()), "--mlflow-port", str(free_port()), "-w",
             str(workspace.root)], cwd=workspace.root, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with DagsterInstance.from_config(str(workspace.dagster_home)) as instance:
            ended, most, at_once = [], 0, 0
            while len(ended) < runs and ui.poll() is None:
                sizes = memory(workspace)
                if (total := sum(size for _, size in sizes)) > peak:
                    peak, largest = total, sizes
                known = instance.get_runs(RunsFilter(job_name=JOB))
                states = [run.status.value for run in known]
                if first is None and {"STARTED", "SUCCESS"} & set(states):
                    first = time.monotonic() - began
                most = max(most, states.count("QUEUED"))
                at_once = max(at_once, states.count("STARTED") + states.count("STARTING"))
                ended = [run for run in known if run.is_finished]
                time.sleep(1)
            served = time.monotonic() - began
            stopping = time.monotonic()
            ui.send_signal(signal.SIGTERM)
            ui.wait()
            while processes(workspace):
                time.sleep(0.05)
            stopped = time.monotonic() - stopping
            known = instance.get_runs(RunsFilter(job_name=JOB), ascending=True)
            names = [run.tags["ftzard/delivery"] for run in known]
            figures = {
                "files": files, "runs_ended": len(ended), "seconds_served": round(served, 1),
                "first_run_after_s": first and round(first, 1), "peak_memory_mb": peak >> 20,
                "of_these_mb": [f"{name}: {size >> 20}" for name, size in largest],
                "most_in_the_queue": most, "most_at_work": at_once,
                "stopped_after_s": round(stopped, 1), "in_order": names == sorted(names),
                "each_once": len(names) == len(set(names)),
                "states": {s: [r.status.value for r in known].count(s)
                           for s in sorted({r.status.value for r in known})}}
    print(store("queue", figures).read_text())


if __name__ == "__main__":
    main(*(int(value) for value in [*sys.argv[1:], *("10", "10000")[len(sys.argv) - 1:]][:2]))
