"""Label sets from people: typed, marked key by key, and by Label Studio."""

import json

import pandas as pd
import pytest

from ftzard.config.compose import compose
from ftzard.data.identity import LATEST
from ftzard.data.labeling import label_studio, labeling_queue
from ftzard.tasks.multi_label import labeling
from ftzard.tasks.multi_label.labeling import AnyOf

QUEUE = pd.DataFrame({
    "id": ["a", "b", "c"], "batch": "b0", "text": ["one", "two", "three"],
    "suggestion": ["anger|joy", "[]", "joy"], "confidence": "0.8",
    "side": ["train", "train", "test"], "chosen_by": "margin", "label": ""})


def test_names_are_those_of_the_config_or_of_the_known_label_sets():
    known = labeling.label_format(compose({"task": "multi_label"}).data, LATEST,
                                  ["joy", "anger|fear", "[]", ""])
    assert known.names == ["anger", "fear", "joy", "[]"]
    config = compose({"task": "multi_label", "data": {"labels": {"1": "joy", "0": "anger"}}})
    assert labeling.label_format(config.data, LATEST, []).names == ["joy", "anger", "[]"]


@pytest.mark.parametrize(("keys", "label"), [
    (["joy", "anger"], "anger|joy"), (["joy", "anger", "joy"], "anger"), (["joy", "joy"], "")])
def test_a_key_adds_a_label_or_takes_it_away(keys, label):
    form, marked = AnyOf(["anger", "joy"]), ""
    for key in keys:
        marked, complete = form.choose(marked, key)
        assert not complete
    assert marked == label
    assert form.choose(marked, "[]") == ("[]", True)


def test_what_people_type_is_parsed_and_the_unknown_is_none():
    found = AnyOf(["anger", "joy"]).parse(
        pd.Series(["Joy , anger", "", None, "['joy']", "[]", "fun", "joy|fun"]))
    assert found.fillna("none").tolist() == ["anger|joy", "", "", "joy", "[]", "none", "none"]


def test_label_studio_asks_for_several_choices_and_its_export_comes_back(tmp_path):
    names = AnyOf(["anger", "joy"]).names
    interface = labeling.label_studio_interface(names)
    assert 'choice="multiple"' in interface and interface.count("<Choice value=") == 3
    tasks = label_studio.tasks(QUEUE, "m@1", labeling.label_studio_value)
    chosen = [[part["value"]["choices"] for part in task["predictions"][0]["result"]]
              if "predictions" in task else None for task in tasks]
    assert chosen == [[["anger", "joy"]], [["[]"]], None]
    answers = [["joy", "anger"], ["[]"], ["joy"]]
    (tmp_path / "export.json").write_text(json.dumps([{
        "data": task["data"], "annotations": [{"completed_by": 1, "result": [{
            "from_name": "label", "to_name": "text", "type": "choices",
            "value": {"choices": choices}}]}]}
        for task, choices in zip(tasks, answers, strict=True)]))
    given = labeling_queue.read_labelled(tmp_path / "export.json", free=labeling.FREE_TEXT)
    accepted, refused = labeling_queue.accept(given, QUEUE, AnyOf(["anger", "joy"]))
    assert accepted["label"].tolist() == ["anger|joy", "[]", "joy"] and refused.empty


def test_two_people_agree_whatever_the_order_and_differ_where_the_sets_do():
    given = pd.DataFrame({
        "id": ["a", "a", "b", "b"], "batch": "b0", "text": ["one", "one", "two", "two"],
        "label": ["joy, anger", "anger|joy", "joy", "joy, anger"],
        "labelled_by": ["ann", "bob"] * 2, "labelled_at": "", "own_answer": "", "seen": ""})
    accepted, refused = labeling_queue.accept(given, QUEUE, AnyOf(["anger", "joy"]))
    assert accepted[["id", "label"]].values.tolist() == [["a", "anger|joy"]]
    assert set(refused["id"]) == {"b"} and "two people" in refused["reason"].iloc[0]


def test_an_unknown_label_among_known_ones_is_refused_with_the_nearest():
    given = pd.DataFrame({"id": ["a"], "batch": "b0", "text": ["one"], "label": ["joy, angr"],
                          "labelled_by": "ann", "labelled_at": "", "own_answer": "", "seen": ""})
    _, refused = labeling_queue.accept(given, QUEUE, AnyOf(["anger", "joy"]))
    assert refused["reason"].tolist() == ["unknown label 'angr'; did you mean 'anger'?"]
