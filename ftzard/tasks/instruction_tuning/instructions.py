"""Rows of instruction tuning: an instruction, what it is about, and the answer; or a chat.

Read and cleaned they are tables like those of classification: `text` is what is asked, as a person
reads it, and decides the row's id, side and duplicates; `label` is the wanted answer. `messages`
keeps what is asked as JSON, for the template that puts it to a model: a list of role and content,
the last of the user's. A user's message with an input has it beside, under the key `input`. A
system prompt and a history in columns of their own come first (`prompt_columns`).
"""

import json
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from ftzard.core.text import wording
from ftzard.data import json_lines, reading
from ftzard.data.cleaning import DUPLICATE, rejected_rows, row_ids, text_keys, whole_characters
from ftzard.data.identity import FIRST, canonical, refuse_rounded
from ftzard.data.splitting import canonical_split
from ftzard.errors import DataError
from ftzard.tasks.instruction_tuning import prompt_columns

ROLES = ("system", "user", "assistant")
#: What the older form of chats, with `from` and `value`, calls its roles.
_OLDER = {"human": "user", "gpt": "assistant"}
#: Types of a part that is text, in chats whose contents are lists of parts.
_TEXT_PARTS = ("text", "input_text", "output_text")
NO_LIST = "messages are no list of role and content"
#: What a message may have beside its words without being another one: book-keeping of who, when
#: and where it comes from. Anything else that it says would be lost, and so is refused.
HARMLESS = ("created_at", "created_date", "date", "id", "lang", "language", "message_id", "model",
            "name", "parent_id", "timestamp")


def read(
    path: Path,
    *,
    instruction_column: str,
    output_column: str | None,
    input_column: str | None = None,
    messages_column: str | None = None,
    group_column: str | None = None,
    split_column: str | None = None,
    encoding: str = "utf-8",
    delimiter: str = ",",
    quoting: str = "csv",
    lacking: Collection[str] = (),
    ignored: Collection[str] = (),
) -> pd.DataFrame:
    """Read a delivery as columns row (int64, from 0), text (the instruction), input, messages
    (JSON), source and, where named, label, group, split: strings as in the file, '' where missing;
    where the file has them, system and history (JSON).

    output_column: None reads what has no answers yet. messages_column: a list in JSON lines and
    parquet, JSON in CSV; a file has it or the instruction's columns, or both, and then one row may
    have messages and another an instruction. lacking: columns that this file may do without.
    ignored: columns that may be filled although nothing learns from them.
    Raises DataError, naming the file and the line, for whatever cannot be read without guessing,
    and for a filled column that belongs to the question and would be lost.
    """
    columns = {"text": instruction_column, "input": input_column, "label": output_column}
    columns = {name: column for name, column in columns.items() if column is not None}
    there = reading.header(path, encoding=encoding, delimiter=delimiter, quoting=quoting)
    wanted = columns
    if messages_column in there and instruction_column not in there:
        wanted = {name: column for name, column in columns.items()
                  if name == "label" and column in there}
    wanted = {name: column for name, column in wanted.items()
              if column in there or column not in lacking}
    if messages_column in there:
        wanted["messages"] = messages_column
    wanted |= {name: column for name, column in
               (("group", group_column), ("split", split_column)) if column is not None}
    beside = prompt_columns.find(there, wanted.values(), ignored=ignored,
                                 answers=output_column is not None)
    optional = {"source": reading.SOURCE} | {
        name: column for name, column in (("system", beside.system), ("history", beside.history))
        if column is not None}
    unlearned = {f"unlearned {column}": column for column in beside.unlearned}
    cells = reading.read_cells(
        path, wanted, optional | unlearned, nested=("messages", "history", *unlearned),
        texts=(*reading.TEXTS, "label"), encoding=encoding, delimiter=delimiter, quoting=quoting,
        remedy="Correct the file's header, or set data.{name}_column.")
    rows = len(next(iter(cells.values())))
    question, answer = _parts(cells, rows) if unlearned else ((), ())
    lost = {column: prompt_columns.filled(column, cells.pop(name).to_pylist(), question, answer)
            for name, column in unlearned.items()}
    lost = {column: count for column, count in lost.items() if count}
    if lost:
        free = {f"{name}_free": name not in cells or all(map(prompt_columns.is_blank,
                                                             cells[name].to_pylist()))
                for name in ("input", "messages")}
        raise DataError(f"{path}: " + prompt_columns.refusal(lost, rows, **free))
    frame = pd.DataFrame({name: cell.to_pandas() for name, cell in cells.items()}, dtype="str")
    frame.insert(0, "row", np.arange(len(frame), dtype="int64"))
    for name in ("text", "input", "messages", "source", *(["label"] if output_column else [])):
        if name not in frame:
            frame[name] = pd.Series("", frame.index, dtype="str")
    return frame


