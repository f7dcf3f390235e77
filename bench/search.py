"""Whether the default search beats the default values, on real tweets, by test rows.

    python bench/search.py TWEETS.csv.gz EMOTION_FOLDER [--data emotion] [--seeds 0,1,2]

TWEETS.csv.gz is in Sentiment140's format (index, target 0/4, text; latin-1); EMOTION_FOLDER holds
train.csv, val.csv and test.csv of TweetEval emotion. Each seed runs one search of four trials over
SPACE, none pruned: the first has the default values of `training`. Every trial is measured on the
test rows, so that a search of fewer trials, with pruning, can be read off afterwards: what it
chooses by validation, and how many epochs it computes. A search beats the default values if the
95 % interval of the difference on the same test rows, over all seeds and both sets, lies above 0.

Results go to bench/results/search.json after every seed; a second call goes on where it stopped.
"""

import argparse
import gzip
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
from labels import packed
from machine import RESULTS, store

from ftzard.config.compose import compose
from ftzard.config.training_config import TrainingConfig
from ftzard.data import near_duplicates
from ftzard.modeling import adapter, tiny_falcon
from ftzard.modeling.base_model import BaseSpec, LoadedBase, load_base
from ftzard.modeling.reproducibility import set_threads
from ftzard.modeling.tokenizer import encode
from ftzard.tasks.classification import TASK
from ftzard.tasks.classification.predictor import open_classifier
from ftzard.tasks.classification.text_rows import clean
from ftzard.training import search
from ftzard.training.objective import better

SPACE = {"learning_rate": [0.001, 0.008], "rank": [8, 16, 32]}
TRIALS = 4
SETS = ("emotion", "tweets")
#: Of the tweets: rows to train on, to validate on, to test on.
SIZES = {"train": 4000, "validation": 500, "test": 2000}
RESAMPLES = 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tweets", type=Path)
    parser.add_argument("emotion", type=Path)
    parser.add_argument("--data", choices=SETS, default=None)
    parser.add_argument("--seeds", type=lambda text: [int(s) for s in text.split(",")],
                        default=[0, 1, 2])
    asked = parser.parse_args()
    path = RESULTS / "search.json"
    result = json.loads(path.read_text()) if path.is_file() else {}
    runs = result["runs"] if result.get("space") == SPACE else {}
    for name in SETS if asked.data is None else (asked.data,):
        left = [seed for seed in asked.seeds if f"seed {seed}" not in runs.get(name, {})]
        if not left:
            continue
        tables = tweets(asked.tweets) if name == "tweets" else emotion(asked.emotion)
        with tempfile.TemporaryDirectory() as folder:
            loaded = load(tables, Path(folder))
            for seed in left:
                trials = searched(loaded, tables, seed, Path(folder) / f"seed_{seed}")
                runs.setdefault(name, {})[f"seed {seed}"] = trials
                path = store("search", {"space": SPACE, "trials": TRIALS,
                                        "summary": summary(runs), "runs": runs})
    for line in summary(runs):
        print(line)
    print(path)


def tweets(source: Path) -> dict[str, pd.DataFrame]:
    with gzip.open(source, "rt", encoding="latin-1", newline="") as stream:
        raw = pd.read_csv(stream, index_col=0, keep_default_na=False)
    raw = raw.sample(n=round(1.3 * sum(SIZES.values())), random_state=0)
    rows = pd.DataFrame({"row": range(len(raw)), "text": raw["text"].astype("str").to_numpy(),
                         "label": raw["target"].astype("str").to_numpy()})
    rows, _ = clean(rows, batch="tweets", labels={"0": "negative", "4": "positive"})
    ends = np.cumsum([SIZES["test"], SIZES["validation"]])
    rows["split"] = np.select([rows.index < ends[0], rows.index < ends[1]],
                              ["test", "validation"], "train")
    rows, _ = near_duplicates.drop_near_duplicates(rows)
    return {side: part.head(SIZES[side]).reset_index(drop=True)
            for side, part in rows.groupby("split")}


def emotion(folder: Path) -> dict[str, pd.DataFrame]:
    tables = {}
    for side, file in (("train", "train"), ("validation", "val"), ("test", "test")):
        raw = pd.read_csv(folder / f"{file}.csv", keep_default_na=False, dtype="str")
        tables[side], _ = clean(raw.assign(row=range(len(raw))), batch=side, labels=None)
    return tables


