"""What a step costs beside its computation.

A step's time is Dagster's, from STEP_START to STEP_SUCCESS. Its computation is the time of its
notebook's cells after the one that opens the step, which holds imports and set-up. A run imports
torch once, in the process that its kernels are copies of; what that takes is measured in a process
of its own, and taken off the first step of a job if its notebook loads a tokenizer or a model.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import store

from ftzard.data.reading import store_raw
from ftzard.orchestration import launch
from ftzard.orchestration.create_workspace import create
from ftzard.tasks.sample import write_sample

SMALL = {
    "data": {"choice": "sentiment140"},
    "training": {"epochs": 1},
    "tuning": {"trials": 1},
    "model": {"build": {"layers": 2, "width": 64, "heads": 2, "vocabulary": 1024, "seed": 0}},
    "gate": {"trial": True},
}

WITH_TORCH = ("preprocessing", "inference_preprocessing", "tuning", "choosing", "inference")


def torch_import() -> float:
    """Return the seconds that a process takes longer if it imports what the models import."""
    took = []
    for statement in ("pass", "import torch, transformers, peft, ftzard.modeling.adapter"):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", statement], check=True, capture_output=True)
        took.append(time.perf_counter() - began)
    return took[1] - took[0]


def computation(notebook: Path) -> float:
    """Return the seconds of the cells after the opening one."""
    code = [c for c in json.loads(notebook.read_text())["cells"] if c["cell_type"] == "code"]
    return sum(c["metadata"]["papermill"]["duration"] or 0 for c in code[2:])


def measure(workspace, job: str, overrides: list[str], importing: float) -> list[dict]:
    outcome = launch.run(workspace, job, {"overrides": overrides}, say=lambda line: None)
    if not outcome.success:
        raise SystemExit(f"{job} failed: {outcome.failure}")
    lines = []
    for number, (step, wall) in enumerate(outcome.step_seconds.items()):
        compute = computation(workspace.executed / outcome.run_id / f"{step}.ipynb")
        torch = importing if number == 0 and step in WITH_TORCH else 0.0
        lines.append({"job": job, "step": step, "first": number == 0, "wall": round(wall, 2),
                      "compute": round(compute, 2), "torch_import": round(torch, 2),
                      "overhead": round(wall - compute - torch, 2)})
    return lines


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "workspace"
        write_sample("classification", Path(folder) / "drops")
        raw = store_raw(Path(folder) / "drops" / "training.csv", root / "data")
        config = {**SMALL, "data": {**SMALL["data"], "source": f"data/raw/{raw.name}"}}
        workspace = create(root, config=config, git_remote=Path(folder) / "git",
                           dvc_remote=Path(folder) / "dvc", invent_identity=True)
        importing = torch_import()
        lines = measure(workspace, "training_pipeline_job", [], importing)
        batch = Path(folder) / "drops" / "batch_1.csv"
        lines += measure(workspace, "inference_pipeline_job", [f"data.incoming={batch}"],
                         importing)
    for line in lines:
        print(f"{line['step']:<34} wall {line['wall']:6.2f}  compute {line['compute']:6.2f}  "
              f"torch {line['torch_import']:5.2f}  overhead {line['overhead']:5.2f}"
              + ("  (first of its job)" if line["first"] else ""))
    worst = max(line["overhead"] for line in lines if not line["first"])
    first = max(line["overhead"] for line in lines if line["first"])
    print(f"worst {worst:.2f} s, worst first step {first:.2f} s")
    print(store("step_overhead", {"worst": worst, "worst_first_step": first,
                                  "torch_import_seconds": round(importing, 2), "steps": lines}))


if __name__ == "__main__":
    main()
