"""Whatever lies in a drop folder: the others go on, it is named, and nothing outside is read."""

import json
import os
import socket
import threading

import pytest
from dagster import (
    DagsterEvent,
    DagsterEventType,
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
)
from dagster._core.events import EngineEventData

from ftzard import doctor
from ftzard.core.artifacts import sha256
from ftzard.data import reading
from ftzard.doctor import dropped
from ftzard.errors import DataError
from ftzard.orchestration import create_workspace, drop_folder_runs, past_runs, quarantine, services
from ftzard.orchestration.dead_runs import NOT_TRIED
from ftzard.steps.inputs import given_or_latest
from ftzard.workspace import delivery_hashes, drop_folders, drop_tally
from tests.orchestration.test_sensors import INFERENCE, ran, refused
from tests.orchestration.test_sensors import dropped as file
from tests.orchestration.texts import queued

SECRET = "root:x:0:0: nobody's business"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(drop_folder_runs, "LOOKS_APART_S", 0.01)


@pytest.fixture
def instance(workspace):
    with DagsterInstance.from_config(str(workspace.dagster_home)) as instance:
        yield instance


@pytest.fixture
def outside(tmp_path):
    secret = tmp_path / "outside.csv"
    secret.write_text(f"text\n{SECRET}\n")
    return secret


def asked(instance, workspace) -> list[str]:
    """The names of the files that a sensor's look asks runs for, in order."""
    return [request.tags["ftzard/delivery"].rpartition("/")[2]
            for request in drop_folder_runs.incoming(instance, workspace).requests]