def not_read(path: Path, columns: Collection[str | None], *, ignored: Collection[str] = (),
             encoding: str = "utf-8", delimiter: str = ",", quoting: str = "csv") -> list[str]:
    """Return the filled columns of a file that `read` makes nothing of, in the file's order.

    Args:
        path: a file that `read` takes.
        columns: what the config names; None names none.
        ignored: columns that are left out on purpose, and so are not listed.
        encoding: how the file is written, as are delimiter and quoting.
        delimiter: the same.
        quoting: the same.
    """
    written = {"encoding": encoding, "delimiter": delimiter, "quoting": quoting}
    there = reading.header(path, **written)
    beside = prompt_columns.find(there, columns, ignored=ignored)
    known = {*columns, *ignored, beside.system, beside.history, reading.SOURCE}
    others = {name: name for name in dict.fromkeys(there) if name.strip() and name not in known}
    if not others:
        return []
    cells = reading.read_cells(path, others, nested=tuple(others), **written)
    return [name for name, column in cells.items()
            if not all(map(prompt_columns.is_blank, column.to_pylist()))]


def _parts(cells: Mapping[str, pa.ChunkedArray], rows: int
           ) -> tuple[list[list[str]], list[list[str]]]:
    """Return the texts that each row's question is made of, and those of its answer.

    Of a chat the last message, if it is the assistant's, is the answer.
    """
    text, about, label, messages = (
        cells[name].to_pylist() if name in cells else [""] * rows
        for name in ("text", "input", "label", "messages"))
    question = [[*filter(None, parts)] for parts in zip(text, about, strict=True)]
    answer = [[given] if given else [] for given in label]
    for place, cell in enumerate(messages):
        said, wrong = _chat(cell) if cell else ([], NO_LIST)
        for number, message in enumerate([] if wrong else said, start=1):
            last = number == len(said) and message["role"] == "assistant"
            (answer if last else question)[place] += filter(None, (message["content"],
                                                                   message.get("input")))
    return question, answer


