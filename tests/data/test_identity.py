"""Labels, groups, ids and names of splits: what is one name, what is two, and what is refused."""

import json

import pandas as pd
import pytest

from ftzard.data import cleaning
from ftzard.data.identity import FIRST, LATEST, canonical, canonical_labels, label_list
from ftzard.data.labeling import labeling_queue
from ftzard.data.labeling.label_formats import OneOf
from ftzard.data.splitting import assign, canonical_split
from ftzard.errors import ConfigError, DataError
from ftzard.tasks.classification import text_rows
from ftzard.tasks.classification.setup import describe_data

RATIO = {"train": 0.7, "validation": 0.1, "test": 0.2}
SAD = "fa\u0302che\u0301"  # fâché, with its accents apart


def column(*cells: str) -> pd.Series:
    return pd.Series(list(cells), dtype="str")


@pytest.mark.parametrize(
    "cells, names",
    [
        (["sad ", "\u00a0sad", "\u3000sad\u200b", "\ufeffsad"], ["sad"] * 4),
        (["very\u00a0sad", "very  sad", "very\tsad", "very\u2003sad"], ["very sad"] * 4),
        ([SAD, "f\u00e2ch\u00e9"], ["f\u00e2ch\u00e9"] * 2),
        (["1", "1.0", "", "-2.000", "0.5", "1e+16", "-0.0"],
         ["1", "1", "", "-2", "0.5", "1" + "0" * 16, "0"]),
        (["1", "1.0", "x"], ["1", "1.0", "x"]),
        (["007", "7.0"], ["007", "7.0"]),
        (["1e5", "100000"], ["1e5", "100000"]),
        (["Ann", "ann"], ["Ann", "ann"]),
        (["1.10", "1.1"], ["1.10", "1.1"]),
        (["\u0645\u06cc\u200c\u0634"], ["\u0645\u06cc\u200c\u0634"]),  # the joiner is spelling here
    ],
)
def test_what_is_one_name(cells, names):
    assert canonical(column(*cells)).tolist() == names


@pytest.mark.parametrize(
    "cells, labels, names",
    [
        (["sad ", "sad", "glad"], None, ["sad", "sad", "glad"]),
        (["0.0", "1", "1.0", "0"], None, ["0", "1", "1", "0"]),
        (["True", "False", "True"], None, ["true", "false", "true"]),
        (["0.0", "1.0", "junk"], {"0": "sad", "1": "glad"}, ["sad", "glad", None]),
        (["0", "1"], {"0.0": "sad", "1.0": "glad"}, ["sad", "glad"]),
        (["0", "4"], {0: "sad", 4: "glad"}, ["sad", "glad"]),
        (["True", "False"], {"true": "glad", "false": "sad"}, ["glad", "sad"]),
        (["true", "True"], {"true": "glad", "True": "glad", "false": "sad"}, ["glad", "glad"]),
        (["Sad", "sad", "glad"], {"Sad": "sad", "sad": "sad", "glad": "glad"},
         ["sad", "sad", "glad"]),
        ([SAD], {"f\u00e2ch\u00e9": SAD}, ["f\u00e2ch\u00e9"]),
        (["", "sad"], {"sad ": " sad"}, ["", "sad"]),
    ],
)
def test_the_name_of_a_label(cells, labels, names):
    found = canonical_labels(column(*cells), labels)
    assert found.astype(object).where(found.notna(), None).tolist() == names


@pytest.mark.parametrize(
    "cells, labels, said",
    [
        (["Sad", "sad", "sad", "glad"], None, "'Sad' (1 row) and 'sad' (2 rows) differ only in"),
        (["Sad", "sad", "glad"], {"sad": "sad", "glad": "glad"}, "'Sad' (1 row) and 'sad' (1 row)"),
        (["Sad", "glad"], {"sad": "sad", "glad": "glad"}, "'Sad' (1 row) and 'sad' (in data.lab"),
        (["a", "b"], {"a": "Sad", "b": "sad"}, "'Sad' (1 row) and 'sad' (1 row) differ"),
        (["true", "1", "0", "false"], None, "'0' (1 row) and 'false' (1 row) may be meant as one"),
        (["True", "true", "false"], None, "'True' (1 row) and 'true' (1 row) differ only in case"),
        (["True", "true"], {"true": "a", "false": "b"}, "'True' (1 row) and 'true' (1 row)"),
        (["1", "0"], {"true": "a", "false": "b"}, "'1' (1 row) and 'true' (in data.labels)"),
        (["1", "1.0", "x"], None, "'1' (1 row) and '1.0' (1 row) may be meant as one"),
        (["sad", "ｓａｄ"], None, "may be meant as one"),
    ],
)
def test_labels_that_may_be_meant_as_one_are_refused_with_their_counts(cells, labels, said):
    with pytest.raises(DataError) as refused:
        canonical_labels(column(*cells), labels)
    assert said in str(refused.value)


