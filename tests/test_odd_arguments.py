"""No command ends in a traceback, hangs or makes half a workspace, whatever it is given.

Seeded combinations of commands with odd arguments, files, folders, workspaces and environments.
Each ends with exit code 0, 1 or 2 and a sentence that was meant for it.
"""

import os
import random
import shutil
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from ftzard.tracking.store import make_sqlite
from ftzard.workspace.workspace import Workspace

CASES = 310
SECONDS = 120  # none of the cases has anything to do that takes long on an idle machine

TEXTS = ["", " ", "-", "--", "..", ".", "/", "~", "\\0", "%00", "x" * 5000, "two\nlines", "a\tb",
         "tab\\t", "\N{GRINNING FACE}", "\u05e9\u05dc\u05d5\u05dd", "e\u0301", "'", '"', "`id`",
         "$HOME", "{}", "[", "a=b", "=", "@", "@1", "a@b@1", "champion@", "FalconSentiment@1",
         "@-1", "x@99999999999999999999", "null", "true", "\ufeff", "\u200b", "\u202eabc", "a/b",
         "../../etc/passwd", "file:///etc/passwd", "http://[", "s3://", "sqlite://", "%(x)s"]
NUMBERS = ["0", "-1", "1", "99999999999999999999", "1e3", "nan", "", "\u0663", "0x10", "65536",
           "1.5", "\N{GRINNING FACE}"]
OVERRIDES = ["=", "a=", "=b", "training.epochs", "training.epochs=", "training.epochs=[", "+x=1",
             "~model", "model=nowhere", "model=../../etc", "seed=99999999999999999999999",
             "training.epochs=nan", "data.source=\N{GRINNING FACE}", "--", "data.labels={",
             "tracking.uri=http://[", "x" * 3000 + "=1", "a.b.c.d.e=1", "training=null", "'", "$",
             "data.source=${oc.env:NOWHERE}", "data.source=${data.source}", "model@x=falcon_tiny"]
JOBS = ["cleaning_job", "training_pipeline_job", "retraining_pipeline_job", "", "x", "..",
        "\N{GRINNING FACE}", "job" * 999]
MODELS = [*TEXTS, "champion", "challenger", "previous", "base"]
PATH, TEXT, NUMBER, OVERRIDE, JOB, MODEL = "path", "text", "number", "override", "job", "model"
#: Command -> what its arguments are, and its options. Servers get only what they must refuse.
COMMANDS = {
    "init": ([PATH], {"--data": PATH, "--text": TEXT, "--label": TEXT, "--input": TEXT,
                      "--messages": TEXT, "--task": TEXT, "--encoding": TEXT, "--delimiter": TEXT,
                      "--git-remote": PATH, "--dvc-remote": PATH}),
    "run": ([JOB, OVERRIDE], {"-c": PATH, "--json": None}),
    "plan": ([JOB, OVERRIDE], {"--gpu": TEXT, "--ram": TEXT, "--cpus": NUMBER, "--json": None}),
    "config": ([OVERRIDE, OVERRIDE], {}),
    "status": ([], {"--json": None}),
    "predict": ([MODEL, PATH], {"--format": TEXT, "--text": TEXT, "--encoding": TEXT}),
    "compare": ([MODEL, MODEL], {"--file": PATH, "--examples": NUMBER, "--html": PATH}),
    "export": ([MODEL, PATH], {"--adapter": None, "--merged": None, "--tolerance": NUMBER}),
    "models list": ([TEXT], {"--json": None}),
    "models show": ([MODEL], {}),
    "models tag": ([MODEL, TEXT], {}),
    "models delete": ([MODEL], {"--yes": None, "--reason": TEXT}),
    "label": ([TEXT], {"--as": TEXT, "--twice": None}),
    "promote": ([NUMBER], {"--reason": TEXT, "--as": TEXT}),
    "label --web --port 99999": ([TEXT], {"--host": TEXT, "--name": TEXT}),
    "gate": ([], {"--json": None, "--markdown": None}),
    "rollback": ([], {"--reason": TEXT, "--as": TEXT}),
    "ui --only nothing": ([], {"--host": TEXT, "--port": NUMBER}),
    "lab --port 99999": ([], {"--host": TEXT}),
    "mlflow-server --port 99999": ([], {"--host": TEXT, "--backend": TEXT, "--dir": PATH}),
    "mlflow-user add": ([TEXT], {"--server": TEXT, "--as": TEXT}),
    "mlflow-user password": ([TEXT], {"--server": TEXT}),
    "mlflow-user grant": ([TEXT], {"--experiment": TEXT, "--permission": TEXT, "--server": TEXT}),
    "push": ([], {"--json": None}),
    "completion": ([TEXT], {}),
    "history": ([PATH], {"--json": None}),
    "lineage": ([MODEL], {"--json": None}),
    "restore": ([TEXT, PATH], {}),
    "doctor": ([], {"--fix": None, "--json": None}),
    "reproduce": ([MODEL], {}),
    "demo": (["taken"], {"--seed": NUMBER}),
    "": ([TEXT, TEXT], {}),
}
ENVIRONMENTS = [
    {}, {}, {}, {"HOME": None}, {"HOME": "/proc/nowhere"}, {"HOME": "/dev/null"},
    {"TERM": "dumb", "COLUMNS": "1"}, {"COLUMNS": "x", "LINES": "-1"}, {"GIT_DIR": "/nowhere"},
    {"GIT_WORK_TREE": "/", "GIT_INDEX_FILE": "/nowhere/index"}, {"FTZARD_WORKSPACE": "/nowhere"},
    {"TMPDIR": "/nowhere"}, {"PATH": "/nowhere"}, {"XDG_CONFIG_HOME": "/dev/null"},
    {"PWD": None}, {"PWD": "\N{GRINNING FACE}"}, {"GIT_AUTHOR_NAME": "", "GIT_AUTHOR_DATE": "x"},
    {"GIT_CONFIG_COUNT": "x"}, {"MLFLOW_TRACKING_URI": "http://["}, {"LANG": "xx_YY.nothing"},
    {"EDITOR": ""}, {"FTZARD_NEW_PASSWORD": ""}, {"FTZARD_NEW_PASSWORD": "x" * 20},
]


