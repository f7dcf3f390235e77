"""Ten thousand files dropped at once: memory, the first run, order, each once, and the stop.

A workspace with a champion gets them all in data/incoming, `ftzard ui` is started, and so many runs
as asked may end. Then it is told to stop.

    python bench/dropped_files.py [RUNS] [FILES]

RUNS: how many files are run to the end, 10 unless told; FILES: how many are dropped. Memory is the
proportional set size of all processes of the workspace together, looked at every second.
"""

import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from chaos import FTZARD, free_port, prepared, processes
from dagster import DagsterInstance, RunsFilter
from machine import store

from ftzard.workspace.workspace import Workspace

JOB = "inference_pipeline_job"


def memory(workspace: Workspace) -> int:
    """Return the proportional set size of all processes of a workspace together, in bytes."""
    total = 0
    for pid in processes(workspace):
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue  # it has ended
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024
    return total


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
        began, peak, first = time.monotonic(), 0, None
        ui = subprocess.Popen(
            [FTZARD, "ui", "--port", str(free_port()), "--mlflow-port", str(free_port()), "-w",
             str(workspace.root)], cwd=workspace.root, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with DagsterInstance.from_config(str(workspace.dagster_home)) as instance:
            ended, most, at_once = [], 0, 0
            while len(ended) < runs and ui.poll() is None:
                peak = max(peak, memory(workspace))
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
                "most_in_the_queue": most, "most_at_work": at_once,
                "stopped_after_s": round(stopped, 1), "in_order": names == sorted(names),
                "each_once": len(names) == len(set(names)),
                "states": {s: [r.status.value for r in known].count(s)
                           for s in sorted({r.status.value for r in known})}}
    print(store("queue", figures).read_text())


if __name__ == "__main__":
    main(*(int(value) for value in [*sys.argv[1:], *("10", "10000")[len(sys.argv) - 1:]][:2]))
