"""An evaluation measures every version on the same rows, and knows what it has answered before."""

import json
import re
import shutil

import numpy as np
import pytest
import yaml

from ftzard.data import storage
from ftzard.registry import model_records
from ftzard.reporting.standings import Standings
from ftzard.steps import candidate, version_scores
from ftzard.steps.evaluation import evaluate_models
from ftzard.steps.step_run import start_step
from ftzard.tracking.registry import Version
from ftzard.workspace.workspace import Workspace
from tests.trained import NAME, move_store, own, trained  # noqa: F401 - the fixtures
from tests.trained_to_answer import NAME as ANSWERS
from tests.trained_to_answer import answering  # noqa: F401 - the fixture

pytestmark = pytest.mark.slow
SETS, LARGE = 10, 6


class Step8:
    """Step 8 of a workspace with two versions, by the calls of its notebook."""

    def __init__(self, workspace: Workspace, name: str):
        self.workspace, self.version = workspace, Version(name, 2, "", {})
        rows = storage.read_parquet(workspace.root / workspace.config().paths.tokenized)
        places = np.cumsum(rows["split"] == "test") - 1
        self.rows = rows.assign(batch=[
            f"set {place % SETS}" if side == "test" else batch
            for place, side, batch in zip(places, rows["split"], rows["batch"], strict=True)])

    def of(self, sets: int):
        """Return what comes of an evaluation on the first so many test sets."""
        kept = [f"set {number}" for number in range(sets)]
        rows = self.rows[(self.rows["split"] != "test") | self.rows["batch"].isin(kept)]
        self.run = start_step("evaluation", {"overrides": [], "retraining_metadata": {
            "facts": {"model": self.version.name, "version": self.version.number}}})
        folder, _ = model_records.version_files(self.workspace, self.version)
        return evaluate_models(self.run, rows.reset_index(drop=True), folder)

    def forget(self) -> None:
        shutil.rmtree(self.workspace.cache / "answers")

    def record(self, number: int) -> dict:
        path = self.workspace.root / f"models/{self.version.name}/{number}.yaml"
        return yaml.safe_load(path.read_text())


@pytest.fixture
def evaluation(own, monkeypatch):  # noqa: F811
    monkeypatch.setenv("FTZARD_WORKSPACE", str(own.root))
    done = Step8(own, NAME)
    yield done
    done.run.finish()


def bits(found) -> dict[str, bytes]:
    return {role: chances.tobytes() for role, chances in found.answers.items()}


def test_what_was_answered_before_is_known_to_the_last_bit(evaluation):
    evaluation.of(SETS - 1)
    evaluation.run.finish()
    again = evaluation.of(SETS)
    told, rows = dict(evaluation.run.facts), len(again.rows)
    # The challenger answers all; champion and base the new set, and one that is known once more.
    assert told["rows_answered"] == rows + 2 * 2 * LARGE
    assert told["answers_known"] == 2 * (rows - LARGE)
    evaluation.run.finish()
    evaluation.forget()
    anew = evaluation.of(SETS)
    assert evaluation.run.facts["answers_known"] == 0 and bits(anew) == bits(again)
    assert again.verdict == anew.verdict


def test_answers_that_do_not_come_out_again_are_not_used(evaluation):
    first = evaluation.of(SETS)
    evaluation.run.finish()
    folder = evaluation.workspace.cache / "answers"
    places = sorted(folder.iterdir())
    told = {place.name: {file.name: file.read_bytes() for file in place.iterdir()}
            for place in places}
    for place in places:  # each model is told another's answers, under checksums that hold
        other = told[places[places.index(place) - 1].name]
        for name, content in other.items():
            (place / name).write_bytes(content)
    assert bits(evaluation.of(SETS)) == bits(first)
    assert evaluation.run.facts["answers_known"] == 0


