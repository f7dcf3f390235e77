"""A workspace's own functions with models that write: what is asked, and what is written."""

import json

import numpy as np
import pandas as pd
import pytest

from ftzard.config.compose import compose
from ftzard.core import custom_functions
from ftzard.errors import DataError
from ftzard.tasks.instruction_tuning import answer_metrics, instructions, predictor
from ftzard.tasks.instruction_tuning.setup import instruction_config

SOURCE = """
import itertools
count = itertools.count()

def plain(text):
    return text.replace("please", "").replace("  ", " ")

def counting(text):
    return f"{text} {next(count)}"

def growing(text):
    return text + "!"

def failing(text):
    assert "sky" not in text, "no sky"
    return text

def short(wanted, written, rows):
    return float((rows["tokens"] < 3).mean())

def right(wanted, written, rows):
    return sum(a == b for a, b in zip(wanted, written)) / len(wanted)

def none(wanted, written, rows):
    return None
"""


def packed(name: str, key: str = "data.clean") -> dict:
    return custom_functions.packed(f"own:{name}", {"own.py": SOURCE}, key)


def raw(rows: list[dict]) -> pd.DataFrame:
    """Return rows as `instructions.read` does."""
    return pd.DataFrame([{"row": number, "text": "", "input": "", "messages": "", "source": "",
                          "label": "Yes, please.", **row} for number, row in enumerate(rows)])


CHAT = [{"role": "system", "content": "Be  brief, please."},
        {"role": "user", "content": "please go"},
        {"role": "assistant", "content": "Where to, please?"},
        {"role": "user", "content": "Home,  please", "input": "by  train"}]


def test_what_people_write_is_cleaned_and_no_answer(tmp_path):
    own = packed("plain")
    cleaned, rejected = instructions.clean(raw([
        {"text": "Sing please"}, {"text": "Sum up", "input": "please"}, {"text": "please"},
        {"messages": json.dumps(CHAT)},
        {"messages": json.dumps([CHAT[0] | {"content": " please "}, CHAT[3]])}]),
        batch="b", own=own)
    assert rejected[["row", "reason"]].to_numpy().tolist() == [
        [2, "empty instruction"], [4, "empty message of the system"]]
    chats = cleaned["messages"].map(json.loads).tolist()
    assert chats[0] == [{"role": "user", "content": "Sing"}]
    assert chats[1] == [{"role": "user", "content": "Sum up"}], "an empty input is none"
    assert [turn["content"] for turn in chats[2]] == [
        "Be brief, .", "go", "Where to, please?", "Home,"]
    assert chats[2][3]["input"] == "by train"
    assert cleaned["text"].tolist()[:2] == ["Sing", "Sum up"]
    assert set(cleaned["label"]) == {"Yes, please."}
    assert set(cleaned["cleaned_by"]) == {own["sha256"][:16]}
    asked = predictor.clean(["Sing  please", CHAT], {"own": own})
    assert asked[0] == "Sing" and asked[1] == chats[2], "as in training"
    plain, _ = instructions.clean(raw([{"text": "Sing please"}]), batch="b")
    assert "cleaned_by" not in plain and plain["text"].tolist() == ["Sing please"]


def test_a_text_is_measured_as_it_is_once_cleaned():
    long = {"text": "go " + 30 * "please "}
    cleaned, rejected = instructions.clean(raw([long]), batch="b", max_characters=20,
                                           own=packed("plain"))
    assert cleaned["text"].tolist() == ["go"] and rejected.empty
    assert len(instructions.clean(raw([long]), batch="b", max_characters=20)[1]) == 1


@pytest.mark.parametrize(("name", "words"), [
    ("failing", r"AssertionError: no sky \(row 1, 'the sky'\)"),
    ("counting", "given the same text again"), ("growing", "given its own result again")])
def test_a_function_that_fails_or_is_not_steady_stops_the_step(name, words):
    with pytest.raises(DataError, match=words):
        instructions.clean(raw([{"text": "the sun"}, {"text": "the sky"}]), batch="b",
                           own=packed(name))


def test_own_metrics_see_what_was_wanted_written_and_said_of_each_answer():
    rows = pd.DataFrame({"text": list("abcd"), "label": ["1", "2", "3", "4"]}, index=[3, 5, 6, 9])
    written = pd.DataFrame({"answer": ["1", "2", "x", "4"], "confidence": 0.5,
                            "tokens": [2, 2, 2, 9], "finished": np.array([True] * 4)})
    own = {name: packed(name, "metrics") for name in ("short", "right")}
    assert answer_metrics.own_metrics(own, rows, written) == {"short": 0.75, "right": 0.75}
    with pytest.raises(DataError, match=r"own:none returned None .* expected a finite number"):
        answer_metrics.own_metrics({"none": packed("none", "metrics")}, rows, written)


def test_the_config_takes_both_and_no_name_of_a_measure_that_there_is():
    given = compose(instruction_config({}), {"metrics": ["own:short"],
                                             "data": {"clean": "own:plain"}})
    assert given.metrics == ["own:short"] and given.data.clean == "own:plain"
    with pytest.raises(Exception, match="other names than perplexity"):
        compose(instruction_config({}), {"metrics": ["own:perplexity"]})
