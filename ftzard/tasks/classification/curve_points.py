"""Points of the learning curve: the cheap baseline, fitted on nested parts of the training rows."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ftzard.evaluation.intervals import class_indices
from ftzard.evaluation.learning_curve import Point
from ftzard.tasks.classification.baselines import TfidfBaseline

#: Shares of the training rows; all of them together cost less than a second fit of all.
SHARES = (0.125, 0.25, 0.5, 1.0)
#: Rows below which a part says nothing.
LEAST = 20


def of_parts(train: pd.DataFrame, test: pd.DataFrame, classes: Sequence[str], seed: int
             ) -> list[Point]:
    """Return TF-IDF on nested parts of the training rows, drawn by chance, each on all test rows.

    Args:
        train: Training rows: text and label.
        test: Test rows: text and label.
        classes: Label names.
        seed: Of the draw.
    """
    order = np.random.default_rng(seed).permutation(len(train))
    truth, points = class_indices(test["label"].tolist(), classes), []
    for share in SHARES:
        part = train.iloc[order[:int(share * len(train))]]
        if len(part) < LEAST or part["label"].nunique() < 2:
            continue
        model = TfidfBaseline.fit(part["text"].tolist(), part["label"].tolist(), classes, seed)
        chosen = model.probabilities(test["text"].tolist()).argmax(axis=1)
        points.append(Point(len(part), chosen == truth))
    return points
