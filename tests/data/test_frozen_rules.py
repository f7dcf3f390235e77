"""A workspace keeps the rules of its first rows: in an older one nothing moves under newer ones."""

import ast
import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml

from ftzard.data import cleaning, near_duplicates, reading, splitting, storage
from ftzard.data.identity import FIRST, LATEST
from ftzard.data.labeling import submissions
from ftzard.errors import DataError
from ftzard.tasks.classification import text_rows
from ftzard.workspace.identity_rules import identity
from ftzard.workspace.workspace import Workspace

EXPECTED = Path(__file__).parents[1] / "fixtures" / "workspace_v1.json"


@pytest.fixture
def old(workspace_v1) -> Workspace:
    return Workspace(workspace_v1)


def cleaned_again(workspace: Workspace, rules: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Clean the stored deliveries in the order in which they came, as the step does."""
    data, table, rejected = workspace.config().data, None, None
    batches = storage.read_parquet(workspace.root / "data/cleaned/cleaned.parquet")["batch"]
    files = {reading.batch_of(path): path for path in workspace.raw.glob("*.csv")}
    for batch in batches.unique():
        raw = reading.read_raw(files[batch], text_column=data.text_column,
                               label_column=data.label_column, group_column=data.group_column)
        rows, refused = text_rows.clean(raw, batch=batch, labels=data.labels, identity=rules)
        table, repeated = cleaning.append(table, rows, identity=rules)
        rejected = cleaning.append_rejected(rejected, refused, repeated, batch=batch)
    return table, rejected


def split(workspace: Workspace, table: pd.DataFrame, rules: int) -> pd.DataFrame:
    data = workspace.config().data
    sides = splitting.assign(
        table, salt=data.salt, identity=rules,
        ratio={"train": data.train_share, "validation": data.validation_share,
               "test": data.test_share})
    return near_duplicates.drop_near_duplicates(sides, rules)[0]


def test_rows_of_an_older_workspace_keep_ids_sides_and_bytes(old, tmp_path):
    expected = json.loads(EXPECTED.read_text())
    rules = identity(old, old.config())
    assert rules == FIRST
    table, rejected = cleaned_again(old, rules)
    assert sorted(table["id"]) == expected["cleaned"]
    assert rejected["reason"].value_counts().to_dict() == expected["rejected"]
    rows = split(old, table, rules)
    assert dict(zip(rows["id"], rows["split"], strict=True)) == expected["splits"]
    kept = old.root / "data/cleaned/cleaned.parquet"
    again = storage.write_parquet(table, tmp_path / "cleaned.parquet", identity=rules)
    assert again.read_bytes() == kept.read_bytes()  # unchanged data makes no commit


def test_the_latest_rules_would_have_moved_rows_of_it(old):
    """Or else the test above would hold nothing."""
    expected = json.loads(EXPECTED.read_text())
    table, _ = cleaned_again(old, LATEST)
    rows = split(old, table, LATEST)
    assert dict(zip(rows["id"], rows["split"], strict=True)) != expected["splits"]
    with pytest.raises(DataError, match="rows would change sides"):
        splitting.refuse_moved(rows, storage.read_parquet(old.root / "data/tokenized/"
                                                          "tokenized.parquet"))


def test_a_new_delivery_moves_no_row_of_an_older_workspace(old):
    rules = identity(old, old.config())
    before = storage.read_parquet(old.root / "data/cleaned/cleaned.parquet")
    texts = ["今天我们在学校里看书吃饭走路听歌写字画图", "how to sort it in C++",
             "how to sort it in C"]
    groups = ["4.0", "4", "\u00a05"]
    raw = pd.DataFrame({"row": range(3), "text": texts, "label": ["glad", "sad", "glad"],
                        "group": groups})
    rows, rejected = text_rows.clean(raw, batch="may", labels=old.config().data.labels,
                                    identity=rules)
    table, _ = cleaning.append(before, rows, identity=rules)
    assert rows["group"].tolist() == groups[:1] and len(rejected) == 2  # as it was then
    now, then = (split(old, t, rules).set_index("id")["split"] for t in (table, before))
    pd.testing.assert_series_equal(now.reindex(then.index), then)


def test_its_queue_waits_as_before(old):
    rules = identity(old, old.config())
    cleaned = storage.read_parquet(old.root / "data/cleaned/cleaned.parquet")
    file = next(old.labelling.glob("*.csv"))
    waiting = submissions.waiting(file, cleaned, rules)
    assert waiting["id"].tolist() == submissions.queues(old.labelling)["id"].tolist()


def test_a_workspace_without_rows_has_the_latest_rules_and_its_tables_say_so(workspace):
    config = workspace.config()
    assert identity(workspace, config) == LATEST
    path = workspace.root / config.paths.cleaned
    storage.write_parquet(pd.DataFrame({"id": ["a"]}), path, identity=LATEST)
    assert identity(workspace, config) == storage.identity_of(path) == LATEST
    storage.write_parquet(pd.DataFrame({"id": ["a"]}), path)
    assert identity(workspace, config) == FIRST


def test_a_clone_without_its_data_knows_the_rules_by_its_models(old, tmp_path):
    clone = Workspace(Path(shutil.copytree(old.root, tmp_path / "clone", symlinks=True,
                                           ignore=shutil.ignore_patterns("*.parquet", ".dvc"))))
    assert identity(clone, clone.config()) == FIRST
    record = next((clone.root / "models").glob("*/*.yaml"))
    said = yaml.safe_load(record.read_text(encoding="utf-8"))
    record.write_text(yaml.safe_dump({**said, "identity": LATEST}), encoding="utf-8")
    for other in (clone.root / "models").glob("*/*.yaml"):
        if other != record:
            other.unlink()
    assert identity(clone, clone.config()) == LATEST
    record.unlink()
    with pytest.raises(DataError, match="dvc pull.*remove data/cleaned/cleaned.parquet.dvc"):
        identity(clone, clone.config())
    for pointer in (clone.root / "data").rglob("*.parquet.dvc"):  # the remedy
        pointer.unlink()
    assert identity(clone, clone.config()) == LATEST


def test_rules_of_a_later_release_are_refused(tmp_path):
    path = storage.write_parquet(pd.DataFrame({"id": ["a"]}), tmp_path / "t.parquet", identity=99)
    with pytest.raises(DataError, match=f"version 99 of the rules.*knows 1 to {LATEST}"):
        storage.identity_of(path)


PACKAGE = Path(splitting.__file__).parents[1]
#: module -> functions that compare texts or names; without `identity` they follow version 1, for
#: the notebooks that workspaces of before have copies of.
COMPARING = {"text_rows": {"clean"}, "instructions": {"clean", "append"}, "cleaning": {"append"},
             "submissions": {"waiting"}, "splitting": {"assign"},
             "near_duplicates": {"drop_near_duplicates", "learned_before", "like_test_rows"},
             "query_strategies": {"select", "counts"}}
ALONE = {"repeats", "like_test_rows", "drop_near_duplicates", "canonical_split", "duplicate_keys"}


def sources():
    """Yield (file, code) of every module; notebooks call the steps, which know their run."""
    for path in PACKAGE.rglob("*.py"):
        yield path, path.read_text(encoding="utf-8")


def test_whatever_compares_is_told_the_rules():
    missing, calls = [], 0
    for path, code in sources():
        for node in ast.walk(ast.parse(code)):
            if not isinstance(node, ast.Call):
                continue
            name, module = getattr(node.func, "attr", ""), getattr(node.func, "value", None)
            known = COMPARING.get(getattr(module, "id", ""), ())
            if name not in known and getattr(node.func, "id", "") not in ALONE:
                continue
            calls += 1
            given = "\n".join(map(ast.unparse, [*node.args, *(k.value for k in node.keywords)]))
            if not any(word in given for word in ("identity", "rules", "asking", "LATEST")):
                missing.append(f"{path.relative_to(PACKAGE)}: {ast.unparse(node)}")
    assert calls > 25 and not missing


def test_tables_that_hold_compared_rows_say_by_which_rules():
    for path, code in sources():
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "write" and \
                    node.args and getattr(node.args[0], "value", "") in ("cleaned", "tokenized"):
                assert "identity" in {word.arg for word in node.keywords}, path
