"""A workspace from nothing, and one from a repository that somebody uses already."""

import subprocess

import pytest

from ftzard.errors import VersioningError
from ftzard.versioning import Dvc, init_repository, unpushed


def test_a_fresh_folder_gets_git_dvc_both_remotes_and_a_first_commit(ws, tmp_path):
    ws.root = tmp_path / "fresh"
    (ws.root / "data").mkdir(parents=True)
    (ws.root / "data" / ".gitignore").write_text("*\n!*/\n!.gitignore\n!*.dvc\n")
    (ws.root / ".gitignore").write_text(".ftzard/\n")
    origin, ws.store = tmp_path / "remotes" / "o.git", tmp_path / "remotes" / "store"
    made = init_repository(
        ws.root, git_remote=origin, dvc_remote=ws.store, branch="trunk",
        paths=[".gitignore", ws.root / "data" / ".gitignore"], invent_identity=True,
    )  # fmt: skip
    assert ws.git("rev-parse", "trunk") == made
    assert ws.git("status", "--porcelain") == ""
    assert ws.git("ls-files").split() == [
        ".dvc/.gitignore", ".dvc/config", ".dvcignore", ".gitignore", "data/.gitignore",
    ]  # fmt: skip
    assert ws.git("log", "-1", "--format=%an <%ae>") == "FTzard <ftzard@localhost>"
    assert [c.ours for c in unpushed(ws.root)] == [True]
    done = ws.version(ws.write("rows"))
    assert done.pushed == "pushed"
    assert ws.git("rev-parse", "HEAD", at=origin) == done.commit
    assert len(ws.stored()) == 1


def test_dvc_reports_nothing_home_and_stages_nothing(ws):
    config = (ws.root / ".dvc" / "config").read_text()
    assert "analytics = false" in config and "autostage = false" in config


def test_a_second_time_changes_nothing(ws):
    before = ws.git("rev-parse", "HEAD")
    assert init_repository(ws.root, paths=[".gitignore"]) is None
    assert ws.git("rev-parse", "HEAD") == before
    assert ws.git("status", "--porcelain") == ""


def test_no_identity_is_invented_unless_asked_for(tmp_path):
    with pytest.raises(VersioningError, match="git config user.name"):
        init_repository(tmp_path / "fresh")


def test_a_known_identity_is_kept(ws):
    init_repository(ws.root, invent_identity=True)
    assert ws.git("config", "user.name") == "Ada"


def test_another_origin_is_not_replaced(ws, tmp_path):
    with pytest.raises(VersioningError, match="'origin' .* is ../origin.git, not"):
        init_repository(ws.root, git_remote=tmp_path / "another.git")
    assert not (tmp_path / "another.git").exists()


def test_another_dvc_remote_is_not_replaced(ws):
    with pytest.raises(VersioningError, match="DVC remote 'store' .* is ../../store, not s3://b/x"):
        init_repository(ws.root, dvc_remote="s3://b/x")


def test_a_clone_elsewhere_pulls_the_data(ws, tmp_path):
    fresh = tmp_path / "fresh"
    (fresh / "data").mkdir(parents=True)
    (fresh / "data" / ".gitignore").write_text("*\n!*/\n!.gitignore\n!*.dvc\n")
    ws.root = fresh
    init_repository(
        fresh, git_remote=tmp_path / "o.git", dvc_remote=tmp_path / "store",
        paths=["data/.gitignore"], invent_identity=True,
    )  # fmt: skip
    ws.version(ws.write("rows"))
    clone = tmp_path / "far" / "away"
    ws.git("clone", "-q", str(tmp_path / "o.git"), str(clone), at=tmp_path)
    with Dvc(clone) as dvc:
        dvc.pull(["data/cleaned.parquet.dvc"])
    assert (clone / "data" / "cleaned.parquet").read_text() == "rows"
    assert subprocess.run(["git", "diff", "--quiet"], cwd=clone).returncode == 0
