"""Instructions and chats: read from every format, cleaned, and not one row lost."""

import json

import pandas as pd
import pytest

from ftzard.data import cleaning, messages, near_duplicates, replay, splitting, storage
from ftzard.errors import DataError
from ftzard.tasks.instruction_tuning import instructions
from ftzard.tasks.instruction_tuning.exchanges import exchanges_of

COLUMNS = {"instruction_column": "instruction", "input_column": "input",
           "output_column": "output"}
RATIO = {"train": 0.7, "validation": 0.1, "test": 0.2}


def turn(role: str, content: object) -> dict:
    return {"role": role, "content": content}


def lines(path, rows: list[dict]):
    path.write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows))
    return path


@pytest.fixture
def cleaned(tmp_path):
    """Write rows as JSON lines, read and clean them; returns (cleaned, rejected)."""
    def do(rows: list[dict], *, answers: bool = True, **options):
        options = {"messages_column": "messages", **COLUMNS, **options}
        options["output_column"] = options["output_column"] if answers else None
        raw = instructions.read(lines(tmp_path / "rows.jsonl", rows), **options)
        good, bad = instructions.clean(raw, batch="b1", max_characters=100)
        assert len(good) + len(bad) == len(rows) == len(raw)
        return good, bad

    return do


def alone(content: str, about: str = "") -> dict:
    return {"instruction": content, "input": about, "output": "yes", "messages": None}


CHAT = [turn("system", "Be brief."), turn("user", "Hello"), turn("assistant", "Hi"),
        turn("user", "Who\nare you?"), turn("assistant", " A model. ")]


def test_what_becomes_of_rows_that_can_be_used(cleaned):
    good, bad = cleaned([
        alone(" Translate\r\n\tthis @you: http://a.b ", "Bonjour\x00\n\n le  monde"),
        alone("cafe\u0301 &amp; NO input", " \u200b "),
        {"messages": CHAT}, {"messages": [turn("user", "One turn?"), turn("assistant", "Yes.")]},
        {"messages": [turn("user", "2 + 2?")], "output": 4}])
    assert bad.empty
    assert list(good) == ["id", "batch", "row", "text", "label", "messages", "source"]
    assert good["text"].tolist() == [
        "Translate\n\tthis @you: http://a.b\n\nBonjour\n\n le  monde", "café &amp; NO input",
        "system: Be brief.\n\nuser: Hello\n\nassistant: Hi\n\nuser: Who\nare you?", "One turn?",
        "2 + 2?"]
    assert good["label"].tolist() == ["yes", "yes", "A model.", "Yes.", "4"]
    assert [json.loads(m) for m in good["messages"]] == [
        [{"role": "user", "content": "Translate\n\tthis @you: http://a.b",
          "input": "Bonjour\n\n le  monde"}],
        [turn("user", "café &amp; NO input")], CHAT[:-1], [turn("user", "One turn?")],
        [turn("user", "2 + 2?")]]
    assert good["id"].is_unique and (good["source"] == "").all()


REASONS = [
    (alone(""), "empty instruction"), (alone(" \u200b\n", "an input"), "empty instruction"),
    ({"instruction": "Say", "output": "\ufeff "}, "empty answer"),
    ({"instruction": "Say it", "output": None}, "empty answer"),
    (alone("x" * 101), "text longer than 100 characters"),
    (alone("short", "y" * 95), "text longer than 100 characters"),
    ({"instruction": "Write", "output": "z" * 101}, "answer longer than 100 characters"),
    ({"messages": "hello"}, "messages are not JSON"),
    ({"messages": {"role": "user"}}, "messages are no list of role and content"),
    ({"messages": [turn("user", ["a"])]}, "a content that is a list of str, no text"),
    ({"messages": [{"content": "a"}]}, "messages are no list of role and content"),
    ({"messages": []}, "messages without a user's"),
    ({"messages": [turn("system", "s")]}, "messages without a user's"),
    ({"messages": [turn("tool", "t"), *CHAT]}, "unknown role 'tool'"),
    ({"messages": CHAT[2:]}, "messages in the wrong order: they begin with assistant"),
    ({"messages": [*CHAT[:2], *CHAT[1:]]}, "messages in the wrong order: user after user"),
    ({"messages": [*CHAT, CHAT[-1]]}, "messages in the wrong order: assistant after assistant"),
    ({"messages": CHAT[1:] + CHAT[:1]}, "messages in the wrong order: system after assistant"),
    ({"messages": [CHAT[0], *CHAT[2:]]}, "messages in the wrong order: assistant after system"),
    ({"messages": [turn("user", " "), turn("assistant", "a")]}, "empty message of the user"),
    ({"messages": [turn("user", "a"), turn("assistant", " ")]}, "empty answer"),
    ({"messages": CHAT[:-1]}, "no answer"),
    ({"messages": CHAT, "output": "Another."}, "two answers"),
    ({"messages": CHAT, "instruction": "And?"}, "both an instruction and messages"),
    ({"messages": [CHAT[1], {**CHAT[2], "tool_calls": [{"id": 1}]}]},
     "messages with 'tool_calls', which are not learned"),
    ({"messages": [CHAT[1], {**CHAT[2], "weight": 0}]},
     "messages with 'weight', which are not learned"),
    ({"messages": [CHAT[1], {**CHAT[2], "value": "Or this?"}]},
     "messages with 'value', which are not learned"),
    ({"messages": [CHAT[1], {**CHAT[2], "input": "of the assistant"}]},
     "messages with 'input', which are not learned"),
    ({"messages": [{**CHAT[1], "input": ["a"]}, CHAT[2]]},
     "an input that is a list, no text or number"),
]


