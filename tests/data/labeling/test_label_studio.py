"""The queue as Label Studio's tasks, and its two exports back."""

import json
from xml.etree import ElementTree

import pandas as pd
import pytest

from ftzard.data.labeling.label_formats import OneOf
from ftzard.data.labeling.label_studio import choices_interface, tasks
from ftzard.data.labeling.labeling_queue import accept, read_labelled
from ftzard.errors import DataError

NAMES = ["negative", "positive"]


@pytest.fixture
def queue() -> pd.DataFrame:
    return pd.DataFrame({"id": ["a1", "b2", "c3"], "batch": "batch1",
                         "text": ["so good 😀", "meh", 'he said "no"'],
                         "suggestion": ["positive", "negative", "negative"],
                         "confidence": ["0.51", "0.6", "0.7"], "side": "train",
                         "chosen_by": "margin", "label": ""})


def annotated(task: dict, *answers: tuple[str, object]) -> dict:
    """A task as Label Studio exports it, with one annotation per answer."""
    return {**task, "id": 17, "annotations": [
        {"completed_by": who, "was_cancelled": label is None, "created_at": "2026-11-20T08:00:00Z",
         "updated_at": "2026-11-21T09:00:00Z",
         "result": [] if label is None else [
             {"from_name": "label", "to_name": "text", "type": "choices",
              "value": {"choices": [label]}}]}
        for who, label in answers]}


def test_tasks_carry_the_suggestion_as_a_prediction_and_fit_the_interface(queue):
    made = tasks(queue, "Model@3")
    assert [t["data"]["row_id"] for t in made] == ["a1", "b2", "c3"]
    prediction, = made[0]["predictions"]
    assert prediction["model_version"] == "Model@3" and prediction["score"] == 0.51
    result, = prediction["result"]
    view = ElementTree.fromstring(choices_interface([*NAMES, 'so "so" & <so>']))
    choices = view.find("Choices")
    assert result["from_name"] == choices.get("name") and result["to_name"] == choices.get("toName")
    assert view.find("Text").get("name") == result["to_name"]
    assert view.find("Text").get("value").lstrip("$") in made[0]["data"]
    names = [choice.get("value") for choice in choices]
    assert result["value"]["choices"][0] in names and names[-1] == 'so "so" & <so>'


def test_an_export_gives_every_answer_with_its_person_and_time(queue, tmp_path):
    made = tasks(queue, "Model@3")
    export = [annotated(made[0], (1, "positive"), ({"email": "ann@here"}, "positive")),
              annotated(made[1], (1, None)), annotated(made[2], (1, "negative"))]
    (tmp_path / "export.json").write_text(json.dumps(export, ensure_ascii=False))
    back = read_labelled(tmp_path / "export.json", at="mtime")
    assert back["labelled_by"].tolist() == ["1", "ann@here", "unknown", "1"]
    assert back["labelled_at"].tolist() == ["2026-11-21T09:00:00Z"] * 2 + ["mtime",
                                                                          "2026-11-21T09:00:00Z"]
    accepted, refused = accept(back, queue, OneOf(NAMES))
    assert accepted[["id", "label"]].values.tolist() == [["a1", "positive"], ["c3", "negative"]]
    assert refused["reason"].tolist() == ["label empty"]


def test_the_short_exports_are_read_too(queue, tmp_path):
    short = [{"id": 4, "row_id": "a1", "batch": "batch1", "text": "so good 😀", "label": "positive",
              "annotator": 2, "updated_at": "2026-11-21T09:00:00Z"},
             {"id": 5, "row_id": "b2", "batch": "batch1", "text": "meh"}]
    (tmp_path / "min.json").write_text(json.dumps(short))
    pd.DataFrame(short).to_csv(tmp_path / "ls.csv", index=False)
    for name in ("min.json", "ls.csv"):
        back = read_labelled(tmp_path / name)
        assert back["id"].tolist() == ["a1", "b2"] and back["label"].tolist() == ["positive", ""]
        assert back["labelled_at"].tolist()[0] == "2026-11-21T09:00:00Z"
        accepted, _ = accept(back, queue, OneOf(NAMES))
        assert accepted["text"].tolist() == ["so good 😀"]


def test_several_choices_for_one_text_are_refused_as_no_label(queue, tmp_path):
    item = {"row_id": "a1", "batch": "batch1", "text": "so good 😀",
            "label": ["positive", "negative"]}
    (tmp_path / "min.json").write_text(json.dumps([item]))
    _, refused = accept(read_labelled(tmp_path / "min.json"), queue, OneOf(NAMES))
    assert "unknown label 'positive | negative'" in refused["reason"][0]


TEXTS = {"a1": "so good 😀", "b2": "meh"}


def result(control: str, kind: str, value: dict) -> dict:
    return {"from_name": control, "to_name": "text", "type": kind, "value": value}


def full(*answers: list[dict], key: str = "annotations") -> list[dict]:
    """An export as JSON: the results of one annotation per task."""
    return [{"id": n, "data": {"row_id": row, "batch": "batch1", "text": text}, key: [
        {"completed_by": 1, "was_cancelled": False, "result": results}]}
        for n, ((row, text), results) in enumerate(zip(TEXTS.items(), answers, strict=True))]


def short(*answers: dict) -> list[dict]:
    """An export as JSON-MIN: the answers beside the task's data."""
    return [{"id": n, "row_id": row, "batch": "batch1", "text": text, "annotator": 1,
             "annotation_id": 9, "lead_time": 2.5, "created_at": "2026-11-20T08:00:00Z",
             "updated_at": "2026-11-21T09:00:00Z", **answer}
            for n, ((row, text), answer) in enumerate(zip(TEXTS.items(), answers, strict=True))]


