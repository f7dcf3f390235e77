"""A full disk: refused before a step begins, and in the middle nothing that was whole is torn."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from ftzard import doctor
from ftzard.config.compose import compose
from ftzard.config.pipeline import BY_NAME
from ftzard.core.archive import whole_folder
from ftzard.core.artifacts import ArtifactRef, dvc_hash, sha256, write_atomically
from ftzard.data import storage
from ftzard.doctor import leftovers
from ftzard.errors import DataError, TrackingError, VersioningError, WorkspaceError
from ftzard.orchestration.create_workspace import create
from ftzard.tracking import runs
from ftzard.versioning.commit import version
from ftzard.workspace import disk
from ftzard.workspace.workspace import Workspace

pytestmark = pytest.mark.slow

# Run in a process of its own, whose files may not grow beyond 64 kB: a disk that is full for it.
LIMITED = """
import importlib.util, json, resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
spec = importlib.util.spec_from_file_location("disk_faults", sys.argv[3])
faults = importlib.util.module_from_spec(spec)
spec.loader.exec_module(faults)
from ftzard.errors import FtzardError
resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
said = {}
for name, write in faults.WRITES.items():
    try:
        write(Path(sys.argv[1]))
    except FtzardError as error:
        said[name] = f"{type(error).__name__}: {error}"
print(json.dumps(said))
"""
BIG = 3_000_000


def artifact(root: Path) -> ArtifactRef:
    """Write the rows of an artifact anew, larger than before."""
    path = root / "data/cleaned/cleaned.parquet"
    rows = pd.DataFrame({"text": [os.urandom(30).hex() for _ in range(BIG // 60)]})
    storage.write_parquet(rows, path)
    return ArtifactRef("cleaned", "data/cleaned/cleaned.parquet", sha256(path), len(rows),
                       "parquet")


def versioned(root: Path) -> None:
    """Version a file that is complete in the workspace and has no room in DVC's cache."""
    path = root / "data/raw/big.csv"
    version(root, [ArtifactRef("delivery", "data/raw/big.csv", sha256(path), None, "csv")],
            message="Again", run_id="again", push=False)


def folder(root: Path) -> None:
    """Exchange a folder for a larger one."""
    with whole_folder(root / ".ftzard/cache/adapter") as part:
        write_atomically(part / "weights", lambda file: file.write_bytes(os.urandom(BIG)))


def tracked(root: Path) -> None:
    """Record more with a run than the store has room for."""
    tracking = store(root)
    run = runs.children(tracking)[0]
    for number in range(40):
        runs.reopen(tracking, run.info.run_id).tags(
            {f"long.{number}.{n}": os.urandom(2400).hex() for n in range(40)})


def logged(root: Path) -> None:
    """Store an artifact of a run."""
    tracking = store(root, "here")  # an experiment keeps the place where its artifacts go
    parent = runs.top_level(tracking, "DATA_CLEANING", root / ".ftzard/mlflow.lock")
    runs.start_child(tracking, parent, {}).text(os.urandom(BIG).hex(), "large.txt")


WRITES = {"artifact": artifact, "versioned": versioned, "folder": folder, "tracked": tracked,
          "logged": logged}


def store(root: Path, experiment: str = "tests") -> runs.Tracking:
    place = Workspace(root)
    return runs.connect(place.mlflow_uri, experiment, artifacts=place.mlflow_artifacts,
                        lock=place.state / "mlflow.lock")


def fill(root: Path) -> None:
    """Make a small workspace with one version of everything that is then written again."""
    path = root / "data/cleaned/cleaned.parquet"
    storage.write_parquet(pd.DataFrame({"text": ["first", "version"]}), path)
    (root / "data/raw/big.csv").write_text("text,label\nfirst,glad\n")
    handles = [ArtifactRef("cleaned", "data/cleaned/cleaned.parquet", sha256(path), 2, "parquet"),
               ArtifactRef("delivery", "data/raw/big.csv", sha256(root / "data/raw/big.csv"), 1,
                           "csv")]
    version(root, handles, message="First", run_id="first", push=False)
    with whole_folder(root / ".ftzard/cache/adapter") as part:
        (part / "weights").write_bytes(b"first")
    tracking = store(root)
    parent = runs.top_level(tracking, "DATA_CLEANING", root / ".ftzard/mlflow.lock")
    runs.start_child(tracking, parent, {"kept": "yes"})
    (root / "data/raw/big.csv").write_bytes(os.urandom(BIG))


def record(root: Path) -> dict[str, str]:
    """Return what must survive: files, `.dvc` files, the cache, HEAD and what MLflow knows."""
    kept = [root / "data/cleaned/cleaned.parquet", root / ".ftzard/cache/adapter/weights",
            *root.glob("data/**/*.dvc"), *sorted((root / ".dvc/cache/files").rglob("*"))]
    found = {str(p.relative_to(root)): sha256(p) for p in kept
             if p.is_file() and not p.name.endswith(".tmp")}  # DVC's, which nothing refers to
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, text=True, capture_output=True)
    tags = runs.children(store(root))[0].data.tags
    return found | {"HEAD": head.stdout, "mlflow": tags["kept"]}


