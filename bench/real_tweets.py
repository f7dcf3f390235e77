"""Real tweets through the whole training job: accuracy on unseen rows, beside TF-IDF, and time.

    python bench/real_tweets.py TWEETS.csv [ROWS]

TWEETS.csv is in Sentiment140's format (index, target 0/4, text; latin-1), gzipped or not.
"""

import gzip
import sys
import tempfile
from pathlib import Path

import pandas as pd
from machine import store

from ftzard.data.reading import store_raw
from ftzard.orchestration import launch
from ftzard.orchestration.create_workspace import create
from ftzard.steps.inputs import metadata_if_any


def main(source: Path, rows: int = 16_000) -> None:
    opened = gzip.open if source.suffix == ".gz" else open
    with opened(source, "rt", encoding="latin-1", newline="") as stream:
        tweets = pd.read_csv(stream, index_col=0, keep_default_na=False, nrows=rows)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "workspace"
        tweets.to_csv(Path(folder) / "tweets.csv")
        raw = store_raw(Path(folder) / "tweets.csv", root / "data")
        workspace = create(root, config={
            "data": {"choice": "sentiment140", "source": f"data/raw/{raw.name}"}},
            git_remote=Path(folder) / "git", dvc_remote=Path(folder) / "dvc", invent_identity=True)
        outcome = launch.run(workspace, "training_pipeline_job",
                             {"overrides": ["training.epochs=1", "tuning.trials=1"]})
        if not outcome.success:
            raise SystemExit(f"failed: {outcome.failure}")
        chosen = metadata_if_any("choosing", workspace)["facts"]
        tuned = metadata_if_any("tuning", workspace)["facts"]
    epoch = tuned["trials"][0]["history"][0]
    figures = {
        "rows": rows, "epochs": 1,
        "models": {line["model"]: {k: round(line[k], 4) for k in ("accuracy", "lower", "upper")}
                   for line in chosen["models"]},
        "test_rows": chosen["models"][0]["n"], "verdict": chosen["verdict"]["decision"],
        "tokens_per_second": round(epoch["tokens_per_second"]),
        "padding_share": round(epoch["padding_share"], 4),
        "tuning_step_seconds": round(outcome.step_seconds["tuning"], 1),
        "job_seconds": round(outcome.seconds, 1),
    }
    print(figures, store("real_tweets", figures))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *(int(a) for a in sys.argv[2:]))
