"""What the SQLite file tells is what MLflow tells, at once after every kind of change."""

import json
import shutil
import sqlite3
import subprocess
import sys

import pytest
import yaml

from ftzard.errors import TrackingError
from ftzard.registry import lookup
from ftzard.steps import status
from ftzard.tracking import registry, runs
from ftzard.tracking.mlflow_reading import Asked
from ftzard.tracking.sqlite_reading import SCHEMA, of_workspace
from tests.tracking.stores import registered

NAME = "FalconSentiAnalysis"
STEP = "RETRAINING"


@pytest.fixture
def store(workspace):
    """A workspace with three versions, one of them the champion; and the open connection."""
    return workspace, registered(workspace, NAME, versions=3, champion=2)


def answers(who) -> dict:
    """Return every answer that a store gives."""
    names = who.names()
    versions = {name: who.versions(name) for name in [*names, "nobody"]}
    return {
        "names": names, "versions": versions,
        "aliases": {name: who.aliases(name) for name in [*names, "nobody"]},
        "roles": {alias: who.by_alias(NAME, alias) for alias in (*registry.ALIASES, "nobody")},
        "all": who.executions(), "step": who.executions(STEP, datasets=True),
        "latest": who.latest(STEP), "none": who.latest("NOTHING"),
        "runs": [who.run(v.run_id) for v in versions[NAME]], "missing": who.run("0" * 32),
    }


def plain(found: dict) -> dict:
    """Return answers without what only one of the two ways reads along with a list."""
    def bare(run):
        return run and (run.id, run.name, run.status, run.began, run.ended, run.tags)

    count, last = found["latest"]
    return {**found, "all": [bare(run) for run in found["all"]],
            "step": [(bare(run), run.datasets) for run in found["step"]],
            "latest": (count, bare(last)),
            "runs": [(bare(run), run.metrics, run.datasets) for run in found["runs"] if run]}


def test_the_version_of_the_tables_is_the_installed_mlflow_s():
    import mlflow.store.db.utils as database

    assert database._get_latest_schema_revision() == SCHEMA, (
        "MLflow has other tables: look at them, then at `reading`'s questions")


def test_both_ways_give_the_same_answers_after_every_kind_of_change(store):
    workspace, tracking = store
    client, reading = tracking.client, of_workspace(workspace, workspace.config())
    parent = runs.top_level(tracking, STEP, workspace.state / "mlflow.lock")

    def rename():
        client.register_prompt("A-prompt", "Answer {{ question }}")
        client.create_registered_model("other")

    def execute():
        run = runs.start_child(tracking, parent, {"step": "retraining", "note": "it's \u2713"})
        run.metrics({"loss": 0.25})
        run.dataset("raw", "d" * 32, "data/raw/x.csv", 3, "input", sha256="s")

    def fail():
        runs.Run(tracking, runs.running(tracking)[0].info.run_id, "").end("FAILED", "so it is")

    changes = [
        lambda: None, rename, execute, fail,
        lambda: registry.move(tracking, NAME, champion=registry.version(tracking, NAME, 3)),
        lambda: registry.tag(tracking, registry.version(tracking, NAME, 1), {"owner": "ann"}),
        lambda: registry.untag(tracking, registry.version(tracking, NAME, 1), "owner"),
        lambda: client.delete_model_version(NAME, "1"),
        lambda: client.delete_model_version(NAME, "3"),  # with its alias
        lambda: client.delete_run(registry.version(tracking, NAME, 2).run_id),
        lambda: client.delete_registered_model("other"),
    ]
    before = None
    for change in changes:
        change()
        told = answers(reading)
        assert plain(told) == plain(answers(Asked(tracking)))
        assert before is None or told != before, "the change is seen"
        before = told
    assert reading._file is not None, "the file itself answered"


def test_a_store_that_is_not_there_holds_nothing_and_is_not_made(workspace):
    reading = of_workspace(workspace, workspace.config())
    assert reading.names() == [] and reading.latest(STEP) == (0, None) and not reading.is_there
    assert not (workspace.state / "mlflow.db").exists()
    registered(workspace, NAME, versions=1)
    assert reading.names() == [NAME] and reading.is_there, "one that is made later is found"


