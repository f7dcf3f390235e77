"""What would help where a first model is not good enough to become the champion."""

import math
from dataclasses import replace

import pandas as pd

from ftzard.errors import FtzardError
from ftzard.evaluation.gate import NO_CHAMPION, Verdict
from ftzard.steps import presets
from ftzard.steps.step_run import StepRun


def with_advice(run: StepRun, verdict: Verdict, rows: pd.DataFrame) -> Verdict:
    """Return a verdict with sentences on what would help, if it says that there is no champion yet.

    Args:
        rows: Tokenized rows of all splits.
    """
    if verdict.decision != NO_CHAMPION:
        return verdict
    return replace(verdict, reasons=[
        *verdict.reasons, _more_rows(run, verdict, rows), *_another_base(run)])


def _more_rows(run: StepRun, verdict: Verdict, rows: pd.DataFrame) -> str:
    """Say how many labeled rows would help, as far as that is known."""
    there = f"there are {len(rows):,}"
    if verdict.rows_needed:
        in_all = math.ceil(verdict.rows_needed * len(rows) / verdict.n)
        return (f"What would help: about {in_all:,} labelled rows in all, of which "
                f"{verdict.rows_needed:,} are test rows; {there}.")
    enough = run.task.evaluation.ROWS_FOR_A_BUILT_BASE
    if run.config.model.build is not None and enough and len(rows) < enough:
        return ("What would help: more labelled rows. A base that is built here comes near a count "
                f"of words with about {enough:,}; {there}.")
    return f"What would help: more labelled rows; {there}, which do not tell how many more."


def _another_base(run: StepRun) -> list[str]:
    """Name the presets of pretrained bases that this machine can train."""
    if run.task.evaluation.ROWS_FOR_A_BUILT_BASE is None:
        return []
    other = "a pretrained" if run.config.model.build is not None else "another"
    try:
        fitting = presets.fitting(run.workspace, run.config)
    except FtzardError as error:  # advice is no reason to fail: the verdict stands
        return [f"Which pretrained bases fit this machine could not be reckoned: {error}"]
    if not fitting:
        return [f"What would help: {other} base, but no preset of one fits this machine."]
    named = " or ".join(preset.sentence() for preset in fitting)
    return [f"What would help: {other} base. On this machine {named} "
            f"{'fit' if len(fitting) > 1 else 'fits'}; say it for a run, or in ftzard.yaml."]
