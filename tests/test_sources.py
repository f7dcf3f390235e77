"""Data by name: exact names, real git and DVC, a hub on this machine, mixes and their record."""

import json
import re
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pandas as pd
import pytest

from ftzard import sources
from ftzard.config.compose import digest, flat, to_record
from ftzard.core.artifacts import sha256
from ftzard.data import reading, storage
from ftzard.errors import (
    ConfigError,
    DataError,
    TrackingError,
    VersioningError,
    WorkspaceError,
)
from ftzard.orchestration.create_workspace import create
from ftzard.steps import inputs
from ftzard.tasks.classification import text_rows
from ftzard.tasks.instruction_tuning import instructions
from ftzard.versioning.commit import version
from ftzard.workspace.workspace import Workspace

COMMIT = "0123456789abcdef" * 2 + "01234567"


def lines(path: Path, rows: list[dict]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def answered(who: str, count: int, start: int = 0, **more) -> list[dict]:
    return [{"instruction": f"{who} asks for number {n} {who}", "input": "", "output": str(n),
             **more} for n in range(start, start + count)]


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A workspace of instruction tuning with two versions of cleaned rows and one delivery."""
    home = tmp_path_factory.mktemp("sources")
    workspace = create(home / "ws", dvc_remote=home / "store", invent_identity=True, config={
        "task": "instruction_tuning", "tuning": {"metric": "validation_loss"},
        "data": {"choice": "instructions", "messages_column": "messages"}})
    stored = reading.store_raw(lines(home / "given.jsonl", answered("ann", 12)),
                               workspace.root / "data")
    chat = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"},
            {"role": "user", "content": "Your name?"}, {"role": "assistant", "content": "Ann."}]
    rows = [*answered("ann", 5), {"instruction": "Sum up", "input": "a b c", "output": "abc"},
            {"messages": chat}]
    raw = instructions.read(lines(home / "first.jsonl", rows), instruction_column="instruction",
                            input_column="input", output_column="output",
                            messages_column="messages")
    cleaned, _ = instructions.clean(raw, batch="b1")
    for number, table in enumerate((cleaned, cleaned.head(3))):
        path = storage.write_parquet(table, workspace.root / "data/cleaned/cleaned.parquet")
        version(workspace.root, [workspace.handle("cleaned", path, len(table)),
                                 *([] if number else [workspace.handle("delivery", stored)])],
                message=f"cleaning: {number}", run_id=f"{number}" * 32, say=lambda text: None)
        if number == 0:
            subprocess.run(["git", "tag", "good"], cwd=workspace.root, check=True)
    return home


@pytest.fixture
def ws(made, tmp_path) -> Workspace:
    shutil.copytree(made, tmp_path / "home", symlinks=True)
    workspace = Workspace(tmp_path / "home/ws")
    lines(workspace.root / "many.jsonl", answered("bob", 40))
    lines(workspace.root / "few.jsonl", answered("eve", 12))
    return workspace


def config(ws: Workspace, **data):
    return ws.config({"data": data})


def rows_of(ws: Workspace, path: Path, told=None) -> pd.DataFrame:
    """Read and clean a delivery as step 1 does."""
    data = (told or ws.config()).data
    raw = instructions.read(
        path, instruction_column=data.text_column, input_column=data.input_column,
        output_column=data.label_column, messages_column=data.messages_column)
    cleaned, rejected = instructions.clean(raw, batch=reading.batch_of(path))
    assert rejected.empty
    return cleaned


class TestNames:
    @pytest.mark.parametrize(("name", "kind", "place", "exact", "part"), [
        ("data/x.jsonl", "file", "data/x.jsonl", None, None),
        ("dvc://cleaned@v1.2", "dvc", "cleaned", "v1.2", None),
        ("dvc://data/a b.parquet@abc1234", "dvc", "data/a b.parquet", "abc1234", None),
        (f"hf://own-er/na.me@{COMMIT}", "hf", "own-er/na.me", COMMIT, None),
        (f"hf://owner/name@{COMMIT}#test", "hf", "owner/name", COMMIT, "test"),
        ("comet://team/tweets:1.2.0", "comet", "team/tweets", "1.2.0", None)])
    def test_what_a_name_says(self, name, kind, place, exact, part):
        assert sources.parse(name) == sources.Source(name, kind, place, exact, part)

    @pytest.mark.parametrize(("name", "words"), [
        ("dvd://cleaned@abc", ["unknown scheme 'dvd'", "did you mean 'dvc'", "hf://OWNER"]),
        ("s3://bucket/x", ["unknown scheme 's3'", "comet, dvc, hf"]),
        ("dvc://cleaned", ["which version", "dvc://ARTIFACT@COMMIT"]),
        ("hf://owner/name", ["which version", "40 hex digits"]),
        ("hf://owner/name@main", ["which version", "40 hex digits"]),
        ("hf://name@" + COMMIT, ["which version"]),
        ("comet://team/tweets", ["which version", "1.2.0"]),
        ("comet://team/tweets:latest", ["which version"])])
    def test_a_name_that_says_too_little_is_refused(self, ws, name, words):
        for told in (config(ws, source=name), config(ws, mix={"few.jsonl": 1, name: 1})):
            with pytest.raises(ConfigError) as caught:
                sources.check(told)
            assert all(word in str(caught.value) for word in words), caught.value

    def test_comet_says_what_it_lacks_before_anything_is_asked(self, ws, monkeypatch):
        monkeypatch.delenv("COMET_API_KEY", raising=False)
        told = config(ws, source="comet://team/tweets:1.2.0")
        with pytest.raises(TrackingError, match="comet-ml|COMET_API_KEY"):
            sources.check(told)
        with pytest.raises(TrackingError, match="'comet://team/tweets:1.2.0' is a data set on"):
            inputs.given_or_latest("raw", None, ws, told)

    def test_good_names_are_not_looked_up(self, ws):
        sources.check(config(ws, mix={f"hf://a/b@{COMMIT}": 1, "dvc://x@y": 2}))
        sources.check(ws.config())


class TestFiles:
    def test_a_plain_file_stays_where_it_is_and_needs_nothing(self, ws):
        handle = inputs.given_or_latest("raw", None, ws, config(ws, source="few.jsonl"))
        assert handle.path == "few.jsonl" and not (ws.cache / "sources").exists()
        told, = sources.describe(ws, ws.root / handle.path)
        assert told == {"name": "few.jsonl", "kind": "file", "version": None,
                        "sha256": handle.sha256, "rows": None, "usable": None, "rejected": None,
                        "taken": None, "weight": None}
        assert sources.keep(ws, ws.root / handle.path) is None

    def test_a_folder_is_one_batch_in_order_of_names(self, ws):
        folder = ws.root / "drop"
        lines(folder / "b.jsonl", answered("b", 2))
        pd.DataFrame(answered("a", 2, messages="")).to_csv(folder.joinpath("a.csv"), index=False)
        folder.joinpath("README.md").write_text("notes")
        told = config(ws, source="drop")
        handle = inputs.given_or_latest("raw", None, ws, told)
        path = ws.root / handle.path
        assert path.name == f"{handle.sha256}.jsonl" and path.is_relative_to(ws.cache)
        cleaned = rows_of(ws, path)
        assert cleaned["source"].tolist() == ["a.csv"] * 2 + ["b.jsonl"] * 2
        assert cleaned["label"].tolist() == ["0", "1", "0", "1"]
        record, = sources.describe(ws, path)
        assert record["kind"] == "folder" and record["rows"] == record["taken"] == 4
        assert record["files"] == {name: sha256(folder / name) for name in ("a.csv", "b.jsonl")}
        assert record["left_out"] == ["README.md"]
        before = path.stat().st_mtime_ns
        assert inputs.given_or_latest("raw", "drop", ws, told) == handle
        assert path.stat().st_mtime_ns == before, "written once"
        lines(folder / "b.jsonl", answered("b", 3))
        assert inputs.given_or_latest("raw", None, ws, told).sha256 != handle.sha256

    def test_files_in_sub_folders_are_never_left_out_in_silence(self, ws):
        lines(ws.root / "drop" / "a.jsonl", answered("a", 2))
        lines(ws.root / "drop" / "2025" / "b.jsonl", answered("b", 2))
        with pytest.raises(DataError, match=r"sub-folders \(2025\)"):
            sources.materialise(ws, config(ws), "drop")

    def test_a_delivery_that_was_made_stays_what_it_was_when_it_is_stored(self, ws):
        lines(ws.root / "drop/b.jsonl", answered("b", 2))
        lines(ws.root / "drop/c.jsonl", answered("c", 2))
        told = config(ws, source="drop")
        made = ws.root / inputs.given_or_latest("raw", None, ws, told).path
        stored = reading.store_raw(made, ws.root / "data")
        assert stored.name == made.name
        assert sources.describe(ws, stored) == sources.describe(ws, made)
        kept = sources.keep(ws, stored)
        assert kept == ws.root / "data/sources" / f"{sha256(stored)}.json"
        shutil.rmtree(ws.cache)
        assert sources.describe(ws, stored)[0]["name"] == "drop", "by what is versioned"
        assert inputs.given_or_latest("raw", None, ws, told).path == ws.relative(stored)

    @pytest.mark.parametrize(("source", "words"), [
        ("nowhere.jsonl", "raw: nowhere.jsonl does not exist"),
        ("empty", "empty holds no file of a known type .*among its 1 files")])
    def test_what_is_not_there_is_named(self, ws, source, words):
        (ws.root / "empty").mkdir()
        (ws.root / "empty/notes.txt").write_text("x")
        with pytest.raises(DataError, match=words):
            inputs.given_or_latest("raw", source, ws, ws.config())

    def test_unanswered_rows_come_from_a_folder_too(self, ws):
        for who in "ab":
            lines(ws.root / f"new/{who}.jsonl", [
                {k: v for k, v in row.items() if k != "output"} for row in answered(who, 2)])
        told = config(ws, incoming="new")
        path = ws.root / inputs.given_or_latest("incoming", None, ws, told).path
        read = instructions.read(path, instruction_column="instruction", input_column="input",
                                 output_column=None)
        assert len(read) == 4 and "output" not in path.read_text()


class TestVersions:
    def bring(self, ws, name: str, **data) -> Path:
        told = config(ws, source=name, **data)
        return ws.root / inputs.given_or_latest("raw", None, ws, told).path

    def test_cleaned_rows_of_a_tag_become_raw_rows_again(self, ws):
        path = self.bring(ws, "dvc://cleaned@good")
        now = storage.read_parquet(ws.root / "data/cleaned/cleaned.parquet")
        assert len(now) == 3, "what stands in the workspace is left alone"
        cleaned = rows_of(ws, path)
        assert len(cleaned) == 7 and cleaned["label"].tolist()[-2:] == ["abc", "Ann."]
        assert json.loads(cleaned["messages"].iloc[5]) == [
            {"role": "user", "content": "Sum up", "input": "a b c"}]
        assert len(json.loads(cleaned["messages"].iloc[6])) == 3
        told, = sources.describe(ws, path)
        commit = subprocess.run(["git", "rev-parse", "good"], cwd=ws.root, text=True,
                                capture_output=True, check=True).stdout.strip()
        assert (told["version"], told["artifact"], told["rows"]) == (
            commit, "data/cleaned/cleaned.parquet", 7)
        for name in (f"dvc://cleaned@{commit[:10]}", f"dvc://cleaned@{'0' * 32}",
                     f"dvc://data/cleaned/cleaned.parquet@{commit}"):
            assert self.bring(ws, name) == path, "by commit, run and path"

    def test_a_delivery_comes_back_byte_for_byte(self, ws):
        stored, = ws.raw.glob("*.jsonl")
        handle = inputs.given_or_latest("raw", f"dvc://{ws.relative(stored)}@good", ws, ws.config())
        assert handle.path == ws.relative(stored) and handle.commit is not None
        stored.unlink()
        again = self.bring(ws, f"dvc://{ws.relative(stored)}@good")
        assert again.name == stored.name and sha256(again) == stored.name.split(".")[0]

    def test_the_bytes_come_from_the_remote_if_the_cache_lost_them(self, ws, made):
        before = self.bring(ws, "dvc://cleaned@good").name

        def lose() -> None:
            for path in (ws.cache, ws.root / ".dvc/cache"):
                shutil.rmtree(path)

        lose()
        assert self.bring(ws, "dvc://cleaned@good").name == before
        assert not (ws.root / "data/.ftzard-push").exists()
        lose()
        told = ws.root / ".dvc/config"
        told.write_text(told.read_text().replace(str(made / "store"), str(ws.root / "nowhere")))
        with pytest.raises(VersioningError, match="neither DVC's cache nor the DVC remote 'store'"):
            self.bring(ws, "dvc://cleaned@good")

    def test_damaged_bytes_are_told(self, ws):
        for path in (ws.root / ".dvc/cache/files").rglob("*"):
            if path.is_file():
                path.chmod(0o644)
                path.write_bytes(b"damaged")
        with pytest.raises(VersioningError, match="damaged data for data/cleaned/cleaned.parquet"):
            self.bring(ws, "dvc://cleaned@good")

    @pytest.mark.parametrize(("name", "error", "words"), [
        ("dvc://cleaned@main", VersioningError, "'main' names commit .* today, but may name"),
        ("dvc://cleaned@HEAD", VersioningError, "'HEAD' names commit"),
        ("dvc://cleaned@nosuch", VersioningError, "'nosuch' is no commit, tag or run"),
        ("dvc://cleand@good", WorkspaceError, "no artifact 'cleand'; did you mean 'cleaned'"),
        ("dvc://tokenized@good", WorkspaceError, "'tokenized' has no version there")])
    def test_what_is_no_version_is_refused(self, ws, name, error, words):
        with pytest.raises(error, match=words):
            self.bring(ws, name)

    @pytest.mark.parametrize(("data", "words"), [
        ({"messages_column": None}, "rows that need data.messages_column"),
        ({"input_column": None}, "rows that need data.input_column")])
    def test_rows_that_the_config_has_no_place_for_are_not_bent(self, ws, data, words):
        with pytest.raises(DataError, match=words):
            self.bring(ws, "dvc://cleaned@good", **data)

    def test_rows_of_another_task_are_refused(self, ws):
        (ws.root / "ftzard.yaml").write_text("{}")
        with pytest.raises(DataError, match="rows of another task than this workspace's, classif"):
            self.bring(ws, "dvc://cleaned@good")


class TestMix:
    weights = {"many.jsonl": 3.0, "few.jsonl": 1.0}

    def test_shares_sources_and_record(self, ws):
        lines(ws.root / "few.jsonl", [*answered("eve", 12), *answered("eve", 1),
                                      {"instruction": "", "input": "", "output": "x"},
                                      *answered("bob", 1)])
        told = config(ws, mix=self.weights)
        handle = inputs.given_or_latest("raw", None, ws, told)
        cleaned = rows_of(ws, ws.root / handle.path)
        assert cleaned["source"].value_counts().to_dict() == {"many.jsonl": 39, "few.jsonl": 13}
        assert cleaned["text"].is_unique
        few, many = sources.describe(ws, ws.root / handle.path)
        assert few["name"] == "few.jsonl" and few["sha256"] == sha256(ws.root / "few.jsonl")
        assert (few["rows"], few["usable"], few["taken"], few["weight"]) == (15, 13, 13, 1.0)
        assert few["rejected"] == {"duplicate": 1, "empty instruction": 1}
        assert (many["rows"], many["usable"], many["taken"], many["weight"]) == (40, 39, 39, 3.0)
        assert many["rejected"] == {"duplicate of an earlier batch": 1}, "two sources share a row"
        kept = json.loads(sources.keep(ws, ws.root / handle.path).read_text())
        assert kept["seed"] == told.seed and kept["sources"] == [few, many]

    def test_it_is_a_matter_of_seed_weights_and_content_alone(self, ws):
        def made(**data) -> str:
            seed = data.pop("seed", 0)
            told = ws.config({"data": data, "seed": seed})
            return inputs.given_or_latest("raw", None, ws, told).sha256

        one = made(mix=self.weights)
        shutil.rmtree(ws.cache)
        assert made(mix=dict(reversed(self.weights.items()))) == one
        assert made(mix={"many.jsonl": 6, "few.jsonl": 2}) == one
        assert made(mix=self.weights, seed=1) != one
        assert made(mix={**self.weights, "few.jsonl": 0.5}) != one
        assert made(mix=self.weights, sample_rows=8, sample_stratified=False) != one

    def test_sample_rows_bounds_the_whole(self, ws):
        told = config(ws, mix=self.weights, sample_rows=8, sample_stratified=False)
        path = ws.root / inputs.given_or_latest("raw", None, ws, told).path
        cleaned = rows_of(ws, path)
        assert cleaned["source"].value_counts().to_dict() == {"many.jsonl": 6, "few.jsonl": 2}

    def test_chats_versions_folders_and_files_go_together(self, ws):
        chats = [{"messages": [{"role": "user", "content": f"Chat {n} please"},
                               {"role": "assistant", "content": "yes"}]} for n in range(10)]
        lines(ws.root / "chats.jsonl", chats)
        lines(ws.root / "two/a.jsonl", [{k: v for k, v in row.items() if k != "input"}
                                        for row in answered("tom", 5)])
        lines(ws.root / "two/b.jsonl", answered("ida", 5))
        told = config(ws, mix={"chats.jsonl": 1, "two": 1, "dvc://cleaned@good": 0.5})
        path = ws.root / inputs.given_or_latest("raw", None, ws, told).path
        cleaned = rows_of(ws, path)
        assert cleaned["source"].value_counts().to_dict() == {
            "chats.jsonl": 10, "two": 10, "dvc://cleaned@good": 5}
        kinds = {told["name"]: told["kind"] for told in sources.describe(ws, path)}
        assert kinds == {"chats.jsonl": "file", "two": "folder", "dvc://cleaned@good": "dvc"}

    @pytest.mark.parametrize(("rows", "words"), [
        ([{"instruction": "", "input": "", "output": "x"}],
         "data.mix: 'bad.jsonl': 1 of 1 rows cannot be used .*1 empty instruction"),
        (answered("bob", 5), "data.mix: '.*' has no usable row"),
        ([{"instruction": "a", "inputs": "", "output": "x"}], None),
        ([{"instructions": "a", "output": "x"}], "no column 'instruction'; did you mean")])
    def test_a_source_that_cannot_be_used_is_named(self, ws, rows, words):
        lines(ws.root / "bad.jsonl", rows)
        if len(rows) > 1:  # all of its rows stand in the other one too, whose name comes first
            shutil.copy(ws.root / "many.jsonl", ws.root / "all.jsonl")
        told = config(ws, mix={"all.jsonl" if len(rows) > 1 else "many.jsonl": 1, "bad.jsonl": 1})
        if words is None:  # another source has `input`, so that one may do without
            assert inputs.given_or_latest("raw", None, ws, told)
            return
        with pytest.raises(DataError, match=words):
            inputs.given_or_latest("raw", None, ws, told)

    def test_a_column_that_no_source_has_is_a_slip(self, ws):
        told = config(ws, mix=self.weights, input_column="inpput")
        with pytest.raises(DataError, match="no column 'inpput'; did you mean 'input'"):
            inputs.given_or_latest("raw", None, ws, told)

    def test_what_a_delivery_was_made_of_is_not_overwritten_by_another_name_of_it(self, ws):
        told = config(ws, mix={"many.jsonl": 1, "few.jsonl": 1})
        stored = reading.store_raw(sources.materialise(ws, told), ws.root / "data")
        kept = sources.keep(ws, stored)
        before = kept.read_text()
        again = config(ws, source=ws.relative(stored))
        sources.materialise(ws, again, str(stored.parent))
        assert sources.keep(ws, stored) == kept and kept.read_text() == before
        assert len(sources.describe(ws, stored)) == 2

    def test_a_source_without_groups_does_not_become_one_group(self, ws):
        lines(ws.root / "grouped.jsonl", answered("joe", 12, author="joe"))
        told = config(ws, mix={"dvc://cleaned@good": 1, "grouped.jsonl": 1}, group_column="author")
        made = sources.materialise(ws, told)
        found = [json.loads(line).get("author", "") for line in made.read_text().splitlines()]
        assert set(found) == {"", "joe"}

    def test_a_run_can_record_it_among_its_parameters(self, ws):
        told = config(ws, mix={f"hf://a/b@{COMMIT}#x": 1, "few.jsonl": 2})
        recorded = flat(to_record(told))
        assert json.loads(recorded["data.mix"]) == told.data.mix
        assert all(re.fullmatch(r"[\w.\- :/]+", name) for name in recorded)

    def test_a_negative_weight_never_comes_that_far(self, ws):
        with pytest.raises(ConfigError, match="data.mix"):
            config(ws, mix={"many.jsonl": -1})


def test_rows_of_classification_are_mixed_and_keep_their_source(workspace):
    for name, count in (("one", 30), ("two", 40)):
        pd.DataFrame({"tweet": [f"{name} text {n} {name} é" for n in range(count)],
                      "mood": [0, 4] * (count // 2), "source": "phone"}).to_csv(
            workspace.root / f"{name}.csv", index=False, encoding="latin-1")
    told = workspace.config({"data": {
        "mix": {"one.csv": 1, "two.csv": 0.5}, "text_column": "tweet", "label_column": "mood",
        "encoding": "latin-1", "labels": {"0": "sad", "4": "glad"}}})
    path = workspace.root / inputs.given_or_latest("raw", None, workspace, told).path
    raw = reading.read_raw(path, text_column="tweet", label_column="mood", encoding="latin-1")
    cleaned, rejected = text_rows.clean(raw, batch="b", labels=told.data.labels)
    assert rejected.empty and cleaned["text"].str.contains("é").all()
    assert cleaned["source"].value_counts().to_dict() == {"one.csv": 30, "two.csv": 15}
    alone = reading.read_raw(workspace.root / "one.csv", text_column="tweet", label_column="mood",
                             encoding="latin-1")
    assert "source" not in alone, "a column of the user's own is left alone"
    versioned = storage.write_parquet(cleaned, workspace.root / "data/cleaned/cleaned.parquet")
    version(workspace.root, [workspace.handle("cleaned", versioned, 45)], message="cleaning",
            run_id="1" * 32, say=lambda text: None)
    again = workspace.root / inputs.given_or_latest(
        "raw", f"dvc://cleaned@{'1' * 32}", workspace, workspace.config(
            {"data": {"text_column": "tweet", "label_column": "mood",
                      "labels": {"0": "sad", "4": "glad"}}})).path
    raw = reading.read_raw(again, text_column="tweet", label_column="mood")
    assert raw["label"].value_counts().to_dict() == {"0": 23, "4": 22} or set(raw["label"]) == {
        "0", "4"}, "labels are raw values again"
    assert len(digest(told)) == 16


# The hub


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub on this machine that has one data set at one commit; yields what it was asked for."""
    files = {
        "train.jsonl": "".join(f"{json.dumps(row)}\n" for row in answered("hub", 6)).encode(),
        "test.jsonl": "".join(f"{json.dumps(row)}\n" for row in answered("held", 2)).encode()}
    seen: list[str] = []

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self):
            path = self.path.partition("?")[0]
            seen.append(path)
            name = path.rsplit("/", 1)[-1]
            if path == f"/api/datasets/team/asked/tree/{COMMIT}":
                self.answer(json.dumps([
                    {"type": "file", "path": n, "size": len(c), "oid": "0" * 40}
                    for n, c in files.items()]).encode(), "application/json")
            elif path == f"/datasets/team/asked/resolve/{COMMIT}/{name}" and name in files:
                self.answer(files[name], "text/plain")
            else:
                self.send_response(404)
                self.send_header("X-Error-Code", "RevisionNotFound")
                self.send_header("Content-Length", "0")
                self.end_headers()

        do_HEAD = do_GET

        def answer(self, content: bytes, kind: str) -> None:
            self.send_response(200)
            for key, value in {"Content-Type": kind, "Content-Length": str(len(content)),
                               "ETag": f'"{len(content)}"', "X-Repo-Commit": COMMIT}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        def log_message(self, *given):
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
                        address + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    yield seen
    server.shutdown()
    server.server_close()


