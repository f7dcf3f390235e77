"""Continual learning for six rounds, unattended: files are dropped, everything else is sensors.

    python bench/rounds.py TWEETS.csv.gz EMOTIONS.csv [FOLDER]

TWEETS.csv.gz is in Sentiment140's format (index, target 0/4, text; latin-1), in order of time;
EMOTIONS.csv has columns text and label (anger, joy, optimism, sadness; sadness and anger count as
negative). The first model is trained on the first 6,000 tweets. Then come five batches of 2,500
tweets each by row number, with 2,500 texts of the other domain after the second: each is dropped
into data/incoming, the rows that the queue asks for get their true labels, and the filled queue is
dropped into data/labelled. FOLDER keeps the workspace, to look at it.
"""

import gzip
import sys
import tempfile
from pathlib import Path

import pandas as pd
from machine import store

from ftzard.cli.demo import dagster_instance, drop, hand_in, sensed
from ftzard.data.reading import store_raw
from ftzard.evaluation.forgetting import Matrix, summary
from ftzard.orchestration import launch, services
from ftzard.orchestration.create_workspace import create
from ftzard.registry.model_records import records
from ftzard.workspace import batch_log
from ftzard.workspace.workspace import Workspace

FIRST, EACH = 6_000, 2_500
TARGETS = {"anger": "0", "sadness": "0", "joy": "4", "optimism": "4"}


def deliveries(tweets: Path, emotions: Path) -> tuple[pd.DataFrame, dict[str, pd.DataFrame]]:
    """Return the first training rows, and the batches by name in order, columns target, text."""
    opened = gzip.open if tweets.suffix == ".gz" else open
    with opened(tweets, "rt", encoding="latin-1", newline="") as stream:
        rows = pd.read_csv(stream, index_col=0, keep_default_na=False, dtype="str",
                           nrows=FIRST + 5 * EACH)
    other = pd.read_csv(emotions, keep_default_na=False).head(EACH)
    other = pd.DataFrame({"target": other["label"].map(TARGETS), "text": other["text"]})
    parts = [rows.iloc[start:start + EACH] for start in range(FIRST, len(rows), EACH)]
    batches = {f"tweets_{number}": part for number, part in enumerate(parts, 1)}
    names = list(batches)
    return rows.iloc[:FIRST], {
        **{name: batches[name] for name in names[:2]}, "emotions": other,
        **{name: batches[name] for name in names[2:]}}


def main(tweets: Path, emotions: Path, folder: Path) -> None:
    first, batches = deliveries(tweets, emotions)
    drops, root = folder / "drops", folder / "workspace"
    drops.mkdir(parents=True)
    first.to_csv(drops / "first.csv")
    raw = store_raw(drops / "first.csv", root / "data")
    workspace = create(root, config={
        "data": {"choice": "sentiment140", "source": f"data/raw/{raw.name}"},
        "gate": {"trial": True}},
        git_remote=folder / "git", dvc_remote=folder / "dvc", invent_identity=True)
    took = [succeeded(launch.run(workspace, "training_pipeline_job", {}))]
    command = {"daemon": services.daemon(workspace)}
    with services.serving(workspace, command), dagster_instance(workspace) as instance:
        for name, rows in batches.items():
            rows[["text"]].to_csv(drops / f"{name}.csv")
            rows.to_csv(drops / f"{name}_labels.csv", index=False)
            print(f"\n{name}: {len(rows):,} texts", flush=True)
            drop(drops / f"{name}.csv", workspace.incoming / f"{name}.csv")
            inferred = succeeded(sensed(instance, "inference_pipeline_job", print))
            hand_in(workspace, drops / f"{name}_labels.csv", name)
            took.append(inferred + succeeded(sensed(instance, "retraining_pipeline_job", print)))
    store("rounds", told(workspace, ["first", *batches], took))


def succeeded(outcome: launch.Outcome) -> float:
    """Return the seconds of a job; stop if it failed."""
    if not outcome.success:
        raise SystemExit(f"failed in {outcome.failed_step}: {outcome.failure}")
    return outcome.seconds


def told(workspace: Workspace, names: list[str], took: list[float]) -> dict:
    """Return the story of the rounds as the models' records and the drift log tell it."""
    known = records(workspace, workspace.config().tracking.registered_model)
    drifts = [None, *batch_log.DRIFT.entries(workspace)]
    matrix, lines = Matrix.of(known), []
    for name, entry, drift, seconds in zip(names, known, drifts, took, strict=True):
        verdict, scores = entry["verdict"], entry["metrics"]
        lines.append({
            "batch": name, "version": entry["version"], "rows": entry["rows"],
            "drift": drift and {key: drift[key] for key in ("verdict", "alarm", "raised_by")},
            "accuracy": {role: round(line["accuracy"], 4) for role, line in scores.items()},
            "test_rows": scores["challenger"]["n"], "verdict": verdict["decision"],
            "points": [round(100 * verdict[key], 2) for key in ("difference", "lower", "upper")],
            "forgetting": {k: round(v, 4) for k, v in
                           summary(matrix, entry["version"]).flat().items()},
            "seconds": round(seconds, 1)})
        print(lines[-1], flush=True)
    return {"first_rows": FIRST, "rows_each": EACH, "rounds": lines,
            "forgetting_matrix": matrix.to_dict()}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        main(Path(sys.argv[1]), Path(sys.argv[2]),
             Path(sys.argv[3]).resolve() if len(sys.argv) > 3 else Path(scratch))
