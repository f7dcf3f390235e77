"""Tables and trees as lines of text that fit a width. No word is ever broken.

Where a table is too wide its sentences are wrapped first, then its least important columns go (a
last line names them and where they can be read), and where even the others have no room each row
becomes a block of lines. A single word that is wider than all of it, such as a hash or a path,
stays in one piece on a longer line: it can be copied.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from ftzard.core import escaping

#: What stands for each tone on a terminal that has colors.
TONES = {"bold": "1", "good": "32", "bad": "31", "warn": "33", "dim": "2"}
GAP = 2
NARROWEST = 16  # of a column of sentences


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        title: The heading.
        right: Whether cells are aligned on the right, as numbers are.
        rank: 0 for a column that is always shown; the higher, the earlier it is dropped where the
            table is too wide.
        prose: Whether cells are sentences or lists, which may be wrapped.
        tone: Returns a cell's tone (see TONES) by its text.
    """

    title: str
    right: bool = False
    rank: int = 0
    prose: bool = False
    tone: Callable[[str], str | None] = lambda text: None


@dataclass
class Table:
    """A table of text.

    Attributes:
        columns: Its columns.
        more: Where the columns that were dropped can be read.
        title: Lines above the table.
        caption: Lines below it.
        rows: Cells of each row.
    """

    columns: Sequence[Column]
    more: str = ""
    title: str = ""
    caption: str = ""
    rows: list[tuple[str, ...]] = field(default_factory=list)

    def add_row(self, *cells: str) -> None:
        """Add a row, a cell per column."""
        self.rows.append(tuple(escaping.visible(cell, tab=" ") for cell in cells))

    def lines(self, width: int | None = None, color: bool = False) -> list[str]:
        """Return the lines of the table, each at most `width` columns wide if words allow it."""
        return [*self._beside(self.title, width), *self._fitted(width, color),
                *self._beside(self.caption, width)]

    def _beside(self, text: str, width: int | None) -> list[str]:
        lines = escaping.visible(text, tab=" ").split("\n") if text else []
        return [part for line in lines for part in wrapped(line, width)]

    def _fitted(self, width: int | None, color: bool) -> list[str]:
        shown = list(range(len(self.columns)))
        while True:
            widths = self._widths(shown, width)
            if widths is not None:
                break
            ranked = [place for place in shown if self.columns[place].rank]
            if not ranked:
                return self._blocks(width, color)
            shown.remove(max(ranked, key=lambda place: (self.columns[place].rank, place)))
        lines = self._laid_out(shown, widths, color)
        gone = [c.title for place, c in enumerate(self.columns) if place not in shown and c.title]
        if gone and self.rows:
            note = f"not shown at this width: {', '.join(gone)}" + (
                f"; {self.more}" if self.more else "")
            lines += [paint(line, "dim", color) for line in wrapped(note, width)]
        return lines

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def _widths(self, shown: list[int], width: int | None) -> list[int] | None:
        """Return the widths of the columns that are shown, or None if they have no room."""
        cells = [[self.columns[place].title, *(row[place] for row in self.rows)]
                 for place in shown]
        widest = [max(cell_len(line) for cell in column for line in cell.split("\n"))
                  for column in cells]
        if width is None:
            return widest
        least = [max(min(natural, NARROWEST), *(cell_len(word) for cell in column
                                                for word in cell.split()), 1)
                 if self.columns[place].prose else natural
                 for place, column, natural in zip(shown, cells, widest, strict=True)]
        room = width - GAP * (len(shown) - 1)
        if sum(least) > room:
            return None
        while sum(widest) > room:
            surplus = [natural - minimum for natural, minimum in zip(widest, least, strict=True)]
            widest[surplus.index(max(surplus))] -= 1
        return widest

    def _laid_out(self, shown: list[int], widths: list[int], color: bool) -> list[str]:
        columns = [self.columns[place] for place in shown]
        lines = [_joined([(c.title, "bold") for c in columns], columns, widths, color)]
        for row in self.rows:
            cells = [wrapped(row[place], room) if column.prose else row[place].split("\n")
                     for place, column, room in zip(shown, columns, widths, strict=True)]
            for number in range(max(map(len, cells))):
                lines.append(_joined(
                    [(cell[number] if number < len(cell) else "", column.tone(row[place]))
                     for place, column, cell in zip(shown, columns, cells, strict=True)],
                    columns, widths, color))
        return lines

    def _blocks(self, width: int | None, color: bool) -> list[str]:
        """Return a block of lines per row: its first cell, and the others under it with titles."""
        first, *others = self.columns
        deep = max((cell_len(c.title) for c in others), default=0) + GAP + 2
        lines: list[str] = []
        for row in self.rows:
            lines += [""] if lines else []
            lines += [paint(line, "bold", color) for line in wrapped(row[0], width)]
            for column, cell in zip(others, row[1:], strict=True):
                if not cell.strip("- "):
                    continue
                room = None if width is None else max(width - deep, 1)
                parts = [part for line in cell.split("\n") for part in wrapped(line, room)]
                for number, part in enumerate(parts):
                    title = column.title if number == 0 else ""
                    lines.append(f"  {title}{' ' * (deep - 2 - cell_len(title))}"
                                 f"{paint(part, column.tone(cell), color)}".rstrip())
        return lines


