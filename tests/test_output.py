"""Output that cannot hold a sign, and output that nobody reads: each command ends as it should."""

import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ftzard import cli
from ftzard.cli import output as tolerant
from ftzard.cli import printing
from ftzard.cli.layout import Column, Table
from ftzard.tracking.store import make_sqlite
from ftzard.workspace.workspace import Workspace
from tests.conftest import TOOLS

SHOWN = [["status"], ["doctor"], ["config"], ["history"], ["models", "list"], ["--help"],
         ["run", "--help"], ["plan", "nothing"], ["--version"], ["init", "--nothing"]]


@pytest.fixture
def output(monkeypatch):
    """Run a command with streams of an encoding; return its exit code and the bytes it wrote."""

    def run(encoding: str, *arguments: object) -> tuple[int, bytes]:
        streams = [io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2)]
        monkeypatch.setattr("sys.argv", ["ftzard", *map(str, arguments)])
        with monkeypatch.context() as patch:
            patch.setattr("sys.stdout", streams[0])
            patch.setattr("sys.stderr", streams[1])
            with pytest.raises(SystemExit) as ended:
                cli.main()
            for stream in streams:
                stream.flush()
        return ended.value.code, b"".join(stream.buffer.getvalue() for stream in streams)

    return run


@pytest.fixture(scope="module")
def place(template, tmp_path_factory) -> Path:
    """A workspace that is only looked at."""
    root = Path(shutil.copytree(template, tmp_path_factory.mktemp("output") / "ws"))
    make_sqlite(Workspace(root).mlflow_uri)
    return root


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_sign_that_the_output_does_not_have_is_said_in_plain_words(
        ftzard, output, place, monkeypatch, encoding):
    monkeypatch.setenv("FTZARD_WORKSPACE", str(place))
    monkeypatch.setenv("COLUMNS", "100")
    for arguments in SHOWN:
        code, said = output(encoding, *arguments)
        plain, text = ftzard(*arguments)
        words = said.decode(encoding)
        assert code == plain and "Traceback" not in words, words
        for sign, word in (("✓", "ok:"), ("✗", "error:"), ("→", "->")):
            assert sign not in words and words.count(word) >= text.count(sign), words
        words = re.sub(r"\berror:", "", words)
        assert re.findall(r"[a-z]{4,}", words) == re.findall(r"[a-z]{4,}", text), words


def test_a_table_with_any_letters_is_shown():
    for encoding in ("ascii", "latin-1"):
        stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict")
        before, sys.stdout = sys.stdout, stream
        try:
            tolerant.make_tolerant()
            table = Table([Column("name \N{GRINNING FACE}")])
            table.add_row("\u05e9\u05dc\u05d5\u05dd \u2713 caf\u00e9")
            printing.show_whole(table)
            stream.flush()
        finally:
            sys.stdout = before
        said = stream.buffer.getvalue().decode(encoding)
        assert said.count("name ?") == 1 and "???? ok: caf" in said


def test_json_keeps_its_letters_as_escapes(monkeypatch):
    row = {"text": "caf\u00e9 \u05e9 \N{GRINNING FACE}"}
    stream = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    monkeypatch.setattr("sys.stdout", stream)
    tolerant.make_tolerant()
    printing.say_json(json.dumps(row, ensure_ascii=False))
    stream.flush()
    assert json.loads(stream.buffer.getvalue().decode("latin-1")) == row


def test_a_reader_that_has_left_changes_no_exit_code(ftzard, place, monkeypatch):
    monkeypatch.setenv("FTZARD_WORKSPACE", str(place))
    for arguments in SHOWN:
        expected = ftzard(*arguments)[0]
        reading, writing = os.pipe()
        os.close(reading)
        with open(writing, "w", encoding="utf-8") as stream, monkeypatch.context() as patch:
            patch.setattr("sys.stdout", stream)
            patch.setattr("sys.argv", ["ftzard", *arguments])
            with pytest.raises(SystemExit) as ended:
                cli.main()
            assert ended.value.code == expected, arguments


def test_as_processes(place):
    """With real pipes and locales: the first lines, no output, a full one, a closed one."""
    ftzard = shlex.quote(str(TOOLS / "ftzard"))
    for command, code, words in (
            ("{} doctor | head -n 1", 0, "config"), ("{} config >&-", 0, ""),
            ("{} --version > /dev/full", 1, "No space left"),
            ("LC_ALL=C PYTHONCOERCECLOCALE=0 PYTHONUTF8=0 {} --version", 0, "ftzard"),
            ("{} status -w $'caf\\xe9' 2>&1", 1, "is not UTF-8")):
        done = subprocess.run(["bash", "-c", f"set -o pipefail; {command.format(ftzard)}"],
                              cwd=place, text=True, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert done.returncode == code and words in done.stdout, (command, done.stdout)
        assert "Traceback" not in done.stdout and "Exception ignored" not in done.stdout


def test_an_error_that_nobody_foresaw_is_a_sentence_and_a_file(ftzard, monkeypatch, workspace):
    def broken(*_):
        raise ZeroDivisionError("deep inside")

    monkeypatch.setattr("ftzard.steps.status.gather", broken)
    code, said = ftzard("status", "-w", workspace.root)
    assert code == 1 and said.startswith("✗ an error that FTzard did not foresee: ZeroDivision")
    file = re.search(r"its details are in (\S+\.txt);", said)[1]
    assert "deep inside" in open(file).read() and "broken" in open(file).read()
    os.unlink(file)


def test_an_argument_of_another_encoding_is_named(ftzard):
    code, said = ftzard("predict", os.fsdecode(b"caf\xe9"))
    assert code == 1 and r"argument 2, b'caf\xe9', is not UTF-8" in said


def test_predictions_stop_when_nobody_reads_them():
    reading, writing = os.pipe()
    os.close(reading)
    before, sys.stdout = sys.stdout, open(writing, "w")
    try:
        with pytest.raises(BrokenPipeError):
            printing.say_json("{}")
        tolerant.drop()
    finally:
        sys.stdout.close()
        sys.stdout = before
