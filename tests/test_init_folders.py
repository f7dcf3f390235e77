"""Which folders, remotes and git settings `ftzard init` takes, and what it says of the others."""

import os
import socket
import subprocess
from pathlib import Path

import pytest

from ftzard import doctor
from ftzard.orchestration.create_workspace import create
from ftzard.versioning import Dvc
from ftzard.versioning.dvc import default_remote
from ftzard.workspace.workspace import Workspace


def git(root: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=root, text=True, check=True,
                          capture_output=True).stdout


def tree(folder: Path) -> dict[str, bytes | None]:
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None
            for p in folder.rglob("*")}


def a_file(home: Path) -> Path:
    (home / "ws").write_text("thesis")
    return home / "ws"


def below_a_file(home: Path) -> Path:
    return a_file(home) / "below"


def a_link_to_nothing(home: Path) -> Path:
    (home / "ws").symlink_to(home / "disk-that-is-not-mounted")
    return home / "ws"


def links_in_a_circle(home: Path) -> Path:
    (home / "ws").symlink_to(home / "other")
    (home / "other").symlink_to(home / "ws")
    return home / "ws"


def a_socket(home: Path) -> Path:
    before = os.getcwd()
    os.chdir(home)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("ws")
    os.chdir(before)
    return home / "ws"


def the_home(home: Path) -> Path:
    return Path(os.environ["HOME"])


def the_top(home: Path) -> Path:
    return Path("/")


def inside_a_workspace(home: Path) -> Path:
    (home / "ftzard.yaml").write_text("{}\n")
    return home / "data" / "ws"


def a_bare_repository(home: Path) -> Path:
    git(home, "init", "-q", "--bare", "ws")
    return home / "ws"


def git_s_own_folder(home: Path) -> Path:
    git(home, "init", "-q", ".")
    return home / ".git" / "ws"


def tracked_by_the_repository_around(home: Path) -> Path:
    git(home, "init", "-q", ".")
    (home / "ws").mkdir()
    (home / "ws" / "README").write_text("mine")
    git(home, "add", ".")
    return home / "ws"


def data_is_a_file(home: Path) -> Path:
    (home / "ws").mkdir()
    (home / "ws" / "data").write_text("a,b\n")
    return home / "ws"


def data_is_a_link(home: Path) -> Path:
    (home / "ws").mkdir()
    (home / "disk").mkdir()
    (home / "ws" / "data").symlink_to(home / "disk")
    return home / "ws"


def gitignore_is_a_folder(home: Path) -> Path:
    (home / "ws" / ".gitignore").mkdir(parents=True)
    return home / "ws"


def a_name_too_long(home: Path) -> Path:
    return home / ("x" * 300)


def a_name_of_two_lines(home: Path) -> Path:
    return home / "two\nlines"


def nowhere_to_write(home: Path) -> Path:
    return Path("/proc/nowhere/ws")


@pytest.mark.parametrize(("make", "words"), [
    (a_file, "ws is a file, expected a folder"), (below_a_file, "ws is a file, expected a folder"),
    (a_socket, "ws is a file, expected a folder"),
    (a_link_to_nothing, "disk-that-is-not-mounted, which does not exist"),
    (links_in_a_circle, "circle"), (the_home, "is your home folder"),
    (the_top, "the root of the file system"), (inside_a_workspace, "lies inside the workspace"),
    (a_bare_repository, "a bare repository"), (git_s_own_folder, "git's own folder"),
    (tracked_by_the_repository_around, "which tracks 1 of its files"),
    (data_is_a_file, "data is a file"), (data_is_a_link, "data is a link"),
    (gitignore_is_a_folder, ".gitignore is no file"), (a_name_too_long, "is too long"),
    (a_name_of_two_lines, r"'\n'"), (nowhere_to_write, "No such file or directory"),
])
def test_a_folder_that_cannot_be_one_is_refused_and_nothing_is_made(ftzard, tmp_path, make, words):
    folder = make(tmp_path)
    before = tree(tmp_path)
    code, said = ftzard("init", folder)
    assert code == 1 and words in said and "did not foresee" not in said, said
    assert tree(tmp_path) == before


