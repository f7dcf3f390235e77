"""What models have answered to test sets, kept by content, so that nothing is computed twice.

A test set is answered in batches of its own. Its answers are then a function of the model, of the
set's token ids and of the machinery (packages, threads, processor, this library's code) alone, to
the last bit, whatever other sets there are; the hashes of these are the key. A set that has grown
by a row has another key and is answered anew as a whole, since a batch in other company gives other
last bits. The folder may be deleted at any time: it is filled again.
"""

import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy
import torch

from ftzard.core.artifacts import sha256, write_atomically
from ftzard.modeling.adapter_meta import read_meta, weights_file
from ftzard.modeling.base_model import LoadedBase
from ftzard.modeling.reproducibility import processor
from ftzard.modeling.spec import BaseSpec

#: The way in which sets are put into batches; a change of it makes every kept answer worthless.
SCHEME = 1
#: Hex digits of a name; bytes of the checksum that a file begins with.
_NAME, _CHECKSUM = 32, 32

Arrays = dict[str, numpy.ndarray]


@dataclass(frozen=True)
class Question:
    """One test set as a model is asked it.

    Attributes:
        kind: What is asked for, such as 'logits'.
        input_ids: Of each row.
        lengths: A further number per row that the answer depends on (of the prompt), or none.
    """

    kind: str
    input_ids: Sequence[Sequence[int]]
    lengths: Sequence[int] = ()

    @property
    def key(self) -> str:
        """The hash of all that is asked, in its order."""
        counts = numpy.array([len(ids) for ids in self.input_ids], dtype="<i8")
        hasher = hashlib.sha256(f"{self.kind}\0{len(counts)}\0".encode())
        hasher.update(counts.tobytes())
        for ids in self.input_ids:
            hasher.update(numpy.asarray(ids, dtype="<i8").tobytes())
        hasher.update(numpy.asarray(self.lengths, dtype="<i8").tobytes())
        return hasher.hexdigest()[:_NAME]


@dataclass
class AnswerStore:
    """Kept answers of many models.

    Attributes:
        folder: Where they are, one file per model and set.
        machinery: What computes them (`machinery`).
        doubt: Why nothing is taken from it any more, None as long as what was checked was equal.
        recalled, computed: Rows that were taken from it and rows that were answered.
    """

    folder: Path
    machinery: Mapping
    doubt: str | None = None
    recalled: int = 0
    computed: int = 0
    _used: set[str] = field(default_factory=set)

    def answers(
        self,
        model: Mapping,
        questions: Sequence[Question],
        answer: Callable[[Question], Arrays],
        *,
        check: bool = False,
    ) -> list[Arrays]:
        """Return a model's answers to each question, from the store or from `answer`.

        If they differ, nothing of the store is taken any more, of any model, and `doubt` says so.

        Args:
            model: Its identity (`identity`).
            answer: Computes one question's answers, whose arrays have an entry per row.
            check: Compute the smallest kept set again and compare every bit with what is kept.
        """
        place = self._place(model)
        stored = {} if self.doubt else {
            i: arrays for i, question in enumerate(questions)
            if (arrays := _read(place / f"{question.key}.npz")) is not None}
        if check and stored:
            smallest = min(stored, key=lambda i: len(questions[i].input_ids))
            again = answer(questions[smallest])
            if not _equal(again, stored[smallest]):
                self.doubt = (f"of {len(questions[smallest].input_ids):,} rows that were answered "
                              "again, the answers are not those that are kept")
                stored = {}
            self._count(0, len(questions[smallest].input_ids))
        results = []
        for i, question in enumerate(questions):
            if i in stored:
                results.append(stored[i])
                self._count(len(question.input_ids), 0)
                continue
            results.append(answer(question))
            self._count(0, len(question.input_ids))
            self.keep(model, question, results[-1])
        return results

    def keep(self, model: Mapping, question: Question, arrays: Arrays) -> None:
        """Keep a model's answers to a question, in place of what is kept of it."""
        _write(self._place(model) / f"{question.key}.npz", arrays)

    def forget_others(self) -> None:
        """Remove the answers of models that were not asked since this store was opened."""
        if self.folder.is_dir():
            for place in self.folder.iterdir():
                if place.name not in self._used:
                    shutil.rmtree(place, ignore_errors=True)

    def _place(self, model: Mapping) -> Path:
        key = json.dumps([SCHEME, self.machinery, model], sort_keys=True, default=str)
        name = hashlib.sha256(key.encode()).hexdigest()[:_NAME]
        self._used.add(name)
        return self.folder / name

    def _count(self, recalled: int, computed: int) -> None:
        self.recalled, self.computed = self.recalled + recalled, self.computed + computed


