"""Accuracy estimated without labels, against the labels: on real tweets and on what differs.

    python bench/estimates.py TWEETS.csv EMOTION_FOLDER [SEED] [--words]

TWEETS.csv and the way of training are those of bench/drift.py; EMOTION_FOLDER has TweetEval's
emotion as train, val and test.csv, whose joy and optimism count as positive, anger and sadness as
negative. Four kinds of 20 batches of 1,000: other tweets of the same distribution (each in one
batch only), and draws of emotion tweets, of tweets with four fifths of one class, and of tweets
with the letters of each word shuffled. The truth is the accuracy on all labels of a batch. With
--words logistic regression on TF-IDF stands for the champion, which takes two minutes instead of
half an hour; its embeddings are the first 64 components of TF-IDF.
"""

import random
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from drift import LABELS, ROWS, Champion, cleaned, part, shuffled, tweets
from machine import store
from sklearn.decomposition import TruncatedSVD
from sklearn.pipeline import make_pipeline

from ftzard.data import near_duplicates, splitting
from ftzard.evaluation import drift, estimates
from ftzard.evaluation.drift import Ruler, Sample
from ftzard.modeling import reproducibility
from ftzard.tasks.classification import calibration
from ftzard.tasks.classification.baselines import TfidfBaseline
from ftzard.tasks.classification.evaluation import calibrated

BATCHES, SIZE = 20, 1_000
#: As Sentiment140 writes negative and positive.
SENTIMENT = {"joy": "4", "optimism": "4", "anger": "0", "sadness": "0"}


class Words:
    """What `Champion` is, with logistic regression on TF-IDF for a model."""

    def __init__(self, rows: pd.DataFrame, folder: Path):
        sides, _ = near_duplicates.drop_near_duplicates(splitting.assign(
            rows, ratio={"train": 0.7, "validation": 0.1, "test": 0.2}, salt="ftzard"))
        parts = dict(list(sides.groupby("split")))
        train = parts["train"]
        self.model = TfidfBaseline.fit(train["text"].tolist(), train["label"].tolist(), LABELS, 0)
        vectors = self.model.pipeline[:-1]
        self.components = make_pipeline(vectors, TruncatedSVD(64, random_state=0).fit(
            vectors.transform(train["text"])))
        self.classifier = self
        reference = self.sample(parts["test"]["text"])
        self.ruler = Ruler(reference)
        chosen = np.array(LABELS)[reference.probabilities.argmax(axis=1)]
        self.accuracy = float((chosen == parts["test"]["label"]).mean())

    def tokenized(self, rows: pd.DataFrame) -> pd.DataFrame:
        return rows.assign(input_ids=rows["text"])

    def logits(self, texts: list[str]) -> np.ndarray:
        return np.log(np.clip(self.model.probabilities(texts), 1e-12, None))

    def sample(self, texts: pd.Series) -> Sample:
        return Sample.of(texts.tolist(), texts.str.split().str.len().to_numpy(),
                         self.model.probabilities(texts.tolist()),
                         self.components.transform(texts))

    def compare(self, batch: Sample) -> drift.Drift:
        return drift.compare(batch, self.ruler, LABELS)