@pytest.fixture(scope="module")
def begun(tmp_path_factory) -> Path:
    root = create(tmp_path_factory.mktemp("begun") / "ws", config={}, invent_identity=True).root
    fill(root)
    return root


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A file system of 16 MB of its own."""
    where = tmp_path / "small"
    where.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(where)],
                             capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("no file system may be mounted here; the size limit below stands in for it")
    yield where
    subprocess.run(["umount", "--lazy", str(where)], check=True)


def copied(begun: Path, where: Path) -> Path:
    subprocess.run(["cp", "-a", str(begun), str(where)], check=True)
    return where / begun.name


WORDS = {
    "artifact": (DataError, ["cleaned.parquet could not be written", "untouched", "run the step"]),
    "versioned": (VersioningError, ["The disk is full", "add data/raw/big.csv", "run the step"]),
    "folder": (DataError, ["could not be written"]),
    "tracked": (TrackingError, ["MLflow's store", "cannot be written", "free space there"]),
    "logged": (TrackingError, ["MLflow's store", "cannot be written", "free space there"]),
}


@pytest.mark.parametrize("what", WRITES)
def test_a_disk_that_is_full_in_the_middle_leaves_the_last_version_whole(begun, small_disk, what):
    root = copied(begun, small_disk)
    before = record(root)
    (small_disk / "rest").write_bytes(bytes(disk.free(small_disk) - 300_000))
    kind, words = WORDS[what]
    with pytest.raises(kind) as refused:
        WRITES[what](root)
    assert all(word in str(refused.value) for word in words), refused.value
    assert "No space left" in str(refused.value) or "full" in str(refused.value)
    (small_disk / "rest").unlink()
    assert record(root) == before
    assert not list(root.rglob(".*.part"))
    if what != "versioned":
        return
    WRITES[what](root)  # with space it goes on
    said: list[str] = []
    doctor.mend(Workspace(root), leftovers.half_written(Workspace(root)), said.append)
    assert not list((root / ".dvc/cache").rglob(".*.tmp")), said
    assert dvc_hash(root / "data/raw/big.csv") in (root / "data/raw/big.csv.dvc").read_text()


def test_files_that_may_not_grow_are_refused_like_a_full_disk(begun, tmp_path):
    root = copied(begun, tmp_path)
    before = record(root)
    done = subprocess.run([sys.executable, "-c", LIMITED, str(root),
                           str(Path(__file__).parents[2]), __file__], text=True,
                          capture_output=True)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    for what, (kind, words) in WORDS.items():
        assert said[what].startswith(f"{kind.__name__}: ") and words[0] in said[what], said[what]
    assert record(root) == before
    assert not list(root.rglob(".*.part"))


# Before a step begins


class TestRequireSpace:
    def refusal(self, workspace: Workspace, step: str, **said) -> str:
        with pytest.raises(WorkspaceError) as refused:
            disk.require_space(BY_NAME[step], [], workspace, compose(said))
        return str(refused.value)

    def test_less_than_the_least_is_refused_with_numbers_folder_and_remedy(self, workspace):
        least = disk.free(workspace.root) // disk.MB + 1000
        said = self.refusal(workspace, "cleaning", paths={"min_free_mb": least})
        assert said.startswith(f"cleaning needs about {disk.shown(least * disk.MB)} of free space")
        assert str(workspace.root) in said and "nothing was written" in said
        assert "paths.min_free_mb" in said and "dvc gc" in said

    def test_a_step_with_room_begins(self, workspace):
        config = compose({"paths": {"min_free_mb": 1}})
        disk.require_space(BY_NAME["cleaning"], [], workspace, config)

    def test_a_large_input_asks_for_three_times_its_size(self, workspace):
        big = workspace.root / "data/raw/huge.csv"
        with open(big, "wb") as stream:
            os.truncate(stream.fileno(), disk.free(workspace.root))  # sparse: it takes no space
        handle = ArtifactRef("raw", "data/raw/huge.csv", "", None, "csv")
        config = compose({"paths": {"min_free_mb": 0}})
        assert disk.needed(BY_NAME["cleaning"], [handle], workspace, config) == (
            3 * big.stat().st_size, 0)
        with pytest.raises(WorkspaceError, match="cleaning needs about"):
            disk.require_space(BY_NAME["cleaning"], [handle], workspace, config)

    def test_training_asks_for_an_adapter_per_trial_and_its_checkpoints(self, workspace):
        base, model = workspace.root / "models/bases", workspace.root / "models/FalconSentiAnalysis"
        for folder, name, size in ((base, "falcon_tiny.zip", 1000), (model, "1.zip", 100),
                                   (model, "2.zip", 70)):
            folder.mkdir(exist_ok=True)
            (folder / name).write_bytes(bytes(size))

        def asked(step, **training):
            config = compose({"tuning": {"trials": 5}, "training": training})
            return disk.needed(BY_NAME[step], [], workspace, config)

        assert asked("tuning") == (1000 + 100 * (5 + 9), 100 * 2 * 5 + 1000)
        assert asked("tuning", checkpoint_steps=0) == (1000 + 100 * 5, 100 * 2 * 5 + 1000)
        assert asked("retraining") == (1000 + 100 * (3 + 9), 1200)
        assert asked("choosing") == asked("evaluation") == (2400, 1200)

    def test_a_notebook_refuses_before_it_writes_anything(self, workspace, monkeypatch):
        from ftzard.steps.step_run import start_step

        (workspace.raw / "mine.csv").write_text("text,label\nhello,glad\n")
        monkeypatch.setenv("FTZARD_WORKSPACE", str(workspace.root))
        least = disk.free(workspace.root) // disk.MB + 1000
        before = sorted(workspace.root.rglob("*"))
        with pytest.raises(WorkspaceError, match="cleaning needs about"):
            start_step("cleaning", {"raw": "data/raw/mine.csv",
                               "overrides": [f"paths.min_free_mb={least}"]})
        new = [p for p in sorted(workspace.root.rglob("*")) if p not in before]
        assert [p for p in new if not p.is_relative_to(workspace.cache)] == [
            workspace.state / "run.lock"]
