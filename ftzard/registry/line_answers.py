"""What a model answers to the lines of a batch, and how each answer is written."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from ftzard.core.custom_functions import FunctionError
from ftzard.core.text import is_blank
from ftzard.data import json_lines
from ftzard.registry.requests import Line
from ftzard.tasks.base import task_named

if TYPE_CHECKING:
    from ftzard.registry.lookup import Files


def answering(files: "Files", abstain_below: float | None) -> Callable[[list[Line]], list[dict]]:
    """Return the function that a model answers the texts of lines with, loaded from its files."""
    from ftzard.registry import lookup

    predictor, part = lookup.load_predictor(files), task_named(files.task).predictor
    answer = partial(part.answer, predictor, temperature=files.temperature,
                     abstain_below=abstain_below)

    def answered(lines: list[Line]) -> list[dict]:
        asked = cleaned_each(files, [line.messages or line.text for line in lines])
        return _each_with_text(asked, answer)

    return answered


def answered(batch: list[Line], answer: Callable[[list[Line]], list[dict]]) -> Iterable[dict]:
    """Yield what is written for each line of a batch, in order."""
    usable = [line for line in batch if line.error is None]
    predictions = dict(zip((line.number for line in usable),
                           answer(usable) if usable else [], strict=True))
    for line in batch:
        output = {"line": line.number, **({"id": line.id} if line.id is not None else {})}
        prediction = predictions.get(line.number, {"error": line.error})
        if "error" in prediction:
            yield {**output, **prediction, "input": line.raw}
        else:
            yield {**output, "text": line.text, **prediction}


def cleaned_each(files: "Files", texts: list) -> list:
    """Return texts, or messages, as the model's were cleaned; in place of one on which its own
    function fails, the error."""
    try:
        return files.cleaned(texts)
    except FunctionError as error:
        if len(texts) == 1:
            return [error]
    return [cleaned for text in texts for cleaned in cleaned_each(files, [text])]


def _each_with_text(asked: list, answer: Callable[[list], list[dict]]) -> list[dict]:
    """Return the answer to each, or its error: what is empty once cleaned is no text."""
    wrong = [{"error": text.about} if isinstance(text, FunctionError) else
             {"error": "empty text"} if _is_empty(text) else None for text in asked]
    full = [text for text, error in zip(asked, wrong, strict=True) if error is None]
    answers = iter(answer(full) if full else ())
    return [next(answers) if error is None else error for error in wrong]


def _is_empty(asked: str | Sequence[Mapping]) -> bool:
    """Return whether a text, or a message of a chat, has nothing to read."""
    return is_blank(asked) if isinstance(asked, str) else any(
        is_blank(turn["content"]) for turn in asked)


def as_json(output: dict) -> str:
    """Return a line of output; what no encoding can write, as of an id, is escaped."""
    return json.dumps(output, ensure_ascii=bool(json_lines.half_pair(output)))
