"""Training time of FTzard beside the plain Hugging Face Trainer recipe, in one run, in turns.

    python bench/trainer_recipe.py TWEETS.csv.gz [--rows 16000] [--seeds 0,1]

TWEETS.csv.gz is in Sentiment140's format (index, target 0/4, text; latin-1). Both train the same
adapter on the same tiny Falcon with the same rows, rows per step, learning rate, schedule and
epochs, and both measure validation after the epoch. The recipe draws its batches at random and
pads each to its longest row. The two hand over after every few steps, so that whatever else the
machine does slows both; wall and processor time are kept.
"""

import argparse
import gzip
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from machine import store

from ftzard.config.training_config import TrainingConfig
from ftzard.data import near_duplicates
from ftzard.modeling import adapter, tiny_falcon
from ftzard.modeling.base_model import BaseSpec, LoadedBase, load_base
from ftzard.modeling.batching import pad
from ftzard.modeling.inference import logits
from ftzard.modeling.reproducibility import set_threads
from ftzard.modeling.tokenizer import encode
from ftzard.tasks.classification import text_rows
from ftzard.tasks.classification.objective import Labels, measure
from ftzard.training.trainer import train

LABELS = ["negative", "positive"]
VALUES = {"epochs": 1, "batch_size": 32, "learning_rate": 0.002, "weight_decay": 0.01,
          "warmup_ratio": 0.1, "max_grad_norm": 1.0}
LIMIT = 0.65
STEPS_PER_TURN = 25
RULES = {"ftzard": "batches of rows of similar length", "recipe": "random batches"}


