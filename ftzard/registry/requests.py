"""What one line or record asks of a model: a text, an instruction with its input, or a chat.

What cannot be asked is the line's error. Values are read as training reads them: a number is its
text, a missing value is no text.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ftzard.core.text import is_blank, normalize_instruction
from ftzard.data import json_lines, prompt_columns
from ftzard.data.messages import NO_LIST, as_text, chat, one_turn, preceded
from ftzard.registry.input_lines import Text

_HALF = "{} is half of a surrogate pair, no character; write both halves, or leave it out"


@dataclass(frozen=True)
class Line:
    """A line of the input: its number from 1, the text in it or why there is none, its id.

    Attributes:
        messages: What is asked in place of the text alone, where the line brings an input or a
            chat.
    """

    number: int
    raw: str
    text: str | None = None
    error: str | None = None
    id: object = None
    messages: tuple[dict, ...] | None = None


@dataclass(frozen=True)
class Columns:
    """Where a record has what is asked: the text, and what may stand beside it, or None.

    Attributes:
        ignored: Columns of the prompt that are left out on purpose; None: the model classifies
            texts, and no other column belongs to them.
    """

    text: str
    input: str | None = None
    messages: str | None = None
    ignored: tuple[str, ...] | None = None


def of_text(text: Text) -> Line:
    """Return a line that is a text as it stands."""
    half = "" if text.error else json_lines.half_pair(text.raw)
    error = _HALF.format(half) if half else text.error
    return Line(text.number, text.raw, None if error else text.raw, error)


def of_json(line: Line, column: Columns) -> Line:
    """Return a line of JSON with what it asks, or with the error why it cannot."""
    if not line.raw.strip():
        return line
    try:
        record = json_lines.parse(line.raw)
    except ValueError as error:
        return Line(line.number, line.raw, error=f"not JSON ({error})")
    half = json_lines.half_pair(record)
    if half:
        id_ = record.get("id") if isinstance(record, dict) else None
        return Line(line.number, line.raw, id=None if json_lines.half_pair(id_) else id_,
                    error=_HALF.format(half))
    if isinstance(record, str):
        return Line(line.number, line.raw, record)
    if not isinstance(record, dict):
        return Line(line.number, line.raw, error=f"no text under '{column.text}' (there is: "
                                                 f"{type(record).__name__})")
    return of_record(Line(line.number, line.raw, id=record.get("id")), record, column)


def of_record(line: Line, record: Mapping, column: Columns) -> Line:
    """Return a line with all that its record asks, or with the error why it cannot."""
    text = _number_as_text(record.get(column.text))
    messages = record.get(column.messages) if column.messages else None
    about, wrong = _about(record, column)
    system, history, lost = _beside(record, column)
    if wrong or lost:
        return replace(line, error=wrong or lost)
    if not (messages is None or isinstance(messages, str) and not messages.strip()):
        beside = column.text if text not in (None, "") else column.input if about else None
        if beside:
            return replace(line, error=f"both '{column.messages}' and '{beside}', expected one")
        return _chat(line, messages, system, history)
    if text is None and column.text in record:
        text = ""  # a missing value, as it is in training
    if text is None:
        return replace(line, error=f"no text under '{column.text}' (there is: {sorted(record)})")
    if not isinstance(text, str):
        return replace(line, error=f"'{column.text}' holds a {type(text).__name__}, expected a "
                                   "text or a number")
    if is_blank(text) or not (about or system or history):
        # An input without an instruction asks nothing: it is an empty text.
        return replace(line, text=text)
    turns, wrong = preceded(one_turn(normalize_instruction(text), about), system, history)
    if wrong:
        return replace(line, error=wrong)
    return replace(line, text=as_text(turns), messages=tuple(turns))


def _number_as_text(value: object) -> object:
    """Return a number, and true or false, as the text that training makes of it."""
    if isinstance(value, float) and not math.isfinite(value):
        return ""
    return json.dumps(value) if isinstance(value, bool | int | float) else value


def _beside(record: Mapping, column: Columns) -> tuple[str, object, str]:
    """Return (system prompt, history, '' or why the record cannot be asked) of other columns."""
    if column.ignored is None:
        return "", None, ""
    columns = prompt_columns.find(record, (column.text, column.input, column.messages),
                                  ignored=column.ignored, answers=False)
    question = [text for text in (record.get(column.text), record.get(column.input))
                if isinstance(text, str)]
    lost = [name for name in columns.unlearned if not prompt_columns.is_blank(record[name])
            and prompt_columns.filled(name, [_as_cell(record[name])], [question], [[]])]
    if lost:
        return "", None, (f"'{lost[0]}' is filled, but the model is not asked with it; leave it "
                          f"out, or name it in data.ignored_columns=[{','.join(lost)}]")
    system = record[columns.system] if columns.system is not None else ""
    if not (system is None or isinstance(system, str)):
        return "", None, f"'{columns.system}' holds a {type(system).__name__}, expected a text"
    history = record[columns.history] if columns.history is not None else None
    return system or "", None if prompt_columns.is_blank(history) else history, ""


def _as_cell(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _about(record: Mapping, column: Columns) -> tuple[str, str]:
    """Return (the input that a record brings, '' or why it has none that can be read)."""
    about = record.get(column.input) if column.input else None
    if isinstance(about, list | dict):
        return "", f"'{column.input}' holds a {type(about).__name__}, expected a text or a number"
    if about is None:
        return "", ""
    return normalize_instruction(about if isinstance(about, str) else json.dumps(about)), ""


def _chat(line: Line, messages: object, system: str = "", history: object = None) -> Line:
    """Return a line with a chat, read as training reads one; messages: a list, in CSV its JSON."""
    if isinstance(messages, str):
        try:
            messages = json_lines.parse(messages)
        except ValueError as error:
            return replace(line, error=f"its messages are not JSON ({error})")
    turns, wrong = chat(messages)
    if wrong == NO_LIST or not messages:
        wrong = "its messages are no list of objects with a 'role' and a 'content'"
    if not wrong:
        turns, wrong = preceded(turns, system, history)
    if not wrong and turns[-1]["role"] != "user":
        wrong = "nothing is asked: the last message is the assistant's"
    if wrong:
        return replace(line, error=wrong)
    return replace(line, text=as_text(turns), messages=tuple(turns))
