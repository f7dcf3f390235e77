"""Keys as a terminal sends them, a screen of its own, and a text that is edited with them."""

import contextlib
import os
import select
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from dataclasses import dataclass

ENTER = ("\r", "\n")
ESCAPE = "\x1b"

# Keys of a free answer's editor: as a terminal sends them, beside the usual ones with Ctrl.
MARK = "▏"
NEW_LINE = ("\x0e", "\x1b\r", "\x1b\n")  # Ctrl-N, or Alt and enter
BACKSPACE, DELETE = ("\x7f", "\x08"), ("\x1b[3~", "\x04")
WORD_AWAY, ALL_AWAY = "\x17", "\x15"  # Ctrl-W, Ctrl-U
# What a terminal that was asked to (bracketed paste) puts around a pasted text.
PASTED, PASTE_ENDS = "\x1b[200~", "\x1b[201~"
#: Key -> where it moves to, of the text before and after.
MOVES: dict[str, Callable[[str, str], int]] = {
    "\x1b[D": lambda before, after: len(before) - 1,
    "\x1b[C": lambda before, after: len(before) + 1,
    **dict.fromkeys(("\x1b[H", "\x1bOH", "\x1b[1~", "\x01"),
                    lambda before, after: before.rfind("\n") + 1),
    **dict.fromkeys(("\x1b[F", "\x1bOF", "\x1b[4~", "\x05"),
                    lambda before, after: len(before) + len(after.split("\n", 1)[0])),
}


@dataclass(frozen=True)
class Draft:
    """A free answer while it is written: its text, and where the next character goes."""

    text: str
    at: int

    def key(self, key: str) -> "Draft":
        """Return the draft after a key; one that means nothing here changes nothing."""
        before, after = self.text[:self.at], self.text[self.at:]
        if key in NEW_LINE:
            return Draft(f"{before}\n{after}", self.at + 1)
        if key in BACKSPACE:
            return Draft(before[:-1] + after, max(0, self.at - 1))
        if key in DELETE:
            return Draft(before + after[1:], self.at)
        if key == WORD_AWAY:
            kept = before.rstrip()
            kept = kept[:max(kept.rfind(" "), kept.rfind("\n")) + 1]
            return Draft(kept + after, len(kept))
        if key == ALL_AWAY:
            return Draft("", 0)
        if key in MOVES:
            return Draft(self.text, min(max(MOVES[key](before, after), 0), len(self.text)))
        if key.startswith(PASTED):
            key = key.removeprefix(PASTED).removesuffix(PASTE_ENDS).replace("\r", "\n")
        elif not (key.isprintable() or key == "\u200d"):  # which joins several emoji to one
            return self
        return Draft(before + key + after, self.at + len(key))

    @property
    def shown(self) -> str:
        """The text with a mark where the next character goes."""
        return f"{self.text[:self.at]}{MARK}{self.text[self.at:]}"


def draw(text: str) -> None:
    sys.stdout.write("\x1b[2J\x1b[H" + text.replace("\n", "\r\n"))
    sys.stdout.flush()


@contextlib.contextmanager
def whole_screen() -> Iterator[Iterator[str]]:
    """Show a screen of its own and yield the keys; the terminal is as before, however it ends."""
    source = sys.stdin.fileno()
    before = termios.tcgetattr(source)
    try:
        tty.setcbreak(source)  # Ctrl-C stays Ctrl-C
        sys.stdout.write("\x1b[?1049h\x1b[?2004h")
        yield _pressed(source)
    finally:
        termios.tcsetattr(source, termios.TCSADRAIN, before)
        sys.stdout.write("\x1b[?2004l\x1b[?1049l")
        sys.stdout.flush()


def _pressed(source: int) -> Iterator[str]:
    """Yield what each key sends until the terminal is gone: a character, or an escape sequence.

    A pasted text is one key, so that nothing in it is taken for a command.
    """
    while data := _read(source):
        if data == b"\x1b":
            data += _sequence(source)
            while data.startswith(PASTED.encode()) and not data.endswith(PASTE_ENDS.encode()):
                more = _read(source)
                if not more:
                    return
                data += more
            yield data.decode("utf-8", errors="replace")
            continue
        while 0xC0 <= data[0] < 0xF8 and len(data) < 2 + (data[0] >= 0xE0) + (data[0] >= 0xF0):
            more = _read(source)
            if not more:
                return
            data += more
        yield data.decode("utf-8", errors="replace")


def _sequence(source: int) -> bytes:
    """Return what follows an escape character at once: nothing if the key was Escape itself."""
    if not _more(source):
        return b""
    found = last = _read(source)
    if found in (b"[", b"O"):
        while _more(source) and (last := _read(source)):
            found += last
            if b"@" <= last <= b"~":
                break  # the parameters of a sequence end with such a byte
    return found


def _more(source: int) -> bool:
    return bool(select.select([source], [], [], 0.02)[0])


def _read(source: int) -> bytes:
    try:
        return os.read(source, 1)
    except OSError:
        return b""  # the terminal has been closed
