"""A workspace on real git and DVC, with a bare remote and a DVC remote beside it."""

import shutil
import subprocess
from pathlib import Path

import pytest

from ftzard.core.artifacts import ArtifactRef, sha256, write_atomically
from ftzard.versioning import Versioned, init_repository, version

IGNORE = "*\n!*/\n!.gitignore\n!*.dvc\n"


class Workspace:
    """`ws/` with `origin.git` and `store/` as its neighbours, and the tests' shorthand for it."""

    def __init__(self, home: Path):
        self.home, self.root = home, home / "ws"
        self.origin, self.store = home / "origin.git", home / "store"
        self.said: list[str] = []

    def write(self, text: str, path: str = "data/cleaned.parquet") -> ArtifactRef:
        """Write an artifact as a step would; return its handle."""
        file = write_atomically(self.root / path, lambda part: part.write_text(text))
        return ArtifactRef(Path(path).stem, path, sha256(file), 1, "parquet")

    def version(self, *handles: ArtifactRef, **more) -> Versioned:
        settings = {"message": "Clean the data", "run_id": "run-1", "say": self.said.append} | more
        return version(self.root, handles, **settings)

    def git(self, *args: str, at: Path | None = None) -> str:
        done = subprocess.run(["git", *args], cwd=at or self.root, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def clone(self, name: str = "other") -> "Workspace":
        """Return a colleague's workspace on the same remotes."""
        other = Workspace(self.home)
        other.root = self.home / name
        self.git("clone", "-q", "../origin.git", str(other.root), at=self.root)
        self.git("remote", "set-url", "origin", "../origin.git", at=other.root)
        self.git("config", "user.name", "Colleague", at=other.root)
        self.git("config", "user.email", "colleague@example.org", at=other.root)
        return other

    def stored(self) -> set[str]:
        """Return the MD5s of the data in the DVC remote."""
        return {f.parent.name + f.name for f in (self.store / "files").rglob("*") if f.is_file()}


@pytest.fixture(scope="session")
def template(tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp("template")
    made = Workspace(home)
    for folder, more in (("data", ""), ("models", "!*.yaml\n")):
        (made.root / folder).mkdir(parents=True)
        (made.root / folder / ".gitignore").write_text(IGNORE + more)
    (made.root / ".gitignore").write_text(".ftzard/\n")
    (made.root / "notes.txt").write_text("one\ntwo\n")
    # Relative remotes, so that a copy of the whole neighbourhood works.
    made.git("init", "-q", "--bare", "-b", "main", str(made.origin))
    made.git("init", "-q", "-b", "main")
    made.git("config", "user.name", "Ada")
    made.git("config", "user.email", "ada@example.org")
    made.git("remote", "add", "origin", "../origin.git")
    made.store.mkdir()
    init_repository(made.root, dvc_remote=made.store)
    config = made.root / ".dvc" / "config"
    config.write_text(config.read_text().replace(str(made.store), "../../store"))
    made.git("add", "-A")
    made.git("commit", "-qm", "Begin")
    made.git("push", "-qu", "origin", "main")
    return home


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path_factory):
    """Keep the configuration and the credentials of whoever runs the tests out of them."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(home / "gitconfig"))
    names = [f"GIT_{who}_{what}" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")]
    for name in [*names, "EMAIL", "FTZARD_GIT_TOKEN", "GIT_ASKPASS", "SSH_ASKPASS"]:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def ws(template, tmp_path) -> Workspace:
    shutil.copytree(template, tmp_path / "home", symlinks=True)
    return Workspace(tmp_path / "home")
