"""What every test has: an environment of its own, and workspaces on real git, DVC and SQLite."""

import gc
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ftzard import cli
from ftzard.orchestration.create_workspace import create
from ftzard.orchestration.launch import QUIET
from ftzard.workspace.workspace import Workspace
from tests import warm_processes
from tests.story import story  # noqa: F401 - the fixture of the whole-job tests

TOOLS = Path(sys.executable).parent
FIXTURES = Path(__file__).parent / "fixtures"


def pytest_configure(config: pytest.Config) -> None:
    """Refuse a pytest with which every process would run the same whole jobs, without a word."""
    if getattr(config.option, "dist", "no") == "loadgroup" and pytest.version_tuple >= (9, 2):
        raise pytest.UsageError(
            f"with pytest {pytest.__version__}, pytest-xdist 3.8 does not keep the tests of a file "
            "in one process; install what constraints.txt says (its issue 1386).")
    # As a shell lets its background ignore them; every command would inherit that, and Dagster
    # handles SIGTERM as it finds SIGINT.
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let processes take turns by file, but keep all tests of the one story in one process.

    Whole jobs come first: nobody waits in the end for a process that has just begun a long one.
    """
    for item in items:
        shared = "story" in item.fixturenames and not hasattr(item.module, "story")
        group = "story" if shared else item.nodeid.partition("::")[0]
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: item.get_closest_marker("jobs") is None)
    gc.freeze()  # what the tests' imports left is not looked through again and again


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name a parameter of bytes by its argument: gzip, for one, writes the time into its bytes, and
    processes that share the tests must give them the same names."""
    return argname if isinstance(val, bytes) else None


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run in which a test was skipped, where the environment asks for it (as CI does)."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    if skipped and os.environ.get("FTZARD_NO_SKIPS") and session.exitstatus == pytest.ExitCode.OK:
        print("\nskipped, which FTZARD_NO_SKIPS forbids:",
              *(f"{report.nodeid}: {report.longrepr[-1]}" for report in skipped), sep="\n  ")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session", autouse=True)
def own_environment(tmp_path_factory) -> Iterator[None]:
    """Keep the home, the git identity and the workspace of whoever runs the tests out of them."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in QUIET.items():
            patch.setenv(name, value)
        patch.setenv("HOME", str(home))
        patch.setenv("XDG_CONFIG_HOME", str(home))
        patch.setenv("HF_HUB_OFFLINE", "1")  # no test may depend on a hub that happens to answer
        patch.setenv("GIT_CONFIG_NOSYSTEM", "1")
        patch.setenv("GIT_CONFIG_GLOBAL", str(home / "gitconfig"))
        for name in ("FTZARD_WORKSPACE", "DAGSTER_HOME", "FTZARD_KERNEL", "MLFLOW_TRACKING_URI"):
            patch.delenv(name, raising=False)
        with warm_processes.Server():
            yield


@pytest.fixture(autouse=True)
def environment_as_before() -> Iterator[None]:
    """Undo what a command that ran in this process did to the environment."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def tool() -> Callable[..., subprocess.CompletedProcess]:
    """Run an installed command in a folder and return what it said; both streams are in stdout."""

    def run(name: str, *arguments: object, at: Path, seconds: float = 180, **environment: str):
        return subprocess.run(
            [str(TOOLS / name), *map(str, arguments)], cwd=at, text=True, timeout=seconds,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**os.environ, **environment})

    return run


@pytest.fixture(scope="session")
def template(tmp_path_factory) -> Path:
    """An empty workspace without remotes; made once, copied by `workspace`."""
    return create(tmp_path_factory.mktemp("template") / "ws", config={}, invent_identity=True).root


@pytest.fixture
def workspace(template, tmp_path) -> Workspace:
    """A fresh workspace of the test's own."""
    return Workspace(Path(shutil.copytree(template, tmp_path / "ws", symlinks=True)))


@pytest.fixture(scope="session")
def workspace_v1(tmp_path_factory) -> Path:
    """A trained workspace of the first version of the text rules; only read: copy it to change it.

    Made once by tests/fixtures/make_workspace_v1.py; the .json beside it holds its splits and ids.
    """
    folder = tmp_path_factory.mktemp("v1")
    with tarfile.open(FIXTURES / "workspace_v1.tar.xz") as archive:
        archive.extractall(folder, filter="tar")
    return folder / "workspace_v1"


@pytest.fixture(scope="session")
def rounds(tmp_path_factory):
    """Two rounds as git, DVC and MLflow tell them; made once, only read."""
    from tests.rounds import two_rounds

    return two_rounds(tmp_path_factory.mktemp("rounds"))


def _signals() -> dict:
    """Return whether this process, and so each command it starts, blocks or ignores a stop."""
    return {number: (number in signal.pthread_sigmask(signal.SIG_BLOCK, ()),
                     signal.getsignal(number) == signal.SIG_IGN)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}


@pytest.fixture(autouse=True)
def signals_stay_as_they_are() -> Iterator[None]:
    """Fail the test that leaves a signal ignored or blocked, not those after it."""
    before = _signals()
    yield
    assert _signals() == before


@pytest.fixture
def ftzard(monkeypatch, capsys):
    """Run the command line in this process; returns its exit code and what it said."""

    def run(*arguments: object) -> tuple[int, str]:
        before = {number: signal.getsignal(number)
                  for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        monkeypatch.setattr("sys.argv", ["ftzard", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        for number, handler in before.items():
            signal.signal(number, handler)
        said = capsys.readouterr()
        return ended.value.code, said.out + said.err

    return run


@pytest.fixture(scope="session")
def guest() -> Iterator[tuple[int, int]]:
    """A second user of this machine, made for these tests: (number, group)."""
    name = f"ftzard-guest-{os.getpid()}"
    subprocess.run(["useradd", "--no-create-home", "--shell", "/bin/sh", name], check=True)
    try:
        number, group = (int(subprocess.run(["id", option, name], check=True, text=True,
                                            capture_output=True).stdout) for option in ("-u", "-g"))
        yield number, group
    finally:
        subprocess.run(["userdel", name], check=True)