def load(tables: dict[str, pd.DataFrame], folder: Path) -> LoadedBase:
    """Return the base built from the training texts; encode the rows of all tables."""
    config = compose()
    set_threads(config.threads)
    model = config.model
    built = tiny_falcon.build(folder / "base", tables["train"]["text"], **vars(model.build))
    loaded = load_base(BaseSpec(
        source=built, name=model.name, quantisation=model.quantisation,
        double_quantisation=model.double_quantisation, compute_dtype=model.compute_dtype,
        lora_targets=tuple(model.lora_targets), max_length=model.max_length),
        sorted(tables["train"]["label"].unique()))
    for rows in tables.values():
        rows["input_ids"], _, _ = encode(
            rows["text"].tolist(), loaded.tokenizer, loaded.spec.max_length)
    return loaded


def searched(loaded: LoadedBase, tables: dict, seed: int, folder: Path) -> list[dict]:
    """Return the trials of one search by number, each with its test rows that are right."""
    config, began = compose(), time.monotonic()
    t = config.training
    fixed = {name: getattr(t, name) for name in ("batch_size", "weight_decay", "dropout")}
    trials = search.search(
        loaded, tables["train"], tables["validation"], space={**fixed, **SPACE}, trials=TRIALS,
        task=TASK, config=replace(TrainingConfig.of(config), seed=seed), folder=folder)
    found = []
    for trial in sorted(trials, key=lambda trial: trial.number):
        classifier = open_classifier(trial.folder, loaded)
        logits = classifier.logits(tables["test"]["input_ids"].tolist(), batch_size=128)
        adapter.detach(loaded)
        hits = np.array(loaded.labels)[logits.argmax(axis=1)] == tables["test"]["label"].to_numpy()
        history = [{k: round(e[k], 5) for k in ("epoch", "accuracy", "validation_loss")}
                   for e in trial.trained.history]
        found.append({"params": {k: trial.params[k] for k in SPACE}, "history": history,
                      "best_epoch": trial.trained.best_epoch, "test_rows": len(hits),
                      "test_accuracy": round(float(hits.mean()), 4), "right": packed(hits)})
        print(f"seed {seed} trial {trial.number}: {found[-1]['params']}, validation "
              f"{trial.metrics['accuracy']:.3f}, test {hits.mean():.3f}", flush=True)
    print(f"seed {seed}: {time.monotonic() - began:.0f} s", flush=True)
    return found


def chosen(trials: list[dict], count: int) -> tuple[int, int]:
    """Return (number of the trial that a pruned search of `count` chooses, epochs it computes)."""
    study = optuna.create_study(direction="maximize", pruner=optuna.pruners.MedianPruner(
        n_startup_trials=1, n_warmup_steps=2))
    best, epochs = 0, 0
    for number, trial in enumerate(trials[:count]):
        asked, pruned = study.ask(), False
        for entry in trial["history"]:
            epochs += 1
            asked.report(entry["accuracy"], entry["epoch"])
            if pruned := asked.should_prune() and entry is not trial["history"][-1]:
                break
        if pruned:
            study.tell(asked, state=optuna.trial.TrialState.PRUNED)
            continue
        entries = [t["history"][t["best_epoch"] - 1] for t in (trial, trials[best])]
        study.tell(asked, entries[0]["accuracy"])
        if better(*entries, "accuracy"):
            best = number
    return best, epochs


def summary(runs: dict) -> list[dict]:
    """Return, per number of trials and set, the gain in test accuracy on the default values."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    lines = []
    for count in range(2, TRIALS + 1):
        means, epochs = {}, []
        for name, seeds in runs.items():
            gains = []
            for trials in seeds.values():
                best, computed = chosen(trials, count)
                epochs.append(computed)
                gains.append(right(trials[best]) - right(trials[0]))
            means[name] = np.mean(gains, axis=0)  # per test row, over seeds
            lines.append({"trials": count, "data": name, "seeds": len(seeds),
                          **interval([means[name]]),
                          "by_seed": [round(float(g.mean()), 4) for g in gains]})
        if len(means) > 1:
            lines.append({"trials": count, "data": "both", **interval(list(means.values())),
                          "epochs": round(float(np.mean(epochs)), 1)})
    return lines


def right(trial: dict) -> np.ndarray:
    import base64

    bits = np.frombuffer(base64.b64decode(trial["right"]), dtype=np.uint8)
    return np.unpackbits(bits)[:trial["test_rows"]].astype(float)


def interval(per_row: list[np.ndarray]) -> dict[str, float | bool]:
    """Return the mean over sets of their rows' means, with the interval of a bootstrap of rows."""
    random = np.random.default_rng(0)
    draws = np.mean([random.multinomial(len(r), np.full(len(r), 1 / len(r)), size=RESAMPLES)
                     @ r / len(r) for r in per_row], axis=0)
    low, high = np.quantile(draws, [0.025, 0.975])
    mean = float(np.mean([r.mean() for r in per_row]))
    return {"gain": round(mean, 4), "lower": round(float(low), 4), "upper": round(float(high), 4),
            "beats": bool(low > 0)}


if __name__ == "__main__":
    main()
