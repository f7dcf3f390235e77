"""Nothing that a command serves outlives it, however it ends: real processes, real signals."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from ftzard.core.locks import alive

COMMAND = """
import os, sys, time
from pathlib import Path
from ftzard.cli import start as cli
from ftzard.cli.servers import until_interrupted
from ftzard.orchestration import services

SERVER = '''
import os, signal, subprocess, sys, time
if "stubborn" in sys.argv:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"])
with open(sys.argv[1], "a") as stream:
    print(os.getpid(), child.pid, file=stream)
time.sleep(600)
'''

def serve():
    folder = Path(sys.argv[1])
    commands = {name: [sys.executable, "-S", "-c", SERVER, str(folder / "pids"), *sys.argv[2:]]
                for name in ("one", "two")}
    with services.running(commands, os.environ, folder, logs=None) as started:
        while len((folder / "pids").read_text().split() if (folder / "pids").exists() else []) < 4:
            time.sleep(0.02)
        print("serving", flush=True)
        until_interrupted(started)

cli.app = lambda **_: serve()
cli.require_text = lambda _: None
cli.main()
"""


@pytest.fixture
def serving(tmp_path):
    """A command with two servers that have a child each; yields it and the pids of those four."""
    started = []

    def start(*options: str):
        process = subprocess.Popen(
            [sys.executable, "-c", COMMAND, str(tmp_path), *options], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True)
        started.append(process)
        assert process.stdout.readline() == "serving\n"
        pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
        assert len(pids) == 4 and all(map(alive, pids))
        return process, pids

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()


def left_after(pids: list[int], seconds: float = 10.0) -> list[int]:
    """Return which of the processes are there once so much time has gone."""
    deadline = time.monotonic() + seconds
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return [pid for pid in pids if alive(pid)]


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_servers_and_what_they_started_end_with_the_command(serving, number):
    process, pids = serving()
    guardian, = others(process, pids)
    process.send_signal(number)
    assert left_after([*pids, guardian]) == []
    assert process.wait(timeout=10) == (-9 if number == signal.SIGKILL else 130)


def others(process, pids: list[int]) -> list[int]:
    """Return the pids of the command's children that are no servers."""
    return [child.pid for child in psutil.Process(process.pid).children() if child.pid not in pids]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_servers_that_ignore_every_request_are_killed_in_time(serving, number):
    process, pids = serving("stubborn")
    process.send_signal(number)
    assert left_after(pids) == []


def test_a_server_that_is_killed_takes_what_it_started_and_the_command_with_it(serving):
    process, pids = serving()
    os.kill(pids[0], signal.SIGKILL)
    assert left_after(pids) == []
    assert process.wait(timeout=10) == 1


def test_the_command_and_one_of_its_servers_killed_at_once_leave_nothing(serving):
    process, pids = serving()
    for pid in (process.pid, pids[0]):
        os.kill(pid, signal.SIGKILL)
    assert left_after(pids) == []


def test_without_its_guardian_a_command_still_ends_all_in_good_order(serving):
    process, pids = serving()
    os.kill(others(process, pids)[0], signal.SIGKILL)
    process.send_signal(signal.SIGTERM)
    assert left_after(pids) == []
    assert process.wait(timeout=10) == 130