def test_tables_of_another_version_are_left_to_mlflow(store):
    workspace, _ = store
    with sqlite3.connect(workspace.state / "mlflow.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'f00'")
    connection.close()
    reading = of_workspace(workspace, workspace.config())
    assert reading.names() == [NAME] and reading._file is None, "MLflow has answered"


def test_a_deleted_experiment_is_said(store):
    workspace, tracking = store
    tracking.client.delete_experiment(tracking.experiment_id)
    with pytest.raises(TrackingError, match="was deleted in MLflow. Bring it back"):
        of_workspace(workspace, workspace.config()).latest(STEP)


class TestWhatIsKept:
    """Answers and records that are kept are never older than what they were worked out from."""

    def test_the_count_of_rows_to_label_follows_queue_and_table(self, workspace):
        import pandas as pd

        from ftzard.data.labeling import labeling_queue
        from ftzard.data.storage import write_parquet

        cleaned = workspace.root / workspace.config().paths.cleaned
        queue = pd.DataFrame({"id": list("abcd"), "batch": "b", "text": ["one", "two", "3", "4"]})
        count = lambda: status._waiting(workspace, cleaned)  # noqa: E731
        assert count() == 0
        labeling_queue.queue_csv(queue, workspace.labelling / "b.csv")
        assert count() == count() == 4
        for known, left in ((["a"], 3), (["a", "b"], 2), (["a", "x"], 3)):
            write_parquet(pd.DataFrame({"id": known}), cleaned)
            assert count() == left
        labeling_queue.queue_csv(queue.iloc[:2], workspace.labelling / "b.csv")
        assert count() == 1
        cleaned.unlink()
        assert count() == 2

    def test_a_record_that_is_edited_is_read_anew(self, store):
        workspace, _ = store
        file = workspace.root / "models" / NAME / "2.yaml"
        file.parent.mkdir(parents=True)
        for decision in ("promote", "refuse", "promote"):
            file.write_text(yaml.safe_dump({"model": NAME, "version": 2, "z": 1, "a": {"b": [1]},
                                            "verdict": {"decision": decision}}, sort_keys=False))
            for _ in range(2):  # the second time from what is kept
                line = next(v for v in lookup.listing(workspace, NAME) if v["version"] == 2)
                assert line["verdict"] == decision
        from ftzard.workspace.record_file import read_record_file

        assert list(read_record_file(file)) == ["model", "version", "z", "a", "verdict"]

    def test_a_config_that_is_edited_is_read_anew(self, workspace):
        for name in ("one", "two", "one"):
            (workspace.root / "ftzard.yaml").write_text(yaml.safe_dump(
                {"tracking": {"registered_model": name}}))
            assert workspace.config().tracking.registered_model == name
        assert list((workspace.cache / "config").glob("*.json"))
        own = workspace.root / "config" / "training" / "mine.yaml"
        own.parent.mkdir(parents=True, exist_ok=True)
        (workspace.root / "ftzard.yaml").write_text("training: mine\n")
        for epochs in (3, 4):
            own.write_text(f"defaults: [default]\nepochs: {epochs}\n")
            assert workspace.config().training.epochs == epochs

    def test_a_workspace_that_cannot_be_written_to_answers_all_the_same(self, store):
        workspace, _ = store
        shutil.rmtree(workspace.cache)
        workspace.cache.mkdir()
        for name in ("answers", "records", "config"):
            (workspace.cache / name).write_text("a file where a folder should be")
        assert [line["version"] for line in lookup.listing(workspace)] == [3, 2, 1]


@pytest.mark.parametrize("command", [["status"], ["models", "list"], ["history"],
                                     ["models", "show", "champion"]])
def test_who_only_looks_imports_nothing_heavy(store, command):
    workspace, _ = store
    code = ("import json, sys\nfrom ftzard.cli import main\ntry:\n    main()\nfinally:\n    "
            "print(json.dumps([n for n in ('mlflow', 'torch', 'hydra', 'pandas', 'rich.console', "
            "'dagster', 'dvc') if n in sys.modules]), file=sys.stderr)")
    for _ in range(2):  # the first call composes the config
        done = subprocess.run([sys.executable, "-c", code, *command, "-w", str(workspace.root)],
                              text=True, capture_output=True)
        assert done.returncode == 0, done.stderr
    assert json.loads(done.stderr.strip().splitlines()[-1]) == []