@dataclass
class Tree:
    """A line and the lines that belong to it."""

    text: str
    tone: str | None = None
    children: list["Tree"] = field(default_factory=list)

    def add(self, text: str, tone: str | None = None) -> "Tree":
        """Add a line below this one and return it."""
        self.children.append(Tree(text, tone))
        return self.children[-1]

    def add_branch(self, title: str, lines: Iterable[str]) -> None:
        """Add lines under a title; without lines, nothing."""
        if lines := list(lines):
            branch = self.add(title, "bold")
            for line in lines:
                branch.add(escaping.one_line(line))

    def lines(self, width: int | None = None, color: bool = False) -> list[str]:
        """Return the lines of the tree, each at most `width` columns wide if words allow it."""
        text = escaping.visible(self.text, tab=" ")
        shown = [paint(line, self.tone, color) for line in wrapped(text, width)]
        for number, child in enumerate(self.children):
            last = number == len(self.children) - 1
            below = child.lines(None if width is None else max(width - 4, 1), color)
            # What is wrapped goes on under its own words, with the line of the branch beside it.
            shown += [("└── " if last else "├── ") + below[0],
                      *(("    " if last else "│   ") + line for line in below[1:])]
        return shown

    def __str__(self) -> str:
        return "\n".join(self.lines())


def _joined(cells: Sequence[tuple[str, str | None]], columns: Sequence[Column],
            widths: Sequence[int], color: bool) -> str:
    parts = []
    for (text, tone), column, width in zip(cells, columns, widths, strict=True):
        space = " " * max(0, width - cell_len(text))
        shown = paint(text, tone, color)
        parts.append(space + shown if column.right else shown + space)
    return (" " * GAP).join(parts).rstrip()


def wrapped(text: str, width: int | None, hang: int = 0) -> list[str]:
    """Wrap a text at spaces only.

    Args:
        text: One line.
        width: Most columns of a line; None for no limit.
        hang: Columns that the second and later lines are indented by.
    """
    if width is None or cell_len(text) <= width:
        return [text]
    lines, line = [], ""
    start = text[:len(text) - len(text.lstrip(" "))]
    for word in text.split():
        longer = f"{line} {word}" if line else f"{start if not lines else ' ' * hang}{word}"
        if line and cell_len(longer) > width:
            lines.append(line)
            longer = f"{' ' * hang}{word}"
        line = longer
    return [*lines, line]


def paint(text: str, tone: str | None, color: bool) -> str:
    """Return a text in a tone, if there are colors."""
    return f"\x1b[{TONES[tone]}m{text}\x1b[0m" if color and tone and text.strip() else text


def cell_len(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len as measured

    return measured(text)
