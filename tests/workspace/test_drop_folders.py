"""What waits in data/raw_incoming, and what lies where no sensor takes it, as a person is told."""

import shlex

import pandas as pd

from ftzard.core.artifacts import sha256
from ftzard.data.storage import write_parquet
from ftzard.doctor import OK, WARNING, dropped


def test_status_and_doctor_name_what_is_not_in_the_table_yet(workspace, ftzard):
    taken, new = (workspace.raw_incoming / name for name in ("taken.csv", "new rows.csv"))
    taken.write_text("text,label\na,b\n")
    new.write_text("text,label\nc,d\n")
    (workspace.raw_incoming / ".half.csv.part").write_text("half")
    write_parquet(pd.DataFrame({"batch": [sha256(taken)[:12]]}),
                  workspace.root / "data/cleaned/cleaned.parquet")
    code, said = ftzard("status", "-w", workspace.root)
    assert code == 0 and "waiting to be trained on: new rows.csv in data/raw_incoming" in said
    finding, = dropped.files(workspace)
    assert finding.state == OK and "new rows.csv" in finding.sentence
    command = shlex.split(finding.command)
    config = workspace.config({"overrides": command[-1:]})
    assert (workspace.root / config.data.source).read_text() == new.read_text()
    new.unlink()
    assert "no file waits" in dropped.files(workspace)[0].sentence
    assert "waiting to be trained on" not in ftzard("status", "-w", workspace.root)[1]


def test_a_file_of_a_kind_that_no_sensor_takes_is_told(workspace):
    (workspace.incoming / "notes.txt").write_text("hello")
    (workspace.labelled / "back.json").write_text("[]")
    finding, = (f for f in dropped.files(workspace) if f.state == WARNING)
    assert "data/incoming/notes.txt" in finding.sentence and "back.json" not in finding.sentence
    assert ".jsonl" in finding.sentence
