"""Hundreds of generated files: as many rows come out as went in, or a sentence says why not."""

import csv
import io
import json
import random

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ftzard.data.reading import count_lines, find_layout, layout, read_raw, records
from ftzard.errors import ConfigError, DataError
from ftzard.tasks.classification import text_rows
from ftzard.tasks.instruction_tuning import instructions

FILES = 150
WORDS = ("good", "it's", "5\" pipe", '"quoted"', '"', '""', "a, b", "x; y", "p|q", "NaN", "null",
         "NA", "007", "1e5", "été", "naïve",
         "你好，世界", "สวัสดี", "مرحبا", "e\u0301", "👍🏽", "#tag", "@you",
         "https://e.org/?a=1,2", "-", "'", "\u200b", "\ufeff", "\0", "\x1c", "\u2028", "\x0b",
         "<br>", "&amp;", "sep=;", "=1+1", "\\n", "\\", "text", "label", "x" * 3_000)
BREAKS = ("\n", "\r\n", "\r", "\n\n", "\t")
LABELS = ("good", "bad", "0", "4.0", "", "NaN", "yes, no", '"so"')


def sentence(rng: random.Random, breaks: bool = True) -> str:
    words = rng.choices(WORDS, k=rng.choice((0, 1, 3, 8)))
    joint = rng.choice(BREAKS) if breaks and rng.random() < 0.2 else " "
    return joint.join(words)


def frame(rng: random.Random, breaks: bool = True) -> pd.DataFrame:
    rows = rng.choice((1, 2, 7, 30, 60))
    return pd.DataFrame({
        "text": [sentence(rng, breaks) for _ in range(rows)],
        "label": [rng.choice(LABELS) for _ in range(rows)],
        "who": [f"{rng.choice('abc')}{n % 5}" for n in range(rows)]})


def encoded(rng: random.Random, text: str) -> tuple[bytes, str]:
    encoding = rng.choice(("utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1", "cp1252"))
    try:
        return text.encode(encoding), encoding.removesuffix("-sig")
    except UnicodeEncodeError:
        return text.encode(), "utf-8"


def csv_file(rng: random.Random) -> tuple[bytes, dict, int]:
    """Return (content, how to read it, rows) of a file that a writer quoted, or that was not."""
    delimiter = rng.choice((",", ";", "\t", "|"))
    quoted = rng.random() < 0.6
    table = frame(rng, breaks=quoted)
    columns = list(table.columns)
    if rng.random() < 0.2:
        columns = columns[:1]
    if rng.random() < 0.1:
        table["more"], columns = "z", [*columns, "more"]
    rng.shuffle(columns)
    rows = table[columns].to_numpy().tolist()
    head = [rng.choice((columns[-1], "text")) if rng.random() < 0.05 else name for name in columns]
    if rng.random() < 0.1:  # wide, or ragged
        rows[rng.randrange(len(rows))] += ["extra"] * rng.choice((1, 50))
    end = rng.choice(("\n", "\r\n", "\r"))
    if quoted:
        held = io.StringIO()
        writer = csv.writer(held, delimiter=delimiter, lineterminator=end, quoting=rng.choice(
            (csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC)))
        writer.writerows([head, *rows])
        text = held.getvalue()
    else:
        unsafe = {delimiter: " ", "\r": " ", "\n": " "}
        rows = [[cell.translate(str.maketrans(unsafe)) or "-" for cell in row] for row in rows]
        text = end.join(delimiter.join(row) for row in [head, *rows]) + rng.choice(("", end))
    if rng.random() < 0.1:
        text = f"sep={delimiter}{end}{text}"
    if rng.random() < 0.1:
        text += end * rng.choice((1, 3))
    content, encoding = encoded(rng, text)
    return content, {"encoding": encoding, "delimiter": delimiter}, len(rows)


