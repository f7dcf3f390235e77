"""`ftzard restore`: which files a commit or a run means, and what the command says."""

import re
import signal
import subprocess
import sys

import pandas as pd
import pytest

from ftzard import doctor
from ftzard.doctor import leftovers
from ftzard.errors import WorkspaceError
from ftzard.registry.restore import restore
from ftzard.steps.step_run import start_step
from ftzard.versioning import data_version, version
from ftzard.versioning.versions import in_force
from tests.rounds import MODEL, Rounds

pytestmark = pytest.mark.slow


@pytest.fixture
def mine(rounds, tmp_path) -> Rounds:
    """A copy of the two rounds, to change."""
    return rounds.copy(tmp_path)


def rows(rounds: Rounds, name: str) -> int:
    return len(pd.read_parquet(rounds.root / getattr(rounds.config.paths, name)))


def written(done: dict) -> list[str]:
    return sorted(file["artifact"] for file in done["files"])


def test_a_commit_means_all_that_stood_at_it(mine):
    done = restore(mine.workspace, mine.commits["tokens 1"])
    assert (rows(mine, "cleaned"), rows(mine, "tokenized")) == (3, 3)
    assert written(done) == ["cleaned", "tokenized"]
    assert data_version(mine.root, mine.config.paths.cleaned) == done["commit"]
    assert mine.git("show", "-s", "--format=%(trailers:key=FTzard-Run,valueonly)") == "restore"
    assert mine.git("show", "-s", "--format=%s") == (
        f"restore: cleaned of {mine.commits['clean 1'][:10]}, "
        f"tokenized of {mine.commits['tokens 1'][:10]}")
    assert (mine.root / f"models/{MODEL}/2.zip").read_text() == "adapter 2", "newer ones stay"
    assert mine.git("status", "--porcelain") == ""


def test_only_the_artifacts_that_are_named(mine):
    done = restore(mine.workspace, mine.commits["tokens 1"], ["cleaned"])
    assert written(done) == ["cleaned"]
    assert (rows(mine, "cleaned"), rows(mine, "tokenized")) == (3, 5)
    assert done["files"][0]["version"] == mine.commits["clean 1"] and done["files"][0]["rows"] == 3


def test_a_run_of_mlflow_means_what_stood_when_it_was_versioned(mine):
    restore(mine.workspace, mine.ids["tokens 1"])
    assert (rows(mine, "cleaned"), rows(mine, "tokenized")) == (3, 3)


def test_a_run_that_yields_nothing_means_what_it_took(mine):
    run = mine.run("tuning", "by hand", **{
        "data_version.tokenized": mine.commits["tokens 1"], "data_version.raw": "not versioned"})
    done = restore(mine.workspace, run.id)
    assert written(done) == ["tokenized"] and rows(mine, "tokenized") == 3
    nothing = mine.run("tuning", "nothing", **{"data_version.tokenized": "not versioned"})
    with pytest.raises(WorkspaceError, match="names no data version"):
        restore(mine.workspace, nothing.id)


def test_in_a_clone_a_run_is_found_by_the_commit_it_made(rounds, tmp_path):
    clone = rounds.clone(tmp_path)
    done = restore(clone.workspace, clone.ids["tokens 1"])
    assert rows(clone, "tokenized") == 3
    assert {"cleaned", "tokenized", "base", "delivery"} <= set(written(done))


def test_a_clone_gets_all_its_data_without_a_commit(rounds, tmp_path):
    clone = rounds.clone(tmp_path)
    done = restore(clone.workspace, "HEAD")
    assert done["commit"] is None and len(done["files"]) == len(in_force(clone.root, "HEAD"))
    assert restore(clone.workspace, "HEAD")["files"] == []


def test_a_record_stays_unless_its_adapter_comes_back_or_it_is_named(mine):
    record = mine.root / f"models/{MODEL}/2.yaml"
    restore(mine.workspace, mine.commits["model 2"])
    assert "decision: refuse" in record.read_text(), "the verdict came after the adapter"
    (mine.root / f"models/{MODEL}/2.zip").write_text("another adapter 2")
    version(mine.root, [mine.workspace.handle("adapter", f"models/{MODEL}/2.zip")],
            message="m", run_id="r", push=False)
    done = restore(mine.workspace, mine.commits["model 2"])
    assert written(done) == ["adapter", "record"] and (
        "decision: refuse" not in record.read_text())
    restore(mine.workspace, mine.commits["evaluation 2"], ["record"])
    assert "decision: refuse" in record.read_text()


