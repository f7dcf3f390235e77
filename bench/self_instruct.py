"""Two rounds of instruction tuning on real instructions, by the same jobs as any other.

    python bench/self_instruct.py INSTRUCTIONS.jsonl

INSTRUCTIONS.jsonl has instruction, input and output (Self-Instruct's seed tasks, Wang et al. 2022).
The first 330 rows train a first champion from the built-in Falcon, the others arrive without their
answers, and those that are asked come back with them. Results go to bench/results.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import yaml
from machine import store

from ftzard.data import storage
from ftzard.data.labeling import labeling_queue
from ftzard.orchestration import launch
from ftzard.orchestration.create_workspace import config_for, create
from ftzard.registry.model_records import records
from ftzard.tasks.instruction_tuning import instructions
from ftzard.workspace.workspace import MARKER, Workspace

FIRST = 330
#: 427 rows leave some sixty to test on, and some of them are long.
SMALL = {"gate": {"min_rows": 30}, "model": {"max_length": 384}}
COLUMNS = {"instruction_column": "instruction", "input_column": "input"}


def run(workspace: Workspace, job: str, **data: str) -> float:
    """Run a job and return its seconds; ends the script with what it said if it fails."""
    began = time.perf_counter()
    outcome = launch.run(workspace, job, {"data": data} if data else {}, say=print)
    if not outcome.success:
        raise SystemExit(f"{job} failed: {outcome.failure}")
    return round(time.perf_counter() - began, 1)


def facts(workspace: Workspace, step: str) -> dict:
    return json.loads((workspace.metadata / f"{step}.json").read_text(encoding="utf-8"))["facts"]


def answered(workspace: Workspace, file: Path) -> Path:
    """Fill in the newest queue with the answers that the data has, and return the file."""
    newest = max(workspace.labelling.glob("*.csv"), key=lambda p: p.stat().st_mtime_ns)
    queue = labeling_queue.read_queue(newest)
    rows, _ = instructions.clean(instructions.read(file, output_column="output", **COLUMNS),
                                 batch="answers")
    known = dict(zip(rows["text"], rows["label"], strict=True))
    queue["label"] = queue["text"].map(lambda text: known.get(text, ""))
    place = workspace.labelled / "answers.csv"
    storage.write_csv(queue, place)
    return place


def main(source: Path) -> None:
    rows = [json.loads(line) for line in source.read_text(encoding="utf-8").splitlines() if line]
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        parts = {"first": rows[:FIRST], "later": rows[FIRST:]}
        for name, part in parts.items():
            (home / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in part))
        config = config_for(home / "ws", task="instruction_tuning", data=home / "first.jsonl")
        config |= {group: config[group] | values for group, values in SMALL.items()}
        workspace = create(home / "ws", config=config, git_remote=home / "git",
                           dvc_remote=home / "dvc", invent_identity=True)
        seconds = {"training": run(workspace, "training_pipeline_job")}
        prepared, tuned = facts(workspace, "preprocessing"), facts(workspace, "tuning")
        name = "data/incoming/later.jsonl"
        (workspace.root / name).write_text("".join(
            json.dumps({k: r[k] for k in ("instruction", "input")}) + "\n" for r in parts["later"]))
        seconds["inference"] = run(workspace, "inference_pipeline_job", incoming=name)
        given = answered(workspace, home / "later.jsonl")
        seconds["retraining"] = run(workspace, "retraining_pipeline_job",
                                    labelled=workspace.relative(given))
        model = workspace.config().tracking.registered_model
        told = {
            "rows": len(rows), "config": yaml.safe_load((workspace.root / MARKER).read_text()),
            "preprocessing": {k: v for k, v in prepared.items() if isinstance(v, int | float)},
            "base_validation_loss": tuned["base_validation_loss"],
            "validation_loss": [e["validation_loss"] for e in tuned["trials"][0]["history"]],
            "rounds": [{"version": r["version"], "decision": r["verdict"]["decision"],
                        "reasons": r["verdict"]["reasons"], "models": r["metrics"]}
                       for r in records(workspace, model)],
            "seconds": seconds}
        store("self_instruct", told)
        print(json.dumps(told["rounds"], indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
