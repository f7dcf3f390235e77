"""Test rows that are planted where training might find them: each is caught, and counted."""

import json
import random

import pandas as pd
import pytest

from ftzard.data import cleaning, messages, near_duplicates
from ftzard.data.identity import FIRST, LATEST
from ftzard.data.labeling import submissions
from ftzard.data.labeling.label_formats import OneOf
from ftzard.data.near_duplicates import (
    drop_near_duplicates,
    learned_before,
    like_test_rows,
)
from ftzard.data.normalization import normalise_all
from ftzard.data.splitting import assign
from ftzard.tasks.classification import text_rows
from ftzard.tasks.instruction_tuning import instructions
from ftzard.tasks.instruction_tuning.exchanges import exchanges_of
from tests.data.conftest import RATIO

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
    return text_rows.clean(raw(rows), batch=batch, labels={"0": "sad", "4": "glad"})


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


@pytest.mark.parametrize(("rows", "bits"), [(7, 24), (100, 1), (1 << 20, 4)])
def test_the_same_rows_leave_in_whatever_parts_they_are_compared(known, plants, monkeypatch, rows,
                                                                 bits):
    table = assign(clean(known["text"].tolist() + plants["word"], "first")[0], ratio=RATIO,
                   salt="ftzard")
    kept, dropped = drop_near_duplicates(table, LATEST)
    monkeypatch.setattr(near_duplicates, "_AT_ONCE", rows)
    monkeypatch.setattr(near_duplicates, "_BITS", bits)
    again, dropped_again = drop_near_duplicates(table, LATEST)
    assert kept.equals(again) and dropped.equals(dropped_again) and len(dropped) > 30


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
    arrived, _ = text_rows.clean(raw(texts(200, 4) + plants[kind]).drop(columns="label"),
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
    arrived, _ = text_rows.clean(raw(texts(90, 5)).drop(columns="label"), batch="fourth")
    queue = arrived.head(60).assign(side="train", suggestion="sad", confidence="0.5", label="",
                                    chosen_by="least_confidence", group="")
    filled = queue.assign(label="glad")
    filled.loc[:29, "text"] = plants["exact"][:10] + plants["case"][:10] + plants["word"][:10]
    stray = pd.DataFrame({"id": [f"mine{i}" for i in range(30)], "batch": "fourth", "label": "sad",
                          "text": plants["exact"][10:20] + plants["case"][10:20]
                          + plants["word"][10:20]})
    pd.concat([filled, stray]).to_csv(tmp_path / "mine.csv", index=False)
    found = submissions.read(tmp_path / "mine.csv", batch="file", queue=queue,
                           labels=OneOf(["glad", "sad"]))
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


SYSTEM = {"role": "system", "content": "You are a helpful assistant that answers in brief."}
GREETING = [{"role": "user", "content": "Hi there!"},
            {"role": "assistant", "content": "Hello, how can I help you today?"}]
BEGINNINGS = {"system": [SYSTEM], "greeting": GREETING, "both": [SYSTEM, *GREETING]}


def chats(told: list[tuple[list[dict], str, str]], folder) -> pd.DataFrame:
    """Return chats, each of what stands before its question, the question and its answer."""
    path = folder / "chats.jsonl"
    path.write_text("".join(json.dumps({"messages": [
        *before, {"role": "user", "content": asked}, {"role": "assistant", "content": answer}]})
        + "\n" for before, asked, answer in told))
    raw = instructions.read(path, instruction_column="instruction", output_column="output",
                            messages_column="messages")
    return instructions.clean(raw, batch="b")[0]


def asked_and_answered(rows: pd.DataFrame) -> list[tuple[str, str]]:
    return [(json.loads(cell)[-1]["content"], label)
            for cell, label in zip(rows["messages"], rows["label"], strict=True)]


@pytest.mark.parametrize("beginning", BEGINNINGS)
def test_a_question_and_its_answer_behind_another_beginning(tmp_path, beginning):
    """Another system's message or a greeting first: the same is asked, and the same is learned."""
    told = list(zip(texts(300, 11), texts(300, 12), strict=True))
    rows = chats([row for asked, answer in told
                  for row in (([], asked, answer), (BEGINNINGS[beginning], asked, answer))],
                 tmp_path)
    assert len(rows) == 600, "to cleaning they are two rows"
    sides = assign(rows, ratio=RATIO, salt="ftzard")
    kept, dropped = drop_near_duplicates(sides, repeated_of=exchanges_of)
    test = set(asked_and_answered(kept[kept["split"] == "test"]))
    validation = set(asked_and_answered(kept[kept["split"] == "validation"]))
    train = set(asked_and_answered(kept[kept["split"] == "train"]))
    assert not test & train and not test & validation and not validation & train
    assert (sides["split"] == "test").sum() == (kept["split"] == "test").sum(), "test rows stay"
    by_reason = dropped["reason"].value_counts().to_dict()
    assert set(by_reason) == {"question and answer of a test row",
                              "question and answer of a validation row"}
    assert sum(by_reason.values()) > 100
    assert set(asked_and_answered(sides[sides["split"] == "train"])) & test, "they were there"


def test_the_same_question_with_another_answer_or_input_is_another_row(tmp_path):
    asked = "Which of these four words is the longest one of all?"
    rows = chats([([], asked, "Elephant"), ([SYSTEM], asked, "Crocodile"),
                  (GREETING, asked, "elephant!")], tmp_path)
    about = messages.to_json([SYSTEM, {"role": "user", "content": asked, "input": "cat, dog"}])
    other = rows.head(1).assign(messages=about, text="system: something with an input of its own")
    rows = pd.concat([rows, other], ignore_index=True).assign(
        split=["test", "train", "train", "train"])
    kept, dropped = drop_near_duplicates(rows, repeated_of=exchanges_of)
    assert kept["label"].tolist() == ["Elephant", "Crocodile", "Elephant"]
    assert dropped["label"].tolist() == ["elephant!"]
    assert dropped["reason"].tolist() == ["question and answer of a test row"]


def test_a_new_test_row_whose_question_and_answer_were_learned_before_is_counted(tmp_path):
    asked, answers = texts(30, 13), texts(30, 14)
    before = chats([([], *row) for row in zip(asked, answers, strict=True)], tmp_path).assign(
        split="train")
    late = chats([([SYSTEM], *row) for row in zip(asked[:12], answers[:12], strict=True)]
                 + [([SYSTEM], *row) for row in zip(asked[12:20], answers[:8], strict=True)],
                 tmp_path).assign(split="test", id=[f"new{n}" for n in range(20)])
    both = pd.concat([before, late], ignore_index=True)
    assert learned_before(both, before, repeated_of=exchanges_of) == 12


def by_turn(dialogues: int, folder) -> tuple[pd.DataFrame, list[list[tuple[str, str]]]]:
    """Return dialogues of three turns as a row for each turn, all before it in front, and these."""
    asked, answers = texts(3 * dialogues, 21), texts(3 * dialogues, 22)
    told = [list(zip(asked[n:n + 3], answers[n:n + 3], strict=True))
            for n in range(0, 3 * dialogues, 3)]
    before = [[[{"role": role, "content": said} for turn in turns[:n]
                for role, said in zip(("user", "assistant"), turn, strict=True)]
               for n in range(3)] for turns in told]
    return chats([(before[d][n], *turn) for d, turns in enumerate(told)
                  for n, turn in enumerate(turns)], folder), told


def test_a_dialogue_that_became_a_row_for_each_turn_gives_no_test_answer_away(tmp_path):
    rows, _ = by_turn(120, tmp_path)
    sides = assign(rows, ratio=RATIO, salt="ftzard", identity=LATEST)

    def told(kept: pd.DataFrame, side: str, against: str) -> int:
        """Return how many rows of one side stand, question and answer, in one of another."""
        rows = kept[kept["split"] == against]
        seen = [f"{cell} {label}" for cell, label in zip(rows["messages"], rows["label"],
                                                         strict=True)]
        return sum(any(asked in text and answer in text for text in seen)
                   for asked, answer in asked_and_answered(kept[kept["split"] == side]))

    kept, dropped = drop_near_duplicates(sides, LATEST, repeated_of=exchanges_of)
    assert told(sides, "test", "train") > 10, "they were there"
    assert told(kept, "test", "train") == told(kept, "test", "validation") == 0
    assert told(kept, "validation", "train") == 0
    assert (kept["split"] == "test").sum() == (sides["split"] == "test").sum(), "test rows stay"
    assert set(dropped["reason"]) == {"question and answer of a test row",
                                      "question and answer of a validation row"}
    of_before, _ = drop_near_duplicates(sides, FIRST, repeated_of=exchanges_of)
    assert len(of_before) == len(sides), "in a workspace of before no row leaves"


def test_a_test_row_that_was_an_earlier_turn_of_a_learned_dialogue_is_counted(tmp_path):
    rows, told = by_turn(10, tmp_path)
    before = rows[rows["row"] % 3 == 2].assign(split="train")  # whole dialogues
    late = chats([([SYSTEM], *turns[1]) for turns in told], tmp_path)
    late = late.assign(split="test", id=[f"new{n}" for n in range(10)])
    both = pd.concat([before, late], ignore_index=True)
    assert learned_before(both, before, LATEST, exchanges_of) == 10
    # The other way round nothing is learned: an old question stands before a new one.
    first = chats([([], *turns[0]) for turns in told], tmp_path).assign(split="train")
    new = rows[rows["row"] % 3 == 2].assign(split="test")
    both = pd.concat([first, new], ignore_index=True)
    assert learned_before(both, first, LATEST, exchanges_of) == 0