def test_every_row_that_cannot_be_used_says_why(cleaned):
    good, bad = cleaned([row for row, _ in REASONS] + [alone("good")])
    assert good["text"].tolist() == ["good"]
    assert bad["reason"].tolist() == [reason for _, reason in REASONS]
    assert bad["row"].tolist() == list(range(len(REASONS))) and (bad["batch"] == "b1").all()
    assert bad["text"].iloc[2] == "Say" and bad["text"].iloc[7] == "hello", "as it was given"
    assert list(bad) == ["batch", "row", "text", "reason"]


def test_what_stands_beside_the_words_of_a_message_is_kept_or_harmless(cleaned):
    """The input of a user's turn, wherever it stands; who and when, or nothing, may be left."""
    empty = {"tool_calls": [], "function_call": None, "thinking": " ", "name": "ann", "id": 7}
    good, bad = cleaned([
        {"messages": [CHAT[0], {**CHAT[1], "input": "one\r\ntwo"}, {**CHAT[2], **empty},
                      {**turn("user", "Double."), "input": 21}, turn("assistant", "42")]},
        {"messages": [{**turn("user", "Hello"), "input": "\u200b", **empty},
                      turn("assistant", "Hi")]}])
    assert bad.empty
    assert json.loads(good["messages"][0]) == [
        CHAT[0], {**CHAT[1], "input": "one\ntwo"}, CHAT[2],
        {"role": "user", "content": "Double.", "input": "21"}]
    assert good["text"].tolist() == [
        "system: Be brief.\n\nuser: Hello\n\none\ntwo\n\nassistant: Hi\n\nuser: Double.\n\n21",
        "Hello"]
    assert json.loads(good["messages"][1]) == [turn("user", "Hello")]
    again, _ = cleaned([{"messages": [*json.loads(m), turn("assistant", a)]}
                        for m, a in zip(good["messages"], good["label"], strict=True)])
    assert again["messages"].tolist() == good["messages"].tolist(), "cleaning a clean chat"


def test_the_same_answer_to_the_same_text_is_a_duplicate_and_another_answer_is_not(cleaned):
    good, bad = cleaned([alone("Say yes"), alone("Say \t yes\n"),
                         {**alone("Say yes"), "output": "Oui"}, alone("Say yes", "now"),
                         {"messages": [turn("user", "Say yes"), turn("assistant", "yes")]}])
    assert good["row"].tolist() == [0, 2, 3]
    assert bad["reason"].tolist() == ["duplicate", "duplicate"] and bad["row"].tolist() == [1, 4]


def test_an_instruction_with_another_sign_or_case_is_another_one(cleaned):
    """Signs and case are what such instructions differ by, and one answer may be right for all."""
    asked = ["Is 3 < 5 true?", "Is 3 != 5 true?", "Is -3 < 5 true?", "Is `X` a name?",
             "Is `x` a name?", "Is 'cafe\u0301' a word?"]
    good, bad = cleaned([alone(text) for text in [*asked, "Is 'caf\u00e9'  a word?"]])
    assert good["row"].tolist() == list(range(6))
    assert bad[["row", "reason"]].values.tolist() == [[6, "duplicate"]]
    sides = splitting.assign(good, ratio=RATIO, salt="ftzard")["split"].tolist()
    assert len(set(sides[:2])) == 1, "what has the same words stays on one side"


