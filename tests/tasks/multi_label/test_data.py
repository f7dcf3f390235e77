"""Rows with several labels: cleaned, refused, split and brought back; what other tasks say."""

import pandas as pd
import pytest

from ftzard.config.compose import compose
from ftzard.data.identity import LATEST
from ftzard.errors import ConfigError, DataError
from ftzard.tasks.base import task_named, tasks_of
from ftzard.tasks.multi_label import TASK, setup

NO_ROWS = pd.DataFrame({"reason": [], "text": []}, dtype="str")
CONFIG = {"task": "multi_label", "data": {"labels": {"0": "anger", "1": "joy"}}}


def clean(texts, labels, config=CONFIG, identity=LATEST):
    raw = pd.DataFrame({"row": range(len(texts)), "text": texts, "label": labels})
    return TASK.data.clean(raw, compose(config).data, batch="b", identity=identity, cleaning={})


def test_rows_are_cleaned_and_each_refused_one_has_its_reason():
    cleaned, rejected = clean(
        ["one a", "two b", "three c", "four d", " ", "six f", "one a"],
        ["0|1", "[]", "", "0;7", "1", "[1, 0]", "1"])
    assert cleaned[["text", "label"]].values.tolist() == [["two b", "[]"], ["six f", "anger|joy"]]
    assert rejected[["row", "reason"]].values.tolist() == [
        [0, "contradicting labels"], [2, "label missing"],
        [3, "unknown label '7'; valid are: anger, joy."], [4, "empty text"],
        [6, "contradicting labels"]]


def test_rows_without_labels_are_cleaned_too():
    raw = pd.DataFrame({"row": [0], "text": ["one  a"]})
    cleaned, rejected = TASK.data.clean(raw, compose(CONFIG).data, batch="b", identity=LATEST,
                                        cleaning={})
    assert cleaned["text"].tolist() == ["one a"] and "label" not in cleaned and rejected.empty


def test_cleaned_rows_become_raw_ones_and_the_same_cleaned_rows_again():
    cleaned, _ = clean(["one a", "two b", "three c"], ["0|1", "[]", "1"])
    raw = TASK.data.raw_again(cleaned, compose(CONFIG).data, "file", labelled=True)
    assert raw["label"].tolist() == ["0|1", "[]", "1"]
    again, _ = clean(raw["text"].tolist(), raw["label"].tolist())
    assert again["label"].tolist() == cleaned["label"].tolist()
    assert "label" not in TASK.data.raw_again(cleaned, compose(CONFIG).data, "f", labelled=False)


def test_what_cannot_be_trained_on_is_refused():
    def check(column, **options):
        TASK.data.check(pd.DataFrame({"label": column}), NO_ROWS, min_rows=1, max_rejected=0.1,
                        **options)

    check(["joy", "joy|anger"] * 5)
    with pytest.raises(DataError, match="All 3 rows are labelled 'joy'"):
        check(["joy"] * 3)
    with pytest.raises(DataError, match="4 rows have 4 different labels, such as 'a'"):
        check(["a", "b", "c", "d"])
    check(["a", "b", "c", "d"], labels={"a": "a"})


def test_every_label_needs_a_training_row():
    rows = pd.DataFrame({"split": ["train", "train", "validation", "test"],
                         "label": ["joy", "anger|joy", "[]", "joy"]})
    TASK.data.check_splits(rows)
    with pytest.raises(DataError, match="train split has no row with the label 'fear'"):
        TASK.data.check_splits(rows.assign(label=["joy", "joy", "fear", "joy"]))


def test_a_task_with_one_label_per_row_names_this_one():
    several = ["joy", "anger", "joy|anger"] * 4
    assert "--task multi_label" in tasks_of(several) and tasks_of(["joy", "anger"] * 4) == ""
    with pytest.raises(DataError, match="begin a workspace with --task multi_label"):
        task_named("classification").data.check(
            pd.DataFrame({"label": several}), NO_ROWS, min_rows=1, max_rejected=0.1)


def test_init_describes_the_labels_of_a_file(tmp_path):
    file = tmp_path / "rows.csv"
    file.write_text("text,label\n" + "".join(
        f"row {n},{label}\n" for n, label in enumerate(["joy|anger", "joy", "[]", "anger"] * 3)))
    group, rows = setup.describe_data(file, "text", "label")
    assert group["labels"] == {"anger": "anger", "joy": "joy"} and len(rows) == 12
    file.write_text("text,label\nsame,joy\nother,joy\n")
    with pytest.raises(DataError, match="has 1 different labels in 2 filled rows"):
        setup.describe_data(file, "text", "label")


@pytest.mark.parametrize(("values", "said"), [
    ({"tuning": {"metric": "accuracy"}}, "tuning.metric"),
    ({"tuning": {"metric": "micro_f2"}}, "micro_f1"),
    ({"task": {"choice": "multi_label", "abstain_below": 0.5}}, "task.abstain_below")])
def test_values_of_other_tasks_are_refused(values, said):
    with pytest.raises(ConfigError, match=said):
        compose({"task": "multi_label", **values})


def test_metrics_of_the_config_are_the_task_s():
    for metric in TASK.metrics:
        values = {"task": "multi_label", "tuning": {"metric": metric}}
        assert compose(values).tuning.metric == metric
