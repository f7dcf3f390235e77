"""What a model would be without some of its rows: the same recipe, trained again without them.

Leaving out a delivery, a person's labels, a source or a label is exact: every version that the
model descends from is trained again on the rows that it had, but for these, with its own seed,
values and order; a version before the rows arrived stays as it is. Base and tokenizer stay. Both
models answer all test rows of the record, and the gate's paired comparison says by how much the
rows have helped or harmed. No retraining stands for another one (as influence functions do), so the
answer holds for this recipe and this seed.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftzard.errors import DataError, ModelError, nearest
from ftzard.evaluation import metric_info
from ftzard.registry import model_records
from ftzard.registry.model_record import ModelRecord
from ftzard.steps import reproduce
from ftzard.tracking.model_version import Version
from ftzard.workspace.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd

#: What rows can be left out by. The last two of them are not in the table of all.
FACTORS = ("batch", "labelled_by", "source", "label")
EACH = ("batch", "labelled_by")
#: Training that is begun without being asked for by `minutes`.
MINUTES = 30


@dataclass(frozen=True)
class Counterfactual:
    """By how much a model is better for some rows, on all its test rows.

    Attributes:
        without: What was left out, as FACTOR=VALUE, None for nothing.
        rows: Training rows left out of the newest version that was trained again.
        retrained: The versions that were.
        measure, score, without_score: Of the model and of the one without.
        difference, lower, upper: By how much the model is better, below zero where the rows harm.
        n: Test rows.
        verdict: 'helps', 'harms' or 'no difference is shown'.
        weights: Hash of the one without.
        equal: Whether it is the model itself.
    """

    model: str
    without: str | None
    rows: int
    retrained: tuple[int, ...]
    measure: str
    score: float
    without_score: float
    difference: float
    lower: float
    upper: float
    n: int
    confidence: float
    verdict: str
    weights: str
    equal: bool
    seconds: float

    @property
    def sentence(self) -> str:
        """What came of it, for a person."""
        measure = metric_info.of(self.measure)
        return (f"{self.without or 'nothing left out'}: {self.rows:,} training rows; "
                f"{measure.title} {measure.value(self.score)} with them, "
                f"{measure.value(self.without_score)} without: {measure.gain(self.difference)} "
                f"({100 * self.confidence:.4g} % interval {measure.gain(self.lower, unit=False)} "
                f"to {measure.gain(self.upper)}), {self.verdict}")


def without(workspace: Workspace, name: str, number: int, leave_out: str | None, *,
            minutes: float = MINUTES, say: Callable[[str], object] = print) -> Counterfactual:
    """Train a version again without some rows, and compare the two on its test rows.

    Args:
        workspace: whose records, git and DVC are used; nothing in it is changed.
        name: of the registered model.
        number: of the version.
        leave_out: FACTOR=VALUE, a batch by its file name, its hash or the first digits of that;
            None leaves out nothing, which gives the model again.
        minutes: what it may take, as far as that can be reckoned beforehand.
        say: Gets each line of progress.

    Raises:
        DataError: no training row of the model has this value.
        ModelError: it would take longer than `minutes`, or the version has no recipe.
    """
    with _opened(workspace, name, number) as chain:
        chosen = [] if leave_out is None else [chain.parsed(leave_out)]
        chain.require_time(chosen or [None], minutes)
        return chain.compare(chosen[0] if chosen else None, 1, say)


def without_each(workspace: Workspace, name: str, number: int, *, minutes: float = MINUTES,
                 say: Callable[[str], object] = print) -> list[Counterfactual]:
    """Return `without` of every batch and every person who has labelled, the most harmful first.

    The intervals hold together: each has its share of what `gate.confidence` leaves (Bonferroni).
    """
    with _opened(workspace, name, number) as chain:
        chosen = [(factor, value) for factor in EACH for value in chain.values(factor)]
        if len(chosen) < 2:
            raise DataError(f"the training rows of {name}@{number} are all of one batch, and "
                            "no person's labels are among them: there is nothing to compare.")
        chain.require_time(chosen, minutes)
        comparisons = [chain.compare(one, len(chosen), say) for one in chosen]
    return sorted(comparisons, key=lambda one: one.difference)


@dataclass
class _Stage:
    """One version that is trained again: its checkout, its record, and the rows that it had."""

    place: Workspace
    record: ModelRecord
    train: "pd.DataFrame"
    validation: "pd.DataFrame"
    test: "pd.DataFrame"


@dataclass
class _Chain:
    """A version and those that it descends from, oldest first."""

    workspace: Workspace
    stages: list[_Stage]
    names: Mapping[str, str]

    @property
    def last(self) -> _Stage:
        return self.stages[-1]

    @property
    def model(self) -> str:
        record = self.last.record
        return f"{record['model']}@{record['version']}"

    def values(self, factor: str) -> list[str]:
        """Return what training rows of any stage have of a factor, '' apart."""
        names: dict[str, None] = {}
        for stage in self.stages:
            names |= dict.fromkeys(stage.train[factor].astype(str))
        return [value for value in names if value]

    def parsed(self, leave_out: str) -> tuple[str, str]:
        """Return (factor, value) of FACTOR=VALUE."""
        factor, sign, value = leave_out.partition("=")
        if not sign or factor not in FACTORS:
            raise DataError(f"'{leave_out}' does not say what to leave out; expected FACTOR=VALUE "
                            f"with one of {', '.join(FACTORS)}, such as batch=march.csv.")
        known = self.values(factor)
        matching = [v for v in known if value and (
            v == value or factor == "batch" and (
                self.names.get(v) == value or len(value) >= 6 and v.startswith(value)))]
        if len(matching) != 1:
            shown = [self.names.get(v, v) for v in known]
            raise DataError(
                f"{factor}={value} names {len(matching)} of the {len(known)} values that training "
                f"rows of {self.model} have{nearest(value, shown)}")
        return factor, matching[0]

    def called(self, chosen: tuple[str, str] | None) -> str | None:
        """Return how a choice is shown."""
        if chosen is None:
            return None
        return f"{chosen[0]}={self.names.get(chosen[1], chosen[1])}"

    def affected(self, chosen: tuple[str, str] | None) -> list[_Stage]:
        """Return the stages that are other models without these rows: from the first on."""
        if chosen is None:
            return list(self.stages)
        factor, value = chosen
        first = next(i for i, stage in enumerate(self.stages)
                     if (stage.train[factor].astype(str) == value).any()
                     or (stage.validation[factor].astype(str) == value).any())
        return self.stages[first:]

    def require_time(self, choices: list[Any], minutes: float) -> None:
        """Refuse what would take longer than `minutes`, by the rate that a plan assumes."""
        from ftzard.modeling.inspection import inspect
        from ftzard.modeling.memory import device
        from ftzard.steps import training_rate
        from ftzard.training.memory_estimate import Sizes

        record, config = self.last.record, self.last.record.config
        base = inspect(model_records.base_spec(self.last.place, config.model, record.task.name),
                       max(2, len(record["labels"])))
        sizes = Sizes(base.parameters, base.parameters - base.embedding_parameters, 0, 0, 0, 0)
        rate, measured = training_rate.training_rate(
            self.workspace, config, sizes, device(), None)
        tokens = sum(int(stage.train["length"].sum() + stage.validation["length"].sum() / 3)
                     * stage.record.training_config.epochs
                     for chosen in choices for stage in self.affected(chosen))
        needed = tokens / rate / 60
        if needed > minutes:
            runs = sum(len(self.affected(chosen)) for chosen in choices)
            of = f"measured by {measured}" if measured else "as a plan assumes"
            raise ModelError(
                f"{runs} trainings of {self.model} and those it descends from would take about "
                f"{needed:,.0f} minutes ({tokens:,} tokens at {rate:,.0f} a second, {of}); "
                f"expected {minutes:g} or fewer. Say how long it may take: --minutes "
                f"{int(needed) + 1}.")

    def compare(self, chosen: tuple[str, str] | None, together: int,
                say: Callable[[str], object]) -> Counterfactual:
        """Train without these rows and compare; together: comparisons that hold together."""
        began, start, rows, retrained = time.monotonic(), None, 0, []
        with tempfile.TemporaryDirectory() as scratch:
            for stage in self.affected(chosen):
                train, validation = (_without(part, chosen)
                                     for part in (stage.train, stage.validation))
                if train.empty or validation.empty:
                    raise DataError(f"without {self.called(chosen)} no row is left to train "
                                    f"{self.model} on.")
                rows = len(stage.train) - len(train)
                number = int(stage.record["version"])
                say(f"{self.called(chosen) or 'nothing left out'}: training version {number} again "
                    f"on {len(train):,} of {len(stage.train):,} rows")
                fitted, loaded = _fit(stage, train, validation, start, Path(scratch) / str(number))
                start, weights = fitted.folder, fitted.recipe["weights_sha256"]
                retrained.append(number)
            gated = self._gated(fitted.folder, loaded, together)
        verdict = ("helps" if gated.lower > 0 else
                   "harms" if gated.upper < 0 else "no difference is shown")
        return Counterfactual(
            self.model, self.called(chosen), rows, tuple(retrained), gated.measure,
            gated.challenger_score, gated.champion_score, gated.difference, gated.lower,
            gated.upper, gated.n, gated.limits["confidence"], verdict, weights,
            weights == self.last.record.recipe["weights_sha256"], time.monotonic() - began)

    def _gated(self, folder: Path, loaded: Any, together: int) -> Any:
        """Return the gate's verdict on the model, with the one without in the champion's place."""
        from ftzard.evaluation import gate
        from ftzard.modeling.adapter_meta import read_meta
        from ftzard.modeling.prediction_cache import CachedModel

        stage = self.last
        record, config, task = stage.record, stage.record.config, stage.record.task
        own, spec = model_records.version_files(stage.place, record.version)
        evaluation = task.evaluation.EVALUATION(stage.test, config, read_meta(own))
        compared = []
        for place, base in ((own, spec), (folder, loaded)):
            predictor = task.predictor.open_predictor(place, base)
            compared.append(evaluation.compared(
                evaluation.score(CachedModel({}, lambda predictor=predictor: predictor))))
        confidence = 1 - (1 - config.gate.confidence) / together
        limits = replace(config.gate, error_budget=None, confidence=confidence)
        return gate.judge(*compared, limits, baselines={}, seed=config.seed,
                          measure=evaluation.compared_by,
                          classes=record["labels"] if record["labels"] else ())


def _without(rows: "pd.DataFrame", chosen: tuple[str, str] | None) -> "pd.DataFrame":
    if chosen is None:
        return rows
    return rows[rows[chosen[0]].astype(str) != chosen[1]].reset_index(drop=True)


def _fit(stage: _Stage, train: "pd.DataFrame", validation: "pd.DataFrame", start: Path | None,
         folder: Path) -> tuple[Any, Any]:
    """Train one version again, from the adapter of the one before it, as its record says."""
    from ftzard.modeling import reproducibility
    from ftzard.modeling.base_model import load_base
    from ftzard.training.fit import fit

    record, place = stage.record, stage.place
    config, task = record.config, record.task
    if start is None and record.parent is not None:
        start, _ = model_records.version_files(
            place, Version(record["model"], record.parent, "", {}))
    reproducibility.set_threads(record.recipe["threads"])
    loaded = load_base(model_records.base_spec(place, config.model, task.name), record["labels"])
    fitted = fit(
        loaded, train, validation, task=task, config=record.training_config, folder=folder,
        start_from=start if record.parent is not None else None,
        extra=task.model.adapter_meta(config, loaded.tokenizer,
                                      model_records.cleaning_now(place, config.data)))
    return fitted, loaded


@contextmanager
def _opened(workspace: Workspace, name: str, number: int) -> Iterator[_Chain]:
    """Yield a version and those before it, each in a clean checkout of the commit of its record."""
    from contextlib import ExitStack

    from ftzard.versioning.worktree import pull, worktree

    records = [reproduce.recorded(workspace, name, number)]
    while records[0].parent is not None:
        records.insert(0, reproduce.recorded(workspace, name, records[0].parent))
    with ExitStack() as opened:
        places: dict[str, Path] = {}
        stages = []
        for record in records:
            commit = reproduce.commit_of(workspace, record)
            if commit not in places:
                places[commit] = opened.enter_context(worktree(workspace.root, commit))
            place, files = Workspace(places[commit]), reproduce.files_of(record)
            if record is records[-1]:
                files = [*files, f"models/{name}/{number}.zip"]
            beside = record.config.paths.cleaned
            if (place.root / f"{beside}.dvc").is_file():
                files = [*files, beside]
            pull(place.root, list(dict.fromkeys(files)))
            stages.append(_stage(place, record))
        yield _Chain(workspace, stages, _names(workspace))


def _stage(place: Workspace, record: ModelRecord) -> _Stage:
    from ftzard.data import storage

    rows = storage.read_parquet(place.root / record.tokenized["path"])
    cleaned = place.root / record.config.paths.cleaned
    known = storage.read_parquet(cleaned).drop_duplicates("id").set_index("id") \
        if cleaned.is_file() else None
    for factor in FACTORS:
        if factor not in rows:
            values = known[factor] if known is not None and factor in known else {}
            rows[factor] = rows["id"].map(values)
        rows[factor] = rows[factor].astype("object").where(rows[factor].notna(), "")
    train, validation = reproduce.training_rows(place, record, rows, lambda _: None)
    test = rows[(rows["split"] == "test") & ~rows["id"].isin(record.get("left_out") or [])]
    return _Stage(place, record, train, validation, test.reset_index(drop=True))


def _names(workspace: Workspace) -> dict[str, str]:
    """Return {batch: name of the file that it was delivered as}, as far as that is known."""
    from ftzard.steps.delivery_files import delivered_as
    from ftzard.tracking import sqlite_reading

    return dict(delivered_as(workspace, sqlite_reading.of_workspace(workspace, workspace.config())))
