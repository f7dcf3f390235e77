"""A quote that opens a cell by mistake swallows no row; texts over several lines stay whole."""

import csv
import random
from pathlib import Path

import pandas as pd
import pytest

from ftzard.data.csv_table import CsvText
from ftzard.data.reading import count_lines, find_layout, read_raw
from ftzard.errors import DataError

COLUMNS = [["label", "text"], ["text", "label"], ["id", "label", "text"], ["title", "text"],
           ["text"]]
WORDS = ("the kettle was lovely", "my dad, said nothing", "No, it is not", "3,500 people came",
         "Well; so it goes", "arrived broken", "good, I think", "she left", "and so, at last, home",
         "Yes, on 1,5 acres", "a 5\" pipe", "he said \"no\"", "why not?", "it rained, I\nslept")


def table(columns, texts, rng) -> pd.DataFrame:
    """Return rows of these texts, with other columns as they are found."""
    rows = [{"id": str(number), "text": text, "label": rng.choice(["Yes", "No", "good"]),
             "title": f"{rng.choice(WORDS[:4])} {number}"} for number, text in enumerate(texts)]
    return pd.DataFrame(rows)[columns]


def rows_of(content: str, delimiter: str, quoting: str = "csv") -> list[list[str]]:
    read = CsvText.of(Path("rows.csv"), content, delimiter, quoting).rows()
    return [row for _, row in read][1:]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("columns", COLUMNS, ids="-".join)
