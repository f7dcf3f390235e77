"""Texts between special tokens: what people wrote is encoded as characters, whatever it holds.

A tokenizer splits a text at its special tokens and encodes what is between. Here the frame alone is
searched for them, so that markup in a person's text is text; all else is as the tokenizer does it.
"""

import json
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple
from weakref import WeakKeyDictionary

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from ftzard.errors import ModelError


class Piece(NamedTuple):
    """A part of a filled-in template: its own words, or (`written`) what a person wrote."""

    text: str
    written: bool


class LiteralTextEncoder:
    """Encodes texts of one template: its special tokens are ids, all the rest is characters.

    special: the id of each token that the frame may hold; controls: finds them.
    """

    _known: "WeakKeyDictionary[PreTrainedTokenizerBase, dict[str, LiteralTextEncoder]]" = (
        WeakKeyDictionary())

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase, source: str) -> "LiteralTextEncoder":
        """Return the encoder of a tokenizer and a template's source, made once."""
        known = cls._known.setdefault(tokenizer, {})
        if source not in known:
            known[source] = cls(tokenizer, source)
        return known[source]

    def __init__(self, tokenizer: PreTrainedTokenizerBase, source: str) -> None:
        added = {
            token.content: (number, token)
            for number, token in tokenizer.added_tokens_decoder.items()
            if token.special or (token.content in source and not token.content.isspace())
        }
        self.special = {content: number for content, (number, _) in added.items()}
        self._eats = {content: (token.lstrip, token.rstrip)
                      for content, (_, token) in added.items()}
        longest_first = sorted(map(re.escape, added), key=len, reverse=True)
        self.controls = re.compile("|".join(longest_first) or "(?!)")
        self._forbidden = set(self.special.values()) - {tokenizer.unk_token_id}
        self._first, self._later = _encoders(tokenizer, set(added))
        self._ids: dict[tuple[bool, str], list[int]] = {}

    def segments(self, pieces: Sequence[Piece]) -> list[str | int]:
        """Return texts and the special tokens between them, as strings and ids in turn."""
        parts: list[str | int] = [""]
        strip = False
        for piece in pieces:
            place = 0
            for match in () if piece.written else self.controls.finditer(piece.text):
                eats_before, eats_after = self._eats[match.group()]
                text = parts[-1] + piece.text[place:match.start()]
                text = text.lstrip() if strip else text
                parts[-1] = text.rstrip() if eats_before else text
                parts += [self.special[match.group()], ""]
                place, strip = match.end(), eats_after
            parts[-1] += piece.text[place:]
        if strip:
            parts[-1] = parts[-1].lstrip()
        return parts

    def ids(self, rows: Sequence[Sequence[str | int]]) -> list[list[int]]:
        """Return the ids of rows of segments."""
        self._encode((place == 0, part) for row in rows for place, part in enumerate(row)
                     if isinstance(part, str))
        rows_ids = [[number for place, part in enumerate(row)
                     for number in ([part] if isinstance(part, int) else
                                    self._ids[place == 0, part])] for row in rows]
        self._ids.clear()
        return rows_ids

    def answers(self, rows: Sequence[Sequence[str | int]], answers: Sequence[str]
                ) -> list[list[int]]:
        """Return the ids of answers as they are where they follow rows of segments.

        A prompt's ids must not depend on its answer, so an answer whose first characters would
        melt into the prompt's last token is encoded by itself.
        """
        last = [(len(row) == 1, row[-1]) for row in rows]
        whole = [(first, text + answer)
                 for (first, text), answer in zip(last, answers, strict=True)]
        self._encode([*last, *whole])
        answer_ids = []
        for before, both, answer in zip(last, whole, answers, strict=True):
            begins, ids = self._ids[before], self._ids[both]
            if ids[: len(begins)] != begins:
                self._encode([(False, answer)])
                begins, ids = [], self._ids[False, answer]
            answer_ids.append(ids[len(begins):])
        self._ids.clear()
        return answer_ids

    def _encode(self, wanted: Iterable[tuple[bool, str]]) -> None:
        """Encode texts that are not yet; of each with whether it is the first of a prompt."""
        new = list(dict.fromkeys(key for key in wanted if key not in self._ids))
        for first, encoder in ((True, self._first), (False, self._later)):
            texts = [text for at_start, text in new if at_start == first]
            plain = encoder.encode_special_tokens
            encoder.encode_special_tokens = True
            try:
                encodings = encoder.encode_batch(texts, add_special_tokens=False)
            finally:
                encoder.encode_special_tokens = plain
            for text, encoding in zip(texts, encodings, strict=True):
                self._ids[first, text] = encoding.ids if text else []
                self._require_plain(text, self._ids[first, text])

    def _require_plain(self, text: str, ids: list[int]) -> None:
        wrong = self._forbidden.intersection(ids)
        if wrong:
            names = [content for content, number in self.special.items() if number in wrong]
            raise ModelError(
                f"the tokenizer reads {names[0]!r} in a text ({text[:60]!r}) as a special token "
                "however it is told not to; expected plain characters. Take it out of the text.")


def _encoders(tokenizer: PreTrainedTokenizerBase, controls: set[str]
              ) -> tuple[Tokenizer, Tokenizer]:
    """Return what encodes the first text of a prompt, and the texts after a special token.

    They differ where a tokenizer puts a blank before the first word of all, and there alone.
    Tokens of the frame that a tokenizer does not call special are made so, to be kept out of texts.
    """
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    changed = False
    for token in state["added_tokens"]:
        if token["content"] in controls and not token["special"]:
            token["special"] = changed = True
    first = Tokenizer.from_str(json.dumps(state)) if changed else tokenizer.backend_tokenizer
    if not _never_prepend(state.get("pre_tokenizer")):
        return first, first
    return first, Tokenizer.from_str(json.dumps(state))


def _never_prepend(part: object) -> bool:
    """Turn "put a blank before the first word" off in a pre-tokenizer; return whether it was on."""
    if isinstance(part, list):
        changed = [_never_prepend(inside) for inside in part]  # every one, not up to the first
        return any(changed)
    if not isinstance(part, dict):
        return False
    if part.get("type") == "Metaspace" and part.get("prepend_scheme") == "first":
        part["prepend_scheme"] = "never"
        return True
    changed = [_never_prepend(inside) for inside in part.values()]
    return any(changed)
