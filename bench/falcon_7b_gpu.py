"""Falcon-7B at full size: loaded in 4 bit, trained with QLoRA, measured beside the plain recipe.

    python bench/falcon_7b_gpu.py FOLDER [--steps 60] [--batch-size 32] [--result FILE]
    python bench/falcon_7b_gpu.py FOLDER --tiny      # the same code, a small Falcon, no GPU

The weights are random: what is measured (bytes, seconds) does not depend on them. They are written
to FOLDER once (14 GB in bfloat16), in shards, and loaded from there as any base is. The texts are
the sample's. Beside FTzard's training stands the plain Hugging Face Trainer with the settings of
the system that FTzard replaces: float16, alpha half the rank, random batches padded to their
longest row. It runs only with what `ftzard.modeling` and `ftzard.data` import.
"""

import argparse
import gc
import json
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from machine import store
from safetensors.torch import save_file
from transformers import FalconForCausalLM, PretrainedConfig

from ftzard.config.training_config import TrainingConfig
from ftzard.core.artifacts import write_json
from ftzard.modeling import adapter, known_architectures, memory, tiny_falcon
from ftzard.modeling.base_model import BaseSpec, LoadedBase, load_base
from ftzard.modeling.batching import pad, padding_share, shuffled_batches
from ftzard.modeling.reproducibility import set_threads
from ftzard.modeling.tokenizer import encode
from ftzard.tasks.classification import TASK
from ftzard.training import memory_trace
from ftzard.training.fit import fit
from ftzard.training.memory_estimate import MB, largest_batch

sys.path.insert(0, str(Path(__file__).parents[1]))

from tools.sample_data.generator import generate

LABELS = ["negative", "positive"]
SHARD = 2_000 * MB
RANK, LEARNING_RATE = 16, 1e-4
WARM_UP = 5
LOADED_LIMIT_MB = 7_000
ESTIMATE_LIMIT = 0.2


@dataclass
class Clock:
    """The time of each step, from the end of the one before; the first ones only warm up."""

    device: str
    times: list[float] = field(default_factory=list)

    def step(self, *_: object) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()
        self.times.append(time.perf_counter())

    @property
    def seconds(self) -> float:
        return self.times[-1] - self.times[WARM_UP - 1]


def main() -> None:
    arguments = asked_for()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu" and not arguments.tiny:
        raise SystemExit("no GPU here: expected one for the full size, or --tiny")
    if device == "cpu":
        set_threads(2)
    architecture = (tiny() if arguments.tiny
                    else known_architectures.architecture("tiiuae/falcon-7b"))
    folder = arguments.folder / ("tiny" if arguments.tiny else "falcon_7b")
    sample = generate(0).training.dropna()
    write_base(folder, architecture, sample["text"].tolist(), device)
    spec = BaseSpec(source=folder, name="falcon_7b", max_length=arguments.max_length,
                    compute_dtype="float32" if device == "cpu" else "bfloat16")
    figures = {
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "cuda": torch.version.cuda, "tiny": arguments.tiny, "steps": arguments.steps,
        "batch_size": arguments.batch_size, "rank": RANK,
        "ftzard": ours(spec, sample, arguments, device, folder),
    }
    say(figures, arguments)
    if not arguments.without_recipe:
        figures["recipe"] = recipe(spec, sample, arguments, device)
        figures["speed_ratio"] = round(
            figures["ftzard"]["rows_per_second"] / figures["recipe"]["rows_per_second"], 2)
        say(figures, arguments)
    verdict(figures, arguments.tiny)


def asked_for() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--max-length", type=int, default=128)
    parser.add_argument("--without-recipe", action="store_true")
    parser.add_argument("--result", type=Path, help="a file; default: bench/results")
    arguments = parser.parse_args()
    if arguments.steps <= WARM_UP:
        parser.error(f"--steps is {arguments.steps}; expected more than {WARM_UP}")
    return arguments


def say(figures: dict, arguments: argparse.Namespace) -> None:
    """Keep what is known so far: the machine may go away before the rest is measured."""
    name = "falcon_7b_gpu_tiny" if arguments.tiny else "falcon_7b_gpu"
    if arguments.result is not None:
        write_json(arguments.result, figures)
        print(json.dumps(figures, indent=1), arguments.result, flush=True)
    else:
        print(json.dumps(figures, indent=1), store(name, figures), flush=True)


