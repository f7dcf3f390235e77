"""What a node runs: it refuses what is not asked, and leaves a whole result or none."""

import json
import os
import sys

import pytest

from ftzard.compute import request, waiting, worker
from ftzard.compute.request import Request
from ftzard.compute.shards import key
from ftzard.compute.storage import Storage
from ftzard.core.artifacts import sha256, write_json
from ftzard.errors import ComputeError


def double(values, inputs, work):
    """Stands in FUNCTIONS in these tests: writes its input twice."""
    text = inputs["text"].read_text() * 2
    (work.folder / "twice").write_text(text)
    work.report(epoch={"epoch": 1})
    return {"length": len(text), "seen": sorted(p.name for p in work.checkpoints.rglob("*.pt"))}


def shards(values, inputs, work):
    def one(source, folder):
        (folder / "out").write_text(source.read_text().upper())
        return {"from": source.read_text()}

    return work.compute_shards(values, one)


@pytest.fixture
def storage(tmp_path, monkeypatch):
    here = "tests.compute.test_worker"
    monkeypatch.setitem(request.FUNCTIONS, "double", f"{here}:double")
    monkeypatch.setitem(request.FUNCTIONS, "shards", f"{here}:shards")
    monkeypatch.setattr(worker, "CACHE", tmp_path / "cache")
    monkeypatch.setitem(sys.modules, here, sys.modules[__name__])
    return Storage(f"file://{tmp_path}/storage")


def asked(storage, tmp_path, function="double", values=None, **more) -> Request:
    (tmp_path / "text").write_text("ab")
    made = Request(function, values or {}, {"text": storage.put_input(tmp_path / "text")}, **more)
    storage.write_bytes(f"{made.folder}/request.json", made.content)
    return made


def test_a_result_names_its_files_by_their_hash(storage, tmp_path):
    made = asked(storage, tmp_path)
    worker.run(storage, made.id, "1")
    result = storage.read_json(f"{made.folder}/result.json")
    assert result["values"]["length"] == 4
    digest = result["files"]["twice"]
    assert storage.fetch(f"{made.folder}/files/{digest}", tmp_path / "got", digest
                         ).read_text() == "abab"
    assert storage.read_json(f"{made.folder}/events/1-000001.json") == {"epoch": {"epoch": 1}}


def test_the_id_is_of_all_that_is_asked():
    ids = {Request("double", {"a": 1}, {}).id, Request("double", {"a": 2}, {}).id,
           Request("double", {"a": 1}, {"x": "0"}).id, Request("double", {"a": 1}, {}, ("B",)).id,
           Request("shards", {"a": 1}, {}).id}
    assert len(ids) == 5 and Request("double", {"a": 1}, {}).id in ids


def test_a_request_that_was_changed_in_the_storage_is_not_computed(storage, tmp_path):
    made = asked(storage, tmp_path)
    file = tmp_path / "storage" / made.folder / "request.json"
    file.write_bytes(made.content.replace(b"double", b"shards"))
    with pytest.raises(ComputeError, match="is not what was asked; nothing was computed"):
        worker.run(storage, made.id, "1")
    assert not storage.exists(f"{made.folder}/result.json")


def test_other_versions_and_missing_variables_are_one_sentence(storage, tmp_path, monkeypatch):
    made = asked(storage, tmp_path, env=("FTZARD_NOT_THERE",))
    with pytest.raises(ComputeError, match="has no variable FTZARD_NOT_THERE"):
        worker.run(storage, made.id, "1")
    theirs = {**request.runtime(), "python": "3.9", "FTzard's code": "0123"}
    assert made.content  # made with the versions of here
    monkeypatch.setattr(request, "runtime", lambda: theirs)
    with pytest.raises(ComputeError, match=r"other versions .*python 3.9, expected 3.*FTzard's "
                                           r"code 0123, expected"):
        worker.run(storage, made.id, "1")
    assert not storage.exists(f"{made.folder}/result.json")


