"""A model answers texts in a process of its own: what it says, how fast it was, its memory.

A fresh process (`python -m ftzard.models.measured REQUEST.json`) has nothing of another model in
memory or warmed up, so two models that are measured one after the other can be compared.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy
import torch
from torch import nn

from ftzard import python_settings
from ftzard.errors import ModelError
from ftzard.models import memory
from ftzard.models.answering import Answerer
from ftzard.models.instructions import Messages
from ftzard.models.instructions import encode as encode_answers
from ftzard.models.opening import opened
from ftzard.models.prediction import Classifier
from ftzard.models.reproducibility import set_threads
from ftzard.models.spec import BaseSpec
from ftzard.models.tokenizing import encode

#: Rows that are answered one at a time to know the latency, and those that are written to.
SINGLES, WRITTEN = 32, 8


@dataclass(frozen=True)
class Speed:
    """How a model answered.

    latency_ms: median of one row at a time; rows_per_second, tokens_per_second: of real tokens,
    in batches, and of answers and the tokens in them where they are written; load_s: until it could
    answer; peak_bytes: of loading and answering, beyond what the process held before, None where
    nobody says; device: 'cpu' or 'cuda'; threads: of torch; cut_rows: texts, or prompts with the
    wanted answer, that are longer than the model reads.
    """

    latency_ms: float
    rows_per_second: float
    tokens_per_second: float
    load_s: float
    peak_bytes: int | None
    device: str
    threads: int
    cut_rows: int


def weights_mb(model: nn.Module) -> float:
    """Return how many MiB a model's weights take, an adapter's that is on it included."""
    return sum(t.numel() * t.element_size()
               for t in (*model.parameters(), *model.buffers())) / 2**20


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
    task = {"told": {"labels": list(labels)}, "texts": list(texts)}
    found, speed = _asked(adapter, base, task, threads, batch_size, timeout)
    return found["logits"], speed


@dataclass(frozen=True)
class Written:
    """What a model that writes answers said.

    loss: float64 (rows,), of the wanted answers, in nats per token; tokens: int64 (rows,); both are
    0 where lost, bool (rows,), says that a row leaves no room for its answer; cut: int32 (rows,),
    tokens of the answer beyond the longest input. answers: of the rows that were to be answered, ''
    where lost.
    """

    loss: numpy.ndarray
    tokens: numpy.ndarray
    lost: numpy.ndarray
    cut: numpy.ndarray
    answers: list[str]


def measured_answers(
    adapter: Path | None,
    base: BaseSpec,
    answering: Mapping,
    messages: Sequence[Messages],
    wanted: Sequence[str],
    asked: Sequence[int],
    *,
    threads: int,
    batch_size: int = 32,
    timeout: float = 3600,
) -> tuple[Written, Speed]:
    """Return how likely a model finds wanted answers, what it writes itself, and how fast it was.

    adapter: as for `measured`; answering: template and max_new_tokens of a bare base; asked: the
    numbers of the rows for which it writes. Raises ModelError as `measured` does.
    """
    task = {"told": dict(answering), "messages": [list(turns) for turns in messages],
            "wanted": list(wanted), "asked": [int(number) for number in asked]}
    found, speed = _asked(adapter, base, task, threads, batch_size, timeout)
    return Written(found["loss"], found["tokens"], found["lost"], found["cut"],
                   found["answers"].tolist()), speed


def _asked(adapter: Path | None, base: BaseSpec, task: Mapping, threads: int, batch_size: int,
           timeout: float) -> tuple[dict[str, numpy.ndarray], Speed]:
    with tempfile.TemporaryDirectory(prefix="ftzard-measured-") as scratch:
        request, answer = Path(scratch) / "request.json", Path(scratch) / "answer"
        request.write_text(json.dumps({
            "adapter": adapter and str(Path(adapter).resolve()),
            "base": {**base.to_dict(), "source": _anywhere(base.source)}, **task,
            "threads": threads, "batch_size": batch_size, "answer": str(answer)}),
            encoding="utf-8")
        _run(request, base.name, timeout)
        speed = json.loads(answer.with_suffix(".json").read_text(encoding="utf-8"))
        with numpy.load(answer.with_suffix(".npz")) as found:
            return dict(found), Speed(**speed)


def _run(request: Path, name: str, timeout: float) -> None:
    environment = {**python_settings.for_child(), "OMP_WAIT_POLICY": "PASSIVE"}
    try:
        process = subprocess.run(
            [sys.executable, "-P", "-m", "ftzard.models.measured", str(request)],
            capture_output=True, text=True, env=environment, timeout=timeout)
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
        model = opened(task["adapter"] and Path(task["adapter"]), task["base"], task["told"])
        loaded = time.perf_counter() - began
        say = _choose if isinstance(model, Classifier) else _write
        found, costs = say(model, task)
    speed = Speed(load_s=loaded, peak_bytes=peak.bytes, device=device, threads=task["threads"],
                  **costs)
    answer = Path(task["answer"])
    numpy.savez(answer.with_suffix(".npz"), **found)
    answer.with_suffix(".json").write_text(json.dumps(asdict(speed)))


def _choose(classifier: Classifier, task: Mapping) -> tuple[dict, dict]:
    """Return the logits of a classifier, and its costs."""
    input_ids, lengths, cut = encode(task["texts"], classifier.tokenizer, classifier.max_length)
    latency = _latency(lambda ids: classifier.logits([ids]), input_ids, SINGLES)
    began = time.perf_counter()
    logits = classifier.logits(input_ids, batch_size=task["batch_size"])
    seconds = time.perf_counter() - began
    return {"logits": logits}, {
        "latency_ms": 1000 * latency, "rows_per_second": len(input_ids) / seconds,
        "tokens_per_second": float(lengths.sum() / seconds), "cut_rows": int((cut > 0).sum())}


def _write(answerer: Answerer, task: Mapping) -> tuple[dict, dict]:
    """Return the losses and answers of an answerer, and its costs."""
    rows = encode_answers(task["messages"], task["wanted"], answerer.tokenizer, answerer.template,
                          answerer.max_length)
    fit = numpy.flatnonzero(~rows.lost)
    loss, tokens = numpy.zeros(len(rows.lost)), numpy.zeros(len(rows.lost), dtype=numpy.int64)
    loss[fit], tokens[fit] = answerer.losses(
        [rows.input_ids[i] for i in fit], rows.prompt_length[fit], batch_size=task["batch_size"])
    asked = [i for i in task["asked"] if not rows.lost[i]]
    prompts = [rows.input_ids[i][:rows.prompt_length[i]] for i in asked]
    latency = _latency(lambda ids: answerer.generate([ids]), prompts, WRITTEN)
    began = time.perf_counter()
    said = answerer.generate(prompts, batch_size=task["batch_size"])
    seconds = time.perf_counter() - began
    answers = dict(zip(asked, said["answer"], strict=True))
    return {"loss": loss, "tokens": tokens, "lost": rows.lost, "cut": rows.cut,
            "answers": numpy.array([answers.get(i, "") for i in task["asked"]], dtype=str)}, {
        "latency_ms": 1000 * latency, "rows_per_second": len(asked) / seconds,
        "tokens_per_second": float(said["tokens"].sum() / seconds),
        "cut_rows": int((rows.cut[fit] > 0).sum())}


def _latency(answer: Callable[[list[int]], object], input_ids: list[list[int]], most: int
             ) -> float:
    """Return the median seconds of one row at a time; the first one warms up and does not count."""
    chosen = [input_ids[i] for i in numpy.linspace(
        0, len(input_ids) - 1, min(most, len(input_ids)), dtype=int)]
    seconds = []
    for ids in [*chosen[:1], *chosen]:
        began = time.perf_counter()
        answer(ids)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[1:] or [0.0])


if __name__ == "__main__":
    _answer(Path(sys.argv[1]))
