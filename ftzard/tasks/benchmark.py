"""Two models answer the same rows, each in a process of its own: what they say, speed, memory.

A fresh process (`python -m ftzard.tasks.benchmark REQUEST.json`) has nothing of another model in
memory or warmed up. How fast a model is depends on what else the machine does just then, so both
are timed in turns: a pass of the one, a pass of the other, several times, after a pass of each that
does not count. It gives the median with the range of the passes.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy
import pandas
import torch
from torch import nn

from ftzard.core import python_settings
from ftzard.errors import ModelError
from ftzard.modeling import memory
from ftzard.modeling.reproducibility import set_threads
from ftzard.modeling.spec import BaseSpec
from ftzard.tasks.base import task_in
from ftzard.tasks.loading import load_predictor

#: Passes of each model that count.
PASSES = 5
#: What is told of each answer beside its words.
OF_ANSWERS = ("confidence", "tokens", "finished")
TIMES = ("latency_ms", "rows_per_second", "tokens_per_second")


@dataclass(frozen=True)
class Speed:
    """How a model answered.

    Attributes:
        latency_ms: Of one row at a time.
        rows_per_second, tokens_per_second: Of real tokens, in batches, and of answers and the
            tokens in them where they are written; each the median of the passes, and its `_range`
            the lowest and the highest of them. All six are None where the two models have no room
            in memory side by side, since they could not take turns.
        passes: How many.
        load_s: Until it could answer.
        peak_bytes: Of loading and answering, beyond what the process held before, None where
            nobody says.
        device: 'cpu' or 'cuda'.
        threads: Of torch.
        cut_rows: Texts, or prompts with the wanted answer, that are longer than the model reads.
    """

    load_s: float
    peak_bytes: int | None
    device: str
    threads: int
    cut_rows: int
    passes: int = 0
    latency_ms: float | None = None
    rows_per_second: float | None = None
    tokens_per_second: float | None = None
    latency_ms_range: tuple[float, float] | None = None
    rows_per_second_range: tuple[float, float] | None = None
    tokens_per_second_range: tuple[float, float] | None = None


@dataclass(frozen=True)
class Subject:
    """A model that is to answer.

    Attributes:
        adapter: Folder of a saved adapter, or None for the bare base with its untrained head.
        base: How to load its base.
        meta: What a bare base has no folder for: {labels}, in the order of the logits, or
            {template, max_new_tokens}.
    """

    adapter: Path | None
    base: BaseSpec
    meta: Mapping


def weights_mb(model: nn.Module) -> float:
    """Return how many MiB a model's weights take, an adapter's that is on it included."""
    return sum(t.numel() * t.element_size()
               for t in (*model.parameters(), *model.buffers())) / 2**20


def measured(
    subjects: Sequence[Subject],
    texts: Sequence[Sequence[str]],
    *,
    threads: int,
    batch_size: int = 64,
    timeout: float = 3600,
    on_start: Callable[[int], object] = lambda number: None,
) -> list[tuple[numpy.ndarray, Speed]]:
    """Return each model's float32 logits (rows, labels) of its cleaned texts, and its speed.

    texts: of each model; on_start: called with a model's number before it answers; timeout: seconds
    of loading and answering, of each. Raises ModelError with the process's own sentence if one
    fails.
    """
    outputs = _asked(subjects, [{"texts": list(part)} for part in texts], threads, batch_size,
                     timeout, on_start)
    return [(output["logits"], speed) for output, speed in outputs]


@dataclass(frozen=True)
class Written:
    """What a model that writes answers said.

    Attributes:
        loss: float64 (rows,), of the wanted answers, in nats per token.
        tokens: int64 (rows,); both are 0 where lost, bool (rows,), says that a row leaves no room
            for its answer.
        cut: int32 (rows,), tokens of the answer beyond the longest input.
        answers: Of the rows that were to be answered, '' where lost.
        of_answers: Confidence, tokens and finished of each answer, an array by name.
    """

    loss: numpy.ndarray
    tokens: numpy.ndarray
    lost: numpy.ndarray
    cut: numpy.ndarray
    answers: list[str]
    of_answers: Mapping[str, numpy.ndarray] = field(default_factory=dict)

    def table(self, which: Sequence[int]) -> pandas.DataFrame:
        """Return some answers as a table: answer, confidence, tokens, finished."""
        return pandas.DataFrame({"answer": self.answers, **self.of_answers}).iloc[
            list(which)].reset_index(drop=True)


def measured_answers(
    subjects: Sequence[Subject],
    messages: Sequence[Sequence[Sequence[Mapping[str, str]]]],
    wanted: Sequence[str],
    asked: Sequence[int],
    *,
    threads: int,
    batch_size: int = 32,
    timeout: float = 3600,
    on_start: Callable[[int], object] = lambda number: None,
) -> list[tuple[Written, Speed]]:
    """Return how likely each model finds wanted answers, what it writes itself, and its speed.

    messages: of each model, as it reads them; asked: the numbers of the rows for which it writes;
    the rest as for `measured`. Raises ModelError as `measured` does.
    """
    tasks = [{"messages": [list(turns) for turns in part], "wanted": list(wanted),
              "asked": [int(number) for number in asked]} for part in messages]
    outputs = _asked(subjects, tasks, threads, batch_size, timeout, on_start)
    return [(Written(output["loss"], output["tokens"], output["lost"], output["cut"],
                     output["answers"].tolist(),
                     {name: output[f"answer_{name}"] for name in OF_ANSWERS}), speed)
            for output, speed in outputs]


def _asked(subjects: Sequence[Subject], tasks: Sequence[Mapping], threads: int, batch_size: int,
           timeout: float, on_start: Callable[[int], object]
           ) -> list[tuple[dict[str, numpy.ndarray], Speed]]:
    with ExitStack() as open_ones:
        workers: list[_Worker] = []
        for number, (subject, task) in enumerate(zip(subjects, tasks, strict=True)):
            on_start(number)
            if workers and not workers[-1].leaves_room():
                for worker in workers:
                    worker.close()
            workers.append(open_ones.enter_context(
                _Worker(subject, task, threads, batch_size, timeout)))
            workers[-1].wait()
        together = all(worker.alive for worker in workers)
        passes = [[worker.turn() for worker in workers]
                  for _ in range(1 + PASSES)][1:] if together else []
        return [(worker.arrays, _speed(worker.meta, [each[i] for each in passes]))
                for i, worker in enumerate(workers)]


def _speed(meta: Mapping, passes: Sequence[Mapping]) -> Speed:
    known = {key: meta[key] for key in ("load_s", "peak_bytes", "device", "threads", "cut_rows")}
    if not passes:
        return Speed(**known)
    values = {key: [each[key] for each in passes] for key in TIMES}
    return Speed(**known, passes=len(passes),
                 **{key: statistics.median(each) for key, each in values.items()},
                 **{f"{key}_range": (min(each), max(each)) for key, each in values.items()})


class _Worker:
    """A process with one model in it, which answers its rows and is then timed pass by pass.

    meta: what it says of its answering; arrays: its answers; alive: whether it still can be timed.
    """

    def __init__(self, subject: Subject, task: Mapping, threads: int, batch_size: int,
                 timeout: float):
        self.name, self.timeout, self.alive = subject.base.name, timeout, False
        self.meta: dict = {}
        self.arrays: dict[str, numpy.ndarray] = {}
        self._late = False
        self._request = {
            "adapter": subject.adapter and str(Path(subject.adapter).resolve()),
            "base": {**subject.base.to_dict(), "source": _anywhere(subject.base.source)},
            "meta": dict(subject.meta), **task, "threads": threads, "batch_size": batch_size}

    def __enter__(self) -> "_Worker":
        self._scratch = tempfile.TemporaryDirectory(prefix="ftzard-measured-")
        folder = Path(self._scratch.name)
        request, self._answer = folder / "request.json", folder / "answer.npz"
        request.write_text(json.dumps({**self._request, "answer": str(self._answer)}),
                           encoding="utf-8")
        self._errors = folder / "stderr"
        with open(self._errors, "wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "ftzard.tasks.benchmark", str(request)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
                encoding="utf-8",
                env={**python_settings.for_child(), "OMP_WAIT_POLICY": "PASSIVE"})
        self.alive = True
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self._scratch.cleanup()

    def wait(self) -> None:
        """Wait until it has answered its rows."""
        self.meta = self._heard()
        with numpy.load(self._answer) as arrays:
            self.arrays = dict(arrays)

    def leaves_room(self) -> bool:
        """Return whether a second model like this one has room in memory beside it."""
        peak, free = self.meta["peak_bytes"], self.meta["free_bytes"]
        return peak is None or free is None or 1.2 * peak < free

    def turn(self) -> dict:
        """Let it answer some rows once more, and return how fast it was."""
        with suppress(BrokenPipeError):  # of one that has died, the next line says why
            self._process.stdin.write("turn\n")
            self._process.stdin.flush()
        return self._heard()

    def close(self) -> None:
        """End the process."""
        if self.alive:
            self.alive = False
            self._process.kill()
            self._process.communicate()

    def _heard(self) -> dict:
        timer = threading.Timer(self.timeout, self._too_late)
        timer.start()
        try:
            line = self._process.stdout.readline()
        finally:
            timer.cancel()
        if line:
            return json.loads(line)
        code = self._process.wait()
        if self._late:
            raise ModelError(
                f"a model on base '{self.name}' did not answer within {self.timeout:.0f} s; "
                "expected an answer. Give it fewer rows, or try again when the machine is less "
                "busy.")
        lines = self._errors.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        last = (lines or ["no message"])[-1]
        raise ModelError(f"a model on base '{self.name}' cannot answer (exit code {code}): "
                         f"{last.partition('ModelError: ')[2] or last}")

    def _too_late(self) -> None:
        self._late = True
        self._process.kill()


def _anywhere(source: str | Path) -> str:
    """Return a source that means the same in another working directory."""
    return str(Path(source).resolve()) if Path(source).is_dir() else str(source)


def _answer(request: Path) -> None:
    """Answer what is asked, say so, and then take a turn for every line that comes in."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints does not stand between our lines
    task = json.loads(request.read_text(encoding="utf-8"))
    set_threads(task["threads"])
    part = task_in(task["base"]).model  # imported before anything is measured
    resident, began = memory.resident(), time.perf_counter()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with memory.watched(device, resident) as peak:
        model = load_predictor(
            task["adapter"] and Path(task["adapter"]), task["base"], task["meta"])
        loaded = time.perf_counter() - began
        arrays, cut_rows, turn = part.benchmark(model, task)
    numpy.savez(task["answer"], **arrays)
    _tell(channel, {"load_s": loaded, "peak_bytes": peak.bytes, "device": device,
                    "free_bytes": memory.device().free, "threads": task["threads"],
                    "cut_rows": cut_rows})
    for _ in sys.stdin:
        _tell(channel, turn())


def _tell(to: object, values: Mapping) -> None:
    to.write(json.dumps(values) + "\n")
    to.flush()


def times(latency: float, rows: int, tokens: int, seconds: float) -> dict:
    """Return what one pass of some rows took."""
    return {"latency_ms": 1000 * latency, "rows_per_second": rows / seconds,
            "tokens_per_second": tokens / seconds}


def spread(count: int, most: int) -> list[int]:
    """Return at most so many of `count` rows, evenly spread."""
    return numpy.unique(numpy.linspace(0, count - 1, min(most, count), dtype=int)).tolist()


def latency_of(answer: Callable[[list[int]], object], input_ids: Sequence[Sequence[int]]) -> float:
    """Return the median seconds of one row at a time."""
    seconds = []
    for ids in input_ids:
        began = time.perf_counter()
        answer(list(ids))
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds or [0.0])


if __name__ == "__main__":
    _answer(Path(sys.argv[1]))