class Estimator:
    """A champion with its reference and temperature, and what is estimated of a batch."""

    def __init__(self, rows: pd.DataFrame, folder: Path, kind: type = Champion):
        self.champion = kind(rows, folder)
        sides, _ = near_duplicates.drop_near_duplicates(splitting.assign(
            rows, ratio={"train": 0.7, "validation": 0.1, "test": 0.2}, salt="ftzard"))
        parts = dict(list(sides.groupby("split")))
        logits = self.champion.classifier.logits(
            self.champion.tokenized(parts["validation"])["input_ids"].tolist())
        self.temperature = calibration.fit_temperature(
            parts["validation"]["label"], logits, LABELS)
        self.reference = calibrated(self.champion.sample(parts["test"]["text"]).probabilities,
                                    self.temperature)
        self.labels = parts["test"]["label"].map(LABELS.index).to_numpy()

    def of(self, sample, labels: np.ndarray) -> dict:
        """Return what is estimated of a batch, and the truth."""
        drift = self.champion.compare(sample)
        chances = calibrated(sample.probabilities, self.temperature)
        found = estimates.estimate(
            chances, self.reference, self.labels, LABELS,
            drifted=", ".join(drift.raised_by) if drift.alarm else None)
        truth = float((sample.probabilities.argmax(axis=1) == labels).mean())
        told = found.withheld or found.to_dict()
        return {"declined": found.estimate is None, "truth": round(truth, 4),
                **{key: round(told[key], 4) for key in ("estimate", "lower", "upper")},
                "covered": told["lower"] <= truth <= told["upper"]}


def summary(batches: list[dict]) -> dict:
    """Return what the acceptance asks of one kind of batches."""
    told = [b for b in batches if not b["declined"]]
    missed = [abs(b["estimate"] - b["truth"]) for b in told if not b["covered"]]
    return {
        "batches": len(batches), "declined": len(batches) - len(told),
        "covered": sum(b["covered"] for b in told),
        "covers_or_declines": sum(b["covered"] or b["declined"] for b in batches),
        "mean_half_width": float(np.mean([(b["upper"] - b["lower"]) / 2 for b in told]))
        if told else None,
        "largest_miss": max(missed, default=0.0),
        "would_have_covered": sum(b["covered"] for b in batches),
        "each": batches}


def main(source: Path, emotion: Path, seed: int = 0, *, words: bool = False) -> None:
    reproducibility.set_threads(2)
    drawn = tweets(source).sample(frac=1, random_state=seed)
    same = drawn[ROWS:ROWS + BATCHES * SIZE]
    rest = drawn[ROWS + BATCHES * SIZE:][:10 * SIZE]
    moods = pd.concat([pd.read_csv(emotion / f"{name}.csv") for name in ("train", "val", "test")])
    other = cleaned(moods.assign(label=moods["label"].map(SENTIMENT)).reset_index(drop=True),
                    "emotion")
    draw, letters = np.random.default_rng(seed), random.Random(seed)
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        estimator = Estimator(drawn[:ROWS], Path(folder), Words if words else Champion)

        def told(name: str, rows: pd.DataFrame, batches) -> None:
            sample = estimator.champion.sample(rows["text"])
            labels = rows["label"].map(LABELS.index).to_numpy()
            found[name] = summary([
                estimator.of(part(sample, at), labels[at]) for at in batches(labels)])
            print(name, {k: v for k, v in found[name].items() if k != "each"}, flush=True)

        def drawn_anew(labels: np.ndarray):
            return [draw.choice(len(labels), SIZE, replace=False) for _ in range(BATCHES)]

        def moved(labels: np.ndarray):
            sides = [np.flatnonzero(labels == i) for i in (0, 1)]
            return [np.concatenate([draw.choice(sides[(i + side) % 2], count, replace=False)
                                    for side, count in enumerate((800, 200))])
                    for i in range(BATCHES)]

        told("same distribution", same,
             lambda labels: np.arange(len(labels)).reshape(BATCHES, SIZE))
        told("another domain", other, drawn_anew)
        told("moved classes", rest, moved)
        told("shuffled letters",
             rest.head(5 * SIZE).assign(text=[shuffled(t, letters)
                                              for t in rest["text"].head(5 * SIZE)]), drawn_anew)
        print(store("estimates_words" if words else "estimates", {
            "seed": seed, "training_rows": ROWS, "reference_rows": len(estimator.labels),
            "champion_accuracy": estimator.champion.accuracy,
            "temperature": estimator.temperature, **found}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]),
         *(int(one) for one in sys.argv[3:] if one != "--words"), words="--words" in sys.argv)
