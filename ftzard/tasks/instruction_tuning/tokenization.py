"""Instructions and their answers as token ids: a prompt that is read, an answer that is learned.

A prompt is whole or its row is lost; an answer may be cut, which is counted, and then nothing tells
the model that it ends there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy
from transformers import PreTrainedTokenizerBase

from ftzard.errors import ModelError
from ftzard.tasks.instruction_tuning.chat_template import Template

Messages = Sequence[Mapping[str, str]]


@dataclass(frozen=True)
class Encoded:
    """Rows as ids.

    Attributes:
        input_ids: A list per row, prompt, answer and what ends it.
        prompt_length, length: int32, ids of the prompt and of the row.
        cut: int32, ids that max_length took from the answer and its end (0: the row is whole and
            ends in what ends an answer).
        lost: Bool, rows that are of no use, since the prompt leaves no room for a token of the
            answer, or there is no answer.
    """

    input_ids: list[list[int]]
    prompt_length: numpy.ndarray
    length: numpy.ndarray
    cut: numpy.ndarray
    lost: numpy.ndarray


def encode(
    messages: Sequence[Messages],
    answers: Sequence[str] | None,
    tokenizer: PreTrainedTokenizerBase,
    template: Template,
    max_length: int,
) -> Encoded:
    """Return rows of messages, with their answers if there are any, as ids.

    Args:
        messages: {'role', 'content'} and maybe 'input' each, the last of them a user's.
        answers: The wanted ones, None for prompts alone, which leave room for one token at least.

    Raises:
        ModelError: If there are not as many answers as rows, or for messages that the template
            cannot put.
    """
    if answers is not None and len(answers) != len(messages):
        raise ModelError(f"{len(messages)} rows of messages have {len(answers)} answers; expected "
                         "one each.")
    end = template.end(tokenizer)
    rows, prompt_length, cut, lost = [], [], [], []
    for prompt, answer in template.encoded(messages, answers, tokenizer):
        room = max(0, max_length - len(prompt))
        ending = answer if answers is None else [*answer, end]
        rows.append(prompt + ending[:room])
        prompt_length.append(len(prompt))
        cut.append(max(0, len(ending) - room))
        lost.append(room == 0 or (answers is not None and not answer))
    return Encoded(
        rows, numpy.array(prompt_length, dtype=numpy.int32),
        numpy.array([len(ids) for ids in rows], dtype=numpy.int32),
        numpy.array(cut, dtype=numpy.int32), numpy.array(lost, dtype=bool))


def drawn(count: int, most: int, seed: int) -> numpy.ndarray:
    """Return which of `count` rows are asked for an answer of their own, drawn, in order."""
    return numpy.sort(numpy.random.default_rng(seed).permutation(count)[:most])


def asked(text: str) -> list[dict[str, str]]:
    """Return a text as messages: one turn of a user."""
    return [{"role": "user", "content": text}]
