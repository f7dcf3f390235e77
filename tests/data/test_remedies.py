"""Every refusal of rows names what mends it, and what it names does: each test follows it."""

import json
import re

import pandas as pd
import pytest

from ftzard.data import cleaning, reading, rejection
from ftzard.errors import DataError
from ftzard.tasks.base import task_named
from ftzard.tasks.classification import text_rows
from ftzard.tasks.classification.setup import describe_data
from ftzard.tasks.instruction_tuning import instructions
from ftzard.tasks.instruction_tuning.setup import describe_data as describe_instructions

DATA = {"max_characters": 100, "max_rejected": 0.1, "min_rows": 10, "labels": None}


def step(path, said: dict) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read, clean and check a file as step 1 does, with these keys of `data`."""
    data = {**DATA, **said}
    if data.get("task") == "instruction_tuning":
        raw = instructions.read(
            path, instruction_column=data.get("text_column", "instruction"),
            output_column=data.get("label_column", "output"),
            input_column=data.get("input_column"), messages_column=data.get("messages_column"),
            ignored=data.get("ignored_columns", ()))
        good, bad = instructions.clean(raw, batch="b", max_characters=data["max_characters"])
    else:
        raw = reading.read_raw(path, text_column=data.get("text_column", "text"),
                               label_column=data.get("label_column", "label"))
        good, bad = text_rows.clean(raw, batch="b", labels=data["labels"],
                                   max_characters=data["max_characters"])
    check = task_named(data.get("task", "classification")).data.check
    check(good, bad, labels=data["labels"], min_rows=data["min_rows"],
          max_rejected=data["max_rejected"])
    return good, bad


def refused(path, said: dict) -> str:
    with pytest.raises(DataError) as caught:
        step(path, said)
    return str(caught.value)


def value(text: str) -> object:
    if text.startswith("["):
        return text.strip("[]").split(",")
    return float(text) if re.fullmatch(r"[\d.]+", text) else text


def keys(sentence: str) -> dict:
    """Return the keys of `data`, with their values, that a sentence says to set or raise."""
    found = re.findall(r"data\.(\w+)(?:=| to )(\[[^\]]*\]|[\w.]*\w)", sentence)
    return {key: value(text) for key, text in found}


def table(tmp_path, *odd: dict, rows: int = 20):
    """Write twenty good rows and some odd ones as JSON lines; return the path."""
    good = [{"text": f"the text number {n}", "label": ("glad", "sad")[n % 2]} for n in range(rows)]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in [*good, *odd]))
    return path


LONG = [{"text": f"{n} @a" + " word" * 30, "label": "sad"} for n in range(5)]
NAMES = {"glad": "glad", "sad": "sad"}


class TestClassification:
    def test_long_texts_name_the_key_that_decides_and_a_value_that_is_enough(self, tmp_path):
        path = table(tmp_path, *LONG)
        said = refused(path, {})
        assert said.index("data.max_characters") < said.index("data.max_rejected")
        assert "data.labels" not in said
        good, bad = step(path, {"max_characters": keys(said)["max_characters"]})
        assert len(good) == 25 and bad.empty

    @pytest.mark.parametrize(("odd", "labels", "words"), [
        (LONG, None, "Raise data.max_characters to 200"),
        ([{"text": "\u200b", "label": "sad"}] * 5, None, "data.text_column"),
        ([{"text": f"no label {n}", "label": ""} for n in range(5)], None, "data.label_column"),
        ([{"text": f"new {n}", "label": "calm"} for n in range(5)], NAMES, "to data.labels"),
        ([{"text": "one text", "label": name} for name in ("glad", "sad") * 3], None,
         "Give each text one label"),
        ([{"text": f"both {n}", "label": "glad|sad"} for n in range(5)], NAMES,
         "'glad|sad', of which 'glad' and 'sad'")])
    def test_each_reason_has_its_remedy_and_the_share_passes_when_it_is_raised(
            self, tmp_path, odd, labels, words):
        path = table(tmp_path, *odd)
        said = refused(path, {"labels": labels})
        assert words in said
        others = [r for r in ("max_characters", "data.labels", "one label") if r not in words]
        assert not any(other in said for other in others if "glad|sad" not in words)
        good, bad = step(path, {"labels": labels, "max_rejected": keys(said)["max_rejected"]})
        assert len(good) == 20 and len(bad) == len(odd)

    def test_a_share_that_is_named_is_enough_for_every_count(self):
        for total in range(1, 300):
            for rejected in range(1, total + 1):
                assert rejected <= float(rejection.allowance(rejected, total)) * total

    def test_an_unknown_label_is_added_to_the_names(self, tmp_path):
        path = table(tmp_path, *[{"text": f"new {n}", "label": "calm"} for n in range(5)])
        assert "it knows 'glad' (glad), 'sad' (sad)" in refused(path, {"labels": NAMES})
        assert len(step(path, {"labels": {**NAMES, "calm": "calm"}})[0]) == 25

    def test_an_earlier_delivery_s_labels_stay(self, tmp_path):
        path = table(tmp_path)
        good, bad = step(path, {})
        _, repeated = cleaning.append(good, good.assign(batch="c", label="glad"))
        with pytest.raises(DataError, match="take these rows out of the file.*max_rejected to"):
            text_rows.check(good, bad, repeated, min_rows=1, max_rejected=0.1)

    @pytest.mark.parametrize("labelled", [False, True])
    def test_too_few_rows_name_the_key_that_counts_them(self, tmp_path, labelled):
        path = table(tmp_path, {"text": "", "label": "sad"}, rows=9)
        good, bad = step(path, {"min_rows": 9})
        good = good.assign(labelled_by="ann") if labelled else good
        key = "sampling.min_labelled" if labelled else "data.min_rows"
        with pytest.raises(DataError, match=f"Only 9 of 10 rows .* lower {key} to 9"):
            text_rows.check(good, bad, min_rows=10, max_rejected=1.0)
        with pytest.raises(DataError, match="Fill or delete these rows.* Bring more rows.$"):
            text_rows.check(good.head(0), bad, min_rows=1, max_rejected=1.0)

    def test_several_labels_in_a_row_are_one_label_or_named(self, tmp_path):
        path = table(tmp_path, *[{"text": f"both {n}", "label": "glad, sad"} for n in range(5)])
        said = refused(path, {})
        assert "'glad, sad'" in said and "name every label in data.labels" in said
        assert len(step(path, {"labels": {**NAMES, "glad, sad": "glad, sad"}})[0]) == 25
        lists = table(tmp_path, *[{"text": f"both {n}", "label": ["glad"]} for n in range(5)])
        assert "a list" in refused(lists, {})
        pd.DataFrame({"text": [f"text {n}" for n in range(20)], "label": [["glad"], ["sad"]] * 10}
                     ).to_parquet(tmp_path / "lists.parquet")
        assert "a list" in refused(tmp_path / "lists.parquet", {})
        assert set(step(lists, {"labels": {**NAMES, '["glad"]': "glad"}})[0]["label"]) == {*NAMES}


def pairs(tmp_path, odd: dict, rows: int = 20):
    """Write twenty good instructions and five odd ones; return the path."""
    good = [{"instruction": f"Say number {n}", "output": str(n)} for n in range(rows)]
    bad = [{"instruction": f"Say the number {n}", "output": str(n), **odd} for n in range(5)]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in [*good, *bad]))
    return path


CHAT = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
BAD_CHATS = [
    [], [{"role": "tool", "content": "x"}, *CHAT], CHAT[1:], [*CHAT, CHAT[1]], [3],
    [{**CHAT[0], "content": " "}, CHAT[1]], [{**CHAT[0], "input": [1]}, CHAT[1]],
    [CHAT[0], {**CHAT[1], "tool_calls": [1]}], [{"role": "user", "content": {"a": 1}}, CHAT[1]],
    [{"role": "user", "content": [{"type": "image_url"}]}, CHAT[1]], CHAT[:1], "no JSON"]
TUNING = {"task": "instruction_tuning"}


class TestInstructions:
    @pytest.mark.parametrize(("odd", "words"), [
        ({"instruction": "x" * 150}, "Raise data.max_characters to 200"),
        ({"output": "x" * 150}, "Raise data.max_characters, or shorten"),
        ({"instruction": ""}, "data.text_column"), ({"output": " "}, "data.label_column"),
        ({"history": "x"}, "Write the history as JSON"),
        ({"instruction": "", "messages": CHAT, "output": "Other"}, "End these chats with the user"),
        ({"messages": CHAT}, "Leave either the instruction or the messages")])
    def test_each_reason_has_its_remedy(self, tmp_path, odd, words):
        said = refused(pairs(tmp_path, odd), {**TUNING, "messages_column": "messages"})
        assert words in said and "data.labels" not in said
        raised = {k: v for k, v in keys(said).items() if k != "max_rejected"}
        path = pairs(tmp_path, odd)
        if raised:
            assert len(step(path, {**TUNING, **raised})[1]["reason"].unique()) <= 1
        passing = {**TUNING, "messages_column": "messages",
                   "max_rejected": keys(said)["max_rejected"]}
        assert len(step(path, passing)[1]) == 5

    @pytest.mark.parametrize("chat", BAD_CHATS, ids=str)
    def test_no_reason_against_a_chat_is_without_a_remedy(self, tmp_path, chat):
        path = pairs(tmp_path, {"instruction": "", "output": "", "messages": chat})
        said = refused(path, {**TUNING, "messages_column": "messages"})
        assert said.count(". ") == 2 and rejection._OTHERWISE not in said, said

    @pytest.mark.parametrize(("column", "cell", "key"), [
        ("context", "A text.", "input_column"), ("conversations", CHAT, "messages_column"),
        ("response", "Another", "label_column"), ("tools", "sum", "ignored_columns"),
        ("images", ["0.png"], "ignored_columns"), ("rejected", "No", "ignored_columns")])
    def test_a_column_that_would_be_lost_is_read_under_the_key_that_is_named(
            self, tmp_path, column, cell, key):
        odd = {column: cell}
        if key == "messages_column":
            odd |= {"instruction": "", "output": ""}
        path = pairs(tmp_path, odd, rows=0 if key == "label_column" else 20)
        if key == "label_column":
            odd["output"] = "One"
        said = refused(path, {**TUNING, "min_rows": 1})
        found = keys(said)
        assert key in found, said
        mended = {**TUNING, "min_rows": 1, key: found[key]}
        if key == "label_column":  # the other answer is now the one that would be lost
            mended["ignored_columns"] = ["output"]
        good, _ = step(path, mended)
        if key == "input_column":
            assert "A text." in good["text"].iloc[-1]
        if key == "label_column":
            assert set(good["label"]) == {"Another"}

    def test_what_a_person_handed_in_has_remedies_too(self):
        reasons = ["changed text", "unknown id 'x'", "doubled id", "labelled differently by two "
                   "people: ann a, bob b", "doubled id with different labels"]
        frame = pd.DataFrame({"text": "a", "reason": reasons})
        assert rejection._OTHERWISE not in rejection.remedies(frame, most=9)


def described(file, options: dict) -> dict:
    """What init's options are to the functions behind them."""
    told = options.pop("task", "classification") == "instruction_tuning"
    if told:
        return describe_instructions(file, **{
            "instruction": "instruction", "output": "output", **options})
    return describe_data(file, **{"text": "text", "label": "label", **options})[0]


