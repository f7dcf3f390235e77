"""Labels in doubt: probabilities of models that have not learned from the rows they judge."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ftzard.evaluation import gate, label_doubt
from ftzard.evaluation.gate import Verdict
from ftzard.evaluation.intervals import class_indices
from ftzard.evaluation.label_doubt import Robustness
from ftzard.evaluation.paired import Predicted
from ftzard.tasks.classification.baselines import TfidfBaseline

if TYPE_CHECKING:
    from ftzard.tasks.classification.evaluation import LabelEvaluation


def suspects(rows: pd.DataFrame, classes: Sequence[str], seed: int) -> pd.DataFrame:
    """Return the rows whose labels are probably wrong, the most doubtful first.

    Rows of training and validation are judged by TF-IDF with logistic regression, fitted on the
    other folds of them; test rows by the same fitted on all training and validation rows. It shares
    neither weights nor habits with the models that the gate compares.

    Args:
        rows: id, text, label and split of all rows.
        classes: Label names.
        seed: Of the folds.

    Returns:
        The rows with `quality`: from 0 (in doubt) to 1.
    """
    test = rows["split"].to_numpy() == "test"
    learned, tested = rows[~test], rows[test]
    doubted = []
    for part, chances in ((learned, out_of_fold(learned["text"], learned["label"], classes, seed)),
                          (tested, by_other_rows(learned, tested["text"], classes, seed))):
        if chances is None or part.empty:
            continue
        labels = class_indices(part["label"].tolist(), classes)
        doubtful = label_doubt.in_doubt(labels, chances)
        doubted.append(part.iloc[doubtful].assign(
            quality=label_doubt.quality(labels, chances)[doubtful]))
    if not doubted:
        return rows.head(0).assign(quality=pd.Series(dtype="float64"))
    return pd.concat(doubted).sort_values("quality", kind="stable").reset_index(drop=True)


def robustness(evaluation: "LabelEvaluation", verdict: Verdict) -> Robustness:
    """Return how many doubtful test labels have to be wrong for another verdict than this.

    They are found by the TF-IDF baseline, which learned the training rows alone; a label that a
    person has reviewed is in doubt no more.
    """
    rows, classes = evaluation.rows, list(evaluation.classes)
    labels = class_indices(rows["label"].tolist(), classes)
    names = np.array(classes)
    chosen = {role: evaluation.answers[role].argmax(axis=1) for role in evaluation.answers}
    reviewed = rows["id"].isin(list(evaluation.reviewed)).to_numpy()
    doubtful = [place for place in label_doubt.in_doubt(labels, evaluation.answers["TF-IDF"])
                if not reviewed[place]]
    ids, limits = rows["id"].to_numpy(), evaluation.config.gate

    def answers(role: str, given: np.ndarray) -> dict[str, Predicted]:
        return {batch: Predicted(ids[part], names[given[part]], names[chosen[role][part]])
                for batch, part in rows.groupby("batch", sort=False).indices.items()}

    def promoted(given: np.ndarray) -> bool:
        judged = gate.judge(
            answers("challenger", given), answers("champion", given), limits, classes=classes,
            seed=evaluation.config.seed, allowance=evaluation.allowance, differ=evaluation.differ,
            baselines={name: answers(name, given) for name in ("TF-IDF", "majority")
                       if limits.baseline_veto})
        return bool(judged.promoted)

    return label_doubt.fewest_wrong(
        promoted, labels, chosen["challenger"], chosen["champion"],
        pd.factorize(rows["batch"])[0], doubtful, len(classes),
        vetoed=any(part["veto"] for part in (*verdict.per_class, *verdict.per_test_set)))


def by_other_rows(rows: pd.DataFrame, texts: pd.Series, classes: Sequence[str], seed: int
             ) -> np.ndarray | None:
    """Return probabilities of texts by TF-IDF of other rows, None if these have one class."""
    if rows["label"].nunique() < 2:
        return None
    return TfidfBaseline.fit(rows["text"].tolist(), rows["label"].tolist(), classes, seed
                             ).probabilities(texts.tolist())


def out_of_fold(texts: pd.Series, labels: pd.Series, classes: Sequence[str], seed: int
                ) -> np.ndarray | None:
    """Return each row's probabilities by a model of the other folds, None for too few rows."""
    from sklearn.model_selection import StratifiedKFold

    fewest = labels.value_counts().min() if len(labels) else 0
    folds = min(label_doubt.FOLDS, int(fewest))
    if len(labels) < label_doubt.LEAST_ROWS or folds < 2 or labels.nunique() < 2:
        return None
    chances = np.zeros((len(labels), len(classes)))
    splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
    for fit, judge in splitter.split(np.zeros(len(labels)), labels):
        model = TfidfBaseline.fit(texts.iloc[fit].tolist(), labels.iloc[fit].tolist(), classes,
                                  seed)
        chances[judge] = model.probabilities(texts.iloc[judge].tolist())
    return chances