def clean(
    raw: pd.DataFrame, *, batch: str, max_characters: int = 5000, identity: int = FIRST
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Clean one delivery and take out the rows that cannot be used.

    raw: as `read` returns it. max_characters: most of a row's text, and most of its answer.
    Returns (cleaned, rejected): cleaned has id, batch, row, text, label (if raw has it), messages,
    source and, where raw has them, split and group; rejected has batch, row, the text as it was
    given and one reason each. Both are in the order of `raw`. The same answer to a text that is
    spelled the same, but for its spaces, is a duplicate; another answer to it is not, nor is a text
    with another sign or case. identity: version of the rules by which names are the same. With a
    published split, duplicates are only taken out of training.
    """
    raw, halved = whole_characters(raw, identity)
    answered = "label" in raw
    rows = [_understood(row, answered, max_characters)
            for row in raw.fillna("").itertuples(index=False)]
    messages, labels, reasons = zip(*rows, strict=True) if rows else ((), (), ())
    frame = pd.DataFrame({"row": raw["row"].to_numpy(dtype="int64")})
    frame["text"] = pd.Series([as_text(m) for m in messages], dtype="str")
    if answered:
        frame["label"] = pd.Series(list(labels), dtype="str")
    frame["messages"] = pd.Series([to_json(m) for m in messages], dtype="str")
    frame["source"] = raw["source"].fillna("").astype("str").to_numpy()
    for column in ("split", "group"):
        if column in raw:
            frame[column] = raw[column].fillna("").reset_index(drop=True).astype("str")
    if "split" in frame:
        frame["split"] = canonical_split(frame["split"], identity)
    if "group" in frame and identity != FIRST:
        refuse_rounded(frame["group"], "data.group_column")
        frame["group"] = canonical(frame["group"])

    reason = np.array(reasons, dtype=object)
    reason[halved] = json_lines.NO_CHARACTER
    comparable = reason == ""
    if "split" in frame:
        comparable &= ~frame["split"].isin(["validation", "test"]).to_numpy()
    where = np.flatnonzero(comparable)
    asked = pd.DataFrame({"text": text_keys(frame.iloc[where]).to_numpy()})
    if answered:
        asked["label"] = frame["label"].iloc[where].to_numpy()
    reason[where[asked.duplicated().to_numpy(dtype=bool)]] = DUPLICATE

    used = reason == ""
    cleaned = frame[used].reset_index(drop=True)
    cleaned.insert(0, "batch", pd.Series(batch, cleaned.index, dtype="str"))
    ids = row_ids(batch, cleaned["row"], cleaned["text"].tolist())
    cleaned.insert(0, "id", pd.Series(ids, dtype="str"))
    given = frame["text"].where(frame["text"] != "", raw["text"].where(
        raw["messages"] == "", raw["messages"]).reset_index(drop=True))
    return cleaned, rejected_rows(batch, raw["row"][~used], given[~used], reason[~used])


def as_text(messages: Sequence[dict]) -> str:
    """Return what is asked as a person reads it: '' for no message at all."""
    told = ["\n\n".join(filter(None, (m["content"], m.get("input")))) for m in messages]
    if len(messages) == 1:
        return told[0]
    return "\n\n".join(f"{m['role']}: {words}" for m, words in zip(messages, told, strict=True))


def to_json(messages: Sequence[dict]) -> str:
    """Return messages as the tables keep them."""
    return json.dumps(list(messages), ensure_ascii=False)


def one_turn(instruction: str, about: str = "") -> list[dict]:
    """Return the messages of an instruction and, if it has one, its input."""
    turn = {"role": "user", "content": instruction}
    return [{**turn, "input": about} if about else turn]


def _understood(row, answered: bool, most: int) -> tuple[list[dict], str, str]:
    """Return (messages, answer, '' or why the row cannot be used) of one raw row."""
    instruction, about = wording(row.text), wording(row.input)
    answer = wording(row.label) if answered else ""
    system, history = (getattr(row, name, "") for name in ("system", "history"))
    if not _blank(row.messages):
        if not (_blank(instruction) and _blank(about)):
            return [], "", "both an instruction and messages"
        messages, reason = _chat(row.messages)
        if not reason:
            messages, reason = preceded(messages, system, history)
        if not reason:
            messages, answer, reason = _parted(messages, answer, answered)
    elif _blank(instruction):
        return [], "", "empty instruction"
    else:
        messages, reason = preceded(
            one_turn(instruction, "" if _blank(about) else about), system, history)
    if not reason and answered and _blank(answer):
        reason = "empty answer"
    if not reason and len(as_text(messages)) > most:
        reason = f"text longer than {most} characters"
    if not reason and len(answer) > most:
        reason = f"answer longer than {most} characters"
    return messages, answer, reason


def preceded(messages: Sequence[dict], system: str, history: object
             ) -> tuple[list[dict], str]:
    """Return (messages, '' or what is wrong) with a system prompt and a history before them.

    Args:
        messages: what is asked: one turn, or a chat, which needs no history.
        system: the system prompt; '' is none.
        history: earlier turns as `prompt_columns.turns` takes them.
    """
    system = wording(system)
    earlier, reason = prompt_columns.turns(history)
    if not reason and earlier:
        earlier, reason = chat(earlier)
    if reason:
        return [], reason
    if earlier and len(messages) > 1:
        return [], "both a history and messages"
    if not _blank(system):
        first = (earlier or messages)[0]
        if first["role"] != "system":
            earlier = [{"role": "system", "content": system}, *earlier]
        elif first["content"] != system:
            return [], "two system prompts"
    if not earlier:
        return list(messages), ""
    return [*earlier, *messages], _disorder([*earlier, *messages])


def _blank(text: str) -> bool:
    """Return whether nothing of a text can be seen."""
    return all(unicodedata.category(c)[0] in "ZC" or "\ufe00" <= c <= "\ufe0f" for c in text)


def chat(given: object) -> tuple[list[dict], str]:
    """Return (messages, '' or what is wrong with them) of a chat as JSON has it.

    Messages have role, content and, of a user, input, if they have one. A key beside these that
    says anything, such as 'tool_calls', is wrong: it would be lost.
    """
    if not isinstance(given, list) or not all(isinstance(m, dict) for m in given):
        return [], NO_LIST
    if json_lines.half_pair(given):
        return [], json_lines.NO_CHARACTER
    messages: list[dict] = []
    for message in given:
        role_key, content_key = (new if new in message else old for new, old in
                                 (("role", "from"), ("content", "value")))
        role = message.get(role_key)
        others = message.keys() - {role_key, *HARMLESS}  # a call of a tool may have no content
        if not isinstance(role, str) or content_key not in message and not others:
            return [], NO_LIST
        content, wrong = _content(message.get(content_key))
        if wrong:
            return [], wrong
        turn = {"role": _OLDER.get(role, role), "content": wording(content)}
        about = message.get("input") if turn["role"] == "user" else None
        if isinstance(about, list | dict) and about:
            return [], f"an input that is a {type(about).__name__}, no text or number"
        if not _empty(about):
            about = wording(about if isinstance(about, str) else json.dumps(about))
            turn |= {"input": about} if not _blank(about) else {}
        known = {role_key, content_key, *HARMLESS, *(["input"] if turn["role"] == "user" else [])}
        for key, said in message.items():
            if key not in known and not _empty(said):
                return [], f"messages with '{key[:40]}', which are not learned"
        messages.append(turn)
    return messages, _disorder(messages)


def _content(content: object) -> tuple[str, str]:
    """Return (the words of a message's content, '' or why it is no text).

    A list of parts is one text, a part a line, if all of them are texts.
    """
    if content is None:  # as beside 'tool_calls', which are named as what is not learned
        return "", ""
    if isinstance(content, str):
        return content, ""
    if not isinstance(content, list):
        return "", f"a content that is a {type(content).__name__}, no text"
    words = []
    for part in content:
        if not isinstance(part, dict):
            return "", f"a content that is a list of {type(part).__name__}, no text"
        kind = part.get("type", "text")
        if kind not in _TEXT_PARTS or not isinstance(part.get("text"), str):
            return "", f"a part of type '{str(kind)[:40]}', which is not learned"
        for key, said in part.items():
            if key not in ("type", "text", "cache_control", *HARMLESS) and not _empty(said):
                return "", f"a part with '{key[:40]}', which is not learned"
        words.append(part["text"])
    return "\n".join(words), ""


def _empty(said: object) -> bool:
    """Return whether a value of JSON says nothing: null, no text, an empty list or object."""
    return said is None or said in ([], {}) or isinstance(said, str) and not said.strip()


def _chat(cell: str) -> tuple[list[dict], str]:
    """Return (messages, '' or what is wrong with them) of a cell with JSON."""
    try:
        given = json_lines.parse(cell)
    except ValueError:
        return [], "messages are not JSON"
    return chat(given)


def _disorder(messages: Sequence[dict]) -> str:
    """Return what is wrong with the roles of messages: a system's first, then in turns the user's
    and the assistant's; '' if nothing is."""
    before = ""
    for number, message in enumerate(messages):
        role = message["role"]
        if role not in ROLES:
            return f"unknown role '{role[:40]}'"
        if role == "system" and number or role == "assistant" and before != "user" or \
                role == "user" and before == "user":
            after = f"{role} after {before}" if before else f"they begin with {role}"
            return f"messages in the wrong order: {after}"
        if _blank(message["content"]) and not (role == "assistant" and number + 1 == len(messages)):
            return f"empty message of the {role}"
        before = role
    return "" if before in ("user", "assistant") else "messages without a user's"


def _parted(messages: list[dict], answer: str, answered: bool) -> tuple[list[dict], str, str]:
    """Return (messages before the answer, the answer, '' or what is wrong) of a chat in order.

    answer: what the row's own column for it says, if anything.
    """
    asks = messages[-1]["role"] == "user"
    if not answered:
        return messages, "", "" if asks else "nothing is asked: the last message is the assistant's"
    if asks:
        return messages, answer, "" if answer else "no answer"
    *messages, last = messages
    two = answer not in ("", last["content"])
    return messages, last["content"], "two answers" if two else ""
