"""What the words of `ftzard predict` mean, and how its input becomes lines; no model is loaded."""

import gzip
import io
import json
import os

import pytest

from ftzard.data.reading import read_cells
from ftzard.errors import DataError
from ftzard.registry.input_lines import opened, require_content
from ftzard.registry.line_answers import as_json
from ftzard.registry.predict import (
    BATCH,
    Asked,
    Columns,
    batches,
    format_of,
    understood,
)


def read(content: bytes, kind: str | None = None, column: str = "text", encoding: str = "utf-8"):
    return [line for batch in batches(io.BytesIO(content), kind, column, encoding)
            for line in batch]


class TestWords:
    @pytest.mark.parametrize(("words", "meant"), [
        (["hello"], Asked("champion", ("hello",))),
        (["one text", "another"], Asked("champion", ("one text", "another"))),
        ([], Asked("champion", source="-")), (["-"], Asked("champion", source="-")),
        (["challenger"], Asked("challenger", source="-")),
        (["base", "hello"], Asked("base", ("hello",))),
        (["My-Model@3", "-"], Asked("My-Model@3", source="-")),
        (["Mine@champion", "a", "b"], Asked("Mine@champion", ("a", "b"))),
        (["ann@example.org", "hello"], Asked("champion", ("ann@example.org", "hello"))),
        (["see readme.txt please"], Asked("champion", ("see readme.txt please",))),
        (["x" * 5000], Asked("champion", ("x" * 5000,)))])
    def test_a_model_then_a_file_a_stream_or_texts(self, words, meant):
        assert understood(words) == meant

    def test_a_file_is_read_and_one_that_is_missing_is_no_text(self, tmp_path):
        file = tmp_path / "in.csv"
        file.write_text("text\nhello\n")
        assert understood([str(file)]) == Asked("champion", source=str(file))
        assert understood(["previous", str(file)]) == Asked("previous", source=str(file))
        with pytest.raises(DataError, match="nowhere.jsonl does not exist"):
            understood(["nowhere.jsonl"])
        with pytest.raises(DataError, match="stands among 2 arguments"):
            understood([str(file), "and a text"])
        (tmp_path / "in.pdf").write_text("x")
        with pytest.raises(DataError, match="unknown type '.pdf'; valid are: .txt, .jsonl, .csv"):
            understood([str(tmp_path / "in.pdf")])