class Turns:
    """Lets two threads compute in turns, and times each only while it is its turn.

    Each has random generators of its own, or what one draws would depend on the other.
    """

    def __init__(self, names: list[str]):
        self.names, self.left = names, list(names)
        self.turn = names[0]
        self.changed = threading.Condition()
        self.wall, self.processor = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0)
        self.states = {name: torch.get_rng_state() for name in names}

    def begin(self, name: str) -> None:
        """Wait for this one's turn, and take it."""
        with self.changed:
            self.changed.wait_for(lambda: self.turn == name)
        torch.set_rng_state(self.states[name])
        self.started = time.perf_counter(), time.process_time()

    def end(self, name: str, *, ended: bool = False) -> None:
        """Hand over to the other one, if it has not ended."""
        self.wall[name] += time.perf_counter() - self.started[0]
        self.processor[name] += time.process_time() - self.started[1]
        self.states[name] = torch.get_rng_state()
        with self.changed:
            if ended:
                self.left.remove(name)
            others = [other for other in self.left if other != name]
            self.turn = others[0] if others else name
            self.changed.notify_all()

    def hand_over(self, name: str) -> None:
        self.end(name)
        self.begin(name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("--rows", type=int, default=16_000)
    parser.add_argument("--seeds", type=lambda text: [int(s) for s in text.split(",")],
                        default=[0, 1])
    arguments = parser.parse_args()
    set_threads(2)
    with tempfile.TemporaryDirectory() as folder:
        sides = read(arguments.source, arguments.rows)
        base = tiny_falcon.build(Path(folder) / "base", sides["train"]["text"], layers=4,
                                 width=192, heads=3, vocabulary=8192, seed=0)
        rounds = []
        for seed in arguments.seeds:
            rounds.append({"seed": seed, **compare(base, sides, seed, Path(folder))})
            figures = summary(rounds, {name: len(rows) for name, rows in sides.items()})
            print(f"seed {seed}: {rounds[-1]}\nratio {figures['ratio_wall']} (wall), "
                  f"{figures['ratio_processor']} (processor); limit {LIMIT}; "
                  f"accuracy {figures['accuracy']}", store("trainer_recipe", figures), flush=True)


def read(source: Path, rows: int) -> dict[str, pd.DataFrame]:
    """Return `rows` tweets for training, and what is left for validation and test."""
    opened = gzip.open if source.suffix == ".gz" else open
    with opened(source, "rt", encoding="latin-1", newline="") as stream:
        raw = pd.read_csv(stream, index_col=0, keep_default_na=False, dtype="str")
    raw = raw.sample(rows + 5_000, random_state=0).reset_index(drop=True)
    raw = raw.rename(columns={"target": "label"}).assign(row=np.arange(len(raw)))
    cleaned, _ = text_rows.clean(raw[["row", "text", "label"]].astype({"text": "str"}),
                                batch="tweets", labels={"0": "negative", "4": "positive"})
    cleaned["split"] = np.where(cleaned.index < 500, "validation",
                                np.where(cleaned.index < 3_500, "test", "train"))
    kept, _ = near_duplicates.drop_near_duplicates(cleaned)
    sides = {name: part.reset_index(drop=True) for name, part in kept.groupby("split")}
    sides["train"] = sides["train"].head(rows)
    return sides


def opened(base: Path, sides: dict[str, pd.DataFrame]) -> LoadedBase:
    """Return a base of its own, and give the rows their tokens."""
    loaded = load_base(BaseSpec(source=base, name="falcon_tiny", max_length=128), LABELS)
    for rows in sides.values():
        if "input_ids" not in rows:
            rows["input_ids"] = encode(rows["text"].tolist(), loaded.tokenizer, 128)[0]
    return loaded


def compare(base: Path, sides: dict[str, pd.DataFrame], seed: int, folder: Path) -> dict:
    """Train both with one seed, in turns; return times and accuracies on the test rows."""
    bases = {name: opened(base, sides) for name in RULES}
    models = {name: adapter.attach(loaded, rank=16, alpha=32, dropout=0.05, seed=seed,
                                   train_embeddings=True) for name, loaded in bases.items()}
    turns, failed = Turns(list(RULES)), []

    def work(name: str, job) -> None:
        turns.begin(name)
        try:
            job()
        except Exception as error:
            failed.append(error)
        finally:
            turns.end(name, ended=True)

    def ours() -> None:
        train(models["ftzard"], Labels(sides["train"], sides["validation"], LABELS),
              TrainingConfig(seed=seed, **VALUES),
              on_step=lambda done, total: done % STEPS_PER_TURN or turns.hand_over("ftzard"))

    def theirs() -> None:
        recipe(models["recipe"], bases["recipe"], sides, seed, folder,
               lambda done: done % STEPS_PER_TURN or turns.hand_over("recipe"))

    threads = [threading.Thread(target=work, args=(name, job))
               for name, job in (("ftzard", ours), ("recipe", theirs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    return {name: {"wall_s": round(turns.wall[name], 2),
                   "processor_s": round(turns.processor[name], 2),
                   "accuracy": round(right(models[name], bases[name], sides["test"]), 4)}
            for name in RULES}


def recipe(model, loaded: LoadedBase, sides: dict[str, pd.DataFrame], seed: int, folder: Path,
           on_step) -> None:
    """Train with the Trainer as its documentation does: random batches, padded to the longest."""
    from transformers import Trainer, TrainerCallback, TrainingArguments

    class OnStep(TrainerCallback):
        def on_step_end(self, args, state, control, **more):
            on_step(state.global_step)

    def collate(rows: list[dict]) -> dict[str, torch.Tensor]:
        batch = pad([row["input_ids"] for row in rows], loaded.tokenizer.pad_token_id)
        return {**batch, "labels": torch.tensor([row["labels"] for row in rows])}

    data = {name: [{"input_ids": ids, "labels": LABELS.index(label)} for ids, label in
                   zip(sides[name]["input_ids"], sides[name]["label"], strict=True)]
            for name in ("train", "validation")}
    Trainer(
        model=model, train_dataset=data["train"], eval_dataset=data["validation"],
        data_collator=collate, callbacks=[OnStep()],
        args=TrainingArguments(
            output_dir=str(folder / "trainer"), num_train_epochs=VALUES["epochs"], seed=seed,
            per_device_train_batch_size=VALUES["batch_size"], per_device_eval_batch_size=32,
            learning_rate=VALUES["learning_rate"], weight_decay=VALUES["weight_decay"],
            warmup_steps=VALUES["warmup_ratio"], max_grad_norm=VALUES["max_grad_norm"],
            lr_scheduler_type="linear", eval_strategy="epoch", save_strategy="no",
            logging_strategy="epoch", report_to="none", use_cpu=True, disable_tqdm=True,
            remove_unused_columns=False, label_names=["labels"]),
    ).train()


def right(model, loaded: LoadedBase, rows: pd.DataFrame) -> float:
    """Return the accuracy on rows."""
    scores = logits(model, rows["input_ids"].tolist(), pad_id=loaded.tokenizer.pad_token_id)
    targets = np.array([LABELS.index(label) for label in rows["label"]])
    return measure(scores, targets)["accuracy"]


def summary(rounds: list[dict], rows: dict[str, int]) -> dict:
    """Return the ratios over all seeds, the accuracies and how far chance moves them."""
    total = {name: {kind: sum(r[name][kind] for r in rounds) for kind in ("wall_s", "processor_s")}
             for name in RULES}
    accuracy = {name: [r[name]["accuracy"] for r in rounds] for name in RULES}
    difference = float(np.mean(accuracy["ftzard"]) - np.mean(accuracy["recipe"]))
    noise = float(2 * np.sqrt(2 * 0.25 * 0.75 / rows["test"]))
    return {
        "limit": LIMIT,
        "ratio_wall": round(total["ftzard"]["wall_s"] / total["recipe"]["wall_s"], 3),
        "ratio_processor": round(
            total["ftzard"]["processor_s"] / total["recipe"]["processor_s"], 3),
        "accuracy": accuracy, "accuracy_difference": round(difference, 4),
        "accuracy_difference_by_chance": round(noise, 4),
        "equal_within_noise": abs(difference) <= noise, "rows": rows, "values": VALUES,
        "batches": RULES, "rounds": rounds,
    }


if __name__ == "__main__":
    main()
