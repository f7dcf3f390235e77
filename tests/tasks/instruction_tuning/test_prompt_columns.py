"""Columns that belong to the question become messages, or are refused by name; none is lost."""

import json

import pandas as pd
import pytest

from ftzard.config.compose import compose
from ftzard.data import prompt_columns
from ftzard.errors import DataError
from ftzard.orchestration.create_workspace import config_for
from ftzard.sources import rows as source_rows
from ftzard.tasks.instruction_tuning import instructions
from ftzard.tasks.instruction_tuning.setup import instruction_config

COLUMNS = {"instruction_column": "instruction", "output_column": "output",
           "messages_column": "messages"}
ROW = {"instruction": "And now?", "output": "It is 6."}
CHAT = [{"role": "user", "content": "And now?"}, {"role": "assistant", "content": "It is 6."}]
SYSTEM = {"role": "system", "content": "Answer as a pirate."}
EARLIER = [{"role": "user", "content": "Count in threes."}, {"role": "assistant", "content": "3"}]
PAIRS = [["Count in threes.", "3"]]


def lines(path, rows: list[dict]):
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


@pytest.fixture
def read(tmp_path):
    """Write rows as JSON lines, parquet or CSV, read and clean them."""
    def do(*rows: dict, kind: str = "jsonl", **options) -> tuple[pd.DataFrame, pd.DataFrame]:
        path = tmp_path / f"rows.{kind}"
        if kind == "jsonl":
            lines(path, rows)
        elif kind == "parquet":
            pd.DataFrame(list(rows)).to_parquet(path)
        else:
            pd.DataFrame([{k: json.dumps(v) if isinstance(v, list) else v for k, v in row.items()}
                          for row in rows]).to_csv(path, index=False)
        raw = instructions.read(path, **{**COLUMNS, **options})
        good, bad = instructions.clean(raw, batch="b")
        assert len(good) + len(bad) == len(rows)
        return good, bad

    return do


def messages(good: pd.DataFrame) -> list[dict]:
    return json.loads(good["messages"][0])


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "csv"])
def test_a_system_prompt_and_a_history_come_before_the_instruction(read, kind):
    good, bad = read({**ROW, "system": "Answer as a pirate.", "history": PAIRS}, kind=kind)
    assert bad.empty and good["label"].tolist() == ["It is 6."]
    assert messages(good) == [SYSTEM, *EARLIER, CHAT[0]]
    assert good["text"][0].startswith("system: Answer as a pirate.")


@pytest.mark.parametrize(("row", "wanted"), [
    ({**ROW, "System Prompt": "Answer as a pirate."}, [SYSTEM, CHAT[0]]),
    ({**ROW, "system": None, "history": []}, CHAT[:1]),
    ({**ROW, "system": " ", "history": "[]"}, CHAT[:1]),
    ({**ROW, "history": json.dumps(PAIRS)}, [*EARLIER, CHAT[0]]),
    ({**ROW, "history": [SYSTEM, *EARLIER]}, [SYSTEM, *EARLIER, CHAT[0]]),
    ({**ROW, "history": [{"from": "human", "value": "Count in threes."},
                         {"from": "gpt", "value": "3"}]}, [*EARLIER, CHAT[0]]),
    ({"messages": CHAT, "system": "Answer as a pirate."}, [SYSTEM, CHAT[0]]),
    ({"messages": [SYSTEM, *CHAT], "system": "Answer as a pirate."}, [SYSTEM, CHAT[0]])])
def test_every_form_of_them_is_understood(read, row, wanted):
    good, bad = read(row)
    assert bad.empty and messages(good) == wanted


@pytest.mark.parametrize(("row", "reason"), [
    ({**ROW, "history": "before"}, "a history that is not JSON"),
    ({**ROW, "history": ["a", "b"]}, "a history that is no list of question and answer"),
    ({**ROW, "history": [["a"]]}, "a history that is no list of question and answer"),
    ({**ROW, "history": [["a", None]]}, "a history that is no list of question and answer"),
    ({**ROW, "history": [["a", " "]]}, "empty message of the assistant"),
    ({**ROW, "history": EARLIER[:1]}, "messages in the wrong order: user after user"),
    ({"messages": CHAT, "history": PAIRS}, "both a history and messages"),
    ({"messages": [{**SYSTEM, "content": "Be brief."}, *CHAT], "system": "Be long."},
     "two system prompts")])
def test_what_is_no_history_says_why(read, row, reason):
    assert read(row)[1]["reason"].tolist() == [reason]


@pytest.mark.parametrize(("column", "value"), [
    ("tools", '[{"name": "sum"}]'), ("tools", [{"name": "sum"}]), ("functions", "f"),
    ("images", ["0.png"]), ("image", "0.png"), ("Audios", ["a.wav"]), ("videos", ["v.mp4"]),
    ("documents", ["A text."]), ("context", "A text."), ("system_prompt", "Two of them."),
    ("conversations", CHAT), ("input", "3"), ("prompt", "Say it loud."), ("chosen", "Yes."),
    ("rejected", "No."), ("kto_tag", False), ("response", "Another."), ("reasoning", "Since.")])
