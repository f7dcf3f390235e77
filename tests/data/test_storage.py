import joblib
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from ftzard.data.storage import (
    read_joblib,
    read_parquet,
    rows,
    write_csv,
    write_parquet,
)
from ftzard.errors import DataError


def tokenized() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "id": ["a", "b"],
            "text": ["x 😀", ""],
            "input_ids": [[1, 2, 3], [4]],
            "logits": [np.float32([0.1, -3.5]), np.float32([2, 0])],
            "length": [3, 1],
            "row": [0, 1],
        }
    )


def test_lists_come_back_with_their_types(tmp_path):
    path = write_parquet(tokenized(), tmp_path / "sub" / "t.parquet")
    schema = pq.read_schema(path)
    assert str(schema.field("input_ids").type) == "large_list<element: int32>"
    assert str(schema.field("length").type) == "int32"
    back = read_parquet(path)
    assert [list(ids) for ids in back["input_ids"]] == [[1, 2, 3], [4]]
    assert back["input_ids"][0].dtype == "int32"
    assert back["logits"][0].tolist() == np.float32([0.1, -3.5]).tolist()
    assert back["text"].tolist() == ["x 😀", ""]
    assert list(read_parquet(path, columns=["id"])) == ["id"]
    assert rows(path) == 2


def test_the_same_rows_give_the_same_bytes_whatever_their_index(tmp_path):
    frame = tokenized()
    first = write_parquet(frame, tmp_path / "a.parquet")
    moved = frame.set_axis([7, 9]).assign(input_ids=[np.array([1, 2, 3]), np.array([4])])
    second = write_parquet(moved, tmp_path / "b.parquet")
    assert first.read_bytes() == second.read_bytes()


def test_an_empty_table_has_the_schema_of_a_full_one(tmp_path):
    full = write_parquet(tokenized(), tmp_path / "full.parquet")
    empty = write_parquet(tokenized().head(0), tmp_path / "empty.parquet")
    assert pq.read_schema(full) == pq.read_schema(empty)
    assert rows(empty) == 0


def test_what_does_not_fit_leaves_the_old_file(tmp_path):
    path = write_parquet(tokenized(), tmp_path / "t.parquet")
    before = path.read_bytes()
    with pytest.raises(DataError, match="Column 'length' cannot be stored as int32"):
        write_parquet(tokenized().assign(length=2**40), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["t.parquet"]


def test_csv_keeps_texts_and_refuses_lists(tmp_path):
    frame = pd.DataFrame({"text": ['a "b", c', "NA", ""], "row": [0, 1, 2]})
    path = write_csv(frame, tmp_path / "t.csv")
    assert path.read_text() == '"text","row"\n"a ""b"", c",0\n"NA",1\n"",2\n'
    assert rows(path) == 3
    with pytest.raises(DataError, match="Column 'input_ids' holds lists"):
        write_csv(tokenized(), tmp_path / "u.csv")
    assert not (tmp_path / "u.csv").exists()


def test_missing_and_broken_tables(tmp_path):
    (tmp_path / "broken.parquet").write_text("no")
    for name, said in (("none.parquet", "does not exist"), ("broken.parquet", "as parquet")):
        with pytest.raises(DataError, match=said):
            read_parquet(tmp_path / name)


def test_rows_of_line_files(tmp_path):
    (tmp_path / "a.csv").write_text('text\n"two\nlines"\nb\n')
    (tmp_path / "a.jsonl").write_text("{}\n\n{}\n")
    assert rows(tmp_path / "a.csv") == 2
    assert rows(tmp_path / "a.jsonl") == 2
    (tmp_path / "a.zip").write_text("")
    with pytest.raises(DataError, match="'.zip'"):
        rows(tmp_path / "a.zip")


def test_a_joblib_file_is_opened_only_when_trusted(tmp_path):
    path = tmp_path / "step1_run_metadata.joblib"
    joblib.dump({"run_id": "1"}, path)
    with pytest.raises(DataError, match="runs any code.*data.trust_joblib=true"):
        read_joblib(path, trusted=False)
    assert read_joblib(path, trusted=True) == {"run_id": "1"}
    path.write_bytes(b"no pickle")
    with pytest.raises(DataError, match="cannot be loaded"):
        read_joblib(path, trusted=True)
    with pytest.raises(DataError, match="does not exist"):
        read_joblib(tmp_path / "none.joblib", trusted=True)
