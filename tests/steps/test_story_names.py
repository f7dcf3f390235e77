"""The report calls a batch by the file that was delivered, as the runs of its steps recorded it."""

from pathlib import Path

import pytest

from ftzard import sources
from ftzard.core.artifacts import sha256
from ftzard.data.reading import batch_of
from ftzard.steps import delivery_files, preprocessing, report_facts
from ftzard.steps.step_run import start_step
from ftzard.tracking.workspace_store import connect


@pytest.fixture
def take(workspace, monkeypatch):
    """Take a delivery as its step does, and return its batch."""
    monkeypatch.chdir(workspace.root)

    def taking(step: str, name: str, place: str) -> str:
        run = start_step(step, {name: place, "overrides": ["data.text_column=text"]})
        stored = run.store_delivery(name)
        run.finish()
        return batch_of(stored)

    return taking


def write(path, text: str):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"text,label\n{text},glad\n")
    return path


def names(workspace) -> dict[str, str]:
    return delivery_files.delivered_as(workspace, connect(workspace, workspace.config()))


def test_both_ways_in_keep_the_name_of_the_file_and_a_hash_is_no_name(workspace, take):
    write(workspace.root / "data" / "march.csv", "hello")
    write(workspace.incoming / "batch.csv", "a new day")
    bare = write(workspace.raw / "first.csv", "kept by its content")
    bare = bare.rename(bare.with_name(f"{sha256(bare)}.csv"))
    march = take("cleaning", "raw", "data/march.csv")
    batch = take("inference_preprocessing", "incoming", "data/incoming/batch.csv")
    take("cleaning", "raw", f"data/raw/{bare.name}")
    assert names(workspace) == {march: "march.csv", batch: "batch.csv"}
    again = next(p for p in workspace.raw.iterdir() if p.name.startswith(march))
    assert take("cleaning", "raw", f"data/raw/{again.name}") == march
    assert names(workspace)[march] == "march.csv"


def test_a_delivery_of_one_source_has_its_name_and_one_of_several_has_none(workspace, take):
    write(workspace.root / "data" / "spring" / "march.csv", "hello")
    write(workspace.root / "data" / "spring" / "april.csv", "good bye")
    write(workspace.root / "data" / "may.csv", "a new day")
    columns = ["data.text_column=text", "data.label_column=label"]
    spring = take("cleaning", "raw", str(sources.materialise(
        workspace, workspace.config({"overrides": columns}), "data/spring")))
    mixed = take("cleaning", "raw", str(sources.materialise(workspace, workspace.config(
        {"overrides": [*columns, "data.mix={data/may.csv: 1.0, data/spring: 1.0}"]}))))
    assert names(workspace) == {spring: "spring"} and mixed != spring


def test_what_left_training_is_told_apart_from_what_stays_and_from_the_incoming_batch():
    steps = {"preprocessing": {"facts": {"leaks": {
                 "near-duplicate of a test row": 52, report_facts.LEARNED_BEFORE: 3}}},
             "inference_preprocessing": {"facts": {"leaks": {"duplicate of a test row": 9}}}}
    assert report_facts.leaks(steps) == {
        "leaks": {"near-duplicate of a test row": 52}, "learned_before": 3,
        "arrived_leaks": {"duplicate of a test row": 9}}
    assert report_facts.leaks({}) == {}


def test_preprocessing_still_says_it_under_that_name():
    source = Path(preprocessing.__file__).read_text(encoding="utf-8")
    assert report_facts.LEARNED_BEFORE in source
