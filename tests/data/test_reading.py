import gzip
import json

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ftzard.data.reading import (
    SOURCE,
    batch_of,
    header,
    read_cells,
    read_raw,
    records,
    store_raw,
)
from ftzard.errors import ConfigError, DataError

SEED = ',target,text\n0,4,"so, good"\n1,0,NA\n2,0,\n3,4.0,null\n'


def test_every_cell_is_the_text_it_is_in_the_file(seed_file):
    frame = seed_file(SEED)
    assert frame["row"].tolist() == [0, 1, 2, 3]
    assert frame["row"].dtype == "int64"
    assert frame["text"].tolist() == ["so, good", "NA", "", "null"]
    assert frame["label"].tolist() == ["4", "0", "0", "4.0"]
    assert list(frame) == ["row", "text", "label"]


def test_leading_zeros_and_exponents_stay(seed_file):
    assert seed_file("text,target\n007,1\n1e5,1\n")["text"].tolist() == ["007", "1e5"]


def test_group_and_split_are_read_where_named_and_labels_left_where_not(seed_file):
    frame = seed_file(
        "text,target,who,part\na,1,x,train\nb,0,y,test\n",
        label_column=None,
        group_column="who",
        split_column="part",
    )
    assert list(frame) == ["row", "text", "group", "split"]
    assert frame["split"].tolist() == ["train", "test"]


def test_line_ends_quotes_and_line_breaks_in_cells(seed_file):
    frame = seed_file('text,target\r\n"two\r\nlines",1\r\n\r\n"say ""hi""",0\r\n')
    assert frame["text"].tolist() == ["two\r\nlines", 'say "hi"']


def test_a_byte_order_mark_is_not_part_of_the_first_column(seed_file):
    assert seed_file("\ufefftext;target\nä;1\n", delimiter=";")["text"].tolist() == ["ä"]


def test_latin_1_and_utf_16(seed_file):
    text = "text,target\ncafé,1\n"
    assert seed_file(text.encode("latin-1"), encoding="latin-1")["text"][0] == "café"
    assert seed_file(text.encode("utf-16"), encoding="utf-16")["text"][0] == "café"


def test_all_types_hold_the_same_rows(tmp_path, seed_file):
    expected = seed_file(SEED)
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(SEED.encode(), mtime=0))
    table = pd.DataFrame(
        {"target": [4.0, 0, 0, 4], "text": ["so, good", "NA", None, "null"], "more": 1}
    )
    table.to_parquet(tmp_path / "a.parquet")
    lines = [json.dumps({"target": t, "text": x})
             for t, x in zip("4004", table["text"], strict=False)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines).replace("NaN", "null") + "\n\n")
    for name in ("a.csv.gz", "a.parquet", "a.jsonl"):
        frame = read_raw(tmp_path / name, text_column="text", label_column="target")
        assert frame["text"].tolist() == expected["text"].tolist(), name
        assert [label[0] for label in frame["label"]] == ["4", "0", "0", "4"], name
        assert (frame.dtypes == expected.dtypes).all(), name


def test_one_cell_of_a_megabyte_is_read(seed_file):
    frame = seed_file(f'text,target\n"{"long " * 220_000}",1\nshort,0\n')
    assert frame["text"].str.len().tolist() == [1_100_000, 5]


@pytest.mark.parametrize(
    "content, options, said",
    [
        ("", {}, ["is empty (0 bytes)"]),
        ("\n\n", {}, ["only blank lines"]),
        (",target,text\n", {}, ["header but no rows"]),
        ("a,txet,target\n1,2,3\n", {}, ["no column 'text'", "did you mean 'txet'", "a, txet"]),
        ("a,b\n1,2\n", {}, ["no column 'text'", "Its header is: a, b.", "data.text_column"]),
        ("text,label\nx,1\n", {}, ["no column 'target'", "data.label_column", "text, label"]),
        ("text;target\nx;1\n", {}, ["no column 'text'", "separated by ';'", "set data.delimiter"]),
        ("text,text,target\nx,y,1\n", {}, ["2 columns named 'text'"]),
        ('text,target\n"open,1\nx,0\n', {}, ["line 2", "never closed"]),
        ('text,target\na,1\n"b"c,1\n', {}, ["line 3", "malformed"]),
        ("text,target\na,1\nb,c,0\n", {}, ["line 3", "3 cells, expected 2"]),
        ('text,target\n"a\nb",1\nc\n', {}, ["line 4", "1 cells, expected 2"]),
        (
            "text,target\ngood,1\ncafé,1\n".encode("latin-1"),
            {},
            ["is not utf-8", "byte 22 is 0xe9", "latin-1"],
        ),
        ("text,target\nx,1\n".encode("utf-16"), {}, ["is not utf-8: byte 0", "utf-16"]),
        (
            "text,target\ncafé,1\n",
            {"encoding": "latin-1"},
            ["valid utf-8", "'Ã©'", "data.encoding=utf-8"],
        ),
    ],
)
def test_a_csv_that_cannot_be_read_says_where_and_what_to_do(seed_file, content, options, said):
    with pytest.raises(DataError) as caught:
        seed_file(content, **options)
    assert "training.csv" in str(caught.value)
    for words in said:
        assert words in str(caught.value)


