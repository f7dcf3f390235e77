"""How many flipped labels are among the most suspect 8 % of rows, and what a review changes.

    python bench/doubt.py DATA_FOLDER

DATA_FOLDER has sentiment140/training.csv.gz and tweeteval_emotion/{train,val,test}.csv. Five per
cent of all labels are flipped at random; three fifths of 8,000 tweets and the paper's training and
validation rows of emotion are learned from. Verdicts: two TF-IDF models of which one has seen half
of the training rows stand for champion and challenger, on 2,000 test tweets in ten seeded rounds;
the most doubtful 8 % are reviewed, that is given their true label. Some two minutes.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from machine import store

from ftzard.config.compose import compose
from ftzard.evaluation import gate, label_doubt
from ftzard.evaluation.intervals import class_indices
from ftzard.evaluation.paired import Predicted
from ftzard.tasks.classification.baselines import TfidfBaseline
from ftzard.tasks.classification.doubt import by_other_rows, out_of_fold

FLIPPED, REVIEWED, ROUNDS = 0.05, 0.08, 10


def noisy(labels: pd.Series, classes: list[str], rng) -> tuple[pd.Series, np.ndarray]:
    index = class_indices(labels.tolist(), classes)
    flipped = rng.random(len(index)) < FLIPPED
    moved = (index + rng.integers(1, len(classes), len(index))) % len(classes)
    return pd.Series(np.array(classes)[np.where(flipped, moved, index)], labels.index), flipped


def caught(given, flipped, chances, classes) -> float:
    """Return the share of flips among the most suspect rows."""
    worst = np.argsort(label_doubt.quality(class_indices(given.tolist(), classes), chances),
                       kind="stable")[:int(REVIEWED * len(given))]
    return float(flipped[worst].sum() / flipped.sum())


def of_data(rows: pd.DataFrame, classes: list[str], seed: int) -> dict:
    rng = np.random.default_rng(seed)
    given, flipped = noisy(rows["label"], classes, rng)
    rows, test = rows.assign(label=given), (rows["split"] == "test").to_numpy()
    learned = rows[~test].reset_index(drop=True)
    folds = out_of_fold(learned["text"], learned["label"], classes, seed)
    held = by_other_rows(learned, rows.loc[test, "text"], classes, seed)
    return {"rows": len(rows), "flipped": int(flipped.sum()),
            "training": caught(learned["label"], flipped[~test], folds, classes),
            "test": caught(given[test], flipped[test], held, classes)}


def verdicts(tweets: pd.DataFrame, classes: list[str], limits) -> list[dict]:
    """Return what the gate decides on clean, flipped and reviewed test labels, round by round."""
    found = []
    for seed in range(ROUNDS):
        rows = tweets.sample(6000, random_state=seed).reset_index(drop=True)
        train, test = rows[:4000], rows[4000:].reset_index(drop=True)
        rng = np.random.default_rng(seed)
        learned, _ = noisy(train["label"], classes, rng)
        sizes = (2000, 4000) if seed % 2 else (3600, 4000)
        champion, challenger = (TfidfBaseline.fit(
            train["text"][-n:].tolist(), learned[-n:].tolist(), classes, seed
            ).probabilities(test["text"].tolist()).argmax(axis=1) for n in sizes)
        judge = by_other_rows(train[:2000].assign(label=learned[:2000]), test["text"], classes,
                              seed)
        given, flipped = noisy(test["label"], classes, rng)
        doubt = label_doubt.quality(class_indices(given.tolist(), classes), judge)
        worst = np.argsort(doubt, kind="stable")[:int(REVIEWED * len(test))]
        reviewed = given.copy()
        reviewed.iloc[worst] = test["label"].iloc[worst]

        def decided(labels, who=(challenger, champion), ids=test.index):
            answers = [{"t": Predicted(ids, labels, np.array(classes)[said])} for said in who]
            return gate.judge(*answers, limits, baselines={}, seed=0, classes=classes).decision

        found.append({"clean": decided(test["label"]), "flipped": decided(given),
                      "reviewed": decided(reviewed)})
    return found


def main(folder: str) -> None:
    limits = replace(compose().gate, error_budget=None)
    tweets = pd.read_csv(Path(folder) / "sentiment140/training.csv.gz", encoding="latin-1")
    tweets = tweets.assign(label=tweets["target"].map({0: "negative", 4: "positive"}))
    tweets = tweets[["text", "label"]]
    emotion = pd.concat([pd.read_csv(Path(folder) / f"tweeteval_emotion/{name}.csv").assign(
        split=split) for name, split in (("train", "train"), ("val", "validation"),
                                         ("test", "test"))], ignore_index=True)
    some = tweets.sample(8000, random_state=0).reset_index(drop=True)
    some["split"] = np.where(np.arange(len(some)) % 5 < 3, "train", "test")
    figures = {
        "flipped_share": FLIPPED, "reviewed_share": REVIEWED, "judge": "TF-IDF",
        "tweets": [of_data(some, ["negative", "positive"], seed) for seed in range(3)],
        "emotion": [of_data(emotion, sorted(emotion["label"].unique()), seed)
                    for seed in range(3)]}
    print(figures, flush=True)
    rounds = verdicts(tweets, ["negative", "positive"], limits)
    figures |= {"rounds": rounds,
                "same_after_review": sum(r["clean"] == r["reviewed"] for r in rounds),
                "same_without_review": sum(r["clean"] == r["flipped"] for r in rounds)}
    print(store("doubt", figures))


if __name__ == "__main__":
    main(sys.argv[1])
