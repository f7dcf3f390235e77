"""Templates: what stands around an instruction and its answer, kept with the model that learned it.

A template is jinja, as a tokenizer's own chat template is, with the special tokens it names written
in: kept with an adapter it needs no tokenizer's later opinion. What people wrote never becomes a
special token. Only those of the frame around it do, whatever markup a text holds.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from transformers import PreTrainedTokenizerBase
from transformers.utils.chat_template_utils import render_jinja_template

from ftzard.errors import ModelError, nearest
from ftzard.modeling.tokenizer import end_id, frame
from ftzard.tasks.instruction_tuning.literal_text import LiteralTextEncoder, Piece

MODEL, ALPACA, CHATML = NAMES = ("model", "alpaca", "chatml")
_SOURCES = {
    ALPACA: (
        "{%- for message in messages -%}"
        "{%- if message['role'] == 'system' -%}{{ message['content'] + '\\n\\n' }}"
        "{%- elif message['role'] == 'user' -%}"
        "{%- if loop.first -%}"
        "{{ 'Below is an instruction that describes a task' }}"
        "{{ ', paired with an input that provides further context' if message['input'] else '' }}"
        "{{ '. Write a response that appropriately completes the request.\\n\\n' }}"
        "{%- endif -%}"
        "{{ '### Instruction:\\n' + message['content'] + '\\n\\n' }}"
        "{%- if message['input'] -%}"
        "{{ '### Input:\\n' + message['input'] + '\\n\\n' }}"
        "{%- endif -%}"
        "{{ '### Response:\\n' }}"
        "{%- else -%}{{ message['content'] + eos_token + '\\n\\n' }}"
        "{%- endif -%}"
        "{%- endfor -%}"
    ),
    CHATML: (
        "{%- for message in messages -%}"
        "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
        "{%- endfor -%}"
        "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}"
    ),
}
#: The day that a template is told which asks for one: the same at training and ever after.
DAY = "26 Jul 2024"
_ROLES = ("system", "user", "assistant")
# Characters of private use stand for what people wrote while a template is filled in.
_OPEN, _CLOSE = "\ue000", "\ue001"
_MARK = re.compile(f"{_OPEN}(\\d+){_CLOSE}")


@dataclass(frozen=True)
class Template:
    """How messages are put to a model.

    A message is {'role', 'content'} and, of a user, may have an 'input'; the last one is a user's.

    Attributes:
        name: 'model', 'alpaca' or 'chatml'.
        source: Jinja that needs nothing but the messages.
    """

    name: str
    source: str

    def to_dict(self) -> dict[str, str]:
        """Return it as an adapter's ftzard.json keeps it."""
        return {"name": self.name, "source": self.source}

    def render(self, messages: Sequence[Mapping[str, str]]) -> str:
        """Return the text that the model is shown, up to where its answer begins.

        Raises ModelError if the template cannot put these messages, or would change what they say.
        """
        return "".join(piece.text for piece in self._pieces(messages))

    def prompt(self, messages: Sequence[Mapping[str, str]], tokenizer: PreTrainedTokenizerBase
               ) -> list[int]:
        """Return the ids up to where the answer begins; raises ModelError as `render` does."""
        return self.encoded([messages], None, tokenizer)[0][0]

    def encoded(
        self,
        messages: Sequence[Sequence[Mapping[str, str]]],
        answers: Sequence[str] | None,
        tokenizer: PreTrainedTokenizerBase,
    ) -> list[tuple[list[int], list[int]]]:
        """Return (prompt, answer) ids of each row; the answer without the token that ends it.

        answers: None for none, then the second is empty. Raises ModelError as `render` does, with
        the row's number.
        """
        plain = LiteralTextEncoder.of(tokenizer, self.source)
        rows = []
        for number, turns in enumerate(messages):
            try:
                rows.append(plain.segments(self._pieces(turns)))
            except ModelError as error:
                if len(messages) == 1:
                    raise
                raise ModelError(f"row {number}: {error}") from error
        prompts = plain.ids(rows)
        if answers is None:
            return [(ids, []) for ids in prompts]
        space = _shape(self.source, self.name).space
        return list(zip(prompts, plain.answers(rows, [space + a for a in answers]), strict=True))

    def end(self, tokenizer: PreTrainedTokenizerBase) -> int:
        """Return the id that ends an answer: the template's end of turn if it has one, else eos."""
        plain = LiteralTextEncoder.of(tokenizer, self.source)
        after = _shape(self.source, self.name).after
        control = plain.controls.match(after.lstrip())
        return plain.special[control.group()] if control else end_id(tokenizer)

    def stops(self, tokenizer: PreTrainedTokenizerBase) -> list[int]:
        """Return the ids at which generation stops: what ends an answer, and eos."""
        return list(dict.fromkeys([self.end(tokenizer), end_id(tokenizer)]))

    def _pieces(self, messages: Sequence[Mapping[str, str]]) -> list[Piece]:
        turns = [_turn(message, self.name) for message in messages]
        if not turns or turns[-1]["role"] != "user":
            raise ModelError(
                f"the messages are of {_roles(turns)}; expected the last of them to be a user's, "
                "for the model to answer.")
        masked, written = _masked(turns)
        words = _MARK.split(_frame(self.source, self.name, masked))
        missing = set(range(len(written))) - {int(n) for n in words[1::2]}
        if missing:
            raise ModelError(
                f"the template '{self.name}' leaves out {written[min(missing)][:60]!r} of messages "
                f"of {_roles(turns)}; expected it to show all of them. Leave that out yourself, or "
                f"choose {_others(self.name)}.")
        pieces = [Piece(written[int(word)] if place % 2 else word, bool(place % 2))
                  for place, word in enumerate(words)]
        shown = _rendered(self.source, self.name, turns, ask=True)
        if "".join(piece.text for piece in pieces) != shown:
            pieces = self._trimmed(pieces, shown)
        return [piece for piece in pieces if piece.text]

    def _trimmed(self, pieces: list[Piece], shown: str) -> list[Piece]:
        """Return the pieces with the space at their ends taken off where the template does so."""
        pattern = "".join(
            "(" + "|".join(re.escape(text) for text in dict.fromkeys(
                [p.text, p.text.strip(), p.text.lstrip(), p.text.rstrip()])) + ")"
            if p.written else re.escape(p.text) for p in pieces)
        match = re.fullmatch(pattern, shown)
        if match is None:
            raise ModelError(
                f"the template '{self.name}' changes what is written in the messages "
                f"({shown[-80:]!r}); expected it to show them as they are. Take out what it acts "
                f"on, or choose {_others(self.name)}.")
        groups = iter(match.groups())
        return [Piece(next(groups), True) if p.written else p for p in pieces]