def test_for_inference_the_last_word_is_the_user_s(cleaned):
    good, bad = cleaned([alone("Say yes"), alone("Say  yes"), {"messages": CHAT[:-1]},
                         {"messages": CHAT}], answers=False)
    assert list(good) == ["id", "batch", "row", "text", "messages", "source"]
    assert good["row"].tolist() == [0, 2]
    assert bad["reason"].tolist() == [
        "duplicate", "nothing is asked: the last message is the assistant's"]


def test_the_older_form_of_chats_is_understood(cleaned):
    older = [{"from": "human", "value": "Hello"}, {"from": "gpt", "value": "Hi"}]
    good, _ = cleaned([{"messages": older}])
    assert good[["text", "label"]].values.tolist() == [["Hello", "Hi"]]


class TestFormats:
    rows = [{"instruction": "Say, \"a\"", "input": "", "output": "a\nb", "chat": None},
            {"instruction": None, "input": None, "output": None, "chat": CHAT}]
    options = {**COLUMNS, "messages_column": "chat"}

    def files(self, folder):
        yield lines(folder / "rows.jsonl", self.rows)
        frame = pd.DataFrame(self.rows)
        frame.to_parquet(folder / "rows.parquet")
        yield folder / "rows.parquet"
        frame.assign(chat=["", json.dumps(CHAT)]).to_csv(folder / "rows.csv", index=False)
        yield folder / "rows.csv"

    def test_json_lines_parquet_and_csv_say_the_same(self, tmp_path):
        read = [instructions.clean(instructions.read(path, **self.options), batch="b")
                for path in self.files(tmp_path)]
        assert len(read) == 3 and all(bad.empty for _, bad in read)
        for good, _ in read[1:]:
            pd.testing.assert_frame_equal(good, read[0][0])
        assert read[0][0]["label"].tolist() == ["a\nb", "A model."]

    def test_a_file_of_chats_needs_no_instructions(self, tmp_path):
        path = lines(tmp_path / "chats.jsonl", [{"chat": CHAT, "input": ""}])
        good, _ = instructions.clean(instructions.read(path, **self.options), batch="b")
        assert len(good) == 1

    def test_a_file_of_instructions_needs_no_chats(self, tmp_path):
        path = lines(tmp_path / "rows.jsonl", self.rows[:1])
        path.write_text(path.read_text().replace('"chat"', '"chats"'))
        assert instructions.read(path, **self.options)["messages"].tolist() == [""]

    @pytest.mark.parametrize(("row", "options", "words"), [
        ({"instruction": "a", "output": "b"}, COLUMNS, ["'input'", "data.input_column"]),
        ({"instruction": "a", "outputs": "b"}, {**COLUMNS, "input_column": None},
         ["did you mean 'outputs'", "data.label_column"]),
        ({"chat": CHAT, "instruction": "a", "output": "b"}, options, ["no column 'input'"]),
        ({"chats": CHAT}, options, ["no column 'instruction'", "Its header is: chats"]),
        ({"instruction": ["a"], "input": "", "output": "b"}, COLUMNS, ["holds a list"])])
    def test_a_column_that_is_missing_is_named(self, tmp_path, row, options, words):
        with pytest.raises(DataError) as caught:
            instructions.read(lines(tmp_path / "rows.jsonl", [row]), **options)
        assert all(word in str(caught.value) for word in words), caught.value


