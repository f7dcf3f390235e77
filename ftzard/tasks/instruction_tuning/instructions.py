"""Rows of instruction tuning: an instruction, what it is about, and the answer; or a chat.

Read and cleaned they are tables like those of classification: `text` is what is asked, as a person
reads it, and decides the row's id, side and duplicates; `label` is the wanted answer. `messages`
keeps what is asked as JSON, for the template that puts it to a model: a list of role and content,
the last of the user's. A user's message with an input has it beside, under the key `input`. A
system prompt and a history in columns of their own come first (`prompt_columns`).
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from ftzard.core.text import normalize_instruction
from ftzard.data import cleaning, json_lines, prompt_columns, reading
from ftzard.data.cleaning import DUPLICATE, rejected_rows, row_ids, whole_characters
from ftzard.data.identity import FIRST, canonical, refuse_rounded
from ftzard.data.messages import (
    NO_LIST,
    as_text,
    blank,
    one_turn,
    parse_chat,
    preceded,
    split_answer,
    to_json,
)
from ftzard.data.splitting import canonical_split
from ftzard.errors import DataError
from ftzard.tasks.instruction_tuning import asked_texts

#: (messages, answer, '' or why the row cannot be used).
Understood = tuple[list[dict], str, str]


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
        turns, wrong = parse_chat(cell) if cell else ([], NO_LIST)
        for number, message in enumerate([] if wrong else turns, start=1):
            last = number == len(turns) and message["role"] == "assistant"
            (answer if last else question)[place] += filter(None, (message["content"],
                                                                   message.get("input")))
    return question, answer


def clean(
    raw: pd.DataFrame, *, batch: str, max_characters: int = 5000, identity: int = FIRST,
    own: Mapping | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Clean one delivery and take out the rows that cannot be used.

    With a published split, duplicates are only taken out of training.

    Args:
        raw: As `read` returns it.
        max_characters: Most of a row's text, and most of its answer. Returns (cleaned, rejected):
            cleaned has id, batch, row, text, label (if raw has it), messages, source and, where
            raw has them, split and group; rejected has batch, row, the text as it was given and
            one reason each. Both are in the order of `raw`. The same answer to a text that is
            spelled the same, but for its spaces, is a duplicate; another answer to it is not, nor
            is a text with another sign or case.
        identity: Version of the rules by which names are the same.
        own: The workspace's own function (`custom_functions.packed`), for what is asked; cleaned
            then has a column cleaned_by with the beginning of its hash.

    Raises:
        DataError: for a function of the workspace's own that fails or is not steady.
    """
    raw, halved = whole_characters(raw, identity)
    answered = "label" in raw
    rows = [_understood(row, answered) for row in raw.fillna("").itertuples(index=False)]
    if own is not None:
        rows = _cleaned(rows, own, raw["row"].tolist())
    rows = [_bounded(row, max_characters) for row in rows]
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
    if own is not None:
        frame["cleaned_by"] = pd.Series(cleaning.cleaned_by(own), frame.index, dtype="str")

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


def text_keys(rows: pd.DataFrame, identity: int = FIRST) -> pd.Series:
    """Return, per row, what two texts share when one repeats the other: all but white space.

    A sign or a capital can change what an instruction asks.
    """
    return pd.Series([" ".join(text.split()) for text in rows["text"]], rows.index, dtype="str")


def append(existing: pd.DataFrame | None, new: pd.DataFrame, *, replace_batch: bool = True,
           identity: int = FIRST) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Add a cleaned batch to the table of all batches, as `data.cleaning.append` does.

    A row repeats another one only if it is the same answer to the same text.
    """
    return cleaning.append(existing, new, replace_batch=replace_batch, identity=identity,
                           keys=text_keys, one_label=False)


def _understood(row, answered: bool) -> Understood:
    """Return (messages, answer, '' or why the row cannot be used) of one raw row."""
    instruction, about = normalize_instruction(row.text), normalize_instruction(row.input)
    answer = normalize_instruction(row.label) if answered else ""
    system, history = (getattr(row, name, "") for name in ("system", "history"))
    if not blank(row.messages):
        if not (blank(instruction) and blank(about)):
            return [], "", "both an instruction and messages"
        messages, reason = parse_chat(row.messages)
        if not reason:
            messages, reason = preceded(messages, system, history)
        if not reason:
            messages, answer, reason = split_answer(messages, answer, answered)
    elif blank(instruction):
        return [], "", "empty instruction"
    else:
        messages, reason = preceded(
            one_turn(instruction, "" if blank(about) else about), system, history)
    if not reason and answered and blank(answer):
        reason = "empty answer"
    return messages, answer, reason


def _cleaned(rows: Sequence[Understood], own: Mapping, numbers: Sequence[int]) -> list[Understood]:
    """Return understood rows with what is asked cleaned by the workspace's own function."""
    used = [place for place, (_, _, reason) in enumerate(rows) if not reason]
    chats, at = [rows[place][0] for place in used], [numbers[place] for place in used]
    asked_texts.require_steady(chats, own, at)
    made = list(rows)
    for place, messages in zip(used, asked_texts.clean(chats, own, at), strict=True):
        _, answer, reason = rows[place]
        empty = next((turn["role"] for turn in messages if blank(turn["content"])), None)
        if empty is not None:
            reason = ("empty instruction" if len(messages) == 1
                      else f"empty message of the {empty}")
        made[place] = messages, answer, reason
    return made


def _bounded(row: Understood, most: int) -> Understood:
    """Return an understood row, refused if what is asked or its answer is too long."""
    messages, answer, reason = row
    if not reason and len(as_text(messages)) > most:
        reason = f"text longer than {most} characters"
    if not reason and len(answer) > most:
        reason = f"answer longer than {most} characters"
    return messages, answer, reason


