"""Two classifiers on the same rows: scores with intervals, what differs, where they disagree.

Both have answered each row, so their scores move together: the intervals come from one paired
bootstrap of the rows, in which a resample is a multinomial draw of how often each combination of
(true label, first answer, second answer) occurs. A single accuracy has Wilson's interval, as
everywhere in FTzard.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ftzard.config.schema import Config
from ftzard.core import custom_functions
from ftzard.errors import DataError
from ftzard.evaluation.intervals import class_indices, wilson_interval
from ftzard.evaluation.metric_info import ACCURACY
from ftzard.evaluation.paired import mcnemar
from ftzard.tasks.classification import asked as asked_about
from ftzard.tasks.classification.calibration import scaled
from ftzard.tasks.classification.metrics import classification_metrics, filled_bins
from ftzard.tasks.comparison import (
    ClassifierComparison,
    ComparedModel,
    Line,
    interval,
    predicted_logits,
)

if TYPE_CHECKING:
    from ftzard.reporting.confusion import Tested
    from ftzard.reporting.html import Markup

#: Scores with an interval: they follow from the counts of answers alone.
SCORES = {"accuracy": "accuracy", "balanced_accuracy": "balanced accuracy", "macro_f1": "macro F1"}


@dataclass(frozen=True, kw_only=True)
class LabelComparison(ClassifierComparison):
    """Two classifiers on the same rows.

    Attributes:
        agreed: Rows with the same answer.
        only_first, only_second: Rows that one alone got right.
        mcnemar_p: Of these two (exact, two-sided).
        class_differences: {label: {value, lower, upper}} of recall, second minus first.
        tested: What either answered to each row.
        apart: Of labels that one of them does not know, whose rows are not compared, [{label, n,
            unknown_to, right_of_other}].
    """

    agreed: int
    only_first: int
    only_second: int
    mcnemar_p: float
    class_differences: dict[str, dict[str, float]]
    tested: "tuple[Tested, Tested]"
    apart: tuple[dict, ...] = ()

    disagreement_columns = ("text", "true label")

    def measures(self) -> dict:
        """Return what is measured of labels, as plain values."""
        return {**{name: getattr(self, name) for name in (
            "first", "second", "agreed", "only_first", "only_second", "mcnemar_p",
            "class_differences")},
            **({"apart": list(self.apart)} if self.apart else {})}

    def better(self) -> str:
        """Return in sentences whether one is more accurate."""
        gap = self.scores["accuracy"]["difference"]
        words = (f"On {self.n:,} rows {self.names[1]} against {self.names[0]}: a difference of "
                 f"{100 * gap['value']:+.1f} points ({100 * self.confidence:g} % interval "
                 f"{100 * gap['lower']:+.1f} to {100 * gap['upper']:+.1f}).").replace("-", "−")
        sure = self.mcnemar_p < 1 - self.confidence
        sentence = (f"{self.names[gap['lower'] > 0]} is better."
                    if sure and not gap["lower"] <= 0 <= gap["upper"]
                    else "No difference is shown.")
        return " ".join([words, sentence, *(
            f"{one['unknown_to']} does not know '{one['label']}': its {one['n']:,} rows are left "
            f"out, of which the other is right on {one['right_of_other']:,}."
            for one in self.apart)])

    def score_lines(self) -> list[Line]:
        """Return (score, of the first, of the second, difference) as texts."""
        return self.lines_of(SCORES, ACCURACY, {"loss": "loss", "ece": "calibration error"})

    def sections(self) -> "list[tuple[str, list[Markup]]]":
        """Return the differences by class, the confusion matrices and the calibration."""
        from ftzard.tasks.classification import comparison_sections

        return comparison_sections.sections(self)

    def bins(self, tested: "Tested") -> list[dict]:
        """Return the filled bins of a model's confidence, as `metrics.reliability` has them."""
        return filled_bins(tested.confidence, tested.predicted == tested.true)

    def disagreement_lines(self, most: int) -> list[Line]:
        """Return (text, true label, what the first says, what the second says) as texts."""
        return [(row["text"], row["label"], *(
            f"{row[side]} {row[f'{side}_confidence']:.2f}" + (" ✓" if row["right"] == side else "")
            for side in ("first", "second")))
            for row in self.disagreements.head(most).to_dict("records")]

    def disagreements_summary(self) -> str:
        """Return in a sentence on how many rows they disagree."""
        first, second = self.names
        return (f"They disagree on {len(self.disagreements):,} rows: {first} alone is right on "
                f"{self.only_first:,}, {second} alone on {self.only_second:,}; those both are "
                "surest of come first")


