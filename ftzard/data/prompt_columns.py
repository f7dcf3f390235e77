"""Columns that change what an instruction asks, or what its answer is worth.

A system prompt and a history become messages of the prompt. Every other column of this kind
(tools, images, documents, a second answer, …) would be lost, since nothing learns from it: where it
is filled, the file is refused and the column is named. Columns with other names are book-keeping.
"""

import json
import re
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ftzard.core.text import normalize_instruction


def canonical(name: str) -> str:
    """Return a column's name as the tables of this module spell it: 'Tool Calls' is 'toolcall'.

    Case, what parts words, a number at the end and the plural make no other name.
    """
    name = re.sub(r"[\W_]", "", name.casefold()).rstrip("0123456789")
    if name.endswith("ies"):
        return f"{name[:-3]}y"
    return name[:-1] if name.endswith("s") and not name.endswith("ss") else name


def _names(*names: str) -> frozenset[str]:
    return frozenset(canonical(name) for line in names for name in line.split())


_SYSTEM = _names("system system_prompt system_message system_instruction sys_prompt sys")
_HISTORY = _names("history chat_history conversation_history dialog_history dialogue_history "
                  "previous_turns message_history")
_CHATS = _names("messages conversation dialogue dialog chat turns")
_INPUTS = _names(
    "input user_input context document passage paragraph article text prompt question query",
    "observation background knowledge evidence premise facts schema code table persona options",
    "choices examples few_shot constraints")
_ANSWERS = _names(
    "output response completion answer target reasoning reasoning_content thinking rationale",
    "explanation cot chain_of_thought chosen rejected kto_tag")
_OTHERS = _names(
    "tool tool_calls tool_choice tool_definitions available_tools function function_call image img",
    "picture image_path image_url audio audio_path video video_path file attachment")
#: What no `--label` can take: they hold a second answer or a verdict on one, not the wanted answer.
_PREFERENCES = _names("rejected kto_tag")
#: What a template puts around a question and its answer: headings, names of roles, tokens in angle
#: or square brackets, and the sentence with which Alpaca's template begins.
_TEMPLATE = re.compile(
    r"below is an instruction that describes a task(, paired with an input that provides further "
    r"context)?\. write a response that appropriately completes the request\."
    r"|<\|im_start\|>\s?(system|user|assistant)\b|<\|[a-z_ ]{1,30}\|>|</?s>|<(bos|eos)>"
    r"|<(start|end)_of_turn>( ?(user|model)\b)?|\[/?(inst|sys)\]|<</?sys>>"
    r"|(#{1,6} ?)?\b(instruction|input|output|response|answer|question|prompt|context|system|user"
    r"|human|assistant|q|a) ?:|#{1,6} ?(instruction|input|output|response|answer|question|user"
    r"|human|assistant)\b", re.IGNORECASE)


@dataclass(frozen=True)
class PromptColumns:
    """Columns of a file beside those that the config names; None or empty where it has none.

    Attributes:
        system, history: Become messages.
        unlearned: Must be empty.
    """

    system: str | None
    history: str | None
    unlearned: tuple[str, ...]


def find(header: Iterable[str], named: Collection[str], *, ignored: Collection[str] = (),
         answers: bool = True) -> PromptColumns:
    """Find the columns of a file that belong to the prompt although the config does not name them.

    Args:
        header: the file's columns.
        named: columns that are read under a name of the config.
        ignored: columns that the user leaves out on purpose (data.ignored_columns).
        answers: whether answers are read; otherwise a column with answers is no matter.
    """
    others = [c for c in dict.fromkeys(header) if c not in named and c not in ignored]
    system, history = (next((c for c in others if canonical(c) in names), None)
                       for names in (_SYSTEM, _HISTORY))
    known = {*_SYSTEM, *_HISTORY, *_CHATS, *_INPUTS, *_OTHERS, *(_ANSWERS if answers else ())}
    return PromptColumns(system, history, tuple(
        c for c in others if canonical(c) in known and c not in (system, history)))


def filled(column: str, cells: Sequence[str], question: Sequence[Sequence[str]],
           answer: Sequence[Sequence[str]]) -> int:
    """Return how many cells say something that is left out of both the question and the answer.

    A cell loses nothing if it is a part of what is read (the instruction, say, or the last line of
    the answer), or a rendering of it: without those parts and a template's marks nothing is left.

    Args:
        column: its name, which decides what it may repeat: the question or the answer.
        cells: its cells.
        question: of each row the texts that are read as the question.
        answer: of each row the texts that are read as the answer.
    """
    name = canonical(column)
    own = question if name in _INPUTS else answer if name in _ANSWERS - _PREFERENCES else None
    count = 0
    for place, cell in enumerate(cells):
        if is_blank(cell) or name in _CHATS and cell.strip().isdecimal():  # how many turns
            continue
        count += own is None or not _repeats(
            cell, own[place], (*question[place], *answer[place]))
    return count


