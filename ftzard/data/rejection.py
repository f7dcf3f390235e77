"""What mends rows that cleaning has rejected: a remedy per reason, the most frequent first."""

import math
import re
from collections.abc import Mapping

import pandas as pd

from ftzard.core.text import clean_texts
from ftzard.data import label_lists

_CHAT = "Correct or delete these chats: a chat is a list of role and content, perhaps a system's " \
        "first, then user and assistant in turns"
#: How a reason begins -> what mends it. {longest}: see `_longest`; {known}: the label map.
REMEDIES = {
    "text longer": "Raise data.max_characters to {longest}",
    "answer longer": "Raise data.max_characters, or shorten these answers",
    "half of a surrogate pair": "Write both halves of these characters, or leave them out",
    "empty text": "Fill or delete these rows, or name the column of the texts in data.text_column",
    "label missing": "Fill or delete these rows, or name the column of the labels in "
                     "data.label_column",
    "unknown label": "Add these labels to data.labels, or correct them in the file{known}",
    "contradicting": "Give each text one label in the file",
    "contradicts": "A delivery never replaces the labels of an earlier one: take these rows out of "
                   "the file",
    "empty instruction": "Fill or delete these rows, or name the column of the instructions in "
                         "data.text_column",
    "empty answer": "Fill or delete these rows, or name the column of the answers in "
                    "data.label_column",
    "no answer": "End these chats with the assistant's answer, or name the column of the answers "
                 "in data.label_column",
    "two answers": "End these chats with the user's message, or empty the column of the answers",
    "both an instruction": "Leave either the instruction or the messages of these rows empty",
    "both a history": "Leave the history or the messages of these rows empty",
    "two system": "Leave the system prompt of these rows or that of their messages empty",
    "a history": "Write the history as JSON: a list of [question, answer]",
    "nothing is asked": "End these chats with the user's message",
    "a part": "Take what is not text out of these messages, or delete these rows",
    "messages with": "Take what is not learned out of these messages, or delete these rows",
    "a content": "Write each content as a text, or as a list of parts of type text",
    "an input": "Write each input as a text",
    "unknown role": "Name the roles system, user and assistant, or delete these rows",
    "empty message": "Fill these messages or delete these rows",
    "messages are not JSON": "Write these messages as JSON (in pandas, map the column with "
                             "json.dumps before to_csv), or name the column of the chats in "
                             "data.messages_column",
    "messages are no list": _CHAT,
    "messages": _CHAT,
    "changed text": "Copy the texts from the queue as they were, and hand these rows in again",
    "unknown id": "Copy the ids from the queue as they were, and hand these rows in again",
    "doubled id": "Hand in one label per row",
    "labelled differently": "Agree on one label for these rows, and hand them in again",
}
_OTHERWISE = "Correct or delete these rows"


def remedies(rejected: pd.DataFrame, labels: Mapping | None = None, most: int = 3) -> str:
    """Return sentences that say what mends the most frequent reasons, '' if nothing was rejected.

    Args:
        rejected: text and reason of the rows.
        labels: data.labels, raw label value -> name; None: every value is its own name.
        most: how many reasons are spoken of.
    """
    kinds = rejected["reason"].map(_kind)
    sentences = []
    for kind in kinds.value_counts().index:
        rows = rejected[kinds == kind]
        known = "; it names none yet, so name every label there, those that rows have already too" \
            if not labels else "; it knows " + ", ".join(
            f"'{raw}' ({name})" for raw, name in list(labels.items())[:20]) + (
            f" and {len(labels) - 20} more" if len(labels) > 20 else "")
        sentence = REMEDIES.get(kind, _OTHERWISE).format(longest=_longest(rows), known=known)
        several = _several(rows["reason"], labels) if kind == "unknown label" else None
        sentences.append(f"{several or sentence}.")
    return " ".join(dict.fromkeys(sentences[:most]))


def allowance(rejected: int, total: int) -> str:
    """Return a value of data.max_rejected with which so many rejected rows pass."""
    return f"{min(1.0, math.floor(100 * rejected / total) / 100 + 0.01):g}"


def _kind(reason: str) -> str:
    return next((known for known in REMEDIES if reason.startswith(known)), "")


def _longest(rows: pd.DataFrame) -> int:
    """Return characters, in full hundreds, that hold every one of these texts, given or cleaned."""
    cleaned = clean_texts(rows["text"]).to_pylist()
    longest = max(map(len, [*rows["text"], *cleaned]))
    return math.ceil(longest / 100) * 100


def _several(reasons: pd.Series, labels: Mapping | None) -> str | None:
    """Return why unknown labels are several known ones in a row, or None if they are not."""
    sets = [match.group(1) for reason in reasons
            if (match := re.match(r"unknown label '(.*)'", reason))]
    problem = label_lists.problem([*map(str, labels or {}), *sets])
    return problem and f"{problem}; a name that is meant so is added to data.labels"