def verdict(figures: dict, is_tiny: bool) -> None:
    """Say whether the limits hold; the tiny one is too small for them to mean much."""
    found = figures["ftzard"]
    lines = [
        ("quantised layers", found["quantised_layers"], found["expected_layers"],
         found["quantised_layers"] == found["expected_layers"]),
        ("loaded MB", found["loaded_mb"], LOADED_LIMIT_MB, found["loaded_mb"] < LOADED_LIMIT_MB),
        ("estimate off by", found["off"], ESTIMATE_LIMIT, abs(found["off"]) <= ESTIMATE_LIMIT),
    ]
    for name, value, limit, holds in lines:
        print(f"{'✓' if holds else '✗'} {name}: {value} (limit {limit})")
    if not is_tiny and not all(holds for *_, holds in lines):
        raise SystemExit(1)


def tiny() -> PretrainedConfig:
    return tiny_falcon.architecture(layers=2, width=128, heads=2, vocabulary=8192)


def write_base(folder: Path, architecture: PretrainedConfig, texts: list[str], device: str
               ) -> None:
    """Write random weights in shards, the config and a tokenizer, unless they are there."""
    if (folder / "model.safetensors.index.json").is_file():
        return
    began = time.perf_counter()
    words = tiny_falcon.build(folder.parent / "words", texts, seed=0, layers=1, width=64, heads=2,
                              vocabulary=8192)
    folder.mkdir(parents=True, exist_ok=True)
    for file in words.glob("tokenizer*"):
        (folder / file.name).write_bytes(file.read_bytes())
    with torch.device("meta"):
        shapes = {name: p.shape for name, p in FalconForCausalLM(architecture).named_parameters()
                  if not name.startswith("lm_head")}
    torch.manual_seed(0)
    shard, size, shards = {}, 0, []
    for name, shape in shapes.items():
        if "layernorm" in name or "ln_" in name:
            values = torch.full(shape, float(name.endswith("weight")), dtype=torch.bfloat16)
        else:
            values = torch.randn(shape, device=device, dtype=torch.bfloat16).mul_(0.02).cpu()
        shard[name], size = values, size + values.nbytes
        if size >= SHARD or name == list(shapes)[-1]:
            shards.append(list(shard))
            save_file(shard, folder / f"part-{len(shards):05d}.safetensors", {"format": "pt"})
            shard, size = {}, 0
    config = architecture.to_dict() | {"architectures": ["FalconForCausalLM"]}
    write_json(folder / "config.json", config)
    places = {name: f"part-{number:05d}.safetensors"
              for number, names in enumerate(shards, 1) for name in names}
    write_json(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": places})
    print(f"wrote {folder} in {time.perf_counter() - began:.0f} s", flush=True)


def tokenized(sample: pd.DataFrame, loaded: LoadedBase, arguments: argparse.Namespace
              ) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return (rows to train on, a few to validate on); the sample comes as often as is needed."""
    count = arguments.steps * arguments.batch_size
    texts = sample["text"].tolist()
    ids, _, _ = encode(texts, loaded.tokenizer, arguments.max_length)
    rows = pd.DataFrame({"input_ids": ids, "label": [LABELS[t > 0] for t in sample["target"]]})
    rows = rows[rows["input_ids"].map(len) > 1].reset_index(drop=True)
    held_out, rest = rows.head(64), rows.iloc[64:]
    repeated = rest.iloc[np.arange(count) % len(rest)]
    return repeated.reset_index(drop=True), held_out


def ours(spec: BaseSpec, sample: pd.DataFrame, arguments: argparse.Namespace, device: str,
         folder: Path) -> dict:
    """Load and train with FTzard; return bytes, seconds and the estimate."""
    held, began = memory.resident(), time.perf_counter()
    loaded = load_base(spec, LABELS, device=device)
    load_s = time.perf_counter() - began
    in_use = torch.cuda.memory_allocated() if device == "cuda" else memory.resident() - held
    rows, held_out = tokenized(sample, loaded, arguments)
    lengths = rows["input_ids"].map(len).to_numpy()
    batches = shuffled_batches(lengths, arguments.batch_size, np.random.default_rng(0))
    _, expected = memory_trace.peak(
        spec, loaded.model.config, len(LABELS), *largest_batch(lengths, batches), device=device,
        rank=RANK, dropout=0.05, keeps=False)
    clock = Clock(device)
    with memory.watched(device, held) as peak:
        fitted = fit(
            loaded, rows, held_out, task=TASK, folder=folder.parent / "adapter",
            config=TrainingConfig(
                rank=RANK, alpha=2 * RANK, dropout=0.05, learning_rate=LEARNING_RATE,
                batch_size=arguments.batch_size, epochs=1), on_step=clock.step)
    measured = peak.bytes / MB
    told = expected.to_dict()
    figures = {
        "quantised_layers": loaded.quantised, "expected_layers": len(loaded.inspection.linear),
        "parameters": loaded.inspection.parameters, "load_s": round(load_s, 1),
        "loaded_mb": round(in_use / MB, 1), "measured_peak_mb": round(measured, 1),
        "estimated_peak_mb": told["total_mb"], "off": round(told["total_mb"] / measured - 1, 4),
        "estimate": told, "train_loss": fitted.trained.history[-1]["train_loss"],
        **speed(clock, batches, lengths),
    }
    release(loaded)
    return figures


def speed(clock: Clock, batches: list[np.ndarray], lengths: np.ndarray) -> dict:
    """Return rows and real tokens per second over the steps after the first ones."""
    counted = batches[WARM_UP:]
    rows, tokens = sum(len(b) for b in counted), sum(int(lengths[b].sum()) for b in counted)
    return {"seconds": round(clock.seconds, 2), "rows_per_second": round(rows / clock.seconds, 2),
            "tokens_per_second": round(tokens / clock.seconds, 1),
            "padding_share": round(padding_share(lengths, counted), 4)}


def recipe(spec: BaseSpec, sample: pd.DataFrame, arguments: argparse.Namespace, device: str
           ) -> dict:
    """Train the same rows as the replaced system does; return bytes and seconds."""
    from transformers import Trainer, TrainerCallback, TrainingArguments

    half = {} if device == "cpu" else {"compute_dtype": "float16"}
    loaded = load_base(BaseSpec(**{**vars(spec), **half}), LABELS, device=device)
    rows, _ = tokenized(sample, loaded, arguments)
    model = adapter.attach(loaded, seed=0, rank=RANK, alpha=RANK / 2, dropout=0.05)
    clock, drawn = Clock(device), []

    class OnStep(TrainerCallback):
        def on_step_end(self, args, state, control, **more):
            clock.step()

    def collate(batch: list[dict]) -> dict[str, torch.Tensor]:
        drawn.append(np.array([row["number"] for row in batch]))
        return {**pad([row["input_ids"] for row in batch], loaded.tokenizer.pad_token_id),
                "labels": torch.tensor([row["labels"] for row in batch])}

    data = [{"number": n, "input_ids": ids, "labels": LABELS.index(label)}
            for n, (ids, label) in enumerate(zip(rows["input_ids"], rows["label"], strict=True))]
    trainer = Trainer(
        model=model, train_dataset=data, data_collator=collate, callbacks=[OnStep()],
        args=TrainingArguments(
            output_dir=str(arguments.folder / "trainer"), num_train_epochs=1, seed=0,
            per_device_train_batch_size=arguments.batch_size, learning_rate=LEARNING_RATE,
            weight_decay=0.01, save_strategy="no", logging_strategy="no", report_to="none",
            use_cpu=device == "cpu", fp16=device == "cuda", disable_tqdm=True,
            remove_unused_columns=False, label_names=["labels"]))
    with memory.watched(device, memory.resident()) as peak:
        trainer.train()
    lengths = rows["input_ids"].map(len).to_numpy()
    figures = {"measured_peak_mb": round(peak.bytes / MB, 1),
               **speed(clock, drawn[:len(clock.times)], lengths)}
    adapter.detach(loaded)
    release(loaded)
    return figures


def release(loaded: LoadedBase) -> None:
    """Give the base's memory back before the next one is loaded."""
    loaded.model = None
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    main()
