"""What every child run carries: rule 2 of the design."""

import json

import nbformat

from ftzard.config.compose import compose, digest, to_record
from ftzard.core import notebook_hash
from ftzard.core.artifacts import ArtifactRef
from ftzard.tracking import record

HANDLE = ArtifactRef("cleaned", "data/cleaned/cleaned.parquet", "ab" * 32, 5, "parquet", "c0ffee")


def tags(**changed) -> dict:
    config = compose({"seed": 4, "threads": 3})
    given = {"step": "cleaning", "config": to_record(config), "config_hash": digest(config),
             "commit": "abc", "notebook": None, "library": record.Path(record.__file__).parent,
             "dagster_run_id": "d1", "dagster_step": "cleaning", "inputs": [HANDLE]}
    return record.tags(**{**given, **changed})


def test_the_record_holds_what_ran():
    found = tags()
    assert found["seed"] == 4 and found["threads"] == 3 and found["git_commit"] == "abc"
    assert found["data_version.cleaned"] == "c0ffee" and found["data_sha256.cleaned"] == "ab" * 32
    assert found["dagster_run_id"] == "d1" and found["dagster_step"] == "cleaning"
    assert found["base_model"] == "falcon_tiny" and len(found["config_hash"]) == 16
    packages = json.loads(found["packages"])
    assert {"python", "torch", "transformers", "peft", "bitsandbytes"} <= set(packages)
    assert "not installed" not in packages.values()


def test_what_is_not_known_is_said_not_left_out():
    found = tags(commit=None, dagster_run_id=None, dagster_step=None, inputs=[HANDLE.at(None)])
    assert [found[k] for k in ("git_commit", "dagster_run_id", "dagster_step", "notebook_hash",
                               "base_revision")] == ["none"] * 5
    assert found["data_version.cleaned"] == "not versioned"


def test_the_hash_of_a_notebook_is_of_its_cells_not_of_its_outputs(tmp_path):
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 + 1", id="a")])
    nbformat.write(book, tmp_path / "book.ipynb")
    before = notebook_hash.notebook_hash(tmp_path / "book.ipynb")
    book.cells[0].outputs = [nbformat.v4.new_output("stream", text="2")]
    book.cells[0].execution_count = 9
    nbformat.write(book, tmp_path / "book.ipynb")
    assert notebook_hash.notebook_hash(tmp_path / "book.ipynb") == before
    book.cells[0].source = "1 + 2"
    nbformat.write(book, tmp_path / "book.ipynb")
    assert notebook_hash.notebook_hash(tmp_path / "book.ipynb") != before


def test_the_hash_of_the_code_sees_a_change_and_a_new_file(tmp_path):
    (tmp_path / "a.py").write_text("x = 1\n")
    seen = {record.code_hash(tmp_path)}
    (tmp_path / "a.py").write_text("x = 2\n")
    seen.add(record.code_hash(tmp_path))
    (tmp_path / "b.py").write_text("")
    seen.add(record.code_hash(tmp_path))
    (tmp_path / "notes.txt").write_text("no code")
    assert len(seen | {record.code_hash(tmp_path)}) == 3
