"""Several labels per row on real tweets: micro F1 beside TF-IDF with a classifier per label.

    python bench/multi_label.py MODEL_FOLDER EMOTION_FOLDER [--seed 0]

MODEL_FOLDER holds config.json, model.safetensors and tokenizer.json of sentence-transformers'
all-MiniLM-L6-v2; EMOTION_FOLDER holds train.csv, val.csv and test.csv with columns text and label
(TweetEval emotion, Barbieri et al. 2020). Of each of the three, half of the rows stay as they are;
the other half is joined in pairs of two classes, and such a row has both labels. Both models learn
the same training rows and have thresholds per label that were fitted on the same validation rows.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from machine import store

from ftzard.config.compose import compose
from ftzard.config.training_config import TrainingConfig
from ftzard.core.text import clean_texts
from ftzard.evaluation.gate import interval
from ftzard.evaluation.paired import Scored
from ftzard.modeling import reproducibility
from ftzard.modeling.base_model import BaseSpec, load_base
from ftzard.modeling.tokenizer import encode
from ftzard.tasks.multi_label import TASK, baselines, label_sets
from ftzard.tasks.multi_label.metrics import row_f1, set_scores
from ftzard.tasks.multi_label.predictor import open_predictor
from ftzard.tasks.multi_label.thresholds import fit_thresholds, sigmoid
from ftzard.training.fit import fit

OVERRIDES = ["task=multi_label", "model=local", "model.name=minilm", "training.epochs=4",
             "training.rank=16", "training.learning_rate=0.001", "training.batch_size=32",
             "tuning.metric=micro_f1", "training.patience=4"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("emotion", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    config = compose({"overrides": [*OVERRIDES, f"seed={arguments.seed}"]})
    reproducibility.set_threads(config.threads)
    sides = {side: joined(arguments.emotion / f"{side}.csv", arguments.seed)
             for side in ("train", "val", "test")}
    labels = label_sets.names_in(sides["train"]["label"])
    targets = {side: label_sets.indicators(rows["label"].tolist(), labels)
               for side, rows in sides.items()}
    spec = config.model
    loaded = load_base(BaseSpec(
        source=arguments.model, name=spec.name, quantisation=spec.quantisation,
        compute_dtype=spec.compute_dtype, lora_targets=spec.lora_targets,
        max_length=spec.max_length, attention=spec.attention, head=TASK.head), labels)
    for rows in sides.values():
        rows["input_ids"], _, rows["cut"] = encode(
            rows["text"].tolist(), loaded.tokenizer, spec.max_length)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        fitted = fit(
            loaded, sides["train"], sides["val"], task=TASK, config=TrainingConfig.of(config),
            folder=Path(folder) / "adapter",
            on_epoch=lambda entry: print(f"epoch {entry['epoch']}: loss {entry['train_loss']:.3f}, "
                                         f"micro F1 {entry['micro_f1']:.3f}", flush=True))
        seconds = time.perf_counter() - began
        classifier = open_predictor(fitted.folder, loaded)
        chosen = classifier.chosen(sigmoid(classifier.logits(sides["test"]["input_ids"].tolist())))
    tfidf = baselines.TfidfBaseline.fit(
        sides["train"]["text"], sides["train"]["label"], labels, config.seed)
    thresholds = fit_thresholds(targets["val"], tfidf.probabilities(sides["val"]["text"]))
    answers = {"minilm": chosen,
               "tfidf": tfidf.probabilities(sides["test"]["text"]) >= thresholds,
               "most_frequent": baselines.most_frequent(
                   sides["train"]["label"], len(sides["test"]), labels)}
    scores = {name: {key: round(value, 4) for key, value in
                     set_scores(targets["test"], given).items()}
              for name, given in answers.items()}
    gain = row_f1(targets["test"], chosen) - row_f1(targets["test"], answers["tfidf"])
    mean, lower, upper = interval(
        {"test": Scored([str(i) for i in range(len(gain))], gain)}, measure="samples_f1")
    figures = {
        "holds": scores["minilm"]["micro_f1"] > scores["tfidf"]["micro_f1"], "scores": scores,
        "gain_in_f1_per_row": {"mean": round(mean, 4), "lower": round(lower, 4),
                               "upper": round(upper, 4)},
        "command": "python bench/multi_label.py MODEL_FOLDER EMOTION_FOLDER",
        "overrides": OVERRIDES, "seed": config.seed, "base_hash": loaded.weight_hash,
        "labels": labels, "thresholds": classifier.meta["thresholds"],
        "rows": {side: len(rows) for side, rows in sides.items()},
        "rows_with_two_labels": {
            side: int((targets[side].sum(axis=1) > 1).sum()) for side in sides},
        "rows_cut": int(sum((rows["cut"] > 0).sum() for rows in sides.values())),
        "training_seconds": round(seconds, 1), "history": fitted.trained.history,
    }
    print(f"micro F1 {scores['minilm']['micro_f1']:.1%}, TF-IDF {scores['tfidf']['micro_f1']:.1%} "
          f"on {len(chosen):,} test rows, trained in {seconds:.0f} s",
          store("multi_label", figures))


def joined(file: Path, seed: int) -> pd.DataFrame:
    """Return the rows of a side: half of them alone, the others in pairs of two classes."""
    rows = pd.read_csv(file, keep_default_na=False, dtype="str")
    rows = rows.assign(text=clean_texts(rows["text"]).to_pylist())
    draw = np.random.default_rng(seed)
    rows = rows.iloc[draw.permutation(len(rows))].reset_index(drop=True)
    alone, waiting = rows.iloc[:len(rows) // 2], list(rows.iloc[len(rows) // 2:].itertuples())
    pairs = []
    while waiting:
        one = waiting.pop()
        other = next((row for row in reversed(waiting) if row.label != one.label), None)
        if other is None:
            break
        waiting.remove(other)
        pairs.append({"text": f"{one.text} {other.text}",
                      "label": label_sets.join((one.label, other.label))})
    return pd.concat([alone[["text", "label"]], pd.DataFrame(pairs)], ignore_index=True)


if __name__ == "__main__":
    main()
