import pandas as pd
import pytest

from ftzard.core.text import clean_texts
from ftzard.data.cleaning import append, sample_rows
from ftzard.errors import DataError
from ftzard.tasks.classification.text_rows import check, clean

LABELS = {0: "negative", "4": "positive"}


@pytest.mark.parametrize(
    "text, expected",
    [
        ("  Tom &amp; Ann &lt;3 caf&eacute; &#128512; ", "Tom & Ann <3 café 😀"),
        ("AT&T, a&b; R&copy", "AT&T, a&b; R&copy"),
        (".@ann_1 and @bob: mail x@y.com @", ".@user and @user: mail x@y.com @"),
        ("see https://t.co/Ab?x=1&y=2, or www.example.com!", "see http or http"),
        ("awww.that is httpsome", "awww.that is httpsome"),
        ("gluedhttp://t.co/x on", "gluedhttp on"),
        ("two\r\nlines\tand\x00\x07more\u00a0\u3000space", "two lines and more space"),
        ("zero\u200bwidth \ufeffmark", "zerowidth mark"),
        ("NO!!! Way... 😀👨\u200d👩\u200d👧", "NO!!! Way... 😀👨\u200d👩\u200d👧"),
        ("cafe\u0301", "caf\u00e9"),
        ("NaN", "NaN"),
    ],
)
def test_what_a_text_becomes(text, expected):
    once = clean_texts(pd.Series([text]))
    assert once.to_pylist() == [expected]
    assert clean_texts(once).to_pylist() == [expected]


def test_tokens_for_mentions_and_links_are_taken_literally():
    texts = clean_texts(pd.Series(["@a http://b"]), mention=r"\1<u>", link=r"\0")
    assert texts.to_pylist() == [r"\1<u> \0"]


def test_entities_can_be_left_as_they_are():
    assert clean_texts(pd.Series(["a &amp; b"]), unescape_html=False).to_pylist() == ["a &amp; b"]


def test_rejected_rows_have_a_reason_each(raw):
    frame = raw(
        [
            "so good", "", "  \u200b\ufe0f ", "x" * 5001, "fine", "odd", "same", "Same!", "twice",
            "TWICE", "twice.", "http://a.b", "NaN",
        ],
        ["4", "0", "4", "0", "", "2", "0", "4", "4.0", "4", " 4 ", "0", "0"],
    )  # fmt: skip
    cleaned, rejected = clean(frame, batch="b1", labels=LABELS)
    assert cleaned["text"].tolist() == ["so good", "twice", "http", "NaN"]
    assert cleaned["label"].tolist() == ["positive", "positive", "negative", "negative"]
    assert cleaned["row"].tolist() == [0, 8, 11, 12]
    assert dict(zip(rejected["row"], rejected["reason"], strict=False)) == {
        1: "empty text",
        2: "empty text",
        3: "text longer than 5000 characters",
        4: "label missing",
        5: "unknown label '2'",
        6: "contradicting labels",
        7: "contradicting labels",
        9: "duplicate",
        10: "duplicate",
    }
    assert rejected["text"].tolist()[2:4] == ["x" * 5001, "fine"]
    assert list(rejected) == ["batch", "row", "text", "reason"]


def test_ids_are_stable_and_differ(raw):
    cleaned, _ = clean(raw(["a b", "c d"], ["0", "4"]), batch="b1", labels=LABELS)
    again, _ = clean(raw(["a b", "c d"], ["0", "4"]), batch="b1", labels=LABELS)
    other, _ = clean(raw(["a b", "c d"], ["0", "4"]), batch="b2", labels=LABELS)
    assert cleaned["id"].tolist() == again["id"].tolist()
    assert not set(cleaned["id"]) & set(other["id"])
    assert cleaned["id"].str.fullmatch("[0-9a-f]{16}").all()


