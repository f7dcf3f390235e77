"""Reading with GitPython: what a repository holds, and nothing left running afterwards."""

import subprocess

import psutil
import pytest

from ftzard.errors import VersioningError
from ftzard.versioning import repository


@pytest.fixture
def folder(tmp_path):
    """A repository with a file in a folder with an accent, and a branch with an upstream."""

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-c", "user.name=T", "-c", "user.email=t@example.org", *arguments],
            cwd=tmp_path, check=True, text=True, capture_output=True).stdout.strip()

    git("init", "-q", "--initial-branch=main")
    (tmp_path / "données").mkdir()
    (tmp_path / "données" / "a.dvc").write_text("outs: é\n", encoding="utf-8")
    git("add", "-A")
    git("commit", "-qm", "first")
    git("remote", "add", "team/one", "https://example.org/x.git")
    git("config", "branch.main.remote", "team/one")
    git("config", "branch.main.merge", "refs/heads/true")
    return tmp_path, git


def test_what_a_revision_holds_is_read(folder):
    root, git = folder
    blob = git("rev-parse", "HEAD:données/a.dvc")
    assert repository.blob_at(root, "HEAD", "données/a.dvc") == (blob, "outs: é\n")
    assert repository.blob_at(root, "HEAD", "données/b.dvc") is None
    assert repository.tree_at(root, "HEAD") == {"données/a.dvc": blob}
    assert repository.texts_of(root, [blob]) == {blob: "outs: é\n"}
    assert repository.remotes(root) == ["team/one"]
    assert repository.branch(root) == "main"
    assert repository.upstream(root) == ("team/one", "true")
    git("checkout", "-q", "--detach")
    assert repository.branch(root) is repository.upstream(root) is None


@pytest.mark.parametrize("revision", ["nosuch", "--help", "--output=x", "HEAD~9", ""])
def test_a_revision_is_never_an_option(folder, revision):
    root, _ = folder
    assert repository.blob_at(root, revision, "données/a.dvc") is None
    assert {p.name for p in root.iterdir()} == {".git", "données"}


def test_no_process_of_git_is_left(folder):
    root, _ = folder
    before = {child.pid for child in psutil.Process().children()}
    repository.blob_at(root, "HEAD", "données/a.dvc")
    repository.tree_at(root, "HEAD")
    assert {child.pid for child in psutil.Process().children()} <= before


def test_another_repository_s_variables_do_not_divert(folder, tmp_path_factory, monkeypatch):
    root, git = folder
    other = tmp_path_factory.mktemp("other")
    subprocess.run(["git", "init", "-q"], cwd=other, check=True)
    for name, value in {"GIT_DIR": other / ".git", "GIT_WORK_TREE": other,
                        "GIT_OBJECT_DIRECTORY": other / ".git" / "objects"}.items():
        monkeypatch.setenv(name, str(value))
    assert repository.blob_at(root, "HEAD", "données/a.dvc")[1] == "outs: é\n"


def test_a_folder_that_is_no_repository_is_named(tmp_path):
    with pytest.raises(VersioningError, match="is not a git repository; make it one with"):
        repository.remotes(tmp_path)
