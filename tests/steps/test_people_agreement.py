"""What two people answered stands in the round's record, beside every model, and holds the gate."""

import pytest
import yaml

from ftzard.steps import people_agreement
from ftzard.workspace import double_answers
from tests.steps.test_gate_budget import Decided
from tests.trained import NAME, own, trained  # noqa: F401 - the fixtures

pytestmark = pytest.mark.slow


def test_the_record_says_how_often_people_and_models_agree(own, monkeypatch):  # noqa: F811
    monkeypatch.setenv("FTZARD_WORKSPACE", str(own.root))
    step = Decided(own)
    step.decide()
    assert step.facts.agreement is None and "not known" in people_agreement.show(step.run)
    test = step.run.read("tokenized").query("split == 'test'").head(60)
    names = sorted(test["label"].unique())
    lines = [{"id": row.id, "first_person": "ann", "first": row.label, "second_person": "bob",
              "second": row.label if i % 4 else next(n for n in names if n != row.label)}
             for i, row in enumerate(test.itertuples())]
    assert double_answers.add(own, lines) and double_answers.add(own, lines) is None
    step.decide(error_budget="null")
    told = step.facts.agreement
    assert (told["rows"], told["agreed"]) == (60, 45) and told["share"] < told["ceiling"] < 1
    assert {"challenger", "champion", "base", "TF-IDF"} <= {m["model"] for m in told["models"]}
    record = yaml.safe_load((own.root / f"models/{NAME}/2.yaml").read_text())
    assert record["agreement"]["kappa"] == told["kappa"] == pytest.approx(0.5, abs=0.1)
    metrics = step.run.tracking.client.get_run(step.run.mlflow_run.id).data.metrics
    assert metrics["agreement"] == 0.75 and metrics["accuracy_ceiling"] == told["ceiling"]
    assert 0 < metrics["agreement_challenger"] <= 1
    shown = people_agreement.show(step.run)
    assert shown["who"].tolist()[:2] == ["two people", "challenger and a person"]
