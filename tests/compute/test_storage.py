"""What lies between this machine and the nodes: compared with its hash before it is used."""

import pytest

from ftzard.compute.storage import Storage
from ftzard.core.artifacts import sha256
from ftzard.errors import ComputeError


@pytest.fixture
def storage(tmp_path):
    return Storage(f"file://{tmp_path}/storage")


def test_an_input_comes_back_as_it_was_sent_and_is_sent_once(storage, tmp_path):
    file = tmp_path / "rows"
    file.write_bytes(b"some rows")
    digest = storage.put_input(file)
    stored = tmp_path / "storage/inputs" / digest
    before = stored.stat().st_mtime_ns
    assert storage.put_input(file) == digest == sha256(file)
    assert stored.stat().st_mtime_ns == before
    got = storage.fetch(f"inputs/{digest}", tmp_path / "there/rows", digest)
    assert got.read_bytes() == b"some rows"


def test_an_altered_input_is_refused_by_its_name_and_leaves_nothing(storage, tmp_path):
    file = tmp_path / "rows"
    file.write_bytes(b"some rows")
    digest = storage.put_input(file)
    (tmp_path / "storage/inputs" / digest).write_bytes(b"SOME rows")
    with pytest.raises(ComputeError, match=rf"inputs/{digest} has sha256 .*Something changed it"):
        storage.fetch(f"inputs/{digest}", tmp_path / "there/rows", digest)
    assert list((tmp_path / "there").iterdir()) == []
    with pytest.raises(ComputeError, match="does not exist"):
        storage.fetch("inputs/missing", tmp_path / "there/rows", digest)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"sha256": "0", "value": "{}"}'])
def test_an_altered_result_is_refused(storage, tmp_path, content):
    storage.write_json("requests/a/result.json", {"loss": 0.1 + 0.2})
    assert storage.read_json("requests/a/result.json") == {"loss": 0.1 + 0.2}
    (tmp_path / "storage/requests/a/result.json").write_bytes(content)
    with pytest.raises(ComputeError, match="requests/a/result.json is not what was written"):
        storage.read_json("requests/a/result.json")
    assert storage.read_json("requests/b/result.json") is None


def test_a_storage_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(ComputeError, match=r"the storage file://.*/file/x could not be written"):
        Storage(f"file://{tmp_path}/file/x").require_writable()
    with pytest.raises(ComputeError, match="could not be opened|needs a package"):
        Storage("nowhere://bucket/x").require_writable()