def socket_at(path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # an address has 108 bytes at most
    try:
        with socket.socket(socket.AF_UNIX) as opened:
            opened.bind(path.name)
    finally:
        os.chdir(here)


ENTRIES = {
    "folder.csv": (lambda path, out: path.mkdir(), "is a folder"),
    "pipe.csv": (lambda path, out: os.mkfifo(path), "is a named pipe"),
    "socket.csv": (lambda path, out: socket_at(path), "is a socket"),
    "device.csv": (lambda path, out: path.symlink_to("/dev/zero"), "outside the workspace"),
    "out.csv": (lambda path, out: path.symlink_to(out), "outside the workspace"),
    "secrets.csv": (lambda path, out: path.symlink_to("../../.env"), "hidden in it"),
    "gone.csv": (lambda path, out: path.symlink_to("nowhere.csv"), "link to nothing"),
    "round.csv": (lambda path, out: path.symlink_to("round.csv"), "is a link"),
    "notes.txt": (lambda path, out: path.write_text("hello"), "ends in none of"),
    "m\udcffrz.csv": (lambda path, out: path.write_text("text\nx\n"), "not UTF-8")}


def test_an_entry_that_cannot_be_taken_is_named_everywhere_and_holds_up_no_other(
        instance, workspace, outside, ftzard):
    (workspace.root / ".env").write_text("HF_TOKEN=hf_secret\n")
    (workspace.root / "data" / "more.csv").write_text("text\nlinked\n")
    for name, (make, _) in ENTRIES.items():
        make(workspace.incoming / name, outside)
    (workspace.incoming / "inside.csv").symlink_to("../more.csv")
    file(workspace.incoming, "good.csv")
    file(workspace.incoming, f"{'x' * 251}.csv", "text\nlong\n", age=-5)
    assert sorted(asked(instance, workspace)) == sorted([
        "good.csv", "inside.csv", f"{'x' * 251}.csv"])

    reason = drop_folder_runs.incoming(instance, workspace).reason
    finding, = (f for f in dropped.files(workspace) if f.state == doctor.WARNING)
    state = json.loads(ftzard("status", "--json", "-w", workspace.root)[1])
    for name, (_, why) in ENTRIES.items():
        shown = name.replace("\udcff", r"\udcff")
        line, = (told for told in drop_folders.passed_over(workspace) if f"/{shown}:" in told)
        assert why in line and line in state["not_taken"]
        assert name == "notes.txt" or f"{shown}: " in reason
    assert f"{len(ENTRIES)} things that no sensor takes" in finding.sentence


def test_nothing_outside_is_read_or_kept(instance, workspace, outside, monkeypatch):
    link = workspace.incoming / "out.csv"
    link.symlink_to(outside)
    opened = []
    monkeypatch.setattr(os, "open", lambda path, *more, _open=os.open, **names: (
        opened.append(os.fspath(path)), _open(path, *more, **names))[1])
    assert asked(instance, workspace) == []
    config = workspace.config()
    with pytest.raises(DataError, match="data/incoming/out.csv is a link to .*outside.csv"):
        given_or_latest("incoming", "data/incoming/out.csv", workspace, config)
    labels = workspace.labelled / "labels.csv"
    labels.symlink_to(outside)
    with pytest.raises(DataError, match="labels.csv is a link to"):
        given_or_latest("labelled", "data/labelled/labels.csv", workspace, config)
    assert not [path for path in opened if str(path).endswith(("out.csv", "labels.csv"))]


def test_a_file_that_becomes_a_link_between_the_look_and_the_copy_is_not_kept(workspace, outside):
    path = file(workspace.incoming, "new.csv")
    assert drop_folders.entries(workspace, workspace.incoming)[0].look
    path.unlink()
    path.symlink_to(outside)
    for read in (lambda: delivery_hashes.of(workspace, path),
                 lambda: reading.store_raw(path, workspace.root / "data",
                                           drop_folders.opener(workspace, path))):
        with pytest.raises(DataError, match="outside the workspace"):
            read()
    assert list(workspace.raw.glob("*.csv")) == []


def test_a_file_that_is_exchanged_for_a_link_all_the_time_never_gives_what_is_outside(
        workspace, outside):
    path, stop = workspace.incoming / "new.csv", threading.Event()
    mine, link = workspace.root / "data" / "mine.csv", workspace.root / "data" / "link"

    def exchange():
        while not stop.is_set():
            mine.write_text("text\nmine\n")
            os.replace(mine, path)
            link.symlink_to(outside)
            os.replace(link, path)

    exchanging = threading.Thread(target=exchange)
    exchanging.start()
    try:
        hashes, wanted = set(), sha256(outside)
        for _ in range(400):
            try:
                hashes.add(delivery_hashes.of(workspace, path))
            except (DataError, OSError):
                continue
    finally:
        stop.set()
        exchanging.join()
    assert wanted not in hashes


def test_init_takes_no_link_that_leads_out_of_the_folder(tmp_path, outside):
    folder = tmp_path / "new"
    folder.mkdir()
    (folder / "data.csv").symlink_to(outside)
    with pytest.raises(DataError, match="link to .*name that file itself"):
        create_workspace.init(folder, data=folder / "data.csv", text="text", label="label")
    assert [path.name for path in folder.iterdir()] == ["data.csv"]


def test_the_longest_name_is_set_aside_with_its_report_and_the_others_too(instance, workspace):
    long = file(workspace.incoming, f"{'ä' * 125}x.csv", "text\nlong\n")
    bad = file(workspace.incoming, "bad.csv", "text\nbad\n", age=-5)
    for request in drop_folder_runs.incoming(instance, workspace).requests:
        run = ran(instance, request, status=DagsterRunStatus.FAILURE)
        refused(instance, run)
    quarantine.looked(instance, workspace, drop_folder_runs.incoming)
    assert not long.exists() and not bad.exists()
    kept = {path.name for path in workspace.quarantine.iterdir()}
    assert len(kept) == 4 and {"bad.csv", "bad.csv.report.txt"} < kept
    name, = (n for n in kept if n.startswith("ä") and n.endswith(".csv"))
    assert f"{name}.report.txt" in kept


def test_one_that_cannot_be_set_aside_is_told_and_the_next_one_is(instance, workspace, monkeypatch):
    for name in ("a.csv", "b.csv"):
        file(workspace.incoming, name, f"text\n{name}\n")
    for request in drop_folder_runs.incoming(instance, workspace).requests:
        refused(instance, ran(instance, request, status=DagsterRunStatus.FAILURE))
    (workspace.quarantine / "a.csv.report.txt").mkdir(parents=True)  # nothing can be written there
    reason = quarantine.looked(instance, workspace, drop_folder_runs.incoming).reason
    assert "a.csv could not be set aside" in reason and "b.csv was set aside" in reason


def test_a_huge_file_is_read_in_slices_while_the_others_go_on(instance, workspace, monkeypatch):
    huge = file(workspace.incoming, "huge.csv")
    with open(huge, "ab") as stream:
        stream.truncate(5 << 20)
    os.utime(huge, (1_000_000, 1_000_000))
    file(workspace.incoming, "small.csv", "text\nsmall\n", age=-5)
    monkeypatch.setattr(delivery_hashes, "SLICE_S", 0.0001)
    found = drop_folder_runs.incoming(instance, workspace)
    assert [r.tags["ftzard/delivery"] for r in found.requests] == ["data/incoming/small.csv"]
    assert "huge.csv is large; it is still being read" in found.reason
    for request in found.requests:
        ran(instance, request)
    for _ in range(8):
        found = drop_folder_runs.incoming(instance, workspace)
        if found.requests:
            break
    request, = found.requests
    assert request.tags["ftzard/content"] == sha256(huge)


class TestNotTried:
    """A run that never began a step counts as not tried; what failed does not, and is shown."""

    def run(self, instance, request, status=DagsterRunStatus.STARTED) -> DagsterRun:
        return instance.add_run(DagsterRun(
            job_name=INFERENCE, run_config=request.run_config, tags=request.tags, status=status))

    def test_a_stop_leaves_the_queue_and_gives_back_what_had_not_begun(self, instance, workspace):
        for number in range(3):
            file(workspace.incoming, f"{number}.csv", f"text\n{number}\n", age=-number)
        first, second, third = drop_folder_runs.incoming(instance, workspace).requests
        begun = ran(instance, first)  # its first step has begun
        starting = self.run(instance, second, DagsterRunStatus.STARTING)
        waits = instance.add_run(queued(INFERENCE, third.tags))
        services.close_open_runs(workspace, "the server was stopped")
        states = {r.run_id: r.status for r in instance.get_runs()}
        assert states == {begun.run_id: DagsterRunStatus.CANCELED,
                          starting.run_id: DagsterRunStatus.CANCELED,
                          waits.run_id: DagsterRunStatus.QUEUED}
        again, = drop_folder_runs.incoming(instance, workspace).requests
        assert again.tags == second.tags and again.run_key != second.run_key
        tally = drop_tally.of(workspace)["incoming"]
        assert (tally.waiting, tally.queued) == (["1.csv"], ["2.csv"])
        assert tally.failed == {"0.csv": begun.run_id[:8]}
        finding, = (f for f in dropped.files(workspace) if f.state == doctor.WARNING)
        assert "0.csv" in finding.sentence
        assert "data.incoming=data/incoming/0.csv" in finding.command

    def ended(self, instance, request, *events: DagsterEvent) -> DagsterRun:
        run = self.run(instance, request)
        for event in events:
            instance.report_dagster_event(event, run_id=run.run_id)
        if not instance.get_run_by_id(run.run_id).is_finished:
            instance.report_run_failed(run)
        return run

    def test_one_whose_process_was_killed_is_asked_for_again_but_not_for_ever(self, instance,
                                                                              workspace):
        file(workspace.incoming, "new.csv")
        keys = set()
        for _ in range(past_runs.TRIES_BEFORE_A_STEP):
            request, = drop_folder_runs.incoming(instance, workspace).requests
            keys.add(request.run_key)
            run = self.ended(instance, request)
        assert len(keys) == past_runs.TRIES_BEFORE_A_STEP
        found = drop_folder_runs.incoming(instance, workspace)
        assert found.requests == [] and f"its run {run.run_id[:8]} failed" in found.reason

    def test_one_that_failed_by_an_error_of_its_own_is_not(self, instance, workspace):
        file(workspace.incoming, "new.csv")
        request, = drop_folder_runs.incoming(instance, workspace).requests
        run = self.ended(instance, request, DagsterEvent(
            DagsterEventType.RESOURCE_INIT_FAILURE.value, job_name=INFERENCE,
            event_specific_data=EngineEventData()))
        assert drop_folder_runs.incoming(instance, workspace).requests == []
        assert instance.get_run_by_id(run.run_id).tags[NOT_TRIED] == "false"

    def test_one_that_a_person_has_cancelled_is_not(self, instance, workspace):
        file(workspace.incoming, "new.csv")
        request, = drop_folder_runs.incoming(instance, workspace).requests
        instance.report_run_canceled(instance.add_run(queued(INFERENCE, request.tags)))
        assert drop_folder_runs.incoming(instance, workspace).requests == []


class TestManyFiles:
    COUNT = 10_000

    @pytest.fixture
    def many(self, workspace):
        for number in range(self.COUNT):
            file(workspace.incoming, f"{number:05}.csv", f"text\n{number}\n", age=-number)

    def test_a_look_at_ten_thousand_asks_for_twenty_and_opens_few(self, instance, workspace, many,
                                                                  monkeypatch):
        opened = []
        original = drop_folders.opened
        monkeypatch.setattr(drop_folders, "opened", lambda *a: (opened.append(a),
                                                                original(*a))[1])
        found = drop_folder_runs.incoming(instance, workspace)
        assert [r.tags["ftzard/delivery"] for r in found.requests] == [
            f"data/incoming/{number:05}.csv" for number in range(drop_folder_runs.MOST_QUEUED)]
        assert len(opened) <= drop_folder_runs.FRESH_AT_ONCE
        for request in found.requests:
            instance.add_run(queued(INFERENCE, request.tags))
        opened.clear()
        found = drop_folder_runs.incoming(instance, workspace)
        assert found.requests == [] and opened == []
        assert "9,980 more wait there until there is room in the queue" in found.reason
        tally = drop_tally.of(workspace)["incoming"]
        assert tally.sentence() == "9,980 waiting, 20 in the queue"


def test_each_content_is_asked_for_once_and_in_order_while_the_queue_is_full(instance, workspace,
                                                                             monkeypatch):
    monkeypatch.setattr(drop_folder_runs, "MOST_QUEUED", 3)
    for number in range(12):
        file(workspace.incoming, f"{number:02}.csv", f"text\n{number // 2}\n", age=-number)
    order, queue = [], []
    while len(order) < 6:
        for request in drop_folder_runs.incoming(instance, workspace).requests:
            queue.append(instance.add_run(queued(INFERENCE, request.tags)))
        assert len(queue) <= 3
        run = queue.pop(0)
        order.append(run.tags["ftzard/delivery"])
        for kind in (DagsterEventType.RUN_START, DagsterEventType.RUN_SUCCESS):
            instance.report_dagster_event(DagsterEvent(kind.value, job_name=INFERENCE),
                                          run_id=run.run_id)
    assert order == [f"data/incoming/{number:02}.csv" for number in range(0, 12, 2)]
    assert asked(instance, workspace) == []