def of(name: str, tokenizer: PreTrainedTokenizerBase) -> Template:
    """Return the template of a name as it is for a tokenizer's model.

    Args:
        name: 'model' (the tokenizer's own), 'alpaca' or 'chatml'.

    Raises:
        ModelError: If the name is unknown, if the tokenizer has no template of its own, or if its
            pad token ends answers too.
    """
    if name not in NAMES:
        raise ModelError(f"task.instructions.template is '{name}'{nearest(name, NAMES)}")
    source = _SOURCES.get(name) or _own(tokenizer)
    template = Template(name, _standing_alone(source, name, tokenizer))
    if tokenizer.pad_token_id in template.stops(tokenizer):
        raise ModelError(
            f"the pad token {tokenizer.pad_token!r} ends an answer in the template '{name}'; "
            "expected another, which no answer holds. Give the tokenizer a pad token of its own, "
            f"or choose {_others(name)}.")
    return template


def words(name: str) -> str:
    """Return what a template puts around instructions, for a new tokenizer to learn as words.

    A tokenizer that has never seen it spells it letter by letter, which takes most of a prompt's
    room. '' for 'model', which is the tokenizer's own.
    """
    if name not in _SOURCES:
        return ""
    source = f'{{% set eos_token = "" %}}{_SOURCES[name]}'
    asked = {"role": "user", "content": "", "input": ""}
    about = asked | {"input": _OPEN}
    return "\n".join(_rendered(source, name, [turn], ask=True).replace(_OPEN, "")
                     for turn in ([asked, about] if name == ALPACA else [asked]))


def from_meta(meta: Mapping[str, str]) -> Template:
    """Return a template as `Template.to_dict` gave it."""
    return Template(meta["name"], meta["source"])


def _own(tokenizer: PreTrainedTokenizerBase) -> str:
    source = tokenizer.chat_template
    if isinstance(source, Mapping):
        source = source.get("default")
    if not source:
        raise ModelError(
            "task.instructions.template is 'model', but the tokenizer of this base has no chat "
            f"template of its own; choose {_others(MODEL)}.")
    return source