@pytest.mark.parametrize(("which", "words"), [
    ("nowhere", "no commit of .* and no run"), ("f" * 32, "no commit of .* and no run"),
    ("f" * 40, "no commit of .* and no run"), ("--force", "no commit of .* and no run")])
def test_what_is_no_commit_and_no_run_is_named(rounds, which, words):
    with pytest.raises(WorkspaceError, match=words) as caught:
        restore(rounds.workspace, which)
    assert which in str(caught.value)


def test_an_artifact_that_was_not_there_yet(rounds):
    with pytest.raises(WorkspaceError, match="'tokenized' has no version there"):
        restore(rounds.workspace, rounds.commits["clean 1"], ["tokenized"])


class TestCommandLine:
    def test_it_shows_what_came_back_and_that_it_is_local_yet(self, mine, ftzard):
        code, said = ftzard("restore", mine.commits["clean 1"][:8], "cleaned", "-w", mine.root)
        assert code == 0
        assert re.search(rf"cleaned +3 +{mine.config.paths.cleaned} +"
                         rf"{mine.commits['clean 1'][:10]}", said), said
        assert f"committed {mine.git('rev-parse', 'HEAD')[:10]}" in said and "ftzard push" in said

    def test_nothing_to_do_says_so(self, mine, ftzard):
        before = mine.git("rev-parse", "HEAD")
        code, said = ftzard("restore", "HEAD", "-w", mine.root)
        assert (code, said) == (0, "nothing to restore: everything is as it was at HEAD\n")
        assert mine.git("rev-parse", "HEAD") == before

    def test_a_refusal_is_one_sentence_that_names_the_file(self, mine, ftzard):
        (mine.root / mine.config.paths.cleaned).write_text("edited")
        code, said = ftzard("restore", mine.commits["clean 1"], "-w", mine.root)
        assert code == 1 and said.startswith("✗ Nothing was restored")
        assert mine.config.paths.cleaned in said and "Traceback" not in said

    def test_data_that_is_nowhere_is_named_with_the_remote(self, rounds, tmp_path, ftzard):
        clone = rounds.clone(tmp_path)
        config = clone.root / ".dvc" / "config"
        config.write_text(config.read_text().replace(str(rounds.home / "dvc"), str(tmp_path / "e")))
        (tmp_path / "e").mkdir()
        code, said = ftzard("restore", "HEAD", "cleaned", "-w", clone.root)
        assert code == 1 and "neither DVC's cache nor the DVC remote 'store'" in said
        assert clone.config.paths.cleaned in said and clone.commits["clean 2"][:10] in said
        assert not (clone.root / clone.config.paths.cleaned).exists()


@pytest.mark.parametrize("moment", ["restore.write_atomically", "restore.commit_paths"])
def test_a_restore_that_was_cut_off_is_finished_by_the_next_or_by_the_doctor(mine, moment,
                                                                             monkeypatch):
    """Until then no step takes files of which some are of one version and some of another."""
    code = f"""
import os
from pathlib import Path
from ftzard.registry import restore as command
from ftzard.versioning import restore
from ftzard.workspace.workspace import Workspace
made, calls = {moment}, []
def killed(*args, **more):
    calls.append(1)
    if len(calls) == 2 or "commit" in {moment!r}:
        os.kill(os.getpid(), 9)
    return made(*args, **more)
{moment} = killed
command.restore(Workspace(Path({str(mine.root)!r})), {mine.commits["tokens 1"]!r})
"""
    done = subprocess.run([sys.executable, "-c", code])
    assert done.returncode == -signal.SIGKILL
    place = mine.workspace
    monkeypatch.setenv("FTZARD_WORKSPACE", str(mine.root))
    assert rows(mine, "cleaned") == 3 and place.unfinished_restore.is_file()
    with pytest.raises(WorkspaceError, match="'ftzard restore' was cut off.*doctor --fix"):
        start_step("tuning", {"tokenized": None, "overrides": []})
    found, = leftovers.unfinished_restore(place)
    assert found.state == doctor.WRONG
    if "commit" in moment:
        assert "completed the restore of" in found.mend()
    else:
        said = []
        restore(place, mine.commits["tokens 1"], say=said.append)
        assert "completed the restore of cleaned, tokenized." in said, said
    assert (rows(mine, "cleaned"), rows(mine, "tokenized")) == (3, 3)
    assert mine.git("status", "--porcelain") == "" and not place.unfinished_restore.exists()
    assert leftovers.unfinished_restore(place)[0].state == doctor.OK
