"""What a label is worth: accuracy against labels spent, for each sampling strategy.

    python bench/labels.py TWEETS.csv.gz [--minutes N] [--strategies a,b] [--seeds 0,1,2]

TWEETS.csv.gz is in Sentiment140's format (index, target 0/4, text; latin-1). Every strategy starts
from the same 1,000 labelled tweets and is given 400 more labels in each of three rounds; a model is
then trained on all labels there are, from the bare base, and measured on 3,000 tweets that nobody
asked for. The committee is three trials on the first 1,000 tweets, as the pipeline has it.

Results go to bench/results/labels.json after every (seed, strategy), and a second call goes on
where the first stopped. A strategy whose lead over random has an interval that does not lie above
zero is said not to beat it.
"""

import argparse
import base64
import gzip
import json
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from machine import RESULTS, store

from ftzard.config.compose import compose
from ftzard.config.training_config import TrainingConfig
from ftzard.data import near_duplicates, query_strategies
from ftzard.modeling import adapter, tiny_falcon
from ftzard.modeling.base_model import BaseSpec, LoadedBase, load_base
from ftzard.modeling.inference import probabilities
from ftzard.modeling.reproducibility import set_threads
from ftzard.modeling.tokenizer import encode
from ftzard.tasks.classification.objective import Labels
from ftzard.tasks.classification.predictor import Classifier
from ftzard.tasks.classification.text_rows import clean
from ftzard.training.trainer import train

LABELS = ["negative", "positive"]
RESAMPLES = 2000


@dataclass(frozen=True)
class Setting:
    """What is measured; another setting starts a new result."""

    tweets: int = 40_000
    test: int = 3_000
    validation: int = 500
    start: int = 1_000
    pool: int = 6_000
    ask: int = 400
    rounds: int = 3
    members: int = 3
    epochs: int = 4
    random_share: float = 0.25


def main() -> None:
    arguments = asked_for()
    setting, began = Setting(), time.monotonic()
    result = earlier(setting)
    runs = result.setdefault("runs", {})
    left = [(seed, strategy) for seed in arguments.seeds for strategy in arguments.strategies
            if strategy not in runs.get(f"seed {seed}", {})]
    with tempfile.TemporaryDirectory() as folder:
        if left:
            tables = read(arguments.source, setting)
            loaded = load(tables, Path(folder))
            tokenize(tables, loaded)
        begun, trained = None, {}
        for seed, strategy in left:
            if arguments.minutes and time.monotonic() - began > arguments.minutes * 60:
                print("time is up; call again to go on")
                break
            if begun != seed:
                first, members = beginning(loaded, tables, setting, seed)
                begun, trained = seed, {}
            done = runs.setdefault(f"seed {seed}", {})
            done["start"] = {"labels": 0, "accuracy": first["accuracy"], "right": first["right"]}
            done[strategy] = sequence(loaded, tables, setting, seed, strategy, first, members,
                                      trained)
            result.update(summary(runs, setting))
            write(result, setting)
    for line in result.get("verdicts", {}).values():
        print(line)


def asked_for() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("--minutes", type=float, default=None)
    parser.add_argument("--seeds", type=lambda text: [int(s) for s in text.split(",")],
                        default=[0, 1, 2])
    parser.add_argument("--strategies", type=lambda text: text.split(","),
                        default=["random",
                                 *(s for s in query_strategies.STRATEGIES if s != "random")])
    return parser.parse_args()


def earlier(setting: Setting) -> dict:
    """Return the result so far, if it is of the same setting."""
    path = RESULTS / "labels.json"
    if path.is_file():
        found = json.loads(path.read_text())
        if found.get("setting") == asdict(setting):
            return {key: found[key] for key in ("runs", "summary", "verdicts") if key in found}
    return {}


def write(result: dict, setting: Setting) -> None:
    order = ("verdicts", "summary", "runs")
    path = store("labels", {"setting": asdict(setting),
                            **{key: result[key] for key in order if key in result}})
    print(f"  written to {path}", flush=True)


