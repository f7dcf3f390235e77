"""Cells of the CSV files that people open: safe in a spreadsheet, and the same text again after it.

Excel, LibreOffice and Google Sheets take a cell that begins with `=`, `+`, `-` or `@` for a
formula, which can fetch an address or start a program. Such a cell is written with an apostrophe
before it, which all three take for text; so is one that they would write as another number or as a
date (`0012`, `12e5`, `1-2`), and one that begins with an apostrophe, so that the apostrophe can be
taken away again: `unescape(escape(text)) == text` for every text. Where the list separator of a
person's system is `;`, Excel begins a cell behind each `;` of a text, so the beginning of a formula
there gets an apostrophe as well.
"""

import csv
import re

import pandas as pd

SIGN = "'"
#: What begins a formula, in full-width too; spreadsheets look behind space and unseen signs.
_FORMULA = "=+\\-@\uff1d\uff0b\uff0d\uff20\ufe62\ufe63\ufe66\ufe6b"
_BEFORE = "\\s\x00-\x1f\xa0\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff"
#: Numbers that lose a zero, digits or their form, and what looks like a date or a time.
_REWRITTEN = (r"\s*(?:0\d+|\d{12,}|\d+\.\d*0|\d+(?:\.\d+)?[eE][+-]?\d+"
              r"|\d{1,4}(?:[-/.:]\d{1,4}){1,2})\s*\Z")
_BEGINS = re.compile(f"[{_BEFORE}]*[{_FORMULA}]|[\t\r\n]|{SIGN}|{_REWRITTEN}")
_ESCAPED = re.compile(f"{SIGN}(?:{_BEGINS.pattern})")
#: A `;` behind which a formula with a call, or a command of a program, would begin.
_INSIDE = (f"(?=[{_BEFORE}\"{SIGN}]*(?:[=@\uff1d\uff20]|[{_FORMULA}][^;]*[(|]))")
_SPLIT, _SPLIT_ESCAPED = re.compile(f";{_INSIDE}"), re.compile(f";{SIGN}{_INSIDE}")


def escape(text: str) -> str:
    """Return a cell that no spreadsheet takes for a formula; `unescape` gives the text again."""
    text = _SPLIT.sub(f";{SIGN}", text)
    return f"{SIGN}{text}" if _BEGINS.match(text) else text


def unescape(cell: str) -> str:
    """Return the text of a cell that `escape` wrote; any other cell is its own text."""
    cell = cell[1:] if _ESCAPED.match(cell) else cell
    return _SPLIT_ESCAPED.sub(";", cell)


def escaped(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose texts and names of columns are escaped; numbers are as they were."""
    columns = {escape(str(name)): _each(column, escape) for name, column in frame.items()}
    return pd.DataFrame(columns, index=frame.index)


def unescaped(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the table that `escaped` was given."""
    columns = {unescape(str(name)): _each(column, unescape) for name, column in frame.items()}
    return pd.DataFrame(columns, index=frame.index)


def _each(column: pd.Series, change) -> pd.Series:
    if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_datetime64_any_dtype(column):
        return column
    return column.map(lambda cell: change(cell) if isinstance(cell, str) else cell)


#: Cells of text are quoted: a spreadsheet that also separates at `;` or a tab then does not.
QUOTING = csv.QUOTE_NONNUMERIC


def same(cell: str, text: str, form=lambda words: words) -> bool:
    """Return whether a cell that came back holds a text, with its apostrophe, or less one.

    Google Sheets takes an apostrophe away; a file that a program wrote never had one; one whose
    columns a person has changed still has it.

    Args:
        cell: as it was read.
        text: as it was before it was escaped.
        form: what the two are compared by.
    """
    return form(text) in (form(cell), form(unescape(cell))) or form(unescape(text)) == form(cell)