class TestLines:
    def test_every_line_of_a_text_is_one_with_its_number(self):
        found = read("\ufeffeins\r\n\nüç\nlast".encode())
        assert [(line.number, line.text) for line in found] == [
            (1, "eins"), (2, ""), (3, "üç"), (4, "last")]

    def test_bytes_of_another_encoding_are_that_line_s_error(self):
        found = read(b"good\nb\xe4d\ngood")
        assert [line.error is None for line in found] == [True, False, True]
        assert found[1].error == "not utf-8: byte 1 is 0xe4"
        assert read(b"b\xe4d", encoding="latin-1")[0].text == "bäd"
        with pytest.raises(DataError, match="'utf8x'"):
            read(b"a", encoding="utf8x")

    def test_the_first_line_says_whether_a_stream_is_jsonl(self):
        found = read(b'{"text": "a", "id": "x"}\n{"txt": "c"}\n"b"\n[1]\n{no\n')
        assert [line.text for line in found] == ["a", None, "b", None, None]
        assert found[0].id == "x" and "no text under 'text'" in found[1].error
        assert "there is: list" in found[3].error and found[4].error.startswith("not JSON")
        assert [line.text for line in read(b'{not json}\n{"text": "a"}')] == [
            "{not json}", '{"text": "a"}']
        assert read(b'{"say": "a"}', "jsonl", "say")[0].text == "a"

    def test_a_stray_quote_swallows_no_row_in_silence(self):
        """A file without quoting: a text begins with a quote, a later one ends with one."""
        rows = "".join(f"{n},fine {n}\n" for n in range(20))
        found = read(f'id,text\n{rows}20,"so she said\n21,all of it\n22,it is over"\n23,more\n'
                     .encode(), "csv")
        assert [line.text for line in found if line.error is None] == [
            *(f"fine {n}" for n in range(20)), "more"]
        wrong, = (line for line in found if line.error)
        assert wrong.number == 22 and "opens in line 22 closes in line 24" in wrong.error
        assert "data.quoting=none" in wrong.error
        told = read(b'id,text\n1,"one, with\ntwo lines, and more"\n2,"a, b"\n', "csv")
        assert [line.error for line in told] == [None, None]

    def test_csv_has_records_with_line_ends_and_reports_the_bad_ones(self):
        found = read(b'id,text\n7,"two\nlines"\n8\n9,fine\n10,b\xe4d\n11,"never closed\nmore\n',
                     "csv")
        assert [(line.number, line.id, line.text) for line in found[:1]] == [(2, "7", "two\nlines")]
        assert (found[1].number, found[1].error) == (4, "1 cells, expected 2")
        assert (found[2].number, found[2].text) == (5, "fine")
        assert found[3].id == "10" and "not of this encoding" in found[3].error
        assert found[4].number == 7 and "up to line 8" in found[4].error and len(found) == 5
        with pytest.raises(DataError, match="no column 'txt'; did you mean 'text'.*--text"):
            read(b"id,text\n1,a\n", "csv", "txt")

    def test_a_file_comes_in_full_batches_and_a_pipe_as_it_arrives(self):
        found = list(batches(io.BytesIO(b"a line\n" * 200), "txt", "text", "utf-8"))
        assert [len(batch) for batch in found] == [BATCH, BATCH, BATCH, 200 - 3 * BATCH]
        end, begin = os.pipe()
        with open(end, "rb") as stream, open(begin, "wb", buffering=0) as writer:
            arriving = batches(stream, "txt", "text", "utf-8")
            writer.write(b"first\nsec")
            assert [line.text for line in next(arriving)] == ["first"]
            writer.write(b"ond\nthird\n")
            assert [line.text for line in next(arriving)] == ["second", "third"]


