"""What replay does against forgetting: the first batch after others came, with and without it.

    python bench/replay.py TWEETS.csv.gz EMOTIONS.csv [SEEDS]

TWEETS.csv.gz is in Sentiment140's format (index, target 0/4, text; latin-1), in order of time;
EMOTIONS.csv has columns text and label (anger, joy, optimism, sadness; sadness and anger count as
negative). Per seed, one model is trained on 4,000 tweets and then goes on, round by round, with 700
labelled rows of each of three batches: later tweets, the other domain, later tweets again. It does
so once with the shipped replay ratio and once without replay, the same in all else and without a
gate between, since a gate would hide what is measured. Forgetting is the accuracy on the first
batch's test rows at the start less that after the last round; the effect of replay is the
difference of the two, paired by seed, with Student's interval over the seeds.
"""

import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from labels import load, right
from machine import store
from rounds import deliveries
from scipy.stats import t

from ftzard.config.compose import compose
from ftzard.config.training_config import TrainingConfig
from ftzard.data import near_duplicates, replay, splitting
from ftzard.modeling import adapter
from ftzard.modeling.base_model import LoadedBase
from ftzard.modeling.tokenizer import encode
from ftzard.tasks.classification import TASK
from ftzard.tasks.classification.predictor import open_classifier
from ftzard.tasks.classification.text_rows import clean
from ftzard.training import fit as fitting

FIRST, LABELLED = 4_000, 700


def tables(tweets: Path, emotions: Path) -> dict[str, pd.DataFrame]:
    """Return the cleaned rows of each batch (batch, label, text, split), by name."""
    first, later = deliveries(tweets, emotions)
    parts = {"first": first.head(FIRST), "tweets_1": later["tweets_1"],
             "emotions": later["emotions"], "tweets_4": later["tweets_4"]}
    cleaned = []
    for name, part in parts.items():
        raw = part.rename(columns={"target": "label"}).assign(row=np.arange(len(part)))
        cleaned.append(clean(raw.reset_index(drop=True).astype({"text": "str"}), batch=name,
                             labels={"0": "negative", "4": "positive"})[0])
    data = compose().data
    rows = splitting.assign(
        pd.concat(cleaned, ignore_index=True), salt=data.salt,
        ratio={"train": data.train_share, "validation": data.validation_share,
               "test": data.test_share})
    rows, _ = near_duplicates.drop_near_duplicates(rows)
    return dict(list(rows.groupby("batch", sort=False)))


def side(batches: list[pd.DataFrame], name: str) -> pd.DataFrame:
    """Return the rows of one side of the split, of some batches."""
    rows = pd.concat(batches, ignore_index=True)
    return rows[rows["split"] == name].reset_index(drop=True)


class Line:
    """One model that goes on from round to round, with the shipped values."""

    def __init__(self, loaded: LoadedBase, folder: Path, seed: int):
        self.loaded, self.folder, self.seed, self.config = loaded, folder, seed, compose()

    def fit(self, train: pd.DataFrame, validation: pd.DataFrame, name: str,
            start: Path | None = None) -> Path:
        """Train as tuning does, or go on from `start` as retraining does; return the adapter."""
        retraining = self.config.retraining
        config = replace(TrainingConfig.of(self.config), seed=self.seed)
        if start is not None:
            config = replace(config, epochs=retraining.epochs, learning_rate=(
                config.learning_rate * retraining.learning_rate_ratio))
        return fitting.fit(self.loaded, train, validation, task=TASK, config=config,
                           folder=self.folder / name, start_from=start).folder

    def accuracy(self, at: Path, test: pd.DataFrame) -> float:
        """Return the accuracy of a saved adapter."""
        answered = right(open_classifier(at, self.loaded), test)
        adapter.detach(self.loaded)
        return float(answered.mean())


def one_seed(loaded: LoadedBase, batches: dict[str, pd.DataFrame], folder: Path, seed: int
             ) -> dict:
    """Return accuracy on each batch's test rows after each round, with replay and without."""
    line, names = Line(loaded, folder, seed), list(batches)
    labelled = {name: part if name == "first" else pd.concat([
        side([part], "train").sample(LABELLED, random_state=seed), side([part], "validation")])
        for name, part in batches.items()}
    first = line.fit(side([labelled["first"]], "train"), side([labelled["first"]], "validation"),
                     "first")
    found = {}
    for kind, ratio in (("replay", line.config.retraining.replay_ratio), ("none", 0.0)):
        at, told = first, [{n: line.accuracy(first, side([batches[n]], "test")) for n in names}]
        for number, name in enumerate(names[1:], 1):
            seen = [labelled[n] for n in names[:number + 1]]
            train, _ = replay.mix(side(seen, "train"), names[:number], ratio=ratio, seed=seed)
            at = line.fit(train, side(seen, "validation"), f"{kind}_{name}", start=at)
            told.append({n: line.accuracy(at, side([batches[n]], "test")) for n in names})
        found[kind] = told
        print(seed, kind, [{n: round(a, 3) for n, a in line.items()} for line in told], flush=True)
    return found


def effect(values: list[float]) -> dict[str, float]:
    """Return mean and 95 % interval over seeds, in points."""
    points = 100 * np.array(values)
    half = t.ppf(0.975, len(points) - 1) * points.std(ddof=1) / np.sqrt(len(points))
    return {name: round(float(value), 2) for name, value in (
        ("points", points.mean()), ("lower", points.mean() - half),
        ("upper", points.mean() + half))}


def main(tweets: Path, emotions: Path, seeds: int = 5) -> None:
    began, batches = time.monotonic(), tables(tweets, emotions)
    with tempfile.TemporaryDirectory() as folder:
        loaded = load({"tokenizer": side([batches["first"]], "train")}, Path(folder))
        tokenized = {
            name: part.assign(input_ids=encode(
                part["text"].tolist(), loaded.tokenizer, loaded.spec.max_length)[0])
            for name, part in batches.items()}
        runs = {seed: one_seed(loaded, tokenized, Path(folder) / str(seed), seed)
                for seed in range(seeds)}
    forgotten = {kind: [run[kind][0]["first"] - run[kind][-1]["first"] for run in runs.values()]
                 for kind in ("replay", "none")}
    gained = {kind: [run[kind][-1]["emotions"] for run in runs.values()]
              for kind in ("replay", "none")}
    figures = {
        "seeds": seeds, "first_rows": FIRST, "labelled_rows_each": LABELLED,
        "test_rows": {n: int((part["split"] == "test").sum()) for n, part in batches.items()},
        "forgetting_of_the_first_batch": {kind: effect(v) for kind, v in forgotten.items()},
        "forgetting_that_replay_avoids": effect(
            [b - a for a, b in zip(forgotten["replay"], forgotten["none"], strict=True)]),
        "accuracy_on_the_other_domain_at_the_end": {k: effect(v) for k, v in gained.items()},
        "seconds": round(time.monotonic() - began),
        "accuracy_after_each_round": {str(seed): run for seed, run in runs.items()}}
    print(store("replay", figures))
    print({k: v for k, v in figures.items() if k != "accuracy_after_each_round"})


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *(int(a) for a in sys.argv[3:]))