def test_a_refusal_is_left_where_the_head_looks_without_a_secret(
        storage, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MY_TOKEN", "planted-token")
    made = asked(storage, tmp_path, values={"x": 1}, env=("FTZARD_NOT_THERE",))
    monkeypatch.setattr(sys, "argv", ["worker", storage.url, made.id, "3"])
    assert worker.main() == 1
    refused = storage.read_json(f"{made.folder}/refused/3.json")
    assert refused["known"] and "FTZARD_NOT_THERE" in refused["sentence"]

    def broken(values, inputs, work):
        raise RuntimeError(f"with {os.environ['MY_TOKEN']}")

    monkeypatch.setattr(sys.modules["tests.compute.test_worker"], "double", broken)
    made = asked(storage, tmp_path)
    monkeypatch.setattr(sys, "argv", ["worker", storage.url, made.id, "1"])
    assert worker.main() == 1
    refused = storage.read_json(f"{made.folder}/refused/1.json")
    assert not refused["known"] and refused["sentence"] == "RuntimeError: with ***"
    assert "planted-token" not in "".join(capsys.readouterr())


def test_a_node_keeps_inputs_and_brings_an_altered_one_again(storage, tmp_path):
    made = asked(storage, tmp_path)
    digest = made.inputs["text"]
    worker.run(storage, made.id, "1")
    (tmp_path / "cache" / digest).write_text("other")
    paths = worker.fetch_inputs(storage, {"text": digest, "folder": {"a/b": digest}})
    assert paths["text"].read_text() == (paths["folder"] / "a/b").read_text() == "ab"
    with pytest.raises(ComputeError, match="lies outside of its folder"):
        worker.fetch_inputs(storage, {"folder": {"../b": digest}})


def test_another_attempt_goes_on_from_the_newest_whole_checkpoint(storage, tmp_path):
    made = asked(storage, tmp_path)
    with worker.Work(storage, made.folder, "1") as work:
        folder = work.checkpoints / "training"
        folder.mkdir()
        for step in (1, 2, 3):
            (folder / f"{step:09d}.pt").write_bytes(b"state %d" % step)
            write_json(folder / f"{step:09d}.json",
                       {"step": step, "sha256": sha256(folder / f"{step:09d}.pt")})
        work._store_checkpoints()
    kept = tmp_path / "storage" / made.folder / "checkpoints"
    assert sorted(p.name for p in kept.glob("*.pt")) == [
        "training--000000002.pt", "training--000000003.pt"]
    (kept / "training--000000003.pt").write_bytes(b"torn")
    with worker.Work(storage, made.folder, "2") as work:
        (state,) = (work.checkpoints / "training").glob("*.pt")
        assert state.name == "000000002.pt" and state.read_bytes() == b"state 2"


def test_shards_that_are_there_are_not_computed_again(storage, tmp_path):
    sent = []
    for text in ("one", "two", "three"):
        (tmp_path / "shard").write_text(text)
        sent.append(storage.put_input(tmp_path / "shard"))
    name = key("shards", {}, {})
    first = asked(storage, tmp_path, "shards", {"key": name, "shards": sent[:2]})
    worker.run(storage, first.id, "1")
    every = asked(storage, tmp_path, "shards", {"key": name, "shards": sent})
    worker.run(storage, every.id, "1")
    assert storage.read_json(f"{every.folder}/result.json")["values"] == {
        "computed": 1, "there": 2}
    record = storage.read_json(f"shards/{name}/{sent[2]}.json")
    assert record["values"] == {"from": "three"}
    assert key("shards", {"threads": 2}, {}) != name != key("shards", {}, {"base": "0"})


def test_status_says_what_a_living_run_waits_for(tmp_path):
    job = {"job": "ftzard-1", "state": "PENDING", "since": "2026-01-01T00:00:00+00:00"}
    waiting.note(tmp_path, [{**job, "pid": str(os.getpid())}])
    assert waiting.jobs(tmp_path) == [job]
    assert waiting.sentence(job) == (
        "ftzard-1 waits for the cluster's resources since 2026-01-01T00:00:00+00:00")
    (tmp_path / waiting.FILE).write_text(json.dumps([{**job, "pid": "4194305"}]))  # no process
    assert waiting.jobs(tmp_path) == []
    waiting.clear(tmp_path)
    assert waiting.jobs(tmp_path) == []