def damage(root: Path, kind: str) -> None:
    """Do to a workspace what a disk, an editor or a person may have done."""
    target, _, content = kind.partition("=")
    path = root / target
    if content == "folder":
        path.unlink(missing_ok=True)
        path.mkdir()
        return
    if path.is_dir():
        shutil.rmtree(path)
    if content == "gone":
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    if content == "loop":
        path.symlink_to(path)
    elif content == "fifo":
        path.unlink(missing_ok=True)
        os.mkfifo(path)
    else:
        path.write_bytes(content.encode("utf-16") if content == "utf-16" else content.encode())


DAMAGES = ["", "", "", "ftzard.yaml=", "ftzard.yaml=- a", "ftzard.yaml=: [",
           "ftzard.yaml=data: 3", "ftzard.yaml=utf-16", ".env=fifo",
           "ftzard.yaml=task: nothing", ".git=gone", ".git=not a repository",
           ".dvc/config=[[[", ".dvc=gone", ".dvc=a file", ".ftzard/mlflow.db=not a database",
           ".ftzard=gone", ".env=no assignment", "data=gone", "data=a file",
           "models=loop", "notebooks=gone", "notebooks/Git_Dvc.ipynb=not JSON", ".git/HEAD=",
           ".git/index=not an index", ".ftzard/push.json=[", "data/incoming=gone",
           "data/labelling/x.csv=not,a,queue\n\"", "config=a file", "config/model/x.yaml=: [",
           ".ftzard/dagster/dagster.yaml=: [", ".ftzard/metadata/cleaning.json={",
           "models/M/1.yaml=[", "data/raw/x.csv.dvc=: [", ".gitignore=folder"]


@pytest.fixture(scope="module")
def places(template, tmp_path_factory) -> dict[str, Path]:
    """Workspaces that are damaged in one way each."""
    home = tmp_path_factory.mktemp("damaged")
    whole, found = Path(shutil.copytree(template, home / "whole", symlinks=True)), {}
    make_sqlite(Workspace(whole).mlflow_uri)  # once: its tables take a second
    for number, kind in enumerate(dict.fromkeys(DAMAGES)):
        found[kind] = Path(shutil.copytree(whole, home / f"{number}", symlinks=True))
        if kind:
            damage(found[kind], kind)
    return found


