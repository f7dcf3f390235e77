"""The input of the report: the facts of one round as plain values, each section optional.

Whoever runs a round fills `Facts` (or the same as nested dicts, straight from JSON); the page says
plainly which facts are missing. A name that is not here is refused, so that a fact is never dropped
because of a spelling.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from markupsafe import Markup

from ftzard.errors import DataError, nearest
from ftzard.evaluation import metric_info


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
    alone. best: whether this trial was chosen; best_epoch: whose weights were kept, None if that is
    not known; pruned: whether it was stopped before its end.
    """

    name: str
    history: Sequence[Mapping[str, float]]
    params: Mapping[str, Any] = field(default_factory=dict)
    best: bool = False
    pruned: bool = False
    best_epoch: int | None = None


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

    verdict: the gate's decision; accuracy, lower, upper: of that round's
    challenger on the newest n test rows, the same for all rounds, or, where `apart` says in a part
    of a sentence why there is no such score, on its own n rows; measured_on: which rows these are,
    in words; champion: name of the round whose version was champion when this one was over; labels:
    labelled rows that are new in it; new_training_rows: those of them that are trained on; reason:
    the verdict's sentences; model: name and version of the challenger; average_accuracy,
    backward_transfer, forgetting: as `forgetting.Summary` has them, shares. Of another measure than
    accuracy: its name, score instead of accuracy, average_score instead of average_accuracy.
    page: file name of that round's report, beside this one.
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
    new_training_rows: int | None = None
    n: int | None = None
    apart: str | None = None
    measured_on: str | None = None
    champion: str | None = None
    reason: str | None = None
    average_accuracy: float | None = None
    backward_transfer: float | None = None
    forgetting: float | None = None
    measure: str = metric_info.ACCURACY.name
    score: float | None = None
    average_score: float | None = None
    page: str | None = None

    @property
    def value(self) -> float | None:
        """The challenger's mean, whatever the measure is."""
        return self.accuracy if self.score is None else self.score

    @property
    def average(self) -> float | None:
        """The mean over batches, whatever the measure is."""
        return self.average_accuracy if self.average_score is None else self.average_score


@dataclass(frozen=True)
class AnsweringModel:
    """One line of the table of models that answer freely, on the same n test rows.

    role: 'challenger', 'champion' or 'base'; score, lower, upper: of the round's measure, in its
    own unit, with its interval (`gate.interval`); loss (nats per supervised token), perplexity,
    rouge_l, exact_match, n, generated, supervised_tokens: as `answers.measure` gives them;
    finished: share of the generated answers that ended by themselves.
    """

    name: str
    role: str
    loss: float
    perplexity: float
    n: int
    score: float | None = None
    lower: float | None = None
    upper: float | None = None
    rouge_l: float | None = None
    exact_match: float | None = None
    generated: int = 0
    supervised_tokens: int | None = None
    finished: float | None = None


@dataclass(frozen=True)
class Answers:
    """A round of instruction tuning: how well the models answer, and what was supervised.

    measure: what the gate compared; models: the table at a glance; generations: lines of
    `answers.side_by_side(...).to_dict("records")`; differences: by how much the challenger is
    better on each test row (in the measure's unit, below zero where it is worse), any order;
    apart: those rows, the furthest apart first: id, text, label and difference;
    template: name of what stands around an instruction; packing: whether rows were packed;
    supervised_tokens: {split: tokens of wanted answers}, prompt_tokens: {split: tokens before
    them}; rows: {source or kind of row: {split: rows}}; cut_answers: rows whose answer was cut,
    lost_rows: rows left out since no token of the answer would have been left;
    max_new_tokens: longest answer that is generated.
    """

    measure: str
    models: Sequence[AnsweringModel] = ()
    generations: Sequence[Mapping[str, Any]] = ()
    differences: Sequence[float] | None = None
    apart: Sequence[Mapping[str, Any]] = ()
    template: str | None = None
    packing: bool | None = None
    supervised_tokens: Mapping[str, int] | None = None
    prompt_tokens: Mapping[str, int] | None = None
    rows: Mapping[str, Mapping[str, int]] | None = None
    cut_answers: int | None = None
    lost_rows: int | None = None
    max_new_tokens: int | None = None


@dataclass(frozen=True)
class TaskSections:
    """What a task says on the page of a round.

    Attributes:
        figures: those a reader remembers.
        models: the table of models, and remarks on it.
        comparison: challenger against champion, with intervals.
        answers: how test rows were answered.
        meaning: of the scores, at the end of the page.
        no_better: what a refused first model is no better than, in a part of a sentence.
        predicted: how many rows of a batch were predicted: a sentence with {n} and {of}.
        asked: how many of them a person was asked for: a sentence with {asked}.
        uncertainty: what a value of it means, as a sentence.
    """

    figures: Markup
    models: Sequence[Markup]
    comparison: list[Markup]
    answers: list[Markup]
    meaning: str
    no_better: str
    predicted: str
    asked: str
    uncertainty: str


