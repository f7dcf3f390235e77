"""Files that are not what their name says are named as what they are, with a remedy that works."""

import bz2
import gzip
import io
import json
import lzma
import pickle
import sqlite3
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ftzard.data.labeling.labeling_queue import read_labelled
from ftzard.data.reading import find_layout, header, read_cells, read_raw, store_raw
from ftzard.errors import ConfigError, DataError

FRAME = pd.DataFrame({"text": ["a b", "c, d"], "label": ["x", "y"]})
CSV = FRAME.to_csv(index=False).encode()
LINES = FRAME.to_json(orient="records", lines=True).encode()


def zipped(**files: bytes) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "/"), content)
    return held.getvalue()


def parquet() -> bytes:
    return FRAME.to_parquet()


def sqlite(folder: Path) -> bytes:
    connection = sqlite3.connect(folder / "rows.db")
    connection.execute("create table rows (text, label)")
    connection.commit()
    connection.close()
    return (folder / "rows.db").read_bytes()


def written(save: Callable, value: object) -> bytes:
    held = io.BytesIO()
    save(held, value)
    return held.getvalue()


def tar() -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as archive:
        info = tarfile.TarInfo("rows.csv")
        info.size = len(CSV)
        archive.addfile(info, io.BytesIO(CSV))
    return held.getvalue()


def read(path: Path) -> list[str]:
    return read_cells(path, {"text": "text", "label": "label"})["text"].to_pylist()


