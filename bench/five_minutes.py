"""The README's first five minutes with 1,500 tweets: what becomes of a first model, and how long.

    python bench/five_minutes.py MODEL_FOLDER EMOTION_FOLDER [ROWS]

MODEL_FOLDER holds the files of the preset minilm's base; EMOTION_FOLDER holds train.csv with the
columns text and label (TweetEval emotion, Barbieri et al. 2020), of which the first ROWS are taken.
The workspace is what `ftzard init --data` makes; its training job runs with the preset, and with
the Falcon that is built here.
"""

import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pandas as pd
from machine import store

from ftzard.orchestration import launch
from ftzard.orchestration.create_workspace import init
from ftzard.registry.model_records import records
from ftzard.steps import first_look
from ftzard.steps.inputs import metadata_if_any


def main(model: Path, emotions: Path, rows: int = 1_500) -> None:
    choices = {"minilm": ["model=minilm", f"model.source={model.resolve()}", "model.revision=null"],
               "falcon_tiny": ["model=falcon_tiny"]}
    figures: dict = {"rows": rows}
    for name, overrides in choices.items():  # a process knows one workspace
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            figures[name] = process.submit(trained, emotions, rows, overrides).result()
        print(figures[name], store("five_minutes", figures), flush=True)


def trained(emotions: Path, rows: int, overrides: list[str]) -> dict:
    """Return what a first training of a fresh workspace came to."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "mine.csv"
        pd.read_csv(emotions / "train.csv", keep_default_na=False, dtype="str", nrows=rows).to_csv(
            file, index=False)
        said: list[str] = []
        workspace = init(Path(folder) / "ws", data=file, say=said.append)
        print("\n".join([*said, *first_look.lines(workspace)]), flush=True)
        began = time.perf_counter()
        outcome = launch.run(workspace, "training_pipeline_job", {"overrides": overrides},
                             say=lambda line: print(line, flush=True))
        if not outcome.success:
            raise SystemExit(f"failed in {outcome.failed_step}: {outcome.failure}")
        seconds = time.perf_counter() - began
        (entry,) = records(workspace, workspace.config().tracking.registered_model)
        epochs = metadata_if_any("tuning", workspace)["facts"]["trials"][0]["history"]
    verdict = entry["verdict"]
    return {
        "models": {role: {k: round(line[k], 4) for k in ("accuracy", "lower", "upper", "macro_f1")}
                   for role, line in entry["metrics"].items()},
        "test_rows": verdict["n"], "verdict": verdict["decision"], "reasons": verdict["reasons"],
        "calibration": {k: round(v, 4) for k, v in entry["calibration"].items()},
        "validation": [round(e["accuracy"], 4) for e in epochs], "seconds": round(seconds, 1),
        "step_seconds": {k: round(v, 1) for k, v in outcome.step_seconds.items()}}


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:4]))
