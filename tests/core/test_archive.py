"""A folder becomes one file and comes back; the same folder always becomes the same file."""

import os
import signal
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import pytest

from ftzard.core.archive import _compared, pack, read_entry, unpack, whole_folder
from ftzard.core.artifacts import sha256
from ftzard.errors import ModelError


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    (folder / "inner").mkdir(parents=True)
    (folder / "b.txt").write_text("b")
    (folder / "a.txt").write_text("a")
    (folder / "inner" / "c.bin").write_bytes(bytes(range(256)))
    return folder


def test_what_is_packed_comes_back(tmp_path, source):
    folder = unpack(pack(source, tmp_path / "x.zip"), tmp_path / "cache")
    files = [path for path in source.rglob("*") if path.is_file()]
    assert len(files) == 3
    for file in files:
        assert (folder / file.relative_to(source)).read_bytes() == file.read_bytes()


def test_dates_and_modes_of_the_files_do_not_matter(tmp_path, source):
    first = sha256(pack(source, tmp_path / "x.zip"))
    os.utime(source / "a.txt", (1, 1))
    (source / "b.txt").chmod(0o600)
    assert sha256(pack(source, tmp_path / "y.zip")) == first


def test_unpacking_twice_reuses_the_folder_and_leaves_no_rest(tmp_path, source):
    archive = pack(source, tmp_path / "x.zip")
    folder = unpack(archive, tmp_path / "cache")
    node = folder.stat().st_ino
    assert unpack(archive, tmp_path / "cache").stat().st_ino == node
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [sha256(archive)]


