"""One challenger, champion and row set spends once of the error budget, in a real workspace."""

import json

import pytest
import yaml

from ftzard.registry import model_records
from ftzard.steps import candidate, gate_budget
from ftzard.steps.evaluation import evaluate_models
from ftzard.steps.report_facts import facts
from ftzard.steps.step_run import start_step
from ftzard.tracking.registry import Version
from tests.trained import NAME, own, trained  # noqa: F401 - the fixtures

pytestmark = pytest.mark.slow


class Decided:
    """Step 8 of a workspace with two versions, by the calls of its notebook."""

    def __init__(self, workspace):
        self.workspace, self.version = workspace, Version(NAME, 2, "", {})

    def decide(self, change=None, **gate):
        self.run = start_step("evaluation", {
            "overrides": [f"gate.{key}={value}" for key, value in gate.items()],
            "retraining_metadata": {"facts": {"model": NAME, "version": 2}}})
        rows = self.run.read("tokenized")
        if change is not None:
            rows = change(rows)
        folder, _ = model_records.version_files(self.workspace, self.version)
        self.evaluation = evaluation = evaluate_models(self.run, rows, folder)
        candidate.apply_verdict(self.run, self.version, evaluation)
        self.facts = facts(self.run, self.version, evaluation, rows)
        self.run.finish()
        return evaluation.verdict

    @property
    def decisions(self) -> list[dict]:
        path = self.workspace.root / f"models/{NAME}/2.yaml"
        return yaml.safe_load(path.read_text()).get("decisions") or []


def reviewed(rows):
    """The same rows, of which a person has found one test row's label wrong."""
    at = rows.index[rows["split"] == "test"][0]
    label = next(v for v in rows["label"].unique() if v != rows["label"][at])
    return rows.assign(label=rows["label"].where(rows.index != at, label))


def test_a_decision_is_made_once_and_a_review_of_labels_is_another(own, monkeypatch):  # noqa: F811
    monkeypatch.setenv("FTZARD_WORKSPACE", str(own.root))
    step = Decided(own)
    first = step.decide()
    assert first.error_budget["round"] == 1
    again = step.decide(resamples=999)  # a forced run, with another setting that would move it
    assert again == first and len(step.decisions) == 1
    assert step.run.facts["decision_on_record"] == step.decisions[0]["decided"]
    after = step.decide(reviewed)
    assert len(step.decisions) == 2
    assert after.error_budget["key"]["rows"] != first.error_budget["key"]["rows"]
    assert after.error_budget["round"] == 1 + first.error_budget["counted"]
    left = gate_budget.standing(own, NAME, own.config().gate)
    assert [line["version"] for line in left["history"]] == [2, 2]
    assert step.facts.error_budget == json.loads(json.dumps(left))
    champion, _ = model_records.version_files(own, Version(NAME, 1, "", {}))
    challenger, _ = model_records.version_files(own, step.version)
    test = step.run.read("tokenized").query("split == 'test'").reset_index(drop=True)
    stored = gate_budget.stored_decision(own, NAME, challenger, champion, test)
    assert stored["reasons"] == first.reasons
    off = step.decide(error_budget="null")
    assert off.error_budget is None and len(step.decisions) == 2
