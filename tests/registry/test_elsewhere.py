"""A workspace that one may only read, one with blanks in its path, a clone without MLflow's store.
"""

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import yaml

from ftzard.registry import lookup, model_records
from ftzard.tracking import registry
from ftzard.tracking.registry import Version
from ftzard.tracking.workspace_store import connect
from ftzard.workspace.workspace import Workspace
from tests.trained import NAME, move_store, own, trained  # noqa: F401

TOOLS = Path(sys.executable).parent


def contents(root: Path) -> dict[str, tuple]:
    return {str(path): (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
            for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def cloned(own) -> Workspace:  # noqa: F811
    """A clone whose records name a champion, and which has no MLflow store."""
    file = model_records.record_path(own, Version(NAME, 1, "", {}))
    record = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump(record | {"verdict": {"decision": "promote", "promoted": True}}))
    for path in ("mlflow.db", "mlartifacts"):
        place = own.root / ".ftzard" / path
        shutil.rmtree(place) if place.is_dir() else place.unlink()
    return own


class TestWithoutTheRegistry:
    def test_predict_asks_the_champion_that_the_records_name(self, cloned, ftzard):
        code, said = ftzard("predict", "a lovely day", "-w", cloned.root)
        assert code == 0, said
        assert f"champion: {NAME}@1, as the records in models/{NAME} say" in said
        assert "glad" in said or "sad" in said
        code, said = ftzard("predict", f"{NAME}@2", "a lovely day", "-w", cloned.root)
        assert code == 0 and f"{NAME}@2: {NAME}@2, as the records" in said

    def test_what_the_records_do_not_say_is_named_with_what_there_is(self, cloned, ftzard):
        code, said = ftzard("predict", "previous", "a day", "-w", cloned.root)
        assert code == 1 and "do not say which version is 'previous'" in said
        assert f"{NAME}@1, {NAME}@2" in said
        code, said = ftzard("predict", f"{NAME}@9", "a day", "-w", cloned.root)
        assert code == 1 and f"{NAME}@9 has no record" in said

    def test_a_registry_that_knows_the_model_is_asked(self, own, monkeypatch):  # noqa: F811
        version = lookup.files(own, "champion").version
        assert version == registry.champion(connect(own, own.config()), NAME)
        record = model_records.read_record(own, Version(NAME, 1, "", {}))
        assert record is not None


# Printed commands


@pytest.mark.parametrize("name", ["with a space", "it's mine", "a$b;c"])
def test_a_command_that_is_printed_names_its_folder_as_a_shell_takes_it(
        own, tmp_path, name, ftzard):  # noqa: F811
    root = tmp_path / name / "ws"
    shutil.copytree(own.root, root, symlinks=True)
    move_store(root / ".ftzard/mlflow.db", own.root, root)
    (root / "data" / "raw_incoming").mkdir(parents=True, exist_ok=True)
    (root / ".ftzard" / "restore.json").write_text('{"wanted": {}, "names": {}}')
    (root / "data" / "cleaned" / ".cleaned.parquet.1.part").parent.mkdir(exist_ok=True)
    (root / "data" / "cleaned" / ".cleaned.parquet.1.part").write_text("half")
    (root / ".env").write_text("HF_TOKEN=x\n")
    (root / ".env").chmod(0o644)
    code, said = ftzard("doctor", "-w", root)
    commands = [line.partition("→ ")[2] for line in said.splitlines() if "→ " in line]
    assert len(commands) >= 3, said
    named = 0
    for command in commands:
        words = shlex.split(command.replace("…", "x"))
        for word in words:
            if word.startswith(str(tmp_path / name)):
                assert Path(word.rstrip(".,;)")).exists() or ".broken" in word, command
                named += 1
        assert str(root) not in command or any(str(root) in word for word in words), command
    assert named >= 3, commands


# Workspaces that this user may only read


@pytest.fixture
def readable(trained):  # noqa: F811
    """A copy of the trained workspace where everybody may read and only its owner may write."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        root = Path(folder) / "ws"
        shutil.copytree(trained.root, root, symlinks=True)
        move_store(root / ".ftzard/mlflow.db", trained.root, root)
        for path in (Path(folder), root, *root.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() else 0o644)
        yield root


def as_guest(guest, root: Path, *arguments: str) -> subprocess.CompletedProcess:
    with tempfile.TemporaryDirectory(dir="/tmp") as home:
        os.chown(home, *guest)
        git = f"[safe]\n\tdirectory = {root}\n"
        (Path(home) / ".gitconfig").write_text(git)
        # The interpreter may lie in root's home: everything may be read, nothing written.
        may_read = "-all,+dac_read_search"
        return subprocess.run(
            ["setpriv", "--reuid", str(guest[0]), "--regid", str(guest[1]), "--clear-groups",
             f"--inh-caps={may_read}", f"--ambient-caps={may_read}", f"--bounding-set={may_read}",
             str(TOOLS / "ftzard"), *arguments, "-w", str(root)],
            cwd="/", text=True, capture_output=True, stdin=subprocess.DEVNULL,
            env={"PATH": os.environ["PATH"], "HOME": home, "OMP_WAIT_POLICY": "PASSIVE",
                 "PYTHONPATH": str(Path(__file__).parents[2]), "HF_HUB_OFFLINE": "1"})


READING = (["status"], ["status", "--json"], ["history"], ["models", "list"],
           ["models", "show", "champion"], ["doctor"], ["config"], ["lineage", f"{NAME}@1"],
           ["predict", "a lovely day"])
WRITING = (["run", "cleaning_job"], ["promote", "2", "--reason", "x"], ["restore", "HEAD"],
           ["push"], ["models", "tag", "champion", "a=b"], ["models", "delete", "2", "--yes"])


@pytest.mark.system
class TestReadOnly:
    """Run as root, with a real second user."""

    def test_who_may_only_read_gets_an_answer_and_who_writes_a_sentence(self, guest, readable):
        before = contents(readable)
        for command in READING:
            done = as_guest(guest, readable, *command)
            said = done.stdout + done.stderr
            assert "Traceback" not in said, (command, said[-3000:])
            assert "could not be looked at" not in said and "did not foresee" not in said, said
            assert done.returncode == 0 or command == ["doctor"], (command, said[-3000:])
        for command in WRITING:
            done = as_guest(guest, readable, *command)
            said = done.stdout + done.stderr
            assert done.returncode != 0 and "Traceback" not in said, (command, said[-3000:])
            assert "did not foresee" not in said and said.count("✗") == 1, (command, said[-3000:])
        assert contents(readable) == before

    def test_a_workspace_that_has_no_record_says_so(self, guest, readable):
        (readable / ".ftzard" / "mlflow.db").unlink()
        done = as_guest(guest, readable, "status")
        assert done.returncode == 1 and "has no record of any run" in done.stderr
