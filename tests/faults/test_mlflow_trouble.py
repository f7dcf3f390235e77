"""MLflow's store locked, down, full of others: waited for, or one sentence; nothing is doubled."""

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ftzard.errors import TrackingError
from ftzard.tracking import registry, runs
from ftzard.tracking import store as stores

pytestmark = pytest.mark.slow

# Holds the store's write lock: says so, lets go when its input ends.
HOLD = """
import sqlite3, sys
with sqlite3.connect(sys.argv[1], isolation_level=None) as held:
    held.execute("BEGIN EXCLUSIVE")
    print("held", flush=True)
    sys.stdin.read()
    held.execute("ROLLBACK")
"""
OPEN = """
import sys
from pathlib import Path
from ftzard.tracking import runs
folder = Path(sys.argv[1])
sys.stdin.readline()
tracking = runs.connect(f"sqlite:///{folder / 'mlflow.db'}", "tests", artifacts=folder / "a",
                        lock=folder / sys.argv[2])
print(tracking.experiment_id)
"""


@pytest.fixture(scope="module")
def fresh(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("fresh")
    stores.make_sqlite(f"sqlite:///{folder / 'mlflow.db'}")
    return folder / "mlflow.db"


@pytest.fixture
def file(fresh, tmp_path) -> Path:
    return Path(shutil.copyfile(fresh, tmp_path / "mlflow.db"))


def connect(file: Path, more: str = "") -> runs.Tracking:
    return runs.connect(f"sqlite:///{file}{more}", "tests", artifacts=file.parent / "a",
                        lock=file.parent / "lock")


def locked(file: Path) -> subprocess.Popen:
    """Start a process that has locked the store; closing its input ends the lock."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(file)], text=True,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.readline() == "held\n"
    return process


@pytest.fixture
def short_lock(file) -> Iterator[Callable[[], None]]:
    """Lock the store now, and let go when whoever wants it has had time to wait."""
    begun = []

    def start_step() -> None:
        process = locked(file)
        letting_go = threading.Timer(0.5, process.stdin.close)
        letting_go.start()
        begun.append((process, letting_go))

    yield start_step
    for process, letting_go in begun:
        letting_go.join()
        assert process.wait() == 0
        process.stdout.close()


def experiments(file: Path) -> list[str]:
    with sqlite3.connect(file) as connection:
        return [name for name, in connection.execute("SELECT name FROM experiments")]


class TestLocked:
    def test_a_short_lock_at_the_start_is_waited_for(self, file, short_lock):
        """SQLite itself waits a tenth of a second here: the patience is ours."""
        short_lock()
        tracking = connect(file, "?timeout=0.1")
        assert tracking.client.get_experiment(tracking.experiment_id).name == "tests"

    def test_a_short_lock_in_the_middle_is_waited_for_and_nothing_is_doubled(self, file,
                                                                             short_lock):
        tracking = connect(file)
        parent = runs.top_level(tracking, "DATA_CLEANING", file.parent / "lock")
        short_lock()
        run = runs.start_child(tracking, parent, {"seed": 0})
        short_lock()
        run.metrics({"accuracy": 0.5}, step=1)
        assert [r.info.run_id for r in runs.children(tracking)] == [run.id]
        assert len(tracking.client.get_metric_history(run.id, "accuracy")) == 1

    def test_a_lock_that_stays_is_named_with_the_store_and_the_remedy(self, file, monkeypatch):
        monkeypatch.setattr(stores, "PATIENCE_S", 0.5)
        with locked(file) as holder:
            with pytest.raises(TrackingError) as refused:
                connect(file)
            holder.stdin.close()
        said = str(refused.value)
        assert said.startswith(f"MLflow's store sqlite:///{file} has been locked by another ")
        assert f"fuser {file}" in said and "run the step again" in said
        assert experiments(file) == ["Default"]

    def test_patience_lasts_longer_than_mlflow_s_own(self):
        assert stores.PATIENCE_S > 20


class TestFresh:
    def test_processes_at_once_make_one_store_and_one_experiment(self, tmp_path):
        """Also where each has a lock of its own, as two workspaces with one tracking.uri have."""
        started = [subprocess.Popen([sys.executable, "-c", OPEN, str(tmp_path), f"lock{n}"],
                                    text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                    stderr=subprocess.PIPE) for n in range(2)]
        for process in started:
            process.stdin.write("go\n")
            process.stdin.flush()
        ended = [process.communicate(timeout=120) for process in started]
        assert [process.returncode for process in started] == [0, 0], ended
        assert experiments(tmp_path / "mlflow.db").count("tests") == 1
        assert len({printed for printed, _ in ended}) == 1
        assert not list(tmp_path.glob(".*.part*"))

    def test_a_kill_while_the_tables_are_made_leaves_no_store(self, tmp_path):
        file = tmp_path / "mlflow.db"
        code = ("import os, signal, sqlalchemy, sys\n"
                "from ftzard.tracking import store\n"
                "made = []\n"
                "@sqlalchemy.event.listens_for(sqlalchemy.engine.Engine, 'after_cursor_execute')\n"
                "def seen(connection, cursor, statement, *rest):\n"
                "    made.append(statement)\n"
                "    if sum('CREATE TABLE' in s for s in made) == 12:\n"
                "        os.kill(os.getpid(), signal.SIGKILL)\n"
                f"store.make_sqlite('sqlite:///{file}')\n")
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert not file.exists()
        assert connect(file).experiment_id

    def test_a_store_that_cannot_be_made_is_said_at_once(self, tmp_path):
        (tmp_path / "mlflow.db").mkdir()
        with pytest.raises(TrackingError, match="cannot be opened.*may be written to"):
            connect(tmp_path / "mlflow.db")
        assert stores.database.MAX_RETRY_COUNT == 2  # MLflow's ten would take 100 s to say it

    def test_a_deleted_experiment_says_how_to_bring_it_back(self, file):
        tracking = connect(file)
        tracking.client.delete_experiment(tracking.experiment_id)
        with pytest.raises(TrackingError, match="'tests' was deleted.*mlflow experiments restore"):
            connect(file)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def serve(fresh, tmp_path_factory):
    """Start a real server on a copy of a store; returns (process, uri)."""
    started = []

    def start(folder: Path, port: int) -> tuple[subprocess.Popen, str]:
        file = folder / "mlflow.db"
        if not file.exists():
            shutil.copyfile(fresh, file)
        process = subprocess.Popen(
            [str(Path(sys.executable).parent / "mlflow"), "server", "--backend-store-uri",
             f"sqlite:///{file}", "--artifacts-destination", str(folder / "artifacts"),
             "--workers", "1", "--host", "127.0.0.1", "--port", str(port)],
            cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True)
        started.append(process)
        return process, f"http://127.0.0.1:{port}"

    yield start
    for process in started:
        end(process)


def end(process: subprocess.Popen) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


@pytest.mark.jobs
class TestServer:
    def test_one_that_is_down_at_the_start_is_named(self, tmp_path, monkeypatch):
        monkeypatch.setattr(stores, "PATIENCE_S", 0.5)
        uri = f"http://ada:secret-word@127.0.0.1:{free_port()}"
        with pytest.raises(TrackingError) as refused:
            runs.connect(uri, "tests", artifacts=tmp_path / "a", lock=tmp_path / "lock")
        said = str(refused.value)
        assert "127.0.0.1" in said and "does not answer" in said and "Start its server" in said
        assert "secret-word" not in said

    def test_one_that_comes_up_late_dies_and_comes_back(self, serve, tmp_path, capsys,
                                                        monkeypatch):
        """Its whole life: waited for at the start, gone in the middle, there again at the end."""
        port = free_port()
        server, uri = serve(tmp_path, port)  # answers some seconds from now
        tracking = runs.connect(uri, "tests", artifacts=tmp_path / "a", lock=tmp_path / "lock")
        parent = runs.top_level(tracking, "HP_TUNING", tmp_path / "lock")
        run = runs.start_child(tracking, parent, {"seed": 0})
        run.text("kept", "note.txt")
        end(server)

        monkeypatch.setattr(tracking.client, "patience_s", 0.5)
        calls = {
            "metrics": lambda: run.metrics({"accuracy": 0.5}),
            "a trial": lambda: run.trial(0, {"rank": 8}),
            "an artifact": lambda: run.text("more", "more.txt"),
            "the champion": lambda: registry.by_alias(tracking, "Model", "champion"),
            "a data set": lambda: run.dataset("cleaned", "ab" * 16, "data/c.parquet", 1, "input"),
        }
        for what, call in calls.items():
            with pytest.raises(TrackingError, match="does not answer|broke off") as refused:
                call()
            assert uri in str(refused.value), what

        with pytest.raises(ZeroDivisionError):  # the failure that comes first stays first
            try:
                1 / 0  # noqa: B018
            finally:
                with runs.closing("FAILED"):
                    run.end("FAILED", "it broke")
        assert "could not be closed as FAILED" in capsys.readouterr().err
        with pytest.raises(TrackingError), runs.closing("FINISHED"):
            run.end("FINISHED")

        serve(tmp_path, port)
        monkeypatch.setattr(tracking.client, "patience_s", stores.PATIENCE_S)
        tracking = runs.connect(uri, "tests", artifacts=tmp_path / "a", lock=tmp_path / "lock")
        assert [r.info.status for r in runs.children(tracking)] == ["RUNNING"]
        run.end("KILLED", "its server was away")
        assert experiments(tmp_path / "mlflow.db").count("tests") == 1
        assert runs.children(tracking, level=runs.TRIAL) == []


class TestRequests:
    def test_mlflow_does_not_try_for_minutes_unless_it_is_told_to(self):
        code = ("import os; import ftzard.tracking.store\n"
                "from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_MAX_RETRIES as r\n"
                "from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_TIMEOUT as t\n"
                "print(r.get(), t.get())")
        env = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_HTTP")}
        done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True,
                              check=True, env=env | {"MLFLOW_HTTP_REQUEST_TIMEOUT": "9"})
        assert done.stdout.strip() == "0 9"

    @pytest.mark.parametrize(("uri", "words"), [
        ("postgresql+nosuchdriver://ada:secret-word@db/x", "nosuchdriver"),
        ("./mlruns", "filesystem tracking backend"),
    ])
    def test_a_store_that_mlflow_does_not_take_is_a_sentence(self, tmp_path, uri, words,
                                                             monkeypatch):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(TrackingError) as refused:
            runs.connect(uri, "tests", artifacts=tmp_path / "a", lock=tmp_path / "lock")
        assert words in str(refused.value) and "secret-word" not in str(refused.value)

    @pytest.mark.parametrize(("said", "words"), [
        ("(sqlite3.OperationalError) database or disk is full", "Its disk is full"),
        ("[Errno 28] No space left on device", "Its disk is full"),
        ("(sqlite3.OperationalError) attempt to write a readonly database", "may be written to"),
        ("(sqlite3.DatabaseError) database disk image is malformed", "damaged"),
        ("Detected out-of-date database schema (found version a, but expected b)",
         "another version of MLflow"),
        ("API request failed with error code 401 != 200. Response body: ''",
         "MLFLOW_TRACKING_USERNAME"),
        ("something nobody has foreseen", "refused 'log_batch'"),
    ])
    def test_each_trouble_has_its_remedy(self, said, words):
        error = RuntimeError(said)
        shown = stores.sentence(stores.kind(error), error, "http://u:pw@host:5000", "log_batch", 3)
        assert words in shown and "http://***@host:5000" in shown and "pw" not in shown


@pytest.mark.jobs
def test_a_failing_cell_says_its_own_error_when_the_store_is_gone_too(workspace):
    """What a person sees is the cell's failure; that its run stays open is a line below it."""
    (workspace.raw / "mine.csv").write_text("text,label\nhello,glad\n")
    notebook = """
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.run_cell("raw, overrides = 'data/raw/mine.csv', ['paths.min_free_mb=1']")
shell.run_cell("from ftzard.steps.step_run import start_step")
shell.run_cell("run = start_step('cleaning', globals())")
shell.run_cell("open(run.workspace.state / 'mlflow.db', 'w').write('no database' * 4096); 1 / 0")
"""
    done = subprocess.run([sys.executable, "-c", notebook], cwd=workspace.notebooks, text=True,
                          capture_output=True)
    said = done.stdout + done.stderr
    assert "ZeroDivisionError" in said and "division by zero" in said
    assert "could not be closed as FAILED" in said and "cannot be opened" in said
    assert "Error in callback" not in said and "sqlalchemy" not in said, said