@pytest.mark.parametrize(
    "name, content, said",
    [
        ("a.txt", b"text\nx\n", "unknown type '.txt'; valid are: .csv, .csv.gz, .jsonl, .parquet"),
        ("a.csv.gz", b"text,target\nx,1\n", "not a complete gzip file"),
        ("a.csv.gz", gzip.compress(SEED.encode(), mtime=0)[:-9], "not a complete gzip file"),
        ("a.csv.gz", gzip.compress(b"", mtime=0), "empty once decompressed"),
        ("a.parquet", b"text,target\nx,1\n", "is text, though its name ends in .parquet: name it"),
        ("a.jsonl", b'{"text": "a", "target": 1}\n{"text": \n', "line 2: not JSON"),
        ("a.jsonl", b"[1]\n", "line 1: a JSON list"),
        ("a.jsonl", b'{"text": ["a"], "target": 1}\n', "line 1: 'text' holds a list"),
        ("a.jsonl", b'{"txt": "a", "target": 1}\n', "did you mean 'txt'"),
        ("a.jsonl", b"\n", "only blank lines"),
    ],
)
def test_other_types_are_refused_as_clearly(seed_file, name, content, said):
    with pytest.raises(DataError) as caught:
        seed_file(content, name)
    assert said in str(caught.value)
    assert name in str(caught.value)


def test_an_empty_or_nested_parquet_is_refused(tmp_path):
    pd.DataFrame({"text": [], "target": []}).to_parquet(tmp_path / "none.parquet")
    pd.DataFrame({"text": [["a"]], "target": [1]}).to_parquet(tmp_path / "nested.parquet")
    for name, said in (("none", "no rows"), ("nested", "column 'text' holds list")):
        with pytest.raises(DataError, match=said):
            read_raw(tmp_path / f"{name}.parquet", text_column="text", label_column="target")


def test_missing_files_and_directories(tmp_path):
    (tmp_path / "training.csv").write_text("text\nx\n")
    with pytest.raises(DataError, match="trainin.csv does not exist; did you mean 'training.csv'"):
        read_raw(tmp_path / "trainin.csv", text_column="text", label_column=None)
    with pytest.raises(DataError, match="does not exist"):
        read_raw(tmp_path / "nowhere" / "a.csv", text_column="text", label_column=None)
    with pytest.raises(DataError, match="is a directory"):
        read_raw(tmp_path, text_column="text", label_column=None)


def test_unknown_encoding_and_delimiter_are_config_errors(seed_file):
    with pytest.raises(ConfigError, match="data.encoding='utf-9'.*did you mean 'utf-8'"):
        seed_file(SEED, encoding="utf-9")
    with pytest.raises(ConfigError, match="data.delimiter='::'"):
        seed_file(SEED, delimiter="::")


def test_a_delivery_is_kept_once_under_its_content(tmp_path):
    first, again = tmp_path / "mon.csv.gz", tmp_path / "tue.csv.gz"
    for path in (first, again):
        path.write_bytes(gzip.compress(SEED.encode(), mtime=0))
    kept = store_raw(first, tmp_path / "data")
    stamp = kept.stat().st_mtime_ns
    assert kept.parent == tmp_path / "data" / "raw"
    assert kept.name.endswith(".csv.gz") and len(kept.name) == 64 + len(".csv.gz")
    assert store_raw(again, tmp_path / "data") == kept
    assert kept.stat().st_mtime_ns == stamp
    assert batch_of(first) == batch_of(kept) == kept.name[:12]
    assert len(list(kept.parent.iterdir())) == 1


