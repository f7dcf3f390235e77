"""Free answers on their way: asked by confidence, written in a file or Label Studio, handed in."""

import json
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from ftzard.data import query_strategies, splitting
from ftzard.data.labeling import label_studio, labeling_queue, submissions
from ftzard.data.messages import one_turn, to_json
from ftzard.errors import ConfigError, DataError
from ftzard.tasks.instruction_tuning.labeling import Answer

ABOUT = "Count them.\n\ncat, dog"
CHAT = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"},
        {"role": "user", "content": "Who are you?"}]
TEXTS = [ABOUT, "user: Hello\n\nassistant: Hi\n\nuser: Who are you?", "Say something nice"]
MESSAGES = [to_json(one_turn("Count them.", "cat, dog")), to_json(CHAT),
            to_json(one_turn("Say something nice"))]


@pytest.fixture
def predictions() -> pd.DataFrame:
    return pd.DataFrame({
        "id": ["r0", "r1", "r2"], "batch": "b1", "split": ["train", "train", "test"],
        "text": TEXTS, "messages": MESSAGES, "source": ["one", "two", ""],
        "suggestion": ["two", "a model,\nthat is", ""], "confidence": [0.4, 0.9, 0.2],
        "tokens": [1, 6, 0], "finished": [True, True, False]})


@pytest.fixture
def asked(predictions, tmp_path):
    """Choose the rows, write the queue; returns the folder of queues and the queue as written."""
    queue, _ = query_strategies.select(predictions, strategy="least_confidence", budget=2,
                                       audit_rows=1,
                               seed=6)
    folder = tmp_path / "labelling"
    labeling_queue.keep_suggestions(folder / "b1.csv", queue, predictions, "M@1")
    labeling_queue.queue_csv(queue, folder / "b1.csv")
    return folder, labeling_queue.read_queue(folder / "b1.csv")


class TestAsking:
    def rows(self, confidence: list[float], split: str = "train") -> pd.DataFrame:
        return pd.DataFrame({"id": [f"{split}{n:02}" for n in range(len(confidence))],
                             "batch": "b", "split": split,
                             "text": [f"{split} question {n}" for n in range(len(confidence))],
                             "suggestion": "x", "confidence": confidence})

    def test_the_least_confident_answers_come_first(self):
        rows = pd.concat([self.rows([0.9, 0.1, 0.5]), self.rows([0.3] * 4, "test")])
        queue, threshold = query_strategies.select(rows, strategy="least_confidence", budget=2,
                                           audit_rows=2, seed=8)
        assert queue["id"].tolist()[:2] == ["train01", "train02"] and threshold == 0.5
        assert queue["side"].tolist() == ["train", "train", "test", "test"]
        assert list(queue) == labeling_queue.QUEUE, "without messages as ever"

    def test_a_mix_and_chance(self):
        rows = self.rows([n / 40 for n in range(40)])
        queue, _ = query_strategies.select(rows, strategy="mix", budget=20, audit_rows=0, seed=0,
                                   random_share=0.5)
        assert queue["chosen_by"].value_counts().to_dict() == {"least_confidence": 10,
                                                                "random": 10}
        queue, threshold = query_strategies.select(rows, strategy="random", budget=5, audit_rows=0,
                                                   seed=0)
        assert len(queue) == 5 and threshold is None

    @pytest.mark.parametrize("strategy", ["margin", "entropy"])
    def test_a_strategy_for_labels_is_refused(self, strategy):
        with pytest.raises(ConfigError, match=f"'{strategy}' ranks by probabilities of labels"):
            query_strategies.select(self.rows([0.5]), strategy=strategy, budget=1, audit_rows=0,
                                    seed=0)

    @pytest.mark.parametrize("wrong", [np.nan, 1.2, -0.1])
    def test_what_is_no_confidence_is_refused(self, wrong):
        with pytest.raises(DataError, match="1 of 2 answers have a confidence that is none"):
            query_strategies.select(self.rows([0.5, wrong]), strategy="mix", budget=1, audit_rows=0,
                                    seed=0)

    def test_the_queue_keeps_what_was_asked_and_ends_with_the_label(self, asked, predictions):
        _, queue = asked
        assert list(queue) == [*labeling_queue.QUEUE[:-1], "messages", "source", "label"]
        assert queue["id"].tolist() == ["r0", "r1", "r2"]
        assert queue["text"].tolist() == TEXTS and queue["messages"].tolist() == MESSAGES
        again, _ = query_strategies.select(predictions, strategy="least_confidence", budget=2,
                                   audit_rows=1, seed=0, waiting=queue)
        assert again.astype("str").equals(queue.astype("str")), "what waits stays as it is"


