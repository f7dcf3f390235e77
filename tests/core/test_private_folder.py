"""What is trusted in a folder that is shared: nothing that somebody else could have put there."""

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from ftzard.core import private_folder
from ftzard.core.archive import pack, unpack


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """A home and a folder for temporary files of the test's own."""
    for name in ("home", "tmp"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    return tmp_path


def is_private(folder: Path) -> bool:
    told = folder.lstat()
    return stat.S_ISDIR(told.st_mode) and told.st_mode & 0o077 == 0 and (
        told.st_uid == os.geteuid())


def test_a_folder_of_ours_is_used_and_closed_to_others(home):
    (home / "cache").mkdir(mode=0o777)
    (home / "cache").chmod(0o777)
    assert private_folder.usable(home / "cache") == home / "cache"
    assert private_folder.usable(home / "new" / "cache") == home / "new" / "cache"
    assert is_private(home / "cache") and is_private(home / "new" / "cache")


def test_a_link_is_not_followed(home):
    (home / "elsewhere").mkdir()
    (home / "cache").symlink_to(home / "elsewhere")
    used = private_folder.usable(home / "cache")
    assert used == home / "home" / ".cache" / "ftzard" / "cache" and is_private(used)
    assert (home / "elsewhere").stat().st_mode & 0o777 != 0o700


def test_without_a_home_that_can_be_written_to_the_cache_is_among_temporary_files(home,
                                                                                 monkeypatch):
    (home / "file").write_text("")
    monkeypatch.setenv("HOME", str(home / "file"))  # no folder can be made below it
    used = private_folder.user_cache("served")
    assert used == home / "tmp" / f"ftzard-{os.geteuid()}" / "served" and is_private(used)
    used.parent.rename(home / "tmp" / "away")
    used.parent.symlink_to(home / "tmp" / "away")  # as somebody else may have done before
    other = private_folder.user_cache("served")
    assert other != used and is_private(other) and other.is_relative_to(home / "tmp")
    assert private_folder.user_cache("served") == other  # one for as long as the process lives


@pytest.fixture
def shared():
    """A folder that everybody may write to, as the one for temporary files."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o1777)
        yield Path(folder)


def as_guest(guest, code: str, shared: Path, **environment: str) -> subprocess.CompletedProcess:
    # The interpreter of these tests may lie where nobody else can go.
    python = shutil.which("python3", path="/usr/local/bin:/usr/bin") or sys.executable
    return subprocess.run(
        [python, "-c", code], user=guest[0], group=guest[1], extra_groups=[], cwd=shared,
        text=True, capture_output=True,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[2]),
             "HOME": "/nonexistent", "TMPDIR": str(shared), **environment})


@pytest.mark.system
class TestTwoUsers:
    """Run as root, with a real second user."""

    def test_each_has_a_cache_that_the_other_cannot_read(self, guest, shared, home, monkeypatch):
        monkeypatch.setattr(tempfile, "tempdir", str(shared))
        monkeypatch.setenv("HOME", "/dev/null")
        mine = private_folder.user_cache("served")
        (mine / "secret").write_text("mine")
        done = as_guest(guest, "from ftzard.core import private_folder\n"
                               "theirs = private_folder.user_cache('served')\n"
                               "(theirs / 'x').write_text('theirs')\nprint(theirs)\n"
                               f"open({str(mine / 'secret')!r})", shared)
        theirs = Path(done.stdout.strip())
        assert theirs.parent.name == f"ftzard-{guest[0]}" and (theirs / "x").is_file()
        assert done.stderr.splitlines()[-1].startswith("PermissionError")

    def test_what_somebody_put_there_is_neither_used_nor_in_the_way(self, guest, shared,
                                                                    tmp_path, home, monkeypatch):
        """The name of our cache, taken by somebody else, with a model in it that answers wrongly.
        """
        (tmp_path / "adapter").mkdir()
        (tmp_path / "adapter" / "ftzard.json").write_text('{"labels": ["negative", "positive"]}')
        archive = pack(tmp_path / "adapter", shared / "adapter.zip")
        archive.chmod(0o644)
        for place in (shared / f"ftzard-{os.geteuid()}" / "served", shared / "cache"):
            done = as_guest(guest, f"""
from pathlib import Path
from ftzard.core.artifacts import sha256
folder = Path({str(place)!r}) / sha256(Path({str(archive)!r}))
folder.mkdir(parents=True)
(folder / "ftzard.json").write_text('{{"labels": ["positive", "negative"]}}')
Path({str(place)!r}).chmod(0o777)
""", shared)
            assert done.returncode == 0, done.stderr
        monkeypatch.setattr(tempfile, "tempdir", str(shared))
        monkeypatch.setenv("HOME", "/dev/null")
        for cache in (private_folder.user_cache("served"), shared / "cache"):
            folder = unpack(archive, cache)
            assert folder.stat().st_uid == os.geteuid() and is_private(folder.parent)
            assert '["negative", "positive"]' in (folder / "ftzard.json").read_text()
