"""A label that appears later: the champion's line goes on with a head that has one row more.

One small round by the steps' own calls: two classes are known, and rows of a third one are handed
in. What else there is to say of new labels is tested on the model that comes of it.
"""

import random
import shutil
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from ftzard.data import storage
from ftzard.data.labeling import labeling_queue
from ftzard.errors import DataError
from ftzard.evaluation.forgetting import Matrix
from ftzard.registry import compare, model_records
from ftzard.registry.predict import predict_texts, understood
from ftzard.steps import candidate, cleaning, preprocessing, report_facts, reproduce, retraining
from ftzard.steps.evaluation import evaluate_models
from ftzard.steps.label_submission import submit
from ftzard.steps.plan import plan
from ftzard.steps.status import gather
from ftzard.steps.step_run import start_step
from ftzard.steps.versioning import finished_step
from ftzard.tracking import registry
from ftzard.tracking.model_version import Version
from ftzard.tracking.workspace_store import connect
from ftzard.workspace.workspace import Workspace
from tests.orchestration.texts import FILLERS, easy_texts
from tests.trained import (  # noqa: F401 - the small trained workspace
    NAME,
    known_rows,
    move_store,
    trained,
    write_config,
)

pytestmark = pytest.mark.slow

THIRD = "furious angry shouting rage insult outrage mad hostile".split()


@dataclass
class Grown:
    """The workspace after the round, the record of the new version, and its evaluation.

    refused: what was said when nobody had named the label; before, planned: status and assumptions
    of the plan when it was named.
    """

    workspace: Workspace
    record: dict
    evaluation: object
    refused: str
    before: dict
    planned: tuple[str, ...]

    def rows(self) -> pd.DataFrame:
        return storage.read_parquet(self.workspace.root / self.workspace.config().paths.tokenized)


def angry_texts(count: int, seed: int) -> pd.DataFrame:
    """Return different short texts of the third class."""
    draw, seen = random.Random(seed), set()
    while len(seen) < count:
        words = draw.choices(FILLERS, k=draw.randint(5, 14)) + draw.choices(THIRD, k=2)
        draw.shuffle(words)
        seen.add(" ".join(words))
    return pd.DataFrame({"text": sorted(seen), "label": "angry"})


def asked_for(workspace: Workspace, rows: pd.DataFrame) -> pd.DataFrame:
    """Put rows into the labeling queue; return the queue."""
    queue = pd.DataFrame({name: pd.Series("", rows.index, dtype="str")
                          for name in labeling_queue.QUEUE})
    queue = queue.assign(id=[f"new:{n}" for n in rows.index], batch="new", text=rows["text"],
                         chosen_by="random", side="train")
    labeling_queue.queue_csv(queue, workspace.labelling / "new.csv")
    return queue


def name_labels(workspace: Workspace) -> None:
    """Name all three labels in data.labels."""
    write_config(workspace, data={"split": "given", "labels": {
        name: name for name in ("glad", "sad", "angry")}})


def prepare(workspace: Workspace) -> pd.DataFrame:
    """Write the config and the queue of a round with a third class; return its labeled rows."""
    write_config(workspace, data={"split": "given"}, gate={"min_rows": 50, "resamples": 500},
                 retraining={"epochs": 3, "replay_ratio": None, "learning_rate_ratio": 1.0})
    known_rows(workspace)
    first = Version(NAME, 1, "", {})
    recipe = model_records.read_record(workspace, first)["recipe"]
    model_records.write_record(workspace, first, {"params": recipe["params"]})
    others = easy_texts(60, seed=77).set_axis(["text", "label"], axis=1)
    rows = pd.concat([angry_texts(140, seed=5), others], ignore_index=True)
    queue = asked_for(workspace, rows)
    return queue[["id"]].assign(label=rows["label"])


def round_of(workspace: Workspace) -> tuple[dict, object]:
    """Run the steps of a retraining round as their notebooks do."""
    file, = workspace.labelled.glob("*.csv")
    given = workspace.handle("labelled", workspace.relative(file))
    run = start_step("cleaning", {"raw": given.to_dict(), "overrides": []})
    delivery = run.store_delivery("raw")
    cleaned, rejected = cleaning.clean(run, delivery, cleaning.read(run, delivery))
    table, repeated = cleaning.append(run, cleaned)
    cleaning.check(run, cleaned, rejected, repeated, min_rows=10, max_rejected=0.2)
    cleaning.write(run, delivery, table, cleaned, rejected, repeated)
    run.finish()
    run = start_step("preprocessing", {"overrides": []})
    data = run.config.data
    rows = preprocessing.assign_splits(run, run.read("cleaned"), ratio=data.split_ratio,
                                       salt=data.salt, by=data.split)
    rows = preprocessing.drop_near_duplicates(run, rows)
    run.write("tokenized", preprocessing.tokenize(
        run, rows, preprocessing.base_tokenizer(run, rows)), identity=run.identity)
    run.finish()
    run = start_step("retraining", {"overrides": []})
    champion, rows = retraining.champion(run), run.read("tokenized")
    validation = rows[rows["split"] == "validation"]
    training, replayed = retraining.mix(run, champion, rows[rows["split"] == "train"], None)
    loaded = retraining.load_base(run, champion, rows)
    fitted = retraining.train(run, loaded, champion, training, validation,
                              retraining.training_config(run, champion))
    candidate.check(run, fitted.folder, validation)
    version = retraining.register(run, fitted, rows, champion, replayed=replayed,
                                  trained_rows=len(training))
    run.finish()
    run = start_step("evaluation", {"overrides": []})
    folder, _ = model_records.version_files(workspace, version)
    evaluation = evaluate_models(run, rows, folder)
    candidate.apply_verdict(run, version, evaluation)
    report_facts.write_report(run, version, evaluation, rows)
    run.finish()
    for step in ("preprocessing", "retraining", "evaluation"):
        followed = finished_step({"step": step, "overrides": []})
        followed.publish(followed.version())
    return model_records.read_record(workspace, version), evaluation


