"""What the report is told: the facts of one round as plain values, each section optional.

Whoever runs a round fills `Facts` (or the same as nested dicts, straight from JSON); the page says
plainly what it was not told. A name that is not here is refused, so that a fact is never dropped
because of a spelling.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from ftzard.errors import DataError, nearest


@dataclass(frozen=True)
class Model:
    """One line of the table of models.

    role: 'challenger', 'champion', 'base' or 'baseline'; accuracy, lower, upper, macro_f1: shares
    on all n test rows; lower and upper may be left out (a Wilson interval is then computed).
    """

    name: str
    role: str
    accuracy: float
    n: int
    lower: float | None = None
    upper: float | None = None
    macro_f1: float | None = None


@dataclass(frozen=True)
class Trial:
    """One trial of the tuning: what it tried and how it went.

    history: one dict per epoch with epoch and any of train_loss, validation_loss, train_accuracy,
    validation_accuracy or, as training writes it, accuracy (on validation); further keys are left
    alone. best: whether this trial was chosen.
    """

    name: str
    history: Sequence[Mapping[str, float]]
    params: Mapping[str, Any] = field(default_factory=dict)
    best: bool = False


@dataclass(frozen=True)
class Test:
    """The judged model's answers on all test rows: n labels, (n, k) probabilities, texts, ids.

    temperature: fitted on `validation_rows` validation rows, if it was.
    """

    __test__ = False  # not a test case, whatever pytest makes of the name

    classes: Sequence[str]
    labels: Sequence[str]
    probabilities: Any
    texts: Sequence[str]
    ids: Sequence[str]
    temperature: float | None = None
    validation_rows: int | None = None


@dataclass(frozen=True)
class Round:
    """One round of the story, the newest last.

    verdict: 'promote', 'refuse' or 'cannot tell'; accuracy, lower, upper: of that round's
    challenger on all test sets of then; labels: rows a person had labelled for it; reason: the
    verdict's sentences; model: name and version of the challenger; average_accuracy,
    backward_transfer, forgetting: as `forgetting.Summary` has them, shares.
    """

    name: str
    verdict: str
    accuracy: float | None = None
    date: str | None = None
    data_version: str | None = None
    model: str | None = None
    lower: float | None = None
    upper: float | None = None
    labels: int | None = None
    reason: str | None = None
    average_accuracy: float | None = None
    backward_transfer: float | None = None
    forgetting: float | None = None


@dataclass(frozen=True)
class Lineage:
    """Where everything came from; what is None or empty is shown as not recorded.

    data_versions: artifact -> git commit; mlflow_runs: step -> run id; packages: name -> version;
    more: anything else worth a line, name -> text.
    """

    git_commit: str | None = None
    config_hash: str | None = None
    model_version: str | None = None
    base: str | None = None
    base_hash: str | None = None
    tokenizer_hash: str | None = None
    dagster_run: str | None = None
    seed: int | None = None
    data_versions: Mapping[str, str] = field(default_factory=dict)
    mlflow_runs: Mapping[str, str] = field(default_factory=dict)
    packages: Mapping[str, str] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Facts:
    """Everything one report can tell. Leave out what the round does not have.

    title, subtitle, created: of the page; created is an ISO time in UTC.
    comparison: `gate.Verdict.to_dict()`; models: the table at a glance.
    class_counts: {label: {split: rows}}.
    token_lengths: tokens of every text *before* cutting; max_length: the cut; cut_rows and
    cut_tokens: as counted when cutting, checked against the lengths if given.
    rejected: {reason: rows}; rejected_examples: [{reason, text, row}]; rows_read: of the raw file.
    leaks: {reason: rows} that stood on the test side, or nearly, and so left training.
    trials, test, rounds, lineage: see their classes.
    uncertainty: one number per unlabelled row; threshold: the least uncertain row asked for;
    strategy: its name in words; asked: rows put into the labelling queue, of all kinds.
    forgetting: `forgetting.Matrix.to_dict()`; drift: `drift.Drift.to_dict()` of every batch so far
    with its batch and the champion's number, oldest first.
    """

    title: str = "FTzard report"
    subtitle: str | None = None
    created: str | None = None
    comparison: Mapping[str, Any] | None = None
    models: Sequence[Model] = ()
    class_counts: Mapping[str, Mapping[str, int]] | None = None
    token_lengths: Sequence[int] | None = None
    max_length: int | None = None
    cut_rows: int | None = None
    cut_tokens: int | None = None
    rejected: Mapping[str, int] | None = None
    rejected_examples: Sequence[Mapping[str, Any]] = ()
    rows_read: int | None = None
    leaks: Mapping[str, int] | None = None
    trials: Sequence[Trial] = ()
    test: Test | None = None
    uncertainty: Sequence[float] | None = None
    threshold: float | None = None
    strategy: str | None = None
    asked: int | None = None
    rounds: Sequence[Round] = ()
    forgetting: Mapping[str, Any] | None = None
    drift: Sequence[Mapping[str, Any]] = ()
    lineage: Lineage | None = None

    @classmethod
    def of(cls, facts: "Facts | Mapping[str, Any]") -> "Facts":
        """Take Facts as they are, or nested dicts of the same names; refuse an unknown name."""
        given = vars(facts) if isinstance(facts, cls) else facts
        values = _known(cls, given, "the report's facts")
        for name, kind in (("models", Model), ("trials", Trial), ("rounds", Round)):
            values[name] = [_made(kind, item) for item in values.get(name) or ()]
        for name, kind in (("test", Test), ("lineage", Lineage)):
            if values.get(name) is not None:
                values[name] = _made(kind, values[name])
        told = cls(**values)
        told.check()
        return told

    def check(self) -> None:
        """Refuse facts that contradict each other."""
        if self.token_lengths is not None and self.max_length is not None:
            lengths = np.asarray(self.token_lengths)
            rows = int((lengths > self.max_length).sum())
            tokens = int(np.clip(lengths - self.max_length, 0, None).sum())
            for name, told, found in (
                ("cut_rows", self.cut_rows, rows),
                ("cut_tokens", self.cut_tokens, tokens),
            ):
                if told is not None and told != found:
                    raise DataError(
                        f"the report was told {name}={told}, but token_lengths with max_length="
                        f"{self.max_length} give {found}; token_lengths are counted before cutting."
                    )
        if self.test is not None:
            sizes = {
                name: len(getattr(self.test, name))
                for name in ("labels", "probabilities", "texts", "ids")
            }
            if len(set(sizes.values())) != 1:
                raise DataError(f"the report's test rows differ in number: {sizes}.")


def measured(entry: Mapping[str, Any], side: str, measure: str) -> float | None:
    """Return the loss or accuracy of a side (train, validation) from one epoch's entry, or None.

    An accuracy without a side is the one on validation.
    """
    value = entry.get(f"{side}_{measure}")
    if value is None and (side, measure) == ("validation", "accuracy"):
        return entry.get("accuracy")
    return value


def _known(kind: type, values: Mapping[str, Any], what: str) -> dict:
    names = {f.name for f in fields(kind)}
    for name in values:
        if name not in names:
            raise DataError(f"'{name}' is no part of {what}{nearest(name, names)}")
    return dict(values)


def _made(kind: type, value: Any) -> Any:
    if isinstance(value, kind):
        return value
    return kind(**_known(kind, value, f"a report's {kind.__name__.lower()}"))
