"""The temperature of a model's confidence: fitted on validation rows, before it is registered.

It is fitted once. The registered version, its record and its evaluation all have this number.
"""

import pandas as pd

from ftzard.steps.step_run import StepRun
from ftzard.tasks.classification import calibration
from ftzard.tasks.classification.predictor import Classifier

FACT = "temperature"


def fit(run: StepRun, classifier: Classifier, rows: pd.DataFrame) -> float:
    """Fit the temperature of a classifier and keep it for this step and the one after it.

    rows: tokenized validation rows with their labels. Raises DataError if there are none.
    """
    value = calibration.fit_temperature(
        rows["label"], classifier.logits(rows["input_ids"].tolist()), classifier.labels)
    run.record_facts(**{FACT: {"temperature": value, "validation_rows": len(rows)}})
    return value


def known(run: StepRun) -> dict | None:
    """Return {temperature, validation_rows} of the model in hand: fitted by this step or by the one
    that made it. None if neither did."""
    return run.facts.get(FACT) or (run.metadata.get("facts") or {}).get(FACT)
