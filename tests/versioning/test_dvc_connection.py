"""DVC is imported once for a run; whoever connects has a process of their own."""

import os
from pathlib import Path

import pytest

from ftzard.core.locks import alive
from ftzard.errors import VersioningError
from ftzard.versioning import dvc_connection
from ftzard.versioning.dvc import Dvc


@pytest.fixture
def warm(ws, monkeypatch):
    process = dvc_connection.WarmDvc(ws.root)
    monkeypatch.setenv(dvc_connection.SOCKET, process.path)
    yield process
    process.close()


def parent(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("PPid:")))


def test_a_version_is_made_by_a_fork_that_ends_with_it(ws, warm):
    with Dvc(ws.root) as dvc:
        assert dvc.cache() == ws.root / ".dvc" / "cache"
        pid = dvc._process._pid
        assert parent(pid) == warm._process.pid
    other = ws.clone()
    with Dvc(other.root) as dvc:
        assert dvc.cache() == other.root / ".dvc" / "cache"
    made = ws.version(ws.write("one"))
    assert made.pushed == "pushed" and len(ws.stored()) == 1
    assert not alive(pid)


def test_a_command_that_fails_says_why_and_the_next_one_works(ws, warm):
    with Dvc(ws.root) as dvc:
        with pytest.raises(VersioningError, match="nowhere"):
            dvc.add(["data/nowhere.parquet"])
        assert "core.remote" in dvc.run("config", "--list")


def test_without_the_warm_process_each_has_its_own(ws, warm):
    warm.close()
    assert not os.path.exists(warm.path)
    with Dvc(ws.root) as dvc:
        assert dvc.cache() == ws.root / ".dvc" / "cache"
        assert isinstance(dvc._process, dvc_connection.OwnProcess)
