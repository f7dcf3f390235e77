"""The plan's peak of memory beside what training really takes, on the CPU.

    python bench/plan_memory.py [CASE ...] [--width 2048] [--layers 6]

A Falcon with random weights (1.1 GB in float32, unless told otherwise) is loaded and trained for
two steps in a process of its own, and what that process grows by after its imports is held
against the estimate, which loads nothing. Cases that were measured before stay in the result.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path

MB = 1 << 20
LABELS = ["negative", "positive"]


@dataclass(frozen=True)
class Case:
    """What is trained how: rows of `length` tokens each, `batch` of them a step."""

    quantisation: str = "none"
    method: str = "lora"
    batch: int = 8
    length: int = 64
    micro_batch_tokens: int = 0
    gradient_checkpointing: bool = False
    width: int = 2048
    layers: int = 6


CASES = {
    "float32": Case(),
    "nf4": Case(quantisation="nf4"),
    "nf4, long texts": Case(quantisation="nf4", batch=4, length=256),
    "nf4, micro-batches": Case(quantisation="nf4", batch=8, micro_batch_tokens=256),
    "float32, checkpointing": Case(batch=4, length=256, gradient_checkpointing=True),
    "full fine-tuning": Case(method="full", batch=4, layers=3),
}


def main() -> None:
    arguments = asked_for()
    from machine import RESULTS, store

    kept, results = RESULTS / "plan_memory.json", {}
    if arguments.store and kept.is_file():
        results = json.loads(kept.read_text())["cases"]
    for name in arguments.cases or CASES:
        case = replace(CASES[name], width=arguments.width,
                       layers=min(CASES[name].layers, arguments.layers))
        with tempfile.TemporaryDirectory() as folder:
            build(case, Path(folder) / "base")
            results[name] = measure(case, Path(folder) / "base")
        found = results[name]
        print(f"{name}: estimated {found['estimated_mb']:,.0f} MB, measured "
              f"{found['measured_mb']:,.0f} MB, off by {found['off']:+.1%}", flush=True)
        worst = max(abs(found["off"]) for found in results.values())
        if arguments.store:
            print(f"worst {worst:.1%}", store("plan_memory", {
                "limit": 0.2, "worst": round(worst, 4), "cases": results}))
    if arguments.json:
        print(json.dumps(results))


def asked_for() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--no-store", dest="store", action="store_false")
    parser.add_argument("--json", action="store_true", help="print the cases at the end")
    arguments = parser.parse_args()
    unknown = set(arguments.cases) - set(CASES)
    if unknown:
        parser.error(f"there is no case {sorted(unknown)}; there are {', '.join(CASES)}")
    return arguments


def build(case: Case, folder: Path) -> None:
    """Write a Falcon with random weights, in a process of its own, which forgets them."""
    code = (
        "from pathlib import Path; from ftzard.modeling.tiny_falcon import build; "
        f"build(Path({str(folder)!r}), ['some words to learn letters from'] * 4, seed=0, "
        f"layers={case.layers}, width={case.width}, heads={max(2, case.width // 64)}, "
        "vocabulary=8192, max_positions=512)")
    subprocess.run([sys.executable, "-c", code], check=True)


def measure(case: Case, folder: Path) -> dict:
    """Return the estimate and the measurement of one case, in MB."""
    request = json.dumps({"case": asdict(case), "folder": str(folder)})
    done = subprocess.run([sys.executable, __file__, "--inside", request], check=True, text=True,
                          stdout=subprocess.PIPE)
    measured = json.loads(done.stdout.splitlines()[-1])
    estimated = estimate(case, folder)
    off = estimated["total_mb"] / measured["measured_mb"] - 1
    return {**asdict(case), "estimated_mb": estimated.pop("total_mb"), **measured,
            "off": round(off, 4), "parts": estimated}


def estimate(case: Case, folder: Path) -> dict:
    """Return what the plan says, by parts."""
    from ftzard.modeling.inspection import read_config
    from ftzard.training import memory_trace

    spec, batch = spec_of(case, folder), case.batch
    if case.micro_batch_tokens:
        batch = min(batch, max(1, case.micro_batch_tokens // case.length))
    _, memory = memory_trace.peak(
        spec, read_config(spec), len(LABELS), batch, case.length, device="cpu",
        method=case.method, rank=16, dropout=0.05, keeps=True, accumulates=batch < case.batch,
        gradient_checkpointing=case.gradient_checkpointing)
    return memory.to_dict()


def spec_of(case: Case, folder: Path):
    from ftzard.modeling.spec import BaseSpec

    return BaseSpec(source=folder, name="bench", quantisation=case.quantisation, max_length=512)


def inside(request: dict) -> None:
    """Load, train two epochs of a step each, and print what the process grew by, as JSON."""
    import numpy
    import pandas

    from ftzard.config.training_config import TrainingConfig
    from ftzard.modeling import memory
    from ftzard.modeling.base_model import load_base
    from ftzard.modeling.reproducibility import set_threads
    from ftzard.tasks.classification import TASK
    from ftzard.training.fit import fit

    case, folder = Case(**request["case"]), Path(request["folder"])
    set_threads(2)
    draw = numpy.random.default_rng(0)
    rows = pandas.DataFrame({
        "input_ids": [draw.integers(2, 200, case.length).tolist() for _ in range(case.batch)],
        "label": [LABELS[n % 2] for n in range(case.batch)]})
    assert TASK.model  # imported before memory is measured
    held = memory.resident()
    loaded = load_base(spec_of(case, folder), LABELS, device="cpu")
    after_load = memory.resident() - held
    with memory.watched("cpu", held) as peak:
        fit(loaded, rows, rows.head(4), task=TASK, config=TrainingConfig(
            rank=16, alpha=32, dropout=0.05, learning_rate=1e-7, batch_size=case.batch, epochs=2,
            method=case.method, micro_batch_tokens=case.micro_batch_tokens,
            gradient_checkpointing=case.gradient_checkpointing),
            folder=folder.parent / "adapter")
    print(json.dumps({"measured_mb": round(peak.bytes / MB, 1),
                      "after_load_mb": round(after_load / MB, 1),
                      "imports_mb": round(held / MB, 1)}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--inside"]:
        inside(json.loads(sys.argv[2]))
    else:
        main()
