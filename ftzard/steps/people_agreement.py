"""How often two people agree on the test rows: recorded, shown, and handed to the gate.

Of the rows that were asked of two people (`sampling.overlap`) those of the test side count: audit
rows are drawn by chance, while rows that the model is unsure of are hard for people as well.
"""

from typing import TYPE_CHECKING, Any

import pandas as pd

from ftzard.data.labeling.submissions import HandedIn
from ftzard.evaluation import agreement
from ftzard.evaluation.agreement import LEAST
from ftzard.steps import label_doubt
from ftzard.steps.step_run import StepRun
from ftzard.workspace import row_log

if TYPE_CHECKING:
    from ftzard.tasks.evaluation import Evaluation


def remember(run: StepRun, accepted: HandedIn) -> None:
    """Keep what two people answered to the same rows of what was handed in.

    A review of labels in doubt is none: its rows were chosen because people may differ on them.
    """
    if run.task.labeling.FREE_TEXT:
        return
    by_chance = accepted.twice[~accepted.twice["id"].isin(label_doubt.asked(run.workspace))]
    path = row_log.DOUBLE_ANSWERS.add(run.workspace, by_chance.to_dict("records"))
    if path is not None:
        run.add_artifact("double_answers", path)


def of_rows(run: StepRun, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the first two people's answers to each of some rows: columns id, first and second."""
    known = pd.DataFrame(row_log.DOUBLE_ANSWERS.entries(run.workspace),
                         columns=["id", "first", "second"])
    return known[known["id"].isin(rows["id"])].drop_duplicates("id").reset_index(drop=True)


def differ(run: StepRun, rows: pd.DataFrame) -> dict[str, bool]:
    """Return, of rows that two people answered blind, whether they differ."""
    answers = of_rows(run, rows)
    return dict(zip(answers["id"], answers["first"] != answers["second"], strict=True))


def record(run: StepRun, evaluation: "Evaluation") -> dict[str, Any] | None:
    """Return the agreement on the test rows, recorded and logged; None where it is not known.

    It has the values of `Agreement`, its `sentence`, and under `models` how often each model says
    what a person said, on the same rows.
    """
    with_people, limits = getattr(evaluation, "with_people", None), run.config.gate
    answers = of_rows(run, evaluation.rows)
    if with_people is None or len(answers) < LEAST:
        return None
    measured = agreement.of_pairs(
        list(zip(answers["first"], answers["second"], strict=True)), evaluation.meta["labels"],
        confidence=limits.confidence, resamples=limits.resamples, seed=run.config.seed)
    assert measured is not None
    entry = {**measured.to_dict(), "sentence": measured.sentence, "models": with_people(answers)}
    run.log(**measured.flat(), **{f"agreement_{line['model']}": line["share"]
                               for line in entry["models"]
                               if line["model"] in ("challenger", "champion")})
    run.record_facts(agreement=entry)
    return entry


def show(run: StepRun) -> pd.DataFrame | None:
    """Print how often people agree and return the table of people and models, for the notebook."""
    entry = run.facts.get("agreement")
    if entry is None:
        print(f"How often people agree is not known: fewer than {LEAST} test rows were answered "
              "blind by two people (sampling.overlap).")
        return None
    print(entry["sentence"])
    lines = [{"who": "two people", "agree": entry["share"], "lower": entry["lower"],
              "upper": entry["upper"]},
             *({"who": f"{line['model']} and a person", "agree": line["share"],
                "lower": line["lower"], "upper": line["upper"]} for line in entry["models"]),
             *({"who": f"two people, where one says {line['label']}", "agree": line["share"]}
               for line in entry["per_class"])]
    return pd.DataFrame(lines).round(3)