def read(source: Path, setting: Setting) -> dict[str, pd.DataFrame]:
    """Return the tweets by their use: test, validation, and the rest to start from and ask for.

    The tokenizer is learnt from tweets after those, which stand in no other table.
    """
    opened = gzip.open if source.suffix == ".gz" else open
    with opened(source, "rt", encoding="latin-1", newline="") as stream:
        raw = pd.read_csv(stream, index_col=0, keep_default_na=False, nrows=setting.tweets)
    raw = raw.sample(frac=1, random_state=0)
    rows = pd.DataFrame({"row": range(len(raw)), "text": raw["text"].astype("str").to_numpy(),
                         "label": raw["target"].astype("str").to_numpy()})
    rows, _ = clean(rows, batch="tweets", labels={"0": "negative", "4": "positive"})
    ends = np.cumsum([setting.test, setting.validation])
    rows["split"] = np.select([rows.index < ends[0], rows.index < ends[1]],
                              ["test", "validation"], "train")
    rows, _ = near_duplicates.drop_near_duplicates(rows)
    parts = {name: part.reset_index(drop=True) for name, part in rows.groupby("split")}
    rest = parts.pop("train")
    half = len(rest) // 2
    return {**parts, "rest": rest.iloc[:half].reset_index(drop=True),
            "tokenizer": rest.iloc[half:].reset_index(drop=True)}


def load(tables: dict[str, pd.DataFrame], folder: Path) -> LoadedBase:
    config = compose()
    set_threads(config.threads)
    model = config.model
    built = tiny_falcon.build(folder / "base", tables["tokenizer"]["text"], **vars(model.build))
    return load_base(BaseSpec(
        source=built, name=model.name, quantisation=model.quantisation,
        double_quantisation=model.double_quantisation, compute_dtype=model.compute_dtype,
        lora_targets=tuple(model.lora_targets), max_length=model.max_length), LABELS)


def tokenize(tables: dict[str, pd.DataFrame], loaded: LoadedBase) -> None:
    for name in ("test", "validation", "rest"):
        ids, _, _ = encode(tables[name]["text"].tolist(), loaded.tokenizer, loaded.spec.max_length)
        tables[name]["input_ids"] = ids


def fitted(loaded: LoadedBase, rows: pd.DataFrame, tables: dict, setting: Setting, seed: int,
           rate: float = 1.0) -> Classifier:
    """Train a fresh adapter on the bare base; it stays attached."""
    config = compose()
    training = config.training
    model = adapter.attach(
        loaded, rank=training.rank, alpha=training.alpha_ratio * training.rank,
        dropout=training.dropout, seed=seed, train_embeddings=config.model.train_embeddings)
    train(model, Labels(rows.reset_index(drop=True), tables["validation"], LABELS), TrainingConfig(
        epochs=setting.epochs, learning_rate=training.learning_rate * rate,
        batch_size=training.batch_size, weight_decay=training.weight_decay,
        warmup_ratio=training.warmup_ratio, max_grad_norm=training.max_grad_norm,
        patience=training.patience, seed=seed))
    return Classifier(model, loaded.tokenizer, LABELS, loaded.spec.max_length, {})