def test_every_version_is_measured_on_the_same_rows_and_every_page_shows_that(
        evaluation, ftzard, capsys):
    found = evaluation.of(SETS)
    candidate.apply_verdict(evaluation.run, evaluation.version, found)
    capsys.readouterr()
    table = Standings.of([evaluation.record(1), evaluation.record(2)])
    assert set(table.scores) == {1, 2} and table.n == len(found.rows)
    right = found.rows["label"].to_numpy()
    for number, role in ((1, "champion"), (2, "challenger")):
        said = np.array(found.classes)[found.answers[role].argmax(axis=1)]
        assert table.line(number)["accuracy"] == (said == right).mean()
    at = ("-w", evaluation.workspace.root)
    shown = json.loads(ftzard("status", "--json", *at)[1])
    lines = {line["version"]: line for line in
             json.loads(ftzard("models", "list", NAME, "--json", *at)[1])}
    for role, number in (("champion", 1), ("challenger", 2)):
        for told in (shown[role]["metrics"], lines[number]):
            assert told["accuracy"] == table.line(number)["accuracy"]
        assert shown[role]["measured_on"] == lines[number]["measured_on"] == table.rows
    code, said = ftzard("models", "show", "champion", *at)
    tree = " ".join(said.split())
    assert code == 0 and "challenger:" not in tree
    for number in (1, 2):
        assert f"{NAME}@{number}: {table.line(number)['accuracy']:.1%}" in tree


def test_a_version_whose_adapter_is_not_here_stands_apart(evaluation, ftzard):
    entry = evaluation.record(1)
    path = evaluation.workspace.root / f"models/{NAME}/3.yaml"
    path.write_text(yaml.safe_dump({**entry, "version": 3, "verdict": {
        "decision": "refuse", "reasons": ["So it was measured."], "promoted": False}}))
    found = evaluation.of(2)
    candidate.apply_verdict(evaluation.run, evaluation.version, found)
    assert found.apart == {3: version_scores.NO_ADAPTER}
    told = evaluation.record(2)["same_rows"]
    assert set(told["scores"]) == {"1", "2"} and set(told["apart"]) == {"3"}
    page = evaluation.workspace.root / "reports/index.html"
    from ftzard.steps import report_facts

    report_facts.write_report(evaluation.run, evaluation.version, found, evaluation.rows)
    words = " ".join(re.sub(r"<[^>]+>", " ", page.read_text()).split())
    assert "Measured on other rows" in words and version_scores.NO_ADAPTER in words
    assert "these scores cannot be compared with those above" in words.lower()


def test_only_the_newest_versions_are_measured_again(own):  # noqa: F811
    entry = yaml.safe_load((own.root / f"models/{NAME}/1.yaml").read_text())
    newest = version_scores.NEWEST
    for number in range(3, newest + 4):
        for suffix, content in ((".yaml", yaml.safe_dump({**entry, "version": number})),
                                (".zip", "an adapter")):
            (own.root / f"models/{NAME}/{number}{suffix}").write_text(content)
    why = {version.number: reason for version, reason in
           version_scores.earlier(own, NAME, 2, newest + 3)}
    assert [number for number, reason in why.items() if reason is None] == list(
        range(newest + 2, 2, -1))
    assert why[1] == version_scores.TOO_OLD and 2 not in why and newest + 3 not in why


def test_free_answers_are_known_to_the_last_bit_too(answering, tmp_path, monkeypatch):  # noqa: F811
    root = tmp_path / "ws"
    shutil.copytree(answering.root, root, symlinks=True)
    move_store(root / ".ftzard/mlflow.db", answering.root, root)
    monkeypatch.setenv("FTZARD_WORKSPACE", str(root))
    evaluation = Step8(Workspace(root), ANSWERS)
    evaluation.of(SETS - 1)
    evaluation.run.finish()
    again = evaluation.of(SETS)
    assert evaluation.run.facts["answers_known"] > 0
    evaluation.run.finish()
    evaluation.forget()
    anew = evaluation.of(SETS)
    assert evaluation.run.facts["answers_known"] == 0 and again.verdict == anew.verdict
    for role, told in anew.answers.items():
        assert told.loss.tobytes() == again.answers[role].loss.tobytes()
        assert told.generated.equals(again.answers[role].generated)
    scores = anew.scores(evaluation.version)
    assert set(scores) == {1, 2} and len({line["n"] for line in scores.values()}) == 1
    evaluation.run.finish()
