"""On a terminal: wrapped at words, failures and successes in colour. In a pipe: the same words."""

import os
import pty
import re
import struct
import subprocess
import termios
from fcntl import ioctl

import pytest

from tests.conftest import TOOLS

ESCAPES = re.compile(r"\x1b\[\d+m")


def on_a_terminal(*arguments: object, columns: int, cwd, **environment: str) -> tuple[int, str]:
    """Run ftzard on a terminal of its own; return its exit code and what was shown."""
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    env = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "NO_COLOR")}
    process = subprocess.Popen(
        [str(TOOLS / "ftzard"), *map(str, arguments)], stdin=theirs, stdout=theirs, stderr=theirs,
        cwd=cwd, env={**env, "TERM": "xterm", **environment}, start_new_session=True)
    os.close(theirs)
    said = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        said += part
    os.close(ours)
    return process.wait(), said.decode().replace("\r\n", "\n")


@pytest.mark.parametrize("columns", [50, 80])
def test_a_failure_is_red_and_wrapped_at_words(tmp_path, columns):
    asked = ("run", "clening_job", "-w", tmp_path)
    code, shown = on_a_terminal(*asked, columns=columns, cwd=tmp_path)
    plain = subprocess.run([str(TOOLS / "ftzard"), *map(str, asked)], cwd=tmp_path, text=True,
                           capture_output=True)
    assert code == plain.returncode == 1 and "\x1b" not in plain.stderr
    lines = ESCAPES.sub("", shown).splitlines()
    assert " ".join(shown.split()).startswith("\x1b[31m✗")
    assert [word for line in lines for word in line.split()] == plain.stderr.split()
    short = [line for line in lines if not any(len(word) > columns - 2 for word in line.split())]
    assert short and all(len(line) <= columns for line in short)


def test_no_colour_where_none_is_wanted(tmp_path):
    for environment in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        _, shown = on_a_terminal("plan", "nothing", "-w", tmp_path, columns=80, cwd=tmp_path,
                                 **environment)
        assert "✗" in shown and "\x1b" not in shown


def test_marks_and_verdicts_have_a_colour_of_their_own(monkeypatch, capsys):
    from ftzard.cli import printing

    monkeypatch.setattr(printing, "_is_terminal", lambda stream: True)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    for line, coloured in (("✓ done", "\x1b[32m✓\x1b[0m done"),
                           ("! records    one is missing", "\x1b[33m!\x1b[0m"),
                           ("✗ wrong", "\x1b[31m✗ wrong\x1b[0m"),
                           ("verdict: promote. It is better.", "verdict: \x1b[32mpromote\x1b[0m."),
                           ("fits      NO: 3 MB are free", "fits      \x1b[31mNO\x1b[0m:")):
        printing.say(line)
        said = capsys.readouterr().out
        assert coloured in said and ESCAPES.sub("", said) == f"{line}\n"


def test_a_long_line_goes_on_under_its_own_words(monkeypatch, capsys):
    from ftzard.cli import printing

    monkeypatch.setattr(printing, "_is_terminal", lambda stream: True)
    monkeypatch.setenv("COLUMNS", "50")
    monkeypatch.setenv("NO_COLOR", "1")
    printing.say("memory    1,234 MB at the peak: weights 900, gradients 120, optimizer 214")
    assert capsys.readouterr().out == (
        "memory    1,234 MB at the peak: weights 900,\n"
        "          gradients 120, optimizer 214\n")
