"""Data of instruction tuning: an instruction, perhaps with an input, or a chat; and the answer.

The tokens of a row are a prompt, which is read, and the answer, which is learned.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ftzard.config.schema import Config, Data
from ftzard.data import reading, splitting
from ftzard.data.cleaning import check
from ftzard.data.messages import one_turn, to_json
from ftzard.errors import DataError
from ftzard.tasks.instruction_tuning import instructions
from ftzard.tasks.instruction_tuning.exchanges import exchanges_of as repeated_of
from ftzard.tasks.instruction_tuning.instructions import text_keys

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["check", "repeated_of", "text_keys"]

ONE_LABEL = False
COLUMNS = ("id", "batch", "split", "text", "label", "messages", "source", "group")


def read(path: Path, data: Data, *, labelled: bool = True, lacking: Collection[str] = ()
         ) -> pd.DataFrame:
    """Read the raw rows of a file, as `instructions.read` describes them."""
    return instructions.read(
        path, instruction_column=data.text_column, input_column=data.input_column,
        output_column=data.label_column if labelled else None,
        messages_column=data.messages_column, group_column=data.group_column,
        split_column=data.split_column if labelled and data.split == "given" else None,
        ignored=data.ignored_columns or (), lacking=lacking, **reading.layout(data))


def detect(labels: Iterable[str]) -> bool:
    """Return False: other tasks may have such labels, too."""
    return False


def optional_columns(data: Data) -> set[str]:
    """Return the column of inputs: a file in which no instruction has one may lack it."""
    return {data.input_column} - {None}


def unread_columns(path: Path, data: Data) -> list[str]:
    """Return the filled columns of a file that are no part of a prompt or an answer."""
    return instructions.not_read(
        path, (data.text_column, data.input_column, data.label_column, data.messages_column,
               data.group_column, data.split_column),
        ignored=data.ignored_columns or (), **reading.layout(data))


def raw_again(cleaned: pd.DataFrame, data: Data, name: str, *, labelled: bool) -> pd.DataFrame:
    """Return cleaned rows as raw ones: a single turn as instruction and input, others as a chat."""
    if "messages" not in cleaned:
        raise DataError(f"{name} holds rows of another task than this workspace's, "
                        "instruction_tuning; expected rows of the same.")
    rows = cleaned.filter(["text", "label", "group", "split"]).fillna("").astype("str")
    if not labelled:
        rows = rows.drop(columns="label")
    chats = [turns(cell) for cell in cleaned["messages"]]
    single = [len(chat) == 1 for chat in chats]
    inputs = [chat[0].get("input", "") for chat in chats]
    for key, needed, column in (("messages_column", not all(single), data.messages_column),
                                ("input_column", any(inputs), data.input_column)):
        if needed and column is None:
            raise DataError(f"{name} has rows that need data.{key}, which is null; set it to the "
                            "name under which they will go on.")
    return rows.assign(
        source="",
        text=[chat[0]["content"] if one else "" for chat, one in zip(chats, single, strict=True)],
        input=[given if one else "" for given, one in zip(inputs, single, strict=True)],
        messages=["" if one else to_json(chat) for chat, one in zip(chats, single, strict=True)])


def clean(raw: pd.DataFrame, data: Data, *, batch: str, identity: int, cleaning: Mapping
          ) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows that can be used, cleaned, and those that cannot, with a reason each.

    Texts stay as they are written, but for a function of the workspace's own.
    """
    return instructions.clean(raw, batch=batch, max_characters=data.max_characters,
                              identity=identity, own=cleaning.get("own"))


def mark_not_asked(table: pd.DataFrame, arrived: pd.DataFrame, data: Data) -> pd.DataFrame:
    """Return the table as it is."""
    return table


def counted_by(rows: pd.DataFrame) -> pd.Series:
    """Return the sources."""
    return rows["source"]


def check_splits(rows: pd.DataFrame) -> None:
    """Raise DataError for a split without rows."""
    splitting.check_splits(rows)


def turns(messages: str) -> list[dict]:
    """Return the messages of a row, as its `messages` column keeps them."""
    return json.loads(messages)


def tokenizer_corpus(rows: pd.DataFrame, config: Config) -> Iterator[str]:
    """Yield what a tokenizer is to learn from: instructions, inputs, answers, and their frame."""
    from ftzard.tasks.instruction_tuning import chat_template

    around = chat_template.words(config.task.instructions.template)
    for messages, answer in zip(rows["messages"], rows["label"], strict=True):
        for turn in turns(messages):
            yield from filter(None, (turn["content"], turn.get("input")))
        yield from filter(None, (answer, around))


def tokenize(rows: pd.DataFrame, tokenizer: "PreTrainedTokenizerBase", config: Config,
             meta: Mapping | None = None) -> tuple[pd.DataFrame, dict[str, int]]:
    """Return rows with input_ids, prompt_length, length and cut (tokens), and the numbers to log.

    Rows without room for one token of their answer are dropped and counted.

    Raises:
        DataError: If these are more than `data.max_rejected`.
    """
    from ftzard.tasks.instruction_tuning import chat_template, tokenization

    if meta is None:
        template = chat_template.of(config.task.instructions.template, tokenizer)
        longest = config.model.max_length
    else:
        template, longest = chat_template.from_meta(meta["template"]), meta["max_length"]
    encoded = tokenization.encode(
        _messages(rows), rows["label"].tolist() if "label" in rows else None,
        tokenizer, template, longest)
    lost, limit = int(np.sum(encoded.lost)), config.data.max_rejected
    if lost > limit * len(rows):
        raise DataError(
            f"{lost:,} of {len(rows):,} rows have no room for one token of their answer within "
            f"model.max_length={longest}; expected at most {limit:.0%} (data.max_rejected). Raise "
            "model.max_length, or shorten the instructions.")
    columns = (*COLUMNS, "cleaned_by") if "label" in rows else COLUMNS
    tokenized = rows.filter(columns).assign(
        input_ids=encoded.input_ids, prompt_length=encoded.prompt_length, length=encoded.length,
        cut=encoded.cut)
    tokenized = tokenized[~np.asarray(encoded.lost)].reset_index(drop=True)
    supervised = (tokenized["length"] - tokenized["prompt_length"]).groupby(tokenized["split"])
    return tokenized, {
        "rows": len(tokenized), "tokens": int(tokenized["length"].sum()),
        "rows_without_room": lost,
        **{f"supervised_tokens_{split}": int(count) for split, count in supervised.sum().items()
           if count},
        "rows_cut": int((tokenized["cut"] > 0).sum()), "tokens_cut": int(tokenized["cut"].sum())}


def _messages(rows: pd.DataFrame) -> list[list[dict]]:
    """Return the messages of rows; those that a person handed in may have only a text."""
    if "messages" in rows:
        return rows["messages"].map(turns).tolist()
    return [one_turn(text) for text in rows["text"]]


def require_tokens_of(rows: pd.DataFrame, tokenizer: "PreTrainedTokenizerBase", config: Config
                      ) -> None:
    """Raise ModelError for rows that were tokenized otherwise than the config says."""
    from ftzard.tasks.instruction_tuning import chat_template, checks

    template = chat_template.of(config.task.instructions.template, tokenizer)
    checks.answered_as(rows, tokenizer, template, config.model.max_length)


def length_in_characters(rows: pd.DataFrame) -> pd.Series:
    """Return the lengths of texts and answers together."""
    return (rows["text"] + rows["label"]).str.len()