def test_a_damaged_copy_is_replaced(tmp_path):
    (tmp_path / "a.csv").write_text(SEED)
    kept = store_raw(tmp_path / "a.csv", tmp_path)
    kept.write_text("half")
    assert store_raw(tmp_path / "a.csv", tmp_path).read_text() == SEED


@pytest.mark.parametrize("name, content", [("a.xlsx", b"x"), ("a.csv", b"")])
def test_what_could_not_be_read_is_not_kept(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError):
        store_raw(tmp_path / name, tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_the_header_of_every_format_and_columns_that_may_be_there(tmp_path):
    rows = [{"text": "a", "tags": ["x"]}, {"text": "b", "more": {"y": 1}}]
    (tmp_path / "f.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    pd.DataFrame(rows).to_parquet(tmp_path / "f.parquet")
    pd.DataFrame(rows).to_csv(tmp_path / "f.csv", index=False)
    for name in ("f.jsonl", "f.parquet", "f.csv"):
        assert header(tmp_path / name) == ["text", "tags", "more"]
    for name in ("f.jsonl", "f.parquet"):
        cells = read_cells(tmp_path / name, {"text": "text"}, {"more": "more", "no": "no"},
                           nested=("more",))
        assert {k: v.to_pylist() for k, v in cells.items()} == {
            "text": ["a", "b"], "more": ["", '{"y": 1}']}, "no null of a neighbour's field"
        with pytest.raises(DataError, match="holds"):
            read_cells(tmp_path / name, {"text": "text", "tags": "tags"})


def test_a_file_of_several_sources_says_which_row_is_whose(seed_file):
    assert SOURCE == "ftzard_source", "files that are kept have it"
    assert seed_file(f"text,target,{SOURCE}\na,1,here\n")["source"].tolist() == ["here"]
    assert "source" not in seed_file("text,target,source\na,1,mine\n")


BYTES = [pa.binary(), pa.large_binary(), pa.dictionary(pa.int32(), pa.binary())]


@pytest.mark.parametrize("kind", BYTES, ids=str)
def test_bytes_of_parquet_are_the_text_that_they_are(tmp_path, kind):
    path = tmp_path / "a.parquet"
    texts, labels = ["caf\u00e9", None], ["jo\u00ff", "sad"]

    def array(cells):
        encoded = pa.array([c if c is None or isinstance(c, bytes) else c.encode() for c in cells])
        return encoded.dictionary_encode() if pa.types.is_dictionary(kind) else encoded.cast(kind)

    pq.write_table(pa.table({"text": array(texts), "label": array(labels)}), path)
    rows = read_raw(path, text_column="text", label_column="label")
    assert rows["text"].tolist() == ["caf\u00e9", ""] and rows["label"].tolist() == labels
    assert [row["label"] for _, row in records(path)] == labels
    pq.write_table(pa.table({"text": array(texts), "label": array([b"joy", b"\xff"])}), path)
    with pytest.raises(DataError, match="row 2: column 'label' holds bytes that are no UTF-8"):
        read_raw(path, text_column="text", label_column="label")
    with pytest.raises(DataError, match="row 2: column 'label' holds bytes that are no UTF-8"):
        read_raw(path, text_column="label", label_column=None)


def test_bytes_in_lists_are_texts_and_an_image_stays_json(tmp_path):
    path = tmp_path / "a.parquet"
    image = {"bytes": b"\x89PNG\xff", "path": "a.png"}
    table = {"text": ["a"], "label": [[b"joy", b"sad"]], "image": [image], "raw": [b"\xff\xd8"]}
    pq.write_table(pa.table(table), path)
    label = read_raw(path, text_column="text", label_column="label")["label"][0]
    assert json.loads(label) == ["joy", "sad"]
    there = {"image": "image", "raw": "raw"}
    cells = read_cells(path, there, nested=tuple(there))
    assert json.loads(cells["image"][0].as_py())["path"] == "a.png" and cells["raw"][0].as_py()
    pq.write_table(pa.table({"text": ["a"], "label": [[b"\xff"]]}), path)
    with pytest.raises(DataError, match="'label' holds bytes that are no UTF-8"):
        read_raw(path, text_column="text", label_column="label")