def test_an_empty_name_is_not_the_current_folder(ftzard, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, said = ftzard("init", "")
    assert code == 1 and "the folder's name is empty" in said and os.listdir() == []
    code, said = ftzard("status", "-w", "")
    assert code == 2 and "it is empty; expected a path" in said


@pytest.mark.parametrize(("remote", "words"), [
    ("", "remote is empty"), ("{}/file", "file is no folder"), ("{}/file/below", "is no folder"),
    ("{}/ws", "the workspace or a folder around it"), ("{}", "the workspace or a folder around it"),
    ("{}/ws/.ftzard/x", "inside of what"), ("/dev/null/x", "is no folder"),
    ("/proc/x", "cannot be made")])
@pytest.mark.parametrize("option", ["--git-remote", "--dvc-remote"])
def test_a_remote_that_cannot_be_one_is_refused_and_nothing_is_made(ftzard, tmp_path, option,
                                                                   remote, words):
    (tmp_path / "file").write_text("")
    code, said = ftzard("init", tmp_path / "ws", option, remote.format(tmp_path))
    assert code == 1 and words in said, said
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize(("options", "words"), [
    (["--git-remote", "{}/full"], "holds files and is no git repository"),
    (["--git-remote", "{}/one", "--dvc-remote", "{}/one"], "of git and of DVC at once"),
    (["--dvc-remote", "{}/a{{b}}"], "holds '{'"), (["--dvc-remote", "nothing://x"], "nothing"),
])
def test_what_only_one_of_them_cannot_take(ftzard, tmp_path, options, words):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("years of work")
    before = tree(tmp_path)
    code, said = ftzard("init", tmp_path / "ws", *(o.format(tmp_path) for o in options))
    assert code == 1 and words in said and tree(tmp_path) == before, said


def test_folders_with_any_letters_hold_workspace_and_remotes(ftzard, tmp_path):
    home = tmp_path / "jos\u00e9, it's 100% \u05d0\N{GRINNING FACE}"
    home.mkdir()
    for number, name in enumerate(["a \u00fc", "50%41 #1", 'say "hi"', "it's, \"both\""]):
        remote = home / name / "dvc"
        if not number:
            root = home / "ws \u00e9"
            code, said = ftzard("init", root, "--git-remote", home / name / "git",
                                "--dvc-remote", remote)
            assert code == 0, said
            git(root, "push", "-q", "origin", "HEAD")
        else:  # the same file again: DVC takes two seconds to set up a folder
            config = root / ".dvc" / "config"
            config.write_text("[core]\n    analytics = false\n", encoding="utf-8")
            from ftzard.versioning.dvc import set_default_remote
            set_default_remote(root, str(remote))
            remote.mkdir(parents=True)
        assert default_remote(root) == ("store", str(remote))
        (root / "data" / "raw" / f"{number}.csv").write_text(name)
        with Dvc(root) as dvc:
            dvc.push(dvc.add([f"data/raw/{number}.csv"]))
        assert len([path for path in remote.rglob("*") if path.is_file()]) == 1, name


class TestIgnored:
    """A rule of the user's that hides the workspace's folders from git."""

    @pytest.fixture
    def everywhere(self, tmp_path, monkeypatch):
        """Git settings with rules for all repositories, as many people have them."""
        (tmp_path / "ignore").write_text("data/\nmodels/\n*.ipynb\n*.yaml\n.*\nraw\n")
        (tmp_path / "gitconfig").write_text(f"[core]\n excludesFile = {tmp_path / 'ignore'}\n")
        monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))

    def versioned(self, root: Path) -> None:
        """Version data and a record as a step does."""
        from ftzard.versioning import version

        workspace = Workspace(root)
        for name in ("data/raw/a.csv", "data/cleaned/b.csv", "models/M/1.zip"):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(name)
        (root / "models/M/1.yaml").write_text("x: 1\n")
        done = version(root, [workspace.handle("a", "data/raw/a.csv"),
                              workspace.handle("b", "data/cleaned/b.csv"),
                              workspace.handle("c", "models/M/1.zip")],
                       also=[root / "models/M/1.yaml"], message="m", run_id="r", push=False)
        assert done.changed
        assert set(git(root, "show", "--name-only", "--format=").split()) == {
            "data/raw/a.csv.dvc", "data/cleaned/b.csv.dvc", "models/M/1.zip.dvc", "models/M/1.yaml"}

    def test_a_new_workspace_takes_its_folders_back(self, ftzard, tmp_path, everywhere):
        root = tmp_path / "ws"
        code, said = ftzard("init", root)
        assert code == 0, said
        self.versioned(root)
        assert git(root, "status", "--porcelain") == ""

    def test_a_white_list_of_the_user_s_is_refused_and_its_remedy_works(self, ftzard, tmp_path):
        root = tmp_path / "own"
        root.mkdir()
        git(root, "init", "-q")
        (root / ".gitignore").write_text("*\n!.gitignore")
        before = tree(root)
        code, said = ftzard("init", root)
        assert code == 1 and "by the rule '*' (.gitignore, line 1)" in said, said
        assert tree(root).keys() == before.keys()
        lines = said.rpartition("own: ")[2].split()
        (root / ".gitignore").write_text("\n".join(["*", "!.gitignore", *lines, ""]))
        code, said = ftzard("init", root)
        assert code == 0, said
        self.versioned(root)

    def test_doctor_finds_and_mends_a_rule_that_came_later(self, workspace, tmp_path, monkeypatch):
        (workspace.root / ".gitignore").write_text(".ftzard/")  # as workspaces had it
        git(workspace.root, "commit", "-qam", "As it was")
        (tmp_path / "ignore").write_text("# mine\ndata/\n")
        git(workspace.root, "config", "core.excludesFile", str(tmp_path / "ignore"))
        from ftzard.doctor import versioned

        found = versioned.ignored(workspace)[0]
        assert found.state == doctor.WRONG and "by the rule 'data/'" in found.sentence
        assert f"{tmp_path / 'ignore'}, line 2" in found.sentence
        from ftzard.errors import VersioningError
        with pytest.raises(VersioningError, match="by the rule 'data/'"):
            self.versioned(workspace.root)
        found.mend()
        assert versioned.ignored(workspace)[0].state == doctor.OK
        assert (workspace.root / ".gitignore").read_text().startswith(".ftzard/\n!/data\n")
        self.versioned(workspace.root)

    def test_a_rule_in_a_nearer_file_is_named_and_left_to_the_person(self, workspace):
        with open(workspace.root / "data" / ".gitignore", "a") as stream:
            stream.write("*.dvc\n")
        from ftzard.doctor import versioned

        found = versioned.ignored(workspace)[0]
        assert "data/.gitignore, line 5" in found.sentence and found.mend is None


