"""A model answers texts in a process of its own: its logits, how fast it was, what memory it took.

A fresh process (`python -m ftzard.models.measured REQUEST.json`) has nothing of another model in
memory or warmed up, so two models that are measured one after the other can be compared.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy
import torch

from ftzard.errors import ModelError
from ftzard.models import memory
from ftzard.models.adapter import bare_classifier, open_classifier
from ftzard.models.base import load_base
from ftzard.models.prediction import Classifier
from ftzard.models.reproducibility import set_threads
from ftzard.models.spec import BaseSpec
from ftzard.models.tokenizing import encode

#: Rows that are answered one at a time to know the latency.
SINGLES = 32


@dataclass(frozen=True)
class Speed:
    """How a model answered.

    latency_ms: median of one row at a time; rows_per_second, tokens_per_second: of real tokens,
    in batches; load_s: until it could answer; peak_bytes: of loading and answering, beyond what the
    process held before, None where nobody says; device: 'cpu' or 'cuda'; threads: of torch;
    cut_rows: texts that are longer than the model reads.
    """

    latency_ms: float
    rows_per_second: float
    tokens_per_second: float
    load_s: float
    peak_bytes: int | None
    device: str
    threads: int
    cut_rows: int


def measured(
    adapter: Path | None,
    base: BaseSpec,
    labels: Sequence[str],
    texts: Sequence[str],
    *,
    threads: int,
    batch_size: int = 64,
    timeout: float = 3600,
) -> tuple[numpy.ndarray, Speed]:
    """Return a model's float32 logits (rows, labels) of cleaned texts, and how fast it was.

    adapter: folder of a saved adapter, or None for the bare base with its untrained head; labels:
    in the order of the logits; timeout: seconds. Raises ModelError with the process's own sentence
    if it fails.
    """
    with tempfile.TemporaryDirectory(prefix="ftzard-measured-") as scratch:
        request, answer = Path(scratch) / "request.json", Path(scratch) / "answer"
        request.write_text(json.dumps({
            "adapter": adapter and str(Path(adapter).resolve()),
            "base": {**asdict(base), "source": _anywhere(base.source)},
            "labels": list(labels), "texts": list(texts), "threads": threads,
            "batch_size": batch_size, "answer": str(answer)}), encoding="utf-8")
        _run(request, base.name, timeout)
        speed = json.loads(answer.with_suffix(".json").read_text(encoding="utf-8"))
        return numpy.load(answer.with_suffix(".npy")), Speed(**speed)


def _run(request: Path, name: str, timeout: float) -> None:
    package = str(Path(__file__).resolve().parents[2])
    paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_WAIT_POLICY": "PASSIVE"}
    try:
        process = subprocess.run(
            [sys.executable, "-m", "ftzard.models.measured", str(request)], capture_output=True,
            text=True, env=environment, timeout=timeout)
    except subprocess.TimeoutExpired as error:
        raise ModelError(
            f"a model on base '{name}' did not answer within {timeout:.0f} s; expected an answer. "
            "Give it fewer rows, or try again when the machine is less busy.") from error
    if process.returncode != 0:
        last = (process.stderr.strip().splitlines() or ["no message"])[-1]
        raise ModelError(f"a model on base '{name}' cannot answer (exit code "
                         f"{process.returncode}): {last.partition('ModelError: ')[2] or last}")


def _anywhere(source: str | Path) -> str:
    """Return a source that means the same in another working directory."""
    return str(Path(source).resolve()) if Path(source).is_dir() else str(source)


def _answer(request: Path) -> None:
    task = json.loads(request.read_text(encoding="utf-8"))
    set_threads(task["threads"])
    held, began = memory.resident(), time.perf_counter()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with memory.watched(device, held) as peak:
        spec = BaseSpec(**task["base"])
        classifier = (open_classifier(Path(task["adapter"]), spec) if task["adapter"] else
                      bare_classifier(load_base(spec, task["labels"])))
        loaded = time.perf_counter() - began
        input_ids, lengths, cut = encode(task["texts"], classifier.tokenizer,
                                         classifier.max_length)
        latency = _latency(classifier, input_ids)
        began = time.perf_counter()
        logits = classifier.logits(input_ids, batch_size=task["batch_size"])
        seconds = time.perf_counter() - began
    speed = Speed(
        latency_ms=1000 * latency, rows_per_second=len(input_ids) / seconds,
        tokens_per_second=float(lengths.sum() / seconds), load_s=loaded, peak_bytes=peak.bytes,
        device=device, threads=task["threads"], cut_rows=int((cut > 0).sum()))
    answer = Path(task["answer"])
    numpy.save(answer.with_suffix(".npy"), logits)
    answer.with_suffix(".json").write_text(json.dumps(asdict(speed)))


def _latency(classifier: Classifier, input_ids: list[list[int]]) -> float:
    """Return the median seconds of one row at a time; the first one warms up and does not count."""
    chosen = [input_ids[i] for i in numpy.linspace(
        0, len(input_ids) - 1, min(SINGLES, len(input_ids)), dtype=int)]
    classifier.logits(chosen[:1])
    seconds = []
    for ids in chosen:
        began = time.perf_counter()
        classifier.logits([ids])
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


if __name__ == "__main__":
    _answer(Path(sys.argv[1]))
