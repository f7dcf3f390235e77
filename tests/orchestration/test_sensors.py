"""What sensors and schedules look at: whole files only, oldest first, each content once."""

import json
import os
import socket
import subprocess
import threading

import pandas as pd
import pytest
import yaml
from dagster import (
    DagsterEvent,
    DagsterEventType,
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    TextMetadataValue,
    build_schedule_context,
    build_sensor_context,
    validate_run_config,
)
from dagster._core.execution.plan.objects import StepFailureData, UserFailureData
from dagster._core.utils import make_new_run_id

from ftzard import definitions
from ftzard.config.pipeline import JOBS
from ftzard.core.artifacts import write_json
from ftzard.data.labeling.labeling_queue import queue_csv
from ftzard.data.storage import write_parquet
from ftzard.errors import WorkspaceError
from ftzard.orchestration import drop_folder_runs
from ftzard.tracking import runs
from ftzard.tracking.workspace_store import connect
from ftzard.workspace import delivery_hashes, drop_folders, notices
from tests.workspace.notice_titles import NOBODY, noticed

INFERENCE, RETRAINING = "inference_pipeline_job", "retraining_pipeline_job"
TRAINING = "training_pipeline_job"


@pytest.fixture(scope="module")
def shared():
    with DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def instance(shared):
    """Dagster's own storage in memory, empty for each test."""
    shared.wipe()
    return shared


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Two looks at a file a moment apart, where the moment is not what is tested."""
    monkeypatch.setattr(drop_folder_runs, "LOOKS_APART_S", 0.01)


def dropped(folder, name: str, text: str = "text\nhello\n", age: int = 0):
    path = folder / name
    path.write_text(text)
    os.utime(path, (1_000_000 - age, 1_000_000 - age))
    return path


def ran(instance, request, job: str = INFERENCE, status=DagsterRunStatus.SUCCESS) -> DagsterRun:
    """What the daemon makes of a request, run to its end."""
    run = instance.add_run(DagsterRun(job_name=job, run_id=make_new_run_id(),
                                      run_config=request.run_config, tags=request.tags,
                                      status=DagsterRunStatus.STARTED))
    instance.report_dagster_event(DagsterEvent(
        DagsterEventType.STEP_START.value, job_name=job, step_key=JOBS[job][0]), run_id=run.run_id)
    if status == DagsterRunStatus.FAILURE:
        instance.report_run_failed(run)
    elif status == DagsterRunStatus.CANCELED:
        instance.report_run_canceled(run)
    return run


def refused(instance, run: DagsterRun) -> None:
    """Let it be known that the first step of a run refused its file as data."""
    step = JOBS[run.job_name][0]
    why = UserFailureData("refused", "no rows", {"error": TextMetadataValue("DataError")})
    instance.report_dagster_event(DagsterEvent(
        DagsterEventType.STEP_FAILURE.value, job_name=run.job_name, step_key=step,
        event_specific_data=StepFailureData(None, why)), run_id=run.run_id)


class TestFiles:
    def test_only_data_files_count_oldest_first(self, workspace):
        folder = workspace.incoming
        new, old = dropped(folder, "b.csv"), dropped(folder, "z.parquet", age=60)
        for name in (".b.csv.part", ".hidden.csv", "notes.txt", "x.csv.tmp", "x.csv.dvc"):
            dropped(folder, name)
        (folder / "folder.csv").mkdir()
        assert drop_folder_runs.deliveries(workspace, folder) == [old, new]
        assert drop_folder_runs.deliveries(workspace, folder / "missing") == []

    def test_tables_of_other_formats_count_so_that_their_run_can_refuse_them(self, workspace):
        found = [dropped(workspace.incoming, name) for name in ("a.xlsx", "b.json", "c.TSV")]
        assert sorted(drop_folder_runs.deliveries(workspace, workspace.incoming)) == found

    def test_a_file_that_grows_or_goes_is_not_settled(self, tmp_path, monkeypatch):
        monkeypatch.setattr(drop_folder_runs, "LOOKS_APART_S", 0.5)
        whole, growing, gone = (dropped(tmp_path, n)
                                for n in ("whole.csv", "growing.csv", "gone.csv"))

        def later():
            with open(growing, "a") as stream:
                stream.write("more\n")
            gone.unlink()

        writer = threading.Timer(0.1, later)
        writer.start()
        try:
            assert drop_folder_runs.stable_files([whole, growing, gone]) == [whole]
        finally:
            writer.join()

    def test_a_file_that_somebody_has_open_to_write_is_not_settled(self, tmp_path):
        path = dropped(tmp_path, "slow.csv")
        with open(path, "a"):
            assert drop_folder_runs.stable_files([path]) == []
        with open(path):
            assert drop_folder_runs.stable_files([path]) == [path], "reading it does no harm"

    def test_an_empty_file_is_given_time_to_be_filled(self, tmp_path):
        old, new = dropped(tmp_path, "old.csv", ""), dropped(tmp_path, "new.csv", "")
        os.utime(new)
        assert drop_folder_runs.stable_files([old, new]) == [old]


class TestRawIncoming:
    def asked(self, instance, workspace) -> dict:
        request, = drop_folder_runs.raw_incoming(instance, workspace).requests
        config = request.run_config
        assert validate_run_config(definitions.jobs[TRAINING], config)
        return config["resources"]["experiment"]["config"]

    def test_a_file_of_labelled_rows_asks_for_a_training_once(self, instance, workspace):
        found = drop_folder_runs.raw_incoming(instance, workspace)
        assert found.requests == [] and found.reason == "no new file in data/raw_incoming"
        dropped(workspace.raw_incoming, "more.csv")
        assert self.asked(instance, workspace) == {
            "data": {"source": "data/raw_incoming/more.csv"}}
        ran(instance, drop_folder_runs.raw_incoming(instance, workspace).requests[0], TRAINING)
        dropped(workspace.raw_incoming, "copy.csv", age=-9)
        found = drop_folder_runs.raw_incoming(instance, workspace)
        assert found.requests == [] and "copy.csv has the same content as" in found.reason

    @pytest.mark.parametrize("own", [
        {"source": "data/raw/first.csv"}, {"mix": {"data/a.csv": 1.0, "data/b.csv": 2.0}}])
    def test_it_is_taken_in_place_of_what_the_workspace_names(self, instance, workspace, own):
        (workspace.root / "ftzard.yaml").write_text(yaml.safe_dump({"data": own}))
        dropped(workspace.raw_incoming, "more.csv")
        data = workspace.config(self.asked(instance, workspace)).data
        assert (data.source, data.mix) == ("data/raw_incoming/more.csv", None)

    def test_a_workspace_made_before_there_was_such_a_folder_has_nothing_new(self, instance,
                                                                            workspace):
        workspace.raw_incoming.rmdir()
        assert drop_folder_runs.raw_incoming(instance, workspace).requests == []
        workspace.raw_incoming.mkdir()
        dropped(workspace.raw_incoming, "more.csv")
        assert len(drop_folder_runs.raw_incoming(instance, workspace).requests) == 1


class TestIncoming:
    def test_a_new_file_asks_for_one_run_and_names_the_key_that_takes_it(self, instance, workspace):
        found = drop_folder_runs.incoming(instance, workspace)
        assert found.requests == [] and found.reason == "no new file in data/incoming"
        dropped(workspace.incoming, "new.csv")
        request, = drop_folder_runs.incoming(instance, workspace).requests
        said = request.run_config["resources"]["experiment"]["config"]
        assert said == {"data": {"incoming": "data/incoming/new.csv"}}
        assert request.tags["ftzard/delivery"] == "data/incoming/new.csv"
        ran(instance, request)
        assert drop_folder_runs.incoming(instance, workspace).requests == []

    def test_the_same_name_with_new_content_runs_again(self, instance, workspace):
        dropped(workspace.incoming, "new.csv")
        first, = drop_folder_runs.incoming(instance, workspace).requests
        ran(instance, first)
        dropped(workspace.incoming, "new.csv", "text\nother\n", age=-5)
        second, = drop_folder_runs.incoming(instance, workspace).requests
        assert second.run_key != first.run_key

    def test_the_same_content_under_a_new_name_is_recognised(self, instance, workspace):
        dropped(workspace.incoming, "new.csv")
        dropped(workspace.incoming, "twin.csv", age=-5)
        found = drop_folder_runs.incoming(instance, workspace)
        request, = found.requests
        run = ran(instance, request)
        dropped(workspace.incoming, "copy.csv", age=-9)
        found = drop_folder_runs.incoming(instance, workspace)
        assert found.requests == []
        for name in ("twin", "copy"):
            assert (f"{name}.csv has the same content as data/incoming/new.csv, which run "
                    f"{run.run_id[:8]} took") in found.reason
        assert "new.csv has" not in found.reason

    def test_a_renewed_time_without_new_content_is_nothing_new(self, instance, workspace):
        path = dropped(workspace.incoming, "new.csv")
        request, = drop_folder_runs.incoming(instance, workspace).requests
        ran(instance, request)
        os.utime(path)
        assert drop_folder_runs.incoming(instance, workspace).requests == []

    @pytest.mark.parametrize("status", [DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED])
    def test_what_failed_is_tried_again_only_when_it_is_put_there_anew(self, instance, workspace,
                                                                       status):
        path = dropped(workspace.incoming, "new.csv")
        first, = drop_folder_runs.incoming(instance, workspace).requests
        run = ran(instance, first, status=status)
        found = drop_folder_runs.incoming(instance, workspace)
        assert found.requests == [] and f"its run {run.run_id[:8]} failed" in found.reason
        ended = instance.get_run_record_by_id(run.run_id).end_time
        while path.stat().st_ctime <= ended:
            path.rename(workspace.root / "away.csv")
            (workspace.root / "away.csv").rename(path)
        again, = drop_folder_runs.incoming(instance, workspace).requests
        assert again.run_key != first.run_key, "Dagster remembers a run key for ever"
        ran(instance, again)
        assert drop_folder_runs.incoming(instance, workspace).requests == []

    def test_a_sensor_and_a_schedule_that_ask_at_once_get_one_run(self, instance, workspace):
        dropped(workspace.incoming, "new.csv")
        first, = drop_folder_runs.incoming(instance, workspace).requests
        second, = drop_folder_runs.incoming(instance, workspace).requests
        both = [ran(instance, request) for request in (first, second)]
        drop_folder_runs.refuse_duplicate(instance, both[0])
        instance.report_dagster_event(DagsterEvent(
            DagsterEventType.RUN_SUCCESS.value, job_name=INFERENCE), run_id=both[0].run_id)
        with pytest.raises(WorkspaceError, match=f"run {both[0].run_id[:8]} meanwhile"):
            drop_folder_runs.refuse_duplicate(instance, both[1])
        instance.report_run_failed(both[1])
        found = drop_folder_runs.incoming(instance, workspace)
        assert found.requests == [] and found.reason == "no new file in data/incoming"
        again = instance.add_run(DagsterRun(
            job_name=INFERENCE, run_id=make_new_run_id(), tags=first.tags,
            parent_run_id=both[0].run_id, root_run_id=both[0].run_id))
        drop_folder_runs.refuse_duplicate(instance, again)

    def test_a_file_that_vanishes_while_it_is_looked_at_stops_nothing(self, instance, workspace,
                                                                      monkeypatch):
        gone, there = (dropped(workspace.incoming, n, n) for n in ("a.csv", "b.csv"))
        settled = drop_folder_runs.stable_files

        def vanishing(files):
            found = settled(files)
            gone.unlink()
            return found

        monkeypatch.setattr(drop_folder_runs, "stable_files", vanishing)
        request, = drop_folder_runs.incoming(instance, workspace).requests
        assert request.tags["ftzard/delivery"].endswith(there.name)


class TestLabelled:
    def labels(self, workspace, name: str, rows: range, age: int = 0):
        table = pd.DataFrame({"id": [f"r{n}" for n in rows], "batch": "b",
                              "text": [f"text {n}" for n in rows],
                              "label": ["glad" if n % 2 else "sad" for n in rows]})
        path = workspace.labelled / name
        table.to_csv(path, index=False)
        os.utime(path, (1_000_000 - age, 1_000_000 - age))
        return path

    def test_enough_labels_in_one_file_start_a_run(self, instance, workspace):
        self.labels(workspace, "enough.csv", range(50))
        self.labels(workspace, "few.csv", range(50, 60))
        request, = drop_folder_runs.labelled(instance, workspace).requests
        said = request.run_config["resources"]["experiment"]["config"]
        assert said == {"data": {"labelled": "data/labelled/enough.csv"}}

    def test_too_few_wait_and_it_is_said_how_many(self, instance, workspace, monkeypatch):
        monkeypatch.setenv(notices.VARIABLE, NOBODY)
        self.labels(workspace, "few.csv", range(49))
        for _ in range(2):
            found = drop_folder_runs.labelled(instance, workspace)
        assert found.requests == []
        assert noticed(workspace) == [f"{workspace.root.name}: 49 of 50 labels"], "once"
        assert "49 of 50 new labels (sampling.min_labelled) in few.csv (49)" in found.reason
        marker = workspace.root / "ftzard.yaml"
        marker.write_text("sampling: {min_labelled: 49}\n")
        assert len(drop_folder_runs.labelled(instance, workspace).requests) == 1

    def test_labels_that_are_known_already_are_not_new(self, instance, workspace):
        self.labels(workspace, "again.csv", range(60))
        known = pd.DataFrame({"id": [f"r{n}" for n in range(20)],
                              "label": ["glad" if n % 2 else "sad" for n in range(20)]})
        write_parquet(known, workspace.root / "data/cleaned/cleaned.parquet")
        assert "40 of 50" in drop_folder_runs.labelled(instance, workspace).reason

    def test_small_files_together_are_joined_and_kept(self, instance, workspace):
        self.labels(workspace, "ann.csv", range(30), age=9)
        assert drop_folder_runs.labelled(instance, workspace).requests == []
        self.labels(workspace, "bob.csv", range(30, 55))
        request, = drop_folder_runs.labelled(instance, workspace).requests
        file = workspace.root / request.tags["ftzard/delivery"]
        assert file.parent == workspace.labelled and len(pd.read_csv(file)) == 55
        assert [p.name.split(".", 1)[1] for p in sorted((workspace.labelled / "joined").iterdir())
                ] == ["ann.csv", "bob.csv"]
        ran(instance, request, RETRAINING)
        assert drop_folder_runs.labelled(instance, workspace).requests == []

    def test_an_export_without_readable_labels_gets_its_run_which_says_so(self, instance,
                                                                          workspace):
        data = {"row_id": "r1", "batch": "b", "text": "text 1"}
        for name, item in (("many", {**data, "tone": "rude", "mood": "glad"}), ("none", data)):
            path = workspace.labelled / f"{name}.json"
            path.write_text(json.dumps([item]))
            os.utime(path, (1_000_000, 1_000_000))
        found = drop_folder_runs.labelled(instance, workspace)
        assert len(found.requests) == 2 and "new labels" not in found.reason

    def test_a_file_that_cannot_be_read_gets_its_run_and_stops_no_other(self, instance, workspace):
        dropped(workspace.labelled, "bad.csv", "no,such,columns\n1,2,3\n")
        dropped(workspace.labelled, "bad.json", "{")
        dropped(workspace.labelled, "bad.xlsx", "x")
        dropped(workspace.labelled, "long.csv", "x" * 200_000)
        (workspace.labelled / "bytes.csv").write_bytes(bytes(range(256)) * 4)
        self.labels(workspace, "good.csv", range(50))
        asked = {r.tags["ftzard/delivery"].rsplit("/")[-1]
                 for r in drop_folder_runs.labelled(instance, workspace).requests}
        assert asked == {"bad.csv", "bad.json", "bad.xlsx", "bytes.csv", "good.csv", "long.csv"}

    def test_a_filled_queue_is_what_it_counts(self, instance, workspace):
        queue = pd.DataFrame({"id": [f"r{n}" for n in range(80)], "batch": "b",
                              "text": [f"text {n}" for n in range(80)], "suggestion": "sad",
                              "confidence": 0.5, "side": "train", "chosen_by": "margin",
                              "label": ["glad"] * 60 + [""] * 20})
        queue_csv(queue, workspace.labelled / "back.csv")
        assert len(drop_folder_runs.labelled(instance, workspace).requests) == 1
        queue_csv(queue.assign(label=[""] * 60 + ["glad"] * 20), workspace.labelled / "back.csv")
        assert "20 of 50" in drop_folder_runs.labelled(instance, workspace).reason


class TestSensorsAndSchedules:
    def test_they_start_the_chained_jobs(self):
        targets = {s.name: s.job_name for s in [*definitions.defs.sensors,
                                                *definitions.defs.schedules]
                   if s.name.startswith(("incoming", "labelled", "raw"))}
        assert targets == {"incoming_sensor": INFERENCE, "labelled_sensor": RETRAINING,
                           "raw_incoming_sensor": TRAINING, "raw_incoming_schedule": TRAINING,
                           "incoming_schedule": INFERENCE, "labelled_schedule": RETRAINING}
        assert all(s.default_status.value == "RUNNING" for s in definitions.defs.sensors)

    def test_a_schedule_does_what_the_sensor_does_and_nothing_runs_twice(self, workspace,
                                                                         monkeypatch):
        monkeypatch.setenv("FTZARD_WORKSPACE", str(workspace.root))
        with DagsterInstance.from_config(str(workspace.dagster_home)) as instance:
            self.both(instance, workspace)

    def both(self, instance, workspace):
        by_name = {s.name: s for s in [*definitions.defs.sensors, *definitions.defs.schedules]}

        def sensor():
            return by_name["incoming_sensor"].evaluate_tick(build_sensor_context(instance))

        def schedule():
            return by_name["incoming_schedule"].evaluate_tick(build_schedule_context(instance))

        assert sensor().skip_message == schedule().skip_message == "no new file in data/incoming"
        dropped(workspace.incoming, "new.csv")
        (by_sensor,), (by_schedule,) = sensor().run_requests, schedule().run_requests
        assert by_sensor.run_key == by_schedule.run_key
        assert by_sensor.run_config == by_schedule.run_config
        ran(instance, by_schedule)
        assert not sensor().run_requests and not schedule().run_requests
        dropped(workspace.incoming, "more.csv", "text\nmore\n")
        ran(instance, sensor().run_requests[0])
        assert not schedule().run_requests

    @pytest.mark.parametrize("name", ["incoming_sensor", "incoming_schedule",
                                      "raw_incoming_sensor", "raw_incoming_schedule"])
    def test_what_was_refused_before_anybody_listened_is_set_aside(self, workspace, monkeypatch,
                                                                   name):
        """A run may fail before Dagster asks its sensors of failures for the first time."""
        monkeypatch.setenv("FTZARD_WORKSPACE", str(workspace.root))
        monkeypatch.setenv(notices.VARIABLE, NOBODY)
        folder = name.rpartition("_")[0]
        place, ask = getattr(workspace, folder), getattr(drop_folder_runs, folder)
        bad, fine = (dropped(place, n, n) for n in ("bad.csv", "fine.csv"))
        twin = dropped(place, "twin.csv", "bad.csv", age=-5)
        look, = [s for s in [*definitions.defs.sensors, *definitions.defs.schedules]
                 if s.name == name]
        build = build_sensor_context if name.endswith("sensor") else build_schedule_context
        with DagsterInstance.from_config(str(workspace.dagster_home)) as instance:
            job = look.job_name
            first, second = (ran(instance, request, job, status=DagsterRunStatus.FAILURE)
                             for request in ask(instance, workspace).requests)
            refused(instance, first)  # the second failed for another reason, such as a full disk
            said = look.evaluate_tick(build(instance)).skip_message
        assert "bad.csv was set aside in data/quarantine" in said
        assert sorted(noticed(workspace)) == [
            f"{workspace.root.name}: {file} was refused" for file in ("bad.csv", "twin.csv")]
        for file in (bad, twin):  # the same content, so there was one run
            assert not file.exists()
            assert (workspace.quarantine / file.name).read_text() == "bad.csv"
            report = (workspace.quarantine / f"{file.name}.report.txt").read_text()
            assert report.startswith(f"data/{folder}/{file.name} could") and "no rows" in report
            assert f"put the file back into data/{folder}: it is tried again" in report
        assert fine.exists() and f"fine.csv: its run {second.run_id[:8]} failed" in said

    def test_what_a_dead_run_left_open_is_closed_with_it(self, workspace, monkeypatch):
        monkeypatch.setenv("FTZARD_WORKSPACE", str(workspace.root))
        monkeypatch.setenv(notices.VARIABLE, NOBODY)
        gone = subprocess.Popen(["true"])
        gone.wait()
        look, = [s for s in definitions.defs.sensors if s.name == "dead_run_sensor"]
        tracking = connect(workspace, workspace.config())
        parent = runs.top_level(tracking, "DATA_CLEANING", workspace.root / "lock")
        with DagsterInstance.from_config(str(workspace.dagster_home)) as instance:
            run = instance.add_run(DagsterRun(job_name=INFERENCE, run_id=make_new_run_id(),
                                              status=DagsterRunStatus.STARTED))
            left = runs.start_child(tracking, parent, {"dagster_run_id": run.run_id})
            write_json(workspace.run_folder(run.run_id) / "worker.json", {
                "pid": gone.pid, "host": socket.gethostname(), "started": 0.0})
            said = look.evaluate_tick(build_sensor_context(instance)).skip_message
            assert said == f"closed {run.run_id}"
            assert instance.get_run_by_id(run.run_id).status == DagsterRunStatus.FAILURE
        assert tracking.client.get_run(left.id).info.status == "KILLED"
        assert [title for title, _ in notices.undelivered(workspace)] == noticed(workspace) == [
            f"{workspace.root.name}: a run died"], "somebody was to be told at once"

    def test_a_second_look_reads_no_file_again(self, instance, workspace, monkeypatch):
        dropped(workspace.incoming, "big.csv")
        drop_folder_runs.incoming(instance, workspace)
        monkeypatch.setattr(drop_folders, "opened", None)
        monkeypatch.setattr(drop_folder_runs, "stable_files", lambda files: [])
        assert len(drop_folder_runs.incoming(instance, workspace).requests) == 1
        monkeypatch.setattr(delivery_hashes, "_by_workspace", {})  # as after a new start
        assert len(drop_folder_runs.incoming(instance, workspace).requests) == 1
