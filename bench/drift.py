"""Drift on real tweets: alarms where nothing changed, and where something did.

    python bench/drift.py TWEETS.csv OTHER.csv

TWEETS.csv is in Sentiment140's format (index, target 0/4, text; latin-1), gzipped or not, in order
of time; OTHER.csv has a column `text` of another domain. A tiny Falcon is trained for one epoch on
8,000 tweets drawn over all time; its reference are their test rows. Batches of the same
distribution are other tweets drawn over all time, each in one batch only; batches by time are
consecutive rows of the file. On a busy machine set OMP_WAIT_POLICY=PASSIVE.
"""

import gzip
import random
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from machine import store

from ftzard.config.training_config import TrainingConfig
from ftzard.data import near_duplicates, splitting
from ftzard.evaluation import drift
from ftzard.evaluation.drift import Ruler, Sample
from ftzard.modeling import adapter, reproducibility, tiny_falcon
from ftzard.modeling.base_model import BaseSpec, load_base
from ftzard.modeling.inference import probabilities
from ftzard.modeling.tokenizer import encode
from ftzard.tasks.classification import text_rows
from ftzard.tasks.classification.objective import Labels
from ftzard.tasks.classification.predictor import Classifier
from ftzard.training.trainer import train

ROWS, SAME = 8_000, 40_000
SIZES = (100, 500, 2_000)
LABELS = ["negative", "positive"]


def cleaned(texts: pd.DataFrame, batch: str) -> pd.DataFrame:
    """Return texts (and labels, if there are any) as the cleaning step leaves them."""
    raw = texts.assign(row=np.arange(len(texts))).astype({"text": "str"})
    return text_rows.clean(raw, batch=batch, labels={"0": "negative", "4": "positive"}
                          if "label" in raw else None)[0]


def tweets(source: Path) -> pd.DataFrame:
    """Return all tweets as cleaned, in order of time."""
    opened = gzip.open if source.suffix == ".gz" else open
    with opened(source, "rt", encoding="latin-1", newline="") as stream:
        read = pd.read_csv(stream, index_col=0, keep_default_na=False, dtype="str")
    return cleaned(read.rename(columns={"target": "label"}).reset_index(drop=True), "tweets")


class Champion:
    """A model trained on some tweets, and what it makes of texts."""

    def __init__(self, rows: pd.DataFrame, folder: Path):
        sides, _ = near_duplicates.drop_near_duplicates(splitting.assign(
            rows, ratio={"train": 0.7, "validation": 0.1, "test": 0.2}, salt="ftzard"))
        parts = dict(list(sides.groupby("split")))
        base = tiny_falcon.build(folder / "base", parts["train"]["text"], layers=4, width=256,
                                 heads=4, vocabulary=8192, seed=0)
        self.loaded = load_base(BaseSpec(source=base, name="falcon_tiny", max_length=128), LABELS)
        self.model = adapter.attach(self.loaded, rank=16, alpha=32, dropout=0.05, seed=0,
                                    train_embeddings=True)
        tokenized = {side: self.tokenized(part) for side, part in parts.items()}
        train(self.model, Labels(tokenized["train"], tokenized["validation"], LABELS),
              TrainingConfig(epochs=1, learning_rate=0.0015, batch_size=32))
        self.classifier = Classifier(self.model, self.loaded.tokenizer, LABELS, 128, {})
        reference = self.sample(parts["test"]["text"])
        self.ruler = Ruler(reference)
        self.rows = len(reference)
        chosen = np.array(LABELS)[reference.probabilities.argmax(axis=1)]
        self.accuracy = float((chosen == parts["test"]["label"]).mean())

    def tokenized(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return rows with their input_ids."""
        return rows.assign(input_ids=encode(rows["text"].tolist(), self.loaded.tokenizer, 128)[0])

    def sample(self, texts: pd.Series) -> Sample:
        """Return what drift is told of texts."""
        input_ids, length, cut = encode(texts.tolist(), self.loaded.tokenizer, 128)
        logits, embeddings = self.classifier.answers(input_ids)
        return Sample.of(texts.tolist(), length + cut, probabilities(logits), embeddings)

    def compare(self, batch: Sample) -> drift.Drift:
        """Compare a batch with the reference at the shipped settings."""
        return drift.compare(batch, self.ruler, LABELS)


def part(sample: Sample, rows: np.ndarray) -> Sample:
    """Return some rows of a sample."""
    return Sample(*(getattr(sample, name)[rows] for name in Sample.__dataclass_fields__))


def told(found: drift.Drift) -> dict:
    """Return what the results keep of one comparison."""
    return {"alarm": found.alarm, "score": round(found.score, 2), "upper": round(found.upper, 2),
            "raised_by": found.raised_by}


def shuffled(text: str, draw: random.Random) -> str:
    """Return a text with the letters of each word in another order."""
    return " ".join("".join(draw.sample(word, len(word))) for word in text.split())


def main(source: Path, other: Path) -> None:
    reproducibility.set_threads(2)
    everything = tweets(source)
    drawn = everything.sample(frac=1, random_state=0)
    with tempfile.TemporaryDirectory() as folder:
        champion = Champion(drawn[:ROWS], Path(folder))
        rest = drawn[ROWS:ROWS + SAME]
        same = champion.sample(rest["text"])
        alarms = {}
        for size in SIZES:
            batches = [champion.compare(part(same, np.arange(start, start + size)))
                       for start in range(0, min(SAME, 100 * size) - size + 1, size)]
            alarms[size] = {"batches": len(batches), "alarms": sum(d.alarm for d in batches),
                            "first_twenty": sum(d.alarm for d in batches[:20])}
        draw = random.Random(0)
        positive = rest[rest["label"] == "positive"]["text"]
        negative = rest[rest["label"] == "negative"]["text"]
        changed = {}
        for size in SIZES:
            others = cleaned(pd.read_csv(other)[["text"]], "other")["text"]
            batches = {
                "other domain": others.sample(min(size, len(others)), random_state=0),
                "prior 80/20": pd.concat([positive[:round(0.8 * size)],
                                          negative[:round(0.2 * size)]]),
                "prior 20/80": pd.concat([positive[:round(0.2 * size)],
                                          negative[:round(0.8 * size)]]),
                "letters shuffled": rest["text"][:size].map(lambda text: shuffled(text, draw)),
            }
            changed[size] = {name: told(champion.compare(champion.sample(texts)))
                             for name, texts in batches.items()}
        by_time = [told(champion.compare(champion.sample(everything["text"][start:start + 2_000])))
                   for start in range(0, 80_000 - 8_000 + 1, 8_000)]
    figures = {"training_rows": ROWS, "reference_rows": champion.rows,
               "accuracy": round(champion.accuracy, 4),
               "same_distribution": alarms,
               "changed": changed, "by_time_2000_rows": by_time}
    print(figures, store("drift", figures))


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:]))