def answers(classifier: Classifier, rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    logits, embeddings = classifier.answers(rows["input_ids"].tolist(), batch_size=128)
    return probabilities(logits), embeddings


def right(classifier: Classifier, test: pd.DataFrame) -> np.ndarray:
    """Return which test rows are answered rightly."""
    logits = classifier.logits(test["input_ids"].tolist(), batch_size=128)
    return np.array(LABELS)[logits.argmax(axis=1)] == test["label"].to_numpy()


def drawn(tables: dict, setting: Setting, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return (start, pool) of one seed."""
    order = np.random.default_rng(seed).permutation(len(tables["rest"]))
    start = tables["rest"].iloc[order[:setting.start]]
    pool = tables["rest"].iloc[order[setting.start:setting.start + setting.pool]]
    return start.reset_index(drop=True), pool.reset_index(drop=True)


def beginning(loaded: LoadedBase, tables: dict, setting: Setting, seed: int
              ) -> tuple[dict, list[np.ndarray]]:
    """Return the first model's answers to test and pool, and the committee's to the pool."""
    start, pool = drawn(tables, setting, seed)
    members, first = [], {}
    for number, rate in zip(range(setting.members), (1.0, 0.6, 1.6), strict=False):
        classifier = fitted(loaded, start, tables, setting, seed + 100 * number, rate)
        chances, embeddings = answers(classifier, pool)
        members.append(chances)
        if number == 0:
            hits = right(classifier, tables["test"])
            first = {"chances": chances, "embeddings": embeddings, "right": packed(hits),
                     "accuracy": round(float(hits.mean()), 4)}
        adapter.detach(loaded)
    print(f"seed {seed}: {first['accuracy']:.3f} at the start", flush=True)
    return first, members


def sequence(loaded: LoadedBase, tables: dict, setting: Setting, seed: int, strategy: str,
             first: dict, members: list[np.ndarray], trained: dict) -> list[dict]:
    """Return, per round, the labels spent and which test rows are then answered rightly.

    trained: what came of sets of rows that this seed was trained on before, added to; the same rows
    give the same model to the bit, as three of the strategies ask for them when labels are two.
    """
    start, pool = drawn(tables, setting, seed)
    chances, embeddings = first["chances"], first["embeddings"]
    disputed = query_strategies.disagreement(members)
    asked: list[str] = []
    points = []
    for number in range(1, setting.rounds + 1):
        began = time.monotonic()
        free = ~pool["id"].isin(asked).to_numpy()
        predictions = pool[free].assign(
            split="train", suggestion="", confidence=chances[free].max(axis=1),
            probabilities=list(chances[free]))
        queue, _ = query_strategies.select(
            predictions, strategy=strategy, budget=setting.ask, audit_rows=0,
            seed=seed + number, random_share=setting.random_share,
            exclude_texts=start["text"], test_texts=tables["test"]["text"],
            disagreement=disputed[free], embeddings=embeddings[free])
        asked += queue["id"].tolist()
        known = frozenset(asked)
        if known not in trained:
            labelled = pd.concat([start, pool[pool["id"].isin(asked)]], ignore_index=True)
            classifier = fitted(loaded, labelled, tables, setting, seed)
            trained[known] = right(classifier, tables["test"]), *answers(classifier, pool)
            adapter.detach(loaded)
        hits, chances, embeddings = trained[known]
        points.append({"labels": len(asked), "accuracy": round(float(hits.mean()), 4),
                       "positive_share": round(float(
                           (pool[pool["id"].isin(asked)]["label"] == "positive").mean()), 3),
                       "seconds": round(time.monotonic() - began, 1), "right": packed(hits)})
        print(f"seed {seed} {strategy}: {points[-1]['labels']} labels, "
              f"{points[-1]['accuracy']:.3f}, {points[-1]['seconds']:.0f} s", flush=True)
    return points


def packed(hits: np.ndarray) -> str:
    return base64.b64encode(np.packbits(hits)).decode()


def unpacked(text: str, setting: Setting) -> np.ndarray:
    bits = np.frombuffer(base64.b64decode(text), dtype=np.uint8)
    return np.unpackbits(bits)[:setting.test].astype(bool)


def summary(runs: dict, setting: Setting) -> dict:
    """Return accuracy by strategy and labels, with the difference to random, over common seeds.

    Intervals are of a bootstrap over the test rows of the mean over seeds, 95 %, paired with
    random on the same rows; how far seeds differ is given beside them.
    """
    weights = np.random.default_rng(0).multinomial(
        setting.test, np.full(setting.test, 1 / setting.test), size=RESAMPLES) / setting.test
    lines, verdicts = [], {}
    for strategy in query_strategies.STRATEGIES:
        seeds = [s for s in runs if strategy in runs[s] and "random" in runs[s]]
        if not seeds:
            continue
        # (seeds, rounds, rows)
        hits, chance = (np.array([[unpacked(p["right"], setting) for p in runs[s][name]]
                                  for s in seeds]).astype(float) for name in (strategy, "random"))
        for number in range(setting.rounds):
            mean = hits[:, number].mean(axis=0)
            lines.append({
                "strategy": strategy, "labels": runs[seeds[0]][strategy][number]["labels"],
                "seeds": len(seeds), **interval(mean, weights, "accuracy"),
                **interval(mean - chance[:, number].mean(axis=0), weights, "lead"),
                "by_seed": [round(float(a), 4) for a in hits[:, number].mean(axis=1)]})
        if strategy != "random":
            lead = (hits - chance).mean(axis=(0, 1))
            verdicts[strategy] = verdict(strategy, interval(lead, weights, "lead"), len(seeds))
    return {"verdicts": verdicts, "summary": lines}


def interval(per_row: np.ndarray, weights: np.ndarray, name: str) -> dict[str, float]:
    low, high = np.quantile(weights @ per_row, [0.025, 0.975])
    return {name: round(float(per_row.mean()), 4), f"{name}_lower": round(float(low), 4),
            f"{name}_upper": round(float(high), 4)}


def verdict(strategy: str, lead: dict[str, float], seeds: int) -> str:
    told = (f"{100 * lead['lead']:+.1f} points on random over all rounds, 95 % interval "
            f"{100 * lead['lead_lower']:+.1f} to {100 * lead['lead_upper']:+.1f}, {seeds} seeds")
    if lead["lead_lower"] > 0:
        return f"{strategy} beats random: {told}"
    worse = " and is worse" if lead["lead_upper"] < 0 else ""
    return f"{strategy} does not beat random{worse}: {told}"


if __name__ == "__main__":
    main()
