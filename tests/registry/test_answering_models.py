"""Registered models that write answers: listed, shown, asked, served without FTzard, exported."""

import json

import pytest

from ftzard.tracking import registry
from ftzard.tracking.workspace_store import connect
from tests.registry.test_lookup import without_ftzard  # noqa: F401 - the fixture
from tests.trained_to_answer import ANSWERS, NAME, answering  # noqa: F401 - the fixture

pytestmark = pytest.mark.slow

BASE = f"{NAME}-base"
ASKED = [f"Name the colour of {thing}" for thing in list(ANSWERS)[:3]]
KNOWN = list(ANSWERS.values())[:3]
#: The first of ASKED in a word that the model's own function makes another of.
HUE = ASKED[0].replace("colour", "hue")


def lines(said: str) -> list[dict]:
    return [json.loads(line) for line in said.splitlines() if line.startswith("{")]


def test_list_and_show_tell_the_loss(answering, ftzard):  # noqa: F811
    code, said = ftzard("models", "list", "--json", "-w", answering.root)
    found = {f"{line['model']}@{line['version']}": line for line in json.loads(said)}
    assert code == 0 and set(found) == {f"{NAME}@1", f"{NAME}@2", f"{BASE}@1"}
    champion = found[f"{NAME}@1"]
    assert (champion["measure"], champion["score"], champion["accuracy"]) == ("loss", 0.9, None)
    code, said = ftzard("models", "list", "-w", answering.root)
    assert code == 0 and "loss 0.900 (0.800 – 1.000) of 60" in said and "score" in said
    code, said = ftzard("models", "show", "champion", "-w", answering.root)
    said = " ".join(said.replace("│", " ").split())
    assert code == 0 and "task └── instruction_tuning" in said and " labels " not in said
    assert f"{NAME}@1: loss 0.900 nats per token" in said and "perplexity 2.50" in said
    told = json.loads(ftzard("models", "show", "base", "--json", "-w", answering.root)[1])
    assert told["kind"] == "base" and told["metrics"] is not None


class TestPredicting:
    def test_texts_are_answered(self, answering, ftzard):  # noqa: F811
        code, said = ftzard("predict", *ASKED, "--json", "-w", answering.root)
        rows = lines(said)
        assert code == 0 and [row["label"] for row in rows] == KNOWN
        assert all(row["finished"] and row["confidence"] > 0.5 and row["tokens"] >= 2
                   and "probabilities" not in row for row in rows)
        code, bare = ftzard("predict", "base", ASKED[0], "--json", "-w", answering.root)
        assert code == 0 and lines(bare)[0]["label"] != KNOWN[0]

    def test_what_is_asked_is_cleaned_by_the_function_that_the_model_was_trained_with(
            self, answering, ftzard, tmp_path):  # noqa: F811
        """In a text, an instruction with its input, a chat and its history; as without it."""
        file, said = tmp_path / "in.jsonl", {}
        for word in ("colour", "hue"):
            user = {"role": "user", "content": f"Name the {word} of the sky"}
            file.write_text("\n".join(json.dumps(row) for row in [
                {"instruction": f"Name the {word} of the grass"},
                {"instruction": f"Name the {word}", "input": "the snow"},
                {"messages": [user]},
                {"messages": [{"role": "system", "content": f"One {word}."}, user,
                              {"role": "assistant", "content": "green"}, user]}]) + "\n")
            code, text = ftzard("predict", file, "-w", answering.root)
            said[word] = [{k: v for k, v in row.items() if k != "text"} for row in lines(text)]
            assert code == 0, text
        assert [row["label"] for row in said["hue"][:3]] == ["green", "white", "blue"]
        assert said["hue"] == said["colour"]

    def test_a_file_brings_inputs_and_chats_and_errors_of_its_lines(self, answering,  # noqa: F811
                                                                    ftzard, tmp_path):
        file = tmp_path / "in.jsonl"
        file.write_text("\n".join(json.dumps(row) for row in [
            {"instruction": ASKED[0], "id": 7},
            {"instruction": "Name the colour", "input": "the snow"},
            {"messages": [{"role": "user", "content": f" {ASKED[1]}\r\n"}]},
            {"messages": [{"role": "assistant", "content": "no question"}]},
            {"messages": [{"role": "user"}]},
            {"instruction": "colour " * 200}]) + "\n")
        code, said = ftzard("predict", file, "-w", answering.root)
        rows = lines(said)
        assert code == 1 and "3 of 6 lines could not be predicted" in said
        assert [row.get("label") for row in rows[:3]] == [KNOWN[0], "white", KNOWN[1]]
        assert rows[0]["id"] == 7 and rows[1]["text"] == "Name the colour\n\nthe snow"
        assert rows[3]["error"] == "messages in the wrong order: they begin with assistant"
        assert "a 'role' and a 'content'" in rows[4]["error"]
        assert "too long: " in rows[5]["error"] and "expected at most 95" in rows[5]["error"]
        csv = tmp_path / "in.csv"
        csv.write_text("instruction,input\nName the colour,the snow\n" + f"{ASKED[2]},\n")
        code, said = ftzard("predict", csv, "-w", answering.root)
        assert code == 0 and [row["label"] for row in lines(said)] == ["white", KNOWN[2]]

    def test_a_text_that_is_too_long_is_an_error(self, answering, ftzard):  # noqa: F811
        code, said = ftzard("predict", "colour " * 200, "-w", answering.root)
        assert code == 1 and "too long" in said