def test_a_value_with_two_names_is_refused():
    with pytest.raises(ConfigError, match="'1.0' two names, 'a' and 'b'"):
        canonical_labels(column("1"), {"1": "a", "1.0": "b"})


def rows(raw, found, groups=None, batch="b", **more):
    texts = [f"text number {i} of {batch}" for i in range(len(found))]
    return text_rows.clean(raw(texts, found, group=groups), batch=batch, identity=LATEST, **more)


def test_following_the_remedies_makes_two_classes(raw):
    spelled = ["Sad", "sad", "glad"]
    with pytest.raises(DataError, match="name each in data.labels"):
        rows(raw, spelled)
    cleaned, rejected = rows(raw, spelled, labels={name: name.lower() for name in spelled})
    assert cleaned["label"].tolist() == ["sad", "sad", "glad"] and rejected.empty


def test_deliveries_share_labels_and_groups_however_pandas_wrote_the_numbers(raw):
    march, _ = rows(raw, ["0", "1"] * 20, [str(i) for i in range(40)], batch="march")
    april, _ = rows(raw, ["0.0", "1.0"] * 20, [f"{i}.0" for i in range(39)] + [""], batch="april")
    table, repeated = cleaning.append(march, april, identity=LATEST)
    assert repeated.empty and set(table["label"]) == {"0", "1"}
    sides = assign(table, ratio=RATIO, salt="s", identity=LATEST)
    sides = sides[sides["group"] != ""].groupby("group")["split"].nunique()
    assert len(sides) == 40 and (sides == 1).all()


def test_a_later_delivery_in_another_case_is_refused(raw):
    march, _ = rows(raw, ["sad", "glad"])
    april, _ = rows(raw, ["Sad", "glad"], batch="april")
    with pytest.raises(DataError, match=r"'Sad' \(1 row\) and 'sad' \(1 row\) differ only in case"):
        cleaning.append(march, april, identity=LATEST)


def test_a_group_that_may_be_another_one_is_refused_and_case_is_kept(raw):
    march, _ = rows(raw, ["sad", "glad"], ["1", "Ann"])
    april, _ = rows(raw, ["sad", "glad"], ["1.0", "unknown"], batch="april")
    with pytest.raises(DataError, match=r"such as '1' \(1 rows\) and '1.0' \(1\)"):
        cleaning.append(march, april, identity=LATEST)
    april, _ = rows(raw, ["sad", "glad"], ["ann", "ANN"], batch="april")
    table, _ = cleaning.append(march, april, identity=LATEST)
    assert set(table["group"]) == {"1", "Ann", "ann", "ANN"}


def test_names_of_splits():
    found = canonical_split(column("Train\u00a0", "Train", "\u3000valid", "", "TEST"), LATEST)
    assert found.tolist() == ["train", "train", "validation", "", "test"]
    assert canonical_split(column("Train", "train"), FIRST).tolist() == ["train"] * 2
    with pytest.raises(DataError, match=r"validation split: 'dev' \(2 rows\), 'val' \(1 rows\)"):
        canonical_split(column("dev", "dev", "val", "train"), LATEST)
    with pytest.raises(DataError, match=r"train split: .*'Train' \(1 rows\)"):
        canonical_split(column("Train", "train"), LATEST)


def test_a_label_by_hand_is_its_name_however_it_was_typed():
    queue = pd.DataFrame({"id": list("abcd"), "batch": "b", "text": "t"})
    given = queue.assign(label=["1.0", "\u00a01", "0 ", "TRUE"], id=["a ", "b", "\u200bc", "d"])
    accepted, refused = labeling_queue.accept(given, queue, OneOf(["0", "1"]))
    assert accepted["label"].tolist() == ["1", "1", "0"]
    assert refused["reason"].str.startswith("unknown label 'TRUE'").all()
    accepted, _ = labeling_queue.accept(given.assign(label=SAD), queue,
                                        OneOf(["F\u00e2ch\u00e9", "x"]))
    assert set(accepted["label"]) == {"F\u00e2ch\u00e9"} and len(accepted) == 4