@dataclass
class CachedModel:
    """A model that is asked through a store, and opened at the first question it does not know.

    Attributes:
        identity: As `identity` returns it.
        open_model: Returns the model.
        store: None to know nothing.
        check: Compute a part of what is known again, and compare.
        refresh: Compute everything again.
    """

    identity: Mapping
    open_model: Callable[[], Any]
    store: AnswerStore | None = None
    check: bool = False
    refresh: bool = False

    @cached_property
    def model(self) -> Any:
        """The model, opened."""
        return self.open_model()

    @property
    def opened(self) -> bool:
        """Whether the model has been opened."""
        return "model" in self.__dict__

    def answers(self, questions: Sequence[Question], compute: Callable[[Any, Question], Arrays]
                ) -> list[Arrays]:
        """Return the answers to each question; compute: what the opened model answers to one."""
        if self.store is not None and not self.refresh:
            return self.store.answers(self.identity, questions,
                                      lambda question: compute(self.model, question),
                                      check=self.check)
        answers = [compute(self.model, question) for question in questions]
        if self.store is not None:
            for question, arrays in zip(questions, answers, strict=True):
                self.store.keep(self.identity, question, arrays)
                self.store.computed += len(question.input_ids)
        return answers


def machinery(device: torch.device, **more: object) -> dict:
    """Return what computes answers here; more: versions of packages, hash of the code and the like.

    Two processes for which it is the same give the same bits for the same batches.
    """
    return {"device": device.type, "processor": processor(), "threads": torch.get_num_threads(),
            **more}


def identity(folder: Path | None, base: LoadedBase | BaseSpec, **more: object) -> dict:
    """Return what a model is: hashes of all its weights and of its tokenizer, and how it is loaded.

    Args:
        folder: Of its adapter, None for the bare base, which then is in memory.
        more: Anything else that its answers depend on, such as a template.
    """
    spec = base.spec if isinstance(base, LoadedBase) else base
    loaded = {key: value for key, value in spec.to_dict().items()
              if key not in ("source", "name", "revision", "gated")}
    if folder is None:
        return {"adapter": None, "base": base.weight_hash, "tokenizer": base.tokenizer_hash,
                "labels": base.labels, "loaded": loaded, **more}
    meta = read_meta(folder)
    return {"adapter": sha256(weights_file(folder)), "base": meta["base"]["weight_hash"],
            "tokenizer": meta["tokenizer_hash"], "meta": meta, "loaded": loaded, **more}


def _write(path: Path, arrays: Arrays) -> None:
    stream = io.BytesIO()
    numpy.savez(stream, **arrays)
    payload = stream.getvalue()
    write_atomically(path, lambda part: part.write_bytes(
        hashlib.sha256(payload).digest() + payload))


def _read(path: Path) -> Arrays | None:
    """Return kept arrays, None if there are none or the file is not what was written."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    payload = content[_CHECKSUM:]
    if hashlib.sha256(payload).digest() != content[:_CHECKSUM]:
        return None
    try:
        with numpy.load(io.BytesIO(payload), allow_pickle=False) as arrays:
            return dict(arrays)
    except (ValueError, OSError, zipfile.BadZipFile):
        return None


def _equal(one: Arrays, other: Arrays) -> bool:
    """Return whether both hold the same arrays, bit by bit."""
    return set(one) == set(other) and all(
        one[name].dtype == other[name].dtype and one[name].shape == other[name].shape
        and one[name].tobytes() == other[name].tobytes() for name in one)