def test_a_filled_column_that_would_be_lost_is_named_and_can_be_left_out(read, column, value):
    rows = [{**ROW, "system": "", column: value}, {**ROW, column: None}]
    with pytest.raises(DataError) as caught:
        read(*rows)
    assert f"'{column}' (filled in 1 of 2 rows)" in str(caught.value)
    assert f"data.ignored_columns=[{column}]" in str(caught.value)
    assert len(read(*rows, ignored=[column])[1]) == 1  # the same twice: a duplicate


@pytest.mark.parametrize("column", [
    "toolCalls", "Tool-Definitions", "available_tools", "fewShot", "few_shots",
    "Options", "choice", "option_1", "personas", "background", "knowledge", "evidences", "premise",
    "facts", "schema", "code", "table", "passages", "article", "paragraph", "rationale",
    "explanations", "cot", "chainOfThought", "constraints", "userInput", "turns", "chat", "img",
    "Pictures", "attachment", "audio_path", "imageUrls"])
def test_a_column_of_the_prompt_is_known_however_it_is_spelled(read, column):
    with pytest.raises(DataError, match=f"'{column}' \\(filled in 1 of 1 rows\\)"):
        read({**ROW, column: "What nothing repeats."})


@pytest.mark.parametrize(("column", "value", "wanted"), [
    ("sysPrompt", "Answer as a pirate.", [SYSTEM, CHAT[0]]),
    ("system_instructions", "Answer as a pirate.", [SYSTEM, CHAT[0]]),
    ("dialogueHistory", PAIRS, [*EARLIER, CHAT[0]]),
    ("previous_turns", EARLIER, [*EARLIER, CHAT[0]]), ("turns", 3, [CHAT[0]])])
def test_so_is_one_that_becomes_messages(read, column, value, wanted):
    good, bad = read({**ROW, column: value})
    assert bad.empty and messages(good) == wanted


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "csv"])
def test_the_filled_columns_that_nothing_reads_are_listed(tmp_path, kind):
    rows = [{**ROW, "system": "Be brief.", "source": "us", "tools": "x", "empty": "",
             "difficulty": 2}]
    path = lines(tmp_path / "rows.jsonl", rows)
    if kind != "jsonl":
        path = tmp_path / f"rows.{kind}"
        write = getattr(pd.DataFrame(rows), f"to_{kind}")
        write(path, index=False)
    assert instructions.not_read(path, ("instruction", "output", None), ignored=["tools"]) == [
        "source", "difficulty"]
    said = []
    config = config_for(tmp_path / "new", task="instruction_tuning", data=path, ignore=["tools"],
                        say=said.append)
    assert config["data"]["ignored_columns"] == ["tools"]
    assert [line for line in said if line.startswith("not read: source, difficulty")]


@pytest.mark.parametrize(("row", "column", "cell"), [
    ({"instruction": "A or B?", "output": "B"}, "reasoning", "B because A is wrong."),
    ({"instruction": "A or B?", "output": "B"}, "completion", "A comes first, so it is B"),
    ({"instruction": "No?", "output": "no"}, "response", "nothing"),
    ({"instruction": "Sum?", "output": "It is 16."}, "answer", "6"),
    ({"instruction": "Sum?", "output": "It is 16."}, "answer", "Sum?"),
    ({"instruction": "Summarise.", "output": "Short."}, "prompt", "Summarise.\n\nA LONG ARTICLE"),
    ({"instruction": "Summarise.", "output": "Short."}, "documents", ["Summarise. LONG ARTICLE"]),
    ({"instruction": "Summarise.", "output": "Short."}, "context", "Short."),
    ({"instruction": "Summarise.", "input": "Words.", "output": "Short."}, "text",
     "### Instruction: Summarise. ### Input: More words. ### Response: Short."),
    ({"messages": CHAT}, "prompt", "And now? It is late.")])
def test_a_cell_that_says_more_than_what_is_read_is_refused(read, row, column, cell):
    with pytest.raises(DataError, match=f"'{column}' \\(filled in 1 of 1 rows\\)"):
        read({**row, column: cell}, input_column="input" if "input" in row else None)


ALPACA = ("Below is an instruction that describes a task, paired with an input that provides "
          "further context. Write a response that appropriately completes the request.\n\n"
          "### Instruction:\nAnd now?\n\n### Input:\n4 and 2\n\n### Response:\n")


@pytest.mark.parametrize("beside", [
    {"text": f"{ALPACA}It is 6."}, {"prompt": ALPACA}, {"context": "4  and 2\n"},
    {"text": "<|im_start|>user\nAnd now?\n4 and 2<|im_end|>\n<|im_start|>assistant\nIt is 6."},
    {"prompt": "[INST] And now?\n4 and 2 [/INST]"}, {"completion": "Answer: It is\n6."}])