@dataclass(frozen=True)
class Lineage:
    """Where everything came from; what is None or empty is shown as not recorded.

    data_versions: artifact -> git commit; mlflow_runs: step -> run id; packages: name -> version;
    more: anything else worth a line, name -> text; links: pages elsewhere, name -> http(s) address.
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
    links: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Facts:
    """Everything one report can tell. Leave out what the round does not have.

    title, subtitle, created: of the page; created is an ISO time in UTC.
    comparison: `gate.Verdict.to_dict()`; models: the table at a glance.
    class_counts: {label: {split: rows}}.
    token_lengths: tokens of every text *before* cutting; max_length: the cut; cut_rows and
    cut_tokens: as counted when cutting, checked against the lengths if given.
    rejected: {reason: rows}; rejected_examples: [{reason, text, row}]; rows_read: of the raw file.
    leaks: {reason: rows} that are like a test or validation row and so left training;
    arrived_leaks: the same of the latest incoming batch; learned_before: new test rows that earlier
    models have been trained on, or nearly.
    trials, test, rounds, lineage: see their classes; curves: what of each epoch is drawn, the last
    is the metric that is told of a trial.
    task_facts: what only the task's own sections read.
    own_metrics: the workspace's own metrics, {model's name: {metric: value}}.
    answers: of a round of instruction tuning, which has no models, class_counts and test of its
    own; the sections that need classes are then left out.
    uncertainty: one number per unlabelled row; threshold: the least uncertain row asked for;
    strategy: its name in words; quantile: of the uncertainty, below which no row was ranked;
    asked: rows put into the labelling queue, of all kinds; asked_of: the batch they are of.
    forgetting: `forgetting.Matrix.to_dict()`; drift: `drift.Drift.to_dict()` of every batch so far
    with its batch and the champion's number, oldest first.
    delivered_as: {batch: name of the file that it was delivered as}, of the batches known by name.
    error_budget: `error_budget.standing(...)`, None without a budget; estimates: the entries of the
    log of accuracy estimates, oldest first; agreement: `Agreement.to_dict()` of two people's blind
    answers to test rows, with `sentence` and `models`, [{model, share, lower, upper}] of how often
    a model says what a person said on the same rows; next_labels: `learning_curve.Outlook` as
    values.
    pages: file name of the page that lists all reports, beside this one.
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
    error_budget: Mapping[str, Any] | None = None
    estimates: Sequence[Mapping[str, Any]] = ()
    agreement: Mapping[str, Any] | None = None
    next_labels: Mapping[str, Any] | None = None
    dropped_by_own_code: dict[str, int] | None = None
    leaks: Mapping[str, int] | None = None
    arrived_leaks: Mapping[str, int] | None = None
    learned_before: int = 0
    trials: Sequence[Trial] = ()
    curves: Sequence[str] = ("loss", "accuracy")
    task_facts: Mapping[str, Any] | None = None
    own_metrics: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    test: Test | None = None
    answers: Answers | None = None
    uncertainty: Sequence[float] | None = None
    threshold: float | None = None
    strategy: str | None = None
    quantile: float | None = None
    asked: int | None = None
    asked_of: str | None = None
    rounds: Sequence[Round] = ()
    forgetting: Mapping[str, Any] | None = None
    drift: Sequence[Mapping[str, Any]] = ()
    delivered_as: Mapping[str, str] = field(default_factory=dict)
    lineage: Lineage | None = None
    pages: str | None = None

    @classmethod
    def of(cls, facts: "Facts | Mapping[str, Any]") -> "Facts":
        """Take Facts as they are, or nested dicts of the same names; refuse an unknown name."""
        given = vars(facts) if isinstance(facts, cls) else facts
        values = _known(cls, given, "the report's facts")
        for name, kind in (("models", Model), ("trials", Trial), ("rounds", Round)):
            values[name] = [_made(kind, item) for item in values.get(name) or ()]
        for name, kind in (("test", Test), ("lineage", Lineage), ("answers", Answers)):
            if values.get(name) is not None:
                values[name] = _made(kind, values[name])
        if values.get("answers") is not None:
            lines = [_made(AnsweringModel, item) for item in values["answers"].models]
            values["answers"] = replace(values["answers"], models=lines)
        made = cls(**values)
        made.check()
        return made

    def check(self) -> None:
        """Refuse facts that contradict each other."""
        if self.token_lengths is not None and self.max_length is not None:
            lengths = np.asarray(self.token_lengths)
            rows = int((lengths > self.max_length).sum())
            tokens = int(np.clip(lengths - self.max_length, 0, None).sum())
            for name, stated, counted in (
                ("cut_rows", self.cut_rows, rows),
                ("cut_tokens", self.cut_tokens, tokens),
            ):
                if stated is not None and stated != counted:
                    raise DataError(
                        f"the report was given {name}={stated}, but token_lengths with max_length="
                        f"{self.max_length} give {counted}; token_lengths are counted before "
                        "cutting."
                    )
        if self.test is not None:
            sizes = {
                name: len(getattr(self.test, name))
                for name in ("labels", "probabilities", "texts", "ids")
            }
            if len(set(sizes.values())) != 1:
                raise DataError(f"the report's test rows differ in number: {sizes}.")
        if self.answers is not None:
            self._check_answers(metric_info.of(self.answers.measure))

    def _check_answers(self, measure: metric_info.Measure) -> None:
        of_classes = [name for name in ("models", "class_counts", "test") if getattr(self, name)]
        if of_classes:
            raise DataError(f"the report has answers and {', '.join(of_classes)}; a round is "
                            "either of instruction tuning or of classification.")
        if self.comparison and metric_info.measure_of(self.comparison) is not measure:
            raise DataError(f"the report has answers by {measure.name} and a verdict "
                            f"by {metric_info.measure_of(self.comparison).name}; expected one "
                            "measure.")


def measured(entry: Mapping[str, Any], side: str, measure: str) -> float | None:
    """Return the loss or another measure of a side (train, validation) of one epoch, or None.

    An accuracy, perplexity or token accuracy without a side is the one on validation.
    """
    value = entry.get(f"{side}_{measure}")
    if value is None and side == "validation" and measure != "loss":
        return entry.get(measure)
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