def compare(models: Sequence[ComparedModel], rows: pd.DataFrame, described: dict, *,
            asked: tuple[str, str], config: Config, caveat: str,
            own_metrics: Mapping[str, Mapping], say: Callable[[str], object]) -> LabelComparison:
    """Compare two classifiers on rows (id, batch, text, label), each in its own process.

    Rows of a label that one of them does not know are answered, and counted apart.
    """
    classes = list(dict.fromkeys([*models[0].labels, *models[1].labels]))
    mask = asked_about.mask(rows, classes)
    logits, speeds = predicted_logits(models, rows, config.threads, say)
    first, second = (
        scaled(asked_about.among(_placed(values, model.labels, classes), mask), 1.0)
        for model, values in zip(models, logits, strict=True))
    shared = rows["label"].isin({*models[0].labels} & {*models[1].labels}).to_numpy()
    if not shared.any():
        raise DataError(f"no row has a label that both {models[0].name} and {models[1].name} know; "
                        "expected some to compare them on.")
    apart = tuple(
        _apart(label, rows["label"].to_numpy() == label, models, (first, second), classes)
        for label in sorted(set(rows["label"][~shared])))
    return compared(rows[shared].reset_index(drop=True), first[shared], second[shared], classes,
                    names=(models[0].name, models[1].name), asked=asked, described=described,
                    speeds=speeds, config=config, caveat=caveat, own_metrics=own_metrics,
                    apart=apart)


