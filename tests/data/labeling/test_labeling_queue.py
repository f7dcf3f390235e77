import pandas as pd
import pytest

from ftzard.data.labeling.label_formats import OneOf
from ftzard.data.labeling.labeling_queue import (
    accept,
    agreement,
    labelled_twice,
    queue_csv,
    read_labelled,
    read_queue,
)
from ftzard.errors import DataError
from ftzard.tasks.classification.text_rows import clean

NAMES = ["negative", "positive"]


@pytest.fixture
def queue() -> pd.DataFrame:
    texts = ["so good 😀", 'he said "no", twice', "meh; whatever", "NA"]
    return pd.DataFrame(
        {
            "id": ["a1", "b2", "c3", "0012"],
            "batch": "batch1",
            "text": texts,
            "suggestion": "positive",
            "confidence": [0.5, 0.6, 0.7, 0.8],
            "side": ["train", "train", "train", "test"],
            "chosen_by": ["margin", "margin", "random", "audit"],
            "group": "",
            "blind": "yes",
            "label": "",
        }
    )


def test_a_queue_comes_back_as_it_was_asked(queue, tmp_path):
    path = queue_csv(queue, tmp_path / "queue.csv")
    assert pd.read_csv(path).columns.tolist() == list(queue), "readable without knowing of the BOM"
    back = read_labelled(path)
    assert back["id"].tolist() == queue["id"].tolist()
    assert back["text"].tolist() == queue["text"].tolist()
    accepted, refused = accept(back.assign(label="positive"), queue, OneOf(NAMES))
    assert list(accepted) == ["row", "id", "batch", "text", "label", "labelled_by", "labelled_at",
                              "own_answer"]
    assert len(accepted) == 4 and refused.empty


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_what_spreadsheets_write_is_read(queue, tmp_path, delimiter, encoding):
    labelled = queue.assign(label=["Positive", "negative ", "", "positive"])
    labelled.to_csv(tmp_path / "l.csv", sep=delimiter, encoding=encoding, index=False)
    accepted, refused = accept(read_labelled(tmp_path / "l.csv"), queue, OneOf(NAMES))
    assert accepted["label"].tolist() == ["positive", "negative", "positive"]
    assert refused["reason"].tolist() == ["label empty"]


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"label": "postive"}, "unknown label 'postive'; did you mean 'positive'?"),
        ({"label": "7"}, "unknown label '7'; valid are: negative, positive"),
        ({"label": " "}, "label empty"),
        ({"text": "so good ????"}, "changed text"),
        ({"id": "zz"}, "unknown id 'zz'"),
    ],
)
def test_a_row_that_cannot_count_is_refused_and_the_rest_taken(queue, change, reason):
    labelled = queue.assign(label="positive")
    for column, value in change.items():
        labelled.loc[0, column] = value
    accepted, refused = accept(labelled, queue, OneOf(NAMES))
    assert refused["reason"].tolist() == [reason]
    assert refused["id"].tolist() == [labelled.loc[0, "id"]]
    assert accepted["id"].tolist() == ["b2", "c3", "0012"]
    assert accepted["row"].tolist() == [1, 2, 3]


def test_space_that_an_editor_changed_does_not_matter(queue):
    labelled = queue.assign(label="positive", text=" " + queue["text"].str.replace(" ", "  "))
    accepted, _ = accept(labelled, queue, OneOf(NAMES))
    assert accepted["text"].tolist() == queue["text"].tolist()


def test_a_doubled_id_counts_once_if_it_agrees_and_never_if_not(queue):
    labelled = pd.concat([queue.assign(label="positive"), queue.head(2).assign(label="positive")])
    labelled.iloc[5, labelled.columns.get_loc("label")] = "negative"
    accepted, refused = accept(labelled, queue, OneOf(NAMES))
    assert accepted["id"].tolist() == ["a1", "c3", "0012"]
    assert refused["reason"].tolist() == [
        "doubled id with different labels",
        "doubled id",
        "doubled id with different labels",
    ]


def test_labels_that_differ_in_case_only_are_taken_literally(queue):
    accepted, refused = accept(queue.assign(label=["A", "a", "b", "B"]), queue,
                               OneOf(["A", "a", "b"]))
    assert accepted["label"].tolist() == ["A", "a", "b"]
    assert refused["id"].tolist() == ["0012"]


def test_without_a_queue_texts_and_batches_are_taken_as_they_come(queue):
    accepted, _ = accept(queue.assign(label="positive", text="new"), None, OneOf(NAMES))
    assert accepted["text"].tolist() == ["new"] * 4
    assert accepted["batch"].tolist() == ["batch1"] * 4


def test_accepted_rows_can_be_cleaned_like_a_delivery(queue):
    accepted, _ = accept(queue.assign(label=["positive", "", "negative", "x"]), queue, OneOf(NAMES))
    cleaned, rejected = clean(accepted, batch="labelled1")
    assert cleaned["row"].tolist() == [0, 2] and rejected.empty
    assert cleaned["label"].tolist() == ["positive", "negative"]


def test_a_missing_column_is_named(queue, tmp_path):
    with pytest.raises(DataError, match="no column 'text'"):
        accept(queue.drop(columns="text"), queue, OneOf(NAMES))
    queue.rename(columns={"label": "lable"}).to_csv(tmp_path / "l.csv", index=False)
    with pytest.raises(DataError, match="no column 'label'.*did you mean 'lable'"):
        read_labelled(tmp_path / "l.csv")


def test_a_file_that_is_not_there_or_empty(tmp_path):
    (tmp_path / "empty.csv").write_text("")
    for name, said in (("none.csv", "does not exist"), ("empty.csv", "is empty")):
        with pytest.raises(DataError, match=said):
            read_labelled(tmp_path / name)


