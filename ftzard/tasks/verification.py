"""Does a saved adapter, opened in a fresh process, answer as it was seen to do in training?

`verify_saved` has that process (one forked in advance, if there is one, else a new interpreter)
load the base and the adapter from their files, predict the same rows in the same batches and write
the model's fingerprint down: logits, or losses of wanted answers. A head that was not saved or
a base that differs shows here, before anything is registered.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy
import pandas
import torch

from ftzard.core import forked_worker, python_settings
from ftzard.core.archive import unpack
from ftzard.errors import ModelError
from ftzard.modeling.base_model import BaseSpec
from ftzard.modeling.reproducibility import set_threads
from ftzard.tasks.base import base_spec, task_named

#: The garbage collector would look through what imports leave, again and again.
_FRESH = ("import gc, sys; gc.disable(); from ftzard.tasks import verification; gc.freeze(); "
          "gc.enable(); verification.answer(sys.argv[1])")

# float32 on the same threads gives the same bits; a GPU in bf16 may add up in another order.
TOLERANCE = {"float32": 1e-5, "bfloat16": 5e-2, "float16": 1e-2}


def verify_saved(
    adapter: Path,
    base: BaseSpec,
    rows: pandas.DataFrame,
    expected: numpy.ndarray,
    *,
    batch_size: int = 64,
    timeout: float = 900,
) -> float:
    """Return the largest difference between `expected` and a fresh process's fingerprint.

    Args:
        adapter: Folder or packed file of the saved adapter.
        base: Where its base is.
        rows: Tokenized rows to predict.
        expected: Fingerprint (rows, ...) that the trained model gave for them with the same
            `batch_size`: logits, or losses of the wanted answers.
        batch_size: Rows that are predicted together.
        timeout: Seconds, for a copy and then for an interpreter.

    Raises:
        ModelError: The process fails or the fingerprints differ.
    """
    predictor = task_named(base.task).predictor
    what = predictor.FINGERPRINT
    columns = {name: _plain(rows[name]) for name in predictor.FINGERPRINT_COLUMNS}
    actual = _fresh(Path(adapter), base, columns, batch_size, timeout)
    if actual.shape != expected.shape:
        raise ModelError(
            f"adapter {adapter}: a fresh process gives {what} of shape {actual.shape}; expected "
            f"{expected.shape}. The saved adapter has other labels than the trained one."
        )
    difference = float(numpy.abs(actual - expected).max()) if actual.size else 0.0
    limit = TOLERANCE[base.compute_dtype]
    if not difference <= limit:
        raise ModelError(
            f"adapter {adapter}: opened in a fresh process its {what} differ from the trained "
            f"model's by up to {difference:.2g}; expected at most {limit:.0e}. What was saved is "
            "not what was trained: do not register it."
        )
    return difference


def _plain(values: pandas.Series) -> list:
    """Return a column of numbers, or of lists of them, as JSON takes it."""
    return [numpy.asarray(value).tolist() for value in values]


def _fresh(
    adapter: Path, base: BaseSpec, columns: dict, batch_size: int, timeout: float
) -> numpy.ndarray:
    """Return what a fresh process makes of rows with a saved adapter."""
    with tempfile.TemporaryDirectory(prefix="ftzard-verify-") as scratch:
        folder = adapter if adapter.is_dir() else unpack(adapter, Path(scratch) / "adapter")
        request, answer = Path(scratch) / "request.json", Path(scratch) / "answer.npy"
        request.write_text(
            json.dumps({
                "rows": columns,
                "adapter": str(folder.resolve()),
                "base": {**base.to_dict(), "source": _anywhere(base.source)},
                "batch_size": batch_size,
                "threads": torch.get_num_threads(),
                "answer": str(answer),
            }),
            encoding="utf-8",
        )
        return _fingerprint(request, answer, adapter, timeout)


def _fingerprint(request: Path, answer: Path, adapter: Path, timeout: float) -> numpy.ndarray:
    done = request.with_name("done.json")
    if forked_worker.call(f"{__name__}:answer", {"request": str(request)}, done, timeout=timeout):
        return numpy.load(answer)
    environment = {**python_settings.for_child(), "OMP_WAIT_POLICY": "PASSIVE"}
    try:
        process = subprocess.run(
            [sys.executable, "-P", "-c", _FRESH, str(request)],
            capture_output=True,
            text=True,
            env=environment,
            timeout=timeout,
        )
    except subprocess.TimeoutExpired as error:
        raise ModelError(
            f"adapter {adapter}: opening it in a fresh process took longer than {timeout:.0f} s; "
            "expected an answer. Try again when the machine is less busy."
        ) from error
    if process.returncode != 0 or not answer.is_file():
        lines = process.stderr.strip().splitlines() or ["no message"]
        raise ModelError(
            f"adapter {adapter} cannot be opened in a fresh process (exit code "
            f"{process.returncode}): {lines[-1]} Expected it to load; it is not registered."
        )
    return numpy.load(answer)


def _anywhere(source: str | Path) -> str:
    """Return a source that means the same in another working directory."""
    return str(Path(source).resolve()) if Path(source).is_dir() else str(source)


def answer(request: str) -> None:
    """Do what the file of a request asks for: the fresh process's part."""
    task = json.loads(Path(request).read_text(encoding="utf-8"))
    set_threads(task["threads"])
    spec = base_spec(task["base"])
    predictor = task_named(spec.task).predictor
    opened = predictor.open_predictor(Path(task["adapter"]), spec)
    numpy.save(task["answer"],
               predictor.fingerprint(opened, task["rows"], batch_size=task["batch_size"]))
