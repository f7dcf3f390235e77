"""The kernels of a run, as the engine takes them from the process that forks them."""

import os
import shutil
import signal
import time
from pathlib import Path

import psutil
import pytest
from jupyter_core.utils import run_sync

from ftzard.orchestration import kernel_engine, launch
from ftzard.orchestration.kernel_server import Server

pytestmark = pytest.mark.slow


@pytest.fixture
def session(workspace):
    with kernel_engine.session(workspace, None, None):
        yield kernel_engine._session


def test_kernels_are_spoken_to_on_no_port_that_somebody_else_could_take(session):
    """Ports are chosen before a kernel opens them; in between, any program may have opened one."""
    managers = [session.take(), session.take()]
    for manager in managers:
        client = manager.client()
        client.start_channels()
        run_sync(client.wait_for_ready)(timeout=120)
        said = run_sync(client.execute_interactive)(
            "import gc\nassert gc.isenabled()", timeout=60, store_history=False)
        assert said["content"]["status"] == "ok"
        client.stop_channels()
        told = manager.get_connection_info()
        ways = {told[name] for name in told if name.endswith("_port")}
        process = psutil.Process(manager.provisioner.pid)  # its debugger has a port from the system
        listening = {c.laddr.port for c in process.net_connections("tcp")
                     if c.status == psutil.CONN_LISTEN}
        assert len(ways) == 5 and not ways & listening
        assert all(Path(f"{told['ip']}-{way}").is_socket() for way in ways)
    folder = session.sockets
    for manager in managers:
        run_sync(manager.shutdown_kernel)(now=True)
    session.close()
    assert not folder.exists()


def test_a_kernel_that_cannot_begin_ends_at_once_and_is_not_waited_for(session, monkeypatch):
    """A kernel whose sockets cannot be opened once hung, and its step waited for two minutes."""
    real = session.server.fork

    def unopenable(*asked):
        shutil.rmtree(session.sockets)
        return real(*asked)

    monkeypatch.setattr(session.server, "fork", unopenable)
    manager = session.take()
    client = manager.client()
    client.start_channels()
    with pytest.raises(RuntimeError, match="died before replying"):
        run_sync(client.wait_for_ready)(timeout=120)
    client.stop_channels()


@pytest.mark.parametrize("steps, ahead", [
    (["preprocessing"], False), (["preprocessing", "tuning"], True)])
def test_what_models_need_is_imported_ahead_only_for_steps_that_will_come(
        workspace, monkeypatch, steps, ahead):
    """For the last step it would take the processor from the step itself."""
    monkeypatch.setenv("OMP_DISPLAY_ENV", "FALSE")  # no fork of the tests': those have torch
    monkeypatch.setattr(launch, "_server", Server(workspace, steps))
    with kernel_engine.session(workspace, None, None):
        kernel_engine._session.step = "preprocessing"
        manager = kernel_engine._session.take()
        client = manager.client()
        client.start_channels()
        run_sync(client.wait_for_ready)(timeout=120)
        run_sync(client.execute_interactive)("import peft", timeout=120, store_history=False)
        kernel = psutil.Process(manager.provisioner.pid)
        assert has_torch(kernel)
        deadline = time.monotonic() + 60 * ahead
        while time.monotonic() < deadline and not has_torch(kernel.parent()):
            time.sleep(0.1)
        assert has_torch(kernel.parent()) == ahead
        client.stop_channels()


def test_an_errand_is_done_by_a_process_that_has_imported_what_it_needs(session, tmp_path, capfd):
    """A run records in MLflow what only it knows, without importing MLflow itself."""
    server, made = session.server, tmp_path / "made"
    assert server.call("os:mkdir", {"path": str(made)}) == (True, None) and made.is_dir()
    assert server.call("os:mkdir", {"path": str(made)}) == (False, None)  # it is there already
    assert server.call("os:listdir", {"path": str(tmp_path)}) == (True, os.listdir(tmp_path))
    assert capfd.readouterr().err == ""  # whoever asked will say it when it fails there, too
    os.killpg(server.process.pid, signal.SIGKILL)
    server.process.wait()
    assert server.call("os:rmdir", {"path": str(made)}) == (False, None) and made.is_dir()


def test_a_kernel_with_a_model_has_a_copy_of_its_beginning_for_one_piece_of_work(
        workspace, monkeypatch, tmp_path, capfd):
    """A saved adapter is opened in it, by a process that has never seen the model in memory."""
    monkeypatch.setattr(launch, "_server", Server(workspace, ["choosing"]))
    with kernel_engine.session(workspace, None, None):
        kernel_engine._session.step = "choosing"
        manager = kernel_engine._session.take()
        client = manager.client()
        client.start_channels()
        run_sync(client.wait_for_ready)(timeout=120)
        (copy,) = psutil.Process(manager.provisioner.pid).children()
        said = run_sync(client.execute_interactive)(f"""
import os, psutil, string
from pathlib import Path
from ftzard.core import forked_worker
from ftzard.orchestration.kernel_server import call_function
string.capwords = "changed in the kernel"
ways = [("string:capwords", dict(s="a word")), ("os:mkdir", dict(path="{tmp_path}")),
        ("subprocess:run", dict(args=["sleep", "60"]))]
found = []
for function, arguments in ways:
    place = Path("{tmp_path}", f"{{len(found)}}.json")
    done = forked_worker.call(function, arguments, place, timeout=60 if len(found) < 2 else 0.2)
    found.append((done, place.read_text() if place.exists() else None))
    assert not forked_worker.call("os:listdir", dict(path="/"), place, timeout=60), "one call"
    forked_worker.prepare(call_function)
assert [done for done, _ in found] == [True, False, False], found
assert found[0][1].strip() == '"A Word"', found
for killed in psutil.Process().children():
    killed.kill()
assert not forked_worker.call("os:listdir", dict(path="/"), place, timeout=60), "it was killed"
""", timeout=120, store_history=False)
        assert said["content"]["status"] == "ok", said["content"]
        assert not copy.is_running()
        client.stop_channels()
    assert "Error" not in capfd.readouterr().err


def has_torch(process: psutil.Process) -> bool:
    return any("libtorch" in part.path for part in process.memory_maps())