class TestAsTrainingReads:
    TEXTS = ["eins", "zw\u00fclf", "", "drei \U0001f600"]

    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
    @pytest.mark.parametrize("last", [True, False])
    def test_an_answer_per_line_in_every_encoding_with_every_line_end(self, encoding, end, last):
        content = end.join(self.TEXTS) + end * last
        found = read(content.encode(encoding), "txt", encoding=encoding)
        assert [(line.number, line.text, line.error) for line in found] == [
            (number, text, None) for number, text in enumerate(self.TEXTS, 1)]
        rows = f"id,text{end}" + end.join(f"{n},{t}" for n, t in enumerate(self.TEXTS))
        found = read(rows.encode(encoding), "csv", encoding=encoding)
        assert [(line.id, line.text) for line in found] == [
            (str(number), text) for number, text in enumerate(self.TEXTS)]

    def test_lines_are_whole_wherever_the_stream_is_cut(self):
        texts = [f"{n} " + "\u00e4\U0001f600" * (n % 700) for n in range(300)]
        for encoding, end in (("utf-8", "\r\n"), ("utf-16", "\r\n"), ("utf-16", "\r")):
            found = read(end.join(texts).encode(encoding), "txt", encoding=encoding)
            assert [line.text for line in found] == texts

    def test_a_carriage_return_ends_a_line_of_a_pipe_and_its_other_half_ends_none(self):
        end, begin = os.pipe()
        with open(end, "rb") as stream:
            writer = open(begin, "wb", buffering=0)
            arriving = batches(stream, "txt", "text", "utf-8")
            writer.write(b"one\r")
            assert [line.text for line in next(arriving)] == ["one"]
            writer.write(b"\n")
            writer.write(b"two\r\nthr")
            assert [line.text for line in next(arriving)] == ["two"]
            writer.write(b"ee")
            writer.close()
            assert [(line.number, line.text) for line in next(arriving)] == [(3, "three")]

    def test_bytes_that_are_no_character_spoil_their_own_line_alone(self):
        content = "a\n".encode("utf-16-le") + b"\x00\xd8" + "b\nc".encode("utf-16-le")
        found = read(content, "txt", encoding="utf-16-le")
        assert [line.text for line in found] == ["a", None, "c"]
        assert found[1].error.startswith("not utf-16-le")

    def test_another_encoding_than_was_said_is_named_before_anything_is_predicted(self, tmp_path):
        file = tmp_path / "in.txt"
        for kind, content in (("txt", "a\nb\n"), ("csv", "text\na\n")):
            file.write_bytes(content.encode("utf-16"))
            with open(file, "rb") as stream, pytest.raises(DataError, match="--encoding utf-16"):
                list(batches(stream, kind, "text", "utf-8"))
            with open(file, "rb") as stream:
                assert [line.text for batch in batches(stream, kind, "text", "utf-16")
                        for line in batch][0] == "a"
        file.write_text("gr\u00fcn\n", encoding="utf-8")
        wrong = "valid utf-8.*'gr|would become 'Ã¼'.*--encoding utf-8"
        with pytest.raises(DataError, match=wrong), opened(str(file), "cp1252"):
            pass
        file.write_text("gr\u00fcn\n", encoding="cp1252")
        with opened(str(file), "cp1252") as stream:
            assert stream.read() == b"gr\xfcn\n"

    def test_delimiter_quoting_and_excel_s_own_line_say_where_cells_end(self):
        def cells(content: str, **how):
            return [(line.number, line.text) for batch in batches(
                io.BytesIO(content.encode()), "csv", "text", "utf-8", **how) for line in batch]

        assert cells("text;l\na,b;c\n", delimiter=";") == [(2, "a,b")]
        assert cells("text\tl\na\tc\n", delimiter="tab") == [(2, "a")]
        assert cells("sep=;\r\ntext;l\r\na,b;c\r\n") == [(3, "a,b")]
        assert cells('text,l\n"open,c\nnext,d\n', quoting="none") == [(2, '"open'), (3, "next")]
        assert cells(f"text\n{'x' * 200_000}\n") == [(2, "x" * 200_000)]
        with pytest.raises(DataError, match="separated by ';'.*--delimiter ';'"):
            cells("text;l\na;b\n")
        with pytest.raises(DataError, match="2 columns 'text'"):
            cells("text,text\na,b\n")
        with pytest.raises(DataError, match="expected one character"):
            cells("text\na\n", delimiter=";;")


