"""Which of five batches harms: one has shuffled labels, and leaving it out has to show it.

    python bench/counterfactuals.py TWEETS.csv SEED

TWEETS.csv is in Sentiment140's format. Five batches of 2,600 training rows each are drawn over all
time; the labels of one of them, which the seed draws, are shuffled. One model is trained on all of
them, and one without each batch, with the same base, tokenizer, seed and values, for one epoch; all
answer 4,000 test rows with true labels. As in `ftzard reproduce --without-each`, the interval
of each difference has its share of 5 %. The result of each seed is stored in one file.
"""

import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from drift import LABELS, tweets
from machine import RESULTS, store

from ftzard.config.compose import compose
from ftzard.config.training_config import TrainingConfig
from ftzard.evaluation import gate
from ftzard.evaluation.paired import Predicted
from ftzard.modeling import adapter, reproducibility, tiny_falcon
from ftzard.modeling.base_model import BaseSpec, load_base
from ftzard.modeling.tokenizer import encode
from ftzard.tasks.classification import TASK
from ftzard.tasks.classification.predictor import open_classifier
from ftzard.training import fit as fitting

BATCHES, ROWS, VALIDATION, TEST = 5, 2_600, 400, 4_000


def main(source: Path, seed: int) -> None:
    began = time.time()
    reproducibility.set_threads(2)
    drawn = tweets(source).drop_duplicates("text").sample(frac=1, random_state=seed)
    rows = drawn.head(BATCHES * ROWS + VALIDATION + TEST).reset_index(drop=True)
    rows["batch"] = [f"batch {i // ROWS}" for i in range(len(rows))]
    train, rest = rows[:BATCHES * ROWS].copy(), rows[BATCHES * ROWS:]
    validation, test = rest[:VALIDATION], rest[VALIDATION:]
    draw = np.random.default_rng(seed)
    planted = f"batch {draw.integers(BATCHES)}"
    where = train["batch"] == planted
    train.loc[where, "label"] = draw.permutation(train.loc[where, "label"])
    settings = replace(TrainingConfig.of(compose()), seed=seed, epochs=1)
    with tempfile.TemporaryDirectory() as folder:
        base = tiny_falcon.build(Path(folder) / "base", train["text"], layers=4, width=256, heads=4,
                                 vocabulary=8192, seed=0)
        loaded = load_base(BaseSpec(source=base, name="falcon_tiny", max_length=128), LABELS)

        def tokenized(part: pd.DataFrame) -> pd.DataFrame:
            ids, length, cut = encode(part["text"].tolist(), loaded.tokenizer, 128)
            return part.assign(input_ids=ids, length=length, cut=cut).reset_index(drop=True)

        train, validation, test = map(tokenized, (train, validation, test))

        def answers(part: pd.DataFrame, name: str) -> dict[str, Predicted]:
            fitted = fitting.fit(loaded, part.reset_index(drop=True), validation, task=TASK,
                                 config=settings, folder=Path(folder) / name)
            model = open_classifier(fitted.folder, loaded)
            chosen = np.array(LABELS)[model.logits(test["input_ids"].tolist()).argmax(axis=1)]
            adapter.detach(loaded)
            return {"test": Predicted(test["id"], test["label"], chosen)}

        whole = answers(train, "whole")
        limits = replace(compose().gate, error_budget=None, confidence=1 - 0.05 / BATCHES)
        found = {}
        for batch in sorted(train["batch"].unique()):
            verdict = gate.judge(whole, answers(train[train["batch"] != batch], batch), limits,
                                 classes=LABELS, baselines={}, seed=seed)
            found[batch] = {"with": verdict.challenger_score, "without": verdict.champion_score,
                            "difference": verdict.difference, "lower": verdict.lower,
                            "upper": verdict.upper}
            print(seed, batch, "(shuffled)" if batch == planted else "", found[batch], flush=True)
    worst = min(found, key=lambda name: found[name]["difference"])
    path = RESULTS / "counterfactuals.json"
    seeds = json.loads(path.read_text())["seeds"] if path.is_file() else {}
    seeds[str(seed)] = {"planted": planted, "most_harmful": worst,
                        "shown": worst == planted and found[worst]["upper"] < 0,
                        "seconds": round(time.time() - began), "batches": found}
    print(store("counterfactuals", {
        "training_rows_of_a_batch": ROWS, "test_rows": TEST, "seeds": seeds,
        "shown": sum(s["shown"] for s in seeds.values()), "of": len(seeds)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