class TestComparing:
    def test_losses_and_answers_of_the_same_rows(self, answering, ftzard, tmp_path):  # noqa: F811
        page = tmp_path / "page.html"
        code, said = ftzard("compare", "base", "champion", "--html", page, "-w", answering.root)
        assert code == 0, said
        assert f"{NAME}@1 is better." in said and "They answer 24 of 24 rows differently" in said
        for words in ("loss", "ROUGE-L", "exact match", "0.0 %", "100.0 %", "wanted"):
            assert words in said, words
        own = next(line for line in said.splitlines() if "one_word" in line)
        assert own.split()[-2] == "1" and own.split()[-1].startswith("+"), own
        assert "Where their answers differ" in page.read_text()

    def test_a_file_of_two_rows_shows_no_difference(self, answering, ftzard,  # noqa: F811
                                                    tmp_path):
        file = tmp_path / "some.jsonl"
        file.write_text("\n".join(json.dumps({"instruction": text, "output": answer}) for
                                  text, answer in [(ASKED[0], "blue"), (ASKED[1], "green"),
                                                   ("long " * 90, "too long"), ("", "")]))
        page = tmp_path / "page.html"
        code, said = ftzard("compare", "champion", "challenger", "--file", file, "--json",
                            "--html", page, "-w", answering.root)
        assert code == 0, said
        told = json.loads(said)
        assert told["n"] == told["generated"] == 2
        assert told["rows"]["rejected"] == {"empty instruction": 1, "no room for its answer": 1}
        assert told["rows"]["learned"] == {"rows": 2, "by": {f"{NAME}@1": 2, f"{NAME}@2": 2}}
        assert "2 of 3 rows stand in the training data, up to one word" in page.read_text()
        assert told["scores"]["exact_match"]["first"]["value"] == 1.0
        gap = told["scores"]["loss"]
        assert gap["difference"]["value"] == pytest.approx(
            gap["second"]["value"] - gap["first"]["value"])
        assert gap["difference"]["value"] > 0, "less is better"
        assert all(model["speed"]["tokens_per_second"] > 0 for model in told["models"])


def test_every_version_is_served_where_ftzard_is_not_installed(answering, without_ftzard,  # noqa: F811
                                                              ftzard, tmp_path):
    import mlflow

    tracking = connect(answering, answering.config())
    for name in (NAME, BASE):
        info = mlflow.models.get_model_info(f"models:/{name}/1")
        assert info.signature.outputs.input_names() == ["label", "confidence", "tokens", "finished"]
        assert info.metadata["task"] == "instruction_tuning"
    assert [v.number for v in registry.versions(tracking, BASE)] == [1]
    said = without_ftzard(
        "import json, mlflow.pyfunc, pandas\n"
        f"texts = pandas.DataFrame({{'text': {[*ASKED, HUE]!r}}})\n"
        f"for name in ('{NAME}/1', '{BASE}/1'):\n"
        "    model = mlflow.pyfunc.load_model('models:/' + name)\n"
        "    print('>' + json.dumps(model.predict(texts).to_dict('records')))\n",
        tmp_path, MLFLOW_TRACKING_URI=answering.mlflow_uri)
    served = [json.loads(line[1:]) for line in said.splitlines() if line.startswith(">")]
    assert [row["label"] for row in served[0]] == [*KNOWN, KNOWN[0]]
    for which, rows in zip(("champion", "base"), served, strict=True):
        ours = lines(ftzard("predict", which, *ASKED, HUE, "--json", "-w",
                            answering.root)[1])
        assert [row["label"] for row in rows] == [row["label"] for row in ours]
        assert [row["tokens"] for row in rows] == [row["tokens"] for row in ours]
        assert [row["confidence"] for row in rows] == pytest.approx(
            [row["confidence"] for row in ours], abs=1e-5)


def test_exports_write_the_same_answers_with_plain_transformers(answering, without_ftzard,  # noqa: F811
                                                               ftzard, tmp_path):
    for form in ("adapter", "merged"):
        folder = tmp_path / form
        code, said = ftzard("export", "champion", folder, f"--{form}", "-w", answering.root)
        assert code == 0 and "its logits differ by at most" in said, said
        card = (folder / "README.md").read_text()
        code = card.partition("```python\n")[2].partition("```")[0].replace(
            '["An instruction of yours.", "Another one."]', repr(ASKED))
        assert without_ftzard(code, folder).splitlines()[-3:] == KNOWN
        for words in ("A model that writes answers", "text-generation", "chat template",
                      "| **Answers@1** | 0.900 (0.800 – 1.000) | 2.50 | 0.750 | 50.0 %",
                      "the base, before training", "## Limits", "at most 6 tokens"):
            assert words in card, words
        assert "## Calibration" not in card and "label" not in card.partition("## Data")[0]
    code, said = ftzard("export", "base", tmp_path / "out", "--merged", "-w", answering.root)
    assert code == 1 and "is a bare base; there is nothing of it to export" in said