def test_a_rendering_of_what_is_read_is_no_loss(read, beside):
    good, bad = read({**ROW, "input": "4 and 2", **beside}, input_column="input")
    assert bad.empty and good["text"].tolist() == ["And now?\n\n4 and 2"]


def test_a_column_may_repeat_what_a_chat_says(read):
    good, bad = read({"messages": [SYSTEM, *CHAT], "prompt": "And now?", "response": "It is 6."})
    assert bad.empty and messages(good) == [SYSTEM, CHAT[0]]


@pytest.mark.parametrize("beside", [
    {"tools": "[]", "images": [], "documents": [[]], "context": "", "videos": None, "chosen": " "},
    {"text": "### Instruction: And now? ### Response: It is 6.", "prompt": "And now?"},
    {"answer": "6", "response": "It is 6."},
    {"id": 7, "category": "counting", "source": "us", "tags": ["a"], "language": "en"}])
def test_what_is_empty_repeats_or_is_book_keeping_is_no_loss(read, beside):
    good, bad = read({**ROW, **beside})
    assert bad.empty and messages(good) == CHAT[:1]


def test_a_column_that_another_key_names_is_not_lost(read):
    good, bad = read({**ROW, "document": "d1"}, group_column="document")
    assert bad.empty and good["group"].tolist() == ["d1"]


def test_an_empty_input_leaves_room_for_the_column_that_is_one(read):
    row = {**ROW, "input": "", "context": "A text."}
    with pytest.raises(DataError, match="data.input_column=context"):
        read(row, input_column="input")
    good, _ = read(row, input_column="context")
    assert good["text"].tolist() == ["And now?\n\nA text."]
    with pytest.raises(DataError) as caught:
        read({**row, "input": "3"}, input_column="input")
    assert "data.input_column" not in str(caught.value)


def test_an_image_in_a_parquet_file_is_named_whatever_its_type(read):
    for value in (b"\x89PNG\xff", {"bytes": b"\x89PNG\xff", "path": None}):
        with pytest.raises(DataError, match="'image'"):
            read({**ROW, "image": value}, kind="parquet")


def test_what_is_asked_without_answers_may_bring_answers(read):
    row = {**ROW, "response": "Another.", "chosen": "Yes."}
    good, bad = read(row, output_column=None)
    assert bad.empty and messages(good) == CHAT[:1]
    with pytest.raises(DataError, match="'tools'"):
        read({**row, "tools": "x"}, output_column=None)


def test_a_mix_of_sources_keeps_what_is_asked_with_the_instruction(tmp_path):
    config = compose(instruction_config({"input_column": None}))
    row = {**ROW, "system_message": "Answer as a pirate.", "history": PAIRS}
    raw = instructions.read(lines(tmp_path / "one.jsonl", [row]), **COLUMNS)
    (tmp_path / "mix.jsonl").write_bytes(source_rows.json_lines(raw, config))
    good, bad = instructions.clean(
        instructions.read(tmp_path / "mix.jsonl", **COLUMNS), batch="b")
    assert bad.empty and messages(good) == [SYSTEM, *EARLIER, CHAT[0]]


TEXT, IMAGE = {"type": "text", "text": "And"}, {"type": "image_url", "image_url": {"url": "x"}}


@pytest.mark.parametrize(("content", "wanted"), [
    ([TEXT, {"type": "text", "text": "now?"}], "And\nnow?"),
    ([{"type": "input_text", "text": "And now?", "cache_control": {"type": "ephemeral"},
       "annotations": []}], "And now?")])
def test_parts_of_a_message_that_are_texts_are_one_text(read, content, wanted):
    good, bad = read({"messages": [{"role": "user", "content": content}, CHAT[1]]})
    assert bad.empty and good["text"].tolist() == [wanted]


@pytest.mark.parametrize(("content", "reason"), [
    ([TEXT, IMAGE], "a part of type 'image_url', which is not learned"),
    ([{"type": "text", "text": None}], "a part of type 'text', which is not learned"),
    ([{**TEXT, "citations": [1]}], "a part with 'citations', which is not learned"),
    ([], "empty message of the user"), (None, "empty message of the user"),
    ({"a": 1}, "a content that is a dict, no text"), (3, "a content that is a int, no text")])
def test_a_part_that_is_no_text_is_named(read, content, reason):
    _, bad = read({"messages": [{"role": "user", "content": content}, CHAT[1]]})
    assert bad["reason"].tolist() == [reason]


def test_a_call_of_a_tool_is_named_although_it_has_no_content(read):
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": 1}]}
    for kind in ("jsonl", "parquet"):
        _, bad = read({"messages": [CHAT[0], call]}, kind=kind)
        assert bad["reason"].tolist() == ["messages with 'tool_calls', which are not learned"]


def test_a_name_with_a_space_is_shown_as_a_shell_takes_it():
    assert "--ignore 'tool calls'" in prompt_columns.refusal(
        {"tool calls": 3}, 3, input_free=True, messages_free=True)