class TestHub:
    name = f"hf://team/asked@{COMMIT}"

    def bring(self, ws, name: str) -> Path:
        told = config(ws, source=name, messages_column=None)
        return ws.root / inputs.given_or_latest("raw", None, ws, told).path

    def test_a_split_of_exactly_that_commit_comes_once_and_then_without_a_network(
            self, ws, hub, monkeypatch):
        path = self.bring(ws, f"{self.name}#train")
        raw = instructions.read(path, instruction_column="instruction", output_column="output")
        assert raw["label"].tolist() == [str(n) for n in range(6)]
        told, = sources.describe(ws, path)
        assert (told["version"], told["split"], told["rows"]) == (COMMIT, "train", 6)
        assert list(told["files"]) == ["train.jsonl"] and told["left_out"] == ["test.jsonl"]
        assert hub, "it was asked"
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        assert self.bring(ws, f"{self.name}#train") == path
        with pytest.raises(DataError, match="the hub was not reached .*that commit is not in"):
            self.bring(ws, f"{self.name[:-1]}0#train")

    @pytest.mark.parametrize(("part", "words"), [
        ("", "has several splits; expected #SPLIT at its end, one of .*train"),
        ("#trian", "has no split 'trian'; expected #SPLIT")])
    def test_a_split_must_be_named_where_there_are_several(self, ws, hub, part, words):
        with pytest.raises(DataError, match=words):
            self.bring(ws, self.name + part)

    def test_a_commit_that_the_hub_does_not_have(self, ws, hub):
        with pytest.raises(DataError, match="cannot be had: .*Check owner, name and commit"):
            self.bring(ws, f"{self.name[:-1]}0")

    def test_chats_of_the_hub_stay_chats(self, ws, tmp_path):
        chat = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
        lines(tmp_path / "set/train.jsonl", [{"messages": chat}])
        source = sources.parse(self.name)
        from ftzard.sources.open import loaded

        opened = loaded(ws, source, tmp_path / "set")
        raw = instructions.read(opened.files[0], instruction_column="instruction",
                                output_column="output", messages_column="messages")
        assert json.loads(raw["messages"][0]) == chat
        (tmp_path / "set/train.jsonl").write_text("{")
        with pytest.raises(DataError, match="cannot be read as a data set"):
            loaded(ws, source, tmp_path / "set")

    def test_files_that_the_library_would_leave_out_are_refused(self, ws, tmp_path):
        """It reads the commonest format alone, and, where a name tells a split, such names."""
        from ftzard.sources.open import loaded

        source, folder = sources.parse(self.name), tmp_path / "set"
        lines(folder / "part1.jsonl", answered("one", 3))
        lines(folder / "more/part2.jsonl", answered("two", 4))
        (folder / "notes.txt").write_text("about")
        (folder / "README.md").write_text("# A set")
        opened = loaded(ws, source, folder)
        told = opened.record()
        assert told["files"] == {name: sha256(folder / name)
                                 for name in ("more/part2.jsonl", "part1.jsonl")}
        assert told["left_out"] == ["README.md", "notes.txt"]
        assert len(storage.read_parquet(opened.files[0])) == 7

        (folder / "more.csv").write_text("instruction,output\n" + "q,a\n" * 30)
        with pytest.raises(DataError, match=r"has 2 files .*part1.jsonl\) and 1 more .*"
                                            r"leaves out \(more.csv\).*folder of data.source"):
            loaded(ws, source, folder)
        # The card of a data set is its owner's word for what its rows are.
        (folder / "README.md").write_text(
            "---\nconfigs:\n- config_name: default\n  data_files: part1.jsonl\n---\n# A set\n")
        told = loaded(ws, source, folder).record()
        assert list(told["files"]) == ["part1.jsonl"]
        assert told["left_out"] == ["README.md", "more.csv", "more/part2.jsonl", "notes.txt"]
        elsewhere = lines(tmp_path / "elsewhere.jsonl", answered("three", 2))
        (folder / "README.md").write_text(
            f"---\nconfigs:\n- config_name: default\n  data_files: {elsewhere}\n---\n")
        with pytest.raises(DataError, match="reads .*elsewhere.jsonl, which is none of its own"):
            loaded(ws, source, folder)
        (folder / "README.md").unlink()
        (folder / "more.csv").rename(folder / "train.csv")
        with pytest.raises(DataError, match=r"leaves out \(more/part2.jsonl, part1.jsonl\)"):
            loaded(ws, source, folder)