@pytest.fixture(scope="module")
def grown(trained, tmp_path_factory) -> Grown:  # noqa: F811
    root = tmp_path_factory.mktemp("grown") / "ws"
    shutil.copytree(trained.root, root, symlinks=True)
    move_store(root / ".ftzard/mlflow.db", trained.root, root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FTZARD_WORKSPACE", str(root))
        workspace = Workspace(root)
        labeled = prepare(workspace)
        with pytest.raises(DataError) as refused:
            submit(workspace, labeled, person="ann")
        name_labels(workspace)
        status = gather(workspace)
        file = submit(workspace, labeled, person="ann")
        planned = plan(workspace, "retraining_pipeline_job", {
            "overrides": [f"data.labelled={workspace.relative(file)}"]})
        record, evaluation = round_of(workspace)
    return Grown(workspace, record, evaluation, str(refused.value), status, planned.assumptions)


def test_a_label_that_nobody_named_is_refused_with_what_to_do(grown):
    assert "unknown label 'angry'; valid are: glad, sad" in grown.refused
    assert "a new label is named in data.labels of ftzard.yaml first" in grown.refused


def test_status_and_plan_tell_of_it_before(grown):
    assert grown.before["labels_not_known"] == ["angry"]
    told, = (line for line in grown.planned if "angry" in line)
    assert told.startswith("no row so far has the label 'angry': the model's head gets a row")


def test_the_round_ends_with_a_champion_that_knows_three(grown):
    verdict, champion = grown.record["verdict"], registry.champion(
        connect(grown.workspace, grown.workspace.config()), NAME)
    assert champion.number == grown.record["version"] == 3 and grown.record["parent"] == 1
    assert grown.record["labels"] == ["glad", "sad", "angry"]
    assert verdict["decision"] == "promote"
    new, = verdict["new_labels"]
    tests = grown.rows().query("split == 'test'")
    assert new["n"] == (tests["label"] == "angry").sum() and new["not_asked"] == 60
    assert new["recall"] > 0.8 and 0 < new["lower"] < new["recall"]
    assert verdict["n"] == (tests["label"] != "angry").sum()
    assert verdict["lower"] > -verdict["limits"]["max_class_loss"]
    assert [part["label"] for part in verdict["per_class"]] == ["glad", "sad"]
    assert gather(grown.workspace)["labels_not_known"] == []


def test_earlier_rows_are_marked_and_answered_among_the_labels_they_were_asked_about(grown):
    rows, evaluation = grown.rows(), grown.evaluation
    assert set(rows.loc[rows["batch"] == "b1", "not_asked"]) == {'["angry"]'}
    assert set(rows.loc[rows["batch"] == "new", "not_asked"]) == {""}
    earlier = (evaluation.rows["batch"] == "b1").to_numpy()
    for answers in evaluation.answers.values():
        assert (answers[earlier][:, 2] == 0).all() and np.allclose(answers.sum(axis=1), 1)
    assert (evaluation.answers["champion"][:, 2] == 0).all()
    assert (evaluation.answers["challenger"][~earlier][:, 2] > 0).all()


def test_the_forgetting_matrix_goes_on(grown):
    matrix = Matrix.of(model_records.records(grown.workspace, NAME)).to_dict()
    first, last = (matrix["versions"].index(number) for number in (1, 3))
    assert matrix["batches"] == ["b1", "new"]
    assert None not in matrix["accuracy"][first] + matrix["accuracy"][last]
    share = grown.evaluation.rows.query("batch == 'new'")["label"].ne("angry").mean()
    assert matrix["accuracy"][first][1] <= share < matrix["accuracy"][last][1]


def test_report_and_record_tell_of_the_new_label(grown):
    page = grown.workspace.report.read_text()
    for words in ("New label 'angry'", "angry (new)", "does not know it",
                  "The rule for a new label", "The rows of 'angry' are among these"):
        assert words in page.replace("&#39;", "'"), words


def test_the_model_is_made_again_equal(grown):
    again = reproduce.reproduce(grown.workspace, NAME, 3, lambda line: None)
    assert again.equal, again.differences


def test_it_predicts_all_three(grown):
    asked = understood(["the furious insult in the park", "a lovely sunny day"])
    said = predict_texts(grown.workspace, asked)
    assert [row["label"] for row in said] == ["angry", "glad"]
    assert list(said[0]["probabilities"]) == ["glad", "sad", "angry"]


def test_versions_of_different_labels_are_compared_on_the_rows_that_both_know(grown):
    found = compare.compare(grown.workspace, f"{NAME}@1", f"{NAME}@3", say=lambda line: None)
    tests = grown.rows().query("split == 'test'")["label"]
    assert found.n == (tests != "angry").sum()
    apart, = found.to_dict()["apart"]
    assert (apart["label"], apart["n"]) == ("angry", (tests == "angry").sum())
    assert apart["unknown_to"] == f"{NAME}@1" and apart["right_of_other"] > 0.8 * apart["n"]
    assert f"{NAME}@1 does not know 'angry': its {apart['n']} rows are left out" in found.verdict()