def test_without_a_map_the_labels_are_the_names(raw):
    cleaned, rejected = clean(raw(["a", "b", "c"], ["joy ", "anger", ""]), batch="b1")
    assert cleaned["label"].tolist() == ["joy", "anger"]
    assert rejected["reason"].tolist() == ["label missing"]


def test_an_unlabelled_batch_has_no_label(raw):
    cleaned, rejected = clean(raw(["a", "A!", ""]), batch="b1", labels=LABELS)
    assert list(cleaned) == ["id", "batch", "row", "text"]
    assert rejected["reason"].tolist() == ["duplicate", "empty text"]


def test_an_emoji_can_make_the_difference(raw):
    cleaned, rejected = clean(raw(["great 🙄", "great 😀"], ["0", "4"]), batch="b1", labels=LABELS)
    assert len(cleaned) == 2 and rejected.empty


def test_published_validation_and_test_rows_are_left_alone(raw):
    frame = raw(
        ["a", "a", "b", "b", "b", "c"],
        ["0", "0", "0", "4", "0", "0"],
        split=["Train", "training", "test", "test", "train", "dev"],
    )
    cleaned, rejected = clean(frame, batch="b1", labels=LABELS)
    assert cleaned["split"].tolist() == ["train", "test", "test", "train", "validation"]
    assert rejected["row"].tolist() == [1]


def test_all_rows_rejected_and_none_rejected_have_the_same_columns(raw):
    none, everything = clean(raw(["", ""], ["0", "4"]), batch="b1", labels=LABELS)
    some, nothing = clean(raw(["a", "b"], ["0", "4"]), batch="b1", labels=LABELS)
    assert list(none) == list(some) and list(everything) == list(nothing)
    assert (none.dtypes == some.dtypes).all() and (everything.dtypes == nothing.dtypes).all()


def checked(frame, labels=LABELS, min_rows=2, max_rejected=0.1):
    check(
        *clean(frame, batch="b1", labels=labels),
        min_rows=min_rows,
        max_rejected=max_rejected,
        labels=labels,
    )


def test_a_sound_delivery_passes(raw):
    checked(raw([f"text {i}" for i in range(20)] + [""], ["0", "4"] * 10 + ["4"]))


def test_duplicates_do_not_count_as_rejected(raw):
    checked(raw(["a", "b", *["a"] * 50], ["0", "4", *["0"] * 50]))


@pytest.mark.parametrize(
    "texts, labels, map_, said",
    [
        (["a", "b", "", ""], "0404", LABELS, ["2 of 4 rows", "50.0%", "2 empty text"]),
        (
            ["a", "b", "c", "d"],
            "1204",
            LABELS,
            ["1 unknown label '1', 1 unknown label '2'", "'0' (negative), '4' (positive)"],
        ),
        (["a"] * 9, "0" * 9, LABELS, ["Only 1 of 9 rows", "all 8 others are duplicates"]),
        (["a"], "0", LABELS, ["Only 1 of 1 rows", "none rejected", "at least 2"]),
        (["a", "b", "c"], "000", LABELS, ["All 3 rows are labelled 'negative'", "two classes"]),
        (["a", "b", "c", "d"], "jJJk", None, ["'J' (2 rows) and 'j' (1)", "only in case"]),
        (["a", "b", "c", "d"], "jklm", None, ["4 rows have 4 different labels", "label_column"]),
        (["a", "b", "c", "d"], "    ", None, ["4 of 4 rows", "4 label missing"]),
    ],
)
def test_a_delivery_that_cannot_be_used_says_why(raw, texts, labels, map_, said):
    with pytest.raises(DataError) as caught:
        checked(raw(texts, list(labels)), labels=map_)
    for words in said:
        assert words in str(caught.value)


def test_many_kinds_of_reasons_are_summed_up(raw):
    with pytest.raises(DataError, match="15 for 15 other reasons"):
        checked(raw([f"t {i}" for i in range(20)], [f"x{i}" for i in range(20)]))


