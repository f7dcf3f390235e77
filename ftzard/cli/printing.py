"""What every command prints with: lines, JSON, tables.

A line or a cell may hold a label, a text or a name that came from outside: what would command the
terminal in it is written out. Colour is given as a style, never as signs in a text.
"""

import contextlib
import json
import sys

from rich.console import Console, ConsoleOptions, RenderableType
from rich.text import Text

from ftzard import escaping
from ftzard.terminal import output


class Terminal(Console):
    """A rich console that shows every text as it is, and goes on in silence when whoever reads the
    output has left."""

    def on_broken_pipe(self) -> None:
        output.drop()

    def render_str(self, text: str, **given) -> Text:
        return super().render_str(escaping.visible(text, tab=" "), **given)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None):
        if isinstance(renderable, Text) and escaping.visible(renderable.plain) != renderable.plain:
            renderable = renderable.blank_copy(escaping.visible(renderable.plain, tab=" "))
        return super().render(renderable, options)


out = Terminal(highlight=False, soft_wrap=True, markup=False, emoji=False)


def say(line: str) -> None:
    """Print a line at once; a reader that has left, as `head` does, stops nothing."""
    try:
        print(escaping.visible(line), flush=True)
    except BrokenPipeError:
        output.drop()


def say_json(line: str) -> None:
    """Print a line of JSON, its letters as escapes where the output cannot hold them, or where they
    would command a terminal.

    Raises BrokenPipeError when its reader has left: who makes the lines may stop.
    """
    line = escaping.json_line(line)
    print(line if output.holds(line) else json.dumps(json.loads(line)), flush=True)


def show_whole(what) -> None:
    """Print a table or a tree with nothing cut off, folded where a terminal is too narrow."""
    Terminal(highlight=False, markup=False, emoji=False,
             width=None if out.is_terminal else 10_000).print(what)


def complain(line: str) -> None:
    """Print a line on standard error, if there is one that somebody reads."""
    with contextlib.suppress(OSError):
        if sys.stderr is not None:
            print(escaping.visible(line), file=sys.stderr, flush=True)