class TestInstructions:
    COLUMNS = Columns("instruction", "input", "messages")

    def read(self, content: str, kind: str | None = None):
        return read(content.encode(), kind, self.COLUMNS)

    def test_an_input_makes_messages_and_an_empty_one_none(self):
        found = self.read('{"instruction": "Add.", "input": " 2 3\\r\\n"}\n'
                          '{"instruction": "Hello", "input": ""}\n"plain"\n')
        assert found[0].messages == ({"role": "user", "content": "Add.", "input": "2 3"},)
        assert found[0].text == "Add.\n\n2 3"
        assert [line.messages for line in found[1:]] == [None, None]
        csv = self.read("id,instruction,input\n1,Add.,2 3\n2,Hello,\n", "csv")
        assert csv[0].messages == found[0].messages and csv[0].id == "1"
        assert csv[1].messages is None and csv[1].text == "Hello"

    def test_a_chat_is_read_and_a_broken_one_is_that_line_s_error(self):
        found = self.read('{"messages": [{"role": "system", "content": "Be brief."}, '
                          '{"role": "user", "content": "Hello "}], "id": 4}\n'
                          '{"messages": []}\n{"messages": [{"role": "user", "content": 3}]}\n')
        assert found[0].messages[1] == {"role": "user", "content": "Hello"} and found[0].id == 4
        assert found[0].text == "system: Be brief.\n\nuser: Hello"
        assert "no list of objects with a 'role'" in found[1].error
        assert found[2].error == "a content that is a int, no text"

    def test_a_system_prompt_and_a_history_are_asked_with_the_instruction(self):
        columns = Columns("instruction", "input", "messages", ("images",))
        row = {"instruction": "And now?", "input": "", "System-Prompt": "Be brief.",
               "history": [["Count.", "1"]], "images": ["0.png"], "output": "of no matter"}
        text = "".join(f"{json.dumps(one)}\n" for one in (
            row, {**row, "tools": [{"name": "sum"}]}, {**row, "tools": "[]", "history": "x"},
            {"messages": [{"role": "user", "content": "Hi"}], "system": "Be brief."}))
        found = read(text.encode(), "jsonl", columns)
        assert found[0].text == ("system: Be brief.\n\nuser: Count.\n\nassistant: 1\n\n"
                                 "user: And now?")
        assert [m["role"] for m in found[0].messages] == ["system", "user", "assistant", "user"]
        assert "'tools' is filled" in found[1].error
        assert "data.ignored_columns=[tools]" in found[1].error
        assert found[2].error == "a history that is not JSON"
        assert found[3].text == "system: Be brief.\n\nuser: Hi"
        csv = "instruction,system,history\nAnd now?,Be brief.,\"[[\"\"Count.\"\",\"\"1\"\"]]\"\n"
        said, = read(csv.encode(), "csv", columns)
        assert said.messages == found[0].messages

    def test_an_input_is_read_as_training_reads_it_and_never_left_out(self):
        turns = [{"role": "user", "content": "Sum up.", "input": "A long text."}]
        found = self.read("".join(f"{json.dumps(row)}\n" for row in (
            {"instruction": "Double it.", "input": 21}, {"messages": turns},
            {"instruction": "Negate it.", "input": True}, {"instruction": "Hello", "input": None},
            {"instruction": "Sum up.", "input": [1, 2], "id": "l"},
            {"instruction": "Sum up.", "input": {"a": 1}})))
        assert [line.text for line in found[:4]] == [
            "Double it.\n\n21", "Sum up.\n\nA long text.", "Negate it.\n\ntrue", "Hello"]
        assert found[0].messages == ({"role": "user", "content": "Double it.", "input": "21"},)
        assert list(found[1].messages) == turns
        assert [(line.text, line.error) for line in found[4:]] == [
            (None, "'input' holds a list, expected a text or a number"),
            (None, "'input' holds a dict, expected a text or a number")]
        assert found[4].id == "l"

    @pytest.mark.parametrize(("beside", "error"), [
        ({"instruction": "A"}, "both 'messages' and 'instruction', expected one"),
        ({"input": 3}, "both 'messages' and 'input', expected one"),
        ({"instruction": "", "input": None}, None)])
    def test_a_line_with_a_chat_and_an_instruction_asks_two_things(self, beside, error):
        chat = [{"role": "user", "content": "B"}]
        said, = self.read(json.dumps({"messages": chat, **beside}))
        assert (said.error, said.text) == (error, None if error else "B")
        csv = "instruction,input,messages\n{},{},\"{}\"\n".format(
            beside.get("instruction", ""), beside.get("input") or "",
            json.dumps(chat).replace('"', '""'))
        said, = self.read(csv, "csv")
        assert (said.error, said.text) == (error, None if error else "B")

    @pytest.mark.parametrize(("chat", "error"), [
        ([{"role": "user", "content": "a", "tool_calls": [1]}],
         "messages with 'tool_calls', which are not learned"),
        ([{"role": "user", "content": "a", "input": [1]}],
         "an input that is a list, no text or number"),
        ([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
         "nothing is asked: the last message is the assistant's")])
    def test_what_training_would_refuse_of_a_chat_is_that_line_s_error(self, chat, error):
        said, = self.read(json.dumps({"messages": chat, "id": 3}))
        assert (said.error, said.messages, said.id) == (error, None, 3)

    def test_a_csv_file_of_chats_needs_no_column_of_instructions(self):
        found = self.read('messages\n"[{""role"": ""user"", ""content"": ""a""}]"\nhello\n', "csv")
        assert found[0].text == "a" and found[1].error.startswith("its messages are not JSON")


class TestWhatIsNoCharacter:
    def test_half_of_a_surrogate_pair_is_the_error_of_its_line_alone(self):
        found = read(b'{"text": "a"}\n{"text": "\\ud800 good", "id": 7}\n"\\udc00"\n'
                     b'{"text": "b", "id": "\\ud800"}\n{"text": "\\ud83d\\ude00"}\n', "jsonl")
        assert [line.text for line in found] == ["a", None, None, None, "\U0001f600"]
        assert found[1].id == 7 and "\\ud800 is half of a surrogate pair" in found[1].error
        for line in found:
            json.dumps([line.id, line.text, line.error], ensure_ascii=False).encode()

    def test_an_id_that_cannot_be_written_is_escaped(self):
        found = read(b"id,text\nb\xe4d,fine\n", "csv")
        assert found[0].text == "fine"
        assert json.loads(as_json({"id": found[0].id}).encode()) == {"id": found[0].id}
        assert as_json({"text": "\u00fc"}) == '{"text": "\u00fc"}'


class TestValues:
    @pytest.mark.parametrize(("value", "text"), [
        ("1", "1"), ("0", "0"), ("1.5", "1.5"), ("true", "true"), ("false", "false"),
        ("NaN", ""), ("null", "")])
    def test_a_number_is_its_text_and_a_missing_value_is_an_empty_one(self, value, text, tmp_path):
        content = f'{{"text": {value}}}\n'
        line, = read(content.encode(), "jsonl")
        assert (line.text, line.error) == (text, None)
        file = tmp_path / "rows.jsonl"
        file.write_text(content)
        assert read_cells(file, {"text": "text"})["text"].to_pylist() == [text]

    def test_a_list_is_no_text(self):
        line, = read(b'{"text": ["a"]}', "jsonl")
        assert line.error == "'text' holds a list, expected a text or a number"


class TestContent:
    TABLE = b"text\nhello\n"

    @pytest.mark.parametrize(("name", "content", "error"), [
        ("a.csv", gzip.compress(TABLE), "compressed with gzip.*name it a.csv.gz"),
        ("a.txt", gzip.compress(TABLE), "compressed with gzip"),
        ("a.csv", b"PK\x03\x04 xl/workbook.xml", "an Excel workbook.*save it as CSV"),
        ("a.jsonl", b'[{"text": "a"}]', "a JSON list.*one object a line"),
        ("a.csv.gz", TABLE, "not a complete gzip file, but text.*name it a.csv"),
        ("a.csv.gz", gzip.compress(b"%PDF-1.7"), "a PDF document"),
        ("a.parquet", TABLE, "text, though its name ends in .parquet"),
    ])
    def test_a_file_of_another_format_is_refused_as_training_does(
            self, name, content, error, tmp_path):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=error):
            require_content(tmp_path / name, format_of(str(tmp_path / name)))

    @pytest.mark.parametrize(("name", "content"), [
        ("a.csv", TABLE), ("a.csv.gz", gzip.compress(TABLE)), ("a.jsonl.gz", gzip.compress(b"{}")),
        ("a.txt.gz", gzip.compress(b"hello")), ("a.txt", b"<html> is a tag\n"), ("a.txt", b""),
        ("a.csv", TABLE.decode().encode("utf-16"))])
    def test_a_file_that_is_what_its_name_says_is_read(self, name, content, tmp_path):
        (tmp_path / name).write_bytes(content)
        require_content(tmp_path / name, format_of(str(tmp_path / name)))

    def test_a_header_without_rows_is_said(self):
        with pytest.raises(DataError, match="has a header but no rows; expected at least one"):
            read(b"id,text\n", "csv")
        with pytest.raises(DataError, match="is empty; expected"):
            read(b"", "csv")
