"""The temperature of a model's confidence: fitted on validation rows, before it is registered.

It is fitted once. The registered version, its record and its evaluation all have this number.
"""

from typing import TYPE_CHECKING, Any

import pandas as pd

from ftzard.steps.step_run import StepRun

if TYPE_CHECKING:
    from ftzard.tasks.parts import Predictor

FACT = "temperature"


def fit(run: StepRun, predictor: "Predictor", rows: pd.DataFrame) -> float | None:
    """Fit the temperature of a model and keep it for this step and the one after it.

    Args:
        rows: Tokenized validation rows with their labels.

    Returns:
        None for a task whose confidence is not calibrated.

    Raises:
        DataError: If there are no rows.
    """
    value = run.task.model.calibrate(predictor, rows)
    if value is not None:
        run.record_facts(**{FACT: {"temperature": value, "validation_rows": len(rows)}})
    return value


def known(run: StepRun) -> dict[str, Any] | None:
    """Return {temperature, validation_rows} of the model in hand: fitted by this step or by the one
    that made it. None if neither did."""
    return run.facts.get(FACT) or (run.metadata.get("facts") or {}).get(FACT)