def test_settings_of_git_that_people_have_change_nothing(tmp_path, monkeypatch):
    hooks = tmp_path / "template" / "hooks"
    hooks.mkdir(parents=True)
    for name in ("pre-commit", "commit-msg", "post-commit"):
        (hooks / name).write_text("#!/bin/sh\nexit 1\n")
        (hooks / name).chmod(0o755)
    (tmp_path / "gitconfig").write_text(f"""
[init]
    defaultBranch = trunk
    templateDir = {tmp_path / 'template'}
[commit]
    gpgSign = true
[gpg]
    program = false
[core]
    autocrlf = true
    safecrlf = true
    quotePath = true
[status]
    showUntrackedFiles = no
[user]
    name = Jos\u00e9
    email = jose@example.org
""", encoding="utf-8")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    monkeypatch.setenv("GIT_DEFAULT_HASH", "sha256")
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_CONFIG"):
        monkeypatch.setenv(name, str(tmp_path / "nowhere"))
    workspace = create(tmp_path / "ws", config={}, git_remote=tmp_path / "git",
                       invent_identity=True)
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_CONFIG"):
        monkeypatch.delenv(name)
    assert git(workspace.root, "log", "--format=%an: %s") == (
        "Jos\u00e9: Set up the FTzard workspace\n")
    assert git(workspace.root, "status", "--porcelain", "-uall") == ""
    assert git(workspace.root, "symbolic-ref", "--short", "HEAD") == "main\n"
    assert not (tmp_path / "nowhere").exists()
