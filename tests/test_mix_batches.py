"""Draws of one mix are one batch: what is trained on is the draw that was asked for last."""

import json
import shutil
import subprocess

import pandas as pd
import pytest

from ftzard import sources
from ftzard.data import intake_summary, reading, storage
from ftzard.errors import DataError
from ftzard.orchestration.create_workspace import create
from ftzard.sources import ingest
from ftzard.tasks.instruction_tuning import instructions
from ftzard.versioning.commit import version
from ftzard.workspace.workspace import Workspace


def lines(path, who: str, count: int):
    path.write_text("".join(json.dumps({"instruction": f"{who} asks for number {n} {who}",
                                        "output": f"{who} {n}"}) + "\n" for n in range(count)))
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    workspace = create(tmp_path_factory.mktemp("mixes") / "ws", invent_identity=True, config={
        "task": "instruction_tuning", "tuning": {"metric": "validation_loss"},
        "data": {"choice": "instructions", "input_column": None}})
    lines(workspace.root / "ours.jsonl", "ann", 90)
    lines(workspace.root / "theirs.jsonl", "bob", 90)
    return workspace.root


@pytest.fixture
def ws(made, tmp_path) -> Workspace:
    return Workspace(shutil.copytree(made, tmp_path / "ws", symlinks=True))


def config(ws, mix, seed: int = 0, **data):
    return ws.config({"seed": seed, "data": {"mix": mix, **data}})


def come(ws, earlier, mix, **said):
    """Let a draw come to the table as step 1 does; returns (table, arrival, batch)."""
    told = config(ws, mix, **said)
    stored = reading.store_raw(sources.materialise(ws, told), ws.root / "data")
    sources.keep(ws, stored)
    batch = ingest.batch_of(ws, stored)
    raw = instructions.read(stored, instruction_column="instruction", output_column="output")
    cleaned, rejected = instructions.clean(raw, batch=batch)
    table, repeated = instructions.append(earlier, cleaned)
    found = intake_summary.arrived(earlier, table, cleaned, rejected, repeated,
                                   sources.describe(ws, stored), keys=instructions.text_keys)
    return table, found, batch


def shares(table: pd.DataFrame) -> dict:
    return table["source"].value_counts().to_dict()


def test_other_weights_another_seed_and_fewer_rows_are_what_is_trained_on(ws):
    equal, _, first = come(ws, None, {"ours.jsonl": 1, "theirs.jsonl": 1})
    assert shares(equal) == {"ours.jsonl": 90, "theirs.jsonl": 90}
    table, told, batch = come(ws, equal, {"theirs.jsonl": 9, "ours.jsonl": 1})
    assert batch == first and shares(table) == {"theirs.jsonl": 90, "ours.jsonl": 10}
    assert shares(table) == told.rows_by_source and told.replaced >= 80
    fewer, _, _ = come(ws, table, {"ours.jsonl": 1, "theirs.jsonl": 1}, sample_rows=20,
                       sample_stratified=False)
    assert shares(fewer) == {"ours.jsonl": 10, "theirs.jsonl": 10}
    other, _, _ = come(ws, table, {"theirs.jsonl": 9, "ours.jsonl": 1}, seed=5)
    ours = [set(t.loc[t["source"] == "ours.jsonl", "text"]) for t in (table, other)]
    assert len(ours[0]) == len(ours[1]) == 10 and ours[0] != ours[1]


def test_a_corrected_file_of_a_mix_takes_the_place_of_the_old_one(ws):
    mix = {"ours.jsonl": 1, "theirs.jsonl": 1}
    table, _, _ = come(ws, None, mix)
    text = (ws.root / "ours.jsonl").read_text()
    (ws.root / "ours.jsonl").write_text(text.replace('"ann 7"', '"seven"'))
    table, told, _ = come(ws, table, mix)
    answers = table.loc[table["text"] == "ann asks for number 7 ann", "label"].tolist()
    assert answers == ["seven"] and len(table) == 180 and told.answered_twice == 0


def test_another_set_of_sources_is_another_batch_and_adds_its_rows(ws):
    lines(ws.root / "more.jsonl", "eve", 60)
    table, _, first = come(ws, None, {"ours.jsonl": 1, "theirs.jsonl": 1})
    text = lines(ws.root / "some.jsonl", "joe", 60)
    table, told, batch = come(ws, table, {"more.jsonl": 1, text.name: 1})
    assert batch != first and len(table) == 300 and told.beside == 180


def test_a_draw_is_known_by_its_record_wherever_that_stands(ws):
    told = config(ws, {"ours.jsonl": 2, "theirs.jsonl": 1})
    made = sources.materialise(ws, told)
    batch = ingest.batch_of(ws, made)
    stored = reading.store_raw(made, ws.root / "data")
    sources.keep(ws, stored)
    shutil.rmtree(ws.cache)
    assert ingest.batch_of(ws, stored) == batch != reading.batch_of(stored)
    again = sources.materialise(ws, told)
    assert again == stored and ingest.batch_of(ws, again) == batch


def test_any_other_delivery_is_its_content(ws):
    plain = reading.store_raw(ws.root / "ours.jsonl", ws.root / "data")
    assert ingest.batch_of(ws, plain) == reading.batch_of(plain) == plain.name[:12]
    (ws.root / "both").mkdir()
    for name in ("ours.jsonl", "theirs.jsonl"):
        shutil.copy(ws.root / name, ws.root / "both" / name)
    folder = sources.materialise(ws, config(ws, {"ours.jsonl": 1}), "both")
    assert ingest.batch_of(ws, folder) == folder.name[:12]


def test_a_draw_that_was_recorded_without_its_batch_stays_its_content(ws):
    """As earlier releases did: its rows stand in the table under that name."""
    made = sources.materialise(ws, config(ws, {"ours.jsonl": 1, "theirs.jsonl": 1}))
    for record in ws.cache.rglob("*.json"):
        told = {k: v for k, v in json.loads(record.read_text()).items() if k != "batch"}
        record.write_text(json.dumps(told))
    assert ingest.batch_of(ws, made) == made.name[:12]


def test_rows_of_the_table_itself_cannot_be_weighed_against_new_ones(ws):
    raw = instructions.read(ws.root / "ours.jsonl", instruction_column="instruction",
                            output_column="output")
    table, _ = instructions.clean(raw, batch="b1")
    path = storage.write_parquet(table, ws.root / "data/cleaned/cleaned.parquet")
    version(ws.root, [ws.handle("cleaned", path, len(table))], message="cleaning", run_id="1" * 32,
            say=lambda text: None)
    subprocess.run(["git", "tag", "good"], cwd=ws.root, check=True)
    with pytest.raises(DataError, match="all 90 rows that were drawn of 'dvc://cleaned@good' "
                                        "stand in the table already"):
        come(ws, table, {"dvc://cleaned@good": 1, "theirs.jsonl": 1})