@pytest.mark.parametrize(("content", "words"), [
    (zipped(xl__workbook=b"<x/>"), "is an Excel workbook .*save it as CSV"),
    (zipped(word__document=b"<x/>"), "is a Word document"),
    (zipped(rows=CSV), "is a zip archive.*unpack it"),
    (written(lambda f, v: np.savez(f, a=v), np.ones(3)), r"is NumPy arrays \(.npz\)"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500), "old Microsoft Office file.*save it as CSV"),
    (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "is a PDF document"),
    (b"\n<!DOCTYPE html>\n<html>", "is a web page.*download the file itself"),
    (b"<HTML><body>", "is a web page"),
    (b"<?xml version='1.0'?>", "is an XML file"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 3\n",
     "pointer of Git LFS.*git lfs pull"),
    (bz2.compress(CSV), "compressed with bzip2.*bunzip2"),
    (lzma.compress(CSV), "compressed with xz.*xz -d"),
    (b"\x28\xb5\x2f\xfd" + bytes(30), "compressed with zstd.*zstd -d"),
    (tar(), "is a tar archive"),
    (written(np.save, np.ones(3)), "is a NumPy array"),
    (pickle.dumps(["a"]), "is a Python pickle"),
    (written(lambda f, v: v.to_feather(f), FRAME), "is an Arrow file.*read_feather"),
    (json.dumps([{"text": "a", "label": "x"}]).encode(), "is a JSON list.*one object a line"),
], ids=lambda value: value if isinstance(value, str) else "")
@pytest.mark.parametrize("name", ["rows.csv", "rows.jsonl", "rows.csv.gz"])
def test_other_formats_are_told_by_their_first_bytes(tmp_path, content, words, name):
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    with pytest.raises(DataError, match=words) as caught:
        read(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


def test_a_workbook_in_gzip_is_not_called_a_table(tmp_path):
    (tmp_path / "rows.csv").write_bytes(gzip.compress(zipped(xl__workbook=b"")))
    with pytest.raises(DataError, match="compressed with gzip.*gunzip"):
        find_layout(tmp_path / "rows.csv")


def test_a_database_is_told_too(tmp_path):
    content = sqlite(tmp_path)
    (tmp_path / "rows.csv").write_bytes(content)
    with pytest.raises(DataError, match="is an SQLite database.*export the table"):
        read(tmp_path / "rows.csv")


@pytest.mark.parametrize(("name", "content", "renamed"), [
    ("rows.csv", gzip.compress(CSV), "rows.csv.gz"),
    ("a.b.csv", gzip.compress(CSV), "a.b.csv.gz"),
    ("rows.csv.gz", CSV, "rows.csv"),
    ("rows.csv", parquet(), "rows.parquet"),
    ("rows.jsonl", parquet(), "rows.parquet"),
    ("rows.parquet", CSV, "rows.csv"),
    ("rows.parquet", LINES, "rows.jsonl"),
    ("rows.csv", LINES, "rows.jsonl"),
    ("rows.parquet", gzip.compress(CSV), "rows.csv.gz"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_the_name_that_a_refusal_proposes_is_the_right_one(tmp_path, name, content, renamed):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read(path)
    assert f"name it {renamed}" in str(caught.value)
    assert read(path.rename(tmp_path / renamed)) == ["a b", "c, d"]


def test_commands_that_a_refusal_proposes_work(tmp_path):
    path = tmp_path / "rows.csv"
    for content, command in (
            (json.dumps(FRAME.to_dict("records")).encode(), "pandas.read_json"),
            (pickle.dumps(FRAME), "pandas.read_pickle"),
            (written(lambda f, v: v.to_feather(f), FRAME), "pandas.read_feather")):
        path.write_bytes(content)
        with pytest.raises(DataError) as caught:
            read(path)
        told = str(caught.value)
        code = told[told.index(command):].removesuffix(".")
        for target in ("rows.jsonl", "rows.parquet"):
            code = code.replace(f"'{target}'", repr(str(tmp_path / target)))
        code = code.replace("FILE", repr(str(path)))
        eval(code, {"pandas": pd})  # noqa: S307 - the sentence's own words
        there = next(tmp_path / n for n in ("rows.jsonl", "rows.parquet") if
                     (tmp_path / n).exists())
        assert read(there) == ["a b", "c, d"]
        there.unlink()


@pytest.mark.parametrize("content", [
    b"PK,text,label\n1,a b,x\n2,\"c, d\",y\n", b"PAR1,text,label\n1,a b,x\n2,\"c, d\",y\n",
    b"BZh,text,label\n1,a b,x\n2,\"c, d\",y\n", b"%PDF,text,label\n1,a b,x\n2,\"c, d\",y\n",
    b"\xef\xbb\xbf" + CSV])
def test_a_table_whose_first_column_is_called_like_a_format_is_a_table(tmp_path, content):
    (tmp_path / "rows.csv").write_bytes(content)
    assert read(tmp_path / "rows.csv") == ["a b", "c, d"]


def test_a_file_that_is_none_is_not_kept(tmp_path):
    (tmp_path / "rows.csv").write_bytes(zipped(xl__workbook=b""))
    with pytest.raises(DataError, match="Excel workbook"):
        store_raw(tmp_path / "rows.csv", tmp_path / "data")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(("name", "words"), [
    ("rows.tsv", "Name it .csv and set data.delimiter=tab"), ("rows.xlsx", "save it as CSV"),
    ("rows.ndjson", "name it .jsonl"), ("rows.jsonl.gz", "gunzip"), ("rows.doc", "Convert")])
def test_an_ending_that_is_not_read_says_what_to_do(tmp_path, name, words):
    (tmp_path / name).write_bytes(CSV)
    with pytest.raises(DataError, match=words):
        read(tmp_path / name)


@pytest.mark.parametrize("first", ["sep=;\r\n", "\ufeffsep=;\n", '"sep=;"\n', "SEP=;\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_the_line_in_which_excel_names_the_separator_is_taken_as_it_says(tmp_path, first, encoding):
    path = tmp_path / "rows.csv"
    path.write_text(first + "text;label\n\"so; so\";x\nb, c;y\n", encoding=encoding)
    for delimiter in (",", ";"):
        layout, _ = find_layout(path, encoding=encoding, delimiter=delimiter)
        assert layout["delimiter"] == ";"
        assert header(path, encoding=encoding, delimiter=delimiter) == ["text", "label"]
        rows = read_raw(path, text_column="text", label_column="label", encoding=encoding,
                        delimiter=delimiter)
        assert rows["text"].tolist() == ["so; so", "b, c"]
    with pytest.raises(DataError, match="line 4"):
        path.write_text(first + "text;label\na;x\nb\n", encoding=encoding)
        read_raw(path, text_column="text", label_column="label", encoding=encoding)


@pytest.mark.parametrize("separator", [";", "\t", ","])
def test_a_labelled_file_may_have_that_line_too(tmp_path, separator):
    path = tmp_path / "labelled.csv"
    content = FRAME.assign(id=["1", "2"], batch="b", labelled_by="ann").to_csv(
        index=False, sep=separator)
    path.write_text(f"sep={separator}\n{content}", encoding="utf-8-sig")
    rows = read_labelled(path)
    assert rows["text"].tolist() == ["a b", "c, d"] and rows["labelled_by"].tolist() == ["ann"] * 2


def test_a_labelled_file_that_was_saved_without_quotes_loses_no_row(tmp_path):
    path = tmp_path / "labelled.csv"
    lines = ["id\tbatch\ttext\tlabel", *(f"{n}\tb\tnumber {n}\tx" for n in range(20))]
    lines[3], lines[6] = '2\tb\t"number 2\tx', '5\tb\tnumber 5"\tx'
    path.write_text("\n".join(lines))
    assert len(read_labelled(path)) == 20


@pytest.mark.parametrize("delimiter", ["tab", "TAB", "\\t", "\t"])
def test_a_tab_may_be_written_as_people_do(tmp_path, delimiter):
    (tmp_path / "rows.csv").write_text("text\tlabel\na, b\tx\n")
    assert find_layout(tmp_path / "rows.csv", delimiter=delimiter)[0]["delimiter"] == "\t"
    assert len(read_raw(tmp_path / "rows.csv", text_column="text", label_column="label",
                        delimiter=delimiter)) == 1


@pytest.mark.parametrize("delimiter", ["", ",,", '"', "\n", "\r", "\0", "comma"])
def test_what_is_no_delimiter_is_refused(tmp_path, delimiter):
    (tmp_path / "rows.csv").write_bytes(CSV)
    with pytest.raises(ConfigError, match="data.delimiter=.*expected one character"):
        header(tmp_path / "rows.csv", delimiter=delimiter)


@pytest.mark.parametrize("encoding", ["rot13", "hex", "undefined", "idna", "", "utf\0"])
def test_what_is_no_encoding_of_text_is_refused(tmp_path, encoding):
    (tmp_path / "rows.csv").write_bytes(CSV + "caf\u00e9,x\n".encode())
    with pytest.raises((ConfigError, DataError)):
        header(tmp_path / "rows.csv", encoding=encoding)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_its_mark_is_told(tmp_path, encoding):
    path = tmp_path / "rows.csv"
    path.write_bytes("text,label\na b,x\nc,y\n".encode(encoding))
    with pytest.raises(DataError, match=f"Set data.encoding={encoding};"):
        read_raw(path, text_column="text", label_column="label")
    assert len(read_raw(path, text_column="text", label_column="label", encoding=encoding)) == 2
