"""A folder becomes one file and comes back; the same folder always becomes the same file."""

import os
import zipfile

import pytest

from ftzard.artifact import sha256
from ftzard.errors import ModelError
from ftzard.models.archive import pack, unpack, whole_folder


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
    (folder / "marker").write_text("still here")
    assert (unpack(archive, tmp_path / "cache") / "marker").is_file()
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [sha256(archive)]


def test_an_archive_that_leads_outside_is_refused_and_nothing_stays(tmp_path):
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("../outside.txt", "x")
    with pytest.raises(ModelError, match="outside"):
        unpack(tmp_path / "evil.zip", tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []
    assert not (tmp_path / "outside.txt").exists()


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
