"""Rows of a file that compared models have learned are counted, and the verdict says so."""

from types import SimpleNamespace

import pandas as pd
import pytest
import yaml

from ftzard.config.compose import digest, from_record
from ftzard.data import storage
from ftzard.registry import lookup, seen_rows
from ftzard.tracking import registry
from ftzard.tracking.workspace_store import connect
from ftzard.versioning import git
from tests.trained import NAME, own, trained  # noqa: F401 - the fixtures


@pytest.fixture
def mine(own):  # noqa: F811
    """A workspace, its table, its two models and the bare base, as a comparison has them."""
    tracking = connect(own, own.config())
    models = [lookup.Files(str(v), v, own.root, {}, [], {})
              for v in registry.versions(tracking, NAME)]
    bare = lookup.Files("base", None, None, {}, [], {})
    table = own.root / own.config().paths.tokenized
    return SimpleNamespace(workspace=own, table=table, models=models, bare=bare)


def asked(table: pd.DataFrame) -> pd.DataFrame:
    """Return 6 training rows, one of them with another word, 4 test rows and 2 new ones."""
    train = table.loc[table["split"] == "train", ["text", "label"]].head(6)
    train.iloc[0, 0] = f"{train.iloc[0, 0]} zebra"
    test = table.loc[table["split"] == "test", ["text", "label"]].head(4)
    new = pd.DataFrame({"text": ["nobody has ever written these words", "nor these, whoever"],
                        "label": "glad"})
    return pd.concat([train, test, new])


def test_rows_of_either_model_s_training_data_are_counted(mine):
    rows = asked(storage.read_parquet(mine.table))
    found = seen_rows.counted(mine.workspace, [mine.bare, mine.models[0]], rows)
    assert found == {"rows": 6, "by": {f"{NAME}@1": 6}}
    said = seen_rows.sentence({"n": 12, "learned": found})
    assert said.startswith(f" 6 of 12 rows stand in the training data, up to one word (6 in that "
                           f"of {NAME}@1): ")
    nothing = seen_rows.counted(mine.workspace, mine.models, rows.tail(6))
    assert nothing == {"rows": 0, "by": {f"{NAME}@1": 0, f"{NAME}@2": 0}}
    assert seen_rows.sentence({"n": 6, "learned": nothing}) == seen_rows.sentence({"n": 6}) == ""


def test_the_data_is_that_which_the_model_was_trained_on(mine):
    """The table has moved on since: a version that is committed comes back, else it is unknown."""
    rows, root = asked(storage.read_parquet(mine.table)), mine.workspace.root
    record = root / f"models/{NAME}/1.yaml"
    told = yaml.safe_load(record.read_text())
    told["data"]["tokenized"]["commit"] = git.head(root)
    record.write_text(yaml.safe_dump(told))
    mine.table.unlink()
    storage.write_parquet(rows.assign(split="train"), mine.table)
    (root / f"models/{NAME}/2.yaml").unlink()
    found = seen_rows.counted(mine.workspace, mine.models, rows)
    assert found == {"rows": 6, "by": {f"{NAME}@1": 6, f"{NAME}@2": None}}
    assert seen_rows.sentence({"n": 12, "learned": found}).endswith(
        f"Whether {NAME}@2 learned any of these rows is not known: the training data is not here.")


def test_a_model_s_record_and_run_say_what_its_training_took(mine):
    """And not what the config asks for: version 2 began as a retraining of version 1."""
    root = mine.workspace.root
    for number, learning_rate in ((1, 0.005), (2, 0.01)):
        record = yaml.safe_load((root / f"models/{NAME}/{number}.yaml").read_text())
        training, recipe = record["config"]["training"], record["recipe"]
        assert (training["learning_rate"], training["rank"], training["epochs"]) == (
            learning_rate, 4, recipe["training"]["epochs"])
        assert digest(from_record(record["config"])) == record["config_hash"]
    told = mine.models[1].version
    run = connect(mine.workspace, mine.workspace.config()).client.get_run(
        yaml.safe_load((root / f"models/{NAME}/2.yaml").read_text())["mlflow_run"])
    assert told.number == 2 and run.data.params["training.rank"] == "4"
    assert run.data.params["training.epochs"] == str(mine.workspace.config().retraining.epochs)
