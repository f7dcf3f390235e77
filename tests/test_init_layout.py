"""`init` finds out how a file is written, says what it took, and what it writes down is enough."""

import pandas as pd
import pytest

from ftzard.config.compose import compose
from ftzard.data.reading import find_layout, layout, read_raw
from ftzard.errors import ConfigError, DataError
from ftzard.orchestration.create_workspace import config_for

ROWS = [f"{'good' if n % 2 else 'bad'}\ttext number {n}" for n in range(60)]


def told(root, content: str, **options) -> tuple[dict, list[str]]:
    """Return the group `data` that is written for a file, and what was said of its quoting."""
    file = root / "mine.csv"
    file.write_bytes(content.encode())
    said: list[str] = []
    config = config_for(root / "ws", data=file, say=said.append, **options)
    return config["data"], [line for line in said if line.startswith("quoting")]


def rows_read(root, group: dict) -> pd.DataFrame:
    """Return the rows of a workspace's raw file, read as its config says."""
    data = compose({"data": group}).data
    return read_raw(root / "ws" / data.source, text_column=data.text_column,
                    label_column=data.label_column, **layout(data))


def test_a_file_without_quoting_is_known_by_its_quotes(tmp_path):
    lines = ["label\ttext", *ROWS]
    lines[4], lines[9] = 'good\t"text number 3', 'bad\ttext number 8"'
    group, said = told(tmp_path, "\n".join(lines), delimiter="\\t")
    assert group["quoting"] == "none" and group["delimiter"] == "\t"
    assert len(said) == 1 and said[0].startswith("quoting: none (") and "line 5" in said[0]
    assert len(rows_read(tmp_path, group)) == 60


def test_a_quoted_file_is_said_to_be_one_and_needs_no_key(tmp_path):
    lines = ["label\ttext", *ROWS, 'good\t"two\nlines, of one text"']
    group, said = told(tmp_path, "\n".join(lines), delimiter="tab")
    assert "quoting" not in group and said == [
        "quoting: csv (cells that hold delimiters or line ends are quoted)"]
    rows = rows_read(tmp_path, group)
    assert len(rows) == 61 and rows["text"].iloc[-1] == "two\nlines, of one text"


def test_a_file_without_a_quote_is_not_spoken_of(tmp_path):
    assert told(tmp_path, "\n".join(["label\ttext", *ROWS]), delimiter="tab")[1] == []


def test_what_is_asked_for_is_taken(tmp_path):
    content = "\n".join(["label\ttext", *ROWS, 'good\t"a text"'])
    group, said = told(tmp_path, content, delimiter="tab", quoting="none")
    assert group["quoting"] == "none" and said == []
    assert rows_read(tmp_path, group)["text"].iloc[-1] == '"a text"'
    (tmp_path / "ws2").mkdir()
    with pytest.raises(ConfigError, match="data.quoting='minimal'; valid are: csv, none"):
        told(tmp_path / "ws2", content, delimiter="tab", quoting="minimal")
    lines = ["label\ttext", *ROWS]
    lines[4], lines[9] = 'good\t"text number 3', 'bad\ttext number 8"'
    with pytest.raises(DataError, match="--quoting none"):
        told(tmp_path / "ws2", "\n".join(lines), delimiter="tab", quoting="csv")


def test_the_separator_that_a_file_names_is_written_down(tmp_path):
    content = "sep=;\r\nlabel;text\r\n" + "".join(
        f"{row.replace(chr(9), ';')}\r\n" for row in ROWS)
    group, _ = told(tmp_path, content)
    assert group["delimiter"] == ";" and len(rows_read(tmp_path, group)) == 60


@pytest.mark.parametrize("delimiter", ["", ";;", '"', "\n"])
def test_what_is_no_delimiter_is_refused_before_anything_is_made(tmp_path, delimiter):
    with pytest.raises(ConfigError, match="expected one character"):
        told(tmp_path, "\n".join(["label\ttext", *ROWS]), delimiter=delimiter)
    assert not (tmp_path / "ws").exists()


@pytest.mark.parametrize("lines", [
    [*(f'"Plain words {n}","joy"' for n in range(60)), '"odd "quote" here","joy"'],
    [*(f"Plain words {n},joy" for n in range(60)), 'odd,"joy" '],
    [*(f"Plain words {n},joy" for n in range(60)), r'"odd \"quote\" here",joy'],
    [f'"Plain words {n}" ,"joy"' for n in range(60)],
    [f'"Plain \\"words\\" {n}","joy"' for n in range(60)]])
def test_a_file_that_quotes_is_not_read_without_quoting_for_a_bad_row(tmp_path, lines):
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(["text,label", *lines]))
    with pytest.raises(DataError, match=r"line (2|62): .*--quoting none.*in quotes"):
        find_layout(path)
    mended = [line.replace('\\"', '""').replace(' "quote"', "").replace('" ,', '",').rstrip()
              for line in lines]
    path.write_text("\n".join(["text,label", *mended]))
    rows = read_raw(path, text_column="text", label_column="label", **find_layout(path)[0])
    assert set(rows["label"]) == {"joy"} and not rows["text"].str.startswith('"').any()


def test_a_text_over_several_lines_in_one_column_is_not_cut_into_rows(tmp_path):
    path = tmp_path / "rows.csv"
    rows = [f"plain row number {n}" for n in range(29)]
    path.write_text("\n".join(["text", *rows, '"Dear all\nthanks for it\nBye"']))
    with pytest.raises(DataError, match="line 31: .*--quoting none.*in as .jsonl.*one column"):
        find_layout(path)
    assert find_layout(path, quoting="none")[0]["quoting"] == "none"
