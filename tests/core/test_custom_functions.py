"""A workspace's own functions: found, called, and refused with a sentence that says what to do."""

import json

import pandas as pd
import pytest

from ftzard.config.compose import compose
from ftzard.core import custom_functions
from ftzard.core.text import cleaned_as
from ftzard.errors import ConfigError, DataError, ModelError
from ftzard.tasks.classification import text_rows
from ftzard.versioning import own_code

TEXTS = """
from .words import GONE

calls = []

def without(text):
    return " ".join(word for word in text.split() if word not in GONE)

def failing(text):
    return str(1 / len([c for c in text if c.isdigit()]))

def counting(text):
    calls.append(text)
    return f"{text} {len(calls)}"

def growing(text):
    return f"{text}!"

def number(text):
    return len(text)

def two(text, more):
    return text

not_one = 3
"""


def write(root, **files: str) -> None:
    (root / "custom").mkdir(exist_ok=True)
    for name, text in files.items():
        (root / "custom" / f"{name}.py").write_text(text)


@pytest.fixture
def root(tmp_path):
    write(tmp_path, texts=TEXTS, words="GONE = {'ticket', 'really'}\n", other="x = 1\n")
    return tmp_path


def packed(root, name: str = "texts:without") -> dict:
    return custom_functions.packed(name, custom_functions.read(root), "data.clean")


class TestFound:
    def test_its_value_holds_the_module_and_what_that_imports_and_nothing_else(self, root):
        value = packed(root)
        assert list(value["files"]) == ["texts.py", "words.py"]
        assert json.loads(json.dumps(value)) == value
        assert custom_functions.cleaned(["a really fine ticket"], value) == ["a fine"]

    def test_another_source_is_another_hash_and_runs_beside_the_first(self, root):
        before = packed(root)
        write(root, words="GONE = {'fine'}\n")
        after = packed(root)
        assert before["sha256"] != after["sha256"]
        assert [custom_functions.cleaned(["a fine ticket"], v)[0] for v in (before, after)] == [
            "a fine", "a ticket"]
        write(root, other="x = 2\n")
        assert packed(root) == after

    def test_a_table_beside_the_module_is_read_from_there(self, root):
        (root / "custom" / "gone.txt").write_text("ticket\n")
        write(root, reader="from pathlib import Path\n"
              "GONE = Path(__file__).with_name('gone.txt').read_text().split()\n"
              "def clean(text):\n    return ' '.join(w for w in text.split() if w not in GONE)\n")
        assert custom_functions.cleaned(["one ticket"], packed(root, "reader:clean")) == ["one"]

    @pytest.mark.parametrize(("name", "words"), [
        ("text:without", "no module custom/text.py; did you mean 'texts'?"),
        ("texts:witout", "defines no 'witout'; did you mean 'without'?"),
        ("/etc/passwd:x", "expected 'module:function'"),
        ("../texts:without", "expected 'module:function'"), ("texts", "expected 'module:fun")])
    def test_what_is_not_there_is_named_with_what_is(self, root, name, words):
        with pytest.raises(ConfigError, match="data.clean is") as refused:
            packed(root, name)
        assert words in str(refused.value)

    def test_a_workspace_without_the_folder_says_where_to_write_it(self, tmp_path):
        with pytest.raises(ConfigError, match="the folder custom/ of the workspace has none"):
            packed(tmp_path)

    def test_an_import_that_would_find_other_code_elsewhere_names_its_line(self, root):
        for line in ("from custom.words import GONE", "import words", "from words import GONE"):
            write(root, texts=f"\n{line}\ndef without(text):\n    return text\n")
            with pytest.raises(ConfigError, match=r"custom/texts.py, line 2, imports .*'from \.wo"):
                packed(root)

    def test_no_python_and_links_are_refused(self, root, tmp_path):
        write(root, texts="def without(text:\n")
        with pytest.raises(ConfigError, match="custom/texts.py, line 1, is no Python"):
            packed(root)
        (root / "custom" / "texts.py").unlink()
        (root / "custom" / "texts.py").symlink_to("/etc/passwd")
        with pytest.raises(ConfigError, match="is a link"):
            packed(root)

    def test_code_that_is_not_its_hash_s_is_never_run(self, root):
        value = packed(root)
        value["files"]["words.py"] = "raise SystemExit('run all the same')\n"
        with pytest.raises(ModelError, match="not what its hash .* was made of, so it is not run"):
            custom_functions.cleaned(["a"], value)