def json_lines_file(rng: random.Random) -> tuple[bytes, dict, int]:
    rows = frame(rng).to_dict("records")
    for row in rows:
        chance = rng.random()
        if chance < 0.1:
            row["label"] = rng.choice((float("nan"), float("inf"), None, 1, 1.0, True))
        elif chance < 0.15:
            del row["label"]
        elif chance < 0.2:
            row["text"] = rng.choice((None, float("nan"), 3, "\ud800"))
    if rng.random() < 0.1:
        rows[-1]["label"] = rng.choice(([1], {"a": [float("nan")]}, 10 ** 30))
    lines = [json.dumps(row, ensure_ascii=rng.random() < 0.5 or row.get("text") == "\ud800")
             for row in rows]
    if rng.random() < 0.05:
        lines[-1] = rng.choice(('{"text": ' + "1" * 5_000 + "}", "[" * 5_000, '{"text": "a', "NaN",
                                '{"text": "a", "text": "b", "label": 1}', '{"text": 1e999}'))
    end = rng.choice(("\n", "\r\n", "\n\n", "\r"))
    content, encoding = encoded(rng, end.join(lines) + rng.choice(("", end)))
    return content, {"encoding": encoding}, len(rows)


def parquet_file(rng: random.Random) -> tuple[bytes, dict, int]:
    table = frame(rng)
    rows = len(table)
    table["label"] = rng.choice((
        table["label"], table["label"].astype("category"), [rng.choice((1.0, float("nan")))] * rows,
        [float("inf")] * rows, [True] * rows, [None] * rows, [b"\xff"] * rows, [b"good"] * rows,
        [["a"]] * rows, [{"a": float("nan")}] * rows, pd.Timestamp("2026-01-01"), 3))
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    if rng.random() < 0.1:
        arrow = arrow.append_column(rng.choice(("text", "who")), arrow["text"])
    held = io.BytesIO()
    pq.write_table(arrow, held)
    content = held.getvalue()
    if rng.random() < 0.1:
        content = content[: rng.randrange(1, len(content))]
    return content, {}, rows


def rows_out(path, given: dict, quoting: str | None, cleans: bool) -> int:
    """Read and clean a file as the first step does; return how many rows were used or rejected."""
    written, _ = find_layout(path, quoting=quoting, **given)
    head = {"text_column": "text", "label_column": None, **written}
    for _, row in records(path, **written):
        head["label_column"] = "label" if "label" in row else None
        break
    raw = read_raw(path, **head)
    assert raw["text"].map(type).eq(str).all()
    counts = count_lines(path, **written)
    assert counts is None or counts.rows == len(raw) == sum(1 for _ in records(path, **written))
    if not cleans:
        return len(raw)
    cleaned, rejected = text_rows.clean(raw, batch="b")
    assert sorted([*cleaned["row"], *rejected["row"]]) == list(range(len(raw)))
    asked = instructions.read(path, instruction_column="text", output_column=head["label_column"],
                              **written)
    told, refused = instructions.clean(asked, batch="b")
    assert len(told) + len(refused) == len(raw)
    return len(raw)


@pytest.mark.parametrize("seed", range(FILES // 30))
@pytest.mark.parametrize(("name", "make"), [
    ("a.csv", csv_file), ("b.csv", csv_file), ("a.jsonl", json_lines_file),
    ("a.parquet", parquet_file)])
def test_as_many_rows_come_out_as_went_in_or_a_sentence_says_why(tmp_path, name, make, seed):
    rng = random.Random(f"{name}{seed}")
    path = tmp_path / name
    read = 0
    for number in range(30):
        content, given, rows = make(rng)
        path.write_bytes(content)
        for quoting in ("csv", None) if name.endswith(".csv") else (None,):
            try:
                out = rows_out(path, given, quoting, cleans=number % 5 == 0)
            except (DataError, ConfigError) as error:
                assert str(path) in str(error) or "data." in str(error)
                continue
            read += 1
            assert out == rows, f"file {number}, {given}, quoting {quoting}: {content[:2000]!r}"
    assert read >= 10, "a reader that refuses everything would lose no row either"


def test_the_layout_of_a_config_is_what_the_readers_take(tmp_path):
    class Written:
        encoding, delimiter, quoting = "utf-16", "tab", "none"

    (tmp_path / "a.csv").write_text('text\tlabel\n"so\tx\nno"\ty\n', encoding="utf-16")
    rows = read_raw(tmp_path / "a.csv", text_column="text", label_column="label",
                    **layout(Written()))
    assert rows["text"].tolist() == ['"so', 'no"']
