"""What every command prints with: sentences, data as it is, JSON, tables and trees.

On a terminal sentences and tables are wrapped at words to its width, and failures, successes and
verdicts have a colour (not with NO_COLOR, and not on a terminal that is `dumb`). Into a pipe or a
file goes the same text on whole lines, without colours. A line or a cell may hold a label, a text
or a name that came from outside: what would command the terminal in it is written out.
"""

import contextlib
import json
import os
import re
import shutil
import sys
from collections.abc import Callable
from typing import TextIO

from ftzard.cli import layout, output
from ftzard.cli.layout import Table, Tree, paint, wrapped
from ftzard.core import escaping

#: The first sign of a line, or its first word, and how the line is shown.
_WHOLE = {"✗": "bad"}
_MARKS = {"✓": "good", "!": "warn", "▸": "dim"}
#: What a gate may decide, and an answer to whether something fits.
TONES = {"promote": "good", "refuse": "bad", "cannot tell": "warn", "yes": "good", "NO": "bad",
         "FINISHED": "good", "FAILED": "bad", "KILLED": "bad", "RUNNING": "warn"}
_SPEAKING = re.compile(rf"^(verdict: |fits +|not pushed: )({'|'.join(TONES)}|)")
_LABEL = re.compile(r"\s*[\w?✓✗!▸→]+:? {2,}(?=\S)|\s*[✓✗!▸→-] ")


def say(text: str) -> None:
    """Print sentences at once; a closed output, as by `head`, is no error."""
    try:
        for line in escaping.visible(text).split("\n"):
            for part in _fitted(line, sys.stdout):
                print(part)
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        output.drop()


def say_data(text: str) -> None:
    """Print a text on lines of its own on any terminal, to be copied or read by a program."""
    try:
        print(escaping.visible(text), flush=True)
    except BrokenPipeError:
        output.drop()


def say_json(line: str) -> None:
    """Print a line of JSON, its letters as escapes where the output cannot hold them, or where they
    would command a terminal.

    Raises BrokenPipeError when its reader has left: who makes the lines may stop.
    """
    line = escaping.json_line(line)
    print(line if output.holds(line) else json.dumps(json.loads(line)), flush=True)


def say_value(value: object) -> None:
    """Print a value as indented JSON."""
    say_data(json.dumps(value, indent=1, default=str))


def show_whole(what: Table | Tree) -> None:
    """Print a table or a tree: fitted to a terminal, complete anywhere else."""
    try:
        for line in what.lines(width_of(sys.stdout), colours(sys.stdout)):
            print(line)
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        output.drop()


def complain(text: str) -> None:
    """Print sentences on standard error, if it is open."""
    with contextlib.suppress(OSError):
        if sys.stderr is not None:
            for line in escaping.visible(text).split("\n"):
                for part in _fitted(line, sys.stderr):
                    print(part, file=sys.stderr)
            sys.stderr.flush()


def telling(as_json: bool) -> Callable[[str], None]:
    """Return the function that prints progress: on standard error where the answer is JSON."""
    return complain if as_json else say


def width_of(stream: TextIO | None) -> int | None:
    """Return the number of columns of a stream's terminal; None without a terminal."""
    if not _is_terminal(stream):
        return None
    return max(20, shutil.get_terminal_size().columns)


def colours(stream: TextIO | None) -> bool:
    """Return whether output to a stream may have colors."""
    return (_is_terminal(stream) and not os.environ.get("NO_COLOR")
            and os.environ.get("TERM") not in ("dumb", "unknown"))


def _is_terminal(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.isatty()
    except (ValueError, AttributeError):  # closed; or stands for a stream and is none
        return False


def _fitted(line: str, stream: TextIO | None) -> list[str]:
    """Return a line as shown on a stream: wrapped under its first words, and with colors."""
    label = _LABEL.match(line)
    hang = layout.cell_len(label[0]) if label else len(line) - len(line.lstrip(" "))
    width = width_of(stream)
    parts = wrapped(line, width, hang)
    if label and len(parts) > 1:  # the spaces behind a label are kept
        rest = wrapped(line[label.end():], max(1, width - hang), 0)
        parts = [label[0] + rest[0], *(" " * hang + part for part in rest[1:])]
    return _coloured(parts, colours(stream))


def _coloured(parts: list[str], colour: bool) -> list[str]:
    if not colour:
        return parts
    first = parts[0].lstrip()
    mark = first[:1]
    if mark in _WHOLE:
        return [paint(part, _WHOLE[mark], True) for part in parts]
    if mark in _MARKS and first[1:2] == " ":
        return [parts[0].replace(mark, paint(mark, _MARKS[mark], True), 1), *parts[1:]]
    match = _SPEAKING.match(parts[0])
    if match and match[2]:
        parts = [match[1] + paint(match[2], TONES[match[2]], True) + parts[0][match.end():],
                 *parts[1:]]
    return parts