OPTIONS = {"--text": "instruction", "--label": "output", "--input": "input",
           "--messages": "messages", "--ignore": "ignored", "--delimiter": "delimiter"}


def followed(said: str, task: str) -> dict:
    """Return the options that a sentence of init says to add."""
    found = dict(re.findall(r"(--[a-z]+) ('[^']*'|\w+)", said))
    found.pop("--task", None)  # another way out: a task for such labels
    names = OPTIONS if task else {**OPTIONS, "--text": "text", "--label": "label"}
    read = {names[option]: text.strip("'") for option, text in found.items()}
    if "ignored" in read:
        read["ignored"] = [read["ignored"]]
    return read | ({"single_label": True} if "--single-label" in said else {})


class TestInit:
    @pytest.mark.parametrize(("columns", "options"), [
        ({"review": "text number {n}", "label": "{m}"}, {}),
        ({"text": "text number {n}", "stars": "{m}"}, {}),
        ({"label": "text number {n}", "id": "{n}", "stars": "{m}", "text": "a {n}"}, {}),
        ({"label": "the same", "text": "a {n}", "mood": "{m}"}, {}),
        ({"text": "a {n}", "label": "{s}"}, {}),
        ({"task": "Say {n}", "output": "{n}"}, {"task": "instruction_tuning"}),
        ({"instruction": "Say {n}", "reply": "{n}"}, {"task": "instruction_tuning"}),
        ({"talk": CHAT}, {"task": "instruction_tuning"}),
        ({"instruction": "Say {n}", "output": "{n}", "context": "of {n}"},
         {"task": "instruction_tuning"}),
        ({"instruction": "Say {n}", "output": "{n}", "tools": "of {n}"},
         {"task": "instruction_tuning"})])
    def test_the_option_that_is_named_makes_the_file_one_that_can_be_used(
            self, tmp_path, columns, options):
        path = tmp_path / "mine.jsonl"
        path.write_text("".join(json.dumps({
            name: cell.format(n=n, m="ab"[n % 2], s=("a", "b", "a|b")[n % 3])
            if isinstance(cell, str) else cell for name, cell in columns.items()}) + "\n"
            for n in range(20)))
        with pytest.raises(DataError) as caught:
            described(path, dict(options))
        mended = followed(str(caught.value), options.get("task", ""))
        assert mended, caught.value
        mended.pop("ignored", None) if "input" in mended else None  # the first of the two
        assert described(path, {**options, **mended})

    def test_labels_on_fewer_than_half_of_the_rows_are_labels_however_many(self, tmp_path):
        path = tmp_path / "intents.csv"
        pd.DataFrame({"text": [f"text {n}" for n in range(400)],
                      "label": [f"intent_{n % 151}" for n in range(400)]}).to_csv(path, index=False)
        assert len(described(path, {})["labels"]) == 151

    def test_a_file_without_any_other_column_says_so_instead_of_an_option(self, tmp_path):
        path = tmp_path / "mine.csv"
        pd.DataFrame({"text": ["a", "b"], "label": ["c", "d"]}).to_csv(path, index=False)
        with pytest.raises(DataError, match="No other column .* each in two rows or more"):
            described(path, {})

    def test_a_list_of_objects_is_a_chat_only_with_roles(self, tmp_path):
        path = tmp_path / "mine.jsonl"
        path.write_text(json.dumps({"instruction": "Say", "instances": [{"output": "a"}]}))
        with pytest.raises(DataError, match="'instances' holds lists of objects that are no chats"):
            described(path, {"task": "instruction_tuning"})

    def test_the_options_are_on_the_command_line(self, ftzard, tmp_path):
        path = pairs(tmp_path, {"tools": "sum", "system": "Be brief."})
        asked = ("init", tmp_path / "ws", "--task", "instruction_tuning", "--data", path)
        code, said = ftzard(*asked)
        assert code == 1 and "--ignore tools" in said and not (tmp_path / "ws").exists()
        code, said = ftzard(*asked, "--ignore", "toolz")
        assert code == 1 and "did you mean 'tools'" in said
        assert ftzard(*asked, "--ignore", "tools")[0] == 0
        assert "ignored_columns:\n  - tools" in (tmp_path / "ws/ftzard.yaml").read_text()
        odd = table(tmp_path, *[{"text": f"both {n}", "label": "glad|sad"} for n in range(5)])
        code, said = ftzard("init", tmp_path / "w2", "--data", odd)
        assert code == 1 and "add --single-label" in said and not (tmp_path / "w2").exists()
        assert ftzard("init", tmp_path / "w2", "--data", odd, "--single-label")[0] == 0
        assert "glad|sad: glad|sad" in (tmp_path / "w2/ftzard.yaml").read_text()
        for option in (["--single-label"], ["--ignore", "tools"]):
            assert ftzard("init", tmp_path / "w3", *option)[0] == 1