class TestCalled:
    @pytest.mark.parametrize(("name", "words"), [
        ("failing", r"failed: ZeroDivisionError: .*\(row 5, 'no digit'\)"),
        ("number", r"returned 4 \(int\); expected a text \(row 2, 'a1 b'\)"),
        ("two", r"two\(text, more\) cannot be called with one text"),
        ("not_one", "is a int; expected a function")])
    def test_a_wrong_function_is_said_with_the_row(self, root, name, words):
        raw = pd.DataFrame({"row": [2, 5], "text": ["a1  b", "no digit"]})
        with pytest.raises(DataError, match=words):
            text_rows.clean(raw, batch="b", own=packed(root, f"texts:{name}"))

    def test_a_function_that_is_not_steady_is_refused(self, root):
        raw = pd.DataFrame({"row": range(3), "text": ["one", "two", "three"]})
        with pytest.raises(DataError, match="when it was given the same text again"):
            text_rows.clean(raw, batch="b", own=packed(root, "texts:counting"))
        with pytest.raises(DataError, match="'one!!' when it was given its own result again"):
            text_rows.clean(raw, batch="b", own=packed(root, "texts:growing"))

    def test_training_and_prediction_make_the_same_of_a_text(self, root):
        own = packed(root)
        raw = pd.DataFrame({"row": range(3), "text": [
            "really  @ann &amp; a ticket", "ticket", "fine http://x.org"]})
        cleaned, rejected = text_rows.clean(raw, batch="b", own=own)
        assert cleaned["text"].tolist() == ["@user & a", "fine http"]
        assert set(cleaned["cleaned_by"]) == {own["sha256"][:16]}
        assert rejected[["row", "reason"]].to_numpy().tolist() == [[1, "empty text"]]
        assert cleaned_as(raw["text"], {"mention": "@user", "link": "http", "own": own}) == [
            "@user & a", "", "fine http"]
        plain, _ = text_rows.clean(raw, batch="b")
        assert "cleaned_by" not in plain and plain["text"].iloc[1] == "ticket"


class TestMeasured:
    METRICS = """
import itertools
count = itertools.count()

def dear(y_true, y_pred, probabilities):
    wrong = [a != b for a, b in zip(y_true, y_pred)]
    return float(sum(wrong)) + float(probabilities["sad"].max())

def text(y_true, y_pred, probabilities):
    return "good"

def endless(y_true, y_pred, probabilities):
    return float("inf")

def other(y_true, y_pred, probabilities):
    return next(count)
"""

    def measured(self, root, name):
        write(root, money=self.METRICS)
        value = custom_functions.packed(f"money:{name}", custom_functions.read(root), "metrics")
        return custom_functions.measured({name: value}, ["sad", "glad"], ["sad", "sad"],
                               pd.DataFrame({"glad": [0.25, 0.5], "sad": [0.75, 0.5]}))

    def test_it_gets_labels_answers_and_probabilities_by_label(self, root):
        assert self.measured(root, "dear") == {"dear": 1.75}

    @pytest.mark.parametrize(("name", "words"), [
        ("text", r"returned 'good' \(str\); expected a finite number"),
        ("endless", "returned inf"), ("other", "returned 0.0 and then 1.0 for the same rows")])
    def test_what_is_no_number_is_refused(self, root, name, words):
        with pytest.raises(DataError, match=words):
            self.measured(root, name)


class TestInTheConfig:
    @pytest.mark.parametrize(("values", "words"), [
        ({"data": {"clean": "/abs/texts.py:f"}}, "data.clean is '/abs/texts.py:f'; expected"),
        ({"metrics": ["money"]}, r"metrics is \['money'\]; expected names such as 'module:"),
        ({"metrics": ["a:cost", "b:cost"]}, "functions with different names"),
        ({"metrics": ["a:accuracy"]}, "which FTzard measures itself")])
    def test_a_name_that_is_none_is_refused(self, values, words):
        with pytest.raises(ConfigError, match=words):
            compose(values)

    def test_a_run_is_refused_before_it_starts_if_the_function_is_not_there(self, tool, workspace):
        (workspace.root / "ftzard.yaml").write_text("data: {clean: 'texts:nothing'}\n")
        done = tool("ftzard", "run", "cleaning_job", "-w", workspace.root, at=workspace.root)
        assert done.returncode == 1 and "no module custom/texts.py" in done.stdout
        assert "Traceback" not in done.stdout

    def test_a_known_secret_in_own_code_stops_a_run_since_it_would_be_committed(
            self, workspace, monkeypatch):
        from ftzard.errors import WorkspaceError

        monkeypatch.setenv("HF_TOKEN", "hf_abcdefghijk")
        write(workspace.root, texts="TOKEN = 'hf_abcdefghijk'\n")
        with pytest.raises(WorkspaceError, match="custom/texts.py holds the value of HF_TOKEN"
                           ) as refused:
            own_code.snapshot(workspace, own_code.custom_files(workspace))
        assert "hf_abcdefghijk" not in str(refused.value)


def test_cells_that_ran_and_are_not_in_the_file_are_counted(tmp_path):
    book = tmp_path / "book.ipynb"
    book.write_text(json.dumps({"cells": [
        {"cell_type": "code", "source": ["a = 1\n", "b = 2"]},
        {"cell_type": "code", "source": "run.finish()"}]}))
    ran = ["", "a = 1\nb = 2", "# Parameters\nraw = 'x'\n", "run.finish()"]
    assert own_code.unsaved_cells(book, ran) == 0
    assert own_code.unsaved_cells(book, [*ran, "a = 3"]) == 1


def test_status_says_which_own_code_is_in_no_commit(workspace, ftzard):
    code, said = ftzard("status", "-w", workspace.root)
    assert code == 0 and "in no commit" not in said
    write(workspace.root, texts=TEXTS)
    (workspace.root / "ftzard.yaml").write_text("seed: 3\n")
    code, said = ftzard("status", "-w", workspace.root)
    assert code == 0 and "own code in no commit: ftzard.yaml (changed), custom/texts.py (new)" in (
        " ".join(said.split()))