class TestHandedIn:
    def test_answers_come_back_with_what_was_asked(self, asked, tmp_path):
        folder, queue = asked
        given = queue.assign(label=["  2\r\n(cat, dog) ", "a model,\nthat is", ""],
                             labelled_by="ann")
        given.to_csv(tmp_path / "back.csv", index=False, lineterminator="\r\n")
        back = submissions.read(tmp_path / "back.csv", batch="d", queue=submissions.queues(folder),
                              labels=Answer(), at="noon")
        assert list(back.cleaned) == ["id", "batch", "row", "text", "label", "messages", "source",
                                      "labelled_by", "labelled_at", "own_answer"]
        assert back.cleaned["label"].tolist() == ["2\n(cat, dog)", "a model,\nthat is"]
        assert back.cleaned["messages"].tolist() == MESSAGES[:2]
        assert back.cleaned["source"].tolist() == ["one", "two"]
        assert back.refused.empty and back.facts["left_empty"] == 1
        assert back.facts["model"] == {"rows": 2, "share": 0.5, "kappa": None}
        sides = splitting.assign(back.cleaned, ratio={"train": .7, "validation": .1, "test": .2},
                                 salt="ftzard")
        assert sides["split"].notna().all()

    @pytest.mark.parametrize("ending", ["jsonl", "parquet"])
    def test_other_files_are_read_too(self, asked, tmp_path, ending):
        folder, queue = asked
        rows = queue[["id", "batch", "text"]].assign(label="an answer: [1]")
        path = tmp_path / f"back.{ending}"
        if ending == "jsonl":
            rows.to_json(path, orient="records", lines=True)
        else:
            rows.to_parquet(path)
        back = submissions.read(path, batch="d", queue=submissions.queues(folder), labels=Answer())
        assert back.cleaned["label"].tolist() == ["an answer: [1]"] * 3

    def test_a_changed_text_and_two_people_who_differ_are_refused(self, asked, tmp_path):
        folder, queue = asked
        long = "something that goes on " * 10
        rows = pd.concat([
            queue.assign(label=["2", "me", "nice"], labelled_by="ann"),
            queue.iloc[:2].assign(label=["two", " ME"], labelled_by="bob"),
            queue.iloc[2:].assign(label=long, labelled_by="bob")], ignore_index=True)
        rows.loc[0, "text"] = rows.loc[3, "text"] = "Count cats."
        rows.to_csv(tmp_path / "back.csv", index=False)
        back = submissions.read(tmp_path / "back.csv", batch="d", queue=submissions.queues(folder),
                              labels=Answer())
        assert back.cleaned[["id", "label"]].values.tolist() == [["r1", "me"]], "case is no matter"
        assert sorted(back.refused["reason"].str.slice(0, 30).unique()) == [
            "changed text", "labelled differently by two pe"]
        report = submissions.report_refused(back.refused, tmp_path / "q", "back.csv", at="noon")
        told = report.with_name("back.refused.csv.report.txt").read_text()
        assert "something that goes on" in told and long not in told
        assert set(back.rejected) == {"batch", "row", "text", "reason"} and len(back.rejected) == 4

    def test_an_answer_can_be_corrected_later_and_keeps_its_messages(self, asked, tmp_path):
        folder, queue = asked
        queue.assign(label="first", labelled_by="ann").to_csv(tmp_path / "one.csv", index=False)
        one = submissions.read(tmp_path / "one.csv", batch="d", labels=Answer(),
                             queue=submissions.queues(folder))
        queue.head(1).assign(label="second", labelled_by="ann").to_csv(tmp_path / "two.csv",
                                                                       index=False)
        two = submissions.read(tmp_path / "two.csv", batch="e", labels=Answer(),
                               queue=queue.tail(1),
                             earlier=one.cleaned)
        assert two.cleaned["label"].tolist() == ["second"] and two.facts["changed"] == 1
        assert two.cleaned["messages"].tolist() == MESSAGES[:1]
        assert two.cleaned["source"].tolist() == ["one"]

    def test_a_queue_without_messages_was_asked_in_one_turn(self, tmp_path):
        queue = pd.DataFrame({"id": ["a"], "batch": "b", "text": "Say it"}).reindex(
            columns=labeling_queue.QUEUE, fill_value="").fillna("")
        queue.assign(label="it").to_csv(tmp_path / "back.csv", index=False)
        back = submissions.read(tmp_path / "back.csv", batch="d", queue=queue, labels=Answer())
        assert json.loads(back.cleaned["messages"][0]) == one_turn("Say it")


