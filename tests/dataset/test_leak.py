"""Test rows that are planted where training might find them: each is caught, and counted."""

import random

import pandas as pd
import pytest

from ftzard.dataset import cleaning, handed_in
from ftzard.dataset.normalising import normalise_all
from ftzard.dataset.splitting import (
    assign,
    drop_near_duplicates,
    learned_before,
    like_test_rows,
)
from tests.dataset.conftest import RATIO

WORDS = ("the a my this day phone song train lunch with and again really very some house street "
         "music friend morning winter coffee ticket window garden market river story people paper "
         "letter number school doctor weather holiday weekend office kitchen").split()
KINDS = ("exact", "case", "word")


def texts(count: int, seed: int) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=draw.randint(7, 15))) for _ in range(count)]


def planted(text: str, kind: str, draw: random.Random) -> str:
    """Return a test row as somebody may bring it again."""
    if kind == "exact":
        return text
    if kind == "case":
        return text.title() + "!"
    words = text.split()
    other = draw.choice(["zebra", "don't-ever", "so...what", "@bob", ":)"])
    words[draw.randrange(len(words))] = other
    return " ".join(words)


def raw(rows: list[str]) -> pd.DataFrame:
    labels = ["4" if "day" in text.lower().split() else "0" for text in rows]
    return pd.DataFrame({"row": range(len(rows)), "text": rows, "label": labels}).astype(
        {"text": "str", "label": "str"})


def clean(rows: list[str], batch: str):
    return cleaning.clean(raw(rows), batch=batch, labels={"0": "sad", "4": "glad"})


@pytest.fixture(scope="module")
def known() -> pd.DataFrame:
    """The rows of the first batch with their sides."""
    return assign(clean(texts(600, 1), "first")[0], ratio=RATIO, salt="ftzard")


@pytest.fixture(scope="module")
def plants(known) -> dict[str, list[str]]:
    draw = random.Random(2)
    test = known.loc[known["split"] == "test", "text"].tolist()[:60]
    return {kind: [planted(t, kind, draw) for t in test] for kind in KINDS}


def words(rows: pd.Series) -> set[str]:
    return set(normalise_all(rows).to_pylist())


def trained(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What steps 2 and after train on or choose by, and what left training."""
    kept, dropped = drop_near_duplicates(assign(table, ratio=RATIO, salt="ftzard"))
    return kept[kept["split"] != "test"], dropped


@pytest.mark.parametrize("kind", KINDS)
def test_in_the_training_data(known, plants, kind):
    everything = known["text"].tolist() + plants[kind]
    cleaned, rejected = clean(everything, "first")
    rows, dropped = trained(cleaned)
    assert not words(rows["text"]) & words(pd.Series(plants[kind]))
    if kind == "word":
        moved = assign(cleaned, ratio=RATIO, salt="ftzard").iloc[-60:]["split"] != "test"
        near = dropped["reason"] == "near-duplicate of a test row"
        assert near.sum() == moved.sum() > 30
    else:
        assert (rejected["reason"] == cleaning.DUPLICATE).sum() == 60


@pytest.mark.parametrize("kind", KINDS)
def test_in_a_later_delivery_with_labels(known, plants, kind):
    cleaned, _ = clean(texts(200, 3) + plants[kind], "second")
    table, repeated = cleaning.append(known.drop(columns="split"), cleaned)
    rows, dropped = trained(table)
    assert not words(rows["text"]) & words(pd.Series(plants[kind]))
    caught = len(repeated) if kind != "word" else len(dropped)
    assert caught == 60 if kind != "word" else caught > 30
    assert set(repeated["reason"]) <= {cleaning.EARLIER_DUPLICATE}


@pytest.mark.parametrize("kind", KINDS)
def test_in_an_incoming_batch(known, plants, kind):
    """All are counted as they arrive; labelled all the same, none of them reaches training."""
    arrived, _ = cleaning.clean(raw(texts(200, 4) + plants[kind]).drop(columns="label"),
                                batch="third")
    reasons = like_test_rows(arrived["text"], known.loc[known["split"] == "test", "text"])
    expected = "near-duplicate" if kind == "word" else "duplicate"
    assert reasons[reasons != ""].tolist() == [f"{expected} of a test row"] * 60
    assert (reasons[-60:] != "").all()
    table, repeated = cleaning.append(known.drop(columns="split"), arrived.assign(label="sad"))
    rows, dropped = trained(table)
    assert not words(rows["text"]) & words(pd.Series(plants[kind]))
    assert len(repeated) + len(dropped) > 30


def test_a_new_test_row_like_one_that_was_learned_before_is_counted(known):
    learned = known.loc[known["split"] == "train", "text"].tolist()[:40]
    draw = random.Random(3)
    again = [planted(text, KINDS[n % 3], draw) for n, text in enumerate(learned)]
    late = pd.DataFrame({"id": [f"new{n}" for n in range(60)], "split": "test",
                         "text": again + texts(20, 9)})
    rows = pd.concat([known, late], ignore_index=True)
    assert 36 <= learned_before(rows, known) <= 40
    assert learned_before(rows, rows) == 0, "only new test rows count"
    assert learned_before(rows, None) == 0


def test_in_a_labelled_file(known, plants, tmp_path):
    """Rows that nobody asked for, and other texts under ids that were asked for, are refused."""
    arrived, _ = cleaning.clean(raw(texts(90, 5)).drop(columns="label"), batch="fourth")
    queue = arrived.head(60).assign(side="train", suggestion="sad", confidence="0.5", label="",
                                    chosen_by="least_confidence", group="")
    filled = queue.assign(label="glad")
    filled.loc[:29, "text"] = plants["exact"][:10] + plants["case"][:10] + plants["word"][:10]
    stray = pd.DataFrame({"id": [f"mine{i}" for i in range(30)], "batch": "fourth", "label": "sad",
                          "text": plants["exact"][10:20] + plants["case"][10:20]
                          + plants["word"][10:20]})
    pd.concat([filled, stray]).to_csv(tmp_path / "mine.csv", index=False)
    found = handed_in.read(tmp_path / "mine.csv", batch="file", queue=queue,
                           labels=["glad", "sad"])
    assert found.rejected["reason"].str.startswith("unknown id").sum() == 30
    assert (found.rejected["reason"] == "changed text").sum() == 30
    table, _ = cleaning.append(known.drop(columns="split"), found.cleaned, replace_batch=False)
    rows, _ = trained(table)
    everything = pd.Series([t for kind in KINDS for t in plants[kind]])
    assert len(found.cleaned) == 30 and not words(rows["text"]) & words(everything)


def test_one_word_between_spaces_is_one_word_whatever_stands_in_it():
    test = "waiting for it...and then well-known rain comes down"
    for changed in ("waiting for zebra then well-known rain comes down",
                    "waiting for it...and then zebra rain comes down",
                    "waiting for it...and then a-b-c rain comes down",
                    "waiting for it...and then @user's rain comes down"):
        assert like_test_rows(pd.Series([changed]), [test]).tolist() == [
            "near-duplicate of a test row"], changed
    assert like_test_rows(pd.Series(["something else stands here than anybody had seen"]),
                          [test]).tolist() == [""]
    assert like_test_rows(pd.Series([], dtype="str"), [test]).empty


