"""Tokenizers: loading one with a pad token of its own, and turning texts into token ids.

A text stands in the frame that its tokenizer puts around it, such as [CLS] … [SEP] or <s> …, and
always ends in the token that ends texts: a decoder answers from there, an encoder from the first.
"""

import hashlib
import json
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import numpy
import pandas
from transformers import AutoTokenizer
from transformers import PreTrainedTokenizerBase as PreTrainedTokenizerBase

from ftzard.errors import ModelError
from ftzard.modeling.hf_logging import quiet_loading
from ftzard.modeling.hub import cause, message, token

#: Texts that are encoded at a time.
AT_ONCE = 8192


def load_tokenizer(source: str | Path, revision: str | None = None) -> PreTrainedTokenizerBase:
    """Return the tokenizer of a base, right-padding, its pad token distinct from its eos token.

    Markup such as '<eos>' inside a text is read as plain characters.

    Args:
        source: Folder, or hub id with `revision`.

    Raises:
        ModelError: If it cannot be loaded or has no usable pad token.
    """
    try:
        with quiet_loading():
            tokenizer = AutoTokenizer.from_pretrained(
                str(source), revision=revision, use_fast=True, token=token()
            )
    except Exception as error:
        raise ModelError(
            f"tokenizer of '{source}' (revision {revision}) cannot be loaded: {message(error)}. "
            "Expected tokenizer.json in the folder, or a reachable hub id."
        ) from cause(error)
    if getattr(tokenizer, "backend_tokenizer", None) is None:
        raise ModelError(
            f"tokenizer of '{source}' is a {type(tokenizer).__name__} without tokenizer.json; "
            "expected a fast one. Convert it, or choose another base."
        )
    tokenizer.padding_side = "right"
    tokenizer.pad_token = _pad_token(tokenizer, source)
    tokenizer.split_special_tokens = True
    tokenizer.backend_tokenizer.encode_special_tokens = True
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    return tokenizer


def _pad_token(tokenizer: PreTrainedTokenizerBase, source: str | Path) -> str:
    """Return the tokenizer's own pad token, or a special token of its vocabulary that is unused.

    A pad token that also ends texts hides where they end, so it is never accepted. A vocabulary
    that spells what it does not know in bytes never uses its unknown token, which then is free.
    """
    if tokenizer.pad_token is not None and tokenizer.pad_token_id != end_id(tokenizer):
        return tokenizer.pad_token
    used = {
        tokenizer.eos_token_id, tokenizer.bos_token_id, tokenizer.unk_token_id,
        tokenizer.sep_token_id, tokenizer.cls_token_id, tokenizer.mask_token_id,
    }  # fmt: skip
    free = [
        token.content
        for number, token in sorted(tokenizer.added_tokens_decoder.items())
        if token.special and number not in used
    ]
    if free:
        return free[-1]
    inside = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    if inside.get("byte_fallback") and tokenizer.unk_token is not None:
        return tokenizer.unk_token
    raise ModelError(
        f"tokenizer of '{source}': pad token {tokenizer.pad_token!r} and eos token "
        f"{tokenizer.eos_token!r}; expected a pad token distinct from eos, and its vocabulary has "
        "no unused special token to take. Add one to the tokenizer's files, or choose another base."
    )


def end_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """Return the id of the token that ends a text: eos, or sep where there is no eos."""
    for number in (tokenizer.eos_token_id, tokenizer.sep_token_id):
        if number is not None:
            return number
    raise ModelError(
        "the tokenizer has neither an eos nor a sep token; expected one to end texts with. Add it "
        "to the tokenizer's files, or choose another base."
    )


def tokenizer_hash(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return a hex SHA-256 over all that decides which ids a text becomes, and the pad id."""
    content = [tokenizer.backend_tokenizer.to_str(), tokenizer.pad_token_id, tokenizer.eos_token_id]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def encode(
    texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, max_length: int
) -> tuple[list[list[int]], numpy.ndarray, numpy.ndarray]:
    """Return (input_ids, length, cut) of texts.

    input_ids: a list of ids per text in the tokenizer's frame, each ending in the token that ends
    texts, at most `max_length` long; length: int32, ids per text; cut: int32, tokens of the text
    lost to `max_length` (0: none).
    """
    before, after = frame(tokenizer)
    room = max_length - len(before) - len(after)
    if room < 1:
        raise ModelError(
            f"max_length is {max_length}; expected at least {max_length - room + 1} (one token and "
            f"the {max_length - room} around a text, eos or sep among them)."
        )
    input_ids, cut = [], numpy.zeros(len(texts), dtype=numpy.int32)
    for start in range(0, len(texts), AT_ONCE):
        # An encoding takes some kilobytes: only those of a part of the texts are there at a time.
        encodings = tokenizer.backend_tokenizer.encode_batch_fast(
            list(texts[start:start + AT_ONCE]), add_special_tokens=False)
        for number, encoding in enumerate(encodings, start):
            ids = encoding.ids
            input_ids.append(before + ids[:room] + after)
            cut[number] = max(0, len(ids) - room)
    return input_ids, numpy.array([len(ids) for ids in input_ids], dtype=numpy.int32), cut


def encode_column(
    texts: pandas.Series, tokenizer: PreTrainedTokenizerBase, max_length: int
) -> tuple[list[numpy.ndarray], numpy.ndarray, numpy.ndarray]:
    """Return what `encode` does for a column of any length, the ids as int32.

    The ids of `AT_ONCE` rows share one array, so that a row takes little more than its ids.
    """
    input_ids: list[numpy.ndarray] = []
    lengths, cuts = [numpy.zeros(0, dtype=numpy.int32)], [numpy.zeros(0, dtype=numpy.int32)]
    for start in range(0, len(texts), AT_ONCE):
        ids, length, cut = encode(
            texts.iloc[start:start + AT_ONCE].tolist(), tokenizer, max_length)
        flat = numpy.fromiter(chain.from_iterable(ids), dtype=numpy.int32, count=length.sum())
        input_ids += numpy.split(flat, numpy.cumsum(length)[:-1])
        lengths.append(length)
        cuts.append(cut)
    return input_ids, numpy.concatenate(lengths), numpy.concatenate(cuts)


def frame(tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """Return the ids that stand before and after a text, the last of them the one that ends it."""
    encoding = tokenizer.backend_tokenizer.encode("a")
    inside = [place for place, special in enumerate(encoding.special_tokens_mask) if not special]
    before, after, end = [], [], end_id(tokenizer)
    if inside:
        before, after = encoding.ids[: inside[0]], encoding.ids[inside[-1] + 1 :]
    return before, after if after[-1:] == [end] else [*after, end]
