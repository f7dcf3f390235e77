"""What a model is asked, as it reads it: normalized, and cleaned by the workspace's own function.

A function of the workspace's own cleans what people write: system prompts, instructions, inputs.
The assistant's turns stay as they are, since the model is to write as they do. Training, step 2.1,
`ftzard predict` and the served model clean here, so this module ships with a registered model.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ftzard.core import custom_functions
from ftzard.core.text import normalize_instruction

#: A text, which is one turn of a user, or messages.
Asked = str | Sequence[Mapping[str, str]]
#: Texts for which a function of the workspace's own is called again to see if it is steady.
_STEADY = 1000


def clean(asked: Sequence[Asked], own: Mapping[str, Any] | None,
          rows: Sequence[Any] | None = None) -> list[Asked]:
    """Return texts and messages as the model reads them, one for each.

    An input of which nothing is left is taken out of its message; a content of which nothing is
    left stays, as an empty text.

    Args:
        asked: texts as they are written; messages, whose texts are normalized already.
        own: `data.clean` as `custom_functions.packed` returns it, or None.
        rows: their numbers, for messages of errors.

    Raises:
        FunctionError: with the row, for a function that raises or returns no text.
    """
    made: list[Asked] = [normalize_instruction(each) if isinstance(each, str)
                         else [dict(turn) for turn in each] for each in asked]
    if own is None:
        return made
    places = [place for number, each in enumerate(made) for place in _places(number, each)]
    texts = [_text(made, place) for place in places]
    numbers = range(len(made)) if rows is None else rows
    cleaned = _cleaned(texts, own, [numbers[place[0]] for place in places])
    for (number, turn, key), text in zip(places, cleaned, strict=True):
        if turn is None:
            made[number] = text
        elif key == "input" and not text:
            del made[number][turn][key]
        else:
            made[number][turn][key] = text
    return made


def require_steady(chats: Sequence[Sequence[Mapping[str, str]]], own: Mapping[str, Any],
                   rows: Sequence[Any]) -> None:
    """Raise DataError for a function that makes something else of a text, called again.

    It is called again for some texts, and for what it made of them: answers come back beside
    cleaned texts, and models are compared on them.
    """
    places = [place for number, chat in enumerate(chats) for place in _places(number, chat)]
    places = places[::max(1, -(-len(places) // _STEADY))]
    numbers = [rows[place[0]] for place in places]
    texts = [_text(chats, place) for place in places]
    once = _cleaned(texts, own, numbers)
    custom_functions.require_same(once, _cleaned(texts, own, numbers), own, numbers,
                                  "the same text")
    custom_functions.require_same(once, _cleaned(once, own, numbers), own, numbers,
                                  "its own result")


def _places(number: int, asked: Asked) -> list[tuple[int, Any, str]]:
    """Return (number, turn, key) of each text that is cleaned; turn: None of a text alone."""
    if isinstance(asked, str):
        return [(number, None, "")]
    return [(number, turn, key) for turn, message in enumerate(asked)
            if message["role"] != "assistant" for key in ("content", "input") if key in message]


def _text(asked: Sequence[Any], place: tuple[int, Any, str]) -> str:
    number, turn, key = place
    return asked[number] if turn is None else asked[number][turn][key]


def _cleaned(texts: Sequence[str], own: Mapping[str, Any], rows: Sequence[Any]) -> list[str]:
    return [normalize_instruction(text) for text in custom_functions.cleaned(texts, own, rows)]