def test_texts_over_several_lines_are_read_as_they_were_written(columns, delimiter):
    """Every file here is quoted rightly, so every refusal would be a false alarm."""
    rng = random.Random(f"{columns}{delimiter}")
    for rows in (10, 40, 150):
        for share in (0.05, 0.5, 1.0):
            lengths = [rng.randint(2, 6) if rng.random() < share else 1 for _ in range(rows)]
            texts = ["\n".join(rng.choices(WORDS, k=length)) for length in lengths]
            frame = table(columns, texts, rng)
            for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL):
                for end in ("\n", "\r\n"):
                    content = frame.to_csv(index=False, sep=delimiter, quoting=quoting,
                                           lineterminator=end)
                    assert rows_of(content, delimiter) == frame.to_numpy().tolist()


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("columns", COLUMNS, ids="-".join)
def test_rows_between_stray_quotes_are_never_swallowed(columns, delimiter):
    """Every file here is written without quoting, with a text that begins with a quote, and one
    below that ends with it: refused, and read to the last row as the refusal says."""
    rng = random.Random(f"{columns}{delimiter}")
    words = [w.replace(delimiter, "").replace('"', "").replace("\n", " ") for w in WORDS]
    for rows in (10, 40, 150):
        for apart in (1, 2, rows // 2):
            texts = [f"{' '.join(rng.choices(words, k=3))} {n}" for n in range(rows)]
            opens = rng.randrange(rows - apart)
            texts[opens], texts[opens + apart] = f'"{texts[opens]}', f'{texts[opens + apart]}"'
            frame = table(columns, texts, rng)
            if "title" in frame:
                frame["title"] = frame["title"].str.replace(delimiter, "")
            lines = [delimiter.join(row) for row in [list(frame), *frame.to_numpy().tolist()]]
            for end in ("\n", "\r\n", "\r"):
                content = end.join(lines)
                with pytest.raises(DataError) as caught:
                    rows_of(content, delimiter)
                assert f"line {opens + 2}" in str(caught.value)
                assert "set data.quoting=none" in str(caught.value)
                assert rows_of(content, delimiter, "none") == frame.to_numpy().tolist()


def test_the_refusal_says_where_and_what_vanished_and_its_remedies_work(tmp_path):
    path = tmp_path / "rows.csv"
    lines = ["label\ttext", *(f"{'good' if n % 2 else 'bad'}\ttext number {n}" for n in range(30))]
    lines[5], lines[9] = 'good\t"text number 4', 'good\ttext number 8"'
    path.write_text("\n".join(lines))
    columns = {"text_column": "text", "label_column": "label", "delimiter": "tab"}
    with pytest.raises(DataError) as caught:
        read_raw(path, **columns)
    told = str(caught.value)
    assert f"{path}, line 6: the quote that opens here, in column 'text', closes in line 10" in told
    assert "4 of them would vanish" in told and "set data.quoting=none" in told
    rows = read_raw(path, quoting="none", **columns)
    assert len(rows) == 30 and rows["text"][4] == '"text number 4'
    layout, why = find_layout(path, delimiter="\\t")
    assert layout == {"encoding": "utf-8", "delimiter": "\t", "quoting": "none"}
    assert "line 6" in why
    counts = count_lines(path, **layout)
    assert (counts.lines, counts.rows, counts.rows_over_lines, counts.blank_lines) == (31, 30, 0, 0)
    lines[5] = 'good\t"text number 4"'
    lines[9] = "good\ttext number 8"
    path.write_text("\n".join(lines))
    assert len(read_raw(path, **columns)) == 30, "the quote was closed in its line"


def test_where_reading_without_quotes_is_no_way_out_it_is_not_named_as_one(tmp_path):
    path = tmp_path / "rows.csv"
    lines = ["label,text", *(f'good,"so, number {n}"\nbad,number {n}' for n in range(20))]
    lines += ['good,"open', "bad,one", "good,two", 'bad,three"']
    path.write_text("\n".join(lines))
    with pytest.raises(DataError) as caught:
        read_raw(path, text_column="text", label_column="label")
    told = str(caught.value)
    assert "line 42: the quote that opens here" in told and "Close the quote in line 42" in told
    assert "set data.quoting=none" not in told and "line 2 has 3 cells" in told
    lines[21] = "good,open"
    lines[24] = "bad,three"
    path.write_text("\n".join(lines))
    assert len(read_raw(path, text_column="text", label_column="label")) == 44


def test_a_header_does_not_swallow_rows_either():
    lines = ['text\tlabel\t"note', *(f"text {n}\t{'ab'[n % 2]}\tx" for n in range(20))]
    lines[3] += '"'
    with pytest.raises(DataError, match="line 1: the quote that opens here, in column"):
        rows_of("\n".join(lines), "\t")


@pytest.mark.parametrize("content", [
    'label\ttext\ngood\t"fine\nbad\tno\n',  # never closed
    'label\ttext\ngood\t"fine" it is\nbad\tno\n',  # goes on after its end
])
def test_any_trouble_with_quotes_names_the_way_to_read_without(content):
    with pytest.raises(DataError, match="set data.quoting=none"):
        rows_of(content, "\t")
    assert len(rows_of(content, "\t", "none")) == 2


def test_a_quote_inside_a_cell_is_an_ordinary_sign_in_both():
    content = 'label,text\ngood,a 5" pipe\nbad,"so, ""no"""\n'
    assert rows_of(content, ",") == [["good", 'a 5" pipe'], ["bad", 'so, "no"']]
    assert rows_of('label,text\ngood,"a" and "b"\n', ",", "none") == [["good", '"a" and "b"']]


def test_without_quoting_a_delimiter_in_a_text_is_told_with_its_key():
    with pytest.raises(DataError, match="3 cells.*set data.quoting=csv"):
        rows_of('label,text\ngood,"so, it is"\n', ",", "none")


def test_one_column_with_two_kinds_of_line_ends_is_refused():
    with pytest.raises(DataError, match="line 2 ends with a carriage return alone.*line 1"):
        rows_of("text\none\rtwo\n", ",")
    assert rows_of("text\rone\rtwo\r", ",") == [["one"], ["two"]]


def test_lines_are_counted_against_rows(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text('sep=;\ntext;label\n"two\nlines";a\n\nb;a\n\n')
    counts = count_lines(path)
    assert (counts.lines, counts.rows, counts.rows_over_lines, counts.blank_lines) == (7, 2, 1, 2)
    assert str(counts) == ("the file has 7 lines and 2 rows, 1 of them over several lines, and 2 "
                           "blank lines")


@pytest.mark.parametrize("columns", ["title,text", "text, label"])
def test_one_text_that_happens_to_be_quoted_well_hides_no_swallowed_rows(columns):
    rng = random.Random(columns)
    second = WORDS[5:6] + WORDS[7:8] if "title" in columns else (" joy", " sad")
    rows = [[f"{rng.choice(WORDS[:1])} {n}", f"{rng.choice(second)}"
             + (f" {n}" if "title" in columns else "")] for n in range(40)]
    place = 1 if "title" in columns else 0
    rows[5][place], rows[12][place] = f'"{rows[5][place]}', f'{rows[12][place]}"'
    rows[30][place] = '"well, yes"'
    with pytest.raises(DataError, match="line 7: the quote that opens here.*7 of them"):
        rows_of("\n".join([columns, *map(",".join, rows)]), ",")
