"""Two multi-label classifiers on the same rows: scores with intervals, and where they differ.

Both have answered each row, so their scores move together: the intervals come from one paired
bootstrap of the rows.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ftzard.config.schema import Config
from ftzard.core import custom_functions
from ftzard.evaluation.metric_info import SAMPLES_F1
from ftzard.modeling.adapter_meta import read_meta
from ftzard.tasks.classification.checks import same_labels
from ftzard.tasks.comparison import (
    ClassifierComparison,
    ComparedModel,
    Line,
    interval,
    predicted_logits,
)
from ftzard.tasks.multi_label import label_sets
from ftzard.tasks.multi_label.metrics import multi_label_metrics, row_f1, set_scores
from ftzard.tasks.multi_label.predictor import Answered
from ftzard.tasks.multi_label.thresholds import DEFAULT, sigmoid

#: Scores with an interval.
SCORES = {"samples_f1": "F1 per row", "micro_f1": "micro F1", "macro_f1": "macro F1",
          "subset_accuracy": "exactly right"}


@dataclass(frozen=True, kw_only=True)
class LabelSetComparison(ClassifierComparison):
    """Two multi-label classifiers on the same rows."""

    disagreement_columns = ("text", "true labels")

    def measures(self) -> dict:
        """Return what is measured of label sets, as plain values."""
        return {"first": self.first, "second": self.second}

    def better(self) -> str:
        """Return in sentences whether one is better."""
        gap = self.scores[SAMPLES_F1.name]["difference"]
        words = (f"On {self.n:,} rows {self.names[1]} against {self.names[0]}: a difference of "
                 f"{100 * gap['value']:+.1f} points of F1 per row ({100 * self.confidence:g} % "
                 f"interval {100 * gap['lower']:+.1f} to {100 * gap['upper']:+.1f}).").replace(
                     "-", "−")
        if not gap["lower"] <= 0 <= gap["upper"]:
            return f"{words} {self.names[gap['lower'] > 0]} is better."
        return f"{words} No difference is shown."

    def score_lines(self) -> list[Line]:
        """Return (score, of the first, of the second, difference) as texts."""
        return self.lines_of(SCORES, SAMPLES_F1, {"loss": "loss"})

    def disagreement_lines(self, most: int) -> list[Line]:
        """Return (text, true labels, what the first says, what the second says) as texts."""
        return [(row["text"], row["label"], *(
            row[side] + (" ✓" if row["right"] == side else "") for side in ("first", "second")))
            for row in self.disagreements.head(most).to_dict("records")]

    def disagreements_summary(self) -> str:
        """Return in a sentence on how many rows they disagree, and which come first."""
        return (f"They disagree on {len(self.disagreements):,} rows; those on which one is better "
                "by most come first")


def compare(models: Sequence[ComparedModel], rows: pd.DataFrame, described: dict, *,
            asked: tuple[str, str], config: Config, caveat: str,
            own_metrics: Mapping[str, Mapping], say: Callable[[str], object]
            ) -> LabelSetComparison:
    """Compare two models on rows (id, batch, text, label), each in its own process."""
    classes = list(models[0].labels)
    same_labels(sorted(models[1].labels), sorted(classes), whose=models[1].name,
                others=models[0].name)
    logits, speeds = predicted_logits(models, rows, config.threads, say)
    answers = []
    for model, scores in zip(models, logits, strict=True):
        thresholds = (np.full(len(classes), DEFAULT) if model.adapter is None
                      else np.array(read_meta(model.adapter)["thresholds"]))
        order = [list(model.labels).index(label) for label in classes]
        chances = sigmoid(scores)
        answers.append(Answered(chances[:, order], (chances >= thresholds)[:, order]))
    return compared(rows, *answers, classes, names=(models[0].name, models[1].name), asked=asked,
                    described=described, speeds=speeds, config=config, caveat=caveat,
                    own_metrics=own_metrics)


def compared(rows: pd.DataFrame, first: Answered, second: Answered, classes: Sequence[str], *,
             config: Config, described: dict, own_metrics: Mapping[str, Mapping], **of_both
             ) -> LabelSetComparison:
    """Return the comparison of two models' answers to the same rows (id, batch, text, label)."""
    labels, limits = rows["label"].tolist(), config.gate
    sides = {"first": first, "second": second}
    metrics = {side: multi_label_metrics(labels, answers.chosen, answers.probabilities, classes)
               for side, answers in sides.items()}
    given = {side: label_sets.from_indicators(answers.chosen, classes)
             for side, answers in sides.items()}
    own = {side: custom_functions.measured(
        own_metrics, rows["label"], given[side],
        pd.DataFrame(answers.probabilities, columns=list(classes)))
        for side, answers in sides.items()}
    return LabelSetComparison(
        rows=described, confidence=limits.confidence, n=len(rows), **metrics,
        scores=_paired_scores(labels, first.chosen, second.chosen, classes, seed=config.seed,
                              confidence=limits.confidence, resamples=limits.resamples),
        disagreements=_disagreements(rows, given, classes),
        own={name: {side: own[side][name] for side in sides} for name in own_metrics}, **of_both)


def _paired_scores(labels: Sequence[str], first: np.ndarray, second: np.ndarray,
                   classes: Sequence[str], *, seed: int, confidence: float, resamples: int) -> dict:
    """Return each of SCORES of both models and of their difference, with its interval."""
    targets, draw = label_sets.indicators(labels, classes), np.random.default_rng(seed)
    names = list(SCORES)
    exact = np.array([[set_scores(targets, chosen)[name] for name in names]
                      for chosen in (first, second)])
    drawn = np.empty((resamples, 2, len(names)))
    for i in range(resamples):
        rows = draw.integers(0, len(targets), len(targets))
        for j, chosen in enumerate((first, second)):
            scores = set_scores(targets[rows], chosen[rows])
            drawn[i, j] = [scores[name] for name in names]

    return {name: {
        "first": interval(exact[0, k], drawn[:, 0, k], confidence),
        "second": interval(exact[1, k], drawn[:, 1, k], confidence),
        "difference": interval(exact[1, k] - exact[0, k], drawn[:, 1, k] - drawn[:, 0, k],
                               confidence)}
        for k, name in enumerate(names)}


def _disagreements(rows: pd.DataFrame, given: Mapping[str, Sequence[str]], classes: Sequence[str]
                   ) -> pd.DataFrame:
    """Return the rows with other labels by the two, those with the largest gap of F1 first."""
    targets = label_sets.indicators(rows["label"].tolist(), classes)
    one, two = (row_f1(targets, label_sets.indicators(given[side], classes))
                for side in ("first", "second"))
    differing = rows[["id", "batch", "text", "label"]].reset_index(drop=True).assign(
        **given, first_f1=one, second_f1=two,
        right=np.select([one > two, two > one], ["first", "second"], "neither"))
    differing = differing[differing["first"] != differing["second"]]
    gap = (differing["first_f1"] - differing["second_f1"]).abs()
    return differing.iloc[np.argsort(-gap, kind="stable")].reset_index(drop=True)