def test_an_archive_that_leads_outside_is_refused_and_nothing_stays(tmp_path):
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("../outside.txt", "x")
    with pytest.raises(ModelError, match="outside"):
        unpack(tmp_path / "evil.zip", tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []
    assert not (tmp_path / "outside.txt").exists()


def emptied(folder: Path) -> None:
    for file in folder.rglob("*"):
        if file.is_file():
            file.unlink()


def taken_away(folder: Path) -> None:
    (folder / "a.txt").unlink()


def changed(folder: Path) -> None:
    """Other bytes of the same length, with the date of before: labels swapped, say."""
    told = (folder / "a.txt").stat()
    (folder / "a.txt").write_text("z")
    os.utime(folder / "a.txt", ns=(told.st_atime_ns, told.st_mtime_ns))


def cut_short(folder: Path) -> None:
    (folder / "inner" / "c.bin").write_bytes(b"")


def added(folder: Path) -> None:
    (folder / "inner" / "adapter_model.bin").write_text("of somebody else")


def linked(folder: Path) -> None:
    (folder / "a.txt").rename(folder.parent / "elsewhere.txt")
    (folder / "a.txt").symlink_to(folder.parent / "elsewhere.txt")


def a_link_itself(folder: Path) -> None:
    folder.rename(folder.parent / "elsewhere")
    folder.symlink_to(folder.parent / "elsewhere")


@pytest.mark.parametrize("damage", [emptied, taken_away, changed, cut_short, added, linked,
                                    a_link_itself])
def test_what_the_cache_holds_is_the_archive_s_or_made_again(tmp_path, source, damage):
    """As a cleaner of temporary files, a full disk or somebody else may leave it."""
    archive = pack(source, tmp_path / "x.zip")
    damage(unpack(archive, tmp_path / "cache"))
    _compared.clear()  # as a process that begins
    for _ in range(2):
        folder = unpack(archive, tmp_path / "cache")
        assert folder.is_dir() and not folder.is_symlink()
        assert {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*")
                if p.is_file()} == {"a.txt": b"a", "b.txt": b"b",
                                    "inner/c.bin": bytes(range(256))}
        assert not any(p.is_symlink() for p in folder.rglob("*"))


def test_damage_is_seen_by_the_process_that_has_compared_before(tmp_path, source):
    archive = pack(source, tmp_path / "x.zip")
    folder = unpack(archive, tmp_path / "cache")
    unpack(archive, tmp_path / "cache")
    (folder / "a.txt").write_text("another")
    assert (unpack(archive, tmp_path / "cache") / "a.txt").read_text() == "a"


def test_the_cache_is_its_user_s_alone(tmp_path, source):
    before = os.umask(0)
    try:
        folder = unpack(pack(source, tmp_path / "x.zip"), tmp_path / "cache")
    finally:
        os.umask(before)
    assert folder.parent == tmp_path / "cache"
    assert (tmp_path / "cache").stat().st_mode & 0o777 == 0o700


def entry(name: str, mode: int = 0o100644) -> zipfile.ZipInfo:
    made = zipfile.ZipInfo(name)
    made.external_attr = mode << 16
    return made


@pytest.mark.parametrize(("entries", "said"), [
    ([(entry("/etc/cron.d/x"), b"x")], "'/etc/cron.d/x', which leads outside"),
    ([(entry("a/../../x"), b"x")], "leads outside"),
    ([(entry("..\\x"), b"x")], "leads outside"),
    ([(entry("a.txt", 0o120777), b"/etc/passwd")], "'a.txt', which is a link"),
    ([(entry("a.txt", 0o010644), b"")], "is a link or no file"),
    ([(entry("a.txt"), b"1"), (entry("a.txt"), b"2")], "'a.txt' twice"),
    ([(entry(f"{n}.txt"), b"") for n in range(10_001)], "10,001 entries, expected at most 10,000"),
])
def test_an_archive_that_is_none_of_ours_is_refused_before_a_byte_is_written(tmp_path, entries,
                                                                            said):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the name that stands there twice
        with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
            for made, content in entries:
                archive.writestr(made, content)
    with pytest.raises(ModelError, match=said):
        unpack(tmp_path / "x.zip", tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_small_archive_that_would_fill_the_disk_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.safetensors", bytes(20_000_000))
    with pytest.raises(ModelError, match="unpack to 20,000,000; expected at most 100 times"):
        unpack(tmp_path / "x.zip", tmp_path / "cache")
    with pytest.raises(ModelError, match="'model.safetensors' has 20,000,000 bytes"):
        read_entry(tmp_path / "x.zip", "model.safetensors")
    assert read_entry(tmp_path / "x.zip", "ftzard.json") is None


@pytest.mark.parametrize("point", ["Path.rename", "Path.chmod"])
@pytest.mark.parametrize("nth", [1, 2])
def test_a_kill_while_a_folder_is_exchanged_is_made_good_by_the_next(tmp_path, source, point, nth):
    """At each step of the exchange; the folder is whole then, old or new, and nothing is left."""
    code = f"""
import os
from pathlib import Path
from ftzard.core.archive import whole_folder
made, calls = {point}, []
def killed(*given, **named):
    calls.append(1)
    if len(calls) == {nth}:
        os.kill(os.getpid(), 9)
    return made(*given, **named)
{point} = killed
with whole_folder({str(source)!r}) as part:
    (part / "new.txt").write_text("new")
    (part / "other.txt").write_text("new")
"""
    done = subprocess.run([sys.executable, "-c", code])
    assert done.returncode == -signal.SIGKILL
    with pytest.raises(RuntimeError), whole_folder(source):
        raise RuntimeError  # the next one does not even get through
    assert sorted(p.name for p in source.iterdir()) == ["a.txt", "b.txt", "inner"]
    assert [p.name for p in tmp_path.iterdir()] == ["source"]


def test_what_another_process_fills_is_let_be(tmp_path, source):
    with whole_folder(source) as mine:
        (mine / "mine.txt").write_text("mine")
        with whole_folder(source) as part:
            (part / "theirs.txt").write_text("theirs")
    assert [p.name for p in source.iterdir()] == ["mine.txt"]


def test_a_folder_is_replaced_whole_or_stays_as_it_was(tmp_path, source):
    with pytest.raises(RuntimeError), whole_folder(source) as part:
        (part / "half.txt").write_text("half")
        raise RuntimeError
    assert (source / "a.txt").read_text() == "a"
    with whole_folder(source) as part:
        (part / "new.txt").write_text("new")
    assert [path.name for path in source.iterdir()] == ["new.txt"]
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_missing_or_broken_file_is_named(tmp_path):
    with pytest.raises(ModelError, match="gone.zip does not exist"):
        unpack(tmp_path / "gone.zip", tmp_path / "cache")
    (tmp_path / "broken.zip").write_text("no zip")
    with pytest.raises(ModelError, match="broken.zip is not a readable zip"):
        unpack(tmp_path / "broken.zip", tmp_path / "cache")
    with pytest.raises(ModelError, match="no files to pack"):
        pack(tmp_path / "nothing", tmp_path / "x.zip")
