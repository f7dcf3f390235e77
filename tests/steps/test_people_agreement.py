"""What two people answered stands in the round's record, beside every model, and holds the gate."""

import pytest
import yaml

from ftzard.steps import next_labels, people_agreement, status
from ftzard.steps.step_run import start_step
from ftzard.workspace import row_log
from tests.steps.test_gate_budget import Decided
from tests.trained import NAME, own, trained  # noqa: F401 - the fixtures

pytestmark = pytest.mark.slow


def mislabelled(rows):
    """The same rows, of which six test rows have another label."""
    other = dict(zip(names := sorted(rows["label"].unique()), names[::-1], strict=True))
    wrong = rows.index[rows["split"] == "test"][:6]
    return rows.assign(label=rows["label"].where(~rows.index.isin(wrong),
                                                 rows["label"].map(other)))


def test_the_record_says_how_often_people_and_models_agree(own, monkeypatch, capsys):  # noqa: F811
    monkeypatch.setenv("FTZARD_WORKSPACE", str(own.root))
    step = Decided(own)
    step.decide()
    assert step.facts.agreement is None and people_agreement.show(step.run) is None
    assert "not known" in capsys.readouterr().out
    verdict = step.decide(mislabelled, doubtful_labels="true", error_budget="null")
    assert verdict.label_doubt["doubtful"] >= 1 and "doubtful test label" in verdict.reasons[-1]
    metrics = step.run.tracking.client.get_run(step.run.mlflow_run.id).data.metrics
    assert metrics["gate_labels_doubtful"] == verdict.label_doubt["doubtful"]
    off = step.decide(mislabelled, doubtful_labels="false", error_budget="null")
    assert off.label_doubt is None
    test = step.run.read("tokenized").query("split == 'test'").head(60)
    row_log.LABEL_REVIEWS.add(own, [{"id": row_id, "result": "kept", "before": "", "after": "",
                             "reviewed_by": "ann", "reviewed_at": ""} for row_id in test["id"]])
    names = sorted(test["label"].unique())
    lines = [{"id": row.id, "first_person": "ann", "first": row.label, "second_person": "bob",
              "second": row.label if i % 4 else next(n for n in names if n != row.label)}
             for i, row in enumerate(test.itertuples())]
    assert row_log.DOUBLE_ANSWERS.add(own, lines) and row_log.DOUBLE_ANSWERS.add(own, lines) is None
    step.decide(mislabelled, error_budget="null")
    assert step.run.facts["verdict"]["label_doubt"]["doubtful"] == 0
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


def test_the_next_labels_are_predicted_recorded_and_asked_for(own, monkeypatch):  # noqa: F811
    monkeypatch.setenv("FTZARD_WORKSPACE", str(own.root))
    assert next_labels.latest(own, NAME) is None
    step = Decided(own)
    step.decide(error_budget="null")
    run = start_step("evaluation", {
        "overrides": ["gate.error_budget=null", "sampling.budget=auto"],
        "retraining_metadata": {"facts": {"model": NAME, "version": 2}}})
    rows = run.read("tokenized")
    sentence = next_labels.predict(run, step.version, step.evaluation, rows)
    told = next_labels.latest(own, NAME)
    assert told["sentence"] == sentence and "more labels: " in sentence
    assert {p["kind"] for p in told["points"]} == {"model", "TF-IDF"}
    assert run.facts["next_labels"]["labels"] == told["labels"]
    metrics = run.tracking.client.get_run(run.mlflow_run.id).data.metrics
    assert metrics["next_labels_gain"] == told["gain"]
    assert status.gather(own)["next_labels"]["sentence"] == sentence
    assert next_labels.budget(run) == told["labels"]
    run.finish()
    fixed = start_step("evaluation", {
        "overrides": ["sampling.budget=70", "sampling.predict_gain=false"],
        "retraining_metadata": {"facts": {"model": NAME, "version": 2}}})
    assert next_labels.budget(fixed) == 70
    assert "sampling.predict_gain" in next_labels.predict(
        fixed, step.version, step.evaluation, rows)
    fixed.finish()
