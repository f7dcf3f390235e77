"""What the sensors look at: whole files only, oldest first, each content once."""

import os
import threading

from dagster import RunRequest, SkipReason

from ftzard import definitions
from ftzard.pipeline import sensors


def dropped(folder, name: str, text: str = "text\nhello\n", age: int = 0):
    path = folder / name
    path.write_text(text)
    os.utime(path, (1_000_000 - age, 1_000_000 - age))
    return path


def test_only_data_files_count_oldest_first(tmp_path):
    new, old = dropped(tmp_path, "b.csv"), dropped(tmp_path, "z.parquet", age=60)
    for name in (".b.csv.part", ".hidden.csv", "notes.txt", "x.csv.tmp", "x.csv.dvc"):
        dropped(tmp_path, name)
    (tmp_path / "folder.csv").mkdir()
    assert sensors.deliveries(tmp_path) == [old, new]
    assert sensors.deliveries(tmp_path / "missing") == []


def test_a_file_that_grows_or_is_empty_or_goes_is_not_settled(tmp_path):
    whole, growing, gone = (dropped(tmp_path, n) for n in ("whole.csv", "growing.csv", "gone.csv"))
    empty = dropped(tmp_path, "empty.csv", "")

    def later():
        with open(growing, "a") as stream:
            stream.write("more\n")
        gone.unlink()

    writer = threading.Timer(0.1, later)
    writer.start()
    try:
        assert sensors.settled([whole, growing, gone, empty], pause=0.5) == [whole]
    finally:
        writer.join()


def test_the_run_key_is_of_name_and_content(tmp_path):
    first = sensors.run_key(dropped(tmp_path, "a.csv"))
    os.utime(tmp_path / "a.csv")
    assert sensors.run_key(tmp_path / "a.csv") == first
    assert sensors.run_key(dropped(tmp_path, "b.csv")) != first
    assert sensors.run_key(dropped(tmp_path, "a.csv", "text\nother\n")) != first


def test_a_request_names_the_file_and_the_key_that_takes_it(tmp_path):
    folder = tmp_path / "data" / "incoming"
    folder.mkdir(parents=True)
    skipped, = sensors.requests(folder, tmp_path, "incoming")
    assert isinstance(skipped, SkipReason) and "data/incoming" in skipped.skip_message
    file = dropped(folder, "new.csv")
    found, = sensors.requests(folder, tmp_path, "incoming")
    assert isinstance(found, RunRequest) and found.run_key == sensors.run_key(file)
    said = found.run_config["resources"]["experiment"]["config"]
    assert said == {"data": {"incoming": "data/incoming/new.csv"}}
    assert found.tags["ftzard/delivery"] == "data/incoming/new.csv"


def test_the_sensors_start_the_chained_jobs():
    targets = {s.name: s.job_name for s in definitions.defs.sensors if s.name.endswith(
        ("incoming_sensor", "labelled_sensor"))}
    assert targets == {"incoming_sensor": "inference_pipeline_job",
                       "labelled_sensor": "retraining_pipeline_job"}