def _placed(logits: np.ndarray, labels: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    """Return logits in the order of the classes, minus infinity for those without a label."""
    placed = np.full((len(logits), len(classes)), -np.inf, dtype=np.float64)
    placed[:, [classes.index(label) for label in labels]] = logits
    return placed


def _apart(label: str, where: np.ndarray, models: Sequence[ComparedModel],
           probabilities: Sequence[np.ndarray], classes: Sequence[str]) -> dict:
    """Return on how many rows of a label the model is right that knows it."""
    unknown = next(i for i, model in enumerate(models) if label not in model.labels)
    guess = np.asarray(classes)[probabilities[1 - unknown][where].argmax(axis=1)]
    return {"label": label, "n": int(where.sum()), "unknown_to": models[unknown].name,
            "right_of_other": int((guess == label).sum())}


def compared(rows: pd.DataFrame, first: np.ndarray, second: np.ndarray, classes: Sequence[str], *,
             config: Config, described: dict, own_metrics: Mapping[str, Mapping], **of_both
             ) -> LabelComparison:
    """Return the comparison of two models' probabilities (rows, classes) of the same rows.

    rows: id, batch, text, label. Raises DataError as `classification_metrics` does.
    """
    labels, limits = rows["label"].tolist(), config.gate
    apart = disagreements(rows["text"].tolist(), labels, first, second, classes)
    where = rows[["id", "batch"]].iloc[apart["row"]].reset_index(drop=True)
    own = [custom_functions.measured(
        own_metrics, rows["label"], [classes[i] for i in p.argmax(axis=1)],
        pd.DataFrame(p, columns=list(classes))) for p in (first, second)]
    return LabelComparison(
        rows=described, confidence=limits.confidence,
        disagreements=pd.concat([where, apart.drop(columns="row")], axis=1),
        own={name: {"first": own[0][name], "second": own[1][name]} for name in own_metrics},
        tested=tuple(answered(rows, p, classes) for p in (first, second)),
        **paired_scores(labels, first, second, classes, seed=config.seed,
                        confidence=limits.confidence, resamples=limits.resamples), **of_both)


def answered(rows: pd.DataFrame, probabilities: np.ndarray, classes: Sequence[str]) -> "Tested":
    """Return what a model answered to rows (id, text, label), for the page."""
    from ftzard.reporting.confusion import Tested

    return Tested(classes, class_indices(rows["label"].tolist(), classes),
                  probabilities.argmax(axis=1), probabilities.max(axis=1), rows["text"].tolist(),
                  rows["id"].tolist())


def paired_scores(
    labels: Sequence[str],
    first: np.ndarray,
    second: np.ndarray,
    classes: Sequence[str],
    *,
    seed: int,
    confidence: float = 0.95,
    resamples: int = 2000,
) -> dict:
    """Return what is measured of two models' probabilities of the same rows.

    labels: n true label names; first, second: (n, k) probabilities, columns in the order of
    `classes`. The result holds scores, n, first, second, agreed, only_first, only_second,
    mcnemar_p and class_differences, as `LabelComparison` has them. Raises DataError as
    `classification_metrics` does.
    """
    one, two = (classification_metrics(labels, p, classes) for p in (first, second))
    true = class_indices(labels, classes)
    answers = np.asarray(first).argmax(axis=1), np.asarray(second).argmax(axis=1)
    k, n = len(classes), len(true)
    cells, counts = np.unique((true * k + answers[0]) * k + answers[1], return_counts=True)
    draws = np.random.default_rng(seed).multinomial(n, counts / n, size=resamples)
    drawn = [_scores(draws, cells // (k * k), cells // k % k if i == 0 else cells % k, k)
             for i in (0, 1)]
    ends = partial(interval, confidence=confidence)
    right = [guess == true for guess in answers]
    scores = {name: {
        "first": ends(one[name], drawn[0][name]),
        "second": ends(two[name], drawn[1][name]),
        "difference": ends(two[name] - one[name], drawn[1][name] - drawn[0][name]),
    } for name in SCORES}
    for i, side in enumerate(("first", "second")):  # a bootstrap of rows all right knows no doubt
        lower, upper = wilson_interval(int(right[i].sum()), n, confidence)
        scores["accuracy"][side] |= {"lower": lower, "upper": upper}
    only = [int((right[i] & ~right[1 - i]).sum()) for i in (0, 1)]
    return {
        "scores": scores, "first": one, "second": two, "n": n,
        "agreed": int((answers[0] == answers[1]).sum()), "only_first": only[0],
        "only_second": only[1], "mcnemar_p": mcnemar(*only),
        "class_differences": {str(label): ends(
            two["per_class"][str(label)]["recall"] - one["per_class"][str(label)]["recall"],
            drawn[1]["recall"][:, i] - drawn[0]["recall"][:, i])
            for i, label in enumerate(classes)}}


def disagreements(
    texts: Sequence[str],
    labels: Sequence[str],
    first: np.ndarray,
    second: np.ndarray,
    classes: Sequence[str],
) -> pd.DataFrame:
    """Return the rows that two models answer differently, those both are surest of first.

    Columns: row (number among the given rows), text, label, first, second (label names),
    first_confidence, second_confidence, right ('first', 'second' or 'neither').
    """
    first, second, names = np.asarray(first), np.asarray(second), np.asarray(classes).astype(str)
    if not len(texts) == len(labels) == len(first) == len(second):
        raise DataError(
            f"{len(texts)} texts, {len(labels)} labels, {len(first)} and {len(second)} answers; "
            "expected one of each per row.")
    chosen = names[first.argmax(axis=1)], names[second.argmax(axis=1)]
    table = pd.DataFrame({
        "row": np.arange(len(texts)), "text": list(texts), "label": list(labels),
        "first": chosen[0], "second": chosen[1],
        "first_confidence": first.max(axis=1), "second_confidence": second.max(axis=1)})
    table["right"] = np.select([table["first"] == table["label"],
                                table["second"] == table["label"]], ["first", "second"], "neither")
    table = table[table["first"] != table["second"]]
    surest = -np.minimum(table["first_confidence"], table["second_confidence"])
    return table.iloc[np.argsort(surest, kind="stable")].reset_index(drop=True)


def _scores(draws: np.ndarray, true: np.ndarray, guess: np.ndarray, k: int) -> dict:
    """Return each score of each resample, from how often each cell was drawn.

    draws: (resamples, cells); true, guess: the class of each cell. What has a denominator of zero
    counts as `classification_metrics` has it.
    """
    hits = _sums(draws[:, true == guess], true[true == guess], k)
    support, predicted = _sums(draws, true, k), _sums(draws, guess, k)
    recall = np.divide(hits, support, out=np.zeros(hits.shape), where=support > 0)
    seen, there = support + predicted, support > 0
    f1 = np.divide(2 * hits, seen, out=np.zeros(hits.shape), where=seen > 0)
    return {
        "accuracy": hits.sum(axis=1) / support.sum(axis=1),
        "balanced_accuracy": (recall * there).sum(axis=1) / there.sum(axis=1),
        "macro_f1": f1.sum(axis=1) / (seen > 0).sum(axis=1),
        "recall": recall,
    }


def _sums(draws: np.ndarray, classes: np.ndarray, k: int) -> np.ndarray:
    """Return (resamples, k): the draws of the cells of each class, added up."""
    return np.stack([draws[:, classes == c].sum(axis=1) for c in range(k)], axis=1).astype(float)