class TestLabelStudio:
    def export(self, task: dict, *texts: list[str]) -> dict:
        return {**task, "annotations": [
            {"completed_by": n, "updated_at": "2026-11-21T09:00:00Z", "result": [
                {"from_name": "label", "to_name": "text", "type": "textarea",
                 "value": {"text": text}}]} for n, text in enumerate(texts)]}

    def test_the_interface_takes_one_text_and_the_tasks_suggest_one(self, asked):
        _, queue = asked
        view = ElementTree.fromstring(label_studio.text_interface())
        area = view.find("TextArea")
        assert area.get("maxSubmissions") == "1" and area.get("editable") == "true"
        said = queue.assign(suggestion=["two", "a model,\nthat is", "x"], confidence="0.9")
        made = label_studio.tasks(said, "Model@3", label_studio.free_text)
        assert ["predictions" in task for task in made] == [True, True, False], "no audit row's"
        result = made[1]["predictions"][0]["result"][0]
        assert result["type"] == "textarea" and result["value"] == {"text": ["a model,\nthat is"]}
        assert (result["from_name"], result["to_name"]) == (area.get("name"), area.get("toName"))

    def test_both_exports_come_back(self, asked, tmp_path):
        folder, queue = asked
        made = label_studio.tasks(queue, "Model@3", label_studio.free_text)
        full = [self.export(made[0], ["it is\n2"]), self.export(made[1], ["me"], ["ME "]),
                self.export(made[2])]
        short = [{"id": 1, **made[0]["data"], "label": "it is\n2", "annotator": 0},
                 {"id": 2, **made[1]["data"], "label": {"text": ["me"]}, "annotator": 0}]
        for name, export in (("full", full), ("short", short)):
            path = tmp_path / f"{name}.json"
            path.write_text(json.dumps(export))
            back = submissions.read(path, batch="d", queue=submissions.queues(folder),
                                    labels=Answer())
            assert back.cleaned[["id", "label", "labelled_by"]].values.tolist() == [
                ["r0", "it is\n2", "0"], ["r1", "me", "0"]]
            assert back.refused.empty

    def test_two_texts_of_one_person_for_one_task_are_refused(self, asked, tmp_path):
        folder, queue = asked
        made = label_studio.tasks(queue, "Model@3", label_studio.free_text)
        (tmp_path / "two.json").write_text(json.dumps([self.export(made[0], ["suggested", "own"])]))
        back = submissions.read(tmp_path / "two.json", batch="d", queue=submissions.queues(folder),
                              labels=Answer())
        assert back.cleaned.empty
        assert back.refused["reason"].unique().tolist() == ["doubled id with different labels"]


@pytest.mark.parametrize(("answer", "encoding"), [
    ("Привет, это да", "cp1251"), ("この製品はとても良い", "cp932"), ("Καλημέρα σας", "cp1253")])
def test_answers_in_another_encoding_are_not_taken_as_they_look(tmp_path, answer, encoding):
    path = tmp_path / "labelled.csv"
    frame = pd.DataFrame({"id": ["1", "2"], "batch": "b", "text": "a question", "label": answer})
    frame.to_csv(path, index=False, encoding=encoding)
    with pytest.raises(DataError, match="UTF-8.*hand it in again|Set data.encoding"):
        labeling_queue.read_labelled(path, free=True)
    frame.to_csv(path, index=False, encoding="utf-8-sig")
    assert set(labeling_queue.read_labelled(path, free=True)["label"]) == {answer}


@pytest.mark.parametrize("answer", [
    "Ça va, déjà à l’été", "20 °C, 5 €", "“Größe” über Öl", "Ñandú ¿qué?", "Åse på ø", "naïve…"])
def test_answers_that_a_western_spreadsheet_writes_are_taken(tmp_path, answer):
    path = tmp_path / "labelled.csv"
    frame = pd.DataFrame({"id": ["1", "2"], "batch": "b", "text": "a question", "label": answer})
    frame.to_csv(path, index=False, encoding="cp1252")
    assert set(labeling_queue.read_labelled(path, free=True)["label"]) == {answer}