def choice(name: str, control: str = "sentiment") -> list[dict]:
    return [result(control, "choices", {"choices": [name]})]


BOTH = ["positive", "negative"]


@pytest.mark.parametrize(("items", "labels"), [
    (full(choice("positive"), choice("negative")), BOTH),
    (full(choice("positive"), choice("negative"), key="completions"), BOTH),
    (full([*choice("positive"), result("why", "textarea", {"text": ["so"]})],
          choice("negative")), BOTH),
    (full([*choice("positive", "label"), *choice("rude", "tone")], choice("negative", "label")),
     BOTH),
    (full([result("stars", "rating", {"rating": 4})], [result("stars", "rating", {"rating": 1.0})]),
     ["4", "1"]),
    (full([result("kind", "taxonomy", {"taxonomy": [["positive"]]})],
          [result("kind", "taxonomy", {"taxonomy": [["mood", "negative"]]})]),
     ["positive", "mood / negative"]),
    (full(choice("positive") + choice("negative"), []), ["positive | negative", ""]),
    (short({"sentiment": "positive"}, {"sentiment": "negative"}), BOTH),
    (short({"sentiment": {"choices": ["positive"]}}, {"sentiment": ["negative"]}), BOTH),
    (short({"stars": 4}, {}), ["4", ""]),
    (short({"label": "positive", "note": "so"}, {"label": "negative"}), BOTH)])
def test_the_only_control_that_can_hold_labels_does_so_whatever_its_name(tmp_path, items, labels):
    (tmp_path / "export.json").write_text(json.dumps(items))
    back = read_labelled(tmp_path / "export.json", free=False)
    assert back["id"].tolist() == ["a1", "b2"] and back["label"].tolist() == labels


@pytest.mark.parametrize("separator", [",", "\t"])
def test_a_csv_export_has_its_labels_in_the_column_of_its_control(tmp_path, separator):
    items = short({"sentiment": "positive"}, {"sentiment": '{"choices": ["negative"]}'})
    pd.DataFrame(items).to_csv(tmp_path / "export.csv", index=False, sep=separator)
    back = read_labelled(tmp_path / "export.csv", free=False)
    assert back["label"].tolist() == BOTH and back["labelled_by"].tolist() == ["1", "1"]
    two = [{**item, "tone": "rude"} for item in items]
    pd.DataFrame(two).to_csv(tmp_path / "export.csv", index=False, sep=separator)
    with pytest.raises(DataError, match="'sentiment' .* 'tone' .* named 'label'"):
        read_labelled(tmp_path / "export.csv", free=False)
    pd.DataFrame(short({}, {})).to_csv(tmp_path / "export.csv", index=False, sep=separator)
    with pytest.raises(DataError, match="without any answer"):
        read_labelled(tmp_path / "export.csv", free=False)


def test_free_answers_are_the_texts_and_labels_the_choices(tmp_path):
    items = full(*([result("answer", "textarea", {"text": [text]}), *choice("fine", "quality")]
                   for text in ("Yes.", "[1, 2]")))
    (tmp_path / "export.json").write_text(json.dumps(items))
    assert read_labelled(tmp_path / "export.json", free=True)["label"].tolist() == ["Yes.",
                                                                                    "[1, 2]"]
    assert read_labelled(tmp_path / "export.json", free=False)["label"].tolist() == ["fine"] * 2
    pd.DataFrame(short({"answer": "[1, 2]"}, {})).to_csv(tmp_path / "export.csv", index=False)
    assert read_labelled(tmp_path / "export.csv", free=True)["label"].tolist() == ["[1, 2]", ""]


@pytest.mark.parametrize(("items", "words"), [
    (full([*choice("positive"), *choice("rude", "tone")], []),
     ["'sentiment' (choices), 'tone' (choices)", "named 'label'"]),
    (short({"sentiment": "positive", "tone": "rude"}, {}), ["'sentiment'", "'tone'", "'label'"]),
    (full([result("span", "labels", {"start": 0, "end": 2, "text": "so", "labels": ["good"]})], []),
     ["the control 'span' (labels)", "named 'label'"]),
    (full([], []), ["2 tasks", "no answer of a person"]),
    ([{**item, "annotations": [{**item["annotations"][0], "was_cancelled": True}]}
      for item in full(choice("positive"), choice("negative"))], ["no answer of a person"]),
    (tasks(pd.DataFrame({"id": ["a1"], "batch": "b", "text": "x", "suggestion": "positive",
                         "confidence": "0.5", "side": "train"}), "M@1"),
     ["no answer of a person, only the predictions of a model in 1 of them"])])
def test_an_export_without_labels_that_can_be_read_is_refused(tmp_path, items, words):
    path = tmp_path / "export.json"
    path.write_text(json.dumps(items))
    with pytest.raises(DataError) as caught:
        read_labelled(path, free=False)
    assert all(word in str(caught.value) for word in words), caught.value
    if "'tone'" in str(caught.value):  # the remedy
        path.write_text(path.read_text().replace('"sentiment"', '"label"'))
        assert read_labelled(path, free=False)["label"].tolist() == ["positive", ""]


@pytest.mark.parametrize(("content", "said"), [
    ("{", "is not JSON"), ('{"a": 1}', "expected Label Studio's list"), ("[]", "holds no task"),
    ('[{"data": {"text": "x"}}]', "task 1: its data has no 'row_id'"),
    ('[{"data": {"row_id": "x"}, "annotations": [3]}]', "task 1 is not as Label Studio writes it")])
def test_what_is_no_export_is_refused(tmp_path, content, said):
    (tmp_path / "export.json").write_text(content)
    with pytest.raises(DataError, match=said.replace("[", r"\[")):
        read_labelled(tmp_path / "export.json")