def batch(raw, name, texts, labels=None):
    return clean(raw(texts, labels), batch=name, labels=LABELS)[0]


def test_batches_are_added_and_earlier_texts_are_not_taken_twice(raw):
    first = batch(raw, "z", ["a", "b"], ["0", "4"])
    table, rejected = append(None, first)
    assert table.equals(first) and rejected.empty
    table, rejected = append(table, batch(raw, "a", ["c", "A", "b"], ["0", "0", "0"]))
    assert table["batch"].tolist() == ["z", "z", "a"]
    assert table["text"].tolist() == ["a", "b", "c"]
    assert rejected["reason"].tolist() == [
        "duplicate of an earlier batch",
        "contradicts the label of an earlier batch",
    ]
    assert rejected["batch"].tolist() == ["a", "a"]


def test_the_same_batch_again_takes_its_own_place(raw):
    table, _ = append(None, batch(raw, "z", ["a", "b"], ["0", "4"]))
    table, _ = append(table, batch(raw, "a", ["c"], ["0"]))
    table, rejected = append(table, batch(raw, "z", ["a", "d"], ["0", "4"]))
    assert table["text"].tolist() == ["a", "d", "c"]
    assert rejected.empty
    again, _ = append(table, batch(raw, "z", ["a", "d"], ["0", "4"]))
    assert again.equals(table)


def test_labels_that_arrive_in_portions_add_up(raw):
    whole = batch(raw, "z", ["a", "b", "c"], ["0", "4", "0"])
    table, _ = append(None, whole.iloc[[2, 0]])
    relabelled = whole.iloc[[0, 1]].assign(label="positive")
    table, _ = append(table, relabelled, replace_batch=False)
    assert table["text"].tolist() == ["a", "b", "c"]
    assert table["label"].tolist() == ["positive", "positive", "negative"]


def test_labelled_and_unlabelled_rows_do_not_mix(raw):
    table = batch(raw, "z", ["a"], ["0"])
    with pytest.raises(DataError, match="The new rows have no labels"):
        append(table, batch(raw, "y", ["b"]))


def test_a_sample_keeps_shares_order_and_seed(raw):
    frame = raw([f"t {i}" for i in range(1000)], ["0"] * 700 + ["4"] * 200 + ["x"] * 100)
    drawn = sample_rows(frame, 101, seed=1, stratified=True)
    assert len(drawn) == 101
    assert drawn["label"].value_counts().to_dict() == {"0": 71, "4": 20, "x": 10}
    assert drawn["row"].is_monotonic_increasing
    assert drawn.equals(sample_rows(frame, 101, seed=1, stratified=True))
    assert not drawn.equals(sample_rows(frame, 101, seed=2, stratified=True))
    plain = sample_rows(frame, 101, seed=1, stratified=False)
    assert len(plain) == 101 and plain["row"].is_unique


def test_a_sample_of_all_or_more_rows_is_the_file(raw):
    frame = raw(["a", "b"], ["0", "4"])
    assert sample_rows(frame, None, seed=1).equals(frame)
    assert sample_rows(frame, 10, seed=1).equals(frame)
    with pytest.raises(DataError, match="data.sample_rows=0"):
        sample_rows(frame, 0, seed=1)


def test_labels_that_people_handed_in_may_be_of_one_class():
    """The rows that were asked may all be of one; the table has the others."""
    rows = pd.DataFrame({"text": ["a b", "c d"], "label": ["x", "x"], "row": [0, 1],
                         "id": ["1", "2"], "batch": ["b", "b"]})
    nothing = pd.DataFrame({"batch": [], "row": [], "text": [], "reason": []}, dtype="str")
    limits = {"min_rows": 1, "max_rejected": 0.1, "labels": {"x": "x", "y": "y"}}
    with pytest.raises(DataError, match="at least two classes"):
        check(rows, nothing, **limits)
    check(rows.assign(labelled_by="ada"), nothing, **limits)