@pytest.fixture(scope="module")
def paths(tmp_path_factory) -> Iterator[list[str]]:
    """Odd files and folders."""
    home = tmp_path_factory.mktemp("odd")
    for name in ("empty.csv", "empty.parquet", "empty.jsonl", "taken", "empty.txt"):
        (home / name).write_bytes(b"")
    (home / "binary.csv").write_bytes(bytes(range(256)) * 9)
    (home / "binary.parquet").write_bytes(b"PAR1" + b"\0" * 90 + b"PAR1")
    (home / "words.csv").write_text("text,label\ngood,yes\nbad,no\n" * 9)
    (home / "deep.jsonl").write_text("[" * 9000)
    (home / "list.yaml").write_text("[")
    (home / "anchors.yaml").write_text("a: &a [*a]\n")
    (home / "number.yaml").write_text("3")
    (home / "folder.csv").mkdir()
    (home / "full").mkdir()
    (home / "full" / "thesis.txt").write_text("years of work")
    (home / "dangling").symlink_to(home / "nowhere")
    (home / "loop.csv").symlink_to(home / "loop.csv")
    for name in ("fifo.csv", "fifo.yaml", "fifo"):
        os.mkfifo(home / name)
    before = os.getcwd()
    os.chdir(home)  # the name of a socket has to be short
    listening = socket.socket(socket.AF_UNIX)
    listening.bind("socket.csv")
    os.chdir(before)
    made = [str(path) for path in sorted(home.iterdir())]
    inside = [f"{home}/taken/below", f"{home}/new", f"{home}/n\nl", f"{home}/{'x' * 300}",
              f"{home}/loop.csv/below", f"{home}/dangling/below", f"{home}/ trailing ",
              f"{home}/-w", f"{home}/full"]
    yield [*made, *inside, "/dev/null", "/dev/null/x", "/proc/x", "/", "", ".", "..", "~",
           "x" * 5000, "http://[", "s3://"]
    listening.close()


def drawn(random_: random.Random, kind: str | None, paths: list[str], home: Path) -> str:
    pool = {PATH: paths, TEXT: TEXTS, NUMBER: NUMBERS, OVERRIDE: OVERRIDES, JOB: JOBS,
            MODEL: MODELS, "taken": [str(home / "taken"), str(home / "full"), ""]}[kind]
    return random_.choice(pool)


def state(folder: Path) -> dict[str, object]:
    """Return what lies in a folder, with the content of its small files."""
    return {str(p): p.read_bytes() if p.is_file() and not p.is_symlink() else p.is_symlink()
            for p in sorted(folder.rglob("*"))}


class TooLong(BaseException):
    """A case that has nothing to do and does not end."""


def test_any_arguments_end_in_a_sentence(ftzard, monkeypatch, places, paths, tmp_path):
    random_ = random.Random(20)
    home = Path(paths[0]).parent
    before = state(home)
    wrong = []

    def too_long(*_):
        raise TooLong

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # for details of what nobody foresaw
    here = tmp_path / "outer" / "here"  # `init ..` makes a workspace of the folder around it
    here.mkdir(parents=True)
    before_alarm = signal.signal(signal.SIGALRM, too_long)
    names = list(COMMANDS)
    for number in range(CASES):
        command = names[number % len(names)]
        arguments, options = COMMANDS[command]
        line = command.split()
        # the demo without an argument is the demo
        most = random_.choice([len(arguments)] * 4 + ([] if command == "demo" else [0, 1]))
        for kind in arguments[:most]:
            line.append(drawn(random_, kind, paths, home))
        for option, kind in random_.sample(list(options.items()), random_.randint(
                0, min(2, len(options)))):
            line += [option] if kind is None else [option, drawn(random_, kind, paths, home)]
        place = random_.choice(DAMAGES)
        if command not in ("init", "demo", "", "mlflow-server --port 99999"):
            line += ["-w", str(places[place])] if random_.random() < 0.9 else [
                "-w", random_.choice(paths)]
        environment = random_.choice(ENVIRONMENTS)
        with monkeypatch.context() as patch:
            for name, value in environment.items():
                patch.delenv(name, raising=False) if value is None else patch.setenv(name, value)
            patch.chdir(here)
            patch.setattr("sys.stdin", open(os.devnull))
            code = None
            signal.alarm(SECONDS)
            try:
                code, said = ftzard(*line)
            except TooLong:
                said = f"no end after {SECONDS} s"
            except Exception as error:
                said = f"Traceback: {error!r}"
            finally:
                signal.alarm(0)
        if code not in (0, 1, 2) or "did not foresee" in said or "Traceback" in said or (
                code and not said.strip()):
            wrong.append(f"{number}: {environment} {place!r} {line} -> {code}: {said[-600:]}")
        if command == "init" and code:
            now = state(home)
            if now != before:
                wrong.append(f"{number}: {line} left {set(now) ^ set(before)}: {said}")
                before = now
        elif command == "init":
            before = state(home)
    signal.signal(signal.SIGALRM, before_alarm)
    assert not wrong, f"{len(wrong)} of {CASES}:\n" + "\n\n".join(wrong)