def test_label_names_are_listed_as_the_rows_have_them():
    assert label_list({"0.0": "sad ", "1": "glad"}, LATEST) == ["sad", "glad"]
    assert label_list({"0": "sad ", "1": "glad"}, FIRST) == ["sad ", "glad"]
    assert label_list(None, LATEST) == []


def delivery(folder, labels, name="rows.csv"):
    lines = [f"text number {i},{label}" for i, label in enumerate(labels * 10)]
    (folder / name).write_text("\n".join(["text,label", *lines]) + "\n", encoding="utf-8")
    return folder / name


@pytest.mark.parametrize("labels, names", [
    (["sad ", "sad", "glad"], ["glad", "sad"]),
    (["0.0", "1", "1.0"], ["0", "1"]),
    ([SAD, "f\u00e2ch\u00e9", "calme"], ["calme", "f\u00e2ch\u00e9"]),
])
def test_init_writes_canonical_names(tmp_path, labels, names):
    found = describe_data(delivery(tmp_path, labels), "text", "label")[0]["labels"]
    assert found == dict(zip(names, names, strict=True))


def test_init_refuses_two_spellings_with_their_counts(tmp_path):
    file = delivery(tmp_path, ["Sad", "sad", "sad", "glad"])
    with pytest.raises(DataError, match=r"'Sad' \(10 rows\) and 'sad' \(20 rows\) differ only in"):
        describe_data(file, "text", "label")
    rows = [{"text": f"t {i}", "label": label}
            for i, label in enumerate([True, "True", 1, False, 0, "False"] * 5)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    with pytest.raises(DataError, match=r"'1' \(5 rows\), 'True' \(5 rows\) and 'true' \(5 rows\)"):
        describe_data(tmp_path / "rows.jsonl", "text", "label")


@pytest.mark.parametrize(("one", "other"), [
    ("don't know", "don’t know"), ("non-toxic", "non‑toxic"), ("non-toxic", "non–toxic"),
    ("-1", "−1"), ("01", "1"), ("1.", "1"), ("İyi", "iyi"), ('"joy"', "joy"), ("joy.", "joy"),
    ("a_b", "a b")])
def test_labels_that_differ_in_typography_only_are_refused(one, other):
    cells = pd.Series([one, other, "third"] * 4)
    with pytest.raises(DataError, match=r"\(4 rows\).*\(4 rows\)"):
        canonical_labels(cells)


@pytest.mark.parametrize(("one", "other"), [("C", "C++"), ("+1", "-1"), ("+1", "1"), ("C", "C#")])
def test_labels_that_differ_in_a_sign_with_a_meaning_are_two(one, other):
    cells = pd.Series([one, other] * 4)
    assert set(canonical_labels(cells)) == {one, other}


def test_groups_that_a_table_has_rounded_are_refused():
    raw = pd.DataFrame({"row": [0, 1], "text": ["a b", "c d"], "label": ["x", "y"],
                        "group": ["1.7123456789012346e+18", "5.0"]})
    with pytest.raises(DataError, match="has lost digits.*Write the column as text"):
        text_rows.clean(raw, batch="b", identity=2)
    raw["group"] = ["1712345678901234567", "5.0"]
    assert text_rows.clean(raw, batch="b", identity=2)[0]["group"].tolist() == [
        "1712345678901234567", "5"]


def test_groups_that_a_spreadsheet_took_the_zeros_from_are_refused():
    def rows(batch: str, groups: list[str]) -> pd.DataFrame:
        raw = pd.DataFrame({"row": range(len(groups)), "label": "x", "group": groups,
                            "text": [f"{batch} text number {n}" for n in range(len(groups))]})
        return text_rows.clean(raw, batch=batch, identity=2)[0]

    march, april = rows("march", ["00001", "00002", "00030"]), rows("april", ["1", "2", "44"])
    for first, second in ((march, april), (april, march)):
        with pytest.raises(DataError, match="zeros that others have, such as '1' and '00001'"):
            cleaning.append(first, second, identity=2)
    apart = rows("may", ["7", "8", "9", "00031"])
    cleaning.append(march, apart, identity=2)