def _repeats(cell: str, own: Sequence[str], read: Sequence[str]) -> bool:
    """Return whether a cell says no more than texts that are read.

    Args:
        cell: the cell.
        own: the texts of which it has to repeat one, as a whole or in part.
        read: all that is read, `own` among it, which a template may have put around that.
    """
    cell, own, read = _spaced(cell), [*map(_spaced, own)], [*map(_spaced, read)]
    if any(_as_words(cell).search(text) for text in own):
        return True
    if not any(text and _as_words(text).search(cell) for text in own):
        return False
    for text in sorted(filter(None, read), key=len, reverse=True):
        cell = _as_words(text).sub(" ", cell, count=1)
    return not re.search(r"\w", _TEMPLATE.sub(" ", cell))


def _spaced(text: str) -> str:
    """Return a text as `wording` has it, with one space for white space of any kind."""
    return " ".join(normalize_instruction(text).split())


def _as_words(text: str) -> re.Pattern:
    """Return a pattern that finds a text, but not within a word: 'no' is no part of 'nothing'."""
    return re.compile(("(?<!\\w)" if text[:1].isalnum() else "") + re.escape(text)
                      + ("(?!\\w)" if text[-1:].isalnum() else ""))


def is_blank(cell: object) -> bool:
    """Return whether a cell, perhaps of JSON, says nothing: no text, `[]`, `[[]]`, `null`."""
    if cell is None:
        return True
    if isinstance(cell, list):
        return all(map(is_blank, cell))
    if isinstance(cell, dict):
        return all(map(is_blank, cell.values()))
    if not isinstance(cell, str):
        return cell != cell  # NaN
    text = cell.strip()
    if text[:1] in ("[", "{") or text == "null":
        try:
            value = json.loads(text)
        except json.JSONDecodeError:
            return False
        return not isinstance(value, str) and is_blank(value)
    return not text


def refusal(counts: Mapping[str, int], rows: int, *, input_free: bool, messages_free: bool) -> str:
    """Return the sentence that refuses filled columns.

    Args:
        counts: rows in which each of the columns is filled.
        rows: rows of the file.
        input_free: whether data.input_column names no column yet, or an empty one.
        messages_free: the same of data.messages_column.
    """
    filled = ", ".join(f"'{c}' (filled in {count} of {rows} rows)" for c, count in counts.items())
    one = len(counts) == 1
    remedies = []
    for column in counts:
        name = canonical(column)
        if name in _INPUTS and input_free:
            remedies.append(f"If '{column}' is what the instruction is about, set "
                            f"data.input_column={column} ('ftzard init' takes it as --input "
                            f"{shlex.quote(column)}).")
        elif name in _CHATS and messages_free:
            remedies.append(f"If '{column}' holds chats, set data.messages_column={column} "
                            f"('ftzard init' takes it as --messages {shlex.quote(column)}).")
        elif name in _ANSWERS - _PREFERENCES:
            remedies.append(f"If '{column}' is the wanted answer, set data.label_column={column} "
                            f"('ftzard init' takes it as --label {shlex.quote(column)}).")
    options = " ".join(f"--ignore {shlex.quote(column)}" for column in counts)
    return (f"column{'' if one else 's'} {filled} belong{'s' if one else ''} to what is asked or "
            f"answered, but {'is' if one else 'are'} not learned and would be lost. "
            f"{' '.join([*remedies, ''])}To leave {'it' if one else 'them'} out on purpose, set "
            f"data.ignored_columns=[{','.join(counts)}] ('ftzard init' takes it as {options}).")


def turns(history: object) -> tuple[list[dict], str]:
    """Return (messages, '' or what is wrong) of a history: pairs of question and answer.

    Args:
        history: a list of pairs, a list of messages, or either as JSON.
    """
    if is_blank(history):
        return [], ""
    if isinstance(history, str):
        try:
            history = json.loads(history)
        except json.JSONDecodeError:
            return [], "a history that is not JSON"
    if not isinstance(history, list):
        return [], "a history that is no list of question and answer"
    if all(isinstance(turn, dict) for turn in history):
        return history, ""
    messages = []
    for pair in history:
        if not (isinstance(pair, list) and len(pair) == 2
                and all(isinstance(content, str) for content in pair)):
            return [], "a history that is no list of question and answer"
        messages += [{"role": role, "content": content}
                     for role, content in zip(("user", "assistant"), pair, strict=True)]
    return messages, ""