def _standing_alone(source: str, name: str, tokenizer: PreTrainedTokenizerBase) -> str:
    """Return a template that names no token of a tokenizer, and that begins and asks by itself.

    A text that its tokenizer would begin with a special token begins with it here. What a template
    puts before an answer in a whole conversation, but not where it asks for one, is asked with.
    """
    tokens = {key: value for key, value in tokenizer.special_tokens_map.items()
              if isinstance(value, str)} | {
          "eos_token": tokenizer.convert_ids_to_tokens(end_id(tokenizer))}
    lines = [f"{{% set {key} = {_literal(value)} %}}\n" for key, value in sorted(tokens.items())
             if re.search(rf"\b{key}\b", source)]
    if "strftime_now" in source:
        lines.append(f"{{% macro strftime_now(format) %}}{DAY}{{% endmacro %}}\n")
    begins = "".join(tokenizer.convert_ids_to_tokens(frame(tokenizer)[0]))
    alone = "".join(lines) + source.removesuffix("\n")
    if begins and not _rendered(alone, name, _PROBE[:1], ask=True).startswith(begins):
        alone = f"{{{{ {_literal(begins)} }}}}{{# as its tokenizer begins #}}\n{alone}"
    before = _shape(alone, name).before
    if before:
        alone += f"{{{{ {_literal(before)} if add_generation_prompt else '' }}}}"
    return alone


def _literal(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _others(name: str) -> str:
    return " or ".join(f"task.instructions.template={other}" for other in NAMES[1:]
                       if other != name)


def _turn(message: Mapping[str, str], name: str) -> dict[str, str]:
    """Return a message as templates take it: only Alpaca's has a place for an input."""
    role, content = message.get("role"), message.get("content")
    if role not in _ROLES or not isinstance(content, str):
        raise ModelError(f"a message is {dict(message)!r}; expected a 'role' of "
                         f"{', '.join(_ROLES)} and a 'content'.")
    turn = {"role": role, "content": content}
    if name == ALPACA:
        return {**turn, "input": message.get("input") or ""} if role == "user" else turn
    if message.get("input"):
        turn["content"] = f"{content}\n\n{message['input']}"
    return turn


def _masked(turns: list[dict[str, str]]) -> tuple[tuple, list[str]]:
    """Return turns with marks in place of what was written, and that; equal shapes are equal."""
    masked, written = [], []
    for turn in turns:
        shape = {"role": turn["role"]}
        for key in ("content", "input"):
            if key in turn:
                shape[key] = f"{_OPEN}{len(written)}{_CLOSE}" if turn[key] else ""
                written += [turn[key]] if turn[key] else []
        masked.append(tuple(shape.items()))
    return tuple(masked), written


@lru_cache(maxsize=1024)
def _frame(source: str, name: str, masked: tuple) -> str:
    return _rendered(source, name, [dict(turn) for turn in masked], ask=True)


def _rendered(source: str, name: str, turns: Sequence[Mapping[str, str]], *, ask: bool) -> str:
    try:
        rendered, _ = render_jinja_template(
            conversations=[list(turns)], chat_template=source, add_generation_prompt=ask)
    except Exception as error:
        raise ModelError(
            f"the template '{name}' cannot put messages of {_roles(turns)}: "
            f"{' '.join(str(error).split()) or type(error).__name__} Expected messages that it "
            f"has a place for: leave out what it refuses, or choose {_others(name)}."
        ) from error
    return rendered[0]


def _roles(turns: Sequence[Mapping[str, str]]) -> str:
    return ", ".join(turn["role"] for turn in turns) or "nobody"


_PROBE = ({"role": "user", "content": f"{_OPEN}0{_CLOSE}", "input": ""},
          {"role": "assistant", "content": f"{_OPEN}1{_CLOSE}"})


class _Shape(NamedTuple):
    """What a template puts around an answer.

    before: what stands before it in a conversation but is not there where the template asks;
    space: the blank between, which tokenizers make a part of the answer's first word; after: what
    follows it.
    """

    before: str
    space: str
    after: str


@lru_cache(maxsize=64)
def _shape(source: str, name: str) -> _Shape:
    asked = _rendered(source, name, _PROBE[:1], ask=True)
    before, _, after = _rendered(source, name, _PROBE, ask=False).partition(f"{_OPEN}1{_CLOSE}")
    if not before.startswith(asked):
        return _Shape("", "", after)
    between = before[len(asked):]
    head = between.rstrip(" ")
    return _Shape(head, between[len(head):], after)
