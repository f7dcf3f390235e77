"""What every command prints with: lines, JSON, tables."""

import contextlib
import json
import sys

from rich.console import Console

from ftzard.terminal import output


class Terminal(Console):
    """A rich console that goes on in silence when whoever reads the output has left."""

    def on_broken_pipe(self) -> None:
        output.drop()


out = Terminal(highlight=False, soft_wrap=True, markup=False, emoji=False)


def say(line: str) -> None:
    """Print a line as it is, at once; a reader that has left, as `head` does, stops nothing."""
    try:
        print(line, flush=True)
    except BrokenPipeError:
        output.drop()


def say_json(line: str) -> None:
    """Print a line of JSON, its letters as escapes where the output cannot hold them.

    Raises BrokenPipeError when its reader has left: who makes the lines may stop.
    """
    print(line if output.holds(line) else json.dumps(json.loads(line)), flush=True)


def show_whole(what) -> None:
    """Print a table or a tree with nothing cut off, folded where a terminal is too narrow."""
    Terminal(highlight=False, markup=False, emoji=False,
             width=None if out.is_terminal else 10_000).print(what)


def complain(line: str) -> None:
    """Print a line on standard error, if there is one that somebody reads."""
    with contextlib.suppress(OSError):
        if sys.stderr is not None:
            print(line, file=sys.stderr, flush=True)