class TestTogetherWithTheRest:
    """What comes after cleaning knows rows with free answers by their column `messages`."""

    def table(self, cleaned, texts: list[str], answers: list[str]) -> pd.DataFrame:
        good, _ = cleaned([{"instruction": t, "input": "", "output": a, "messages": None}
                           for t, a in zip(texts, answers, strict=True)])
        return good

    def test_free_answers_are_no_classes(self, cleaned):
        good = self.table(cleaned, [f"text number {n}" for n in range(40)], ["the same"] * 40)
        nothing = good.head(0).assign(reason="")
        cleaning.check(good, nothing, min_rows=10, max_rejected=0.1)
        sides = splitting.assign(good, ratio=RATIO, salt="ftzard")
        splitting.check_splits(sides.assign(label=[str(n) for n in range(40)]))
        with pytest.raises(DataError, match="Only 40 of 40 rows"):
            cleaning.check(good, nothing, min_rows=50, max_rejected=0.1)
        _, bad = cleaned([alone(""), alone("b")])
        with pytest.raises(DataError, match="1 empty instruction. Fill or .*max_rejected to 0.51"):
            cleaning.check(good.head(1), bad, min_rows=1, max_rejected=0.1)

    def test_a_later_batch_loses_the_same_answers_only(self, cleaned):
        first = self.table(cleaned, ["Say a", "Say b"], ["a", "b"])
        second = self.table(cleaned, ["Say  a", "Say b", "Say c", "say A!"], ["a", "B?", "c", "a"])
        both, repeated = instructions.append(first, second.assign(batch="b2"))
        assert both["label"].tolist() == ["a", "b", "B?", "c", "a"]
        assert repeated["reason"].tolist() == ["duplicate of an earlier batch"]
        by_hand = second.tail(1).assign(batch="b3", labelled_by="ann", labelled_at="now",
                                        label="d", source=pd.NA)
        more, _ = instructions.append(both, by_hand, replace_batch=False)
        assert len(more) == 6 and more["source"].tolist() == [""] * 6

    def test_replayed_rows_keep_the_shares_of_batch_and_source(self, cleaned):
        old = self.table(cleaned, [f"old {n}" for n in range(40)], [str(n) for n in range(40)])
        old = old.assign(source=["one"] * 30 + ["two"] * 10)
        new = self.table(cleaned, [f"new {n}" for n in range(10)], ["x"] * 10).assign(batch="b2")
        mixed, counts = replay.mix(pd.concat([old, new]), ["b1"], ratio=2.0, seed=0)
        assert counts == {"new_rows": 10, "replayed_rows": 20, "earlier_rows": 40}
        again = mixed.loc[mixed["batch"] == "b1", "source"].value_counts().to_dict()
        assert again == {"one": 15, "two": 5}

    def test_a_near_copy_leaves_training_by_its_text(self, cleaned):
        good = self.table(cleaned, ["Name the old capital of France", "Name the new capital of "
                                    "France", "Sing"], ["a", "b", "c"])
        rows = good.assign(split=["test", "train", "train"])
        kept, dropped = near_duplicates.drop_near_duplicates(rows)
        assert kept["text"].tolist() == ["Name the old capital of France", "Sing"]
        assert dropped["reason"].tolist() == ["near-duplicate of a test row"]

    def test_tables_keep_their_types_on_disk(self, cleaned, tmp_path):
        good = self.table(cleaned, ["a", "b"], ["x\ny", "z"]).assign(prompt_length=3, cut=0)
        path = storage.write_parquet(good, tmp_path / "t.parquet")
        assert storage.read_parquet(path)["label"].tolist() == ["x\ny", "z"]
        empty = storage.write_parquet(good.head(0), tmp_path / "e.parquet")
        schemas = [storage.pq.read_schema(p) for p in (path, empty)]
        assert schemas[0].equals(schemas[1]) and str(schemas[0].field("prompt_length").type) == \
            "int32"


def test_all_rows_of_real_instructions_are_accounted_for(shared_data):
    path = shared_data / "self_instruct" / "instructions.jsonl"
    if not path.is_file():
        pytest.skip("no real instructions beside the project")
    good, bad = instructions.clean(instructions.read(path, **COLUMNS), batch="b")
    assert len(good) + len(bad) == 427
    assert bad["reason"].tolist() == ["text longer than 5000 characters"]
    cleaning.check(good, bad, min_rows=50, max_rejected=0.1)
    sides = splitting.assign(good, ratio=RATIO, salt="ftzard")
    kept, dropped = near_duplicates.drop_near_duplicates(sides, repeated_of=exchanges_of)
    splitting.check_splits(kept, min_rows=20)
    assert len(kept) + len(dropped) == 426 and len(dropped) < 10
    told = [json.loads(cell) for cell in good["messages"]]
    assert all(len(m) == 1 and m[0]["role"] == "user" for m in told)
    assert sum("input" in m[0] for m in told) > 200
    assert [messages.as_text(m) for m in told] == good["text"].tolist()