def test_a_queue_keeps_what_a_person_has_filled_in(queue, tmp_path):
    queue.loc[0, "label"] = "positive"
    queue_csv(queue, tmp_path / "queue.csv")
    back = read_queue(tmp_path / "queue.csv")
    assert list(back) == list(queue) and back["label"].tolist() == ["positive", "", "", ""]
    queue.drop(columns="chosen_by").to_csv(tmp_path / "old.csv", index=False)
    assert read_queue(tmp_path / "old.csv")["chosen_by"].tolist() == [""] * 4


def test_who_labelled_and_when_is_read_or_taken_from_the_file(queue, tmp_path):
    labelled = queue.assign(label="positive", labelled_by=["ann", "", " bob ", ""])
    labelled.to_csv(tmp_path / "l.csv", index=False)
    back = read_labelled(tmp_path / "l.csv", at="2026-11-21T10:00:00+00:00")
    assert back["labelled_by"].tolist() == ["ann", "unknown", "bob", "unknown"]
    assert back["labelled_at"].tolist() == ["2026-11-21T10:00:00+00:00"] * 4
    accepted, _ = accept(back, queue, OneOf(NAMES))
    assert accepted["labelled_by"].tolist() == ["ann", "unknown", "bob", "unknown"]


@pytest.mark.parametrize(("encoding", "taken"), [("utf-16", 4), ("cp1252", 3)])
def test_what_a_spreadsheet_cannot_write_is_refused_and_the_rest_is_read(queue, tmp_path, encoding,
                                                                         taken):
    queue.loc[1, "text"] = "café"
    labelled = queue.assign(label="positive")
    labelled.to_csv(tmp_path / "l.csv", index=False, encoding=encoding, errors="replace")
    accepted, refused = accept(read_labelled(tmp_path / "l.csv"), queue, OneOf(NAMES))
    assert len(accepted) == taken and "café" in accepted["text"].tolist()
    assert refused["reason"].tolist() == ["changed text"] * (4 - taken)


@pytest.mark.parametrize("ending", [".parquet", ".jsonl"])
def test_other_formats_come_back_too(queue, tmp_path, ending):
    labelled = queue.assign(label="negative", labelled_by="ann")
    path = tmp_path / f"l{ending}"
    if ending == ".parquet":
        labelled.to_parquet(path)
    else:
        labelled.to_json(path, orient="records", lines=True)
    back = read_labelled(path)
    assert back["id"].tolist() == queue["id"].tolist()
    assert set(back["labelled_by"]) == {"ann"} and set(back["label"]) == {"negative"}


class TestTwoPeople:
    def both(self, queue, second) -> pd.DataFrame:
        first = queue.assign(label="positive", labelled_by="ann")
        return pd.concat([first, queue.assign(label=second, labelled_by="bob")])

    def test_who_agree_count_once_and_nothing_is_refused(self, queue):
        accepted, refused = accept(self.both(queue, "positive"), queue, OneOf(NAMES))
        assert accepted["labelled_by"].tolist() == ["ann"] * 4 and refused.empty

    def test_who_differ_are_both_refused_by_name(self, queue):
        second = ["positive", "negative", "positive", "positive"]
        accepted, refused = accept(self.both(queue, second), queue, OneOf(NAMES))
        assert accepted["id"].tolist() == ["a1", "c3", "0012"]
        assert refused["reason"].tolist() == [
            "labelled differently by two people: ann positive, bob negative"] * 2

    def test_make_pairs_from_this_file_and_from_labels_given_before(self, queue):
        second = ["positive", "negative", "", "positive"]
        twice = labelled_twice(self.both(queue, second), queue, OneOf(NAMES))
        assert sorted(zip(twice["first"], twice["second"], strict=True)) == [
            ("positive", "negative"), ("positive", "positive"), ("positive", "positive")]
        assert set(twice["first_person"] + twice["second_person"]) == {"annbob"}
        earlier = pd.DataFrame({"id": ["a1", "c3"], "label": ["negative", "positive"],
                                "own_answer": ["negative", ""], "labelled_by": ["zoe", ""]})
        one = queue.head(3).assign(label="positive", labelled_by="ann")
        assert labelled_twice(one, queue, OneOf(NAMES), earlier).to_numpy().tolist() == [
            ["a1", "ann", "positive", "zoe", "negative"]]
        assert labelled_twice(one, queue, OneOf(NAMES)).empty


def test_agreement_by_hand():
    """Cohen's own arithmetic: 20 both yes, 15 both no, 5 and 10 apart; kappa 0.4."""
    pairs = ([("y", "y")] * 20 + [("n", "n")] * 15 + [("y", "n")] * 5 + [("n", "y")] * 10)
    found = agreement(pairs)
    assert found["rows"] == 50 and found["share"] == pytest.approx(0.7)
    assert found["kappa"] == pytest.approx(0.4)
    assert agreement([("y", "n"), ("n", "y")])["kappa"] == pytest.approx(-1)
    assert agreement([("y", "y")] * 3) == {"rows": 3, "share": 1.0, "kappa": None}
    assert agreement([]) == {"rows": 0, "share": None, "kappa": None}


@pytest.mark.parametrize(("separator", "encoding"), [(";", "cp1252"), ("\t", "utf-16")])
def test_the_queue_s_own_file_may_be_saved_by_a_spreadsheet(queue, tmp_path, separator, encoding):
    path = queue_csv(queue, tmp_path / "queue.csv")
    before = read_queue(path)
    content = before.to_csv(index=False, sep=separator).encode(encoding, errors="replace")
    path.write_bytes(content)
    after = read_queue(path)
    assert list(after) == list(before) and after["id"].tolist() == before["id"].tolist()
